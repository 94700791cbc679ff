"""Events that are there twice, and would count twice.

Of data, run, luminosity block and event number name an event, in whichever dataset it is: primary datasets overlap. Simulated
samples count anew, each by itself and some in each file, and are often one dataset: there two events are the same if they are
of the same dataset, and their content is the same as well as their numbers. It is only read where numbers repeat.

Numbers are read before anything is processed, so that it does not depend on the order of work which of two equal events
stays: the first in the fileset. They are spread over files on disk by their hash, and looked at one file after the other:
16 bytes of numbers and 8 of position per event on disk, a bounded part of them in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.running.executors import Engine
from resonaut.processors.running.faults import with_retries
from resonaut.processors.running.plan import Chunk, InputFile, Plan, cut
from resonaut.processors.running.work import Work, read_events

__all__ = ("without_duplicates",)

IDS = ("run", "luminosityBlock", "event")
DATA = "data"
"""Metadata of a dataset that say whether it is data; else its events tell."""
SIMULATED = ("genWeight", "label", "GenPart", "GenJet", "Generator")
"""Fields that data do not have. Nor have they a run 1, or weights other than 1."""
MOMENTA = (
    "GenPart", "MET", "PuppiMET", "PFMET", "Jet", "FatJet", "Muon", "Electron", "Photon", "PFCand", "PFCands", "Object",
)  # fmt: skip
"""Collections whose momenta tell two simulated events apart: the first three of them that a file has."""
NUMBERS = ("genWeight", "weight", "label", "mjj")
"""Numbers of an event that do so too."""
BATCH = 200_000
"""Events whose numbers are read at once."""
PART = 2_000_000
"""Events whose numbers are compared at once: 48 MB and their sort."""

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Found = dict[str, Any]


@dataclass(frozen=True)
class _Numbers:
    """Function of a chunk for executors: `words` (n, 2) of the numbers of its events, if it has them, and whether they are `simulated`."""

    retries: int
    pause: float

    def __call__(self, chunk: Chunk) -> dict[int, Found]:
        try:
            found, _ = with_retries(
                lambda: self.read(chunk), retries=self.retries, pause=self.pause, what=chunk.file.path
            )
        except Exception as error:  # noqa: BLE001 (what cannot be compared must not count)
            msg = (
                f"{chunk.file.path}: its event numbers cannot be read, so that duplicates would not show "
                f'({type(error).__name__}: {error}); mend the file or leave it out, or say duplicates="keep"'
            )
            return {chunk.index: {"failed": msg}}
        return {chunk.index: found}

    def read(self, chunk: Chunk) -> Found:
        file = chunk.file
        if not len(chunk):
            return {}
        reader = file.open_source()
        if not set(IDS) <= set(reader.read(file.path, chunk.start, chunk.start + 1, tree=file.tree).fields):
            return {}  # looked at in one event: other sources read all of what they are asked for
        events = read_events(chunk)
        run, block, event = (ak.to_numpy(events[name]).astype(np.uint64) for name in IDS)
        block = run << np.uint64(32) | block & np.uint64(0xFFFFFFFF)
        simulated = not file.metadata.get(DATA, not _is_simulated(events, run))
        return {"words": np.stack([block, event], axis=1), "simulated": simulated}


@dataclass(frozen=True)
class _Contents(_Numbers):
    """The same, with the content of events mixed into the numbers."""

    def read(self, chunk: Chunk) -> Found:
        found = super().read(chunk)
        if "words" not in found:
            return found
        events = ak.Array(read_events(chunk).layout)  # no vectors, which want more than momenta
        momenta = [events[name]["pt"] for name in MOMENTA if name in events.fields and "pt" in ak.fields(events[name])]
        values = [ak.sum(pt, axis=1) if pt.ndim > 1 else pt for pt in momenta[:3]]
        for value in [*values, *(events[name] for name in NUMBERS if name in events.fields)]:
            bits = ak.to_numpy(value).astype(np.float64).view(np.uint64)
            found["words"][:, 0] = _mixed(found["words"][:, 0], bits)
        return found


def _is_simulated(events: Any, run: Words) -> bool:
    weighted = "weight" in events.fields and bool((ak.to_numpy(events["weight"]) != 1).any())
    return weighted or bool((run <= 1).all()) or any(name in events.fields for name in SIMULATED)


def _mixed(one: Words, two: Words) -> Words:
    with np.errstate(over="ignore"):
        mixed: Words = one * np.uint64(0x9E3779B97F4A7C15) ^ two * np.uint64(0xC2B2AE3D27D4EB4F)
        return np.asarray((mixed ^ mixed >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9))


@dataclass
class _Spool:
    """Words of events with their positions in the fileset, spread over files by hash."""

    folder: Path
    parts: int

    def add(self, group: str, first: int, words: Words) -> None:
        """Words (n, 2) of events that follow each other from the position `first`, to be compared within their group."""
        rows = np.column_stack([words, np.uint64(first) + np.arange(len(words), dtype=np.uint64)])
        part = (_mixed(words[:, 0], words[:, 1]) >> np.uint64(32)) % np.uint64(self.parts)
        for p in range(self.parts):
            with (self.folder / f"{group}-{p}").open("ab") as file:
                file.write(np.ascontiguousarray(rows[part == p]).tobytes())

    def pairs(self, groups: Sequence[str]) -> tuple[Positions, Positions]:
        """Positions of events that repeat others of their group, and of the first that each of them repeats."""
        found = [np.empty((2, 0), np.uint64)]
        for path in (self.folder / f"{group}-{p}" for group in groups for p in range(self.parts)):
            rows = np.frombuffer(path.read_bytes(), np.uint64).reshape(-1, 3)
            rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
            again = np.flatnonzero((rows[1:, :2] == rows[:-1, :2]).all(axis=1)) + 1
            fresh = np.ones(len(rows), bool)
            fresh[again] = False
            first = np.maximum.accumulate(np.where(fresh, np.arange(len(rows)), 0))
            found.append(np.stack([rows[again, 2], rows[first[again], 2]]))
        later, first = np.concatenate(found, axis=1).astype(np.int64)
        return later, first


class _Comparison:
    """Looks for equal events in the files of a plan."""

    def __init__(self, plan: Plan, engine: Engine, folder: Path) -> None:
        self.plan, self.engine, self.folder = plan, engine, folder
        self.starts = np.concatenate([[0], np.cumsum([file.events for file in plan.files])]).astype(np.int64)
        self.numbers = {(file.dataset, file.path): i for i, file in enumerate(plan.files)}
        self.datasets = {name: f"d{i}" for i, name in enumerate(dict.fromkeys(file.dataset for file in plan.files))}
        self.failed: dict[tuple[str, str], str] = {}

    def file_of(self, position: int) -> tuple[InputFile, int]:
        """File and row of a position in the fileset."""
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.plan.files[number], position - int(self.starts[number])

    def equal(self, read: _Numbers, files: Sequence[InputFile]) -> dict[bool, tuple[Positions, Positions]]:
        """Pairs of positions of equal events, of data (False) and of simulation (True)."""
        wanted = {(file.dataset, file.path) for file in files}
        batches = [each for each in cut(self.plan, BATCH).chunks if (each.file.dataset, each.file.path) in wanted]
        by_index = {batch.index: batch for batch in batches}
        groups: dict[bool, dict[str, None]] = {False: {}, True: {}}
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            spool = _Spool(Path(name), max(1, -(-int(self.starts[-1]) // PART)))

            def keep(results: Mapping[int, Found]) -> None:
                for index, found in results.items():
                    file = by_index[index].file
                    place = file.dataset, file.path
                    if "failed" in found:  # also of a worker that died
                        self.failed.setdefault(place, found["failed"])
                    elif "words" in found:
                        group = self.datasets[file.dataset] if found["simulated"] else DATA
                        groups[found["simulated"]][group] = None
                        spool.add(group, int(self.starts[self.numbers[place]]) + by_index[index].start, found["words"])

            try:
                self.engine.run(tuple(batches), read, keep)
            except OSError as error:
                error.add_note(f"while event numbers are compared in {self.folder}: make room there, or set TMPDIR")
                raise
            return {simulated: spool.pairs(list(names)) for simulated, names in groups.items()}

    def duplicates(self, work: Work) -> tuple[Positions, Positions]:
        """Positions of all events that are there twice, and of the first of each."""
        found = self.equal(_Numbers(work.retries, work.pause), self.plan.files)
        later, first = found[False]
        if suspects := np.unique(np.searchsorted(self.starts, np.concatenate(found[True]), side="right")).tolist():
            files = [self.plan.files[number - 1] for number in suspects]
            same = self.equal(_Contents(work.retries, work.pause), files)[True]
            later, first = np.concatenate([later, same[0]]), np.concatenate([first, same[1]])
        return later, first


def _refusal(comparison: _Comparison, later: Positions, first: Positions) -> InputError:
    earliest = int(np.argmin(later))
    (a, row_a), (b, row_b) = (comparison.file_of(int(each[earliest])) for each in (first, later))
    msg = (
        f"{len(later)} events are there twice, such as event {row_b} of {b.path} (dataset {b.dataset!r}), which is event {row_a} of "
        f'{a.path} (dataset {a.dataset!r}): they would count twice. Say duplicates="drop" to use the first of each, or '
        'duplicates="keep" where they are different events. Simulation, which may repeat numbers, is known by its generator '
        f'weights or by {{"{DATA}": False}} among the metadata of a dataset'
    )
    return InputError(msg)


def without_duplicates(plan: Plan, engine: Engine, work: Work, duplicates: str) -> Plan:
    """The plan whose chunks leave out events that an earlier file or row has already.

    Parameters
    ----------
    plan : cut into chunks.
    engine : executor for reading the numbers.
    work : says how often reading is tried again, and what is done about files that cannot be read.
    duplicates : "drop" them; "error" if there are any; or "keep" them, without looking.

    Raises
    ------
    InputError
        If there are such events, without "drop"; or numbers cannot be read, unless bad files are skipped.
    """
    if duplicates == "keep":
        return plan
    with tempfile.TemporaryDirectory(prefix="resonaut-ids-") as folder:
        comparison = _Comparison(plan, engine, Path(folder))
        later, first = comparison.duplicates(work)
    if comparison.failed and work.on_bad_file == "raise":
        raise InputError("; ".join(comparison.failed.values()))
    if len(later) and duplicates == "error":
        raise _refusal(comparison, later, first)
    dropped = np.sort(later)
    chunks: list[Chunk] = []
    for chunk in plan.chunks:
        place = chunk.file.dataset, chunk.file.path
        if place in comparison.failed:
            continue
        start = int(comparison.starts[comparison.numbers[place]])
        low, high = np.searchsorted(dropped, [start + chunk.start, start + chunk.stop])
        rows = tuple((dropped[low:high] - start).tolist())
        chunks.append(replace(chunk, index=len(chunks), dropped=rows))
    return replace(plan, chunks=tuple(chunks), unread=comparison.failed)
