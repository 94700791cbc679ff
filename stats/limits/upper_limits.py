r"""Upper limits on a signal, CLs with the profile likelihood.

The model is that of the pyhf workspace of `combined_workspace`. Profiles over many signal strengths are taken at once
by `resonaut.stats.limits.profiling`, and every observed asymptotic limit is put to pyhf itself: `cls_pyhf` of a result is the
CLs that pyhf finds at the observed limit, 0.05 if all is well. Where too few events are expected under the signal for
the asymptotic formulae, limits come from toys.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, FitError
from resonaut.stats.fits.choice import choose_functions
from resonaut.stats.fits.fit import fit_counts
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.limits.channels import Channel, channel_counts, signal_model
from resonaut.stats.limits.hypotests import Hypotests
from resonaut.stats.limits.limit_options import check_limit_options
from resonaut.stats.limits.limit_result import Five, LimitResult, events_per_unit
from resonaut.stats.limits.profiling import SignalModel
from resonaut.stats.limits.pyhf_models import pyhf_cls
from resonaut.stats.limits.toy_limits import toy_limits
from resonaut.stats.limits.workspace import combined_workspace
from resonaut.stats.regions import fit_region
from resonaut.stats.shapes.signals import SignalLike, as_signal
from resonaut.stats.spectrum import Spectrum, poisson_counts

__all__ = ("TOYS_BELOW", "ModelLimit", "checked_by_pyhf", "combined_limit", "limit_of_model", "upper_limit")

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

AGREEMENT = 0.05  # relative, of pyhf's CLs with ours before it is reported

TOYS_BELOW = 5.0
"""Events expected under the signal (see `background_under`) below which ``method="auto"`` throws toys."""


def upper_limit(
    spectrum: Spectrum,
    signal: SignalLike,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    signal_uncertainty: float = 0.0,
    luminosity: float | None = None,
    efficiency: float = 1.0,
    unit: str | None = None,
    cl: float = 0.95,
    mass: float = float("nan"),
    name: str = "signal",
    method: str = "auto",
    toys: int = 3000,
    seed: int = 0,
    check: bool = True,
) -> LimitResult:
    """Observed and expected CLs upper limit on a signal.

    Parameters
    ----------
    spectrum : Spectrum
        Unweighted counts.
    signal : Signal, shape, Spectrum or array_like of shape (bins,)
        Template in the bins of the spectrum, with its uncertainties if it is a `Signal`. See `unit` for its norm.
    function : str
        Name of a log-linear background function, or "auto" (chosen outside the bins of the signal peak).
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    signal_uncertainty : float
        Relative uncertainty of the signal yield, besides those of a `Signal`.
    luminosity : float, optional
        Inverse femtobarns: the limit is on a cross-section, and the template holds the *part* of the accepted signal
        in each bin (its sum is 1, or less if the shape reaches outside).
    efficiency : float
        Acceptance x efficiency x branching ratio, with a luminosity. With 1, the limit is on the visible cross-section.
    unit : "events", "fb", "pb" or "strength", optional
        Of the limit: events in the fitted bins (the norm of the template is free), a cross-section ("fb" by default
        with a luminosity; without one, the template holds the events for 1 fb or 1 pb), or a factor of the template.
    cl : float
        Confidence level.
    mass, name
        Labels of the result.
    method : "auto", "asymptotic" or "toys"
        "auto" throws toys if fewer than `TOYS_BELOW` events are expected under the signal.
    toys : int
        Of each hypothesis at each strength.
    seed : int
        Of the toys.
    check : bool
        Whether pyhf re-evaluates an observed asymptotic limit on the JSON workspace.

    Returns
    -------
    LimitResult

    Raises
    ------
    InputError, ConfigError
        If the input cannot be used.
    FitError
        If no limit was found.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges, upper_limit
    >>> edges = log_edges(2000.0, 4000.0, 30)
    >>> counts = np.round(1e4 * np.exp(-0.2 * np.arange(30)))
    >>> shape = gaussian_template(2800.0, 80.0, edges)
    >>> limit = upper_limit((counts, edges), shape, luminosity=100.0, check=False)
    >>> limit.unit, limit.method, limit.expected[0] < limit.expected[2] < limit.expected[4]
    ('fb', 'asymptotic', True)
    """
    counts, edges = poisson_counts(spectrum)
    found = as_signal(signal, edges, uncertainty=signal_uncertainty)
    region = fit_region(edges, None, fit_range)
    if function == "auto":
        away = region.fitted & (found.template < 0.05 * found.template.max())
        function = choose_functions(counts, edges, away, sqrts=sqrts)[0].function
    channel = Channel.build("", fit_counts(counts, edges, region, function=function, sqrts=sqrts), found)
    return combined_limit(
        [channel],
        luminosity=luminosity,
        efficiency=efficiency,
        unit=unit,
        cl=cl,
        mass=mass,
        name=name,
        method=method,
        toys=toys,
        seed=seed,
        check=check,
    )


def combined_limit(
    channels: Sequence[Channel],
    *,
    luminosity: float | None = None,
    efficiency: float = 1.0,
    unit: str | None = None,
    cl: float = 0.95,
    mass: float = float("nan"),
    name: str = "signal",
    method: str = "auto",
    toys: int = 3000,
    seed: int = 0,
    check: bool = True,
) -> LimitResult:
    """Limit on one signal in several fitted spectra together.

    Every channel keeps its background; the signal strength is common, and so are nuisances of one name.

    Parameters
    ----------
    channels : sequence of Channel
        Their templates hold events for the same signal strength, so that their ratio is that of the expected yields.
    luminosity, efficiency, unit, cl, mass, name, method, toys, seed, check
        As in `upper_limit`; "events" are those of all channels together.

    Returns
    -------
    LimitResult

    Raises
    ------
    InputError, ConfigError
        If the input cannot be used.
    FitError
        If no limit was found.
    """
    check_limit_options(cl, method, unit, luminosity=luminosity, efficiency=efficiency)
    events = sum(channel.events for channel in channels)
    chosen = unit or ("events" if luminosity is None else "fb")
    factor = _strength_of_one_event(channels, events, chosen, luminosity, efficiency)
    scaled = [channel.scaled(1.0 / events) for channel in channels]
    model, counts = signal_model(scaled), channel_counts(scaled)
    found = limit_of_model(model, counts, cl=cl, method=method, toys=toys, seed=seed, name=name)
    functions = ", ".join(dict.fromkeys(channel.fit.function for channel in channels))
    result = replace(found.result(name, cl, functions), mass=float(mass))
    if any(channel.fit.status == "at limit" for channel in channels):
        result = replace(result, status="background at limit")
    if check and found.method == "asymptotic":
        # a template scaled to the limit: pyhf then works around a strength of 1
        result = checked_by_pyhf(result, combined_workspace([c.scaled(result.observed) for c in scaled]))
    return result.scaled(factor, chosen)


def _strength_of_one_event(
    channels: Sequence[Channel], events: float, unit: str, luminosity: float | None, efficiency: float
) -> float:
    """One signal event in the fitted bins, in the unit of the limit."""
    if luminosity is None:
        return 1.0 if unit == "events" else 1.0 / events
    total = sum(float(channel.signal.template.sum()) for channel in channels)
    if total > 1.0 + 1e-6:
        msg = (
            f"a limit with a luminosity got a template with a sum of {total:.6g}, expected the part of the accepted "
            "signal in each bin (sum <= 1): divide it by the events that it stands for"
        )
        raise ConfigError(msg)
    return 1.0 / (events * events_per_unit(unit, luminosity, efficiency))


@dataclass(frozen=True, eq=False)
class ModelLimit:
    """Limits on the strength of a model: five expected, then observed."""

    limits: FloatArray
    strength: float
    background: float
    method: str
    error: float = 0.0

    def result(self, name: str, cl: float, function: str) -> LimitResult:
        """The same as a result, in events."""
        low2, low1, median, high1, high2, observed = (float(value) for value in self.limits)
        expected: Five = (low2, low1, median, high1, high2)
        return LimitResult(
            signal=name,
            mass=float("nan"),
            observed=observed,
            expected=expected,
            unit="events",
            strength=self.strength,
            cl=cl,
            cls_pyhf=float("nan"),
            status="converged",
            function=function,
            method=self.method,
            background=self.background,
            error=self.error,
        )


def limit_of_model(
    model: SignalModel,
    counts: FloatArray,
    *,
    cl: float,
    method: str,
    toys: int,
    seed: int,
    name: str,
    background: float | None = None,
) -> ModelLimit:
    """Limits on the strength of a model whose signal sums to one event, by the method that the counts allow.

    Parameters
    ----------
    model : SignalModel
    counts : ndarray of shape (bins,)
    cl, method, toys, seed, name
        As in `upper_limit`.
    background : float, optional
        Events elsewhere that a limit rests on as well, such as those of control regions.

    Raises
    ------
    FitError
        If no limit was found.
    """
    tests = Hypotests(model, counts)
    limits = tests.solve(1.0 - cl)
    if not np.isfinite(limits).all():
        msg = (
            f"no upper limit for {name}: CLs = {1 - cl:.3g} was not bracketed; check the template against the spectrum"
        )
        raise FitError(msg)
    under = min(tests.background(limits[2]), np.inf if background is None else background)
    if method == "asymptotic" or (method == "auto" and under >= TOYS_BELOW):
        if under < TOYS_BELOW:
            logger.warning(
                "asymptotic limit for %s with %.2g events expected under it, fewer than %g: take toys",
                name, under, TOYS_BELOW,
            )  # fmt: skip
        return ModelLimit(limits, tests.strength, under, "asymptotic")
    found = toy_limits(model, counts, limits, alpha=1.0 - cl, toys=toys, seed=seed)
    if not np.isfinite(found.limits).all():
        which = "observed" if not np.isfinite(found.limits[5]) else "expected"
        msg = (
            f"no {which} toy limit for {name}: CLs = {1 - cl:.3g} was not crossed near {limits[5]:.4g} events; "
            "throw more toys"
        )
        raise FitError(msg)
    return ModelLimit(found.limits, tests.strength, under, "toys", float(found.errors[5]))


def checked_by_pyhf(result: LimitResult, workspace: Mapping[str, Any]) -> LimitResult:
    """The result with the CLs of pyhf for a workspace whose signal is at the limit; a disagreement is told, never hidden."""
    try:
        cls = pyhf_cls(workspace, 1.0)[0]
    except FitError as error:
        logger.warning("the limit for %s could not be checked with pyhf: %s", result.signal, error)
        return replace(result, check=str(error))
    alpha = 1.0 - result.cl
    found = ""
    if abs(cls - alpha) > AGREEMENT * alpha:
        found = f"pyhf finds CLs = {cls:.4f} at the limit, expected {alpha:.4f}"
        logger.warning("%s: %s", result.signal, found)
    return replace(result, cls_pyhf=cls, check=found)
