"""ATLAS PHYSLITE (TTree or RNTuple): everything in GeV, jets of large radius as `FatJet`."""

from __future__ import annotations

import re
from typing import Any

import awkward as ak
import numpy as np

from resonaut.errors import InputError
from resonaut.processors.sources.branches import Rows, collection
from resonaut.processors.sources.trees import BranchSource

__all__ = ("Physlite",)

GEV = 1e-3
LARGE = ("AnalysisLargeRJets",)
GROOMED = re.compile(r"AntiKt10.*(?:SoftDrop|Trimmed).*Jets")
TRUTH = "Truth"
# canonical names of what a file has of the substructure of its jets, and the power of the energy in it
MOMENTS = {
    "Tau1_wta": ("tau1", 0),
    "Tau2_wta": ("tau2", 0),
    "Tau3_wta": ("tau3", 0),
    "Tau4_wta": ("tau4", 0),
    "C2": ("c2", 0),
    "D2": ("d2", 0),
    "ECF1": ("ecf1", 1),
    "ECF2": ("ecf2", 2),
    "ECF3": ("ecf3", 3),
    "Split12": ("split12", 1),
    "Split23": ("split23", 1),
    "Qw": ("qw", 1),
}


class Physlite(BranchSource):
    """ATLAS PHYSLITE: `AnalysisJets`, `AnalysisLargeRJets`, `AnalysisElectrons`, `AnalysisMuons`, `AnalysisPhotons`.

    Energies are given in GeV. Jets of large radius (anti-kT, R = 1.0, groomed) are `FatJet`, their moments `tau1` ...
    (winner-take-all axes), `c2`, `d2`, `ecf1` ... (sums over energies in GeV), `split12`, `split23`, `qw`; their mass is that
    of the groomed jet. These files hold no missing momentum but only its soft terms, which the objects must be added to;
    `SoftTerm` has the one from tracks, `px` and `py`. Outputs of taggers come as fields of `Jet` and `FatJet` with their own
    names (`GN2v01_pb`, `GN2Xv01_phbb`, ...). `weight` is the first of `mcEventWeights`.
    """

    name = "physlite"
    trees = ("CollectionTree", "EventData")  # which other derivations have too
    mark = "AnalysisJetsAux"

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of events from the branches of a file, in GeV and radians."""
        dot = ":" if any(key.startswith("AnalysisJetsAuxDyn:") for key in rows.branches.names) else "."
        columns: dict[str, Any] = {}
        for name in ("Jet", "Electron", "Muon", "Photon"):
            store = f"Analysis{name}sAuxDyn{dot}"
            columns |= collection(rows, name, store + "pt", _kinematics(rows, store))
        if large := large_jets(rows.branches.names, dot):
            store = f"{large}AuxDyn{dot}"
            columns |= collection(rows, "FatJet", store + "pt", _kinematics(rows, store) | _moments(rows, store))
        return columns | _tags(rows, dot) | _soft_term(rows, dot) | _event(rows, dot)


def large_jets(names: frozenset[str], dot: str = ".") -> str | None:
    """The container of reconstructed jets of large radius among the names of a file's branches.

    Examples
    --------
    >>> large_jets(frozenset({"AntiKt10TruthSoftDropBeta100Zcut10JetsAuxDyn.pt", "AnalysisLargeRJetsAuxDyn.pt"}))
    'AnalysisLargeRJets'
    """
    ending = f"AuxDyn{dot}pt"
    stores = sorted(name.removesuffix(ending) for name in names if name.endswith(ending))
    groomed = [store for store in stores if GROOMED.fullmatch(store) and TRUTH not in store]
    return next((store for store in (*LARGE, *groomed) if store in stores), None)


def _kinematics(rows: Rows, store: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"pt": rows.stored(store + "pt", GEV), "mass": rows.stored(store + "m", GEV)}
    return fields | {key: rows.stored(store + key) for key in ("eta", "phi", "charge")}


def _moments(rows: Rows, store: str) -> dict[str, Any]:
    """Substructure and taggers of large-radius jets."""
    fields = {name: rows.stored(store + moment, GEV**power) for moment, (name, power) in MOMENTS.items()}
    taggers = [key.removeprefix(store) for key in rows.branches.names if key.startswith(store + "GN2X")]
    return fields | {name: rows.stored(store + name) for name in sorted(taggers)}


def _soft_term(rows: Rows, dot: str) -> dict[str, Any]:
    store = f"MET_Core_AnalysisMETAuxDyn{dot}"
    if any(store + key not in rows for key in ("name", "mpx", "mpy")):
        return {}

    def from_tracks(names: Any, values: Any) -> Any:
        return ak.fill_none(ak.firsts(values[names == "PVSoftTrkCore"]), np.nan) * GEV

    return {f"SoftTerm_{x}": rows.column(from_tracks, store + "name", f"{store}m{x}") for x in ("px", "py")}


def _tags(rows: Rows, dot: str) -> dict[str, Any]:
    """Outputs of the b-taggers, each jet's through its link."""
    link = f"AnalysisJetsAuxDyn{dot}btaggingLink" + ("" if dot == ":" else ".m_persIndex")
    store = f"BTagging_AntiKt4EMPFlowAuxDyn{dot}"
    names = rows.branches.names
    taggers = [key.removeprefix(store) for key in names if key.startswith(store) and key[-3:] in ("_pb", "_pc", "_pu")]
    if link not in rows:
        return {}

    def linked(links: Any, values: Any) -> Any:
        places = links["m_persIndex"] if dot == ":" else links
        return values[ak.values_astype(places, np.int64)]

    return {f"Jet_{name}": rows.column(linked, link, store + name) for name in sorted(taggers)}


def _event(rows: Rows, dot: str) -> dict[str, Any]:
    store = f"EventInfoAuxDyn{dot}"
    columns: dict[str, Any] = {}
    if (weights := store + "mcEventWeights") in rows:
        columns["weight"] = rows.column(lambda values: ak.fill_none(ak.firsts(values), np.nan), weights)
    for name, stored in (("run", "runNumber"), ("luminosityBlock", "lumiBlock"), ("event", "eventNumber")):
        if (branch := store + stored) in rows:
            try:
                columns[name] = rows.column(lambda values: values, branch)
            except InputError:  # not a plain number in this version: events are read without it
                continue
    return columns
