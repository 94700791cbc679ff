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

__all__ = ("Ledger", "RunResult")

log = logging.getLogger(__name__)


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

    @property
    def balanced(self) -> bool:
        """True if every expected event is accounted for."""
        return self.read + self.lost == self.expected and self.used + sum(self.skipped.values()) == self.read

    @property
    def complete(self) -> bool:
        """True if every file was read to its end."""
        return self.balanced and self.lost == 0 and not self.files_failed

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, `complete` included."""
        return {**asdict(self), "complete": self.complete}

    def __str__(self) -> str:
        text = f"{self.read} of {self.expected} events read, {self.used} used, {sum(self.skipped.values())} skipped"
        if self.skipped:
            text += " (" + ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) + ")"
        if not self.complete:
            text += f"; INCOMPLETE: {self.lost} events lost, {len(self.files_failed)} of {self.files} files failed"
        return text


@dataclass(frozen=True)
class RunResult:
    """What `run_processor` gives: the processor's accumulated output, the books and where it all came from."""

    output: Any
    ledger: Ledger
    provenance: dict[str, Any]

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

    def table(self, dataset: str | None = None) -> dict[str, npt.NDArray[Any]]:
        """Event table of one dataset, or of all after one another with the columns that all have.

        Raises
        ------
        InputError
            If the output holds no such table, or files of one dataset have different columns.
        """
        names = [dataset] if dataset is not None else list(self.output)
        parts = []
        for name in names:
            part = self.output.get(name, {}).get("table")
            if part is None:
                msg = f"no event table for {name!r} in the output; it has {sorted(self.output)}"
                raise InputError(msg)
            parts.append(flat_columns(part))
        common = [column for column in parts[0] if all(column in part for part in parts)]
        dropped = sorted({column for part in parts for column in part} - set(common))
        if dropped:
            log.info("columns that not all datasets have are left out of the table: %s", dropped)
        return {column: np.concatenate([part[column] for part in parts]) for column in common}

    def write_table(self, path: str | os.PathLike[str], dataset: str | None = None) -> None:
        """Write `table(dataset)` as Parquet with the run's provenance and cutflows inside."""
        names = [dataset] if dataset is not None else list(self.output)
        cutflow = {name: self.output[name].get("cutflow", {}) for name in names}
        write_table(path, self.table(dataset), {**self.provenance, "cutflow": cutflow})
