"""Training a stack of classifiers: own events, weights, order, early stopping and best epoch for each network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from torch.nn import functional

from resonaut.errors import ConfigError, InputError
from resonaut.models.counter import keys, permutations
from resonaut.models.decorrelation import Decorrelation, Penalty, quantile_edges
from resonaut.models.sample import FloatArray, IndexArray, MaskArray
from resonaut.models.stack import StackedAdam, StackedMLP

__all__ = ("ClassifierData", "EventSet", "TrainingOptions", "TrainingResult", "stacked_tpr", "train_classifiers")

logger = logging.getLogger(__name__)
_ORDER_STREAM = 1 << 20  # apart from the streams of the layers' dropout
_VALIDATION_STREAM = _ORDER_STREAM + 1
Figure = Literal["tpr", "loss"]


@dataclass(frozen=True)
class TrainingOptions:
    """How each network of a stack is trained.

    Parameters
    ----------
    epochs, patience
        Most epochs, and epochs without a better validation figure after which a network stops.
    batch_size
        Events of one step (the events of an epoch are shared out equally in the fewest batches of at most this size).
    learning_rate, decay, betas
        Adam, with learning rate / (1 + decay * step).
    figure
        What the best epoch is chosen by, on the validation events: "tpr" (true positive rate at `false_positive_rate`) or
        "loss" (weighted binary cross-entropy). A decorrelation's penalty of the validation events is taken off the one
        and added to the other.
    false_positive_rate
        Where "tpr" is read off.
    decorrelation
        Penalty on the dependence of the outputs on the data's `protected` column; None for no penalty.

    Raises
    ------
    ConfigError
        For an unknown figure.
    """

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float = 1e-3
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    figure: Figure = "tpr"
    false_positive_rate: float = 0.01
    decorrelation: Decorrelation | None = None

    def __post_init__(self) -> None:
        if self.figure not in ("tpr", "loss"):
            msg = f"validation figure must be 'tpr' or 'loss', got {self.figure!r}"
            raise ConfigError(msg)


@dataclass(frozen=True)
class EventSet:
    """Events of one network: rows of a common matrix and weights for them."""

    rows: IndexArray
    weight: FloatArray


@dataclass
class _Padded:
    """Event sets of K networks as one index matrix; sets shorter than the longest are padded with weight 0."""

    rows: torch.Tensor
    weight: torch.Tensor
    sizes: torch.Tensor

    @classmethod
    def of(cls, sets: Sequence[EventSet], device: torch.device) -> Self:
        longest = max(len(each.rows) for each in sets)
        rows = np.zeros((len(sets), longest), dtype=np.int64)
        weight = np.zeros((len(sets), longest), dtype=np.float32)
        for number, each in enumerate(sets):
            rows[number, : len(each.rows)] = each.rows
            weight[number, : len(each.rows)] = each.weight
        sizes = torch.tensor([len(each.rows) for each in sets])
        return cls(torch.from_numpy(rows).to(device), torch.from_numpy(weight).to(device), sizes.to(device))

    def shuffle(self, key: torch.Tensor) -> None:
        """Bring each network's events into random order, padding last."""
        order = permutations(key, self.sizes)
        self.rows, self.weight = torch.gather(self.rows, 1, order), torch.gather(self.weight, 1, order)

    def keep(self, chosen: torch.Tensor) -> None:
        self.rows, self.weight, self.sizes = self.rows[chosen], self.weight[chosen], self.sizes[chosen]


@dataclass(frozen=True)
class ClassifierData:
    """What a stack of K classifiers learns from.

    Parameters
    ----------
    features
        (n, d) matrix, common to all.
    target
        (n,) class of each event.
    training, validation
        K sets of events each.
    protected
        (n,) variable that outputs shall not depend on; read where the training has a decorrelation.
    """

    features: FloatArray
    target: MaskArray
    training: Sequence[EventSet]
    validation: Sequence[EventSet]
    protected: FloatArray | None = None

    def part(self, start: int, stop: int) -> ClassifierData:
        """Data of networks start .. stop - 1."""
        return replace(self, training=self.training[start:stop], validation=self.validation[start:stop])

    def batches(self, batch_size: int) -> int:
        """Steps in an epoch: the same for all networks, so that they stay in step."""
        return -(-max(len(each.rows) for each in self.training) // batch_size)


@dataclass(frozen=True)
class TrainingResult:
    """How each network's training went: (K,) best validation figure, its epoch (from 0), and epochs trained.

    A larger figure is better: a loss is given with a minus sign. -inf is a network whose outputs were never numbers.
    """

    figure: FloatArray
    best_epoch: IndexArray
    epochs: IndexArray


def train_classifiers(
    network: StackedMLP,
    data: ClassifierData,
    options: TrainingOptions,
    *,
    batches: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingResult:
    """Train in place; each network ends with the parameters of its best epoch, standardised by its own training events.

    Parameters
    ----------
    network
        K networks with one output (the logit).
    data
        K training and validation sets.
    options
        The training.
    batches
        Steps per epoch; from the longest training set where not given. Parts of one task that are trained apart need
        the same number to give the same result.
    progress
        Called as ``progress(epochs done, most epochs)``.

    Raises
    ------
    InputError
        If the options ask for a decorrelation and the data have no protected variable.
    """
    session = _Session(network, data, options, batches)
    for epoch in range(options.epochs):
        session.run_epoch(epoch)
        session.judge(epoch)
        if progress is not None:
            progress(epoch + 1, options.epochs)
        if not len(session.alive):
            break
    return session.finish()


class _Session:
    """State of one training: the live part of the stack, and the best parameters of all of it."""

    def __init__(
        self, network: StackedMLP, data: ClassifierData, options: TrainingOptions, batches: int | None
    ) -> None:
        device = network.device
        self.network, self.options = network, options
        self.features = torch.as_tensor(data.features, dtype=torch.float32).to(device)
        self.target = torch.as_tensor(np.asarray(data.target), dtype=torch.float32).to(device)
        self.training = _Padded.of(data.training, device)
        self.validation = _Padded.of(data.validation, device)
        self.batches = batches or data.batches(options.batch_size)
        _standardise_by(network, data)
        self.adam = StackedAdam(
            network,
            options.learning_rate,
            decay=options.decay,
            betas=options.betas,
            eps=1e-7,  # Keras' regulator
        )
        self.penalty = _penalty(data, options.decorrelation, device)
        if self.penalty is not None:
            self.validation.shuffle(keys(network.get_buffer("seeds"), _VALIDATION_STREAM, 0))
        count = len(network)
        self.alive = torch.arange(count, device=device)
        self.best = {name: tensor.detach().clone() for name, tensor in network.stacked().items()}
        self.figure = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)
        self.best_epoch = torch.zeros(count, dtype=torch.int64, device=device)
        self.epochs = torch.zeros(count, dtype=torch.int64, device=device)

    def run_epoch(self, epoch: int) -> None:
        self.network.train()
        order = permutations(keys(self.network.get_buffer("seeds"), _ORDER_STREAM, epoch), self.training.sizes)
        for batch in range(self.batches):
            place, valid = self._slice(batch)
            chosen = torch.gather(order, 1, place)
            rows = torch.gather(self.training.rows, 1, chosen)
            weight = torch.gather(self.training.weight, 1, chosen).masked_fill_(~valid, 0.0)
            logit = self.network(self.features[rows], epoch * self.batches + batch).squeeze(-1)
            loss = functional.binary_cross_entropy_with_logits(logit, self.target[rows], weight, reduction="none")
            loss = loss.sum(dim=1) / valid.sum(dim=1)
            if self.penalty is not None:
                loss = loss + self.penalty(torch.sigmoid(logit), rows, self.target[rows], weight)
            loss.sum().backward()  # type: ignore[no-untyped-call]
            self.adam.step()

    def _slice(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (K, width) of a batch in each network's order, and which of them are real."""
        sizes = self.training.sizes
        start, stop = batch * sizes // self.batches, (batch + 1) * sizes // self.batches
        place = start[:, None] + torch.arange(int((stop - start).max()), device=sizes.device)[None, :]
        valid = place < stop[:, None]
        return place.clamp_(max=self.training.rows.shape[1] - 1), valid

    @torch.no_grad()
    def judge(self, epoch: int) -> None:
        """Validate, remember the best, drop networks that have waited long enough."""
        self.network.eval()
        figure = self._figure(self._validation_logit())
        better = figure > self.figure[self.alive]
        winners = self.alive[better]
        self.figure[winners] = figure[better]
        self.best_epoch[winners] = epoch
        self.epochs[self.alive] = epoch + 1
        for name, tensor in self.network.stacked().items():
            self.best[name][winners] = tensor.detach()[better]
        going = epoch - self.best_epoch[self.alive] < self.options.patience
        if not bool(going.all()):
            self.network.keep(going)
            self.adam.keep(going)
            self.training.keep(going)
            self.validation.keep(going)
            if self.penalty is not None:
                self.penalty.keep(going)
            self.alive = self.alive[going]
            logger.debug("epoch %d: %d networks go on", epoch, len(self.alive))

    def _validation_logit(self) -> torch.Tensor:
        """Logits (K, n) of the validation events, a part at a time."""
        parts = torch.split(self.validation.rows, self.network.rows_at_once, dim=1)
        return torch.cat([self.network(self.features[part]).squeeze(-1) for part in parts], dim=1)

    def _figure(self, logit: torch.Tensor) -> torch.Tensor:
        """Figure of merit (K,) of the validation events, larger is better."""
        rows, weight = self.validation.rows, self.validation.weight
        target = self.target[rows]
        if self.options.figure == "tpr":
            figure = stacked_tpr(logit, target > 0, weight, self.options.false_positive_rate)
        else:
            loss = functional.binary_cross_entropy_with_logits(logit.double(), target.double(), reduction="none")
            figure = -(loss * weight).sum(dim=1) / weight.sum(dim=1, dtype=torch.float64)
        if self.penalty is None:
            return figure
        return figure - self.penalty.of_many(torch.sigmoid(logit), rows, target, weight)

    def finish(self) -> TrainingResult:
        self.network.adopt(self.best)
        self.network.eval()
        return TrainingResult(*(part.cpu().numpy() for part in (self.figure, self.best_epoch, self.epochs)))


def stacked_tpr(
    scores: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, false_positive_rate: float
) -> torch.Tensor:
    """Weighted true positive rate (K,) of the tightest-possible cut at a false positive rate.

    Parameters
    ----------
    scores, weight
        (K, n); entries of weight 0 do not count. NaN scores rank last.
    target
        (K, n) class.
    false_positive_rate
        Largest weighted fraction of the other class above the cut.
    """
    order = torch.argsort(torch.nan_to_num(scores, nan=-torch.inf), dim=1, descending=True, stable=True)
    hit = torch.gather(target, 1, order)
    amount = torch.gather(weight, 1, order).double()  # in double, so that the order of summation does not show
    false = torch.cumsum(amount.masked_fill(hit, 0.0), dim=1)
    true = torch.cumsum(amount.masked_fill(~hit, 0.0), dim=1)
    last = (false <= false_positive_rate * false[:, -1:] * (1 + 1e-12)).sum(dim=1, keepdim=True) - 1
    passed = torch.gather(true, 1, last.clamp(min=0)).masked_fill(last < 0, 0.0)
    return (passed / true[:, -1:]).squeeze(1)


def _standardise_by(network: StackedMLP, data: ClassifierData) -> None:
    """Mean and standard deviation of each network's own training events, and of nothing else."""
    known: dict[int, tuple[FloatArray, FloatArray]] = {}
    shift, scale = [], []
    for each in data.training:
        if id(each) not in known:
            values = data.features[each.rows]
            spread = values.std(axis=0)
            known[id(each)] = values.mean(axis=0), np.where(spread > 0, spread, 1.0)
        shift.append(known[id(each)][0])
        scale.append(known[id(each)][1])
    device = network.device
    network.get_buffer("shift").copy_(torch.as_tensor(np.stack(shift)[:, None, :]).to(device))
    network.get_buffer("scale").copy_(torch.as_tensor(np.stack(scale)[:, None, :]).to(device))


def _penalty(data: ClassifierData, options: Decorrelation | None, device: torch.device) -> Penalty | None:
    """Penalty with bins of the protected variable by each network's own training events, and by nothing else."""
    if options is None:
        return None
    if data.protected is None:
        msg = "a decorrelation needs the protected variable: give the classifier's data the mass of each event"
        raise InputError(msg)
    protected, target = np.asarray(data.protected, dtype=np.float64), np.asarray(data.target, dtype=bool)
    known: dict[int, FloatArray] = {}
    for each in data.training:
        if id(each) not in known:
            counts = ~target[each.rows] if options.background_only else np.ones(len(each.rows), dtype=bool)
            known[id(each)] = quantile_edges(protected[each.rows][counts], each.weight[counts], options.bins)
    edges = torch.from_numpy(np.stack([known[id(each)] for each in data.training]))
    return Penalty(options, torch.from_numpy(protected).to(device), edges.to(device))
