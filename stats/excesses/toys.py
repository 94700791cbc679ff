"""What asymptotic formulae cannot give: goodness of fit and global significance from pseudo-experiments.

The batched engine refits every pseudo-experiment, so that thousands of them take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.excesses.significance import local_significances
from resonaut.stats.fits.fit import FitResult, fit_counts, require_counts, require_fit
from resonaut.stats.functions import background_function
from resonaut.stats.goodness import cms_chi2, deviance, kolmogorov_smirnov, pearson_chi2
from resonaut.stats.records import brief
from resonaut.stats.regions import Region, fit_region
from resonaut.stats.toy_tools import poisson_toys, random_stream, require_toys, toy_p_value
from resonaut.stats.windows import Window

__all__ = ("GlobalPValue", "PreparedScan", "ToyGoodness", "global_p_of_toys", "global_p_value", "toy_goodness")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CHUNK = 20_000  # toys held at a time


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
    chi2_p_value, cms_chi2_p_value : float
        The same for `pearson_chi2` (merged bins) and for `cms_chi2`.
    """

    deviance_p_value: float
    ks_p_value: float
    toys: int
    failed: int
    chi2_p_value: float = float("nan")
    cms_chi2_p_value: float = float("nan")


def toy_goodness(
    fit: FitResult, *, toys: int = 1000, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> ToyGoodness:
    """Goodness of fit by parametric bootstrap: toys of the fitted expectation, each fitted again.

    Parameters
    ----------
    fit : FitResult
        Toys of a weighted fit are drawn in effective counts.
    toys : int
    seed : int
    progress : callable, optional
        Called with the number of toys done and their total. Functions that are not log-linear take some 20 ms a toy.

    Raises
    ------
    FitError
        If the fit has failed.
    """
    require_toys(toys)
    require_fit(fit)
    scale = np.ones_like(fit.expected) if fit.scale is None else fit.scale
    mean = fit.expected / scale
    data = poisson_toys(mean, toys, seed)
    expected, good = _refit(fit, data, mean, scale, progress)
    p = len(fit.parameters)
    pairs = [(data[i, fit.mask], expected[i, fit.mask]) for i in np.flatnonzero(good)]
    seen = ((fit.counts / scale)[fit.mask], mean[fit.mask])

    def p_value(statistic: Callable[[FloatArray, FloatArray], float]) -> float:
        return toy_p_value([statistic(n, mu) for n, mu in pairs], statistic(*seen)).p

    return ToyGoodness(
        deviance_p_value=p_value(deviance),
        ks_p_value=p_value(lambda n, mu: kolmogorov_smirnov(n, mu).distance),
        toys=len(pairs),
        failed=int((~good).sum()),
        chi2_p_value=p_value(lambda n, mu: pearson_chi2(n, mu, p).chi2),
        cms_chi2_p_value=p_value(lambda n, mu: cms_chi2(n, mu, p).chi2),
    )


def _refit(
    fit: FitResult,
    data: FloatArray,
    mean: FloatArray,
    scale: FloatArray,
    progress: Callable[[int, int], None] | None,
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Expected (effective) counts of each toy and whether its fit can be used: batched if the function allows it."""
    toys = len(data)
    if background_function(fit.function).log_linear:
        design = Design.build(
            fit.function, fit.edges, sqrts=fit.sqrts, importance=pooled_importance(mean[None], fit.mask)
        )
        if fit.scale is not None:
            design = replace(design, weights=design.weights / scale[:, None])
        batch = fit_batch(data, design, fit.mask)
        if progress is not None:
            progress(toys, toys)
        return batch.expected, batch.ok
    region = Region(fit.mask | fit.blinded, fit.blinded, fit.mask)
    expected, good = np.zeros_like(data), np.zeros(toys, dtype=bool)
    for i, toy in enumerate(data):
        found = fit_counts(toy * scale, fit.edges, region, function=fit.function, sqrts=fit.sqrts, scale=fit.scale)
        expected[i], good[i] = found.expected / scale, found.ok
        if progress is not None:
            progress(i + 1, toys)
    return expected, good


@dataclass(frozen=True, eq=False)
class GlobalPValue:
    """Look-elsewhere-corrected p-value of the largest local significance of a scan.

    Attributes
    ----------
    global_p, global_significance : float
        Fraction of toys with a larger maximum, ``(k + 1) / (n + 1)``, and its one-sided significance; NaN where the
        data have no significance, or no toy has one.
    error : float
        Binomial standard deviation of `global_p`.
    maxima : ndarray of shape (toys,)
        Largest local significance of each toy; NaN where no window could be fitted.
    failed : int
        Windows of toys without a p-value, out of toys times windows. A toy that misses some has the largest of the others,
        so that many of them make the global p-value too small.
    lost : int
        Toys without any, left out of the fraction.
    """

    global_p: float
    global_significance: float
    error: float
    maxima: FloatArray
    failed: int = 0
    lost: int = 0

    __repr__ = brief


def global_p_of_toys(significance: npt.ArrayLike, local_significance: float) -> GlobalPValue:
    """Global p-value from the significances of toys that went through a scan of any kind.

    Parameters
    ----------
    significance : array_like of shape (toys, ...)
        Of every hypothesis in every toy, NaN where its fit failed: for instance of `toy_significances`.
    local_significance : float
        Largest one of the scan of the data.

    Examples
    --------
    >>> from resonaut.stats import global_p_of_toys
    >>> nan = float("nan")
    >>> found = global_p_of_toys([[0.2, 1.9], [nan, 0.4], [nan, nan], [2.5, -0.3]], 1.0)
    >>> found.global_p, found.failed, found.lost
    (0.75, 3, 1)
    """
    field = np.asarray(significance, dtype=np.float64)
    field = field.reshape(len(field), -1)
    return _global(np.fmax.reduce(field, axis=1), local_significance, int(np.isnan(field).sum()))


def _global(maxima: FloatArray, observed: float, failed: int) -> GlobalPValue:
    found = toy_p_value(maxima, observed)
    return GlobalPValue(found.p, float(-special.ndtri(found.p)), found.error, maxima, failed, found.lost)


def global_p_value(
    fit: FitResult,
    windows: Sequence[Window],
    local_significance: float,
    *,
    toys: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> GlobalPValue:
    """Chance that background alone gives a larger excess in any of the windows of one spectrum.

    Every toy is drawn from the fit and goes through the whole scan, with its background fitted again in each window.
    Selections learnt from data, and several cuts, add trials of their own that this does not count.

    Parameters
    ----------
    fit : FitResult
        Background-only fit of the whole spectrum (no window), of counts, the source of the toys.
    windows : sequence of Window
    local_significance : float
        Largest one of the scan of the data; the global p-value of NaN (no fit converged) is NaN.
    toys : int
        10^5 toys in 21 windows take about a minute of one core. They are made and forgotten in parts.
    seed : int
    progress : callable, optional
        Called with the number of toys done and their total.

    Raises
    ------
    InputError
        If there is no window, or the fit is one of weights.
    FitError
        If the fit has failed.
    """
    require_toys(toys)
    require_counts(require_fit(fit))
    if not windows:
        msg = "global_p_value got no window, expected the windows of the scan"
        raise InputError(msg)
    scan = PreparedScan.of(fit, windows)
    rng, maxima, failed = random_stream(seed), np.full(toys, np.nan), 0
    for first in range(0, toys, CHUNK):
        size = min(CHUNK, toys - first)
        found, bad = scan.largest(poisson_toys(fit.expected, size, rng))
        maxima[first : first + size] = found
        failed += int(bad.sum())
        if progress is not None:
            progress(first + size, toys)
    return _global(maxima, local_significance, failed)


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Windows of a scan with one design for all spectra, made from a fit; for toys of that fit, and for its data.

    Attributes
    ----------
    windows : tuple of Window
    regions : tuple of Region
    design : Design
    """

    windows: tuple[Window, ...]
    regions: tuple[Region, ...]
    design: Design

    @classmethod
    def of(cls, fit: FitResult, windows: Sequence[Window]) -> PreparedScan:
        """Prepare the scan of the range, with the function, of a fit."""
        used = fit.mask | fit.blinded
        fit_range = (float(fit.edges[:-1][used][0]), float(fit.edges[1:][used][-1]))
        regions = tuple(fit_region(fit.edges, window, fit_range) for window in windows)
        importance = pooled_importance(fit.expected[None], used)
        design = Design.build(fit.function, fit.edges, sqrts=fit.sqrts, importance=importance)
        return cls(tuple(windows), regions, design)

    def significances(self, counts: FloatArray) -> Iterator[FloatArray]:
        """Local significance of every spectrum, window by window, shape (N,) each; NaN where a fit failed."""
        return (local_significances(counts, self.design, region) for region in self.regions)

    def largest(self, counts: FloatArray) -> tuple[FloatArray, IntArray]:
        """Largest significance of each spectrum and the number of its windows without one, shape (N,).

        The largest one is NaN where no window has one.
        """
        largest, failed = np.full(len(counts), np.nan), np.zeros(len(counts), dtype=np.int64)
        for z in self.significances(counts):
            failed += np.isnan(z)
            largest = np.fmax(largest, z)
        return largest, failed

    def best(self, counts: FloatArray) -> tuple[float, float, float]:
        """Largest significance of one spectrum, and the ends of its signal region; NaN where no window has one."""
        row = np.array([z[0] for z in self.significances(counts[None])])
        if np.isnan(row).all():
            return float("nan"), float("nan"), float("nan")
        k = int(np.nanargmax(row))
        return float(row[k]), self.windows[k].low, self.windows[k].high
