"""Training a flow: Adam on shuffled batches, early stopping on a validation set, the best epochs kept."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from resonaut.errors import InputError, ModelError
from resonaut.models.flows.options import FlowOptions
from resonaut.models.sample import FloatArray, IndexArray

__all__ = ("FlowData", "Progress", "TrainedFlow", "checked_weight", "split", "train_flow")

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Loss = Callable[..., torch.Tensor]
State = dict[str, torch.Tensor]
_LARGEST_GRADIENT = 5.0  # of its norm: an event at the foot of a steep spline must not throw the others out
_RECOVERIES = 5
_LEAST_EVENTS = 20
_ROWS = 16384  # of a pass that needs no gradients


@dataclass(frozen=True)
class FlowData:
    """Tensors with one row per event, in the order in which the loss takes them, and weights with mean 1."""

    columns: tuple[torch.Tensor, ...]
    weight: torch.Tensor

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, rows: torch.Tensor) -> FlowData:
        """Events in another order."""
        return FlowData(tuple(column[rows] for column in self.columns), self.weight[rows])

    def batches(self, size: int) -> list[FlowData]:
        """Equal shares in the fewest batches of at most `size`."""
        count = -(-len(self) // size)
        bounds = np.linspace(0, len(self), count + 1).round().astype(int).tolist()
        return [
            FlowData(tuple(column[a:b] for column in self.columns), self.weight[a:b])
            for a, b in itertools.pairwise(bounds)
        ]


@dataclass
class TrainedFlow:
    """Kept epochs, best first: (validation loss, epoch from 0, parameters); and the losses of every epoch."""

    kept: list[tuple[float, int, State]] = field(default_factory=list)
    history: list[tuple[float, float]] = field(default_factory=list)

    def offer(self, loss: float, module: nn.Module, most: int) -> None:
        """Keep this epoch if it is one of the best."""
        if len(self.kept) == most and loss >= self.kept[-1][0]:
            return
        self.kept.append((loss, len(self.history) - 1, _copy(module)))
        self.kept.sort(key=lambda each: each[:2])
        del self.kept[most:]


def split(events: int, options: FlowOptions, seed: np.random.SeedSequence) -> tuple[IndexArray, IndexArray]:
    """Rows for training and validation, at random.

    Raises
    ------
    InputError
        If there are too few events to learn from.
    """
    if events < _LEAST_EVENTS:
        msg = f"{events} events are too few to train a flow: give at least {_LEAST_EVENTS}, better thousands"
        raise InputError(msg)
    rows = np.random.default_rng(seed).permutation(events)
    edge = min(max(1, round(events * options.validation)), events - 1)
    return rows[edge:], rows[:edge]


def checked_weight(weight: ArrayLike | None, events: int) -> FloatArray:
    """Event weights (n,) with mean 1; ones where not given.

    Raises
    ------
    InputError
        If the shape is another, or a weight is negative or not finite, or all are zero.
    """
    if weight is None:
        return np.ones(events)
    array = np.asarray(weight, dtype=np.float64)
    if array.shape != (events,) or not np.isfinite(array).all() or (array < 0).any() or not array.any():
        msg = f"weight must be {events} finite numbers of at least 0, not all 0: a density cannot be learnt from others"
        raise InputError(msg)
    return np.asarray(array / array.mean())


def train_flow(
    module: nn.Module,
    loss: Loss,
    training: FlowData,
    validation: FlowData,
    options: FlowOptions,
    seed: int,
    progress: Progress | None = None,
) -> TrainedFlow:
    """Minimise the weighted mean of `loss`.

    Parameters
    ----------
    module
        What is trained, in place.
    loss
        Called with the columns of a batch: negative log-likelihood (b,) of each event.
    training, validation
        Events to learn from, and events that measure when to stop.
    options
        Epochs, patience, batch size, learning rate and schedule, epochs to keep.
    seed
        Of the order of events.
    progress
        Called after each epoch with the epochs done and the most epochs.

    Raises
    ------
    ModelError
        If the loss is not finite again and again, with ever smaller learning rates.
    """
    generator = torch.Generator().manual_seed(seed)
    result = TrainedFlow()
    good, factor, failures = _copy(module), 1.0, 0
    optimiser = _adam(module, options.learning_rate)
    while len(result.history) < options.epochs:
        epoch = len(result.history)
        order = torch.randperm(len(training), generator=generator).to(training.weight.device)
        batches = training.take(order).batches(options.batch_size)
        steps = [epoch + place / len(batches) for place in range(len(batches))]
        trained = _epoch(module, loss, batches, optimiser, [factor * _rate(options, step) for step in steps])
        measured = mean_loss(loss, validation) if math.isfinite(trained) else math.nan
        if not math.isfinite(measured):
            failures, factor = failures + 1, factor / 4
            if failures > _RECOVERIES:
                msg = (
                    f"the flow's loss is not finite after {epoch} epochs, with learning rates down to "
                    f"{factor * options.learning_rate:.1g}: look for outliers among features and weights"
                )
                raise ModelError(msg)
            logger.warning("loss not finite in epoch %d: back to the last good one, learning rate / 4", epoch + 1)
            module.load_state_dict(good)
            optimiser = _adam(module, options.learning_rate)
            continue
        good = _copy(module)
        result.history.append((trained, measured))
        result.offer(measured, module, options.average_epochs)
        if progress is not None:
            progress(epoch + 1, options.epochs)
        if epoch - result.kept[0][1] >= options.patience:
            break
    return result


def _epoch(
    module: nn.Module, loss: Loss, batches: Sequence[FlowData], optimiser: torch.optim.Optimizer, rates: Sequence[float]
) -> float:
    """Mean loss of one pass over the events; not finite as soon as a step's gradient is not."""
    parameters = list(module.parameters())
    total = 0.0
    for batch, rate in zip(batches, rates, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        value = (loss(*batch.columns) * batch.weight).mean()
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            return math.nan
        optimiser.step()
        total += float(value.detach()) * len(batch)
    return total / sum(map(len, batches))


@torch.no_grad()
def mean_loss(loss: Loss, data: FlowData) -> float:
    """Weighted mean loss without training."""
    parts = [(loss(*batch.columns) * batch.weight).double().sum() for batch in data.batches(_ROWS)]
    return float(torch.stack(parts).sum() / data.weight.double().sum())


def _adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=rate, fused=True)


def _rate(options: FlowOptions, epochs: float) -> float:
    """Learning rate after so many epochs."""
    if options.schedule == "constant":
        return options.learning_rate
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * epochs / options.epochs))


def _copy(module: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
