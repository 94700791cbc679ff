"""TreeMaker ntuples (CMS; github.com/TreeMaker/TreeMaker): one tree, `PreSelection` or `tree`, four-vectors as objects of ROOT."""

from __future__ import annotations

from typing import Any

import numpy as np

from resonaut.processors.sources.branches import Rows, collection, tree_branches
from resonaut.processors.sources.root_files import is_root, trees_of
from resonaut.processors.sources.trees import BranchSource

__all__ = ("TreeMaker",)

COLLECTIONS = {"Jet": "Jets", "FatJet": "JetsAK8", "Electron": "Electrons", "Muon": "Muons", "Photon": "Photons"}
FIELDS = {
    "FatJet": {
        "tau1": "NsubjettinessTau1",
        "tau2": "NsubjettinessTau2",
        "tau3": "NsubjettinessTau3",
        "tau4": "NsubjettinessTau4",
        "msoftdrop": "softDropMass",
        "nConstituents": "multiplicity",
        "n2b1": "ecfN2b1",
        "n3b1": "ecfN3b1",
        "girth": "girth",
        "ptD": "ptD",
        "axismajor": "axismajor",
        "axisminor": "axisminor",
    },
    "Jet": {"nConstituents": "multiplicity", "btagDeepCSV": "bJetTagDeepCSVBvsAll", "btagCSVV2": "bDiscriminatorCSV"},
    "Electron": {"charge": "charge", "mediumID": "mediumID", "tightID": "tightID"},
    "Muon": {"charge": "charge", "mediumID": "mediumID", "tightID": "tightID"},
    "Photon": {"fullID": "fullID"},
}
POLAR = ("fPt", "fEta", "fPhi", "fE")


class TreeMaker(BranchSource):
    """TreeMaker: `JetsAK8` as `FatJet`, `Jets`, `Electrons`, `Muons`, `Photons`, `MET`; GeV as stored.

    Both forms of its four-vectors are read: (pT, eta, phi, E) since Run 2 legacy, and TLorentzVector before. `weight` is
    `Weight`, the cross-section in pb over the number of generated events, negative for negative weights of the generator;
    `run`, `luminosityBlock`, `event` are `RunNum`, `LumiBlockNum`, `EvtNum`.
    """

    name = "treemaker"
    trees = ("PreSelection", "TreeMaker2/PreSelection", "tree")

    def _tree(self, path: str) -> str | None:
        there = trees_of(path)
        found = [tree for tree in self.trees if tree in there]
        return next((tree for tree in found if {"EvtNum", "Jets"} <= tree_branches(path, tree).names), None)

    def recognises(self, path: str) -> bool:
        """True if the file is ROOT and has the tree of a TreeMaker."""
        return is_root(path) and self._tree(path) is not None

    def columns(self, rows: Rows) -> dict[str, Any]:
        """Columns of events from the branches of a file, in GeV and radians."""
        columns: dict[str, Any] = {}
        for name, store in COLLECTIONS.items():
            if (found := _momenta(rows, store)) is not None:
                counted, fields = found
                fields |= {key: rows.stored(f"{store}_{stored}") for key, stored in FIELDS[name].items()}
                columns |= collection(rows, name, counted, fields)
        stored = {"MET_pt": "MET", "MET_phi": "METPhi", "weight": "Weight", "run": "RunNum"}
        stored |= {"luminosityBlock": "LumiBlockNum", "event": "EvtNum"}
        return columns | {name: rows.stored(branch) for name, branch in stored.items() if branch in rows}


def _momenta(rows: Rows, store: str) -> tuple[str, dict[str, Any]] | None:
    """A branch with one value per object, and pt, eta, phi and mass; None if the file has no such collection."""
    pt, eta, phi, energy = (f"{store}.fCoordinates.{x}" for x in POLAR)
    if pt in rows:
        fields = {"pt": rows.stored(pt), "eta": rows.stored(eta), "phi": rows.stored(phi)}
        return pt, fields | {"mass": rows.column(_mass, pt, eta, energy)}
    if store not in rows:
        return None
    return store, {key: rows.column(make, store) for key, make in _CARTESIAN.items()}


def _mass(pt: Any, eta: Any, energy: Any) -> Any:
    """Mass from the energy, 0 where rounding makes m^2 negative."""
    return np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0))


def _transverse(p: Any) -> Any:
    return np.hypot(p.fP.fX, p.fP.fY)


_CARTESIAN = {
    "pt": _transverse,
    "eta": lambda p: np.arcsinh(p.fP.fZ / _transverse(p)),
    "phi": lambda p: np.arctan2(p.fP.fY, p.fP.fX),
    "mass": lambda p: np.sqrt(np.maximum(p.fE**2 - p.fP.fX**2 - p.fP.fY**2 - p.fP.fZ**2, 0.0)),
}
