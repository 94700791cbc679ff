r"""The lowest order of a nested family that describes the sidebands.

Tight anomaly cuts leave 5 to 200 events, which cannot determine four parameters: a fit with too many of them follows
fluctuations next to the signal region, one with too few is biased. The choice here is the one that ATLAS and CMS make,
an F-test between nested functions, on the sidebands only, so that an excess in the signal region cannot influence it.
A function is a candidate only where ten events are there for each of its shape parameters, and where its fit converges
to finite parameters.

The distribution of F is exact for Gaussian errors only. `f_test_toys` takes it from pseudo-experiments of the smaller
function, each fitted with both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, FitError, InputError
from resonaut.stats.engine.batched import CONVERGED, BatchFit, fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS, DIJET_FAMILY, background_function
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.toy_tools import poisson_toys, random_stream, require_toys, toy_p_value
from resonaut.stats.windows import Window

__all__ = ("FTestToys", "FunctionChoice", "choose_function", "choose_functions", "f_test", "f_test_toys")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

EVENTS_PER_SHAPE_PARAMETER = 10  # usual rule of regression; below it a maximum-likelihood shape is mostly noise
F_TEST_THRESHOLD = 0.05  # the value used by the CMS dijet searches


def f_test(deviance_small: npt.ArrayLike, deviance_large: npt.ArrayLike, added: int, ndf_large: int) -> FloatArray:
    r"""p-value of the F-test that the larger of two nested functions fits no better than it must.

    .. math:: F = \frac{(D_\mathrm{small} - D_\mathrm{large}) / \Delta p}{\max(1, D_\mathrm{large} / n_\mathrm{df})}

    with D the deviance (analysis of deviance; McCullagh and Nelder, section 4.5). The dispersion is not taken below 1:
    in sparse spectra the deviance per degree of freedom falls below 1 and a plain F-test would add parameters for nothing.

    Parameters
    ----------
    deviance_small, deviance_large : array_like
        Deviances of the smaller and of the larger function on the same bins.
    added : int
        Parameters that the larger function has more.
    ndf_large : int
        Degrees of freedom of the larger fit; below 1 nothing can be tested and the p-value is 1.

    Raises
    ------
    InputError
        If a deviance is negative, or no parameter is added.

    Examples
    --------
    >>> round(float(f_test(40.0, 30.0, 1, 30)), 4)
    0.0036
    """
    small, large = (np.asarray(x, dtype=np.float64) for x in (deviance_small, deviance_large))
    if (small < 0).any() or (large < 0).any() or not added >= 1 or np.isnan(ndf_large):
        msg = (
            f"f_test got deviances {small} and {large}, {added} added parameters and {ndf_large} degrees "
            "of freedom, expected deviances >= 0 and at least one added parameter"
        )
        raise InputError(msg)
    return _f_p_value(small, large, added, ndf_large)


def _f_p_value(deviance_small: FloatArray, deviance_large: FloatArray, added: int, ndf_large: int) -> FloatArray:
    """p-value of `f_test` for deviances of fits, which rounding may take below 0."""
    if ndf_large < 1:
        return np.ones_like(deviance_small)
    return np.asarray(special.fdtrc(added, ndf_large, _f_statistic(deviance_small, deviance_large, added, ndf_large)))


def _f_statistic(small: npt.ArrayLike, large: npt.ArrayLike, added: int, ndf_large: int) -> FloatArray:
    """F of `f_test`."""
    larger = np.asarray(large, dtype=np.float64)
    drop = np.maximum(np.asarray(small, dtype=np.float64) - larger, 0.0)
    return np.asarray(drop / added / np.maximum(1.0, larger / max(ndf_large, 1)))


@dataclass(frozen=True, eq=False)
class FTestToys:
    """An F-test and its calibration by toys.

    Attributes
    ----------
    small, large : str
        Nested functions.
    deviance_small, deviance_large : float
        On the fitted bins.
    added, ndf : int
        Parameters that the larger function has more, and its degrees of freedom.
    f : float
        Statistic of `f_test`.
    p_value : float
        Fraction of toys of the smaller function with an F at least as large, ``(k + 1) / (n + 1)``.
    asymptotic_p_value : float
        Of the F distribution.
    statistics : ndarray of shape (toys,)
        F of the toys for which both fits converged.
    toys, failed : int
        Toys that converged, and that did not.
    """

    small: str
    large: str
    deviance_small: float
    deviance_large: float
    added: int
    ndf: int
    f: float
    p_value: float
    asymptotic_p_value: float
    statistics: FloatArray
    toys: int
    failed: int

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FTestToys:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays={"statistics": float})


def f_test_toys(
    spectrum: Spectrum,
    small: str,
    large: str,
    window: Window | None = None,
    *,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    toys: int = 1000,
    seed: int = 0,
) -> FTestToys:
    """F-test between two nested functions with the distribution of F from toys of the smaller one.

    Parameters
    ----------
    spectrum : Spectrum
    small, large : str
        Names of nested functions.
    window : Window, optional
        Its signal region is left out.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    toys : int
    seed : int

    Raises
    ------
    InputError, ConfigError
        If the spectrum, the window or the functions cannot be used, or there are no more bins than parameters.
    FitError
        If one of the two fits of the data fails. Failed fits of toys are counted.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import f_test_toys, log_edges
    >>> counts = 1e5 * np.exp(-0.2 * np.arange(30)).round(4)
    >>> test = f_test_toys((counts, log_edges(2800.0, 5200.0, 30)), "dijet3", "dijet4", toys=200)
    >>> test.p_value > 0.8, test.failed
    (True, 0)
    """
    counts, edges = poisson_counts(spectrum)
    mask = fit_region(edges, window, fit_range).fitted
    return _test_with_toys(counts, edges, mask, (small, large), sqrts, toys, seed)


def _test_with_toys(
    counts: FloatArray, edges: FloatArray, mask: BoolArray, pair: tuple[str, str], sqrts: float, toys: int, seed: int
) -> FTestToys:
    sizes = [len(background_function(name).names) for name in pair]
    ndf = int(mask.sum()) - sizes[1]
    if sizes[1] <= sizes[0] or ndf < 1 or toys < 1:
        msg = (
            f"f_test_toys got {pair} with {sizes} parameters, {mask.sum()} bins and {toys} toys, expected the smaller "
            "function first, more bins than parameters and at least one toy"
        )
        raise ConfigError(msg)
    importance = pooled_importance(counts[None], mask)
    designs = [Design.build(name, edges, sqrts=sqrts, importance=importance) for name in pair]
    found = [fit_batch(counts, design, mask) for design in designs]
    bad = [name for name, fit in zip(pair, found, strict=True) if fit.n_failed]
    if bad:
        msg = f"f_test_toys: the fit of {' and of '.join(bad)} to the data failed; expected fits that converge: use fewer parameters or a wider range"
        raise FitError(msg)
    data = poisson_toys(np.where(mask, found[0].expected[0], 0.0), toys, seed)
    refits = [fit_batch(data, design, mask) for design in designs]
    good = refits[0].ok & refits[1].ok
    added = sizes[1] - sizes[0]
    null = _f_statistic(refits[0].deviance[good], refits[1].deviance[good], added, ndf)
    seen = [float(fit.deviance[0]) for fit in found]
    f = float(_f_statistic(seen[0], seen[1], added, ndf))
    return FTestToys(
        small=pair[0],
        large=pair[1],
        deviance_small=seen[0],
        deviance_large=seen[1],
        added=added,
        ndf=ndf,
        f=f,
        p_value=toy_p_value(null, f).p,
        asymptotic_p_value=float(f_test(seen[0], seen[1], added, ndf)),
        statistics=null,
        toys=len(null),
        failed=int((~good).sum()),
    )


@dataclass(frozen=True)
class FunctionChoice:
    """What `choose_function` found.

    Attributes
    ----------
    function : str
        The chosen one.
    candidates : tuple of str
    deviances : tuple of float
        Of each candidate, on the fitted bins.
    p_values : tuple of float
        For each candidate but the last, the smallest F-test p-value against a larger one; NaN where toys were asked for
        and its own fit failed.
    toys : int
        Toys behind each p-value; 0 where it is that of the F distribution.
    """

    function: str
    candidates: tuple[str, ...]
    deviances: tuple[float, ...]
    p_values: tuple[float, ...]
    toys: int = 0

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FunctionChoice:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, tuples=("candidates", "deviances", "p_values"))


def choose_functions(
    counts: npt.ArrayLike,
    edges: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    candidates: Sequence[str] = DIJET_FAMILY,
    sqrts: float = DEFAULT_SQRTS,
    threshold: float = F_TEST_THRESHOLD,
    toys: int = 0,
    seed: int = 0,
) -> list[FunctionChoice]:
    """`choose_function` for many spectra of one binning and one mask.

    Parameters
    ----------
    counts : array_like of shape (N, bins)
    edges : array_like of shape (bins + 1,)
        GeV.
    mask : bool array_like of shape (bins,)
        Bins to fit.
    candidates : sequence of str
        Nested functions in increasing order.
    sqrts : float
        GeV.
    threshold : float
        F-test p-value below which the larger function is needed.
    toys : int
        With toys, p-values are those of `f_test_toys`; by default those of the F distribution.
    seed : int

    Returns
    -------
    list of FunctionChoice
        One for each spectrum.
    """
    data, used = np.atleast_2d(np.asarray(counts, dtype=np.float64)), np.asarray(mask, dtype=bool)
    bounds = np.asarray(edges, dtype=np.float64)
    require_toys(toys, 0)
    random_stream(seed)
    within = _usable(candidates, threshold, int(used.sum()))
    importance = pooled_importance(data, used)
    fits: list[BatchFit] = [
        fit_batch(data, Design.build(name, edges, sqrts=sqrts, importance=importance), used) for name, _ in within
    ]
    deviances = np.stack([fit.deviance for fit in fits])
    events = data[:, used].sum(axis=1)
    allowed = np.stack(
        [
            (fit.status == CONVERGED) & (events >= EVENTS_PER_SHAPE_PARAMETER * (size - 1))
            for fit, (_, size) in zip(fits, within, strict=True)
        ]
    )
    names = tuple(name for name, _ in within)
    p_values = np.ones((len(within), len(data)))
    for small, large in combinations(range(len(within)), 2):
        ndf = int(used.sum()) - within[large][1]
        if toys and ndf > 0:
            pair = (names[small], names[large])
            testable = allowed[large] & fits[small].ok
            p = np.array(
                [
                    _test_with_toys(row, bounds, used, pair, sqrts, toys, seed).p_value if fine else np.nan
                    for row, fine in zip(data, testable, strict=True)
                ]
            )
        else:
            p = _f_p_value(deviances[small], deviances[large], within[large][1] - within[small][1], ndf)
        p_values[small] = np.minimum(p_values[small], np.where(allowed[large], p, 1.0))
    allowed[0] = True  # something must be chosen
    chosen = (allowed & (p_values >= threshold)).argmax(axis=0)
    return [
        FunctionChoice(names[k], names, tuple(map(float, deviances[:, n])), tuple(map(float, p_values[:-1, n])), toys)
        for n, k in enumerate(chosen)
    ]


def _usable(candidates: Sequence[str], threshold: float, bins: int) -> list[tuple[str, int]]:
    """Candidates that the bins can determine, with their numbers of parameters."""
    sizes = [len(background_function(name).names) for name in candidates]
    if not sizes or any(later <= former for former, later in pairwise(sizes)):
        msg = f"choose_function got candidates {list(candidates)}, expected nested functions of increasing order"
        raise ConfigError(msg)
    if not 0 < threshold < 1:
        msg = f"choose_function got threshold {threshold}, expected 0 < threshold < 1"
        raise ConfigError(msg)
    within = [(name, size) for name, size in zip(candidates, sizes, strict=True) if size <= bins]
    if not within:
        msg = f"choose_function got {bins} bins to fit, expected at least {sizes[0]}: widen the range"
        raise InputError(msg)
    return within


def choose_function(
    spectrum: Spectrum,
    window: Window | None = None,
    *,
    candidates: Sequence[str] = DIJET_FAMILY,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    threshold: float = F_TEST_THRESHOLD,
    toys: int = 0,
    seed: int = 0,
) -> FunctionChoice:
    """Lowest order of a nested family that no larger member improves significantly (F-test), outside the window.

    Parameters
    ----------
    spectrum : Spectrum
    window : Window, optional
        Its signal region is left out.
    candidates : sequence of str
        Nested functions in increasing order.
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    threshold : float
        F-test p-value below which the larger function is needed.
    toys : int
        With toys, p-values are those of `f_test_toys`; by default those of the F distribution.
    seed : int

    Raises
    ------
    InputError, ConfigError
        If the spectrum, the window or the candidates cannot be used.
    """
    counts, edges = poisson_counts(spectrum)
    mask = fit_region(edges, window, fit_range).fitted
    return choose_functions(
        counts, edges, mask, candidates=candidates, sqrts=sqrts, threshold=threshold, toys=toys, seed=seed
    )[0]
