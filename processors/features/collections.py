"""Objects of events by the names of their collections, with cuts on any of their fields, by falling pT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.features.cuts import Range, make_range

__all__ = ("KINDS", "Kind", "ObjectCut", "collection", "make_object_cuts", "missing_momentum", "objects", "unsound")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Kind:
    """How a collection is called in the names of columns and in words.

    Parameters
    ----------
    short : in the name of a mass, `m_mumu`.
    letter : of one object's columns, `pt_l1`.
    label : in mathematics.
    word : in the names of requirements.
    mass : of one object, GeV, where the events do not have it; None if they must.
    """

    short: str
    letter: str
    label: str
    word: str
    mass: float | None = None


KINDS: dict[str, Kind] = {
    "Jet": Kind("j", "j", "j", "jet"),
    "FatJet": Kind("J", "j", "J", "large-R jet"),
    "Electron": Kind("e", "l", "e", "electron", 0.000511),
    "Muon": Kind("mu", "l", r"\mu", "muon", 0.10566),
    "Lepton": Kind("l", "l", r"\ell", "lepton"),
    "Photon": Kind("gamma", "g", r"\gamma", "photon", 0.0),
    "Tau": Kind("tau", "t", r"\tau", "tau", 1.777),
}
"""Collections by name; `Lepton` is electrons and muons together."""

FLAVOURS = {"Electron": 11, "Muon": 13}
KINEMATICS = ("pt", "eta", "phi", "mass")
MISSING = ("MET", "PuppiMET", "PFMET")


@dataclass(frozen=True)
class ObjectCut:
    """A condition on a field of the objects of a collection.

    Parameters
    ----------
    collection, field : such as "Muon" and "tightId".
    range : where its values must lie; None for true (or not zero).
    """

    collection: str
    field: str
    range: Range | None

    def mask(self, found: Any) -> Any:
        """Which objects (events, objects) meet it; those whose value is masked do not."""
        values = _field(found, self.collection, self.field)
        if self.range is None:
            number = ak.values_astype(ak.fill_none(values, np.nan, axis=1), np.float64)
            return (number != 0) & ~np.isnan(number)
        keep = ak.ones_like(values, dtype=bool)
        if self.range.min is not None:
            keep = keep & (values >= self.range.min)
        if self.range.max is not None:
            keep = keep & (values < self.range.max)
        if self.range.abs_max is not None:
            keep = keep & (abs(values) < self.range.abs_max)
        return ak.fill_none(keep, False)


def make_object_cuts(given: Mapping[str, Any]) -> tuple[ObjectCut, ...]:
    """Conditions on objects from plain data, as in a config.

    Parameters
    ----------
    given : {"Collection.field": condition}: {min: ..., max: ..., abs_max: ...}, [low, high), a number for "at least" (so that
        `Muon.tightId: 1` is an identification and `Muon.pt: 8` a threshold in GeV), or true.

    Raises
    ------
    ConfigError
        If a key names no field of a known collection, or a condition cannot be understood.

    Examples
    --------
    >>> [(c.collection, c.field, c.range) for c in make_object_cuts({"Muon.pt": 8, "Muon.eta": {"abs_max": 2.4}})]
    [('Muon', 'pt', Range(min=8.0, max=None, abs_max=None)), ('Muon', 'eta', Range(min=None, max=None, abs_max=2.4))]
    """
    cuts = []
    for key, value in given.items():
        collection, dot, name = key.partition(".")
        if not dot or not name:
            msg = f"object cut {key!r}: expected Collection.field, such as Muon.pt"
            raise ConfigError(msg)
        if collection not in KINDS:
            raise ConfigError(unknown_name(f"collection of the object cut {key!r}", collection, KINDS))
        if value is True:
            limits = None
        elif isinstance(value, int | float) and not isinstance(value, bool):
            limits = make_range(key, {"min": value})
        else:
            limits = make_range(key, value)
        cuts.append(ObjectCut(collection, name, limits))
    return tuple(cuts)


def _field(found: Any, collection: str, name: str) -> Any:
    if name not in ak.fields(found):
        raise InputError(unknown_name(f"field of {collection}", name, ak.fields(found)))
    return found[name]


def collection(events: Any, name: str) -> Any:
    """Objects of a collection as the events have them.

    Raises
    ------
    InputError
        If the events lack it, or it lacks what coffea asks of such objects.
    """
    if name not in events.fields:
        there = [each for each in KINDS if each in events.fields]
        msg = f"the events have no {name}; of the collections of objects they have {', '.join(there) or 'none'}"
        raise InputError(msg)
    try:
        return events[name]
    except ValueError as error:  # coffea's objects check their own fields
        msg = f"{name} lacks what such objects have: {str(error).splitlines()[0]}"
        raise InputError(msg) from error


def _plain(events: Any, name: str, fields: tuple[str, ...], cuts: tuple[ObjectCut, ...]) -> Any:
    """Objects of one collection that pass the cuts, and those that are not sound, as records of doubles."""
    found = collection(events, name)
    kind = KINDS[name]
    columns = {x: _field(found, name, x) for x in ("pt", "eta", "phi", *fields)}
    if kind.mass is not None and "mass" not in ak.fields(found):
        columns["mass"] = ak.full_like(columns["pt"], kind.mass, dtype=np.float64)
    else:
        columns["mass"] = _field(found, name, "mass")
    columns["charge"] = found["charge"] if "charge" in ak.fields(found) else ak.zeros_like(columns["pt"])
    columns["flavour"] = ak.full_like(columns["pt"], FLAVOURS.get(name, 0), dtype=np.float64)
    filled = {x: ak.values_astype(ak.fill_none(values, np.nan, axis=1), np.float64) for x, values in columns.items()}
    made = ak.zip({x: ak.Array(ak.to_layout(values)) for x, values in filled.items()})
    keep = ak.ones_like(made.pt, dtype=bool)
    for cut in cuts:
        if cut.collection == name:
            keep = keep & cut.mask(found)
    return made[keep | ~_sound(made)]


def _sound(found: Any) -> Any:
    """Which objects (events, objects) have a momentum."""
    finite = [np.isfinite(found[x]) for x in KINEMATICS]
    return finite[0] & finite[1] & finite[2] & finite[3] & (found.pt >= 0)


def unsound(found: Any) -> Mask:
    """Events (events,) whose objects, as of `objects`, cannot be judged."""
    return np.asarray(ak.to_numpy(ak.any(np.isnan(found.pt), axis=1)), bool)


def objects(events: Any, name: str, *, fields: tuple[str, ...] = (), cuts: tuple[ObjectCut, ...] = ()) -> Any:
    """Objects of a collection that pass the cuts, by falling pT.

    An object whose momentum is not finite, or whose pT is negative, could be anywhere in that order, and no cut says that it
    does not count: then all objects of the event that are left have NaN in place of their momenta (see `unsound`).

    Parameters
    ----------
    events : of any source with collections of objects.
    name : of the collection, see `KINDS`.
    fields : others than the kinematics.
    cuts : those of other collections are left alone.

    Returns
    -------
    ak.Array
        (events, objects) records of pt, eta, phi, mass, charge, flavour (11 electrons, 13 muons, else 0) and the fields; GeV.

    Raises
    ------
    InputError
        If the events lack the collection or a field.
    """
    if name == "Lepton":
        own = tuple(ObjectCut(each, c.field, c.range) for c in cuts if c.collection == "Lepton" for each in FLAVOURS)
        parts = [_plain(events, each, fields, (*cuts, *own)) for each in FLAVOURS]
        found = ak.concatenate(parts, axis=1)
    else:
        found = _plain(events, name, fields, cuts)
    known = ak.all(_sound(found), axis=1)
    found = ak.zip({x: ak.where(known, found[x], np.nan) if x in KINEMATICS else found[x] for x in ak.fields(found)})
    return found[ak.argsort(found.pt, axis=1, ascending=False, stable=True)]


def missing_momentum(events: Any, name: str | None = None) -> tuple[Floats, Floats]:
    """Missing transverse momentum, its size (events,) in GeV and azimuth.

    Raises
    ------
    InputError
        If the events have none, or not the one that is named.
    """
    found = name or next((each for each in MISSING if each in events.fields), None)
    if found is None or found not in events.fields:
        msg = f"the events have no missing momentum {name or ' or '.join(MISSING)}"
        raise InputError(msg)
    pt, phi = (ak.to_numpy(ak.fill_none(events[found][x], np.nan)) for x in ("pt", "phi"))
    return np.asarray(pt, np.float64), np.asarray(phi, np.float64)
