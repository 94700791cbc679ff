"""What asymptotic formulae cannot give: goodness of fit, global significance and limits from pseudo-experiments.

The batched engine refits every pseudo-experiment, so that thousands of them take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats.batched import fit_batch
from resonaut.stats.design import Design, pooled_importance
from resonaut.stats.fit import FitResult, fit_background, require_fit
from resonaut.stats.functions import DEFAULT_SQRTS
from resonaut.stats.goodness import kolmogorov_smirnov
from resonaut.stats.limits import LimitResult, upper_limit
from resonaut.stats.profiling import SignalModel
from resonaut.stats.significance import local_p_values
from resonaut.stats.spectrum import Spectrum
from resonaut.stats.windows import Window
from resonaut.stats.workspace import signal_counts, signal_model

__all__ = ("GlobalPValue", "ToyGoodness", "global_p_value", "toy_cls", "toy_goodness", "toy_upper_limit")

FloatArray = npt.NDArray[np.float64]


def _check_toys(toys: int) -> None:
    if toys < 1:
        msg = f"got {toys} toys, expected at least 1"
        raise ConfigError(msg)


@dataclass(frozen=True)
class ToyGoodness:
    """p-values of a fit from refitted toys, free of any assumption on their distribution.

    Attributes
    ----------
    deviance_p_value, ks_p_value : float
        Fraction of toys at least as far from their fit as the data, ``(k + 1) / (n + 1)``.
    toys : int
        Toys whose fit converged.
    failed : int
        Toys whose fit did not.
    """

    deviance_p_value: float
    ks_p_value: float
    toys: int
    failed: int


def toy_goodness(fit: FitResult, *, toys: int = 1000, seed: int = 0) -> ToyGoodness:
    """Goodness of fit by parametric bootstrap: toys of the fitted expectation, each fitted again.

    Parameters
    ----------
    fit : FitResult
    toys : int
    seed : int

    Raises
    ------
    FitError
        If the fit has failed.
    """
    _check_toys(toys)
    require_fit(fit)
    data = np.random.default_rng(seed).poisson(fit.expected, size=(toys, len(fit.expected))).astype(np.float64)
    importance = pooled_importance(fit.expected[None], fit.mask)
    refit = fit_batch(data, Design.build(fit.function, fit.edges, sqrts=fit.sqrts, importance=importance), fit.mask)
    good = np.flatnonzero(refit.ok)
    distance = [kolmogorov_smirnov(data[i, fit.mask], refit.expected[i, fit.mask]).distance for i in good]
    n = len(good)
    return ToyGoodness(
        deviance_p_value=float((1 + (refit.deviance[good] >= fit.deviance - 1e-9).sum()) / (n + 1)),
        ks_p_value=float((1 + (np.array(distance) >= fit.ks - 1e-12).sum()) / (n + 1)),
        toys=n,
        failed=refit.n_failed,
    )


@dataclass(frozen=True, eq=False)
class GlobalPValue:
    """Look-elsewhere-corrected p-value of the largest local significance of a scan.

    Attributes
    ----------
    global_p, global_significance : float
        Fraction of toys with a larger maximum, ``(k + 1) / (n + 1)``, and its one-sided significance.
    error : float
        Binomial standard deviation of `global_p`.
    maxima : ndarray of shape (toys,)
        Largest local significance of each toy.
    """

    global_p: float
    global_significance: float
    error: float
    maxima: FloatArray


def global_p_value(
    fit: FitResult, windows: Sequence[Window], local_significance: float, *, toys: int = 1000, seed: int = 0
) -> GlobalPValue:
    """Chance that background alone gives a larger excess in any of the windows of one spectrum.

    Every toy is drawn from the fit and goes through the whole scan, with its background fitted again in each window.
    Selections learnt from data, and several cuts, add trials of their own that this does not count.

    Parameters
    ----------
    fit : FitResult
        Background-only fit of the whole spectrum (no window), the source of the toys.
    windows : sequence of Window
    local_significance : float
        Largest one of the scan of the data.
    toys : int
    seed : int

    Raises
    ------
    InputError
        If there is no window.
    FitError
        If the fit has failed.
    """
    _check_toys(toys)
    require_fit(fit)
    if not windows:
        msg = "global_p_value got no window, expected the windows of the scan"
        raise InputError(msg)
    data = np.random.default_rng(seed).poisson(fit.expected, size=(toys, len(fit.expected)))
    used = fit.mask | fit.blinded
    fit_range = (float(fit.edges[:-1][used][0]), float(fit.edges[1:][used][-1]))
    maxima = np.full(toys, -np.inf)
    for window in windows:
        found = local_p_values(data, fit.edges, window, function=fit.function, sqrts=fit.sqrts, fit_range=fit_range)
        maxima = np.fmax(maxima, found.local_significance)
    p = float((1 + (maxima >= local_significance).sum()) / (toys + 1))
    return GlobalPValue(p, float(-special.ndtri(p)), float(np.sqrt(p * (1 - p) / toys)), maxima)


def toy_cls(
    fit: FitResult,
    signal: Spectrum | npt.ArrayLike,
    strength: float,
    *,
    signal_uncertainty: float = 0.0,
    toys: int = 2000,
    seed: int = 0,
) -> tuple[float, FloatArray]:
    """CLs of one signal strength from toys, for counts too low for the asymptotic formula.

    The test statistic is q-tilde; toys are drawn at the nuisances profiled to the data (with and without signal) and the
    auxiliary measurement of the signal yield is drawn around its profiled value, as in pyhf's toy calculator.

    Parameters
    ----------
    fit : FitResult
        Background-only fit of the whole spectrum.
    signal : array_like of shape (bins,) or Spectrum
        Events in each bin for a strength of 1.
    strength : float
        Signal strength to test, above 0.
    signal_uncertainty : float
        Relative uncertainty of the signal yield.
    toys : int
        Of each hypothesis.
    seed : int

    Returns
    -------
    observed : float
        CLs of the data.
    expected : ndarray of shape (5,)
        For the -2, -1, 0, 1, 2 standard deviation quantiles of background alone.
    """
    _check_toys(toys)
    if not strength > 0:
        msg = f"toy_cls got strength {strength}, expected a positive one"
        raise InputError(msg)
    model = signal_model(fit, signal, signal_uncertainty=signal_uncertainty)
    used = fit.mask | fit.blinded
    counts = fit.counts[used]
    rng = np.random.default_rng(seed)
    draws = []
    for mu in (strength, 0.0):
        nuisance = model.profile(counts, mu).nuisance
        background, events = model.expected(np.array([mu]), nuisance)
        data = rng.poisson((background + events)[0], size=(toys, len(counts))).astype(np.float64)
        auxiliary = np.zeros((toys, nuisance.shape[1]))
        auxiliary[:, -1] = rng.normal(nuisance[0, -1], 1.0, size=toys)
        draws.append(_q_tilde(model, data, strength, auxiliary))
    with_signal, without = draws
    seen = float(_q_tilde(model, counts[None], strength)[0])
    targets = np.append(np.quantile(without, special.ndtr([2.0, 1.0, 0.0, -1.0, -2.0])), seen)
    cls = np.array([_tail(with_signal, q) / _tail(without, q) for q in targets])
    return float(cls[5]), cls[:5]


def toy_upper_limit(
    spectrum: Spectrum,
    signal: Spectrum | npt.ArrayLike,
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    signal_uncertainty: float = 0.0,
    cl: float = 0.95,
    mass: float = float("nan"),
    name: str = "signal",
    toys: int = 3000,
    seed: int = 0,
) -> LimitResult:
    """CLs upper limit from toys, for spectra with few events at the signal.

    Below about ten expected events the asymptotic limit is too low (1.9 instead of 3.0 events where nothing is expected
    and nothing seen). CLs is taken from toys at eleven strengths around it and interpolated.

    Parameters
    ----------
    spectrum, signal, function, sqrts, fit_range, signal_uncertainty, cl, mass, name
        As in `resonaut.stats.upper_limit`.
    toys : int
        Of each hypothesis at each strength.
    seed : int

    Returns
    -------
    LimitResult
        In units of signal events in the fitted spectrum.

    Raises
    ------
    FitError
        If CLs does not cross ``1 - cl`` within a factor of five of the asymptotic limit.
    """
    options = {"fit_range": fit_range, "sqrts": sqrts}
    first = upper_limit(
        spectrum,
        signal,
        function=function,
        signal_uncertainty=signal_uncertainty,
        cl=cl,
        mass=mass,
        name=name,
        check=False,
        **options,  # type: ignore[arg-type]
    )
    fit = fit_background(spectrum, function=first.function, **options)  # type: ignore[arg-type]
    template = signal_counts(signal, fit.edges)
    template = template / template[fit.mask].sum()
    band = (*first.expected, first.observed)
    grid = np.geomspace(0.7 * min(band), max(5.0 * first.expected[2], 1.8 * max(band)), 11)
    cls = np.empty((6, len(grid)))
    for k, strength in enumerate(grid):
        found = toy_cls(fit, template, float(strength), signal_uncertainty=signal_uncertainty, toys=toys, seed=seed + k)
        cls[:5, k], cls[5, k] = found[1], found[0]
    limits = [_crossing(grid, row, 1.0 - cl) for row in cls]
    if not np.isfinite(limits[5]):
        msg = f"no toy limit for {name}: CLs = {1 - cl:.3g} is not crossed in {grid[0]:.4g}..{grid[-1]:.4g} events"
        raise FitError(msg)
    expected = cast("tuple[float, float, float, float, float]", tuple(limits[:5]))
    return replace(first, observed=limits[5], expected=expected, status="converged, toys")


def _crossing(grid: FloatArray, cls: FloatArray, alpha: float) -> float:
    """Last crossing of alpha, interpolated in the logarithms; the fluctuations of toys are smoothed to a falling curve."""
    falling = np.minimum.accumulate(np.maximum(cls, 1e-6))
    above = np.flatnonzero(falling > alpha)
    if not len(above) or above[-1] + 1 >= len(grid):
        return float("nan")
    k = above[-1]
    x, y = np.log(grid[k : k + 2]), np.log(falling[k : k + 2])
    return float(np.exp(np.interp(-np.log(alpha), -y, x)))


def _q_tilde(
    model: SignalModel, counts: FloatArray, strength: float, auxiliary: FloatArray | None = None
) -> FloatArray:
    best = model.maximum(counts, auxiliary)
    fixed = model.profile(counts, np.full(len(counts), strength), auxiliary)
    return np.asarray(np.where(best.strength > strength, 0.0, np.maximum(fixed.twice_nll - best.twice_nll, 0.0)))


def _tail(sample: FloatArray, value: float) -> float:
    """Fraction of a sample at or above a value; rounding does not split ties."""
    return float(max((sample >= value - 1e-7 * (1.0 + abs(value))).mean(), 1.0 / (len(sample) + 1)))
