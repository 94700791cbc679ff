"""An ensemble of Deep SVDDs: networks that map all known events to constant vectors; events that miss them are different."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch

from resonaut.errors import ConfigError, ModelError
from resonaut.models.base import BaseScorer, feature_names, require_events, require_fraction, require_positive
from resonaut.models.group_training import GroupTraining
from resonaut.models.inputs import AE_FEATURES
from resonaut.models.metrics import auc
from resonaut.models.networks import join_stacks
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.scales import Combine, ScoreScale, combine_tails, require_combination
from resonaut.models.stack import Layer, StackedMLP, choose_device
from resonaut.models.storage import Tensors
from resonaut.models.targets import (
    Aims,
    TargetData,
    evaluate_targets,
    stack_of,
    train_to_targets,
    widen,
)
from resonaut.stats import Window

__all__ = ("SVDD_DIMENSIONS", "SVDD_TARGETS", "DeepSVDD")

logger = logging.getLogger(__name__)
SVDD_DIMENSIONS = (5, 8, 13, 21, 34, 55, 89, 144, 233)
SVDD_TARGETS = (0, 1, 2, 3, 4, 10, 25)
_LEAST_EVENTS = 50
_LEAST_SPREAD = (
    1e-2  # of a member's scores over events, relative to their mean: chi-square of the largest output has 0.09
)
_JUDGED = 5000
Progress = Callable[[int, int], None]


@register("deep-svdd")
class DeepSVDD(BaseScorer):
    """Distance of a network's output from the constant vector that it was trained to give for every known event.

    One network finds some relations that hold among the known events. The ensemble has one for each output dimension d and each
    target value n, which end in different minima; each member's squared distance is mapped to uniform on the training events, and
    the members are combined.

    Parameters
    ----------
    features
        Columns to read; constant ones are allowed.
    dimensions, targets
        d and n: one member for each pair.
    hidden
        Widths of the hidden layers (ELU); the output is linear.
    combine
        "avg", "prod", "and" (minimum) or "or" (maximum) of the members' uniform scores.
    epochs, patience
        Most epochs, and epochs without a better validation loss after which a member stops.
    halve_after
        Epochs without a better validation loss after which a member's learning rate is halved.
    batch_size, learning_rate
        Adam. The paper's batches of 10,000 events fill a GPU; smaller ones reach the same loss in less time on a CPU.
    validation
        Fraction of the events that only measure when to stop.
    stack_size
        Members trained at once; None takes one of each target on a CPU, all on a GPU.
    device
        "cpu", "cuda", ...; None takes a GPU where there is one.
    seed
        Equal seeds give equal scores on one device.

    Attributes
    ----------
    members_
        [(d, n), ...] of the members.
    collapsed_
        (members,) those whose output does not depend on the event: a trivial solution, left out of the score.
    information_
        (members,) AUC with which a member tells events whose columns were shuffled among the events from real ones (0.5: it learnt
        nothing about how features go together).

    References
    ----------
    Caron, Hendriks, Verheyen, "Rare and Different", arXiv:2106.10164, section 2; Ruff et al., Deep One-Class Classification,
    ICML 2018.

    Examples
    --------
    >>> len(DeepSVDD().members)
    63
    >>> DeepSVDD.fast().members
    [(5, 0), (5, 1), (5, 10), (21, 0), (21, 1), (21, 10), (89, 0), (89, 1), (89, 10)]
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = AE_FEATURES,
        *,
        dimensions: Sequence[int] = SVDD_DIMENSIONS,
        targets: Sequence[float] = SVDD_TARGETS,
        hidden: Sequence[int] = (512, 256, 128),
        combine: Combine = "avg",
        epochs: int = 1000,
        patience: int = 50,
        halve_after: int = 5,
        batch_size: int = 10_000,
        learning_rate: float = 1e-3,
        validation: float = 0.1,
        stack_size: int | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.dimensions = tuple(int(each) for each in dimensions)
        self.targets = tuple(targets)
        self.hidden = tuple(int(each) for each in hidden)
        self.combine = require_combination(combine)
        self.epochs, self.patience, self.halve_after = epochs, patience, halve_after
        self.batch_size, self.learning_rate, self.validation = batch_size, learning_rate, validation
        self.stack_size = stack_size
        self.device = device
        self.seed = seed
        if not self.dimensions or not self.targets:
            msg = f"{self.name!r} needs at least one dimension and one target, got {self.dimensions} and {self.targets}"
            raise ConfigError(msg)
        positive: dict[str, float] = {f"dimensions[{place}]": each for place, each in enumerate(self.dimensions)}
        positive |= {f"hidden[{place}]": each for place, each in enumerate(self.hidden)}
        positive |= {
            "epochs": epochs, "patience": patience, "halve_after": halve_after, "batch_size": batch_size,
            "learning_rate": learning_rate, "stack_size": 1 if stack_size is None else stack_size,
        }  # fmt: skip
        require_positive(self.name, **positive)
        require_fraction(self.name, validation=validation)
        self.network_: StackedMLP | None = None
        self.collapsed_: FloatArray = np.zeros(0)
        self.information_: FloatArray = np.zeros(0)
        self.losses_: FloatArray = np.zeros(0)
        self.epochs_: FloatArray = np.zeros(0)
        self.scales_: list[ScoreScale] = []

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """Nine members in batches of 512 for at most 40 epochs, for a CPU; any option can be changed."""
        chosen: dict[str, Any] = {"dimensions": (5, 21, 89), "targets": (0, 1, 10), "epochs": 40, "patience": 8}
        chosen |= {"halve_after": 2, "batch_size": 512}
        return cls(**{**chosen, **changes})

    @property
    def members(self) -> list[tuple[int, float]]:
        """(d, n) of each member."""
        return [(dimension, target) for dimension in self.dimensions for target in self.targets]

    @property
    def fitted(self) -> bool:
        """Whether there are networks to score with."""
        return self.network_ is not None

    def _layers(self, outputs: int) -> tuple[Layer, ...]:
        return (*(Layer(width, "elu") for width in self.hidden), Layer(outputs))

    def _aims(self, device: torch.device, start: int = 0, stop: int | None = None) -> Aims:
        return Aims.of(self.members[start:stop], device)

    def fit(self, sample: Sample, window: Window | None = None, progress: Progress | None = None) -> Self:
        """Train all members on `sample`; the window is only kept for the record.

        Parameters
        ----------
        sample
            Known events.
        window
            Not used.
        progress
            Called with the members done and their number.

        Raises
        ------
        InputError
            If there are fewer than 50 events.
        ModelError
            If every member collapsed, or a loss is not finite.
        """
        require_events(self.name, sample, _LEAST_EVENTS)
        matrix = sample.require(self.features)
        seeds = np.random.SeedSequence(self.seed).spawn(4)
        data = TargetData.make(matrix, sample.weight, self.validation, seeds[0], choose_device(self.device))
        options = GroupTraining(
            self.epochs,
            self.patience,
            self.halve_after,
            self.batch_size,
            self.learning_rate,
            int(seeds[2].generate_state(1)[0]),
            reduce_by=2.0,
        )
        starts = seeds[1].generate_state(len(self.members), np.uint64).tolist()
        self.network_ = self._train(starts, data, options, progress)
        self.window_ = window
        self._judge(matrix, sample.weight, np.random.default_rng(seeds[3]))
        return self

    def _train(
        self, seeds: Sequence[int], data: TargetData, options: GroupTraining, progress: Progress | None
    ) -> StackedMLP:
        """All members, a part of them at a time; those trained together have like dimensions."""
        size = self.stack_size or (len(self.targets) if data.device.type == "cpu" else len(seeds))
        parts, found = [], []
        for start in range(0, len(seeds), size):
            stop = min(start + size, len(seeds))
            aims = self._aims(data.device, start, stop)
            members = self.members[start:stop]
            stack = stack_of(len(self.features), self._layers(1)[:-1], members, seeds[start:stop], data.device)
            found.append(train_to_targets(stack, aims, data, options))
            parts.append(widen(stack, max(self.dimensions)))
            if progress is not None:
                progress(stop, len(seeds))
        self.losses_ = np.concatenate([each.loss for each in found])
        self.epochs_ = np.concatenate([each.epochs for each in found])
        network = join_stacks(parts)
        network.get_buffer("shift").copy_(data.shift)
        network.get_buffer("scale").copy_(data.scale)
        return network

    def _judge(self, matrix: FloatArray, weight: FloatArray, rng: np.random.Generator) -> None:
        """Scales of the members' scores; which of them collapsed; what they know beyond each column alone."""
        distances = self._distances(matrix)
        self.scales_ = [ScoreScale.learn(each, weight) for each in distances]
        mean = np.average(distances, axis=1, weights=weight)
        spread = np.sqrt(np.average((distances - mean[:, None]) ** 2, axis=1, weights=weight))
        rounding = (
            32 * np.finfo(np.float32).eps * np.maximum(1.0, np.abs([target for _, target in self.members]))
        ) ** 2
        self.collapsed_ = ((mean <= rounding) | (spread < _LEAST_SPREAD * mean)).astype(np.float64)
        rows = rng.permutation(len(matrix))[:_JUDGED]
        shuffled = np.column_stack([column[rng.permutation(len(rows))] for column in matrix[rows].T])
        mixed = self._distances(shuffled)
        label = np.repeat([0, 1], len(rows))
        real = distances[:, rows]
        self.information_ = np.array([auc(label, np.concatenate(pair)) for pair in zip(real, mixed, strict=True)])
        if self.collapsed_.any():
            which = [member for member, gone in zip(self.members, self.collapsed_, strict=True) if gone]
            if self.collapsed_.all():
                msg = f"all {len(which)} networks of {self.name!r} give the same output for every event: lower the learning rate, or"
                msg += " look at the features (constant? standardised by an outlier?)"
                raise ModelError(msg)
            logger.warning(
                "%d of %d networks collapsed and are left out: (d, n) = %s", len(which), len(self.members), which
            )

    def _distances(self, matrix: FloatArray) -> FloatArray:
        """Mean squared distance (members, n) from the target."""
        assert self.network_ is not None
        return evaluate_targets(self.network_, self._aims(self.network_.device), matrix)

    def member_scores(self, sample: Sample) -> FloatArray:
        """t (members, n) = -ln(1 - u) of each member's uniform score u, those that collapsed left out."""
        self.require_fitted()
        distances = self._distances(sample.require(self.features))
        kept = np.flatnonzero(self.collapsed_ == 0)
        return np.stack([self.scales_[place].tail(distances[place]) for place in kept])

    def score(self, sample: Sample) -> FloatArray:
        """Combined score (n,): -ln(1 - S) of the combination S of the members' uniform scores."""
        return combine_tails(self.member_scores(sample), self.combine)

    def learnt_tensors(self) -> Tensors:
        """Parameters of the members and the distributions of their scores."""
        assert self.network_ is not None
        found = {f"scale_{place}": scale.points for place, scale in enumerate(self.scales_)}
        found |= {f"network.{name}": array for name, array in self.network_.tensors().items()}
        return found | {
            "collapsed": self.collapsed_, "information": self.information_, "losses": self.losses_, "epochs": self.epochs_,
        }  # fmt: skip

    def learnt_facts(self) -> dict[str, Any]:
        """How the training went."""
        collapsed = [list(member) for member, gone in zip(self.members, self.collapsed_, strict=True) if gone]
        return {
            "collapsed": collapsed,
            "validation_loss_mean": float(self.losses_.mean()),
            "epochs_mean": float(self.epochs_.mean()),
            "information_median": float(np.median(self.information_)),
        }

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the members."""
        del facts
        layers = self._layers(max(self.dimensions))
        self.network_ = StackedMLP(len(self.features), layers, [0], device=choose_device(self.device))
        own = {name.removeprefix("network."): array for name, array in tensors.items() if name.startswith("network.")}
        self.network_.load_tensors(own)
        self.network_.eval()
        self.scales_ = [ScoreScale(tensors[f"scale_{place}"]) for place in range(len(self.members))]
        self.collapsed_, self.information_ = tensors["collapsed"], tensors["information"]
        self.losses_, self.epochs_ = tensors["losses"], tensors["epochs"]
