"""Training of stacked modules that share their events: own learning rates, early stopping and best epoch for each network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from resonaut.errors import InputError, ModelError
from resonaut.models.counter import keys, permutations
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.models.stack import StackedAdam, StackGroup

__all__ = ("GroupTraining", "TrainedGroup", "train_group")

_ORDER_STREAM = 1 << 20  # apart from the streams of noise
# of the loss, relative: less is no improvement, or a loss that tends to zero would be trained for ever
_LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class GroupTraining:
    """How each network of a group is trained: Adam, a learning rate that falls, and early stopping.

    Parameters
    ----------
    epochs, patience
        Most epochs, and epochs without a better validation loss after which a network stops.
    reduce_after
        Epochs without a better validation loss after which a network's learning rate is divided by `reduce_by`.
    reduce_by
        That factor.
    batch_size, learning_rate
        Adam. The events of an epoch are shared out equally in the fewest batches of at most this size.
    seed
        Of the order of the events, which is the same for all networks: a batch is gathered once for the whole stack.
    """

    epochs: int
    patience: int
    reduce_after: int
    batch_size: int
    learning_rate: float
    seed: int
    reduce_by: float = 10.0


@dataclass(frozen=True)
class TrainedGroup:
    """(K,) best validation loss of each network, the epochs it was trained."""

    loss: FloatArray
    epochs: IndexArray


Loss = Callable[[torch.Tensor, int], torch.Tensor]
"""loss(rows, step) -> (K, len(rows)): loss of events; `step` numbers the noise, -1 in validation."""


def train_group(
    group: StackGroup,
    loss: Loss,
    weight: torch.Tensor,
    rows: tuple[torch.Tensor, torch.Tensor],
    options: GroupTraining,
    *,
    rows_at_once: int,
    rows_of_part: int | None = None,
    progress: Callable[[int, FloatArray], None] | None = None,
) -> TrainedGroup:
    """Train in place; each network ends with the parameters of its best epoch, as if it had been trained alone.

    Parameters
    ----------
    group
        K networks.
    loss
        Loss of events, one row per network. It reads the group, from which networks are dropped when they stop.
    weight
        (n,) weight of each event.
    rows
        Events to learn from, and those that measure.
    options
        The training.
    rows_at_once
        Events of one evaluation of the validation loss.
    rows_of_part
        Events of a batch whose gradient is computed at once; the gradients of the parts are summed. For networks so wide that the
        numbers of a whole batch leave a CPU's cache, and without noise in their loss.
    progress
        Called after each epoch with the epochs done and the best validation losses (K,) so far.

    Raises
    ------
    InputError
        If all weights are zero.
    ModelError
        If a loss is not finite.
    """
    session = _Session(group, loss, weight, rows, options, rows_at_once, rows_of_part)
    for epoch in range(options.epochs):
        session.run_epoch(epoch)
        session.judge(epoch)
        if progress is not None:
            progress(epoch + 1, session.loss_.cpu().numpy())
        if not len(session.alive):
            break
    group.adopt(session.best)
    group.eval()
    return TrainedGroup(session.loss_.cpu().numpy(), session.epochs.cpu().numpy())


class _Session:
    """State of one training: the live part of the group, and the best parameters of all of it."""

    def __init__(
        self,
        group: StackGroup,
        loss: Loss,
        weight: torch.Tensor,
        rows: tuple[torch.Tensor, torch.Tensor],
        options: GroupTraining,
        rows_at_once: int,
        rows_of_part: int | None,
    ) -> None:
        device, count = group.device, len(group)
        self.group, self.loss, self.weight, self.options = group, loss, weight, options
        self.training, self.validation = (part[weight[part] > 0] for part in rows)  # 0 * inf would not be 0
        if not len(self.training) or not len(self.validation):
            msg = "no event with weight above 0 to learn from, or none to measure with"
            raise InputError(msg)
        self.rows_at_once, self.rows_of_part = rows_at_once, rows_of_part
        self.rates = torch.full((count,), options.learning_rate, device=device)
        self.adam = StackedAdam(group, self.rates)
        self.key_seed = torch.tensor([options.seed], dtype=torch.int64, device=device)
        self.alive = torch.arange(count, device=device)
        self.best = {name: tensor.detach().clone() for name, tensor in group.stacked().items()}
        self.loss_ = torch.full((count,), torch.inf, dtype=torch.float64, device=device)
        self.best_epoch = torch.zeros(count, dtype=torch.int64, device=device)
        self.reduced = torch.zeros(count, dtype=torch.int64, device=device)
        self.epochs = torch.zeros(count, dtype=torch.int64, device=device)

    def run_epoch(self, epoch: int) -> None:
        self.group.train()
        count = len(self.training)
        size = torch.tensor([count], device=self.training.device)
        order = self.training[permutations(keys(self.key_seed, _ORDER_STREAM, epoch), size)[0]]
        batches = -(-count // self.options.batch_size)
        for place, rows in enumerate(torch.tensor_split(order, batches)):
            for part in torch.split(rows, self.rows_of_part or len(rows)):
                each = self.loss(part, epoch * batches + place) * self.weight[part]
                (each.sum() / len(rows)).backward()  # type: ignore[no-untyped-call]
            self.adam.step()

    @torch.no_grad()
    def judge(self, epoch: int) -> None:
        """Validate, remember the best, lower learning rates, drop networks that have waited long enough."""
        self.group.eval()
        loss = self._validation_loss()
        if not bool(torch.isfinite(loss).all()):
            bad = int((~torch.isfinite(loss)).sum())
            msg = f"the loss of {bad} networks is not finite after {epoch + 1} epochs: lower the learning rate"
            raise ModelError(msg)
        before = self.loss_[self.alive]
        better = loss < before - _LEAST_GAIN * before.abs().nan_to_num(posinf=0.0)
        winners = self.alive[better]
        self.loss_[winners], self.best_epoch[winners], self.reduced[winners] = loss[better], epoch, epoch
        self.epochs[self.alive] = epoch + 1
        for name, tensor in self.group.stacked().items():
            self.best[name][winners] = tensor.detach()[better]
        flat = epoch - self.reduced[self.alive] >= self.options.reduce_after
        self.reduced[self.alive[flat]] = epoch
        self.rates[flat] /= self.options.reduce_by
        going = epoch - self.best_epoch[self.alive] < self.options.patience
        if not bool(going.all()):
            self.group.keep(going)
            self.adam.keep(going)
            self.rates = self.rates[going]
            self.adam.learning_rate = self.rates
            self.alive = self.alive[going]

    def _validation_loss(self) -> torch.Tensor:
        parts = [self.loss(part, -1) for part in torch.split(self.validation, self.rows_at_once)]
        weight = self.weight[self.validation].double()
        return (torch.cat(parts, dim=1).double() * weight).sum(dim=1) / weight.sum()
