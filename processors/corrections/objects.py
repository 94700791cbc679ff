"""Corrections of the energies of objects: scales and resolutions, and their variations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.corrections.fields import field_of
from resonaut.processors.corrections.library import LibraryCorrection

__all__ = ("ScaleCorrection", "SmearingCorrection", "scaled")

Floats = npt.NDArray[np.float64]
SIGNS = {"nominal": 0.0, "up": 1.0, "down": -1.0}
EVENT_IDS = ("run", "luminosityBlock", "event")
MOMENTA = ("pt", "mass")


def collection_of(events: Any, name: str, owner: str) -> Any:
    """Objects of a collection.

    Raises
    ------
    InputError
        If there is none of that name, or it is no list of objects.
    """
    if name not in events.fields:
        raise InputError(unknown_name(f"collection for {owner}", name, events.fields))
    found = events[name]
    if found.ndim < 2 or "pt" not in found.fields:
        msg = f"{owner}: {name} is no collection of objects with pt"
        raise InputError(msg)
    return found


def _value(source: float | LibraryCorrection, events: Any, objects: Any, owner: str, direction: str) -> Floats:
    """A number for each object: given, or a function of its fields and of its event's ("event:Rho.fixedGridRhoAll")."""
    counts = ak.to_numpy(ak.num(objects, axis=1))
    total = int(counts.sum())
    if not isinstance(source, LibraryCorrection):
        return np.full(total, float(source))

    def values(name: str) -> Floats:
        if name.startswith("event:"):
            per_event = ak.to_numpy(ak.fill_none(field_of(events, name.removeprefix("event:"), owner), np.nan))
            return np.repeat(np.asarray(per_event, np.float64), counts)
        flat = ak.flatten(ak.fill_none(field_of(objects, name, owner), np.nan), axis=1)
        return np.asarray(ak.to_numpy(flat), np.float64)

    return source.evaluate(values, total, direction if source.varies else "nominal")


def _times(objects: Any, factor: Any, fields: tuple[str, ...]) -> Any:
    for key in fields:
        if key in objects.fields:
            objects = ak.with_field(objects, objects[key] * factor, key)
    return objects


def scaled(events: Any, name: str, factor: Floats, fields: tuple[str, ...] = MOMENTA, met: str | None = None) -> Any:
    """Events whose objects have `factor` times the momentum and mass, and the missing momentum that follows.

    Parameters
    ----------
    events : NanoEvents or an awkward array.
    name : of the collection.
    factor : flat, one number for each object, event after event.
    fields : what is multiplied, as far as the objects have it.
    met : collection of the missing momentum, `pt` and `phi`.
    """
    objects = events[name]
    jagged = ak.unflatten(factor, ak.num(objects, axis=1))
    changed = ak.with_field(events, _times(objects, jagged, fields), name)
    return changed if met is None else ak.with_field(changed, _moved_met(events, met, objects, jagged), met)


def _moved_met(events: Any, name: str, objects: Any, factor: Any) -> Any:
    """Missing momentum that balances what the objects gained."""
    if name not in events.fields:
        raise InputError(unknown_name("missing momentum to propagate a correction to", name, events.fields))
    met, gained = events[name], objects["pt"] * (factor - 1)
    px = met["pt"] * np.cos(met["phi"]) - ak.sum(gained * np.cos(objects["phi"]), axis=1)
    py = met["pt"] * np.sin(met["phi"]) - ak.sum(gained * np.sin(objects["phi"]), axis=1)
    met = ak.with_field(met, np.hypot(px, py), "pt")
    return ak.with_field(met, np.arctan2(py, px), "phi")


@dataclass(frozen=True)
class ScaleCorrection:
    """An energy scale: pT and mass of the objects of a collection are multiplied.

    Parameters
    ----------
    name : of the nuisance parameter.
    collection : `FatJet`, `Jet`, `Muon`, ..., or `PFCand` for all particles before jets are clustered.
    factor : nominal factor, a number or a correction of the objects' fields (fields of the event as "event:NAME").
    uncertainty : relative uncertainty of the scale, 0 for none, or a correction that gives it for the corrected objects.
    raw : field with the part of the momentum that earlier corrections added (NanoAOD: "rawFactor"); it is taken away before
        `factor` is looked up and applied.
    fields : what is multiplied, where the objects have it.
    met : collection of the missing momentum that follows, if any.

    Raises
    ------
    ConfigError
        If the uncertainty is negative, there are two sources of variations, or `met` shall follow and `pt` does not change.
    """

    name: str
    collection: str
    factor: float | LibraryCorrection = 1.0
    uncertainty: float | LibraryCorrection = 0.0
    raw: str | None = None
    fields: tuple[str, ...] = MOMENTA
    met: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))  # a list, from YAML
        check_met(f"scale {self.name!r}", self.fields, self.met)
        if not isinstance(self.factor, LibraryCorrection):
            check_number(f"scale {self.name!r}", "factor", self.factor)
        if not isinstance(self.uncertainty, LibraryCorrection):
            check_number(f"scale {self.name!r}", "uncertainty", self.uncertainty)
            if self.uncertainty >= 1:
                msg = f"scale {self.name!r}: uncertainty is {self.uncertainty}, expected a relative one, 0.02 for 2 %"
                raise ConfigError(msg)
        if getattr(self.factor, "varies", False) and self.uncertainty != 0.0:
            msg = f"scale {self.name!r} has up and down of its factor and an uncertainty besides: give one of them"
            raise ConfigError(msg)

    @property
    def varies(self) -> bool:
        """Whether there are variations up and down."""
        return self.uncertainty != 0.0 or getattr(self.factor, "varies", False)

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        kept = {key: getattr(self, key) for key in ("name", "collection", "raw", "fields", "met")}
        return {"kind": "scale", **kept} | {key: _plain(getattr(self, key)) for key in ("factor", "uncertainty")}

    def ratio(self, events: Any, direction: str = "nominal") -> Floats:
        """What the momentum of each object, event after event, is multiplied by; NaN where it is not known.

        Raises
        ------
        InputError
            If the events lack the collection or a field.
        """
        owner = f"scale {self.name!r}"
        objects = collection_of(events, self.collection, owner)
        ratio = np.ones(int(ak.sum(ak.num(objects, axis=1))))
        if self.raw is not None:
            share = ak.flatten(ak.fill_none(field_of(objects, self.raw, owner), np.nan), axis=1)
            ratio = 1 - np.asarray(ak.to_numpy(share), np.float64)
            objects = _times(objects, ak.unflatten(ratio, ak.num(objects, axis=1)), self.fields)
        factor = _value(self.factor, events, objects, owner, direction)
        ratio = ratio * factor
        if (sign := SIGNS[direction]) and self.uncertainty != 0.0:
            corrected = _times(objects, ak.unflatten(factor, ak.num(objects, axis=1)), self.fields)
            ratio = ratio * (1 + sign * _value(self.uncertainty, events, corrected, owner, "nominal"))
        return ratio


@dataclass(frozen=True)
class SmearingCorrection:
    """A resolution: pT and mass of each object are multiplied by 1 + width x (a standard normal number), at least by 0.

    With a scale factor s of the resolution, `width` is the relative resolution of the simulation and what is missing to s
    times that is added, width x sqrt(s^2 - 1) (none where s < 1).

    The random number belongs to the object: it is made of run, luminosity block and event number (without an event number: of the
    file and the entry in it) and the object's place, so that it does not depend on chunks, workers or order; and of the name, so
    that two smearings are independent of each other.

    Parameters
    ----------
    name : of the nuisance parameter.
    collection : objects to smear.
    width : relative width, a number or a correction of the objects' fields (fields of the event as "event:NAME").
    scale_factor : of the resolution, a number or a correction; None if `width` is what is missing.
    uncertainty : relative uncertainty of the width, or of the scale factor where there is one; 0 where that correction has
        variations of its own.
    fields : what is multiplied, where the objects have it.
    met : collection of the missing momentum that follows, if any.
    seed : another number gives other random numbers.

    Raises
    ------
    ConfigError
        If a number is negative, or `met` shall follow and `pt` does not change.
    """

    name: str
    collection: str
    width: float | LibraryCorrection = 0.0
    scale_factor: float | LibraryCorrection | None = None
    uncertainty: float = 0.0
    fields: tuple[str, ...] = MOMENTA
    met: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        check_met(f"smearing {self.name!r}", self.fields, self.met)
        for what in ("width", "scale_factor", "uncertainty"):
            value = getattr(self, what)
            if value is not None and not isinstance(value, LibraryCorrection):
                check_number(f"smearing {self.name!r}", what, value)
        if self._varied and self.uncertainty:
            msg = (
                f"smearing {self.name!r} has up and down of its correction and an uncertainty besides: give one of them"
            )
            raise ConfigError(msg)

    @property
    def _varied(self) -> bool:
        return any(getattr(value, "varies", False) for value in (self.width, self.scale_factor))

    @property
    def varies(self) -> bool:
        """Whether there are variations up and down."""
        return self.uncertainty > 0 or self._varied

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        kept = {key: getattr(self, key) for key in ("name", "collection", "uncertainty", "fields", "met", "seed")}
        return {"kind": "smearing", **kept} | {key: _plain(getattr(self, key)) for key in ("width", "scale_factor")}

    def ratio(self, events: Any, direction: str = "nominal") -> Floats:
        """What the momentum of each object, event after event, is multiplied by; NaN where it is not known.

        Raises
        ------
        InputError
            If the events lack the collection or a field.
        """
        owner = f"smearing {self.name!r}"
        objects = collection_of(events, self.collection, owner)
        width = _value(self.width, events, objects, owner, direction)
        moved = 1 + SIGNS[direction] * self.uncertainty
        if self.scale_factor is None:
            width = width * moved
        else:
            factor = _value(self.scale_factor, events, objects, owner, direction) * moved
            width = width * np.sqrt(np.maximum(factor**2 - 1, 0.0))
        normal = _normal_of_objects(events, ak.to_numpy(ak.num(objects, axis=1)), f"{self.name} {self.seed}")
        return np.maximum(1 + width * normal, 0.0)


def _plain(value: Any) -> Any:
    return value.config if isinstance(value, LibraryCorrection) else value


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on all others."""
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))


def _bits(text: str) -> npt.NDArray[np.uint64]:
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.uint64)


def _normal_of_objects(events: Any, counts: npt.NDArray[Any], seed: str) -> Floats:
    """A standard normal number for each object, by Box and Muller from hashed identities and a seed."""
    metadata = events.metadata or {} if hasattr(events, "metadata") else {}
    ids = [ak.to_numpy(events[name]).astype(np.int64) for name in EVENT_IDS if name in events.fields]
    state = _mixed(np.repeat(_bits(f"seed {seed}"), len(counts)))
    if "event" not in events.fields:
        state = state ^ _bits(f"file {metadata.get('fileuuid', '')}")
        ids.append(np.arange(len(counts)) + int(metadata.get("entrystart", 0)))
    for column in ids:
        state = _mixed(state ^ column.astype(np.uint64))
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    bits = _mixed(np.repeat(state, counts) ^ place.astype(np.uint64))
    one, two = ((_mixed(bits ^ np.uint64(k)) >> np.uint64(11)).astype(np.float64) * 2.0**-53 for k in (1, 2))
    return np.asarray(np.sqrt(-2 * np.log1p(-one)) * np.cos(2 * np.pi * two))


def check_met(owner: str, fields: tuple[str, ...], met: str | None) -> None:
    """Refuse a missing momentum that follows momenta which do not change.

    Raises
    ------
    ConfigError
        If `met` is given and `pt` is not among the fields.
    """
    if met is not None and "pt" not in fields:
        msg = f"{owner} changes {', '.join(fields)} but not pt, so that {met} stays: leave met out"
        raise ConfigError(msg)


def check_number(owner: str, what: str, value: Any) -> None:
    """Refuse what is no finite number of at least 0.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < np.inf:
        msg = f"{owner}: {what} is {value!r}, expected a number of at least 0"
        raise ConfigError(msg)
