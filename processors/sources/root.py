"""ROOT sources, read through coffea's NanoEvents: NanoAOD, PFNano and plain trees of particles.

Arrays are virtual: a branch is read when it is first used. A file that breaks then raises uproot's error from inside
the processor; `resonaut.processors.running.run` tells it from the processor's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import uproot
from coffea.nanoevents import NanoEventsFactory

from resonaut.errors import InputError
from resonaut.processors.events.schema import ParticleSchema

__all__ = ("NanoAOD", "PFNano", "ParticleTree", "is_root", "open_tree", "write_particle_tree")

ROOT_SIGNATURE = b"root"
TREE = "Events"


def is_root(path: str) -> bool:
    """True if a file begins as ROOT files do; remote ones are judged by their name."""
    if "://" in path:
        return path.split("?", maxsplit=1)[0].endswith(".root")
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == ROOT_SIGNATURE
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error


def _require_whole(path: str, promised: int) -> None:
    """Compare the length in the header with the file: uproot only sees a missing end when it reads there."""
    if "://" not in path and (found := Path(path).stat().st_size) < promised:
        msg = f"{path}: truncated, the header promises {promised} bytes and the file has {found}; copy it again"
        raise InputError(msg)


@contextmanager
def open_tree(path: str, tree: str | None) -> Iterator[Any]:
    """A tree or RNTuple of a file, `Events` unless another is named; InputError if the file or the tree is not there."""
    name = tree or TREE
    try:
        with uproot.open(path) as file:
            _require_whole(path, file.file.fEND)
            if name not in file:
                msg = f"{path}: got {sorted(file.keys(cycle=False))[:8]}, expected a tree {name!r}"
                raise InputError(msg)
            yield file[name]
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds for a broken file
        msg = f"{path}: cannot be read as ROOT, the file is truncated or corrupt ({type(error).__name__}: {error})"
        raise InputError(msg) from error


class _Trees:
    """What all ROOT sources share."""

    name = ""

    def _takes(self, branches: set[str]) -> bool:
        raise NotImplementedError

    def recognises(self, path: str) -> bool:
        """True if the file is ROOT and its tree `Events` has the branches of this layout."""
        if not is_root(path):
            return False
        with open_tree(path, None) as tree:
            return self._takes({name.rsplit(".", 1)[-1] for name in tree.keys()})  # noqa: SIM118 (uproot: keys only)

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of entries of the tree."""
        with open_tree(path, tree) as opened:
            return int(opened.num_entries)

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Entries start..stop as virtual NanoEvents."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return NanoEventsFactory.from_root(
                    {path: tree or TREE},
                    entry_start=start,
                    entry_stop=stop,
                    schemaclass=ParticleSchema,
                    metadata=dict(metadata or {"filename": path}),
                ).events()
        except Exception as error:  # uproot raises many kinds for a broken file
            msg = f"{path}: cannot be read as ROOT, the file is truncated or corrupt ({type(error).__name__}: {error})"
            raise InputError(msg) from error


class ParticleTree(_Trees):
    """A plain tree `Events` of particles: `nPFCand`, `PFCand_pt`, `_eta`, `_phi`, `_mass`; optional `label`, `weight`."""

    name = "particles-root"

    def _takes(self, branches: set[str]) -> bool:
        return {f"PFCand_{x}" for x in ("pt", "eta", "phi", "mass")} <= branches


class NanoAOD(_Trees):
    """CMS NanoAOD with a collection `FatJet`, `ScoutingFatJet` or `Jet`."""

    name = "nanoaod"

    def _takes(self, branches: set[str]) -> bool:
        return bool({"FatJet_pt", "ScoutingFatJet_pt", "Jet_pt"} & branches)


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
