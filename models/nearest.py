"""Nearest neighbours: events far from all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.neighbors import NearestNeighbors

from resonaut.errors import ConfigError, InputError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.draws import draw_rows, standardisation
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.stats import Window

__all__ = ("Nearest",)


@register("knn")
class Nearest(BaseScorer):
    """Distance to the k-th nearest training event in standardised features: large where events are rare.

    A baseline: the inverse of a density, with nothing learnt. In more than about ten dimensions all distances become alike.

    Parameters
    ----------
    features
        Columns to read.
    k
        Neighbours.
    distance
        "kth": to the k-th nearest; "mean": mean over the k nearest, which is less noisy.
    events
        Training events kept at most, drawn at random: memory and time grow with them.
    seed
        Of the draw.

    Notes
    -----
    Scored with the events that it was fitted to, each event is its own nearest neighbour: cross-fitting (as in every search) avoids it.
    Events with weights are drawn in proportion to them.

    References
    ----------
    Ramaswamy, Rastogi, Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000,
    https://doi.org/10.1145/342009.335437.

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("knn", distance="mean").options["k"]
    5
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        k: int = 5,
        distance: Literal["kth", "mean"] = "kth",
        events: int = 20_000,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.k = k
        self.distance = distance
        self.events = events
        self.seed = seed
        require_positive(self.name, k=k, events=events)
        if distance not in ("kth", "mean"):
            msg = f"option 'distance' of 'knn' must be 'kth' or 'mean', got {distance!r}"
            raise ConfigError(msg)
        if events < k:
            msg = f"'knn' keeps {events} events and asks for {k} neighbours: raise 'events' or lower 'k'"
            raise ConfigError(msg)
        self.points_: FloatArray = np.zeros((0, 0))
        self.shift_: FloatArray = np.zeros(0)
        self.scale_: FloatArray = np.zeros(0)
        self._index: NearestNeighbors | None = None

    @property
    def fitted(self) -> bool:
        """Whether there are events to be near to."""
        return len(self.points_) > 0

    def fit(self, sample: Sample, window: Window | None = None) -> Self:
        """Keep random events, standardised; the window is only kept for the record.

        Raises
        ------
        InputError
            If there are fewer than `k` events, or none with a weight.
        """
        if len(sample) < self.k:
            msg = f"'knn' needs at least k = {self.k} events, got {len(sample)}"
            raise InputError(msg)
        rows = draw_rows(sample.weight, self.events, np.random.default_rng(self.seed))
        matrix = sample.require(self.features)
        self.shift_, self.scale_ = standardisation(matrix, sample.weight)
        self.points_ = (matrix[rows] - self.shift_) / self.scale_
        self.window_ = window
        self._index = None
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Distance (n,) in standard deviations of the features."""
        self.require_fitted()
        if self._index is None:
            self._index = NearestNeighbors(n_neighbors=self.k).fit(self.points_)
        if not len(sample):
            return np.zeros(0)
        found = self._index.kneighbors((sample.require(self.features) - self.shift_) / self.scale_)[0]
        return np.asarray(found[:, -1] if self.distance == "kth" else found.mean(axis=1), dtype=np.float64)

    def learnt_tensors(self) -> Tensors:
        """The events and the standardisation."""
        return {"points": self.points_, "shift": self.shift_, "scale": self.scale_}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the events."""
        del facts
        self.points_, self.shift_, self.scale_ = (tensors[name] for name in ("points", "shift", "scale"))
        self._index = None
