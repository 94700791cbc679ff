"""Events of any number of objects as rows of a fixed number of columns, for methods that need a matrix.

What an encoding learns, it learns from the training events alone. All energies are in GeV.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.events.objects import JETS, LEPTONS, OBJECT_KINDS, EventObjects, kind_codes
from resonaut.processors.objects.kernels_objects import ranks_in_groups

__all__ = ("ENCODINGS", "LeadingObjects", "ObjectSets", "TypeSlots", "encoding_from_dict")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAMES = ("j", "b", "em", "ep", "mm", "mp", "g")  # of the kinds, as parts of columns' names
MET_KIND = len(OBJECT_KINDS) + 1
SMALLEST = 1e-3  # GeV: what the logarithm of a missing momentum of zero is taken of
FOUR = ("e", "pt", "eta", "phi")


@dataclass(frozen=True)
class _Encoding:
    """What all encodings share."""

    name: ClassVar[str] = ""

    @classmethod
    def learn(cls, training: EventObjects, **options: Any) -> Self:  # noqa: ARG003 (most learn nothing)
        """The encoding with these options; nothing in it depends on the training events."""
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, the encoding's `name` among them."""
        return {"name": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The encoding that `to_dict` described.

        Raises
        ------
        ConfigError
            If the content describes no such encoding.
        """
        known = [each.name for each in fields(cls)]
        given = {key: value for key, value in content.items() if key != "name"}
        if content.get("name", cls.name) != cls.name or set(given) != set(known):
            msg = f"got {dict(content)}, expected name {cls.name!r} and the keys {known}"
            raise ConfigError(msg)
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def _require_counts(where: str, low: int, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            msg = f"{where}: {name} is {value!r}, expected a whole number of at least {low}"
            raise ConfigError(msg)


def _logarithm(energy: Floats) -> Floats:
    return np.log10(np.maximum(energy, SMALLEST))


def _events_of(events: EventObjects, objects: npt.NDArray[np.bool_]) -> int:
    """Number of events that have one of these objects."""
    return len(np.unique(events.rows[objects]))


@dataclass(frozen=True)
class TypeSlots(_Encoding):
    """Places for the objects of each kind by falling pT, as many as any training event fills, and what is empty is 0.

    Columns are `has_j1`, ... (1 where the place is filled), then `met`, `met_phi`, then `j1_e`, `j1_pt`, `j1_eta`,
    `j1_phi`, ...; kinds are called j, b, em, ep, mm, mp, g.

    Parameters
    ----------
    slots : places of each of `OBJECT_KINDS`.
    log : log10 of energies and momenta in GeV where present, `met` included (of at least 0.001 GeV).
    """

    name: ClassVar[str] = "type-slots"
    slots: tuple[int, ...]
    log: bool = False

    def __post_init__(self) -> None:
        if len(self.slots) != len(OBJECT_KINDS):
            msg = f"slots are {self.slots}, expected a number for each of {OBJECT_KINDS}"
            raise ConfigError(msg)
        _require_counts("slots", 0, **dict(zip(OBJECT_KINDS, self.slots, strict=True)))

    @classmethod
    def learn(cls, training: EventObjects, most: int = 20, *, log: bool = False) -> TypeSlots:  # type: ignore[override] # its own options
        """Places for the largest number of each kind in the training events, at most `most`.

        Raises
        ------
        InputError
            If there are no events.
        """
        _require_counts("TypeSlots", 1, most=most)
        if not len(training):
            msg = "there are no training events to learn the numbers of objects from"
            raise InputError(msg)
        return cls(tuple(min(most, int(training.count(kind).max())) for kind in OBJECT_KINDS), log)

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Names of the places: j1, j2, ..., g1, ..."""
        return tuple(f"{x}{i + 1}" for x, n in zip(NAMES, self.slots, strict=True) for i in range(n))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        flags = tuple(f"has_{place}" for place in self.places)
        return (*flags, "met", "met_phi", *(f"{place}_{x}" for place in self.places for x in FOUR))

    def _filled(self, events: EventObjects) -> Ints:
        """The place that each object goes to, -1 if there is none."""
        kind = events.kind.astype(np.int64) - 1
        rank = ranks_in_groups(events.offsets, kind, events.pt)
        slots = np.array(self.slots, np.int64)
        first = np.cumsum(slots) - slots
        return np.where(rank < slots[kind], first[kind] + rank, -1)

    def overflow(self, events: EventObjects) -> int:
        """Number of events that have objects without a place."""
        return _events_of(events, self._filled(events) < 0)

    def encode(self, events: EventObjects) -> Floats:
        """Matrix (n, columns); objects without a place are left out."""
        places = len(self.places)
        out = np.zeros((len(events), len(self.names)))
        out[:, places], out[:, places + 1] = _logarithm(events.met) if self.log else events.met, events.met_phi
        place = self._filled(events)
        kept = place >= 0
        rows, at = events.rows[kept], place[kept]
        out[rows, at] = 1.0
        for i, x in enumerate(FOUR):
            values = getattr(events, x)[kept]
            out[rows, places + 2 + 4 * at + i] = _logarithm(values) if self.log and x in ("e", "pt") else values
        return out


@dataclass(frozen=True)
class LeadingObjects(_Encoding):
    """Missing momentum, numbers of objects, and the jets (b-tagged or not) and leptons of highest pT.

    Columns are `met`, `met_phi`, `n_j`, `n_b`, `n_g`, `n_em`, `n_ep`, `n_mm`, `n_mp`, then for each jet `jet1_kind` (0
    absent, 1 j, 2 b), `jet1_e`, `jet1_pt`, `jet1_eta`, `jet1_phi`, and for each lepton the same with `lep1_kind` (0 absent,
    1 e-, 2 e+, 3 m-, 4 m+). What is absent is 0.

    Parameters
    ----------
    jets, leptons : how many of each.
    log : log10 of energies and momenta in GeV where present, `met` included (of at least 0.001 GeV).
    """

    name: ClassVar[str] = "leading-objects"
    jets: int = 7
    leptons: int = 4
    log: bool = False

    def __post_init__(self) -> None:
        _require_counts("LeadingObjects", 0, jets=self.jets, leptons=self.leptons)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        counts = tuple(f"n_{x}" for x in ("j", "b", "g", "em", "ep", "mm", "mp"))
        places = [f"jet{i + 1}" for i in range(self.jets)] + [f"lep{i + 1}" for i in range(self.leptons)]
        return ("met", "met_phi", *counts, *(f"{place}_{x}" for place in places for x in ("kind", *FOUR)))

    def _filled(self, events: EventObjects) -> tuple[Ints, Ints]:
        """The place and the kind of each object inside its group; -1 for objects that have no place, photons among them."""
        kind = np.full(len(events.kind), 0, np.int64)
        group = np.full(len(events.kind), -1, np.int64)
        for number, members in enumerate((JETS, LEPTONS)):
            for i, code in enumerate(kind_codes(members)):
                kind[events.kind == code], group[events.kind == code] = i + 1, number
        rank = ranks_in_groups(events.offsets, group, events.pt)
        most = np.array([self.jets, self.leptons, 0])[group]
        return np.where((group >= 0) & (rank < most), rank + self.jets * group, -1), kind

    def overflow(self, events: EventObjects) -> int:
        """Number of events that have jets or leptons without a place; photons are counted in `n_g` and have none."""
        place, kind = self._filled(events)
        return _events_of(events, (place < 0) & (kind > 0))

    def encode(self, events: EventObjects) -> Floats:
        """Matrix (n, columns)."""
        out = np.zeros((len(events), len(self.names)))
        out[:, 0], out[:, 1] = _logarithm(events.met) if self.log else events.met, events.met_phi
        for column, kind in enumerate(("j", "b", "g", "e-", "e+", "m-", "m+"), start=2):
            out[:, column] = events.count(kind)
        place, number = self._filled(events)
        kept = place >= 0
        rows, at = events.rows[kept], 9 + 5 * place[kept]
        out[rows, at] = number[kept]
        for i, x in enumerate(FOUR):
            values = getattr(events, x)[kept]
            out[rows, at + 1 + i] = _logarithm(values) if self.log and x in ("e", "pt") else values
        return out


@dataclass(frozen=True)
class ObjectSets(_Encoding):
    """Every object as the same five columns, by falling pT, and the missing momentum as one more object.

    Columns are `obj1_kind` (see `OBJECT_KINDS`, 0 absent), `obj1_log_e`, `obj1_log_pt`, `obj1_eta`, `obj1_phi`, ... and
    `met_kind`, ... of kind 8; log10 of GeV. The missing momentum has `met_log_e` = `met_eta` = 0.

    Parameters
    ----------
    most : places for objects; the softest beyond it are left out.
    """

    name: ClassVar[str] = "object-sets"
    most: int = 20

    def __post_init__(self) -> None:
        _require_counts("ObjectSets", 1, most=self.most)

    @cached_property
    def objects(self) -> tuple[tuple[str, ...], ...]:
        """Names of the columns of each object, its kind first."""
        places = [*(f"obj{i + 1}" for i in range(self.most)), "met"]
        return tuple(tuple(f"{place}_{x}" for x in ("kind", "log_e", "log_pt", "eta", "phi")) for place in places)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(name for names in self.objects for name in names)

    @staticmethod
    def _ranks(events: EventObjects) -> Ints:
        return ranks_in_groups(events.offsets, np.zeros(len(events.kind), np.int64), events.pt)

    def overflow(self, events: EventObjects) -> int:
        """Number of events with more objects than places."""
        return int(np.count_nonzero(events.counts > self.most))

    def encode(self, events: EventObjects) -> Floats:
        """Matrix (n, columns)."""
        out = np.zeros((len(events), len(self.names)))
        rank = self._ranks(events)
        kept = rank < self.most
        rows, at = events.rows[kept], 5 * rank[kept]
        columns: list[npt.NDArray[Any]] = [events.kind, _logarithm(events.e), _logarithm(events.pt)]
        for i, values in enumerate([*columns, events.eta, events.phi]):
            out[rows, at + i] = values[kept]
        last = 5 * self.most
        out[:, last], out[:, last + 2], out[:, last + 4] = MET_KIND, _logarithm(events.met), events.met_phi
        return out


ENCODINGS: dict[str, type[TypeSlots | LeadingObjects | ObjectSets]] = {
    TypeSlots.name: TypeSlots,
    LeadingObjects.name: LeadingObjects,
    ObjectSets.name: ObjectSets,
}
"""Every encoding by its name."""


def encoding_from_dict(content: Mapping[str, Any]) -> TypeSlots | LeadingObjects | ObjectSets:
    """The encoding that any `to_dict` described.

    Raises
    ------
    ConfigError
        If there is no such encoding.
    """
    name = str(content.get("name"))
    if name not in ENCODINGS:
        raise ConfigError(unknown_name("encoding", name, ENCODINGS))
    encoding: TypeSlots | LeadingObjects | ObjectSets = ENCODINGS[name].from_dict(content)
    return encoding
