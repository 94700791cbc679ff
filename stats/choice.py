r"""The lowest order of a nested family that describes the sidebands.

Tight anomaly cuts leave 5 to 200 events, which cannot determine four parameters: a fit with too many of them follows
fluctuations next to the signal region, one with too few is biased. The choice here is the one that ATLAS and CMS make,
an F-test between nested functions, on the sidebands only, so that an excess in the signal region cannot influence it.
A function is a candidate only where ten events are there for each of its shape parameters, and where its fit converges
to finite parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import stats

from resonaut.errors import ConfigError, InputError
from resonaut.stats.batched import CONVERGED, BatchFit, fit_batch
from resonaut.stats.design import Design, pooled_importance
from resonaut.stats.functions import DEFAULT_SQRTS, DIJET_FAMILY, background_function
from resonaut.stats.regions import fit_region
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.windows import Window

__all__ = ("FunctionChoice", "choose_function", "choose_functions", "f_test")

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

    Examples
    --------
    >>> round(float(f_test(40.0, 30.0, 1, 30)), 4)
    0.0036
    """
    if ndf_large < 1:
        return np.ones_like(np.asarray(deviance_small, dtype=np.float64))
    large = np.asarray(deviance_large, dtype=np.float64)
    drop = np.maximum(np.asarray(deviance_small, dtype=np.float64) - large, 0.0)
    return np.asarray(stats.f.sf(drop / added / np.maximum(1.0, large / ndf_large), added, ndf_large))


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
        For each candidate but the last, the smallest F-test p-value against a larger one.
    """

    function: str
    candidates: tuple[str, ...]
    deviances: tuple[float, ...]
    p_values: tuple[float, ...]


def choose_functions(
    counts: npt.ArrayLike,
    edges: npt.ArrayLike,
    mask: npt.ArrayLike,
    *,
    candidates: Sequence[str] = DIJET_FAMILY,
    sqrts: float = DEFAULT_SQRTS,
    threshold: float = F_TEST_THRESHOLD,
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

    Returns
    -------
    list of FunctionChoice
        One for each spectrum.
    """
    data, used = np.atleast_2d(np.asarray(counts, dtype=np.float64)), np.asarray(mask, dtype=bool)
    sizes = [len(background_function(name).names) for name in candidates]
    if not sizes or any(later <= former for former, later in pairwise(sizes)):
        msg = f"choose_function got candidates {list(candidates)}, expected nested functions of increasing order"
        raise ConfigError(msg)
    if not 0 < threshold < 1:
        msg = f"choose_function got threshold {threshold}, expected 0 < threshold < 1"
        raise ConfigError(msg)
    within = [(name, size) for name, size in zip(candidates, sizes, strict=True) if size <= used.sum()]
    if not within:
        msg = f"choose_function got {used.sum()} bins to fit, expected at least {sizes[0]}: widen the range"
        raise InputError(msg)
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
    p_values = np.ones((len(within), len(data)))
    for small in range(len(within) - 1):
        for large in range(small + 1, len(within)):
            added = within[large][1] - within[small][1]
            p = f_test(deviances[small], deviances[large], added, int(used.sum()) - within[large][1])
            p_values[small] = np.minimum(p_values[small], np.where(allowed[large], p, 1.0))
    allowed[0] = True  # something must be chosen
    chosen = (allowed & (p_values >= threshold)).argmax(axis=0)
    names = tuple(name for name, _ in within)
    return [
        FunctionChoice(names[k], names, tuple(map(float, deviances[:, n])), tuple(map(float, p_values[:-1, n])))
        for n, k in enumerate(chosen)
    ]


def choose_function(
    spectrum: Spectrum,
    window: Window | None = None,
    *,
    candidates: Sequence[str] = DIJET_FAMILY,
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    threshold: float = F_TEST_THRESHOLD,
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

    Raises
    ------
    InputError, ConfigError
        If the spectrum, the window or the candidates cannot be used.
    """
    counts, edges = poisson_counts(spectrum)
    mask = fit_region(edges, window, fit_range).fitted
    return choose_functions(counts, edges, mask, candidates=candidates, sqrts=sqrts, threshold=threshold)[0]
