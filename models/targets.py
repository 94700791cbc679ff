"""Training a stack of networks that all map the same events to constant vectors, each network to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from resonaut.models.group_training import GroupTraining, TrainedGroup, train_group
from resonaut.models.networks import join_stacks
from resonaut.models.sample import FloatArray
from resonaut.models.stack import Layer, StackedMLP, StackGroup

__all__ = (
    "Aims",
    "TargetData",
    "evaluate_targets",
    "stack_of",
    "train_to_targets",
    "widen",
)

_ROWS = {"cpu": 512}  # whose gradient is computed at once: what stays in a cache
# from the mean, of any training event: a flag that one event in 10,000 has would be at 100, and rule the loss
_FURTHEST = 10.0


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


class _Aimed(StackGroup):
    """Networks with their aims, so that both are dropped together."""

    def __init__(self, network: StackedMLP, aims: Aims) -> None:
        super().__init__()
        self.network = network
        for name, tensor in (("seeds", network.get_buffer("seeds")), ("value", aims.value), ("share", aims.share)):
            self.register_buffer(name, tensor.clone())  # of its own: one that two modules share is listed once

    def losses(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over a network's own outputs (K, n) of the squared distances."""
        return Aims(self.get_buffer("value"), self.get_buffer("share")).loss(self.network, x)


def train_to_targets(
    network: StackedMLP,
    aims: Aims,
    data: TargetData,
    options: GroupTraining,
    progress: Callable[[int, FloatArray], None] | None = None,
) -> TrainedGroup:
    """Train in place; each network ends with the parameters of its best epoch.

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
    group = _Aimed(network, aims)
    everything = torch.arange(len(data.features), device=data.device)

    def loss(rows: torch.Tensor, step: int) -> torch.Tensor:
        del step  # there is no noise
        return group.losses(data.features[rows])

    with _fast_products():
        return train_group(
            group, loss, data.weight, (everything[: data.training], everything[data.training :]), options,
            rows_at_once=network.rows_at_once, rows_of_part=_ROWS.get(data.device.type), progress=progress,
        )  # fmt: skip


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
