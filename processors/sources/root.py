"""NanoAOD, PFNano and plain trees of particles: TTrees through coffea's NanoEvents, RNTuples through uproot.

Arrays are virtual: a branch is read when it is first used. A file that breaks then raises uproot's error from inside
the processor; `resonaut.processors.running.run` tells it from the processor's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import uproot
from coffea.nanoevents import NanoEventsFactory

from resonaut.errors import InputError, ResonautError
from resonaut.processors.events.schema import ParticleSchema, events_from_columns
from resonaut.processors.sources.branches import Rows, TreeBranches, tree_branches
from resonaut.processors.sources.remote import remote_options
from resonaut.processors.sources.root_files import TREE, is_root, trees_of, unreadable

__all__ = ("NanoAOD", "PFNano", "ParticleTree", "is_root", "write_particle_tree")


class _Trees:
    """What all ROOT sources share."""

    name = ""

    def _takes(self, branches: set[str]) -> bool:
        raise NotImplementedError

    def recognises(self, path: str) -> bool:
        """True if the file is ROOT and its tree `Events` has the branches of this layout."""
        if not is_root(path) or TREE not in trees_of(path):
            return False
        return self._takes({name.rsplit(".", 1)[-1] for name in tree_branches(path, TREE).names})

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of entries of the tree."""
        return tree_branches(path, tree or TREE).entries

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Entries start..stop as virtual NanoEvents."""
        branches = tree_branches(path, tree or TREE)
        if branches.is_ntuple:
            return _of_ntuple(branches, start, stop, metadata)
        try:
            file, name = branches.where  # parsed already
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return NanoEventsFactory.from_root(
                    file,
                    treepath=name,
                    entry_start=start,
                    entry_stop=stop,
                    schemaclass=ParticleSchema,
                    metadata=dict(metadata or {"filename": path}),
                    uproot_options=remote_options(path),
                ).events()
        except ResonautError:
            raise
        except Exception as error:  # uproot raises many kinds for a broken file
            raise unreadable(path, error) from error


def _of_ntuple(branches: TreeBranches, start: int, stop: int, metadata: Mapping[str, Any] | None) -> Any:
    """Entries of an RNTuple, without the names of all its nested fields, for which coffea waits seconds in every chunk."""
    rows = Rows(branches, start, min(stop, branches.entries))
    columns = {}
    for name in sorted(branches.names):
        try:
            columns[name] = rows.stored(name)
        except InputError:  # texts, and whatever else events of numbers do not have
            continue
    return events_from_columns(columns, max(0, rows.stop - start), branches.path, start, metadata)


class ParticleTree(_Trees):
    """A plain tree `Events` of particles: `nPFCand`, `PFCand_pt`, `_eta`, `_phi`, `_mass`; optional `label`, `weight`."""

    name = "particles-root"

    def _takes(self, branches: set[str]) -> bool:
        return {f"PFCand_{x}" for x in ("pt", "eta", "phi", "mass")} <= branches


class NanoAOD(_Trees):
    """CMS NanoAOD with jets (`FatJet`, `ScoutingFatJet`, `Jet`), or with leptons or photons and no particles."""

    name = "nanoaod"

    def _takes(self, branches: set[str]) -> bool:
        jets, others = {"FatJet_pt", "ScoutingFatJet_pt", "Jet_pt"}, {"Muon_pt", "Electron_pt", "Photon_pt"}
        return bool(jets & branches) or (bool(others & branches) and "PFCand_pt" not in branches)


class PFNano(_Trees):
    """NanoAOD whose fat jets point to their particle-flow candidates (PFNano, and NanoAOD since version 15)."""

    name = "pfnano"

    def _takes(self, branches: set[str]) -> bool:
        return "FatJet_pt" in branches and bool({"FatJetPFCands_pFCandsIdx", "FatJetPFCand_pfCandIdx"} & branches)


def write_particle_tree(path: str | Path, particles: Any, **event_columns: Any) -> None:
    """Write particles as the plain tree that `ParticleTree` reads.

    Parameters
    ----------
    path : file to write.
    particles : awkward array of events with fields pt, eta, phi, mass (GeV, radians).
    event_columns : arrays with one number per event, such as `label` and `weight`.
    """
    zipped = ak.zip({x: ak.values_astype(particles[x], "float32") for x in ("pt", "eta", "phi", "mass")})
    with uproot.recreate(path) as file:
        file.mktree(TREE, {"PFCand": zipped.type.content, **{k: v.dtype for k, v in event_columns.items()}})
        file[TREE].extend({"PFCand": zipped, **event_columns})
