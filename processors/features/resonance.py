"""The resonant variable of any set of objects: dileptons, diphotons, jets with leptons, a lepton and missing momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.features.builder import EventFeatures
from resonaut.processors.features.collections import (
    FLAVOURS,
    KINDS,
    MISSING,
    collection,
    make_object_cuts,
    missing_momentum,
    objects,
    unsound,
)
from resonaut.processors.features.kinematics import (
    Momenta,
    cos_theta_collins_soper,
    delta_phi,
    delta_r,
    system,
    transverse_mass,
)
from resonaut.processors.features.object_sets import ObjectSets, all_sets

__all__ = ("OBJECT_FIELDS", "ResonanceFeatures")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CHARGED = ("Electron", "Muon", "Lepton", "Tau")
WITH_MASS = ("Jet", "FatJet")
BROKEN = "objects not finite"
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}
OBJECT_FIELDS = (
    "pfRelIso03_all",
    "pfRelIso04_all",
    "miniPFRelIso_all",
    "jetRelIso",
    "dxy",
    "dz",
    "ip3d",
    "sip3d",
    "r9",
)
"""Isolation, impact parameters and shower shapes of NanoAOD's leptons and photons."""


@dataclass(frozen=True)
class ResonanceFeatures:
    """Builder of the mass of a set of objects and of features of the objects and of their system.

    Parameters
    ----------
    objects : names of collections, one for each object: ("Muon", "Muon"), ("Jet", "Lepton"). `Lepton` is electrons and muons
        together. With "MET" beside one object, the resonant variable is the transverse mass.
    charge : "opposite" or "same", of the two charged leptons.
    flavour : "same" or "different", of two `Lepton`s.
    where : cuts on the objects, {"Muon.pt": 8, "Muon.tightId": 1, "Muon.eta": {abs_max: 2.4}} (see `make_object_cuts`).
    separation : least distance in eta and phi between objects of two collections: a jet within it is a lepton's own.
    closest_to : GeV; of all sets of objects the one whose mass is closest to this; by default that of leading pT.
    exactly : events with more such objects than asked for are not taken.
    fields : further fields of the objects, a column for each object whose collection has it ("auto": those of
        `OBJECT_FIELDS`).
    name : of the column with the mass; by default `m_mumu`, `m_jl`, `mt_l`, ...

    Raises
    ------
    ConfigError
        If the options make no sense together.
    """

    objects: tuple[str, ...] = ("Muon", "Muon")
    charge: Literal["opposite", "same"] | None = None
    flavour: Literal["same", "different"] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    separation: float = 0.0
    closest_to: float | None = None
    exactly: bool = False
    fields: tuple[str, ...] | Literal["auto"] = ()
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "objects", _names(self.objects, "objects"))
        if self.fields != "auto":
            object.__setattr__(self, "fields", _names(self.fields, "fields"))
        _check_objects(self.objects)
        known = (*self.visible, *_collections(self.visible))
        if stray := [
            f"{cut.collection}.{cut.field}" for cut in make_object_cuts(self.where) if cut.collection not in known
        ]:
            msg = f"cuts on {', '.join(stray)}, but the objects are {', '.join(self.objects)}"
            raise ConfigError(msg)
        for option, allowed in (("charge", ("opposite", "same")), ("flavour", ("same", "different"))):
            value = getattr(self, option)
            if value is not None and value not in allowed:
                raise ConfigError(unknown_name(option, str(value), allowed))
        if self.charge and len([each for each in self.objects if each in CHARGED]) != 2:
            msg = f"charge: {self.charge} needs two charged leptons among the objects, got {', '.join(self.objects)}"
            raise ConfigError(msg)
        if self.flavour and self.objects.count("Lepton") != 2:
            msg = f"flavour: {self.flavour} needs two objects Lepton, got {', '.join(self.objects)}"
            raise ConfigError(msg)
        if self.separation < 0 or (self.closest_to is not None and not self.closest_to > 0):
            msg = f"separation = {self.separation}, closest_to = {self.closest_to}: expected positive numbers"
            raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        return asdict(self)

    @property
    def visible(self) -> tuple[str, ...]:
        """The objects without the missing momentum."""
        return tuple(each for each in self.objects if each not in MISSING)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the columns of each visible object end with: l1, l2, j1, ..."""
        letters = [KINDS[each].letter for each in self.visible]
        return tuple(f"{letter}{letters[: k + 1].count(letter)}" for k, letter in enumerate(letters))

    @property
    def system_name(self) -> str:
        """What the columns of the system end with, such as mumu."""
        return "".join(KINDS[each].short for each in self.visible)

    @property
    def variable(self) -> str:
        """Name of the column with the mass, GeV."""
        return self.name or f"{'m' if len(self.visible) > 1 else 'mt'}_{self.system_name}"

    def build(self, events: Any) -> EventFeatures:
        """Features of every event; the objects, their charges, flavours and distances are required.

        Raises
        ------
        InputError
            If the events lack a collection or a field.
        """
        kinds = tuple(dict.fromkeys(self.visible))
        self._require_charges(events)
        cuts = make_object_cuts(self.where)
        fields = {kind: self._fields_of(events, kind) for kind in kinds}
        found = {kind: objects(events, kind, fields=fields[kind], cuts=cuts) for kind in kinds}
        required = self._enough(found)
        sets = all_sets(found, self.visible)
        good = sets.all & ak.Array(np.all(list(required.values()), axis=0))
        for requirement, mask in self._conditions(sets).items():
            good = good & mask
            required[requirement] = ak.to_numpy(ak.any(good, axis=1))
        chosen = sets.where(good).chosen(self.closest_to)
        columns = self._object_columns(chosen, fields)
        momenta = [Momenta(each["pt"], each["eta"], each["phi"], each["mass"]) for each in chosen]
        if len(momenta) > 1:
            columns = self._system_columns(momenta, chosen) | columns
        else:
            columns = self._missing_columns(events, momenta[0]) | columns
        broken = np.any([unsound(each) for each in found.values()], axis=0)
        lost = ~np.isfinite(columns[self.variable])
        return EventFeatures(columns, required, {BROKEN: broken}, {BROKEN: lost})

    def __call__(self, events: Any) -> Mapping[str, Floats]:
        """Features of every event, (events,) each; NaN where the objects are not there."""
        return self.build(events).columns

    def _require_charges(self, events: Any) -> None:
        for kind in _collections(self.visible) if self.charge else ():
            there = ak.fields(collection(events, kind))
            if kind in CHARGED and "charge" not in there:
                msg = f"charge: {self.charge} needs the field charge of {kind}, which has {', '.join(there)}"
                raise InputError(msg)

    def _fields_of(self, events: Any, kind: str) -> tuple[str, ...]:
        parts = _collections((kind,))
        there = set.intersection(*(set(ak.fields(collection(events, p))) for p in parts))
        wanted = OBJECT_FIELDS if self.fields == "auto" else self.fields
        lacking = [x for x in wanted if x not in there]
        if self.fields != "auto" and lacking and len(set(self.visible)) == 1:
            raise InputError(unknown_name(f"field of {kind}", lacking[0], there))
        return tuple(x for x in wanted if x in there)

    def _enough(self, found: Mapping[str, Any]) -> dict[str, Mask]:
        out = {}
        for kind in dict.fromkeys(self.visible):
            wanted = self.visible.count(kind)
            number = ak.to_numpy(ak.num(found[kind], axis=1))
            text = f"{COUNTS.get(wanted, wanted)} {KINDS[kind].word}{'s' if wanted > 1 else ''}"
            out[f"exactly {text}" if self.exactly else text] = number == wanted if self.exactly else number >= wanted
        return out

    def _conditions(self, sets: ObjectSets) -> dict[str, Any]:
        """Masks (events, sets) of what a set of objects must be, by name."""
        leptons = [each for each, kind in zip(sets.objects, self.visible, strict=True) if kind in CHARGED]
        out = {}
        if self.charge:
            product = leptons[0].charge * leptons[1].charge
            out[f"{self.charge} charge"] = product < 0 if self.charge == "opposite" else product > 0
        if self.flavour:
            same = leptons[0].flavour == leptons[1].flavour
            out[f"{self.flavour} flavour"] = same if self.flavour == "same" else ~same
        if self.separation > 0:
            out[f"separated by {self.separation:g}"] = sets.separated(self.visible, self.separation)
        return out

    def _object_columns(
        self, chosen: list[dict[str, Floats]], fields: Mapping[str, tuple[str, ...]]
    ) -> dict[str, Floats]:
        out: dict[str, Floats] = {}
        for values, kind, suffix in zip(chosen, self.visible, self.suffixes, strict=True):
            names = {"pt": "pt", "eta": "eta", "phi": "phi"} | ({"mass": "m"} if kind in WITH_MASS else {})
            names |= {x: x for x in fields[kind]}
            out |= {f"{name}_{suffix}": values[key] for key, name in names.items()}
        return out

    def _system_columns(self, momenta: list[Momenta], chosen: list[dict[str, Floats]]) -> dict[str, Floats]:
        whole, tail = system(momenta), self.system_name
        out = {self.variable: whole.m, f"pt_{tail}": whole.pt, f"y_{tail}": whole.y}
        for a, b in combinations(range(len(momenta)), 2):
            pair = tail if len(momenta) == 2 else f"{self.suffixes[a]}_{self.suffixes[b]}"
            one, two = momenta[a], momenta[b]
            out[f"deta_{pair}"] = np.abs(one.eta - two.eta)
            out[f"dphi_{pair}"] = delta_phi(one.phi, two.phi)
            out[f"dr_{pair}"] = delta_r(one, two)
            if len(momenta) > 2:
                out[f"m_{pair}"] = system((one, two)).m
        if len(momenta) == 2:
            out[f"dpt_{tail}"] = np.abs(momenta[0].pt - momenta[1].pt)
            cosine = cos_theta_collins_soper(*momenta)
            swapped = chosen[0]["charge"] > 0 if self.charge == "opposite" else np.zeros(len(cosine), bool)
            out["cos_theta_cs"] = np.where(swapped, -cosine, cosine)
        return out

    def _missing_columns(self, events: Any, visible: Momenta) -> dict[str, Floats]:
        name = next(each for each in self.objects if each in MISSING)
        met, met_phi = missing_momentum(events, None if name == "MET" else name)
        out = {self.variable: transverse_mass(visible, met, met_phi), "met": met, "met_phi": met_phi}
        return out | {f"dphi_{self.suffixes[0]}_met": delta_phi(visible.phi, met_phi)}


def _collections(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The collections of events that objects of these kinds are in."""
    return tuple(dict.fromkeys(each for kind in kinds for each in (FLAVOURS if kind == "Lepton" else (kind,))))


def _names(given: Any, what: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        msg = f"{what} are {given!r}, expected a list of names"
        raise ConfigError(msg)
    return tuple(given)


def _check_objects(names: tuple[str, ...]) -> None:
    for name in names:
        if name not in (*KINDS, *MISSING):
            raise ConfigError(unknown_name("collection", name, (*KINDS, *MISSING)))
    missing = sum(name in MISSING for name in names)
    visible = len(names) - missing
    if not ((missing == 0 and 2 <= visible <= 6) or (missing == 1 and visible == 1)):
        msg = f"a resonance is of two to six objects, or of one and MET; got {', '.join(names) or 'none'}"
        raise ConfigError(msg)
    if "Lepton" in names and {"Electron", "Muon"} & set(names):
        msg = f"Lepton is electrons and muons together: it cannot stand beside them, got {', '.join(names)}"
        raise ConfigError(msg)
