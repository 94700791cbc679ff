"""Events for a training: on a device, divided at random, with the standardisation by those that are learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from resonaut.models.deep_sets.network import SetDesign
from resonaut.models.deep_sets.sets import ObjectColumns, ObjectEvents, SetArrays
from resonaut.models.sample import FloatArray, Sample

__all__ = ("SetTask",)


@dataclass(frozen=True)
class SetTask:
    """What a stack of Deep Set VAEs learns from.

    Parameters
    ----------
    events
        All events.
    weight
        (n,), mean 1.
    training, validation
        Numbers of the events to learn from, and of those that measure.
    mean, spread
        (inputs,) standardisation of Phi's inputs.
    objects
        Mean number of objects of an event.
    """

    events: ObjectEvents
    weight: torch.Tensor
    training: torch.Tensor
    validation: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor
    objects: float

    @classmethod
    def make(
        cls,
        columns: ObjectColumns,
        design: SetDesign,
        sample: Sample,
        validation: float,
        seed: np.random.SeedSequence,
        device: torch.device,
    ) -> Self:
        """Divide a sample: a fraction `validation` of the events only measures.

        Raises
        ------
        InputError
            If a column is missing, a kind is not one, or an event has no object.
        """
        arrays = columns.split(sample.require(columns.features))
        order = np.random.default_rng(seed).permutation(len(sample))
        held_out = max(1, round(validation * len(sample)))
        known = np.zeros(len(sample), dtype=bool)
        known[order[held_out:]] = True
        mean, spread = _standardisation(arrays, np.repeat(sample.weight * known, arrays.counts), design)
        floats = (sample.weight / sample.weight.mean(), mean, spread)
        weight, centre, width = (torch.as_tensor(each, dtype=torch.float32).to(device) for each in floats)
        learnt, measured = (torch.from_numpy(part).to(device) for part in (order[held_out:], order[:held_out]))
        events = ObjectEvents.of(arrays, device)
        return cls(events, weight, learnt, measured, centre, width, float(arrays.counts.mean()))


def _standardisation(arrays: SetArrays, weight: FloatArray, design: SetDesign) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (inputs,) of Phi's inputs; those of kinds as inputs of their own stay 0 and 1."""
    columns = arrays.x
    if arrays.kind is not None and not design.one_hot:
        columns = np.column_stack([columns, arrays.kind])
    mean, spread = np.zeros(design.inputs), np.ones(design.inputs)
    size = columns.shape[1]
    mean[:size] = np.average(columns, axis=0, weights=weight)
    deviation = np.sqrt(np.average((columns - mean[:size]) ** 2, axis=0, weights=weight))
    spread[:size] = np.where(deviation > 0, deviation, 1.0)
    return mean, spread
