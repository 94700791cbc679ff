"""First stage: event files of any format -> one event table (Parquet), with the books of what was read and skipped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.config import ExecutorConfig, InputConfig, SearchConfig
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import InputError
from resonaut.files import digest, file_digest, read_json, write_json
from resonaut.processors import (
    DijetCuts,
    DijetFeatures,
    DijetProcessor,
    is_table,
    read_table,
    run_processor,
    write_table,
)

__all__ = ("EventStage", "event_stage", "make_table", "simulation_stage")

logger = logging.getLogger(__name__)
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class EventStage:
    """The finished first stage of a run."""

    table: Path
    key: str
    seconds: float
    summary: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        """What a reader of the results has to know about the events."""
        found = []
        for path, reason in self.summary["files_failed"].items():
            found.append(f"INCOMPLETE: {Path(path).name} was skipped: {reason}")
        if self.summary["lost"]:
            found.append(f"INCOMPLETE: {self.summary['lost']} events were lost with their files")
        if reasons := self.summary["reasons"]:
            detail = ", ".join(f"{count} with {reason}" for reason, count in reasons.items())
            found.append(f"{self.summary['skipped']} of {self.summary['read']} events skipped: {detail}")
        return found


def _fileset(files: Sequence[Path]) -> dict[str, Any]:
    """One dataset per file: files of one format may differ in their columns."""
    return {str(path): {"files": [str(path)]} for path in files}


def _stack(parts: Sequence[Columns]) -> Columns:
    """One table of the columns that all parts have, with a weight."""
    for part in parts:
        part.setdefault("weight", np.ones(len(part["mjj"])))
    common = [name for name in parts[0] if all(name in part for part in parts)]
    if left_out := sorted({name for part in parts for name in part} - set(common)):
        logger.warning("columns that not all inputs have are left out: %s", ", ".join(left_out))
    return {name: np.concatenate([part[name] for part in parts]) for name in common}


def _usable(path: Path, columns: Columns, cuts: Mapping[str, Any], books: dict[str, Any]) -> Columns:
    """Rows of an event table with a finite mass and weight that pass the cuts; the others are counted."""
    for name in ("mjj", "weight"):
        good = np.isfinite(columns.get(name, np.zeros(0)))
        if bad := int(np.count_nonzero(~good)):
            reason = f"{name} not finite"
            books["reasons"][reason] = books["reasons"].get(reason, 0) + bad
            books["skipped"] += bad
            books["read"] += bad
            columns = {key: values[good] for key, values in columns.items()}
    books["read"] += len(columns["mjj"])
    books["used"] += len(columns["mjj"])
    try:
        masks = DijetCuts(**cuts).masks(columns)
    except KeyError as error:
        msg = f"{path}: input.cuts needs the column {error}, the event table has {', '.join(columns)}"
        raise InputError(msg) from None
    keep = np.ones(len(columns["mjj"]), dtype=bool)
    for mask in masks.values():
        keep &= mask
    return {key: values[keep] for key, values in columns.items()}


def _refuse_twice(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        content = file_digest(path)
        if content in seen:
            msg = f"{path} and {seen[content]} hold the same bytes: their events would count twice; leave one out"
            raise InputError(msg)
        seen[content] = path


def _read_tables(
    paths: Sequence[Path], on_bad_file: str, cuts: Mapping[str, Any], books: dict[str, Any]
) -> list[Columns]:
    found = []
    for path in paths:
        try:
            table = read_table(path)
        except InputError as error:
            if on_bad_file == "raise":
                raise
            books["files_failed"][str(path)] = str(error)
            books["complete"] = False
            continue
        if "mjj" not in table.fields:
            msg = f"{path}: an event table needs a column mjj (GeV); it has {', '.join(table.fields)}"
            raise InputError(msg)
        columns = {name: np.asarray(table[name]) for name in table.fields}
        found.append(_usable(path, columns, cuts, books))
    return found


def make_table(
    files: Sequence[Path],
    out: Path,
    jets: Mapping[str, Any],
    cuts: Mapping[str, Any],
    executor: ExecutorConfig,
    *,
    on_bad_file: str,
    cache: Path,
) -> dict[str, Any]:
    """Write the event table of `files`, which may be event files or event tables.

    Returns
    -------
    dict
        The books: events `read`, `used`, `skipped`, `reasons` of the skips, `lost`, `files_failed`, `complete`, `cutflow`.

    Raises
    ------
    InputError
        If a file cannot be read (with `on_bad_file="raise"`), or no event is left.
    """
    books: dict[str, Any] = {"read": 0, "used": 0, "skipped": 0, "lost": 0, "reasons": {}, "files_failed": {}}
    books |= {"complete": True, "cutflow": {}}
    _refuse_twice(files)
    tables = [path for path in files if is_table(path)]
    parts = _read_tables(tables, on_bad_file, cuts, books)
    provenance: dict[str, Any] = {"tables": [str(path) for path in tables]}
    if events := [path for path in files if path not in tables]:
        processor = DijetProcessor(DijetFeatures(**jets), DijetCuts(**cuts))
        result = run_processor(
            _fileset(events), processor, executor=executor.name, workers=executor.workers,
            scheduler=executor.scheduler, chunksize=executor.chunksize, cache_dir=cache, on_bad_file=on_bad_file, progress=True,
        )  # fmt: skip
        _enter(books, result)
        provenance |= result.provenance
        parts += [result.table()] if result.output else []
    if not sum(len(part["mjj"]) for part in parts):
        failed = "; ".join(books["files_failed"].values()) or "none"
        msg = f"no event with two jets is left of {books['read']} read: cutflow {books['cutflow']}, failed files: {failed}"
        raise InputError(msg)
    write_table(out, _stack(parts), provenance)
    return books


def _enter(books: dict[str, Any], result: Any) -> None:
    ledger = result.ledger
    books["read"] += ledger.read
    books["used"] += ledger.used
    books["skipped"] += sum(ledger.skipped.values())
    books["lost"] += ledger.lost
    books["reasons"] |= dict(ledger.skipped)
    books["files_failed"] |= dict(ledger.files_failed)
    books["complete"] &= ledger.complete
    for dataset in result.output.values():
        for name, count in dataset.get("cutflow", {}).items():
            books["cutflow"][name] = books["cutflow"].get(name, 0) + int(count)


def event_stage(config: SearchConfig, base: Path, run: RunDirectory) -> EventStage:
    """Event table of a search, made now or found from an earlier run on the same files with the same options."""
    return _table_unit(config.resolved_files(base), config.input, run, "events")


def simulation_stage(config: SearchConfig, base: Path, run: RunDirectory) -> EventStage | None:
    """Event table of the simulated background, made like that of the data; None where the config names none.

    Raises
    ------
    InputError
        If a file of the simulation is one of the data: a template would be learnt from the events it is compared with.
    """
    files = config.resolved_simulation(base)
    if not files:
        return None
    _refuse_twice((*config.resolved_files(base), *files))
    return _table_unit(files, config.input, run, "simulation")


def _table_unit(files: Sequence[Path], given: InputConfig, run: RunDirectory, name: str) -> EventStage:
    content = [(path.name, file_digest(path)) for path in files]
    key = digest(content, given.jets, given.cuts, given.on_bad_file, __version__)
    unit = run.unit(name, key)
    cache = run.path / f"cache-{name}"

    def work(folder: Path) -> None:
        books = make_table(
            files,
            folder / "events.parquet",
            given.jets,
            given.cuts,
            given.executor,
            on_bad_file=given.on_bad_file,
            cache=cache,
        )
        write_json(folder / "books.json", books)

    if unit.done and not read_json(unit.folder / "books.json")["complete"]:
        shutil.rmtree(unit.folder)  # a file that could not be read may be readable now; whole chunks are in the cache
    unit.make(work)
    books = read_json(unit.folder / "books.json")
    if books["complete"]:
        shutil.rmtree(cache, ignore_errors=True)
    return EventStage(unit.folder / "events.parquet", key, unit.seconds, books)
