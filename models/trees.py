"""Ensembles of histogram gradient-boosted trees: trained by scikit-learn, kept and evaluated as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from resonaut.models.forest import Forest
from resonaut.models.sample import FloatArray, IndexArray, MaskArray

__all__ = ("TreeOptions", "bin_codes", "bin_edges", "train_trees")


@dataclass(frozen=True)
class TreeOptions:
    """How an ensemble of boosted trees is trained.

    Parameters
    ----------
    members
        Boosters in the ensemble: each with its own training and validation events, their outputs averaged.
    max_iter
        Most trees of one booster; early stopping usually ends it before.
    learning_rate, max_leaf_nodes, min_samples_leaf, l2_regularization
        As in scikit-learn.
    max_features
        Fraction of the features, drawn anew for every split, among which the best is taken.
    validation_fraction
        Share of the events that decides when to stop.
    patience
        Trees without a better validation loss after which a booster stops.
    """

    members: int = 6
    max_iter: int = 200
    learning_rate: float = 0.1
    max_leaf_nodes: int = 31
    min_samples_leaf: int = 20
    l2_regularization: float = 0.0
    max_features: float = 0.3
    validation_fraction: float = 0.25
    patience: int = 10


def train_trees(
    features: FloatArray, target: MaskArray, weight: FloatArray, options: TreeOptions, seed: int
) -> tuple[Forest, list[int]]:
    """Train an ensemble that tells `target` from the rest.

    Parameters
    ----------
    features
        (n, d) matrix.
    target
        (n,) class of each event.
    weight
        (n,) weights >= 0; events of weight 0 are left out.
    options
        The ensemble.
    seed
        Split into one seed per member.

    Returns
    -------
    forest
        Mean decision function (log-odds) of the members.
    trees
        Number of trees of each member.
    """
    used = weight > 0
    edges = bin_edges(features[used])
    codes = bin_codes(features[used], edges)
    boosters = [
        _train_one(codes, target[used], weight[used], options, np.random.default_rng(child))
        for child in np.random.SeedSequence(seed).spawn(options.members)
    ]
    return Forest.from_boosters(boosters, edges), [int(booster.n_iter_) for booster in boosters]


def bin_edges(features: FloatArray, bins: int = 255) -> list[FloatArray]:
    """Upper edges of quantile bins of each column: at most `bins` bins, fewer where values repeat.

    Binning once for all members, and handing scikit-learn the bin numbers, is what makes an ensemble cheap: given
    weights, scikit-learn finds its own bins by one weighted percentile after another, ten times slower than the trees.
    """
    grid = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    return [np.unique(np.quantile(column, grid, method="inverted_cdf")) for column in features.T]


def bin_codes(features: FloatArray, edges: list[FloatArray]) -> FloatArray:
    """Bin number of each value, (n, d): x <= edges[k] is code <= k."""
    columns = [np.searchsorted(edge, column) for column, edge in zip(features.T, edges, strict=True)]
    return np.column_stack(columns).astype(np.float64)


def _train_one(
    codes: FloatArray, target: MaskArray, weight: FloatArray, options: TreeOptions, rng: np.random.Generator
) -> HistGradientBoostingClassifier:
    validation = _validation_rows(target, options.validation_fraction, rng)
    training = np.setdiff1d(np.arange(len(target)), validation, assume_unique=True)
    booster = HistGradientBoostingClassifier(
        max_iter=options.max_iter,
        learning_rate=options.learning_rate,
        max_leaf_nodes=options.max_leaf_nodes,
        min_samples_leaf=options.min_samples_leaf,
        l2_regularization=options.l2_regularization,
        max_features=options.max_features,
        early_stopping=True,
        n_iter_no_change=options.patience,
        random_state=int(rng.integers(2**31)),
    )
    return booster.fit(
        codes[training],
        target[training],
        sample_weight=weight[training],
        X_val=codes[validation],
        y_val=target[validation],
        sample_weight_val=weight[validation],
    )


def _validation_rows(target: MaskArray, fraction: float, rng: np.random.Generator) -> IndexArray:
    """Random rows, the same fraction of both classes, at least one event of each."""
    chosen = []
    for value in (False, True):
        rows = rng.permutation(np.flatnonzero(target == value))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))
