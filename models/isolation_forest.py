"""Isolation forest: events that few random cuts separate from all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.ensemble import IsolationForest as ScikitForest

from resonaut.errors import InputError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.draws import draw_rows
from resonaut.models.forest import Forest
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("IsolationForest", "path_length")


def path_length(events: FloatArray) -> FloatArray:
    """Mean number of cuts c(n) after which random trees have separated one of n events from the others (equation 1)."""
    n = np.asarray(events, dtype=np.float64)
    safe = np.maximum(n, 3.0)
    mean = 2.0 * (np.log(safe - 1.0) + np.euler_gamma) - 2.0 * (safe - 1.0) / safe
    return np.where(n > 2, mean, np.where(n == 2, 1.0, 0.0))


@register("isolation-forest")
class IsolationForest(BaseScorer):
    """How few random cuts isolate an event: 2^(-mean depth / expected depth), near 1 for outliers and below 0.5 in the bulk.

    A baseline: it takes seconds, knows no correlation but through axis-parallel cuts, and needs no standardisation. What it does
    not beat is not worth a network.

    Parameters
    ----------
    features
        Columns to read.
    trees
        Trees, each on its own random events.
    events
        Random events for one tree (all, where there are fewer). More make it blind to small clusters, not sharper.
    seed
        Equal seeds give equal scores.

    Notes
    -----
    Trained by scikit-learn, kept as flat arrays; events with weights are drawn in proportion to them. Features are read in single
    precision, as scikit-learn does.

    References
    ----------
    Liu, Ting, Zhou, "Isolation forest", ICDM 2008, https://doi.org/10.1109/ICDM.2008.17.

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("isolation-forest", trees=50).options["events"]
    256
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self, features: Sequence[str] = AE_FEATURES, *, trees: int = 200, events: int = 256, seed: int = 0
    ) -> None:
        self.features = feature_names(features)
        self.trees = trees
        self.events = events
        self.seed = seed
        require_positive(self.name, trees=trees, events=events)
        self.forest_: Forest | None = None

    @property
    def fitted(self) -> bool:
        """Whether there are trees."""
        return self.forest_ is not None

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Grow the trees; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than 10 events, or none with a weight.
        """
        if len(sample) < 10:
            msg = f"an isolation forest needs at least 10 events, got {len(sample)}"
            raise InputError(msg)
        rows = draw_rows(sample.weight, len(sample), np.random.default_rng(self.seed))
        matrix = sample.require(self.features)[rows]
        seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0] % 2**31)
        most = min(self.events, len(matrix))
        fitted = ScikitForest(n_estimators=self.trees, max_samples=most, random_state=seed).fit(matrix)
        self.forest_ = flat_forest(fitted)
        self.window_ = window
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Anomaly (n,) between 0 and 1: `-score_samples` of scikit-learn."""
        self.require_fitted()
        assert self.forest_ is not None
        matrix = sample.require(self.features).astype(np.float32).astype(np.float64)
        return np.asarray(2.0 ** -self.forest_.evaluate(matrix))

    def learnt_tensors(self) -> Tensors:
        """The trees."""
        assert self.forest_ is not None
        return self.forest_.tensors()

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the trees."""
        del facts
        self.forest_ = Forest.from_tensors(tensors)


def flat_forest(fitted: ScikitForest) -> Forest:
    """Trees of a fitted scikit-learn forest: a leaf holds its depth and what the events in it would have added, over the mean."""
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    child = np.concatenate([np.stack([t.children_left, t.children_right], axis=1) for t in trees])
    leaf = child[:, 0] < 0
    child = np.where(leaf[:, None], 0, child + np.repeat(starts[:-1], np.diff(starts))[:, None])
    depth = np.zeros(len(child))
    for node in np.flatnonzero(~leaf):  # a parent stands before its children
        depth[child[node]] = depth[node] + 1
    feature = np.concatenate([tree.feature for tree in trees])
    cut = np.concatenate([tree.threshold for tree in trees])
    left = path_length(np.concatenate([tree.n_node_samples for tree in trees]))
    expected = float(path_length(np.array(fitted.max_samples_)))
    return Forest(
        roots=starts[:-1].astype(np.int32),
        feature=np.where(leaf, -1, feature).astype(np.int32),
        cut=np.where(leaf, depth + left, cut),
        child=child.astype(np.int32),
        columns=int(fitted.n_features_in_),
        scale=1.0 / (len(trees) * expected),
    )
