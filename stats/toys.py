"""What asymptotic formulae cannot give: goodness of fit and global significance from pseudo-experiments.

The batched engine refits every pseudo-experiment, so that thousands of them take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import ConfigError, InputError
from resonaut.stats.batched import fit_batch
from resonaut.stats.design import Design, pooled_importance
from resonaut.stats.fit import FitResult, require_fit
from resonaut.stats.goodness import kolmogorov_smirnov
from resonaut.stats.significance import local_p_values
from resonaut.stats.windows import Window

__all__ = ("GlobalPValue", "ToyGoodness", "global_p_value", "toy_goodness")

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
