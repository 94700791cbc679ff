"""From scores to selections: a cut is a fraction of the events, set in each fold on its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from resonaut.errors import ConfigError, InputError
from resonaut.models.sample import FloatArray, IndexArray, MaskArray

__all__ = ("fold_thresholds", "select", "threshold")


def threshold(
    scores: FloatArray, fraction: float, weight: FloatArray | None = None, *, reference: MaskArray | None = None
) -> float:
    """Score above which (inclusive) the most anomalous `fraction` of the weight lies.

    The largest number of highest-scoring events whose weight does not exceed the fraction is taken, at least one event;
    events with equal scores stay together.

    Parameters
    ----------
    scores
        (n,) scores, higher = more anomalous.
    fraction
        In (0, 1].
    weight
        (n,) event weights.
    reference
        (n,) events on which the fraction is set; all of them where not given.

    Raises
    ------
    ConfigError
        If the fraction is out of range.
    InputError
        If there are no events to set it on, or a score is NaN.

    Examples
    --------
    >>> threshold(np.arange(1000.0), 0.01)
    990.0
    """
    if not 0 < fraction <= 1:
        msg = f"a selection is a fraction of the events in (0, 1], got {fraction!r}"
        raise ConfigError(msg)
    scores = np.asarray(scores, dtype=np.float64)
    weights = np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=np.float64)
    if reference is not None:
        scores, weights = scores[reference], weights[reference]
    scores, weights = scores[weights > 0], weights[weights > 0]
    if not len(scores) or np.isnan(scores).any():
        msg = f"cannot set a cut on {len(scores)} events with {np.count_nonzero(np.isnan(scores))} NaN scores"
        raise InputError(msg)
    order = np.argsort(-scores, kind="stable")
    ranked, passed = scores[order], np.cumsum(weights[order])
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    allowed = last_of_tie & (passed <= fraction * passed[-1] * (1 + 1e-12))
    taken = int(np.flatnonzero(allowed)[-1]) if allowed.any() else 0
    return float(ranked[taken])


def fold_thresholds(
    scores: FloatArray,
    fold: IndexArray,
    fraction: float,
    weight: FloatArray | None = None,
    reference: MaskArray | None = None,
) -> dict[int, float]:
    """Threshold of each fold, as `select` applies it; parameters as there.

    Examples
    --------
    >>> fold_thresholds(np.array([0.1, 0.9, 0.5, 10.0, 30.0, 20.0]), np.array([0, 0, 0, 1, 1, 1]), 1 / 3)
    {0: 0.9, 1: 30.0}
    """
    found: dict[int, float] = {}
    for number in np.unique(fold):
        inside = fold == number
        basis = inside if reference is None else inside & reference
        found[int(number)] = threshold(scores, fraction, weight, reference=basis)
    return found


def select(
    scores: FloatArray,
    fold: IndexArray | None,
    fractions: Iterable[float],
    weight: FloatArray | None = None,
    reference: MaskArray | None = None,
) -> dict[float, MaskArray]:
    """Most anomalous fractions of the events: each fold's own quantile, then merged.

    Scorers of different folds are different functions, so one common threshold would prefer the fold with the longest
    tail; the fraction inside a fold does not.

    Parameters
    ----------
    scores
        (n,) out-of-fold scores.
    fold
        (n,) fold of each event; None where one scorer scored all.
    fractions
        For instance ``(0.1, 0.01, 0.001)``.
    weight
        (n,) event weights, used in the quantiles.
    reference
        (n,) events on which the quantiles are set (a mass range, say); the cut is applied to all.

    Returns
    -------
    dict
        Fraction -> (n,) mask of the selected events. A smaller fraction selects a subset of a larger one.

    Examples
    --------
    >>> scores = np.array([0.1, 0.9, 0.5, 10.0, 30.0, 20.0])
    >>> select(scores, np.array([0, 0, 0, 1, 1, 1]), [1 / 3])[1 / 3].tolist()
    [False, True, False, False, True, False]
    """
    folds = np.zeros(len(scores), dtype=np.int64) if fold is None else np.asarray(fold)
    selected: dict[float, MaskArray] = {}
    for fraction in fractions:
        mask = np.zeros(len(scores), dtype=bool)
        for number, lowest in fold_thresholds(scores, folds, fraction, weight, reference).items():
            mask |= (folds == number) & (scores >= lowest)
        selected[fraction] = mask
    return selected
