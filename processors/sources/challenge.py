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
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.darkmachines import GZIP_SIGNATURE, LineReader, ParsedLines, check_units, require_good
from resonaut.processors.sources.kernels_darkmachines import REASONS

__all__ = ("DarkMachines",)

HEAD = 64 * 1024
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
