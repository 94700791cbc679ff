"""Events as lists of reconstructed objects: jets, b-jets, leptons and photons with the missing transverse momentum.

One representation for whatever the events come from. All quantities are in GeV and radians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name

__all__ = ("JETS", "LEPTONS", "OBJECT_KINDS", "EventObjects", "kind_codes")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OBJECT_KINDS = ("j", "b", "e-", "e+", "m-", "m+", "g")
"""Kinds of objects; the code of a kind is its place + 1, and 0 is no object."""

JETS = ("j", "b")
LEPTONS = ("e-", "e+", "m-", "m+")
PER_EVENT = ("met", "met_phi", "weight", "event", "process")
PER_OBJECT = ("kind", "e", "pt", "eta", "phi")


def kind_codes(kinds: Iterable[str]) -> npt.NDArray[np.int8]:
    """Codes of kinds of objects.

    Raises
    ------
    InputError
        For a name that is not among `OBJECT_KINDS`.

    Examples
    --------
    >>> kind_codes(["j", "g"]).tolist()
    [1, 7]
    """
    names = list(kinds)
    for name in names:
        if name not in OBJECT_KINDS:
            raise InputError(unknown_name("kind of object", name, OBJECT_KINDS))
    return np.array([OBJECT_KINDS.index(name) + 1 for name in names], np.int8)


@dataclass(frozen=True, eq=False)
class EventObjects:
    """`n` events with `N` objects in all, as a struct of arrays.

    Parameters
    ----------
    met, met_phi : missing transverse momentum of each event, size in GeV and azimuth.
    weight : weight of each event.
    event : number of each event.
    process : name of each event's process.
    kind : code of each object; see `OBJECT_KINDS`.
    e, pt, eta, phi : energy and transverse momentum in GeV and direction of each object.
    offsets : (n + 1,), where each event's objects begin; those of event i are `offsets[i]:offsets[i + 1]`.

    Raises
    ------
    InputError
        If lengths do not agree, a code is unknown, or the offsets do not partition the objects.
    """

    met: Floats
    met_phi: Floats
    weight: Floats
    event: Ints
    process: npt.NDArray[np.str_]
    kind: npt.NDArray[np.int8]
    e: Floats
    pt: Floats
    eta: Floats
    phi: Floats
    offsets: Ints

    def __post_init__(self) -> None:
        types: dict[str, Any] = {"event": np.int64, "process": np.str_, "kind": np.int8, "offsets": np.int64}
        for each in fields(self):
            values = np.asarray(getattr(self, each.name))
            if each.name == "kind":
                _require_codes(values)  # before they are stored in a byte, where 257 becomes 1
            wanted = types.get(each.name, np.float64)
            object.__setattr__(self, each.name, np.ascontiguousarray(values, dtype=wanted))
        n, total = len(self.met), len(self.kind)
        shapes = {name: getattr(self, name).shape for name in (*PER_EVENT, *PER_OBJECT, "offsets")}
        wanted_shapes = dict.fromkeys(PER_EVENT, (n,)) | dict.fromkeys(PER_OBJECT, (total,)) | {"offsets": (n + 1,)}
        if shapes != wanted_shapes:
            msg = f"got arrays of shapes {shapes}, expected {wanted_shapes}"
            raise InputError(msg)
        if self.offsets[0] != 0 or self.offsets[-1] != total or np.any(np.diff(self.offsets) < 0):
            msg = f"offsets do not partition {total} objects: they must rise from 0 to {total}"
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.met)

    @property
    def counts(self) -> Ints:
        """Number of objects of each event."""
        return np.diff(self.offsets)

    @cached_property
    def rows(self) -> Ints:
        """The event that each object belongs to, (N,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    @property
    def ht(self) -> Floats:
        """Scalar sum of the pT of jets and b-jets of each event, GeV."""
        jets = self.is_kind(*JETS)
        return np.bincount(self.rows[jets], self.pt[jets], minlength=len(self)).astype(np.float64)

    def is_kind(self, *kinds: str) -> npt.NDArray[np.bool_]:
        """Which objects (N,) are of one of the kinds."""
        return np.isin(self.kind, kind_codes(kinds))

    def count(self, *kinds: str, above: float | None = None) -> Ints:
        """Number of objects of these kinds in each event, of all kinds if none is named.

        Parameters
        ----------
        kinds : names among `OBJECT_KINDS`.
        above : count only objects with pT > `above`, GeV.
        """
        chosen = self.is_kind(*(kinds or OBJECT_KINDS))
        if above is not None:
            chosen &= self.pt > above
        return np.bincount(self.rows[chosen], minlength=len(self))

    def take(self, rows: npt.ArrayLike) -> EventObjects:
        """The events of a mask, (n,) bool, or of row numbers, in their order."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                msg = f"got a mask of shape {chosen.shape}, expected one entry for each of {len(self)} events"
                raise InputError(msg)
            chosen = np.flatnonzero(chosen)
        elif chosen.size == 0:
            chosen = chosen.astype(np.int64)
        chosen = np.arange(len(self))[chosen]
        counts = self.counts[chosen]
        offsets = _offsets(counts)
        objects = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return EventObjects(
            **{name: getattr(self, name)[chosen] for name in PER_EVENT},
            **{name: getattr(self, name)[objects] for name in PER_OBJECT},
            offsets=offsets,
        )

    def keep_objects(self, chosen: npt.NDArray[np.bool_]) -> EventObjects:
        """The same events with only the objects of a mask (N,)."""
        counts = np.bincount(self.rows[chosen], minlength=len(self))
        return EventObjects(
            **{name: getattr(self, name) for name in PER_EVENT},
            **{name: getattr(self, name)[chosen] for name in PER_OBJECT},
            offsets=_offsets(counts),
        )

    @staticmethod
    def concatenate(parts: Sequence[EventObjects]) -> EventObjects:
        """Events of all parts after one another.

        Examples
        --------
        >>> len(EventObjects.concatenate([]))
        0
        """
        if not parts:
            none = np.zeros(0)
            empty: dict[str, Any] = dict.fromkeys((*PER_EVENT, *PER_OBJECT), none)
            return EventObjects(**{**empty, "process": none.astype(np.str_)}, offsets=np.zeros(1, np.int64))
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in (*PER_EVENT, *PER_OBJECT)
        }
        return EventObjects(**joined, offsets=_offsets(np.concatenate([part.counts for part in parts])))

    def to_awkward(self) -> ak.Array:
        """Record array with `met`, `met_phi`, `weight`, `event`, `process` and the jagged `objects`."""
        objects = ak.zip({name: ak.unflatten(getattr(self, name), self.counts) for name in PER_OBJECT})
        per_event = {name: getattr(self, name) for name in PER_EVENT if name != "process"}
        return ak.zip({**per_event, "process": ak.from_numpy(self.process), "objects": objects}, depth_limit=1)


def _offsets(counts: npt.NDArray[Any]) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _require_codes(kind: npt.NDArray[Any]) -> None:
    if kind.size and not np.isin(kind, np.arange(1, len(OBJECT_KINDS) + 1)).all():
        msg = f"codes of objects go from {kind.min()} to {kind.max()}, expected whole numbers from 1 to {len(OBJECT_KINDS)}"
        raise InputError(msg)
