"""Which of several samples an event looks like: the log posterior of a classifier with one output per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from resonaut.errors import InputError
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.models.trees import bin_codes, bin_edges

__all__ = ("WeightedRows", "log_posteriors")

_TINY = 1e-12


@dataclass(frozen=True)
class WeightedRows:
    """Feature matrix (n, d) with weights (n,)."""

    features: FloatArray
    weight: FloatArray

    def take(self, rows: IndexArray) -> WeightedRows:
        """Some of the rows."""
        return WeightedRows(self.features[rows], self.weight[rows])


def log_posteriors(
    models: Mapping[str, WeightedRows],
    probes: Mapping[str, WeightedRows],
    *,
    seed: int,
    events: int = 400_000,
    max_iter: int = 200,
    learning_rate: float = 0.1,
) -> dict[str, dict[str, float]]:
    """Average log posterior of each model for held-out events of each model and for the probes.

    LP(model i | samples j) = sum_k w_k ln p_i(x_k) / sum_k w_k, with p_i the classifier's probability that x was made by
    model i when all models are equally frequent. Where no model can be told from another it is -ln K for all.

    Parameters
    ----------
    models
        K samples to tell apart: at most `events` of each are used, 60 % to train, 20 % to decide when to stop, 20 % held
        out. Weights are scaled to the same total.
    probes
        Other samples (the truth) to be judged.
    seed
        Of the shares and of the training.
    events, max_iter, learning_rate
        Size and options of the boosted trees, which stop after 10 rounds without a better validation loss.

    Returns
    -------
    dict
        Sample j -> model i -> LP.

    References
    ----------
    arXiv:2307.11157, eq. 3.1; Lim et al., arXiv:2211.11765.

    Raises
    ------
    InputError
        For fewer than two models.
    """
    if len(models) < 2:
        msg = f"a log posterior tells models apart: give at least two, got {list(models)}"
        raise InputError(msg)
    share_seed, tree_seed = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(share_seed)
    parts: tuple[list[WeightedRows], ...] = ([], [], [])
    count = min(events, *(len(model.weight) for model in models.values()))
    for model in models.values():
        rows = rng.permutation(len(model.weight))[:count]
        for part, chosen in zip(parts, np.split(rows, [int(0.6 * count), int(0.8 * count)]), strict=True):
            own = model.take(chosen)
            part.append(WeightedRows(own.features, own.weight * (len(chosen) / own.weight.sum())))
    booster = HistGradientBoostingClassifier(
        max_iter=max_iter, learning_rate=learning_rate, early_stopping=True, n_iter_no_change=10,
        random_state=int(tree_seed.generate_state(1)[0] % 2**31),
    )  # fmt: skip
    training, validation, held_out = parts
    edges = bin_edges(np.concatenate([part.features for part in training]))
    fitted = _fit(booster, training, validation, edges)
    judged = {**dict(zip(models, held_out, strict=True)), **probes}
    return {name: _averages(fitted, rows, edges, list(models)) for name, rows in judged.items()}


def _fit(booster: Any, training: list[WeightedRows], validation: list[WeightedRows], edges: list[FloatArray]) -> Any:
    """Trees on bin numbers: with weights, scikit-learn would spend most of the time on finding bins."""
    data = []
    for parts in (training, validation):
        matrix = bin_codes(np.concatenate([part.features for part in parts]), edges)
        target = np.repeat(np.arange(len(parts)), [len(part.weight) for part in parts])
        data.append((matrix, target, np.concatenate([part.weight for part in parts])))
    (matrix, target, weight), (x, y, w) = data
    return booster.fit(matrix, target, sample_weight=weight, X_val=x, y_val=y, sample_weight_val=w)


def _averages(booster: Any, rows: WeightedRows, edges: list[FloatArray], names: list[str]) -> dict[str, float]:
    logs = np.log(np.maximum(booster.predict_proba(bin_codes(rows.features, edges)), _TINY))
    means = np.average(logs, axis=0, weights=rows.weight)
    return dict(zip(names, means.tolist(), strict=True))
