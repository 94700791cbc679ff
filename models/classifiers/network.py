"""Small networks as a classifier: the members of all folds trained as one stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from resonaut.errors import ModelError
from resonaut.models.classifiers.base import Classifier, TrainedClassifier, TrainingSet, register_classifier
from resonaut.models.decorrelation import Decorrelation
from resonaut.models.networks import mean_output, stack_sizes
from resonaut.models.sample import FloatArray, IndexArray, MaskArray
from resonaut.models.stack import Layer, StackedMLP, choose_device
from resonaut.models.storage import Tensors
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, TrainingResult, train_classifiers

__all__ = ("NetworkClassifier", "TrainedNetwork")


@dataclass(frozen=True, eq=False)
class TrainedNetwork(TrainedClassifier):
    """Networks of one training, their outputs averaged.

    Parameters
    ----------
    network
        The members as a stack, in evaluation mode.
    loss, best_epoch
        Validation loss of each member's best epoch (from 0).
    """

    kind: ClassVar[str]
    network: StackedMLP
    loss: tuple[float, ...]
    best_epoch: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Number of features."""
        return self.network.inputs

    def _probability(self, matrix: FloatArray) -> FloatArray:
        return mean_output(self.network, matrix)

    def tensors(self) -> Tensors:
        """Parameters and standardisation of the members."""
        return self.network.tensors()

    def _facts(self) -> dict[str, Any]:
        hidden = [layer.width for layer in self.network.layers[:-1]]
        return {
            "inputs": self.inputs,
            "hidden": hidden,
            "dropout": self.network.layers[0].dropout if hidden else 0.0,
            "loss": list(self.loss),
            "best_epoch": list(self.best_epoch),
        }

    @classmethod
    def restore(cls, tensors: Tensors, facts: Mapping[str, Any], device: str | None = None) -> Self:
        """Take back the networks."""
        layers = _layers(facts["hidden"], facts["dropout"])
        network = StackedMLP(facts["inputs"], layers, [0], device=choose_device(device))
        network.load_tensors(tensors)
        return cls(network.eval(), tuple(facts["loss"]), tuple(facts["best_epoch"]))


@register_classifier("network")
@dataclass(frozen=True)
class NetworkClassifier(Classifier):
    """Small fully connected networks; the probability is the mean output of `members` networks for each fold.

    Parameters
    ----------
    members
        Networks in each fold, each with its own initial weights and its own training and validation events.
    hidden
        Widths of the hidden layers (ReLU).
    dropout
        After each hidden layer; none in the paper.
    epochs, patience
        Most epochs, and epochs without a smaller validation loss after which a network stops. Its best epoch is kept.
    batch_size, learning_rate
        Adam.
    validation_fraction
        Share of each class that decides when to stop.
    decorrelation
        Penalty on the dependence of the output on what `train` gets as `protected` (`Decorrelation`, or its options as a
        mapping): give it larger batches, 1024 and more.
    stack_size
        Networks trained at once; None takes what fits the device well. The result does not depend on it beyond rounding.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.

    Notes
    -----
    The defaults are the paper's: d-64-32-1, Adam with learning rate 1e-3, batches of 128, up to 100 epochs, patience 5 on
    the validation loss, scores averaged over 10 runs.

    References
    ----------
    Golling et al., "The interplay of machine learning-based resonant anomaly detection methods", arXiv:2307.11157,
    section 2.2.

    Examples
    --------
    >>> from resonaut.models.classifiers import NetworkClassifier
    >>> NetworkClassifier().options["hidden"]
    [64, 32]
    """

    name: ClassVar[str]
    trained: ClassVar[type[TrainedClassifier]] = TrainedNetwork

    members: int = 10
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.0
    epochs: int = 100
    patience: int = 5
    batch_size: int = 128
    learning_rate: float = 1e-3
    validation_fraction: float = 0.2
    decorrelation: Decorrelation | Mapping[str, Any] | None = None
    stack_size: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))  # JSON gives a list
        if isinstance(self.decorrelation, Mapping):  # and a mapping
            object.__setattr__(self, "decorrelation", Decorrelation.of(self.decorrelation))
        for option in ("members", "epochs", "patience", "batch_size", "learning_rate"):
            self.require(getattr(self, option) > 0, option, "above 0")
        self.require(self.stack_size is None or self.stack_size > 0, "stack_size", "above 0 or None")
        self.require(0 < self.validation_fraction < 1, "validation_fraction", "in (0, 1)")
        _layers(self.hidden, self.dropout)

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """For CPUs: batches of 1024 and a learning rate of 5e-3; any option can be changed."""
        return cls(**{"batch_size": 1024, "learning_rate": 5e-3, **changes})

    def _train(self, events: TrainingSet, seeds: Sequence[int]) -> list[TrainedClassifier]:
        training: list[EventSet] = []
        validation: list[EventSet] = []
        own_seeds: list[int] = []
        for number, seed in enumerate(seeds):
            rows = events.rows(number)
            split, start = np.random.SeedSequence(seed).spawn(2)
            own_seeds += start.generate_state(self.members, np.uint64).tolist()
            for child in split.spawn(self.members):
                held_out = _validation_mask(events.target[rows], self.validation_fraction, child)
                for part, sets in ((rows[~held_out], training), (rows[held_out], validation)):
                    sets.append(EventSet(part, events.weights(part)))
        data = ClassifierData(events.matrix, events.target, training, validation, events.protected)
        return self._collect(self._train_stacks(data, own_seeds))

    def _train_stacks(self, data: ClassifierData, seeds: Sequence[int]) -> list[tuple[StackedMLP, TrainingResult]]:
        """All networks, in stacks that suit the device and hold whole folds' members apart or together alike."""
        device = choose_device(self.device)
        layers = _layers(self.hidden, self.dropout)
        assert not isinstance(self.decorrelation, Mapping)  # made a Decorrelation at the start
        options = TrainingOptions(
            self.epochs,
            self.patience,
            self.batch_size,
            self.learning_rate,
            figure="loss",
            decorrelation=self.decorrelation,
        )
        batches = data.batches(self.batch_size)
        done = []
        for start, stop in stack_sizes(len(seeds), self.stack_size, self.batch_size, layers, device):
            network = StackedMLP(data.features.shape[1], layers, seeds[start:stop], init="torch", device=device)
            done.append((network, train_classifiers(network, data.part(start, stop), options, batches=batches)))
        return done

    def _collect(self, parts: list[tuple[StackedMLP, TrainingResult]]) -> list[TrainedClassifier]:
        """Networks of a fold taken together, whichever stacks they were trained in."""
        figure = np.concatenate([result.figure for _, result in parts])
        if not np.isfinite(figure).all():
            msg = f"{np.count_nonzero(~np.isfinite(figure))} of {len(figure)} networks diverged: lower learning_rate"
            raise ModelError(msg)
        epoch = np.concatenate([result.best_epoch for _, result in parts])
        stacked = [network.tensors() for network, _ in parts]
        joined = {name: np.concatenate([tensors[name] for tensors in stacked]) for name in stacked[0]}
        trained: list[TrainedClassifier] = []
        for start in range(0, len(figure), self.members):
            own = slice(start, start + self.members)
            first = parts[0][0]
            network = StackedMLP(first.inputs, first.layers, [0], device=first.device)
            network.load_tensors({name: tensor[own] for name, tensor in joined.items()})
            trained.append(TrainedNetwork(network.eval(), tuple((-figure[own]).tolist()), tuple(epoch[own].tolist())))
        return trained


def _layers(hidden: Sequence[int], dropout: float) -> tuple[Layer, ...]:
    return (*(Layer(width, "relu", dropout=dropout) for width in hidden), Layer(1))


def _validation_mask(target: MaskArray, fraction: float, seed: np.random.SeedSequence) -> MaskArray:
    """Random events (mask), the same fraction of both classes, at least one of each and not all."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(target), dtype=bool)
    for value in (False, True):
        rows: IndexArray = rng.permutation(np.flatnonzero(target == value))
        held_out[rows[: min(len(rows) - 1, max(1, round(fraction * len(rows))))]] = True
    return held_out
