"""The events of one method in one window, with their scores and the cut that is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.analysis.interpretation.importance import FoldEvents
from resonaut.analysis.interpretation.measures import rank_in_fold
from resonaut.analysis.scoring import ScoreJob, load_scores
from resonaut.models import CrossFit, Sample, load_scorer
from resonaut.models.cuts import fold_thresholds
from resonaut.processors import read_table, table_columns
from resonaut.stats import Window

__all__ = ("ID_COLUMNS", "PLANE_COLUMNS", "MethodView", "fold_events", "plane_columns", "view_of")

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ID_COLUMNS = ("run", "luminosityBlock", "event")
PLANE_COLUMNS = (("m_j1", "m_j2"), ("m_h", "m_l"))
MAX_SCORINGS = 500_000  # events times features, for the importance: a scorer like k nearest neighbours takes its time
MAX_SELECTED = 2_000


@dataclass(frozen=True)
class MethodView:
    """Events that a method scored, all arrays in the same order.

    Parameters
    ----------
    job
        The unit that scored them.
    window, cut
        Signal region with sidebands; fraction of the events that the selection keeps.
    columns
        Column -> (n,) values: features, masses, the plane, numbers of run and event where the table has them.
    scores, fold, rank
        (n,) out-of-fold scores, folds, ranks inside of the fold between 0 and 1.
    thresholds
        Fold -> score of the cut.
    """

    job: ScoreJob
    window: Window
    cut: float
    columns: dict[str, npt.NDArray[np.generic]]
    scores: FloatArray
    fold: IndexArray
    rank: FloatArray
    thresholds: dict[int, float]

    @property
    def mass(self) -> FloatArray:
        """(n,) resonant mass, GeV."""
        return np.asarray(self.columns[self.job.variable], dtype=np.float64)

    @property
    def selected(self) -> BoolArray:
        """(n,) events after the cut."""
        lowest = np.array([self.thresholds[k] for k in range(max(self.thresholds) + 1)])
        return np.asarray(self.scores >= lowest[self.fold])

    @property
    def features(self) -> FloatArray:
        """(n, d) feature matrix."""
        return np.stack([np.asarray(self.columns[f], dtype=np.float64) for f in self.job.features], axis=1)


def plane_columns(columns: list[str], features: tuple[str, ...], variable: str) -> tuple[str, str]:
    """The masses of the two jets where the table has them, else the first two features; one alone goes with the mass.

    Examples
    --------
    >>> plane_columns(["m_j1", "m_j2", "a"], ("a", "b"), "mjj"), plane_columns(["a", "b"], ("a", "b"), "mjj")
    (('m_j1', 'm_j2'), ('a', 'b'))
    """
    for pair in PLANE_COLUMNS:
        if set(pair) <= set(columns):
            return pair
    return features[0], features[1] if len(features) > 1 else variable


def view_of(job: ScoreJob, window: Window, cut: float) -> MethodView:
    """Read the events, scores and thresholds of a finished unit."""
    there = table_columns(job.table)
    plane = plane_columns(there, job.features, job.variable)
    wanted = dict.fromkeys([*job.features, job.variable, *plane, *(c for c in ID_COLUMNS if c in there), "weight"])
    table = read_table(job.table, columns=list(wanted))
    scores = load_scores(job)
    columns = {name: np.asarray(table[name])[scores.rows] for name in wanted}
    thresholds = fold_thresholds(scores.scores, scores.fold, cut, np.asarray(columns["weight"], dtype=np.float64))
    rank = rank_in_fold(scores.scores, scores.fold)
    return MethodView(job, window, cut, columns, scores.scores, scores.fold, rank, thresholds)


def fold_events(view: MethodView, seed: int) -> list[FoldEvents]:
    """Events of each fold with its saved scorer, of the window as many as `MAX_SCORINGS` allows and at most
    `MAX_SELECTED` selected ones.

    Raises
    ------
    ModelError
        If the scorer cannot be read.
    """
    scorer = load_scorer(view.job.folder / "scorer")
    assert isinstance(scorer, CrossFit)
    features, mass, selected = view.features, view.mass, view.selected
    inside = view.window.in_signal_region(mass)
    near = inside | view.window.in_sidebands(mass)
    rng = np.random.default_rng(seed)
    most = MAX_SCORINGS // (len(view.job.features) * view.job.folds)
    found = []
    for number, own in enumerate(scorer.scorers):
        mine = view.fold == number
        shown = _some(rng, mine & near, most)
        kept = _some(rng, mine & inside & selected, MAX_SELECTED // view.job.folds)

        def score(matrix: FloatArray, masses: FloatArray, own: object = own) -> FloatArray:
            sample = Sample(matrix, view.job.features, masses)
            return np.asarray(own.score(sample), dtype=np.float64)  # type: ignore[attr-defined]

        parts = (features[shown], mass[shown], inside[shown], features[kept], mass[kept])
        found.append(FoldEvents(score, *parts, threshold=view.thresholds[number]))
    return found


def _some(rng: np.random.Generator, mask: BoolArray, most: int) -> IndexArray:
    rows = np.flatnonzero(mask)
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
