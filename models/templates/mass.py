"""The mass spectrum of background in a signal region, from a fit of everything outside it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from resonaut.errors import InputError, ModelError, RegionError
from resonaut.models.sample import FloatArray, Sample
from resonaut.stats import Window, fit_background, log_edges, make_spectrum

__all__ = ("MassModel",)

logger = logging.getLogger(__name__)
_SR_BINS = 20  # fine enough that a uniform draw inside a bin is indistinguishable from the fitted curve
_BINS_PER_E_FOLD = 60
_SUSPICIOUS = 1e-4
_FEWEST = 10  # events on each side: a curve through fewer interpolates nothing


@dataclass(frozen=True)
class MassModel:
    """Expected background in the signal region: how much, and at which masses.

    Parameters
    ----------
    edges
        (k + 1,) fine edges of the signal region, GeV.
    content
        (k,) expected events in each bin.
    total, error
        Their sum and its standard deviation, from the covariance of the fit.
    fit_p_value
        Goodness of the sideband fit.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mass = 2800.0 + rng.exponential(400.0, 20_000)
    >>> sample = Sample(np.zeros((len(mass), 1)), ("x",), mass)
    >>> model = MassModel.fit(sample, Window(3300.0, 3700.0, 3000.0, 4000.0), (2800.0, 5000.0))
    >>> observed = np.count_nonzero((mass >= 3300.0) & (mass < 3700.0))
    >>> bool(abs(model.total - observed) < 5 * np.hypot(model.error, observed**0.5))
    True
    """

    edges: FloatArray
    content: FloatArray
    total: float
    error: float
    fit_p_value: float

    @classmethod
    def fit(
        cls,
        sample: Sample,
        window: Window,
        mass_range: tuple[float, float] | None = None,
        *,
        function: str = "dijet4",
        sqrts: float = 13000.0,
    ) -> Self:
        """Fit the masses outside the signal region.

        Parameters
        ----------
        sample
            Events on both sides of the signal region.
        window
            Its signal region is blinded.
        mass_range
            (low, high) of the fit, GeV; the span of the sample where not given. Stay above the turn-on.
        function, sqrts
            As in `resonaut.stats.fit_background`.

        Raises
        ------
        InputError
            If the range does not reach beyond the signal region on both sides.
        RegionError
            If one side has fewer than 10 events.
        ModelError
            If the fit fails.
        """
        low, high = mass_range or (float(sample.mass.min()), float(np.nextafter(sample.mass.max(), np.inf)))
        if not low < window.low < window.high < high:
            msg = f"the masses {low:.0f}-{high:.0f} GeV do not reach beyond both ends of the signal region {window}"
            raise InputError(msg)
        for side, start, stop in (("below", low, window.low), ("above", window.high, high)):
            events = np.count_nonzero((sample.mass >= start) & (sample.mass < stop) & (sample.weight > 0))
            if events < _FEWEST:
                msg = f"{events} events {side} the signal region {window} in {start:.0f}-{stop:.0f} GeV: too few to fit"
                raise RegionError(msg)
        edges = _edges(low, window, high)
        weighted = bool(np.any(sample.weight != 1))
        spectrum = make_spectrum(sample.mass, edges, sample.weight if weighted else None)
        fit = fit_background(spectrum, window, function=function, sqrts=sqrts, errors="fisher", weighted=weighted)
        if not fit.ok:
            msg = (
                f"the fit of {function} to the masses {low:.0f}-{high:.0f} GeV around {window} failed ({fit.status}): "
                "choose another mass_range or function"
            )
            raise ModelError(msg)
        if fit.p_value < _SUSPICIOUS:
            logger.warning(
                "%s describes the masses %.0f-%.0f GeV around %s badly (p = %.1e): the yield of the template is off; "
                "start above the turn-on with mass_range", function, low, high, window, fit.p_value,
            )  # fmt: skip
        inside = np.flatnonzero(fit.blinded)
        total, error = fit.total(fit.blinded)
        bounds = fit.edges[inside[0] : inside[-1] + 2]
        return cls(bounds, fit.expected[inside], float(total), float(error), float(fit.p_value))

    def draw(self, events: int, seed: int | np.random.SeedSequence) -> FloatArray:
        """Masses (events,) of background in the signal region, GeV."""
        rng = np.random.default_rng(seed)
        rungs = np.concatenate([[0.0], np.cumsum(self.content)])
        return np.asarray(np.interp(rng.random(events) * rungs[-1], rungs, self.edges), dtype=np.float64)

    def facts(self) -> dict[str, Any]:
        """JSON-able summary for a scorer's card."""
        return {"yield": self.total, "yield_error": self.error, "fit_p_value": self.fit_p_value}


def _edges(low: float, window: Window, high: float) -> FloatArray:
    """Edges that are uniform in log m on each side, and fine inside the signal region."""
    parts = []
    for start, stop in ((low, window.low), (window.high, high)):
        parts.append(log_edges(start, stop, max(3, round(_BINS_PER_E_FOLD * np.log(stop / start)))))
    inside = log_edges(window.low, window.high, _SR_BINS)
    return np.concatenate([parts[0][:-1], inside, parts[1][1:]])
