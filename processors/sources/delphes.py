"""Delphes trees (de Favereau et al., arXiv:1307.6346), whatever the card has called its collections."""

from __future__ import annotations

import re
from typing import Any

import awkward as ak
import numpy as np

from resonaut.processors.sources.branches import Rows, collection
from resonaut.processors.sources.trees import BranchSource

__all__ = ("Delphes",)

ALIASES: dict[str, tuple[str, ...]] = {
    "Jet": ("Jet", "ParticleFlowJet04", "ParticleFlowJet05", "JetPUPPI", "PuppiJet", "JetAK4"),
    "Electron": ("Electron", "ElectronMedium", "ElectronTight", "ElectronLoose"),
    "Muon": ("Muon", "MuonTight", "MuonLoose"),
    "Photon": ("Photon", "PhotonTight", "PhotonLoose"),
}
FAT = re.compile(
    r"(?:ParticleFlow|PF|Puppi|PUPPI|AK|Fat|Large|Jet|anti|Kt|KT|R|_)*(08|8|10|12|15)(?:Jets?|PUPPI|Puppi|_)*"
)
NOT_RECO = ("Gen", "Calo", "Track", "Truth")
ANY = "FatJet"
TRACKS = ("EFlowTrack", "EFlowTracks")
TOWERS = ("EFlowPhoton", "EFlowNeutralHadron")
BOTH = "EFlowTower"  # of both, in cards that do not tell them apart: never in addition
PROBED = 500
"""Entries at the beginning of a file in which substructure is looked for: Delphes writes zeros where it was not asked for."""


class Delphes(BranchSource):
    """Delphes: tree `Delphes` with `Jet.PT`, `Electron.PT`, `Muon.PT`, `Photon.PT`, `MissingET.MET`, ...

    - `FatJet` is the collection of that name, or the one whose name has a radius of 0.8 or more (`ParticleFlowJet10`,
      `JetAK8`, ...). `Tau[5]` gives `tau1` ... `tau5`, `SoftDroppedP4[0]` gives `msoftdrop`, where the card has computed
      them.
    - `PFCand` are the objects of energy flow (`EFlowTrack`, `EFlowPhoton`, `EFlowNeutralHadron`), the particles that
      Delphes clusters. Towers have no mass; tracks have the mass that is stored, or none, as in the versions of Delphes
      that do not store it. `Tower` and `Track` are not taken in their place: together they count charged energy twice.
    - The first of `Muon`, `MuonTight`, `MuonLoose` is taken, and so for electrons and photons; `MissingET`, else
      `PuppiMissingET`. `Jet_btag` is true where the lowest bit of `Jet.BTag` is set.
    """

    name = "delphes"
    trees = ("Delphes",)

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of events from the branches of a file, in GeV and radians."""
        columns: dict[str, Any] = {}
        for name, options in ALIASES.items():
            found = rows.first(f"{option}.PT" for option in options)
            if found is not None:
                columns |= collection(rows, name, found, _jet(rows, name, found.removesuffix(".PT")))
        if fat := fat_jets(rows.branches.names):
            columns |= collection(rows, ANY, f"{fat}.PT", _jet(rows, ANY, fat))
        return columns | _particles(rows) | _event(rows)


def fat_jets(names: frozenset[str]) -> str | None:
    """The collection of large-radius jets among the names of a file's branches.

    Examples
    --------
    >>> fat_jets(frozenset({"Jet.PT", "ParticleFlowJet04.PT", "ParticleFlowJet10.PT", "GenParticleFlowJet10.PT"}))
    'ParticleFlowJet10'
    >>> fat_jets(frozenset({"Jet.PT", "GenJet.PT"})) is None
    True
    """
    stores = sorted(name.removesuffix(".PT") for name in names if name.endswith(".PT"))
    if ANY in stores:
        return ANY
    wide = [store for store in stores if "Jet" in store and not store.startswith(NOT_RECO) and FAT.fullmatch(store)]
    return min(wide, key=lambda store: (_radius(store) != 0.8, _radius(store), store), default=None)


def _radius(store: str) -> float:
    match = FAT.fullmatch(store)
    return int(match[1]) / 10 if match else 0.0


def _jet(rows: Rows, name: str, store: str) -> dict[str, Any]:
    """Fields of a collection of jets or leptons."""
    stored = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass", "charge": "Charge"}
    fields: dict[str, Any] = {key: rows.stored(f"{store}.{branch}") for key, branch in stored.items()}
    if name not in ("Jet", ANY):
        return fields
    if (tags := f"{store}.BTag") in rows:
        fields["btag"] = rows.column(lambda bits: (bits & 1) == 1, tags)
    if (charged := f"{store}.NCharged") in rows and (neutral := f"{store}.NNeutrals") in rows:
        fields["nConstituents"] = rows.column(lambda one, two: one + two, charged, neutral)
    if _computed(rows, taus := f"{store}.Tau[5]"):
        fields |= {f"tau{n + 1}": rows.stored(f"{taus}[{n}]") for n in range(5)}
    if _computed(rows, groomed := f"{store}.SoftDroppedP4[5]"):
        fields["msoftdrop"] = rows.column(_mass, f"{groomed}[0]")
    return fields


def _computed(rows: Rows, name: str) -> bool:
    """True if a file has a quantity and not only zeros, as far as its beginning shows; the same for all parts of it."""
    if name not in rows:
        return False
    values = rows.branches.read(name, 0, min(PROBED, rows.branches.entries))
    flat = values.fE if "fE" in values.fields else values
    return bool(ak.any(flat != 0, axis=None))


def _mass(momenta: Any) -> Any:
    """Invariant mass of TLorentzVectors, 0 where rounding makes m^2 negative."""
    squared = momenta.fE**2 - momenta.fP.fX**2 - momenta.fP.fY**2 - momenta.fP.fZ**2
    return np.sqrt(np.maximum(squared, 0.0))


def _particles(rows: Rows) -> dict[str, Any]:
    """`PFCand` from the objects of energy flow."""
    tracks = rows.first(f"{store}.PT" for store in TRACKS)
    towers = [store for store in TOWERS if f"{store}.ET" in rows] or [t for t in (BOTH,) if f"{t}.ET" in rows]
    if tracks is None or not towers:
        return {}
    store = tracks.removesuffix(".PT")

    def joined(of_track: str, of_tower: str) -> Any:
        names = [f"{store}.{of_track}", *(f"{tower}.{of_tower}" for tower in towers)]
        return rows.column(lambda *parts: ak.concatenate([_float(part) for part in parts], axis=1), *names)

    fields = {"pt": joined("PT", "ET"), "eta": joined("Eta", "Eta"), "phi": joined("Phi", "Phi")}
    mass = f"{store}.Mass" if f"{store}.Mass" in rows else tracks
    fields["mass"] = rows.column(_Masses(stored=mass != tracks), mass, *(f"{tower}.ET" for tower in towers))
    if (charge := f"{store}.Charge") in rows:
        fields["charge"] = rows.column(_charges, charge, *(f"{tower}.ET" for tower in towers))
    count = rows.column(
        lambda *parts: sum(ak.num(part) for part in parts), tracks, *(f"{tower}.ET" for tower in towers)
    )
    return {"nPFCand": count, **{f"PFCand_{key}": values for key, values in fields.items()}}


def _float(values: Any) -> Any:
    return ak.values_astype(values, np.float32)


class _Masses:
    """Masses of tracks, where they are stored, and of towers, which have none."""

    def __init__(self, *, stored: bool) -> None:
        self.stored = stored

    def __call__(self, tracks: Any, *towers: Any) -> Any:
        of_tracks = tracks if self.stored else ak.zeros_like(tracks)
        return ak.concatenate([_float(of_tracks), *(_float(ak.zeros_like(tower)) for tower in towers)], axis=1)


def _charges(tracks: Any, *towers: Any) -> Any:
    return ak.concatenate([tracks, *(ak.zeros_like(tower, dtype=np.int32) for tower in towers)], axis=1)


def _event(rows: Rows) -> dict[str, Any]:
    """Missing momentum, weight and number of each event."""
    columns: dict[str, Any] = {}
    found = rows.first(("MissingET.MET", "PuppiMissingET.MET"))
    if found is not None:
        store = found.removesuffix(".MET")
        columns["MET_pt"] = rows.column(_first, found)
        columns["MET_phi"] = rows.column(_first, f"{store}.Phi")
    for name, branch in (("weight", "Event.Weight"), ("event", "Event.Number")):
        if branch in rows:
            columns[name] = rows.column(_first, branch)
    return columns


def _first(values: Any) -> Any:
    """The one object of each event."""
    return values[:, 0] if len(values) else ak.flatten(values)
