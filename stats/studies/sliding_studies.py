"""What toys of the whole sliding-window procedure say: goodness of fit, errors, and whether one function would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import FitError
from resonaut.stats.engine.batched import fit_batch
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.records import brief, plain, restore
from resonaut.stats.studies.sliding import SlidingFit
from resonaut.stats.toy_tools import poisson_toys, require_toys, toy_p_value

__all__ = ("SlidingComparison", "SlidingToys", "compare_with_one_fit", "sliding_toys")

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SlidingToys:
    """What pseudo-experiments of the whole sliding-window procedure say.

    Attributes
    ----------
    p_value : float
        Fraction of toys with a deviance at least that of the data, ``(k + 1) / (n + 1)``.
    deviances : ndarray of shape (toys,)
        Of the toys that converged.
    mean, spread : ndarray of shape (bins,)
        Of the stitched backgrounds: the spread is the error with the choice of windows included, and mean less the
        expectation of the fit is its bias.
    toys, failed : int
        Toys that converged, and that did not.
    """

    p_value: float
    deviances: FloatArray
    mean: FloatArray
    spread: FloatArray
    toys: int
    failed: int

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SlidingToys:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays=dict.fromkeys(("deviances", "mean", "spread"), float))


def sliding_toys(fit: SlidingFit, *, toys: int = 500, seed: int = 0) -> SlidingToys:
    """Goodness of fit, spread and bias of a stitched background, from toys drawn from it.

    Each toy goes through the whole procedure, with its windows chosen again.

    Parameters
    ----------
    fit : SlidingFit
    toys : int
    seed : int

    Raises
    ------
    FitError
        If the fit has failed.
    """
    data = _toy_spectra(fit, fit.expected, toys, seed)
    batch = fit.stitching().apply(data, reference=fit.expected)
    good = batch.ok
    deviances = batch.deviance[good]
    return SlidingToys(
        p_value=toy_p_value(deviances, fit.deviance).p,
        deviances=deviances,
        mean=batch.expected[good].mean(axis=0),
        spread=batch.expected[good].std(axis=0, ddof=1),
        toys=len(deviances),
        failed=batch.n_failed,
    )


def _toy_spectra(fit: SlidingFit, truth: FloatArray, toys: int, seed: int) -> FloatArray:
    require_toys(toys)
    if not fit.ok:
        msg = f"sliding fit with {fit.function} {fit.status}; expected a converged fit: try wider windows"
        raise FitError(msg)
    return poisson_toys(truth, toys, seed)


@dataclass(frozen=True, eq=False)
class SlidingComparison:
    """Sliding windows against one function over the whole spectrum.

    Attributes
    ----------
    function : str
        Of the one fit.
    deviance : float
        Of the one fit.
    drop : float
        What sliding windows take off its deviance.
    p_value : float
        Fraction of toys of the one function in which they take off at least as much, ``(k + 1) / (n + 1)``: small where
        one function is not enough.
    drops : ndarray of shape (toys,)
        Of the toys that converged.
    toys, failed : int
        Toys that converged, and that did not.
    """

    function: str
    deviance: float
    drop: float
    p_value: float
    drops: FloatArray
    toys: int
    failed: int

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SlidingComparison:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        return restore(cls, content, arrays={"drops": float})


def compare_with_one_fit(
    fit: SlidingFit, function: str | None = None, *, toys: int = 500, seed: int = 0
) -> SlidingComparison:
    """Whether sliding windows are needed: do they describe the data better than they describe toys of one function?

    An F-test for functions that are not nested and have no whole number of parameters: toys are drawn from the one
    function and go through both procedures.

    Parameters
    ----------
    fit : SlidingFit
    function : str, optional
        The one of `fit` by default.
    toys : int
    seed : int

    Raises
    ------
    FitError
        If the sliding fit, or the one fit of the data, has failed.
    """
    name = fit.function if function is None else function
    importance = pooled_importance(fit.counts[None], fit.mask)
    design = Design.build(name, fit.edges, sqrts=fit.sqrts, importance=importance)
    whole = fit_batch(fit.counts, design, fit.mask)
    if whole.n_failed:
        msg = f"one fit of {name} over the whole spectrum failed; expected a converged fit: try fewer parameters"
        raise FitError(msg)
    data = _toy_spectra(fit, whole.expected[0], toys, seed)
    one, batch = fit_batch(data, design, fit.mask), fit.stitching().apply(data, reference=fit.expected)
    good = one.ok & batch.ok
    drops = (one.deviance - batch.deviance)[good]
    drop = float(whole.deviance[0]) - fit.deviance
    return SlidingComparison(
        function=name,
        deviance=float(whole.deviance[0]),
        drop=drop,
        p_value=toy_p_value(drops, drop).p,
        drops=drops,
        toys=len(drops),
        failed=int((~good).sum()),
    )
