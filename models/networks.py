"""What the scorers with networks share: how many to train at once, and their mean output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from resonaut.models.sample import FloatArray
from resonaut.models.stack import Layer, StackedMLP, StackGroup

__all__ = ("best_stack_size", "join_stacks", "mean_output", "stack_sizes")

_BYTES_PER_OUTPUT = 24  # float32: activation before and after, dropout mask and hash, gradients
_Group = TypeVar("_Group", bound=StackGroup)
_BUDGET = {"cpu": 64e6, "cuda": 16e9}


def best_stack_size(batch_size: int, layers: Sequence[Layer], device: torch.device) -> int:
    """Networks to train at once: as many as keep one step's numbers within the device's budget, at least one.

    On a CPU larger stacks fall out of the cache and are slower than a loop; a GPU needs them to be filled.
    """
    each = batch_size * sum(layer.width for layer in layers) * _BYTES_PER_OUTPUT
    return max(1, int(_BUDGET.get(device.type, _BUDGET["cpu"]) // each))


def stack_sizes(
    networks: int, stack_size: int | None, batch_size: int, layers: Sequence[Layer], device: torch.device
) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) of networks to train at once, near-equal and at most `stack_size` (None: the best) long."""
    parts = -(-networks // (stack_size or best_stack_size(batch_size, layers, device)))
    bounds = np.linspace(0, networks, parts + 1).round().astype(int)
    yield from zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)


@torch.inference_mode()
def mean_output(network: StackedMLP, features: FloatArray) -> FloatArray:
    """Mean sigmoid output (n,) of a stack of classifiers; sigmoid and mean in double precision."""
    result, rows = np.empty(len(features)), network.rows_at_once
    for start in range(0, len(features), rows):
        part = torch.as_tensor(features[start : start + rows], dtype=torch.float32).to(network.device)
        output = torch.sigmoid(network(part).squeeze(-1).double()).mean(dim=0)
        result[start : start + rows] = output.cpu().numpy()
    return result


def join_stacks(parts: Sequence[_Group]) -> _Group:
    """Stacks of one shape as one stack, in evaluation mode; the first is changed into it."""
    first = parts[0]
    if len(parts) > 1:
        stacked = [part.stacked() for part in parts]
        first.adopt({name: torch.cat([tensors[name].detach() for tensors in stacked]) for name in stacked[0]})
    return first.eval()
