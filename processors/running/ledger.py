"""The books of a run: every event that was expected is read, skipped with a reason, or lost; nothing is silent."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import IncompleteError, InputError
from resonaut.processors.table import flat_columns, write_table
from resonaut.processors.variations import NOMINAL, completed, shared_columns, variation

__all__ = ("FileBooks", "Ledger", "RunResult")

log = logging.getLogger(__name__)

OF_THE_RUN = ("chunks_cached", "retries", "splits", "worker_deaths")
"""What depends on how a run went, not on what it read: two runs with equal results may differ here."""


@dataclass
class FileBooks:
    """What became of the events of one file.

    Parameters
    ----------
    dataset, file : which.
    expected : events in it.
    read : events that reached the processor.
    skipped : those of them that it could not judge, by reason.
    duplicates : events that did not, because an earlier row or file has them.
    lost : events that could not be read, with the `reason`.
    """

    dataset: str
    file: str
    expected: int
    read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    lost: int = 0
    reason: str = ""

    def forget(self) -> None:
        """Count all events as lost: nothing of the file is used."""
        self.read = self.duplicates = 0
        self.skipped = {}
        self.lost = self.expected

    @property
    def balanced(self) -> bool:
        """True if every event of the file is accounted for."""
        return self.read + self.duplicates + self.lost == self.expected and sum(self.skipped.values()) <= self.read


@dataclass(frozen=True)
class Ledger:
    """Counts of events and files of a run.

    Parameters
    ----------
    expected : events in all files that could be opened.
    read : events that reached the processor.
    used : events that the processor could judge, selected or cut away.
    skipped : events that it could not judge, by reason.
    lost : events of chunks that could not be read.
    files : number of files asked for.
    files_failed : files that could not be opened, or not be read to the end, with the reason.
    chunks : pieces of work; `chunks_cached` of them came from an earlier run.
    duplicates : events left out because an earlier row or file has them; `copies` are files left out whole, {file: first}.
    retries : readings that were tried again after a transient error.
    splits : chunks that were worked on in halves because memory was short.
    worker_deaths : chunks whose worker ended before them, so that they were worked on again.
    by_file : the same books for every file that could be opened.
    """

    expected: int
    read: int
    used: int
    skipped: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    files: int = 0
    files_failed: dict[str, str] = field(default_factory=dict)
    chunks: int = 0
    chunks_cached: int = 0
    duplicates: int = 0
    copies: dict[str, str] = field(default_factory=dict)
    retries: int = 0
    splits: int = 0
    worker_deaths: int = 0
    by_file: tuple[FileBooks, ...] = ()

    @property
    def balanced(self) -> bool:
        """True if every expected event is accounted for, in all and in each file."""
        return (
            self.read + self.lost + self.duplicates == self.expected
            and self.used + sum(self.skipped.values()) == self.read
            and all(books.balanced for books in self.by_file)
        )

    @property
    def complete(self) -> bool:
        """True if every file was read to its end."""
        return self.balanced and self.lost == 0 and not self.files_failed

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, `complete` included."""
        return {**asdict(self), "complete": self.complete}

    def of_the_input(self) -> dict[str, Any]:
        """The same without what depends on how the run went."""
        return {key: value for key, value in self.to_dict().items() if key not in OF_THE_RUN}

    def __str__(self) -> str:
        text = f"{self.read} of {self.expected} events read, {self.used} used, {sum(self.skipped.values())} skipped"
        if self.skipped:
            text += " (" + ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) + ")"
        if self.duplicates:
            text += f", {self.duplicates} left out as duplicates"
        happened = {"retries": self.retries, "chunks in halves": self.splits, "deaths of workers": self.worker_deaths}
        if any(happened.values()):
            text += " (" + ", ".join(f"{count} {name}" for name, count in happened.items() if count) + ")"
        if not self.complete:
            text += f"; INCOMPLETE: {self.lost} events lost, {len(self.files_failed)} of {self.files} files failed"
        return text


@dataclass(frozen=True)
class RunResult:
    """What `run_processor` gives: the processor's accumulated output, the books, where it all came from, and what it cost.

    `rows` is the number of rows that went to the table on disk, where one was asked for. `metrics` is the summary of
    `resonaut.processors.running.metrics.summarise` over the chunks that were worked on in this run.
    """

    output: Any
    ledger: Ledger
    provenance: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None

    @property
    def complete(self) -> bool:
        """True if every file was read to its end."""
        return self.ledger.complete

    def require_complete(self) -> RunResult:
        """Itself, or `IncompleteError` if files or chunks are missing."""
        if not self.complete:
            reasons = "; ".join(self.ledger.files_failed.values())
            msg = f"{self.ledger}. {reasons}. Repair or drop the files, then run again: finished chunks are kept"
            raise IncompleteError(msg)
        return self

    def table(self, dataset: str | None = None, of: str = NOMINAL) -> dict[str, npt.NDArray[Any]]:
        """Event table of one dataset, or of all after one another with the columns that all have.

        Parameters
        ----------
        dataset : name of it, None for all.
        of : "nominal", or the systematic variation whose events are meant.

        Raises
        ------
        InputError
            If the output holds no such table or variation, or files of one dataset have different columns.
        """
        found: dict[str, npt.NDArray[Any]] = variation(self.all_variations(dataset), of)
        return found

    def all_variations(self, dataset: str | None = None) -> dict[str, npt.NDArray[Any]]:
        """The same with the parallel columns of systematic variations, and the rows that only those select.

        Raises
        ------
        InputError
            As `table`.
        """
        names = [dataset] if dataset is not None else list(self.output)
        parts = []
        for name in names:
            part = self.output.get(name, {}).get("table")
            if part is None:
                msg = f"no event table for {name!r} in the output; it has {sorted(self.output)}"
                raise InputError(msg)
            parts.append(flat_columns(part))
        common = shared_columns(parts)
        dropped = sorted({column for part in parts for column in part} - set(common))
        if dropped:
            log.info("columns that not all datasets have are left out of the table: %s", dropped)
        whole = [completed(part, common) for part in parts]
        return {column: np.concatenate([part[column] for part in whole]) for column in common}

    def write_table(self, path: str | os.PathLike[str], dataset: str | None = None) -> None:
        """Write the table, variations included, as Parquet with the run's provenance and cutflows inside."""
        names = [dataset] if dataset is not None else list(self.output)
        cutflow = {name: self.output[name].get("cutflow", {}) for name in names}
        write_table(path, self.all_variations(dataset), {**self.provenance, "cutflow": cutflow})
