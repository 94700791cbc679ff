"""Sums of decision trees as flat arrays: written without pickles, evaluated by one compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.errors import InputError
from resonaut.models.sample import FloatArray
from resonaut.models.storage import Tensors

__all__ = ("Forest",)

_BLOCK = 256  # rows that go through one tree together: they and the tree stay in the first-level cache


@dataclass(frozen=True)
class Forest:
    """score(x) = offset + scale * sum over trees of the value of the leaf that x falls into.

    Parameters
    ----------
    roots
        (trees,) index of each tree's first node.
    feature
        (nodes,) column that a node looks at, -1 for a leaf.
    cut
        (nodes,) x <= cut goes left; for a leaf, its value.
    child
        (nodes, 2) left and right child.
    columns
        Number of columns of the feature matrix.
    offset, scale
        Constants of the sum.
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    cut: FloatArray
    child: npt.NDArray[np.int32]
    columns: int
    offset: float = 0.0
    scale: float = 1.0

    @classmethod
    def from_boosters(cls, boosters: Sequence[Any], edges: Sequence[FloatArray] | None = None) -> Forest:
        """Mean decision function of fitted scikit-learn `HistGradientBoostingClassifier` (binary, numerical features).

        Parameters
        ----------
        boosters
            Trained on the same columns.
        edges
            Where they were trained on bin numbers: the upper edges of each column's bins, with which the forest takes
            raw features.

        Notes
        -----
        scikit-learn keeps its trees in private attributes; the node layout read here is checked by the tests against
        `decision_function`, and the alternative, a pickle, would not survive its next version either.
        """
        trees = [stage[0].nodes for booster in boosters for stage in booster._predictors]
        starts = np.cumsum([0, *(len(nodes) for nodes in trees)])
        nodes = np.concatenate(trees) if trees else np.zeros(0, dtype=_EMPTY)
        shift = np.repeat(starts[:-1], [len(nodes) for nodes in trees]).astype(np.int64)
        leaf = nodes["is_leaf"].astype(bool)
        feature, cut = nodes["feature_idx"].astype(np.int32), nodes["num_threshold"].astype(np.float64)
        if edges is not None:
            inner = np.flatnonzero(~leaf)
            cut[inner] = [edges[feature[node]][int(cut[node])] for node in inner]  # cuts lie half-way between codes
        child = np.stack([nodes["left"] + shift, nodes["right"] + shift], axis=1)
        return cls(
            roots=starts[:-1].astype(np.int32),
            feature=np.where(leaf, -1, feature).astype(np.int32),
            cut=np.where(leaf, nodes["value"], cut),
            child=np.where(leaf[:, None], 0, child).astype(np.int32),
            columns=int(boosters[0].n_features_in_),
            offset=float(np.mean([np.ravel(booster._baseline_prediction)[0] for booster in boosters])),
            scale=1.0 / len(boosters),
        )

    def __len__(self) -> int:
        return len(self.roots)

    def evaluate(self, features: FloatArray) -> FloatArray:
        """Sum of the trees for each row of an (n, columns) matrix, shape (n,).

        Raises
        ------
        InputError
            If the matrix has another number of columns.
        """
        matrix = np.ascontiguousarray(features, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.columns:
            msg = f"expected a matrix of {self.columns} feature columns, got shape {matrix.shape}"
            raise InputError(msg)
        total = np.zeros(len(matrix))
        _descend(matrix, self.roots, self.feature, self.cut, self.child, total)
        return np.asarray(self.offset + self.scale * total, dtype=np.float64)

    def tensors(self) -> Tensors:
        """Arrays for safetensors."""
        constants = np.array([self.offset, self.scale, self.columns], dtype=np.float64)
        return {
            "roots": self.roots,
            "feature": self.feature,
            "cut": self.cut,
            "child": self.child,
            "constants": constants,
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Forest:
        """Forest that `tensors` described."""
        offset, scale, columns = tensors["constants"]
        arrays = {name: tensors[name] for name in ("roots", "feature", "cut", "child")}
        return cls(**arrays, columns=int(columns), offset=float(offset), scale=float(scale))


_EMPTY = [
    ("value", "f8"),
    ("feature_idx", "i8"),
    ("num_threshold", "f8"),
    ("left", "i8"),
    ("right", "i8"),
    ("is_leaf", "u1"),
]


@kernel
def _descend(
    matrix: FloatArray,
    roots: npt.NDArray[np.int32],
    feature: npt.NDArray[np.int32],
    cut: FloatArray,
    child: npt.NDArray[np.int32],
    total: FloatArray,
) -> None:
    for start in range(0, len(matrix), _BLOCK):
        stop = min(start + _BLOCK, len(matrix))
        for root in roots:
            for row in range(start, stop):
                node = root
                column = feature[node]
                while column >= 0:
                    node = child[node, 1 if matrix[row, column] > cut[node] else 0]  # an index, not a branch
                    column = feature[node]
                total[row] += cut[node]
