"""Goodness of fit of a Poisson spectrum: chi2 in several conventions, deviance, Kolmogorov-Smirnov, pulls.

Published values of chi2 differ by convention more than by fit. `pearson_chi2` takes its errors from the expectation and
merges sparse bins; `neyman_chi2` takes them from the counts; `cms_chi2` takes the asymmetric errors that are drawn on the
points; `deviance_chi2` is the likelihood ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError

__all__ = (
    "ChiSquare",
    "KolmogorovSmirnov",
    "cms_chi2",
    "deviance",
    "deviance_chi2",
    "kolmogorov_smirnov",
    "neyman_chi2",
    "pearson_chi2",
    "poisson_interval",
    "poisson_significance",
)

FloatArray = npt.NDArray[np.float64]

MIN_EXPECTED = 5.0  # Cochran's rule for Pearson's statistic to follow a chi2 distribution


class ChiSquare(NamedTuple):
    """A chi2, the number of (merged) bins, its degrees of freedom, and its p-value if it follows a chi2 distribution."""

    chi2: float
    bins: int
    ndf: int
    p_value: float


class KolmogorovSmirnov(NamedTuple):
    """Largest distance of the cumulative distributions, and its p-value."""

    distance: float
    p_value: float


def _spectra(counts: npt.ArrayLike, expected: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as arrays of one shape; an expectation of a failed fit is NaN, and so is what follows from it."""
    n, mu = np.asarray(counts, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if n.shape != mu.shape or n.ndim != 1 or not (np.isfinite(n) & (n >= 0)).all():
        msg = f"goodness of fit got counts {n.shape} and expected {mu.shape}, expected (bins,) of both, finite counts >= 0"
        raise InputError(msg)
    return n, mu


def deviance(counts: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    r"""Baker-Cousins likelihood chi2, :math:`2\sum[\mu - n + n\ln(n/\mu)]` (NIM 221 (1984) 437).

    Infinite where events are seen and none are expected.

    Examples
    --------
    >>> round(deviance([3, 0], [2.0, 1.0]), 4)
    2.4328
    """
    n, mu = _spectra(counts, expected)
    return float(2.0 * special.kl_div(n, mu).sum())


def pearson_chi2(
    counts: npt.ArrayLike, expected: npt.ArrayLike, parameters: int = 0, *, min_expected: float = MIN_EXPECTED
) -> ChiSquare:
    """Pearson's chi2 after merging sparse neighbours.

    From the first bin on, bins are put together until at least `min_expected` events are expected; what is left over
    at the end joins the last group. The grouping depends on the expectation only, never on the observed counts.

    Parameters
    ----------
    counts, expected : array_like of shape (bins,)
        Fitted bins only.
    parameters : int
        Number of fitted parameters; degrees of freedom are merged bins less parameters.
    min_expected : float
        Least expectation of a merged bin.

    Returns
    -------
    ChiSquare
        With a p-value of NaN where no degree of freedom is left.

    Examples
    --------
    >>> pearson_chi2([12, 4, 3, 0], [10.0, 4.0, 2.0, 1.0], 1).bins
    2
    """
    n, mu = _spectra(counts, expected)
    starts, total = [0], 0.0
    for index, value in enumerate(mu):
        if index and total >= min_expected:
            starts.append(index)
            total = 0.0
        total += value
    if total < min_expected and len(starts) > 1:
        starts.pop()
    observed, wanted = np.add.reduceat(n, starts), np.maximum(np.add.reduceat(mu, starts), 1e-300)
    chi2 = float(((observed - wanted) ** 2 / wanted).sum()) if observed.any() or mu.any() else 0.0
    ndf = len(starts) - parameters
    return ChiSquare(chi2, len(starts), ndf, float(special.chdtrc(ndf, chi2)) if ndf > 0 else float("nan"))


def _sum_of_squares(pull: FloatArray, parameters: int) -> ChiSquare:
    chi2, ndf = float((pull**2).sum()), len(pull) - parameters
    return ChiSquare(chi2, len(pull), ndf, float(special.chdtrc(ndf, chi2)) if ndf > 0 else float("nan"))


def deviance_chi2(counts: npt.ArrayLike, expected: npt.ArrayLike, parameters: int = 0) -> ChiSquare:
    """`deviance` with its degrees of freedom: bins less parameters.

    Examples
    --------
    >>> from resonaut.stats import deviance_chi2
    >>> round(deviance_chi2([3, 0], [2.0, 1.0]).p_value, 4)
    0.2963
    """
    value, bins = deviance(counts, expected), int(np.size(counts))
    ndf = bins - parameters
    return ChiSquare(value, bins, ndf, float(special.chdtrc(ndf, value)) if ndf > 0 else float("nan"))


def neyman_chi2(counts: npt.ArrayLike, expected: npt.ArrayLike, parameters: int = 0) -> ChiSquare:
    """Sum of ``(n - mu)^2 / n`` over non-empty bins, Neyman's statistic.

    Too large where bins hold few events; here to compare with publications.

    Examples
    --------
    >>> from resonaut.stats import neyman_chi2
    >>> neyman_chi2([4, 0], [2.0, 1.0])[:3]
    (1.0, 1, 1)
    """
    n, mu = _spectra(counts, expected)
    used = n > 0
    return _sum_of_squares((n[used] - mu[used]) / np.sqrt(n[used]), parameters)


def poisson_interval(counts: npt.ArrayLike, level: float = 0.6827) -> tuple[FloatArray, FloatArray]:
    """Central interval of the expectation for each count, Garwood's: the error bars of counts.

    Parameters
    ----------
    counts : array_like of any shape
    level : float
        Coverage.

    Returns
    -------
    low, high : ndarray of the shape of `counts`

    Raises
    ------
    InputError
        If a count is negative or not finite, or the level is not between 0 and 1.

    Examples
    --------
    >>> from resonaut.stats import poisson_interval
    >>> [bound.round(3).tolist() for bound in poisson_interval([0, 4])]
    [[0.0, 2.086], [1.841, 7.163]]
    """
    n = np.asarray(counts, dtype=np.float64)
    if not (np.isfinite(n) & (n >= 0)).all() or not 0.0 < level < 1.0:
        msg = f"poisson_interval got a level of {level} for {n.size} counts, expected 0 < level < 1 and finite counts >= 0"
        raise InputError(msg)
    tail = 0.5 * (1.0 - level)
    low = np.where(n > 0, special.gammaincinv(np.maximum(n, 1e-300), tail), 0.0)
    return low, np.asarray(special.gammainccinv(n + 1.0, tail))


def cms_chi2(counts: npt.ArrayLike, expected: npt.ArrayLike, parameters: int = 0) -> ChiSquare:
    """chi2 as the CMS dijet searches quote it.

    The error of a bin is the one drawn on its point, on the side of the fit: down to or up to the bound of the central 68 %
    interval. Empty bins are left out. It reproduces the values of arXiv:1611.03568 and arXiv:1806.00843 (see
    docs/stats/fits.md).

    Parameters
    ----------
    counts, expected : array_like of shape (bins,)
        Fitted bins only.
    parameters : int
        Number of fitted parameters.

    Examples
    --------
    >>> from resonaut.stats import cms_chi2
    >>> round(cms_chi2([4, 0, 9], [2.0, 1.0, 9.5], 1).chi2, 3)
    1.106
    """
    n, mu = _spectra(counts, expected)
    used = n > 0
    n, mu = n[used], mu[used]
    low, high = poisson_interval(n)
    return _sum_of_squares((n - mu) / np.where(mu > n, high - n, n - low), parameters)


def kolmogorov_smirnov(counts: npt.ArrayLike, expected: npt.ArrayLike) -> KolmogorovSmirnov:
    """Kolmogorov-Smirnov test of binned counts against expected counts, both normalised.

    Notes
    -----
    The p-value is that of the continuous, parameter-free test, which is conservative here: binning and fitting both
    shrink the distance (fitted spectra give p-values near 1). It is kept because the field quotes it (arXiv:2104.02092,
    appendix A); `resonaut.stats.toy_goodness` calibrates it with toys.

    Examples
    --------
    >>> round(kolmogorov_smirnov([30, 20], [25.0, 25.0]).distance, 6)
    0.1
    """
    n, mu = _spectra(counts, expected)
    events, total = n.sum(), mu.sum()
    if events <= 0 or total <= 0:
        return KolmogorovSmirnov(0.0, 1.0)
    distance = float(np.abs(np.cumsum(n) / events - np.cumsum(mu) / total).max())
    return KolmogorovSmirnov(distance, float(special.kolmogorov(distance * np.sqrt(events))))


def poisson_significance(counts: npt.ArrayLike, expected: npt.ArrayLike) -> FloatArray:
    """Signed significance of each count for a known expectation.

    The p-value is the Poisson tail, P(>= n) for an excess and P(<= n) for a deficit; a count whose two tails both
    exceed one half has significance 0. For large counts this is (n - mu) / sqrt(mu) with the skewness of the Poisson
    distribution taken into account (Choudalakis and Casadei, arXiv:1111.2062).

    Examples
    --------
    >>> poisson_significance([0, 1, 9], [0.0, 1.0, 3.0]).round(2).tolist()
    [0.0, 0.0, 2.67]
    """
    n, mu = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), np.asarray(expected, dtype=np.float64))
    at_least = np.where(n > 0, special.gammainc(np.maximum(n, 1e-300), mu), 1.0)
    at_most = special.gammaincc(n + 1.0, mu)
    excess = np.maximum(special.ndtri(np.minimum(at_least, 0.5)) * -1.0, 0.0)
    deficit = np.maximum(special.ndtri(np.minimum(at_most, 0.5)) * -1.0, 0.0)
    return np.asarray(excess - deficit)
