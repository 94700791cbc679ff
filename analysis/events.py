"""First stage: event files of any format -> one event table (Parquet), with the books of what was read and skipped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import ExecutorConfig, SearchConfig
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import InputError
from resonaut.files import digest, read_json, write_json
from resonaut.processors import (
    DijetFeatures,
    FeatureBuilder,
    TableProcessor,
    config_hash,
    read_table,
    run_processor,
    source,
    write_table,
)
from resonaut.processors.features.dijet import COLLECTIONS, PARTICLES, SMALL
from resonaut.processors.running.fingerprint import content_digest
from resonaut.processors.sources.paths import fileset_of, named_files
from resonaut.processors.sources.tables import EventTable

__all__ = ("EventStage", "event_stage", "make_table", "simulation_stage")

logger = logging.getLogger(__name__)
Columns = dict[str, npt.NDArray[Any]]
LOOKED_AT = 1000  # events of a file in which other jets are looked for


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
        if doubled := self.summary.get("duplicates"):
            found.append(f"{doubled} events were left out because others have their run, luminosity block and number")
        if self.summary["lost"]:
            found.append(f"INCOMPLETE: {self.summary['lost']} events were lost with their files")
        if reasons := self.summary["reasons"]:
            detail = ", ".join(f"{count} with {reason}" for reason, count in reasons.items())
            found.append(f"{self.summary['skipped']} of {self.summary['read']} events skipped: {detail}")
        return found


def _of_tables(fileset: Mapping[str, Any]) -> tuple[list[Path], dict[str, Any]]:
    """Event tables of a fileset, and the fileset without them."""
    tables: list[Path] = []
    rest: dict[str, Any] = {}
    for name, dataset in fileset.items():
        flat = [path for path in dataset["files"] if "source" not in dataset and EventTable().recognises(path)]
        tables += [Path(path) for path in flat]
        if events := {path: tree for path, tree in dataset["files"].items() if path not in flat}:
            rest[name] = {**dataset, "files": events}
    return tables, rest


def _jets_used(result: Any, features: FeatureBuilder) -> dict[str, str]:
    """Which large-R jets were taken, by the layout of the files, as their first file says."""
    used: dict[str, str] = {}
    features = getattr(features, "base", features)  # of a builder that adds features of whole events
    if not isinstance(features, DijetFeatures):
        return used
    for file in result.provenance.get("inputs", ()):
        name = file["source"]
        if name not in used and file["events"]:
            fields = source(name).read(file["file"], 0, 1, tree=file.get("tree")).fields
            chosen = features.jets_from(fields)
            used[name] = f"clustered from {chosen}" if chosen.startswith("PFCand") else chosen
    return used


def _other_jets(result: Any, features: FeatureBuilder) -> list[str]:
    """Options that take other jets than those that left no event, and what they would find."""
    features = getattr(features, "base", features)
    found: dict[str, str] = {}
    if not isinstance(features, DijetFeatures):
        return []
    for file in result.provenance.get("inputs", ()):
        most = min(file["events"], LOOKED_AT)
        events = source(file["source"]).read(file["file"], 0, most, tree=file.get("tree"))
        for name in (*COLLECTIONS, *SMALL):
            two = int(ak.sum(ak.num(events[name]) >= 2)) if name in events.fields and most else 0
            if two and name != features.jets_from(events.fields):
                found.setdefault(name, f"--jets {name} ({two} of {most} events of {Path(file['file']).name} have two)")
        if features.collection != "cluster" and any(name in events.fields for name in PARTICLES):
            found.setdefault("cluster", "--jets cluster")
    return list(found.values())


def _nothing_left(books: Mapping[str, Any], mass: str, other_jets: Sequence[str]) -> str:
    """What to say, and to do, where no event is left."""
    msg = f"no event with a {mass} is left of {books['read']} read: cutflow {books['cutflow']}"
    if books["reasons"]:
        msg += "; skipped: " + ", ".join(f"{count} with {reason}" for reason, count in books["reasons"].items())
    if books["files_failed"]:
        msg += f"; failed files: {'; '.join(books['files_failed'].values())}"
    if books["jets"]:
        msg += f"; jets were taken from {', '.join(books['jets'].values())}"
    if other_jets:
        msg += f": try {' or '.join(other_jets)}; in a config, jets: {{collection: ...}}"
    return msg


def _stack(parts: Sequence[Columns]) -> Columns:
    """One table of the columns that all parts have, with a weight."""
    for part in parts:
        part.setdefault("weight", np.ones(_length(part)))
    common = [name for name in parts[0] if all(name in part for part in parts)]
    if left_out := sorted({name for part in parts for name in part} - set(common)):
        logger.warning("columns that not all inputs have are left out: %s", ", ".join(left_out))
    return {name: np.concatenate([part[name] for part in parts]) for name in common}


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _usable(path: Path, columns: Columns, processor: TableProcessor, variable: str, books: dict[str, Any]) -> Columns:
    """Rows of an event table with a finite mass and weight that pass the cuts; the others are counted."""
    for name in (variable, "weight"):
        good = np.isfinite(columns.get(name, np.zeros(0)))
        if bad := int(np.count_nonzero(~good)):
            reason = f"{name} not finite"
            books["reasons"][reason] = books["reasons"].get(reason, 0) + bad
            books["skipped"] += bad
            books["read"] += bad
            columns = {key: values[good] for key, values in columns.items()}
    books["read"] += _length(columns)
    books["used"] += _length(columns)
    try:
        masks = processor.cuts.masks(columns)
    except InputError as error:
        msg = f"{path}: input.cuts: {error}"
        raise InputError(msg) from None
    keep = np.ones(_length(columns), dtype=bool)
    for mask in masks.values():
        keep &= mask
    return {key: values[keep] for key, values in columns.items()}


def _refuse_twice(files: Sequence[Path | str]) -> None:
    seen: dict[str, Path | str] = {}
    for path in files:
        if "://" in str(path):
            continue
        content = content_digest(str(path))
        if content in seen:
            msg = f"{path} and {seen[content]} hold the same bytes: their events would count twice; leave one out"
            raise InputError(msg)
        seen[content] = path


def _read_tables(
    paths: Sequence[Path], on_bad_file: str, processor: TableProcessor, variable: str, books: dict[str, Any]
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
        if variable not in table.fields:
            msg = (
                f"{path}: an event table needs a column {variable} (GeV); it has {', '.join(table.fields)}. "
                "Name the column with the mass: scan.variable in a config, --variable on the command line"
            )
            raise InputError(msg)
        columns = {name: np.asarray(table[name]) for name in table.fields}
        found.append(_usable(path, columns, processor, variable, books))
    return found


def make_table(
    files: Sequence[Path] | Mapping[str, Any],
    out: Path,
    processor: TableProcessor,
    executor: ExecutorConfig,
    *,
    on_bad_file: str,
    cache: Path,
    variable: str | None = None,
    duplicates: str = "error",
    metrics: Path | None = None,
) -> dict[str, Any]:
    """Write the event table of `files`, which may be event files or event tables, or a fileset of `fileset_of`.

    Parameters
    ----------
    processor
        What makes the table of event files; its cuts are made on event tables too.
    variable
        Column with the resonant variable, GeV; that of the processor's builder by default.

    Returns
    -------
    dict
        The books: which `jets` were taken in files of each layout; events `read`, `used`, `skipped`, `reasons` of the skips, `lost`, `duplicates`, `files_failed`, `complete`, `cutflow`.

    Raises
    ------
    InputError
        If a file cannot be read (with `on_bad_file="raise"`), or no event is left.
    """
    books: dict[str, Any] = {"read": 0, "used": 0, "skipped": 0, "lost": 0, "reasons": {}, "files_failed": {}}
    books |= {"complete": True, "cutflow": {}, "duplicates": 0, "jets": {}}
    fileset = files if isinstance(files, Mapping) else fileset_of(named_files(list(files)))
    tables, events = _of_tables(fileset)
    everything = [path for dataset in fileset.values() for path in dataset["files"]]
    _refuse_twice(everything if duplicates == "error" else tables)  # tables have no event numbers to go by
    mass = variable or processor.features.variable
    parts = _read_tables(tables, on_bad_file, processor, mass, books)
    provenance: dict[str, Any] = {"tables": [str(path) for path in tables]}
    rows = 0
    if events:
        result = run_processor(
            events, processor, executor=executor.name,
            workers=executor.workers, scheduler=executor.scheduler, options=executor.options, chunksize=executor.chunks,
            memory_limit=executor.memory_limit, retries=executor.retries, cache_dir=cache, on_bad_file=on_bad_file,
            duplicates=duplicates, table=None if tables else out, metrics=metrics, progress=True,
        )  # fmt: skip
        _enter(books, result)
        books["jets"] |= _jets_used(result, processor.features)
        provenance |= result.provenance
        rows = result.rows or 0
        parts += [result.table()] if result.output and tables else []
    if not rows + sum(map(_length, parts)):
        out.unlink(missing_ok=True)
        raise InputError(_nothing_left(books, mass, _other_jets(result, processor.features) if events else ()))
    if parts:
        write_table(out, _stack(parts), provenance)
    return books


def _enter(books: dict[str, Any], result: Any) -> None:
    ledger = result.ledger
    books["read"] += ledger.read
    books["used"] += ledger.used
    books["skipped"] += sum(ledger.skipped.values())
    books["lost"] += ledger.lost
    books["duplicates"] += ledger.duplicates
    books["reasons"] |= dict(ledger.skipped)
    books["files_failed"] |= dict(ledger.files_failed)
    books["complete"] &= ledger.complete
    for dataset in result.output.values():
        for name, count in dataset.get("cutflow", {}).items():
            books["cutflow"][name] = books["cutflow"].get(name, 0) + int(count)


def event_stage(config: SearchConfig, base: Path, run: RunDirectory) -> EventStage:
    """Event table of a search, made now or found from an earlier run on the same files with the same options."""
    return _table_unit(config.resolved_files(base), config, run, "events")


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
    return _table_unit(files, config, run, "simulation")


def _table_unit(files: Sequence[Path], config: SearchConfig, run: RunDirectory, name: str) -> EventStage:
    given, processor = config.input, config.input.processor()
    named = named_files(files)
    content = [(Path(f.path).name, f.dataset, f.tree, f.metadata, f.source, content_digest(f.path)) for f in named]
    columns = given.columns_of(name)
    made = (config_hash(processor), config.variable, columns)
    key = digest(content, *made, given.on_bad_file, given.duplicates)
    unit = run.unit(name, key)
    cache = run.path / f"cache-{name}"

    def work(folder: Path) -> None:
        books = make_table(
            fileset_of(named, columns),
            folder / "events.parquet",
            processor,
            given.executor,
            on_bad_file=given.on_bad_file,
            cache=cache,
            variable=config.variable,
            duplicates=given.duplicates,
        )
        write_json(folder / "books.json", books)

    if unit.done and not read_json(unit.folder / "books.json")["complete"]:
        shutil.rmtree(unit.folder)  # a file that could not be read may be readable now; whole chunks are in the cache
    unit.make(work)
    books = read_json(unit.folder / "books.json")
    if books["complete"]:
        shutil.rmtree(cache, ignore_errors=True)
    return EventStage(unit.folder / "events.parquet", key, unit.seconds, books)
