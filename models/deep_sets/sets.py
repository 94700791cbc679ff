"""Events as sets of objects: which columns are an object, and the objects that are there without those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from resonaut.errors import ConfigError, InputError
from resonaut.models.base import feature_names
from resonaut.models.deep_sets.chamfer import PaddedObjects
from resonaut.models.sample import FloatArray, IndexArray

__all__ = ("ObjectBatch", "ObjectColumns", "ObjectEvents", "SetArrays", "group_objects")


def group_objects(features: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Columns of each object, from the names of all columns.

    If the first name begins with ``obj1_``, what stands before the first underscore is the object (``obj2_...``,
    ``met_...``); otherwise it is what stands after the last one, as in ``m_h`` and ``m_l``.

    Raises
    ------
    ConfigError
        If the objects do not have the same columns in the same order.

    Examples
    --------
    >>> group_objects(["m_h", "tau21_h", "m_l", "tau21_l"])
    (('m_h', 'tau21_h'), ('m_l', 'tau21_l'))
    >>> group_objects(["obj1_kind", "obj1_log_pt", "obj2_kind", "obj2_log_pt"])
    (('obj1_kind', 'obj1_log_pt'), ('obj2_kind', 'obj2_log_pt'))
    """
    names = feature_names(features)
    numbered = names[0].startswith("obj") and names[0].split("_", 1)[0][3:].isdigit()
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        head, _, tail = name.partition("_") if numbered else name.rpartition("_")
        owner, observable = (head, tail) if numbered else (tail, head)
        groups.setdefault(owner, []).append((observable, name))
    observables = {tuple(observable for observable, _ in group) for group in groups.values()}
    if len(observables) > 1:
        msg = f"cannot tell which columns make up an object among {list(names)}: give objects=[[...], [...]]"
        raise ConfigError(msg)
    return tuple(tuple(name for _, name in group) for group in groups.values())


@dataclass(frozen=True)
class ObjectColumns:
    """How the columns of a feature matrix are divided into objects.

    Parameters
    ----------
    objects
        Columns of each object, equally many for all. With kinds, the first one is the kind.
    kinds
        Number of kinds; 0 where objects have none and all are always there.

    Raises
    ------
    ConfigError
        If objects differ in their number of columns, have none beside the kind, or a column is named twice.
    """

    objects: tuple[tuple[str, ...], ...]
    kinds: int

    def __post_init__(self) -> None:
        least = 2 if self.kinds else 1
        widths = {len(each) for each in self.objects}
        if len(widths) != 1 or min(widths) < least:
            msg = f"expected objects with the same number of columns, at least {least}, got {sorted(widths) or 'none'}"
            raise ConfigError(msg)
        feature_names(self.features)

    @property
    def features(self) -> tuple[str, ...]:
        """All columns, object by object."""
        return tuple(name for each in self.objects for name in each)

    @property
    def continuous(self) -> int:
        """Columns of an object beside its kind."""
        return len(self.objects[0]) - (1 if self.kinds else 0)

    def split(self, matrix: FloatArray) -> SetArrays:
        """Objects that are there, one after another.

        Parameters
        ----------
        matrix
            (n, columns) in the order of `features`.

        Raises
        ------
        InputError
            If a kind is not a whole number from 0 to the number of kinds, or an event has no object at all.
        """
        cube = matrix.reshape(len(matrix), len(self.objects), -1)
        if not self.kinds:
            counts = np.full(len(matrix), len(self.objects))
            return SetArrays(cube.reshape(-1, self.continuous), None, counts)
        kind = cube[:, :, 0]
        wrong = (kind != np.floor(kind)) | (kind < 0) | (kind > self.kinds)
        if wrong.any():
            place = np.flatnonzero(wrong.any(axis=0))[0]
            example = kind[wrong[:, place], place][0]
            msg = f"column {self.objects[place][0]!r} has {np.count_nonzero(wrong[:, place])} values such as {example:g}: a kind "
            msg += f"is a whole number from 1 to {self.kinds}, and 0 where there is no object"
            raise InputError(msg)
        there = kind > 0
        counts = np.count_nonzero(there, axis=1)
        if empty := np.count_nonzero(counts == 0):
            msg = f"{empty} of {len(matrix)} events have no object at all: drop and count them first"
            raise InputError(msg)
        return SetArrays(cube[there][:, 1:], kind[there].astype(np.int64), counts)


@dataclass(frozen=True)
class SetArrays:
    """All objects of n events: continuous columns (N, d), kinds (N,) or None, and the number (n,) in each event."""

    x: FloatArray
    kind: IndexArray | None
    counts: IndexArray


@dataclass(frozen=True)
class ObjectBatch:
    """Objects of some events, one after another, and where each stands in the rectangle (events, largest).

    Parameters
    ----------
    x, kind
        (N, d) and (N,) or None.
    slot
        (N,) place in the rectangle, row by row.
    counts
        (events,) objects of each event.
    largest
        Objects of the largest event.
    """

    x: torch.Tensor
    kind: torch.Tensor | None
    slot: torch.Tensor
    counts: torch.Tensor
    largest: int

    def rectangle(self, values: torch.Tensor) -> torch.Tensor:
        """Values (K, N, C) of objects as (K, events, largest, C), zero where there is none."""
        shape = (len(values), len(self.counts) * self.largest, values.shape[-1])
        laid = values.new_zeros(shape).index_copy(1, self.slot, values)
        return laid.view(len(values), len(self.counts), self.largest, values.shape[-1])

    def padded(self, x: torch.Tensor) -> PaddedObjects:
        """Objects with coordinates (K, N, d) as rectangles."""
        kind = None
        if self.kind is not None:
            kind = self.kind.new_zeros(len(self.counts) * self.largest).index_copy(0, self.slot, self.kind)
            kind = kind.view(len(self.counts), self.largest)
        return PaddedObjects(self.rectangle(x), kind, self.counts)


@dataclass(frozen=True)
class ObjectEvents:
    """Events on a device; absent objects are not stored, and cost nothing."""

    x: torch.Tensor
    kind: torch.Tensor | None
    offsets: torch.Tensor

    @classmethod
    def of(cls, arrays: SetArrays, device: torch.device) -> Self:
        """Move to a device."""
        offsets = np.concatenate([[0], np.cumsum(arrays.counts)])
        kind = None if arrays.kind is None else torch.from_numpy(arrays.kind).to(device)
        x = torch.from_numpy(np.ascontiguousarray(arrays.x, dtype=np.float32))
        return cls(x.to(device), kind, torch.from_numpy(offsets).to(device))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: torch.Tensor) -> ObjectBatch:
        """Events by number."""
        start = self.offsets[rows]
        counts = self.offsets[rows + 1] - start
        largest = int(counts.max())
        place = torch.arange(largest, device=rows.device)
        there = place < counts[:, None]
        chosen = (start[:, None] + place)[there]
        kind = None if self.kind is None else self.kind[chosen]
        return ObjectBatch(self.x[chosen], kind, torch.nonzero(there.view(-1)).squeeze(1), counts, largest)
