"""What a worker does with one chunk: read, process, keep; try again what may go away, and say what does not."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from coffea.processor import accumulate, column_accumulator

from resonaut.errors import ConfigError, InputError
from resonaut.processors.running import archive
from resonaut.processors.running.faults import chain, is_transient, with_retries
from resonaut.processors.running.fingerprint import unchanged
from resonaut.processors.running.metrics import Meter
from resonaut.processors.running.plan import Chunk

__all__ = ("BadChunk", "ChangedFile", "Outcome", "Work", "read_events", "result_path", "skipped_events")

log = logging.getLogger(__name__)

Outcome = dict[str, Any]
"""What became of a chunk: `read`, `skipped`, `output`, `tables`; or `kept` on disk; or `failed` with the reason."""

READERS = ("coffea.nanoevents.mapping.", "coffea.nanoevents.transforms")


class BadChunk(Exception):
    """A chunk that could not be read."""


class ChangedFile(BadChunk):
    """A file that is not the one that the run was planned with."""


@lru_cache(maxsize=4)
def _unpack(pickled: bytes, _run: str) -> Any:
    """The processor in this process, unpacked once in a run: a later run may find other code under the same names."""
    return cloudpickle.loads(pickled)


def _raised_while_reading(error: BaseException) -> bool:
    """True if the error came up through coffea's reading of a branch, not from the processor's own code."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(READERS):
            return True
        trace = trace.tb_next
    return False


def result_path(folder: Path, chunk: Chunk) -> Path:
    """Where the result of a chunk is kept."""
    return folder / f"{chunk.key}.zip"


def skipped_events(output: Any) -> dict[str, int]:
    """Skipped events by reason, summed over the datasets of an output that counts them."""
    total: dict[str, int] = {}
    parts = output.values() if isinstance(output, Mapping) else ()
    for part in parts:
        if isinstance(part, Mapping) and isinstance(part.get("skipped"), Mapping):
            for reason, count in part["skipped"].items():
                total[reason] = total.get(reason, 0) + int(count)
    return total


def _split_tables(output: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
    """The output without its event tables, and these by dataset: they are large, and merged apart from the rest."""
    if type(output) is not dict:
        return output, {}
    tables = {}
    rest = {}
    for name, part in output.items():
        table = part.get("table") if type(part) is dict else None
        if type(table) is dict and table and all(isinstance(column, column_accumulator) for column in table.values()):
            tables[name] = {column: values.value for column, values in table.items()}
            rest[name] = {key: value for key, value in part.items() if key != "table"}
        else:
            rest[name] = part
    return rest, tables


def read_events(chunk: Chunk) -> Any:
    """Events of a chunk, from a file that is still the one of the plan.

    Raises
    ------
    ChangedFile
        If it is not.
    BadChunk
        If it cannot be read.
    """
    file = chunk.file
    metadata = {
        **file.metadata,
        "dataset": file.dataset,
        "filename": file.path,
        "treename": file.tree or "",
        "entrystart": chunk.start,
        "entrystop": chunk.stop,
        "fileuuid": file.digest,
    }
    require_unchanged(chunk)
    try:
        events = file.open_source().read(file.path, chunk.start, chunk.stop, tree=file.tree, metadata=metadata)
    except (InputError, OSError) as error:
        require_unchanged(chunk)  # a file that is being written looks corrupt
        raise BadChunk(str(error)) from error
    if len(events) != len(chunk):
        msg = f"{file.path}: got {len(events)} events in rows {chunk.start} to {chunk.stop}: the file has changed"
        raise ChangedFile(msg)
    return events


def require_unchanged(chunk: Chunk) -> None:
    """Raise `ChangedFile` unless the chunk's file is the one of the plan, `BadChunk` if it is gone."""
    file = chunk.file
    try:
        same = unchanged(file.path, file.stamp, file.digest)
    except (InputError, OSError) as error:
        raise BadChunk(str(error)) from error
    if not same:
        msg = f"{file.path}: the file has changed since the run began; none of its events are used. Run again"
        raise ChangedFile(msg)


@dataclass(frozen=True)
class Work:
    """The function that executors call with a chunk; its result is {chunk number: what happened}.

    Parameters
    ----------
    processor : the processor, pickled by cloudpickle.
    folder : where results are kept, seen by all workers; None to hand them back.
    on_bad_file : "raise" an InputError for a chunk that cannot be read, or "skip" it.
    retries, pause : repetitions after transient errors of reading, seconds before the first.
    run : a name of its own for each run.
    """

    processor: bytes = field(repr=False)
    folder: Path | None
    on_bad_file: str
    retries: int = 3
    pause: float = 0.5
    run: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False)

    def __call__(self, chunk: Chunk) -> dict[int, Outcome]:
        meter = Meter()
        try:
            content, again, splits = self._whole(chunk)
        except BadChunk as bad:
            if self.on_bad_file == "raise":
                raise _as_input_error(bad) from bad
            log.warning("skipping events %d to %d: %s", chunk.start, chunk.stop, bad)
            notes = "".join(f" ({note})" for note in getattr(bad, "__notes__", []))
            tried = self.retries if is_transient(bad) else 0
            changed = isinstance(bad, ChangedFile)
            return {chunk.index: {"failed": f"{bad}{notes}", "changed": changed, "retries": tried}}
        if self.folder is not None:
            self._keep(chunk, content)
            content = {"kept": True}
        return {chunk.index: {**content, "metrics": meter.read(events=len(chunk), retries=again, splits=splits)}}

    def _keep(self, chunk: Chunk, content: Outcome) -> None:
        assert self.folder is not None
        try:
            archive.save(result_path(self.folder, chunk), content)
        except OSError as error:  # a full disk: what was kept before is whole
            error.add_note(
                f"while keeping the result of events {chunk.start} to {chunk.stop} of {chunk.file.path} in {self.folder}; "
                "make room, then run again: finished chunks are kept"
            )
            raise

    def _whole(self, chunk: Chunk) -> tuple[Outcome, int, int]:
        """Result of a chunk, in halves where memory is short: with the numbers of retries and of splits."""
        try:
            content, again = with_retries(
                lambda: self._process(chunk),
                retries=self.retries,
                pause=self.pause,
                what=chunk.file.path,
                again=lambda error: isinstance(error, BadChunk) and is_transient(error),  # not the processor's own
            )
        except Exception as error:
            if len(chunk) < 2 or not any(isinstance(each, MemoryError) for each in chain(error)):
                raise
        else:
            return content, again, 0
        # outside the handler: there the error would hold on to the arrays that were too many
        log.warning("%s: no memory for events %d to %d, trying halves", chunk.file.path, chunk.start, chunk.stop)
        middle = (chunk.start + chunk.stop) // 2
        first, again_1, splits_1 = self._whole(_rows(chunk, chunk.start, middle))
        second, again_2, splits_2 = self._whole(_rows(chunk, middle, chunk.stop))
        return accumulate([first, second]), again_1 + again_2, splits_1 + splits_2 + 1

    def _process(self, chunk: Chunk) -> Outcome:
        events = read_events(chunk)
        if chunk.dropped:
            events = events[~np.isin(np.arange(chunk.start, chunk.stop), chunk.dropped)]
        processor = _unpack(self.processor, self.run)
        try:
            output = processor.process(events) if hasattr(processor, "process") else processor(events)
        except Exception as error:
            if _raised_while_reading(error) and not any(isinstance(each, MemoryError) for each in chain(error)):
                require_unchanged(chunk)
                what = "cannot be read" if is_transient(error) else "cannot be read, the file is truncated or corrupt"
                msg = f"{chunk.file.path}: {what} ({type(error).__name__}: {error})"
                raise BadChunk(msg) from error
            error.add_note(f"while processing events {chunk.start} to {chunk.stop} of {chunk.file.path}")
            raise
        if output is None:
            msg = f"{processor!r} returned None from process(); return a dictionary or another accumulator"
            raise ConfigError(msg)
        require_unchanged(chunk)  # branches are read while the processor runs
        rest, tables = _split_tables(output)
        wrapped = {name: {c: column_accumulator(v) for c, v in table.items()} for name, table in tables.items()}
        return {"read": len(events), "skipped": skipped_events(output), "output": rest, "tables": wrapped}


def _rows(chunk: Chunk, start: int, stop: int) -> Chunk:
    return replace(chunk, start=start, stop=stop, dropped=tuple(row for row in chunk.dropped if start <= row < stop))


def _as_input_error(bad: BadChunk) -> InputError:
    error = InputError(str(bad))
    for note in getattr(bad, "__notes__", []):
        error.add_note(note)
    return error
