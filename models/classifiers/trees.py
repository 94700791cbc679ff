"""Ensembles of boosted trees as a classifier: the stronger and faster choice on engineered features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit

from resonaut.models.classifiers.base import Classifier, TrainedClassifier, TrainingSet, register_classifier
from resonaut.models.forest import Forest
from resonaut.models.sample import FloatArray
from resonaut.models.storage import Tensors
from resonaut.models.trees import TreeOptions, train_trees

__all__ = ("TrainedTrees", "TreesClassifier")


@dataclass(frozen=True, eq=False)
class TrainedTrees(TrainedClassifier):
    """Ensemble of boosted trees of one training.

    Parameters
    ----------
    forest
        Mean log-odds of the members.
    trees
        Trees of each member.
    """

    kind: ClassVar[str]
    forest: Forest
    trees: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Number of features."""
        return self.forest.columns

    def _probability(self, matrix: FloatArray) -> FloatArray:
        return np.asarray(expit(self.forest.evaluate(matrix)), dtype=np.float64)

    def tensors(self) -> Tensors:
        """Flat arrays of the forest."""
        return self.forest.tensors()

    def _facts(self) -> dict[str, Any]:
        return {"trees": list(self.trees)}

    @classmethod
    def restore(cls, tensors: Tensors, facts: Mapping[str, Any], device: str | None = None) -> Self:
        """Take back the forest; trees are evaluated on the CPU wherever the networks are."""
        del device
        return cls(Forest.from_tensors(tensors), tuple(facts["trees"]))


@register_classifier("trees")
@dataclass(frozen=True)
class TreesClassifier(TreeOptions, Classifier):
    """Histogram-based gradient-boosted trees: an ensemble for each fold, early stopping on the loss of held-out events.

    The probability is the sigmoid of the members' mean log-odds. Options: see `resonaut.models.trees.TreeOptions`.

    Notes
    -----
    Features are binned for each fold by the events that it may see: the bins of a common binning would know the features
    of the events left out, and binning costs a few percent of the training.

    References
    ----------
    Finke et al., arXiv:2309.13111: ensembles of such trees against networks for weak supervision.

    Examples
    --------
    >>> from resonaut.models.classifiers import make_classifier
    >>> make_classifier("trees", members=12).options["patience"]
    10
    """

    name: ClassVar[str]
    trained: ClassVar[type[TrainedClassifier]] = TrainedTrees

    def __post_init__(self) -> None:
        for option in ("members", "max_iter", "learning_rate", "max_features", "min_samples_leaf", "patience"):
            self.require(getattr(self, option) > 0, option, "above 0")
        self.require(0 < self.validation_fraction < 1, "validation_fraction", "in (0, 1)")

    def _train(self, events: TrainingSet, seeds: Sequence[int]) -> list[TrainedClassifier]:
        trained: list[TrainedClassifier] = []
        for number, seed in enumerate(seeds):
            rows = events.rows(number)
            forest, trees = train_trees(events.matrix[rows], events.target[rows], events.weights(rows), self, seed)
            trained.append(TrainedTrees(forest, tuple(trees)))
        return trained
