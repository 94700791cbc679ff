"""Training a stack of networks that all map the same events to constant vectors, each network to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from resonaut.errors import ModelError
from resonaut.models.counter import keys, permutations
from resonaut.models.networks import join_stacks
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.models.stack import Layer, StackedAdam, StackedMLP

__all__ = (
    "Aims",
    "TargetData",
    "TargetResult",
    "TargetTraining",
    "evaluate_targets",
    "stack_of",
    "train_to_targets",
    "widen",
)

_ORDER_STREAM = 1 << 20
_ROWS = {"cpu": 512}
_FURTHEST = (
    10.0  # from the mean, of any training event: a flag that one event in 10,000 has would be at 100, and rule the loss
)
_LEAST_GAIN = 1e-4  # of the loss, relative: less is no improvement, or a training would never end


@dataclass(frozen=True)
class Aims:
    """Where each network's outputs shall go: `value` (K,), on the first d outputs of network k, which share (K, outputs) weights
    that are 1 / d there and 0 on the outputs that only other networks have."""

    value: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, members: Sequence[tuple[int, float]], device: torch.device) -> Aims:
        """From (d, n) of each network."""
        dimensions = torch.tensor([dimension for dimension, _ in members], device=device)
        place = torch.arange(int(dimensions.max()), device=device)
        share = (place < dimensions[:, None]).float() / dimensions[:, None]
        return cls(torch.tensor([float(target) for _, target in members], device=device), share)

    @property
    def outputs(self) -> int:
        """Largest number of outputs."""
        return self.share.shape[1]

    def keep(self, chosen: torch.Tensor) -> Aims:
        """Those of some networks."""
        return Aims(self.value[chosen], self.share[chosen])

    def loss(self, network: StackedMLP, x: torch.Tensor) -> torch.Tensor:
        """Mean over a network's own outputs (K, n) of the squared distances."""
        return torch.bmm((network(x) - self.value[:, None, None]).square(), self.share[:, :, None]).squeeze(2)


def stack_of(
    inputs: int,
    hidden: Sequence[Layer],
    members: Sequence[tuple[int, float]],
    seeds: Sequence[int],
    device: torch.device,
) -> StackedMLP:
    """Networks with outputs of their own number, padded to the largest with outputs of zero weights, which no loss moves.

    Initial weights are those that each network would have alone.
    """
    outputs = max(dimension for dimension, _ in members)
    parts = []
    for (dimension, _), seed in zip(members, seeds, strict=True):
        parts.append(widen(StackedMLP(inputs, (*hidden, Layer(dimension)), [seed], device=device), outputs))
    return join_stacks(parts)


@torch.no_grad()
def widen(network: StackedMLP, outputs: int) -> StackedMLP:
    """The same networks with more outputs, all zero: stacks of several widths can then be joined."""
    extra = outputs - network.layers[-1].width
    network.layers = (*network.layers[:-1], Layer(outputs))
    for parameter in (network.weights[-1], network.biases[-1]):
        parameter.data = torch.nn.functional.pad(parameter.data, (0, extra))
    return network


@dataclass(frozen=True)
class TargetTraining:
    """How each network of a stack is trained: Adam, the learning rate halved and the training ended where nothing improves."""

    epochs: int
    patience: int
    halve_after: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class TargetData:
    """Standardised events on a device, common to all networks: the first `training` rows are learnt from, the rest measure.

    Parameters
    ----------
    features
        (n, d) standardised.
    weight
        (n,), mean 1.
    training
        Number of events to learn from.
    shift, scale
        (d,) of the standardisation, from the training events alone.
    """

    features: torch.Tensor
    weight: torch.Tensor
    training: int
    shift: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def make(
        cls,
        matrix: FloatArray,
        weight: FloatArray,
        validation: float,
        seed: np.random.SeedSequence,
        device: torch.device,
    ) -> TargetData:
        """From a feature matrix (n, d) and weights (n,), divided at random."""
        order = np.random.default_rng(seed).permutation(len(matrix))
        held_out = max(1, round(validation * len(matrix)))
        order = np.concatenate([order[held_out:], order[:held_out]])
        count = len(matrix) - held_out
        known = matrix[order[:count]]
        shift = known.mean(axis=0)
        scale = np.maximum(known.std(axis=0), np.abs(known - shift).max(axis=0) / _FURTHEST)
        scale = np.where(scale > 0, scale, 1.0)
        parts = ((matrix[order] - shift) / scale, weight[order] / weight.mean(), shift, scale)
        x, w, s, r = (torch.as_tensor(np.ascontiguousarray(part), dtype=torch.float32).to(device) for part in parts)
        return cls(x, w, count, s, r)

    @property
    def device(self) -> torch.device:
        """Where the events are."""
        return self.features.device


@dataclass(frozen=True)
class TargetResult:
    """(K,) best validation loss of each network, and the epochs it trained."""

    loss: FloatArray
    epochs: IndexArray


def train_to_targets(
    network: StackedMLP,
    aims: Aims,
    data: TargetData,
    options: TargetTraining,
    progress: Callable[[int, FloatArray], None] | None = None,
) -> TargetResult:
    """Train in place; each network ends with the parameters of its best epoch.

    All networks see the same events in the same order, so that a batch is gathered once for the whole stack, and results do not
    depend on which networks are trained together.

    Parameters
    ----------
    network
        K networks; their inputs are standardised by the caller, not by them.
    aims
        Of the K networks.
    data
        Events.
    options
        The training.
    progress
        Called after each epoch with the epochs done and the best validation losses (K,) so far.

    Raises
    ------
    ModelError
        If a loss is not finite.
    """
    session = _Session(network, aims, data, options)
    with _fast_products():
        for epoch in range(options.epochs):
            session.run_epoch(epoch)
            session.judge(epoch)
            if progress is not None:
                progress(epoch + 1, session.loss.cpu().numpy())
            if not len(session.alive):
                break
    network.adopt(session.best)
    network.eval()
    return TargetResult(session.loss.cpu().numpy(), session.epochs.cpu().numpy())


@contextmanager
def _fast_products() -> Iterator[None]:
    """TensorFloat-32 on GPUs that have it: the sixth decimal of an activation is noise beside that of a batch."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def evaluate_targets(network: StackedMLP, aims: Aims, matrix: FloatArray) -> FloatArray:
    """Mean squared distance (K, n) of each network's outputs from its target."""
    result, rows = np.empty((len(network), len(matrix))), network.rows_at_once
    with torch.inference_mode():
        for start in range(0, len(matrix), rows):
            part = torch.as_tensor(matrix[start : start + rows], dtype=torch.float32).to(network.device)
            result[:, start : start + rows] = aims.loss(network, part).double().cpu().numpy()
    return result


class _Session:
    """State of one training: the live part of the stack, and the best parameters of all of it."""

    def __init__(self, network: StackedMLP, aims: Aims, data: TargetData, options: TargetTraining) -> None:
        device = data.device
        self.network, self.aims, self.data, self.options = network, aims, data, options
        count = len(network)
        self.rates = torch.full((count,), options.learning_rate, device=device)
        self.adam = StackedAdam(network, self.rates)
        self.key_seed = torch.tensor([options.seed], dtype=torch.int64, device=device)
        self.alive = torch.arange(count, device=device)
        self.best = {name: tensor.detach().clone() for name, tensor in network.stacked().items()}
        self.loss = torch.full((count,), torch.inf, dtype=torch.float64, device=device)
        self.best_epoch = torch.full((count,), -1, dtype=torch.int64, device=device)
        self.halved = torch.zeros(count, dtype=torch.int64, device=device)
        self.epochs = torch.zeros(count, dtype=torch.int64, device=device)

    def run_epoch(self, epoch: int) -> None:
        self.network.train()
        data, size = self.data, torch.tensor([self.data.training], device=self.data.device)
        order = permutations(keys(self.key_seed, _ORDER_STREAM, epoch), size)[0]
        batches = -(-data.training // self.options.batch_size)
        for rows in torch.tensor_split(order, batches):
            # a step's numbers must stay in a CPU's cache: its gradient is summed over parts
            for part in torch.split(rows, _ROWS.get(data.device.type, len(rows))):
                each = self.aims.loss(self.network, data.features[part]) * data.weight[part]
                (each.sum() / len(rows)).backward()  # type: ignore[no-untyped-call]
            self.adam.step()

    @torch.no_grad()
    def judge(self, epoch: int) -> None:
        """Validate, remember the best, halve learning rates, drop networks that have waited long enough."""
        self.network.eval()
        loss = self._validation_loss()
        if not bool(torch.isfinite(loss).all()):
            msg = f"the loss of {int((~torch.isfinite(loss)).sum())} networks is not finite after {epoch + 1} epochs: lower the learning rate"
            raise ModelError(msg)
        better = loss < self.loss[self.alive] * (1 - _LEAST_GAIN)
        winners = self.alive[better]
        self.loss[winners], self.best_epoch[winners], self.halved[winners] = loss[better], epoch, epoch
        self.epochs[self.alive] = epoch + 1
        for name, tensor in self.network.stacked().items():
            self.best[name][winners] = tensor.detach()[better]
        flat = epoch - self.halved[self.alive] >= self.options.halve_after
        self.halved[self.alive[flat]] = epoch
        self.rates[flat] *= 0.5
        going = epoch - self.best_epoch[self.alive] < self.options.patience
        if not bool(going.all()):
            self.network.keep(going)
            self.rates = self.rates[going]
            self.adam.keep(going)
            self.adam.learning_rate = self.rates
            self.aims, self.alive = self.aims.keep(going), self.alive[going]

    def _validation_loss(self) -> torch.Tensor:
        features, weight = self.data.features[self.data.training :], self.data.weight[self.data.training :].double()
        rows = self.network.rows_at_once
        parts = [self.aims.loss(self.network, x) for x in torch.split(features, rows)]
        return (torch.cat(parts, dim=1).double() * weight).sum(dim=1) / weight.sum()
