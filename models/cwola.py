"""CWoLa hunting with networks: nested cross-validation, the networks of a whole window trained as one stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch

from resonaut.errors import ConfigError
from resonaut.models.base import BaseScorer, feature_names, require_positive
from resonaut.models.decorrelation import Decorrelation
from resonaut.models.folds import assign_folds, region_weights, training_rows
from resonaut.models.inputs import CWOLA_FEATURES, require_scaled, scaled_matrix
from resonaut.models.networks import mean_output, stack_sizes
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.stack import Layer, StackedMLP, choose_device
from resonaut.models.storage import Tensors
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, train_classifiers
from resonaut.stats import Window

__all__ = ("CWOLA_LAYERS", "CWoLaNetwork")

CWOLA_LAYERS = (
    Layer(64, "leaky", dropout=0.2),
    Layer(32, "elu", dropout=0.2),
    Layer(16, "elu", dropout=0.2),
    Layer(4, "elu"),
    Layer(1),
)


@register("cwola-nn")
class CWoLaNetwork(BaseScorer):
    """Networks that tell the signal region from the sidebands (classification without labels).

    The events given to `fit` are shared out in `rounds` parts; each is the validation set of one round, in which
    `initialisations` networks are trained on the others and the one with the best validation figure (true positive rate at 1 %
    false positives, signal region against sidebands) is kept. The score is the mean output of the kept networks. Inside
    `CrossFit` with 5 folds this is the nested cross-validation of the paper: 5 x 4 x 10 = 200 networks a window, which
    `fit_folds` trains as one stack.

    Parameters
    ----------
    features
        Columns to read.
    scaled_by_mass
        Those of the features that are divided by the event's resonant mass; none in the paper.
    rounds, initialisations
        Rounds of training and validation, and networks in each.
    epochs, patience, batch_size, learning_rate, decay
        The training: see `TrainingOptions`. Defaults are the paper's.
    decorrelation
        Options of a `Decorrelation` of the output from the mass, on the sidebands; none in the paper.
    stack_size
        Networks trained at once; None takes what fits the device well. The result does not depend on it beyond
        rounding.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores, bit for bit on one device with the same number of threads.

    Notes
    -----
    12-64-32-16-4-1, leaky ReLU (0.1) after the first layer, ELU after the others, dropout 0.2 after the first three; binary
    cross-entropy; Adam with betas (0.8, 0.99). Each network standardises its inputs by its own training events (in the
    paper, by training and validation events when testing). An epoch is shared out in equal batches (in Keras the last
    one is smaller).

    The paper's training needs a GPU. `CWoLaNetwork.fast()` is a shorter one for CPUs; docs/models.md has what it costs in
    power.

    References
    ----------
    Collins, Martin-Ramiro, Nachman, Shih, "Comparing Weak- and Unsupervised Methods for Resonant Anomaly Detection",
    arXiv:2104.02092, section 3.1.

    Examples
    --------
    >>> CWoLaNetwork.fast(seed=3).epochs
    15
    """

    def __init__(
        self,
        features: Sequence[str] = CWOLA_FEATURES,
        *,
        scaled_by_mass: Sequence[str] = (),
        rounds: int = 4,
        initialisations: int = 10,
        epochs: int = 700,
        patience: int = 300,
        batch_size: int = 20480,
        learning_rate: float = 1e-3,
        decay: float = 5e-4,
        decorrelation: Mapping[str, Any] | None = None,
        stack_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.scaled_by_mass = require_scaled(scaled_by_mass, self.features)
        self.rounds = rounds
        self.initialisations = initialisations
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.decay = decay
        self.decorrelation = None if decorrelation is None else asdict(Decorrelation.of(decorrelation))
        self.stack_size = stack_size
        self.device = device
        self.seed = seed
        require_positive(
            self.name,
            initialisations=initialisations,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            learning_rate=learning_rate,
            stack_size=1 if stack_size is None else stack_size,
        )
        if rounds < 2:
            msg = f"option 'rounds' of {self.name!r} must be at least 2 (one part validates), got {rounds!r}"
            raise ConfigError(msg)
        self.network_: StackedMLP | None = None
        self.training_: dict[str, Any] = {}

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """Shorter training for CPUs: 1 initialisation, small batches, 15 epochs; any option can be changed."""
        return cls(**{**FAST, **changes})

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.network_ is not None

    def fit(self, sample: Sample, window: Window | None) -> CWoLaNetwork:
        """Train on the events of `sample` in the window."""
        everything = np.zeros(len(sample), dtype=np.int64)
        trained = self._train(sample, self.require_window(window), everything - 1, {0: self.seed})
        self.window_, self.network_, self.training_ = window, *trained[0]
        return self

    def fit_folds(
        self, sample: Sample, window: Window | None, fold: IndexArray, seeds: Sequence[int]
    ) -> list[CWoLaNetwork]:
        """One fitted scorer per fold, each trained without the events of its own fold, all in one stack.

        Equal to ``clone(seed=seeds[k]).fit(sample.take(fold != k), window)`` for each k, to rounding.
        """
        window = self.require_window(window)
        trained = self._train(sample, window, fold, dict(enumerate(seeds)))
        scorers = []
        for number, seed in enumerate(seeds):
            scorer = self.clone(seed=seed)
            scorer.window_, scorer.network_, scorer.training_ = window, *trained[number]
            scorers.append(scorer)
        return scorers

    def score(self, sample: Sample) -> FloatArray:
        """Mean network output (n,) in (0, 1), at any mass."""
        self.require_fitted()
        assert self.network_ is not None
        return mean_output(self.network_, scaled_matrix(sample, self.features, self.scaled_by_mass))

    def _train(
        self, sample: Sample, window: Window, fold: IndexArray, seeds: dict[int, int]
    ) -> dict[int, tuple[StackedMLP, dict[str, Any]]]:
        rows = training_rows(sample, window)
        inside, fold = sample.take(rows), fold[rows]
        sets, network_seeds = [], []
        for number, seed in seeds.items():
            split, start = np.random.SeedSequence(seed).spawn(2)
            network_seeds += start.generate_state(self.rounds * self.initialisations, np.uint64).tolist()
            for pair in self._rounds(inside, window, np.flatnonzero(fold != number), split):
                sets += [pair] * self.initialisations
        data = ClassifierData(
            scaled_matrix(inside, self.features, self.scaled_by_mass),
            window.in_signal_region(inside.mass),
            [training for training, _ in sets],
            [validation for _, validation in sets],
            inside.mass,
        )
        figure, best_epoch, tensors = self._train_stacks(data, network_seeds)
        each = self.rounds * self.initialisations
        return {
            number: self._best(range(place * each, (place + 1) * each), figure, best_epoch, tensors)
            for place, number in enumerate(seeds)
        }

    def _rounds(
        self, inside: Sample, window: Window, pool: IndexArray, seed: np.random.SeedSequence
    ) -> Iterator[tuple[EventSet, EventSet]]:
        """Training and validation set of each round, each with balanced regions."""
        part = assign_folds(inside.mass[pool], self.rounds, seed)
        for number in range(self.rounds):
            pair = []
            for rows in (pool[part != number], pool[part == number]):
                pair.append(EventSet(rows, region_weights(inside.take(rows), window)[1]))
            yield pair[0], pair[1]

    def _train_stacks(
        self, data: ClassifierData, seeds: Sequence[int]
    ) -> tuple[FloatArray, IndexArray, list[dict[str, torch.Tensor]]]:
        device = choose_device(self.device)
        options = TrainingOptions(
            self.epochs,
            self.patience,
            self.batch_size,
            self.learning_rate,
            self.decay,
            betas=(0.8, 0.99),
            decorrelation=None if self.decorrelation is None else Decorrelation.of(self.decorrelation),
        )
        batches = data.batches(self.batch_size)
        figures, epochs, tensors = [], [], []
        for start, stop in stack_sizes(len(seeds), self.stack_size, self.batch_size, CWOLA_LAYERS, device):
            network = StackedMLP(len(self.features), CWOLA_LAYERS, seeds[start:stop], device=device)
            result = train_classifiers(network, data.part(start, stop), options, batches=batches)
            figures.append(result.figure)
            epochs.append(result.best_epoch)
            stacked = {name: tensor.detach().cpu() for name, tensor in network.stacked().items()}
            tensors += [{name: tensor[k : k + 1] for name, tensor in stacked.items()} for k in range(stop - start)]
        return np.concatenate(figures), np.concatenate(epochs), tensors

    def _best(
        self, networks: range, figure: FloatArray, best_epoch: IndexArray, tensors: list[dict[str, torch.Tensor]]
    ) -> tuple[StackedMLP, dict[str, Any]]:
        """The best initialisation of each round, as one small stack."""
        by_round = np.asarray(networks).reshape(self.rounds, self.initialisations)
        chosen = by_round[np.arange(self.rounds), figure[by_round].argmax(axis=1)]
        network = self._empty()
        network.adopt({name: torch.cat([tensors[k][name] for k in chosen]) for name in tensors[0]})
        network.eval()
        return network, {"figure": figure[chosen].tolist(), "best_epoch": best_epoch[chosen].tolist()}

    def _empty(self) -> StackedMLP:
        seeds = range(self.rounds)
        return StackedMLP(len(self.features), CWOLA_LAYERS, seeds, device=choose_device(self.device))

    def learnt_tensors(self) -> Tensors:
        """Parameters and standardisation of the kept networks."""
        assert self.network_ is not None
        return self.network_.tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """Validation figure and best epoch of the kept networks."""
        return self.training_

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the networks."""
        self.network_ = self._empty()
        self.network_.load_tensors(tensors)
        self.network_.eval()
        self.training_ = facts


FAST: dict[str, Any] = {
    "initialisations": 1,
    "epochs": 15,
    "patience": 8,
    "batch_size": 2048,
    "learning_rate": 2e-3,
}
