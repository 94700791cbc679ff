"""Events that are there twice: the same run, luminosity block and event number (and label) within a dataset.

Numbers are read before anything is processed, so that it does not depend on the order of work which of two equal events
stays: the first in the fileset. They are spread over files on disk by their hash, and looked at one file after the other:
16 bytes of numbers and 8 of position per event on disk, a bounded part of them in memory.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.running.executors import Engine
from resonaut.processors.running.faults import with_retries
from resonaut.processors.running.plan import Chunk, Plan, cut
from resonaut.processors.running.work import read_events
from resonaut.processors.sources.registry import source

__all__ = ("without_duplicates",)

IDS = ("run", "luminosityBlock", "event")
BATCH = 200_000
"""Events whose numbers are read at once."""
PART = 2_000_000
"""Events whose numbers are compared at once: 48 MB and their sort."""

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Ids:
    """Function of a chunk for executors: the numbers of its events (n, 2), or None where the file has none."""

    retries: int
    pause: float

    def __call__(self, chunk: Chunk) -> dict[int, dict[str, Any]]:
        try:
            ids, _ = with_retries(
                lambda: self._read(chunk), retries=self.retries, pause=self.pause, what=chunk.file.path
            )
        except Exception:  # noqa: BLE001 (a file that cannot be read is reported when its events are)
            ids = None
        return {chunk.index: {"ids": ids}}

    def _read(self, chunk: Chunk) -> Words | None:
        file = chunk.file
        if not len(chunk):
            return None
        reader = source(file.source)
        if not set(IDS) <= set(reader.read(file.path, chunk.start, chunk.start + 1, tree=file.tree).fields):
            return None  # looked at in one event: other sources read all of what they are asked for
        events = read_events(chunk)
        run, block, event = (ak.to_numpy(events[name]).astype(np.uint64) for name in IDS)
        block |= run << np.uint64(32)
        if "label" in events.fields:  # simulated processes count anew: in the byte that no run number reaches
            block ^= (ak.to_numpy(events["label"]).astype(np.int64).view(np.uint64) & np.uint64(0xFF)) << np.uint64(56)
        return np.stack([block, event], axis=1)


@dataclass
class _Spool:
    """Event numbers with their positions in the fileset, spread over files by hash."""

    folder: Path
    parts: int
    positions: npt.NDArray[np.int64]
    failed: set[str] = field(default_factory=set)

    def add(self, chunk: Chunk, file_number: int, dataset: int, ids: Words) -> None:
        first = np.uint64(self.positions[file_number] + chunk.start)
        rows = np.column_stack([ids, first + np.arange(len(ids), dtype=np.uint64)])
        with np.errstate(over="ignore"):
            mixed = ids[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ ids[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
        part = (mixed >> np.uint64(32)) % np.uint64(self.parts)
        for p in range(self.parts):
            with (self.folder / f"{dataset}-{p}").open("ab") as file:
                file.write(np.ascontiguousarray(rows[part == p]).tobytes())

    def pairs(self) -> Iterator[tuple[Words, Words]]:
        """Later positions of equal events, and the first positions that they repeat, part by part."""
        for path in sorted(self.folder.iterdir()):
            rows = np.frombuffer(path.read_bytes(), np.uint64).reshape(-1, 3)
            rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
            again = np.flatnonzero((rows[1:, :2] == rows[:-1, :2]).all(axis=1)) + 1
            if len(again):
                fresh = np.ones(len(rows), bool)
                fresh[again] = False
                first = np.maximum.accumulate(np.where(fresh, np.arange(len(rows)), 0))
                yield rows[again, 2], rows[first[again], 2]


def _where(positions: npt.NDArray[np.int64], position: int) -> tuple[int, int]:
    number = int(np.searchsorted(positions, position, side="right")) - 1
    return number, position - int(positions[number])


def _refuse(plan: Plan, positions: npt.NDArray[np.int64], count: int, later: int, first: int) -> InputError:
    (a, row_a), (b, row_b) = _where(positions, first), _where(positions, later)
    msg = (
        f"{count} events of dataset {plan.files[b].dataset!r} have the run, luminosity block and event number of another: "
        f"event {row_b} of {plan.files[b].path} that of event {row_a} of {plan.files[a].path}. "
        'Say duplicates="drop" to use the first of each, or, where they are different events (simulated samples that count '
        'anew), duplicates="keep" or a dataset for each sample'
    )
    return InputError(msg)


def without_duplicates(plan: Plan, engine: Engine, *, drop: bool, retries: int, pause: float) -> Plan:
    """The plan whose chunks leave out events that an earlier file or row has already.

    Parameters
    ----------
    plan : cut into chunks.
    engine : executor for reading the numbers.
    drop : leave them out; otherwise they are an error.
    retries, pause : repetitions of reading after transient errors.

    Raises
    ------
    InputError
        If there are such events, without `drop`.
    """
    numbers = {(file.dataset, file.path): i for i, file in enumerate(plan.files)}
    datasets = {file.dataset: i for i, file in enumerate(dict.fromkeys(plan.files))}
    positions = np.concatenate([[0], np.cumsum([file.events for file in plan.files])]).astype(np.int64)
    batches = {chunk.index: chunk for chunk in cut(plan, BATCH).chunks}
    with tempfile.TemporaryDirectory(prefix="resonaut-ids-") as folder:
        spool = _Spool(Path(folder), max(1, -(-int(positions[-1]) // PART)), positions)

        def keep(found: dict[int, dict[str, Any]]) -> None:
            for index, entry in found.items():
                chunk = batches[index]
                if entry.get("ids") is not None:
                    number = numbers[chunk.file.dataset, chunk.file.path]
                    spool.add(chunk, number, datasets[chunk.file.dataset], entry["ids"])

        engine.run(tuple(batches.values()), _Ids(retries, pause), keep)
        dropped: dict[int, list[int]] = defaultdict(list)
        count = 0
        example: tuple[int, int] | None = None
        for later, first in spool.pairs():
            count += len(later)
            earliest = int(np.argmin(later))
            if example is None or int(later[earliest]) < example[0]:
                example = int(later[earliest]), int(first[earliest])
            for position in later.tolist():
                number, row = _where(positions, position)
                dropped[number].append(row)
    if example is None:
        return plan
    if not drop:
        raise _refuse(plan, positions, count, *example)
    chunks = []
    for chunk in plan.chunks:
        rows = dropped.get(numbers[chunk.file.dataset, chunk.file.path], [])
        chunks.append(replace(chunk, dropped=tuple(sorted(row for row in rows if chunk.start <= row < chunk.stop))))
    return replace(plan, chunks=tuple(chunks))
