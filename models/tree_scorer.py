"""What the scorers with boosted trees share; a method is a subclass that says what is told from what."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self

from resonaut.errors import ConfigError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.forest import Forest
from resonaut.models.inputs import CWOLA_FEATURES, JET_MASSES, require_scaled, scaled_matrix
from resonaut.models.sample import FloatArray, MaskArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.trees import TreeOptions, train_trees
from resonaut.stats import Window

__all__ = ("TreeScorer",)


class TreeScorer(BaseScorer):
    """Ensemble of boosted trees on features by name; `training_set` is what a subclass adds.

    Parameters
    ----------
    features
        Columns to read.
    scaled_by_mass
        Those of the features that are divided by the event's resonant mass. None scales the jet masses among the
        features, an empty tuple nothing. Jet masses grow with the mass of their event, their ratio hardly does.
    members, max_iter, learning_rate, max_leaf_nodes, min_samples_leaf, l2_regularization, max_features, \
validation_fraction, patience
        The ensemble: see `TreeOptions`.
    seed
        Equal seeds give equal scores.
    """

    def __init__(
        self,
        features: Sequence[str] = CWOLA_FEATURES,
        *,
        scaled_by_mass: Sequence[str] | None = None,
        members: int = 6,
        max_iter: int = 200,
        learning_rate: float = 0.1,
        max_leaf_nodes: int = 31,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 0.3,
        validation_fraction: float = 0.25,
        patience: int = 10,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        masses = [name for name in self.features if name in JET_MASSES]
        self.scaled_by_mass = require_scaled(masses if scaled_by_mass is None else scaled_by_mass, self.features)
        self.members = members
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.seed = seed
        self._check()
        self.forest_: Forest | None = None
        self.trees_: list[int] = []

    def _check(self) -> None:
        positive = ("members", "max_iter", "learning_rate", "max_features", "min_samples_leaf", "patience")
        require_positive(self.name, **{name: getattr(self, name) for name in positive})
        if not 0 < self.validation_fraction < 1:
            msg = f"option 'validation_fraction' must be in (0, 1), got {self.validation_fraction!r}"
            raise ConfigError(msg)

    @abstractmethod
    def training_set(self, sample: Sample, window: Window | None) -> tuple[Sample, MaskArray, FloatArray]:
        """Events to train on, their class (n,) and weights (n,)."""

    @property
    def fitted(self) -> bool:
        """Whether there is a forest to score with."""
        return self.forest_ is not None

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Train on the events of `sample` that the method uses."""
        events, target, weight = self.training_set(sample, window)
        self.window_ = window
        return self.train(events, target, weight)

    def train(self, events: Sample, target: MaskArray, weight: FloatArray) -> Self:
        """Train the ensemble to tell `target` from the rest."""
        options = TreeOptions(**{field.name: getattr(self, field.name) for field in fields(TreeOptions)})
        matrix = scaled_matrix(events, self.features, self.scaled_by_mass)
        self.forest_, self.trees_ = train_trees(matrix, target, weight, options, self.seed)
        return self

    def score(self, sample: Sample) -> FloatArray:
        """Mean log-odds (n,) over the members, at any mass."""
        return self._forest().evaluate(scaled_matrix(sample, self.features, self.scaled_by_mass))

    def _forest(self) -> Forest:
        self.require_fitted()
        assert self.forest_ is not None
        return self.forest_

    def learnt_tensors(self) -> Tensors:
        """Flat arrays of the forest."""
        return self._forest().tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """Number of trees of each member."""
        return {"trees": self.trees_}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the forest."""
        self.forest_ = Forest.from_tensors(tensors)
        self.trees_ = list(facts["trees"])
