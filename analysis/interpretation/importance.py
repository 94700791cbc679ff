"""What a score listens to: what is lost when one feature at a time is exchanged between events.

Permutation importance (L. Breiman, Mach. Learn. 45 (2001) 5), measured on scorers that did not see the events. Of two features
that carry the same information either one can be exchanged without loss: a small importance says "not needed", not "unrelated".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from resonaut.errors import InputError
from resonaut.models import auc

__all__ = ("FoldEvents", "Importance", "permutation_importance")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ScoreOf = Callable[[FloatArray, FloatArray], FloatArray]
"""Scores (n,) of a feature matrix (n, d) at the masses (n,), GeV."""


@dataclass(frozen=True)
class FoldEvents:
    """Events of one fold and the scorer that did not see them.

    Parameters
    ----------
    score
        The scorer of the fold, see `ScoreOf`.
    features, mass
        (n, d) and (n,) events of the signal region and its sidebands.
    inside
        (n,) those of the signal region.
    selected, selected_mass
        (m, d) and (m,) events that pass the cut.
    threshold
        Score of the cut in this fold.
    """

    score: ScoreOf
    features: FloatArray
    mass: FloatArray
    inside: BoolArray
    selected: FloatArray
    selected_mass: FloatArray
    threshold: float


@dataclass(frozen=True)
class Importance:
    """Importance of one feature: means over folds with their standard errors; NaN where nothing could be measured.

    Parameters
    ----------
    feature
        Its name.
    excess, excess_error
        Fall of the difference between the efficiencies of the cut in the signal region and in the sidebands, in units of the
        efficiency in the signal region: which part of the selected events there would be none of the region's own any more.
        A feature of noise has none, however much the score listens to it.
    lost, lost_error
        Part of the selected events that do not pass the cut any more: what the selection of single events depends on.
    order, order_error
        1 - Spearman's correlation of the scores before and after: how much of the order of all events changes.
    separation, separation_error
        Fall of the area under the ROC curve of signal region against sidebands: what the score knows about the region.
    """

    feature: str
    excess: float
    excess_error: float
    lost: float
    lost_error: float
    order: float
    order_error: float
    separation: float
    separation_error: float

    def to_dict(self) -> dict[str, Any]:
        """Name and numbers, for JSON."""
        return asdict(self)


_MEASURES = 4


def permutation_importance(
    folds: Sequence[FoldEvents], names: Sequence[str], *, repeats: int = 3, seed: int = 0
) -> list[Importance]:
    """Importance of each feature, the most important first.

    They are ordered by `excess` where one of them has more than three standard errors of it (a signal, or a feature that
    differs between signal region and sidebands), else by `lost`.

    Parameters
    ----------
    folds
        Events of each fold with its scorer.
    names
        (d,) of the features.
    repeats
        Exchanges that are averaged in each fold.
    seed
        Of the exchanges.

    Raises
    ------
    InputError
        If there are no folds, or a fold has other features.
    """
    if not folds or any(fold.features.shape[1] != len(names) for fold in folds):
        msg = f"permutation_importance got {len(folds)} folds for the features {', '.join(names)}: expected a column for each"
        raise InputError(msg)
    found = np.full((len(folds), len(names), _MEASURES), np.nan)
    for k, (fold, child) in enumerate(zip(folds, np.random.SeedSequence(seed).spawn(len(folds)), strict=True)):
        found[k] = _of_fold(fold, len(names), repeats, np.random.default_rng(child))
    rows = []
    for j, name in enumerate(names):
        numbers = [number for measure in range(_MEASURES) for number in _mean(found[:, j, measure])]
        rows.append(Importance(name, *numbers))
    by = "excess" if any(row.excess > 3 * row.excess_error for row in rows) else "lost"
    return sorted(rows, key=lambda row: (_known(getattr(row, by)), _known(row.order)), reverse=True)


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _mean(values: FloatArray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan, math.nan
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else math.nan
    return float(known.mean()), error


def _of_fold(fold: FoldEvents, features: int, repeats: int, rng: np.random.Generator) -> FloatArray:
    """(features, 4) losses of a fold: excess, selection, order, separation."""
    before = fold.score(fold.features, fold.mass)
    both = bool(fold.inside.any() and not fold.inside.all())
    separation = auc(fold.inside, before) if both else math.nan
    passing = float(np.mean(before[fold.inside] >= fold.threshold)) if both else 0.0
    losses = np.full((features, repeats, _MEASURES), np.nan)
    for j in range(features):
        for turn in range(repeats):
            shuffled = fold.features.copy()
            shuffled[:, j] = rng.permutation(shuffled[:, j])
            after = fold.score(shuffled, fold.mass)
            losses[j, turn, 2] = 1 - _correlation(before, after)
            if both:
                losses[j, turn, 3] = separation - auc(fold.inside, after)
            if passing > 0:
                losses[j, turn, 0] = (_difference(fold, before) - _difference(fold, after)) / passing
            if len(fold.selected):
                replaced = fold.selected.copy()
                replaced[:, j] = rng.choice(fold.features[:, j], len(replaced))
                losses[j, turn, 1] = np.mean(fold.score(replaced, fold.selected_mass) < fold.threshold)
    return np.asarray(losses.mean(axis=1))


def _difference(fold: FoldEvents, scores: FloatArray) -> float:
    """Efficiency of the cut in the signal region less that in the sidebands."""
    kept = scores >= fold.threshold
    return float(kept[fold.inside].mean() - kept[~fold.inside].mean())


def _correlation(before: FloatArray, after: FloatArray) -> float:
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return math.nan  # a constant score has no order
    return float(spearmanr(before, after).statistic)
