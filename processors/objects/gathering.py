"""From the collections of a chunk of events, as NanoAOD names them, to lists of objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.events.objects import JETS, EventObjects, kind_codes

__all__ = ("COLLECTIONS", "Gathered", "ObjectOptions", "gather")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

COLLECTIONS = ("Jet", "Electron", "Muon", "Photon", "MET")
"""Collections that events must have, unless they are among those that may be absent."""

CHARGED = {"Electron": ("e-", "e+"), "Muon": ("m-", "m+")}


@dataclass(frozen=True)
class ObjectOptions:
    """Which fields of a file objects are made of; see `EventObjectsProcessor`."""

    btag: tuple[str, float] | None = None
    least: dict[str, float] = field(default_factory=dict)
    met: str | None = None
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.without:
            if name not in COLLECTIONS:
                raise ConfigError(unknown_name("collection", name, COLLECTIONS))
        for key in self.least:
            if key.count(".") != 1 or key.split(".")[0] not in COLLECTIONS[:4]:
                msg = f"got {key!r} in least, expected a field such as 'Muon.tightId' of one of {COLLECTIONS[:4]}"
                raise ConfigError(msg)


@dataclass(frozen=True)
class Gathered:
    """All objects of a chunk before any cut.

    Parameters
    ----------
    events : the objects.
    good : which objects (N,) have at least the values asked for.
    broken : objects (N,) that make their event one that cannot be judged, by reason.
    bad : what is wrong with each line of a CSV file, 0 for nothing.
    soft_term : `met` is a soft term only, to be completed by the objects.
    notes : what was done without.
    """

    events: EventObjects
    good: Mask
    broken: dict[str, Mask]
    bad: npt.NDArray[np.int8]
    soft_term: bool = False
    notes: tuple[str, ...] = ()


def gather(events: Any, options: ObjectOptions, process: str) -> Gathered:
    """Objects of all kinds of a chunk of events.

    Raises
    ------
    InputError
        If a collection or a field is absent.
    """
    if "Object" in events.fields:
        if options.btag or options.least or options.met:
            msg = f"{options}: the events come as lists of objects, which have no such fields; leave btag, least and met out"
            raise InputError(msg)
        return _from_list(events)
    notes: list[str] = []
    parts = [_part(events, name, options, notes) for name in COLLECTIONS[:4]]
    parts = [part for part in parts if part]
    n = len(events)
    joined = {key: np.concatenate([np.zeros(0), *(part[key] for part in parts)]) for key in PART}
    order = np.lexsort((-joined["pt"], joined["kind"], joined["row"]))
    flat = {key: values[order] for key, values in joined.items()}
    counts = np.bincount(flat["row"].astype(np.int64), minlength=n)
    met, met_phi, soft = _missing(events, options, notes)
    number = ak.to_numpy(events["event"]).astype(np.int64) if "event" in events.fields else _entries(events)
    made = EventObjects(
        met=met,
        met_phi=met_phi,
        weight=np.ones(n),
        event=number,
        process=np.full(n, process),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        **{key: flat[key] for key in ("kind", "e", "pt", "eta", "phi")},
    )
    finite = np.all([np.isfinite(flat[key]) for key in ("e", "pt", "eta", "phi")], axis=0)
    broken = {
        "object not finite": ~finite,
        "object's pT not positive": finite & (flat["pt"] <= 0),
        "lepton without charge": flat["charged"] == 0,
    }
    return Gathered(made, flat["good"] == 1, broken, np.zeros(n, np.int8), soft, tuple(notes))


PART = ("row", "kind", "e", "pt", "eta", "phi", "good", "charged")


def _from_list(events: Any) -> Gathered:
    """Events that come as lists of objects already."""
    counts = ak.to_numpy(ak.num(events.Object.pt))
    flat = {x: ak.to_numpy(ak.flatten(events.Object[x])) for x in ("kind", "e", "pt", "eta", "phi")}
    made = EventObjects(
        met=ak.to_numpy(events.MET.pt),
        met_phi=ak.to_numpy(events.MET.phi),
        weight=ak.to_numpy(events.weight),
        event=ak.to_numpy(events.event),
        process=ak.to_numpy(events.process),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        **flat,
    )
    return Gathered(made, np.ones(len(made.kind), bool), {}, ak.to_numpy(events.bad).astype(np.int8))


def _entries(events: Any) -> npt.NDArray[np.int64]:
    """Entries in the file, where events have no numbers."""
    return np.arange(len(events)) + int((events.metadata or {}).get("entrystart", 0))


def _flat(collection: Any, name: str, key: str) -> Floats:
    """A field of all objects of a collection, NaN where masked."""
    if key not in collection.fields:
        raise InputError(unknown_name(f"field of {name}", key, collection.fields))
    values = ak.to_numpy(ak.flatten(ak.fill_none(collection[key], np.nan, axis=1)))
    return np.asarray(values, np.float64)


def _part(events: Any, name: str, options: ObjectOptions, notes: list[str]) -> dict[str, Floats]:
    """Flat columns of one collection; empty where it may be absent and is."""
    if name not in events.fields:
        _require_optional(events, name, options)
        notes.append(f"no {name} in the file: events have none")
        return {}
    collection = events[name]
    columns: dict[str, npt.NDArray[Any]] = {key: _flat(collection, name, key) for key in ("pt", "eta", "phi")}
    massless = name == "Photon" and "mass" not in collection.fields
    mass = np.zeros_like(columns["pt"]) if massless else _flat(collection, name, "mass")
    columns["e"] = np.hypot(columns["pt"] * np.cosh(columns["eta"]), mass)
    columns["charged"] = np.ones(len(mass))
    if name in CHARGED:
        charge = _flat(collection, name, "charge")
        minus, plus = kind_codes(CHARGED[name])
        columns["kind"] = np.where(charge < 0, minus, plus).astype(np.int8)
        columns["charged"] = (np.isfinite(charge) & (charge != 0)).astype(np.float64)
    elif name == "Jet":
        plain, tagged = kind_codes(JETS)
        columns["kind"] = np.where(_tagged(collection, options, notes), tagged, plain)
    else:
        columns["kind"] = np.full(len(mass), kind_codes("g")[0])
    columns["row"] = np.repeat(np.arange(len(events)), ak.to_numpy(ak.num(collection)))
    good = np.ones(len(mass), bool)
    for key, low in options.least.items():
        where, what = key.split(".")
        if where == name:
            good &= _flat(collection, name, what) >= low
    return {**columns, "good": good.astype(np.float64)}


def _tagged(jets: Any, options: ObjectOptions, notes: list[str]) -> Mask:
    """Which jets are b-tagged."""
    if options.btag is not None:
        key, cut = options.btag
        return np.asarray(_flat(jets, "Jet", key) > cut)
    if "btag" in jets.fields:
        return _flat(jets, "Jet", "btag") > 0
    notes.append("no b-tags asked for or in the file: all jets are j")
    return np.zeros(int(ak.sum(ak.num(jets))), bool)


def _missing(events: Any, options: ObjectOptions, notes: list[str]) -> tuple[Floats, Floats, bool]:
    """Size and direction of the missing momentum, and whether it is a soft term only."""
    names = [options.met] if options.met is not None else ["PuppiMET", "MET"]
    name = next((each for each in names if each in events.fields), None)
    if name is not None:
        notes.append(f"missing momentum from {name}")
        found = events[name]
        return _event_values(found["pt"]), _event_values(found["phi"]), False
    if options.met is None and "SoftTerm" in events.fields:
        notes.append("missing momentum from the soft term and the kept objects")
        px, py = _event_values(events.SoftTerm["px"]), _event_values(events.SoftTerm["py"])
        return np.hypot(px, py), np.arctan2(py, px), True
    _require_optional(events, "MET", options, names)
    notes.append("no missing momentum in the file: it is 0")
    return np.zeros(len(events)), np.zeros(len(events)), False


def _event_values(values: Any) -> Floats:
    return np.asarray(ak.to_numpy(ak.fill_none(values, np.nan)), np.float64)


def _require_optional(events: Any, name: str, options: ObjectOptions, tried: Any = None) -> None:
    if name not in options.without:
        present = [x for x in events.fields if x[:1].isupper()]
        msg = (
            f"the events have no {' or '.join(tried or [name])}, only {present[:30]}; if they are to be taken without, "
            f"say without=({name!r},)"
        )
        raise InputError(msg)
