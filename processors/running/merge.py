"""Results of chunks become one: in the order of the fileset, whatever the order in which they come.

Each file's chunks are merged as they come, in order; a file enters the total when it is whole, after those before it. So
a file that turns out to have changed under way can be left out entirely, and results do not depend on executors.
Event tables, the large part, are never added up here: pieces stay where they are (on disk with a cache), until they are
asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from coffea.processor import accumulate, column_accumulator

from resonaut.errors import IncompleteError
from resonaut.processors.running import archive
from resonaut.processors.running.ledger import FileBooks, Ledger
from resonaut.processors.running.plan import Chunk, InputFile, Plan
from resonaut.processors.running.work import Outcome, result_path
from resonaut.processors.variations import completed, shared_columns

__all__ = ("Merger", "Piece", "common_columns", "join_tables")

log = logging.getLogger(__name__)

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Piece:
    """Rows of one chunk for a dataset's event table: in memory, or in the archive that holds them."""

    dataset: str
    types: dict[str, np.dtype[Any]]
    rows: int
    columns: Columns | None = None
    path: Path | None = None

    def read(self) -> Columns:
        """Columns by name."""
        if self.columns is not None:
            return self.columns
        assert self.path is not None
        tables = archive.load(self.path, keys=("tables",))["tables"]
        return {name: column.value for name, column in tables[self.dataset].items()}


@dataclass
class _FileState:
    """A file whose chunks are coming in."""

    file: InputFile
    chunks: list[Chunk]
    books: FileBooks
    next: int = 0
    output: Any = None
    pieces: list[Piece] = field(default_factory=list)
    changed: bool = False


def _pieces(tables: Mapping[str, Any], path: Path | None) -> Iterator[Piece]:
    for dataset, table in tables.items():
        columns = {name: column.value for name, column in table.items()}
        types = {name: column.dtype for name, column in columns.items()}
        rows = len(next(iter(columns.values())))
        yield Piece(dataset, types, rows, None if path else columns, path)


class Merger:
    """Takes outcomes of chunks in any order.

    Parameters
    ----------
    plan : the run's.
    folder : where workers keep results; None if they hand them back.
    spool : where this process keeps results that are handed back, so that tables are not in memory; None to hold them.
    """

    def __init__(self, plan: Plan, folder: Path | None, spool: Path | None) -> None:
        self.plan, self.folder, self.spool = plan, folder, spool
        self.output: Any = None
        self.pieces: list[Piece] = []
        self.metrics: list[dict[str, Any]] = []
        self.retries = plan.retries
        self.killed: list[str] = []
        self.done_events = 0
        self.done_chunks = 0
        by_file: dict[tuple[str, str], list[Chunk]] = {(file.dataset, file.path): [] for file in plan.files}
        for chunk in plan.chunks:
            by_file[chunk.file.dataset, chunk.file.path].append(chunk)
        self._waiting: dict[int, Outcome] = {}
        self._files = [
            _FileState(file, by_file[file.dataset, file.path], FileBooks(file.dataset, file.path, file.events))
            for file in plan.files
        ]
        self._of_chunk = {chunk.index: state for state in self._files for chunk in state.chunks}
        self._first = 0
        self._advance()

    def add(self, results: Mapping[int, Outcome]) -> None:
        """Take what became of some chunks."""
        for index, outcome in results.items():
            state = self._of_chunk[index]
            chunk = self.plan.chunks[index]
            self.retries += outcome.get("retries", 0)
            if "metrics" in outcome:
                self.retries += outcome["metrics"]["retries"]
                row = {"file": chunk.file.path, "start": chunk.start, "stop": chunk.stop, **outcome["metrics"]}
                self.metrics.append(row)
            self.done_chunks += 1
            self.done_events += len(chunk)
            self._waiting[index] = self._spooled(chunk, outcome)
            while state.next < len(state.chunks) and state.chunks[state.next].index in self._waiting:
                self._take(state, state.chunks[state.next])
                state.next += 1
        self._advance()

    def _spooled(self, chunk: Chunk, outcome: Outcome) -> Outcome:
        if self.spool is None or "output" not in outcome:
            return outcome
        content = {key: outcome[key] for key in ("read", "skipped", "output", "tables")}
        archive.save(result_path(self.spool, chunk), content)
        return {"kept": True}

    def _take(self, state: _FileState, chunk: Chunk) -> None:
        outcome = self._waiting.pop(chunk.index)
        books = state.books
        if "failed" in outcome:
            self.killed += [outcome["failed"]] if outcome.get("killed") else []
            books.lost += len(chunk)
            books.reason = books.reason or outcome["failed"]
            state.changed |= bool(outcome.get("changed"))
            return
        path = None
        if "kept" in outcome:
            path = result_path(self.folder or self.spool or Path(), chunk)
            outcome = archive.load(path)
        books.read += outcome["read"]
        books.duplicates += len(chunk.dropped)
        for reason, count in outcome["skipped"].items():
            books.skipped[reason] = books.skipped.get(reason, 0) + count
        state.pieces += _pieces(outcome["tables"], path)
        state.output = accumulate([outcome["output"]], state.output)

    def _advance(self) -> None:
        """Files that are whole enter the total in their order."""
        while self._first < len(self._files):
            state = self._files[self._first]
            if state.next < len(state.chunks):
                return
            place = state.file.dataset, state.file.path
            if place in self.plan.copies:
                state.books.duplicates = state.file.events
            elif place in self.plan.unread:
                state.books.forget()
                state.books.reason = self.plan.unread[place]
            elif state.changed:
                state.books.forget()
            elif state.output is not None:
                self.output = accumulate([state.output], self.output)
                self.pieces += state.pieces
            state.output, state.pieces = None, []
            self._first += 1

    def ledger(self, *, cached: int, deaths: int) -> Ledger:
        """The books of the run.

        Raises
        ------
        IncompleteError
            If a chunk came back from no worker.
        """
        if self._first < len(self._files):
            state = self._files[self._first]
            chunk = state.chunks[state.next]
            msg = f"{state.file.path}: events {chunk.start} to {chunk.stop} came back from no worker; run again"
            raise IncompleteError(msg)
        files = [state.books for state in self._files]
        skipped: dict[str, int] = {}
        for books in files:
            for reason, count in books.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + count
        read = sum(books.read for books in files)
        return Ledger(
            expected=sum(books.expected for books in files),
            read=read,
            used=read - sum(skipped.values()),
            skipped=skipped,
            lost=sum(books.lost for books in files),
            files=len(files) + len(self.plan.failed),
            files_failed={**self.plan.failed, **{b.file: b.reason for b in files if b.reason}},
            chunks=len(self.plan.chunks),
            chunks_cached=cached,
            duplicates=sum(books.duplicates for books in files),
            copies={path: first for (_, path), first in self.plan.copies.items()},
            retries=self.retries,
            splits=sum(row["splits"] for row in self.metrics),
            worker_deaths=deaths,
            by_file=tuple(files),
        )


def common_columns(pieces: list[Piece]) -> dict[str, np.dtype[Any]]:
    """Columns that all pieces have, in the order of the first, with the type that holds all of theirs.

    Of systematic variations those that any piece has: where another lacks one, it is the nominal column.
    """
    if not pieces:
        return {}
    common = shared_columns([piece.types for piece in pieces])
    dropped = sorted({name for piece in pieces for name in piece.types} - set(common))
    if dropped:
        log.warning("columns that not all files have are left out of the table: %s", ", ".join(dropped))
    types = [completed({name: np.empty(0, kind) for name, kind in piece.types.items()}, common) for piece in pieces]
    return {name: np.result_type(*{columns[name].dtype for columns in types}) for name in common}


def join_tables(output: Any, pieces: list[Piece]) -> Any:
    """The output with each dataset's whole event table in it, as the processor would have given it for all events."""
    for dataset in dict.fromkeys(piece.dataset for piece in pieces):
        own = [piece for piece in pieces if piece.dataset == dataset]
        columns = common_columns(own)
        loaded = [completed(piece.read(), columns) for piece in own]
        table = {}
        for name in columns:
            table[name] = column_accumulator(np.concatenate([part.pop(name) for part in loaded]))
        output[dataset]["table"] = table
    return output
