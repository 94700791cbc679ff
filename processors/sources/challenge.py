"""The source of Dark Machines files: every line of the challenge's text an event (arXiv:2105.14027)."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.events.objects import JETS, EventObjects, kind_codes
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.branches import Rows
from resonaut.processors.sources.darkmachines import GZIP_SIGNATURE, LineReader, ParsedLines, check_units, require_good
from resonaut.processors.sources.kernels_darkmachines import REASONS

__all__ = ("DarkMachines",)

HEAD = 64 * 1024
COLLECTIONS = {"Jet": JETS, "Electron": ("e-", "e+"), "Muon": ("m-", "m+"), "Photon": ("g",)}
MALFORMED = REASONS.index("malformed line")


class DarkMachines:
    """Dark Machines CSV, plain or gzip: `Object` (kind, e, pt, eta, phi), `MET`, `weight`, `event`, `process`.

    The same objects also come as `Jet` (with `btag`), `Electron`, `Muon` (with `charge`) and `Photon`, made when they are used.
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
        columns |= _collections(objects, path)
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


class _Parsed:
    """Objects of parsed lines as branches, from which columns are made when they are used."""

    names = frozenset({"kind", "e", "pt", "eta", "phi"})

    def __init__(self, objects: EventObjects, path: str) -> None:
        self.path, self.entries = path, len(objects)
        self._objects = objects

    def empty(self, name: str) -> Any:
        return ak.unflatten(getattr(self._objects, name)[:0], np.zeros(0, np.int64))

    def read(self, name: str, start: int, stop: int) -> Any:
        return ak.unflatten(getattr(self._objects, name), self._objects.counts)[start:stop]


def _collections(objects: EventObjects, path: str) -> dict[str, Any]:
    """Columns of the collections that other sources give, each of the objects of its kinds."""
    rows = Rows(_Parsed(objects, path), 0, len(objects))
    columns: dict[str, Any] = {}
    for name, kinds in COLLECTIONS.items():
        chosen = _OfKinds(kinds)
        columns |= {f"{name}_{key}": rows.column(chosen, "kind", key) for key in ("pt", "eta", "phi")}
        columns[f"n{name}"] = rows.column(chosen.count, "kind")
        columns[f"{name}_mass"] = rows.column(chosen.mass, "kind", "e", "pt", "eta")
        if name in ("Electron", "Muon"):
            columns[f"{name}_charge"] = rows.column(chosen.charge, "kind")
    columns["Jet_btag"] = rows.column(_OfKinds(COLLECTIONS["Jet"]).is_last, "kind")
    return columns


class _OfKinds:
    """Values of the objects of some kinds."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.codes = kind_codes(kinds)

    def _mask(self, kind: Any) -> Any:
        return (kind == self.codes[0]) | (kind == self.codes[-1])

    def __call__(self, kind: Any, values: Any) -> Any:
        return values[self._mask(kind)]

    def count(self, kind: Any) -> Any:
        return ak.sum(self._mask(kind), axis=1)

    def is_last(self, kind: Any) -> Any:
        return self(kind, kind) == self.codes[-1]

    def charge(self, kind: Any) -> Any:
        return ak.where(self.is_last(kind), 1, -1)

    def mass(self, kind: Any, e: Any, pt: Any, eta: Any) -> Any:
        """Mass from the energy, 0 where rounding makes m^2 negative."""
        return self(kind, np.sqrt(np.maximum(e**2 - (pt * np.cosh(eta)) ** 2, 0.0)))
