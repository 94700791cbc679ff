"""Signal injection: is what is fitted what was put in?

Signals of known strength are added to toys of the background and fitted back. Fitted against injected strength is a
straight line of slope 1 through zero where the fit is unbiased; the pulls, (fitted - injected) / error, have mean 0 and
width 1 where its errors are right. With a background that is not a member of the fitted function (simulation, another
function, a sliding-window fit) the test also shows the bias from the choice of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError
from resonaut.stats.engine.batched import CONVERGED, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, as_counts, require_events
from resonaut.stats.studies.grid import Signals, signal_grid
from resonaut.stats.toy_tools import random_stream, require_toys

__all__ = ("SignalInjection", "signal_injection")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

STRENGTHS = (0.0, 1.0, 2.0, 3.0, 5.0)
FEWEST = 2  # toys for a spread


@dataclass(frozen=True, eq=False)
class SignalInjection:
    """Fitted against injected signals.

    Attributes
    ----------
    function : str
        Fitted background function.
    mass : ndarray of shape (masses,)
        GeV.
    error : ndarray of shape (masses,)
        Statistical error of the strength without signal, the unit of the injected signals.
    injected : ndarray of shape (masses, strengths)
    mean, mean_error, spread : ndarray of shape (masses, strengths)
        Of the fitted strengths of the toys: mean, its standard deviation, and standard deviation of one toy.
    pull_mean, pull_width : ndarray of shape (masses, strengths)
        Of (fitted - injected) / error, each with the error of its own fit.
    toys : int ndarray of shape (masses, strengths)
        Toys whose fit converged.
    failed : int ndarray of shape (masses, strengths)
        Toys whose fit did not, or ran to a limit.
    slope, slope_error, offset, offset_error : ndarray of shape (masses,)
        Straight line through mean against injected.
    """

    function: str
    mass: FloatArray
    error: FloatArray
    injected: FloatArray
    mean: FloatArray
    mean_error: FloatArray
    spread: FloatArray
    pull_mean: FloatArray
    pull_width: FloatArray
    toys: IntArray
    failed: IntArray
    slope: FloatArray
    slope_error: FloatArray
    offset: FloatArray
    offset_error: FloatArray

    __repr__ = brief

    @property
    def pull_mean_error(self) -> FloatArray:
        """Standard deviation of `pull_mean`, shape (masses, strengths)."""
        return np.asarray(self.pull_width / np.sqrt(np.maximum(self.toys, 1)))

    @property
    def pull_width_error(self) -> FloatArray:
        """Standard deviation of `pull_width` for Gaussian pulls, shape (masses, strengths)."""
        return np.asarray(self.pull_width / np.sqrt(2.0 * np.maximum(self.toys - 1, 1)))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SignalInjection:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        arrays: dict[str, type] = dict.fromkeys(set(cls.__dataclass_fields__) - {"function"}, float)
        return restore(cls, content, arrays={**arrays, "toys": int, "failed": int})


def signal_injection(
    background: Spectrum,
    signals: Signals,
    *,
    function: str = "dijet4",
    strengths: Sequence[float] = STRENGTHS,
    toys: int = 500,
    seed: int = 0,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SignalInjection:
    """Inject signals into toys of a background and fit them back, all toys of a mass at once.

    Parameters
    ----------
    background : Spectrum
        Expected background at the luminosity of the data, such as ``(fit.expected, fit.edges)``.
    signals : mapping of mass (GeV) to signal
    function : str
        Log-linear background function to fit.
    strengths : sequence of float
        In units of the statistical error of the strength.
    toys : int
        For each mass and strength.
    seed : int
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    progress : callable, optional
        Called as ``progress(done, masses)``.

    Raises
    ------
    InputError, ConfigError
        If the background, the signals or the function cannot be used, or there are fewer than 2 toys.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import gaussian_template, log_edges, signal_injection
    >>> edges = log_edges(2000.0, 6000.0, 40)
    >>> smooth = 1e5 * np.exp(-0.2 * np.arange(40))
    >>> test = signal_injection((smooth, edges), {3000.0: gaussian_template(3000.0, 90.0, edges)}, function="dijet3", toys=200)
    >>> bool(abs(test.slope[0] - 1) < 4 * test.slope_error[0]), int(test.failed.sum())
    (True, 0)
    """
    require_toys(toys)
    levels = np.array(strengths, dtype=np.float64)
    if toys < FEWEST or not len(levels) or not np.isfinite(levels).all() or (levels < 0).any():
        msg = f"signal_injection got {toys} toys and strengths {list(strengths)}, expected at least {FEWEST} toys and strengths >= 0"
        raise ConfigError(msg)
    counts, edges, _ = as_counts(background)
    mask = fit_region(edges, None, fit_range).fitted
    require_events(counts[mask], "signal_injection")
    masses, shapes = signal_grid(signals, edges)
    design = Design.build(function, edges, sqrts=sqrts, importance=pooled_importance(counts[None], mask))
    error = fit_batch(np.tile(counts, (len(masses), 1)), design, mask, signal=shapes).strength_error
    rng = random_stream(seed)
    moments = np.empty((len(masses), len(levels), 6))
    for i, shape in enumerate(shapes):
        moments[i] = _inject(rng, counts, shape, levels * error[i], design, mask, toys)
        if progress is not None:
            progress(i + 1, len(masses))
    mean, spread, pull_mean, pull_width, good, bad = np.moveaxis(moments, 2, 0)
    injected = levels * error[:, None]
    mean_error = spread / np.sqrt(np.maximum(good, 1))
    line = np.array([_line(*row) for row in zip(injected, mean, mean_error, strict=True)])
    return SignalInjection(
        function, masses, error, injected, mean, mean_error, spread, pull_mean, pull_width,
        good.astype(np.int64), bad.astype(np.int64), *line.T,
    )  # fmt: skip


def _inject(
    rng: np.random.Generator,
    background: FloatArray,
    shape: FloatArray,
    injected: FloatArray,
    design: Design,
    mask: BoolArray,
    toys: int,
) -> FloatArray:
    """Mean, spread, mean and width of pulls, good and failed toys of every strength, shape (strengths, 6)."""
    truth = np.repeat(injected, toys)
    data = rng.poisson(background + truth[:, None] * shape).astype(np.float64)
    fit = fit_batch(data, design, mask, signal=shape)
    good = ((fit.status == CONVERGED) & np.isfinite(fit.strength_error)).reshape(len(injected), toys)
    strength = fit.strength.reshape(good.shape)
    with np.errstate(invalid="ignore"):
        pulls = ((fit.strength - truth) / fit.strength_error).reshape(good.shape)
    found = np.full((len(injected), 6), np.nan)
    for k, used in enumerate(good):
        found[k, 4:] = used.sum(), (~used).sum()
        if used.sum() >= FEWEST:
            s, p = strength[k, used], pulls[k, used]
            found[k, :4] = s.mean(), s.std(ddof=1), p.mean(), p.std(ddof=1)
    return found


def _line(x: FloatArray, y: FloatArray, error: FloatArray) -> tuple[float, float, float, float]:
    """Slope, its error, offset, its error of a weighted straight line; NaN where points are missing."""
    used = np.isfinite(y) & (error > 0)
    if len(np.unique(x[used])) < FEWEST:
        return (float("nan"),) * 4
    unit = max(float(np.abs(x[used]).max()), 1e-300)
    matrix = np.stack([x[used] / unit, np.ones(used.sum())], axis=1) / error[used, None]
    covariance = np.linalg.inv(matrix.T @ matrix)
    slope, offset = covariance @ (matrix.T @ (y[used] / error[used]))
    wide, high = np.sqrt(np.diag(covariance))
    return float(slope / unit), float(wide / unit), float(offset), float(high)
