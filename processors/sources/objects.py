"""Sources of reconstructed objects: Dark Machines CSV, Delphes and PHYSLITE.

Their events have the collections `Jet`, `Electron`, `Muon`, `Photon` and `MET` as those of NanoAOD have, in GeV; those of CSV
have one collection, `Object`, of objects of all kinds.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
from uproot.behaviors.RNTuple import HasFields

from resonaut.errors import InputError
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.darkmachines import GZIP_SIGNATURE, LineReader, ParsedLines, check_units, require_good
from resonaut.processors.sources.kernels_darkmachines import REASONS
from resonaut.processors.sources.root import is_root, open_tree

__all__ = ("DarkMachines", "Delphes", "Physlite")

MEV = 1000.0
HEAD = 64 * 1024
MASSES = {"Electron": 0.000511, "Muon": 0.10566}  # GeV, where a file leaves them out
MALFORMED = REASONS.index("malformed line")


class DarkMachines:
    """Dark Machines CSV, plain or gzip: `Object` (kind, e, pt, eta, phi), `MET`, `weight`, `event`, `process`.

    Every line that is not blank is an event; `bad` says what is wrong with it (a place in `REASONS`, 0 for nothing), and a
    bad one has no objects. Lines may have any number of objects.
    """

    name = "darkmachines"

    def __init__(self) -> None:
        self._kept = threading.local()

    def __reduce__(self) -> tuple[type[DarkMachines], tuple[()]]:
        return DarkMachines, ()  # an open file stays in its process

    def recognises(self, path: str) -> bool:
        """True if at least half of the lines at the beginning of the file can be taken apart."""
        if "://" in path:
            return False
        try:
            with Path(path).open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            msg = f"{path}: cannot be opened ({error.strerror})"
            raise InputError(msg) from error
        whole = len(head) < HEAD
        if head.startswith(GZIP_SIGNATURE):
            try:
                head = zlib.decompressobj(31).decompress(head, 16 * HEAD)
            except zlib.error:
                return False
            whole = False
        end = head.rfind(b"\n") + 1
        lines = head if whole or end == 0 else head[:end]
        status = ParsedLines.of(np.frombuffer(lines, np.uint8), None).status
        return len(status) > 0 and bool(np.mean(status != MALFORMED) >= 0.5)

    def n_events(self, path: str, tree: str | None = None) -> int:  # noqa: ARG002 (files of lines have no trees)
        """Number of lines that are not blank; InputError if those at the beginning are all bad or not in MeV."""
        with LineReader(path) as reader:
            for i, block in enumerate(reader.blocks()):
                if i == 0:
                    parsed = ParsedLines.of(block, None)
                    check_units(path, parsed.status, parsed.events)
                    require_good(path, parsed.status)
            return reader.line

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (files of lines have no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Lines start..stop, blank ones not counted."""
        parsed = ParsedLines.of(np.concatenate([np.zeros(0, np.uint8), *self._lines(path, start, stop)]), None)
        objects, counts = parsed.events, parsed.events.counts
        columns: dict[str, Any] = {
            f"Object_{x}": ak.unflatten(getattr(objects, x), counts) for x in ("kind", "e", "pt", "eta", "phi")
        }
        columns |= {
            "nObject": ak.Array(counts),
            "MET_pt": ak.Array(objects.met),
            "MET_phi": ak.Array(objects.met_phi),
            "weight": ak.Array(objects.weight),
            "event": ak.Array(objects.event),
            "bad": ak.Array(parsed.status),
        }
        events = events_from_columns(columns, len(objects), path, start, metadata)
        return ak.with_field(events, ak.from_numpy(objects.process), "process")  # coffea takes no texts as columns

    def _lines(self, path: str, start: int, stop: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Blocks of lines; the file stays open, so that chunks in order cost one pass through it and not one each."""
        stat = Path(path).stat()
        key = (path, stat.st_mtime_ns, stat.st_size)
        reader: LineReader | None = getattr(self._kept, "reader", None)
        if reader is None or self._kept.key != key or reader.line > start:
            if reader is not None:
                reader.close()
            reader = LineReader(path)
        self._kept.reader, self._kept.key = None, key
        for _ in reader.blocks(start - reader.line):
            pass
        yield from reader.blocks(stop - start)
        self._kept.reader = reader


class _ObjectTrees:
    """What Delphes and PHYSLITE share: a tree that is not called Events, read by uproot alone."""

    name = ""
    trees: tuple[str, ...] = ()
    mark = ""  # what the name of some branch begins with

    def _tree(self, path: str) -> str | None:
        """The first of the trees of this layout that a file has."""
        try:
            with uproot.open(path) as file:
                keys = [
                    tree
                    for tree in file.keys(recursive=False, cycle=False)
                    if tree in self.trees and any(key.startswith(self.mark) for key in file[tree].keys(recursive=False))
                ]
        except Exception as error:  # uproot raises many kinds for a broken file
            msg = f"{path}: cannot be read as ROOT, the file is truncated or corrupt ({type(error).__name__}: {error})"
            raise InputError(msg) from error
        return next((tree for tree in self.trees if tree in keys), None)

    def recognises(self, path: str) -> bool:
        """True if the file is ROOT and has a tree of this layout."""
        return is_root(path) and self._tree(path) is not None

    @contextmanager
    def _open(self, path: str, tree: str | None) -> Iterator[Any]:
        with open_tree(path, tree or self._tree(path) or self.trees[0]) as opened:
            yield opened

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of entries of the tree."""
        with self._open(path, tree) as opened:
            return int(opened.num_entries)

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Entries start..stop with the collections that the file has."""
        with self._open(path, tree) as opened:
            ntuple = isinstance(opened, HasFields)  # whose nested names cost seconds, and are not needed
            keys = {key.rsplit("/", 1)[-1] for key in opened.keys(recursive=not ntuple)}

            def get(branch: str) -> Any:
                if branch not in keys:
                    return None
                return opened[branch].array(entry_start=start, entry_stop=stop)

            columns = {key: ak.to_packed(values) for key, values in self._columns(get, opened, keys).items()}
        # packed: coffea takes offsets and contents apart, and those of a slice of an RNTuple do not begin at 0
        return events_from_columns(columns, stop - start, path, start, metadata)

    def _columns(self, get: Callable[[str], Any], opened: Any, keys: set[str]) -> dict[str, Any]:
        raise NotImplementedError


def _collection(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a collection, nothing if it has no pT."""
    pt = fields.get("pt")
    if pt is None:
        return {}
    fields = {**fields}
    if fields.get("mass") is None and name in MASSES:
        fields["mass"] = ak.full_like(pt, MASSES[name])
    found = {f"{name}_{key}": values for key, values in fields.items() if values is not None}
    return {f"n{name}": ak.num(pt), **found}


class Delphes(_ObjectTrees):
    """Delphes: tree `Delphes` with `Jet.PT`, `Electron.PT`, `Muon.PT`, `Photon.PT`, `MissingET.MET`, ...

    Muons and photons may also be called `MuonTight`, `MuonLoose`, `PhotonTight`, `PhotonLoose`, and the missing momentum
    `PuppiMissingET`; the first that is there is taken. `Jet_btag` is true where the lowest bit of `Jet.BTag` is set.
    """

    name = "delphes"
    trees = ("Delphes",)
    aliases: Mapping[str, tuple[str, ...]] = {
        "Jet": ("Jet",),
        "Electron": ("Electron",),
        "Muon": ("Muon", "MuonTight", "MuonLoose"),
        "Photon": ("Photon", "PhotonTight", "PhotonLoose"),
    }

    def _columns(self, get: Callable[[str], Any], opened: Any, keys: set[str]) -> dict[str, Any]:  # noqa: ARG002
        columns: dict[str, Any] = {}
        for name, options in self.aliases.items():
            stored = next((option for option in options if f"{option}.PT" in keys), name)
            parts = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass", "charge": "Charge"}
            columns |= _collection(name, {x: get(f"{stored}.{branch}") for x, branch in parts.items()})
        if (tags := get("Jet.BTag")) is not None:
            columns["Jet_btag"] = (tags & 1) == 1
        for met in ("MissingET", "PuppiMissingET"):
            if f"{met}.MET" in keys and "MET_pt" not in columns:
                columns |= {"MET_pt": get(f"{met}.MET")[:, 0], "MET_phi": get(f"{met}.Phi")[:, 0]}
        for name, branch in (("weight", "Event.Weight"), ("event", "Event.Number")):
            if (values := get(branch)) is not None:
                columns[name] = values[:, 0]
        return columns


class Physlite(_ObjectTrees):
    """ATLAS PHYSLITE (TTree or RNTuple): `AnalysisJets`, `AnalysisElectrons`, `AnalysisMuons`, `AnalysisPhotons`.

    Energies are given in GeV. These files hold no missing momentum but only its soft terms, which the objects must be
    added to; `SoftTerm` has the one from tracks, `px` and `py`. Outputs of b-taggers come as fields of `Jet` with their own
    names (`GN2v01_pb`, ...). `weight` is the first of `mcEventWeights`.
    """

    name = "physlite"
    trees = ("CollectionTree", "EventData")  # which other derivations have too
    mark = "AnalysisJetsAux"

    def _columns(self, get: Callable[[str], Any], opened: Any, keys: set[str]) -> dict[str, Any]:  # noqa: ARG002
        dot = ":" if any(key.startswith("AnalysisJetsAuxDyn:") for key in keys) else "."

        def gev(branch: str) -> Any:
            values = get(branch)
            return None if values is None else values / MEV

        columns: dict[str, Any] = {}
        for name in ("Jet", "Electron", "Muon", "Photon"):
            store = f"Analysis{name}sAuxDyn{dot}"
            fields = {"pt": gev(store + "pt"), "mass": gev(store + "m")}
            fields |= {x: get(store + x) for x in ("eta", "phi", "charge")}
            columns |= _collection(name, fields)
        columns |= self._tags(get, keys, dot) | self._soft_term(get, dot)
        weights, event = get(f"EventInfoAuxDyn{dot}mcEventWeights"), get(f"EventInfoAuxDyn{dot}eventNumber")
        if weights is not None:
            columns["weight"] = ak.fill_none(ak.firsts(weights), np.nan)
        if event is not None:
            columns["event"] = event
        return columns

    def _soft_term(self, get: Callable[[str], Any], dot: str) -> dict[str, Any]:
        store = f"MET_Core_AnalysisMETAuxDyn{dot}"
        names, px, py = (get(store + x) for x in ("name", "mpx", "mpy"))
        if names is None or px is None or py is None:
            return {}
        from_tracks = names == "PVSoftTrkCore"
        return {
            f"SoftTerm_{x}": ak.fill_none(ak.firsts(values[from_tracks]), np.nan) / MEV
            for x, values in (("px", px), ("py", py))
        }

    def _tags(self, get: Callable[[str], Any], keys: set[str], dot: str) -> dict[str, Any]:
        """Outputs of the b-taggers, each jet's through its link."""
        stored = f"AnalysisJetsAuxDyn{dot}btaggingLink"
        nested = get(stored) if dot == ":" else None
        link = nested["m_persIndex"] if nested is not None else get(f"{stored}.m_persIndex")
        store = f"BTagging_AntiKt4EMPFlowAuxDyn{dot}"
        taggers = [
            key.removeprefix(store) for key in keys if key.startswith(store) and key[-3:] in ("_pb", "_pc", "_pu")
        ]
        if link is None:
            return {}
        return {f"Jet_{name}": get(store + name)[ak.values_astype(link, np.int64)] for name in sorted(taggers)}
