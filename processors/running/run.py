"""Running a processor over files of any source, on coffea's executors, so that nothing is lost silently.

Each chunk of events is one item of work for an executor. Results are merged in the order of the fileset, whatever
the order in which they were finished, so that executors and restarted runs agree bit for bit. With a `cache_dir`
finished chunks are kept on disk, written whole or not at all, and found again by what went into them.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from resonaut import __version__
from resonaut.errors import ConfigError, IncompleteError
from resonaut.files import write_json
from resonaut.processors.identity import config_hash, processor_config
from resonaut.processors.running.duplicates import without_duplicates
from resonaut.processors.running.executors import Choice, Engine, open_engine
from resonaut.processors.running.footprint import chunk_sizes, parse_bytes
from resonaut.processors.running.ledger import Ledger, RunResult
from resonaut.processors.running.merge import Merger, join_tables
from resonaut.processors.running.metrics import summarise
from resonaut.processors.running.plan import Plan, cut, find_files
from resonaut.processors.running.progress import event_bar
from resonaut.processors.running.tables import stream_table
from resonaut.processors.running.work import Work, result_path

__all__ = ("run_processor",)

log = logging.getLogger(__name__)

CHUNKSIZE = 10_000
PAUSE = 0.5
"""Seconds before a file is tried again; doubled each time."""


def _kept(plan: Plan, folder: Path | None) -> list[int]:
    """Chunks whose whole result is on disk."""
    if folder is None:
        return []
    return [chunk.index for chunk in plan.chunks if zipfile.is_zipfile(result_path(folder, chunk))]


def _make_plan(
    found: Plan, work: Work, engine: Engine, choice: Choice, chunksize: int | None, memory_limit: int | str | None
) -> Plan:
    """The files in chunks of a given size, or of one that fits into memory."""
    if memory_limit is None:
        return cut(found, chunksize or CHUNKSIZE)
    sizes = chunk_sizes(
        found, work, engine, choice, limit=parse_bytes(memory_limit), most=chunksize or 10**9, cache=work.folder
    )
    return cut(found, sizes)


@contextmanager
def _saying_how_to_resume(merger: Merger, folder: Path | None) -> Iterator[None]:
    """Notes on an interruption: what is done, what is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        chunks, events = len(merger.plan.chunks), sum(len(chunk) for chunk in merger.plan.chunks)
        done = (
            f"interrupted with {merger.done_chunks} of {chunks} chunks done ({merger.done_events} of {events} events)"
        )
        then = f"they are kept in {folder}: the same call continues" if folder else "without cache_dir nothing is kept"
        error.add_note(f"{done}; {then}")
        raise


def _close(plan: Plan, processor: Any, output: Any, ledger: Ledger) -> tuple[Any, dict[str, Any]]:
    """Check the books, let the processor finish, and note where it all came from."""
    if not ledger.balanced:
        msg = f"the books do not balance: {ledger.to_dict()}"
        raise IncompleteError(msg)
    if not ledger.complete:
        log.warning("%s", ledger)
    if hasattr(processor, "postprocess") and output is not None:
        output = processor.postprocess(output)
    provenance = {
        "processor": processor_config(processor),
        "config_hash": config_hash(processor),
        "version": __version__,
        "inputs": [file.to_dict() for file in plan.files],
        "ledger": ledger.of_the_input(),
    }
    return output if output is not None else {}, provenance


def _work_through(merger: Merger, work: Work, engine: Engine, progress: bool) -> int:
    """Bring every chunk to its end; the number of those that an earlier run had done."""
    plan = merger.plan
    kept = _kept(plan, work.folder)
    merger.add({index: {"kept": True} for index in kept})
    found = set(kept)
    pending = [chunk for chunk in plan.chunks if chunk.index not in found]
    total = sum(len(chunk) for chunk in plan.chunks)

    with event_bar(progress, "Processing", total, merger.done_events) as advance:

        def deliver(results: dict[int, Any]) -> None:
            merger.add(results)
            advance(sum(len(plan.chunks[index]) for index in results))

        engine.run(pending, work, deliver)
    return len(kept)


def _finish(
    merger: Merger, processor: Any, ledger: Ledger, costs: dict[str, Any], table: Any, metrics: Any
) -> RunResult:
    """Result with its tables in memory, or on disk where a file was named."""
    output, rows = merger.output, None
    if table is None and merger.pieces:
        output = join_tables(output, merger.pieces)
    output, provenance = _close(merger.plan, processor, output, ledger)
    if metrics is not None:
        provenance["metrics"] = costs
        write_json(metrics, {**costs, "ledger": ledger.to_dict(), "chunk_list": merger.metrics})
    if table is not None:
        cutflow = {name: part.get("cutflow", {}) for name, part in output.items() if isinstance(part, Mapping)}
        whole = {**provenance, "cutflow": cutflow}
        if merger.output is not None:
            rows = stream_table(table, merger.pieces, whole)
        else:  # no event at all: a table of an earlier run would pass for this one's
            rows = 0
            Path(table).unlink(missing_ok=True)
    return RunResult(output, ledger, provenance, costs, rows)


def run_processor(
    fileset: Mapping[str, Any],
    processor: Any,
    *,
    executor: Any = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    options: Mapping[str, Any] | None = None,
    chunksize: int | None = None,
    memory_limit: int | str | None = None,
    cache_dir: str | Path | None = None,
    on_bad_file: str = "raise",
    duplicates: str = "error",
    retries: int = 3,
    table: str | os.PathLike[str] | None = None,
    metrics: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> RunResult:
    """Run a coffea processor over a fileset.

    Parameters
    ----------
    fileset : {dataset: files}; see `make_plan`. Files may be of any source, recognised by their content.
    processor : a `ProcessorABC`, or a function of events. Counts under "skipped" in a dataset's output go to the ledger.
    executor : "iterative" (this process), "futures" (processes on this machine), "dask", "slurm", "htcondor", "parsl",
        "taskvine", or an instance of one of coffea's executors.
    workers : number of processes, or of batch jobs.
    scheduler : address of a running dask scheduler, such as "tcp://host:8786".
    options : of the executor, see docs/running.md.
    chunksize : most events in a chunk (10,000 where there is no `memory_limit`).
    memory_limit : bytes (or "2GB") for this process and its workers together: the chunks are made so small that they stay
        below, by measuring a few events first.
    cache_dir : folder, shared with the workers, for the results of finished chunks; a later run finds them by the content
        of files, processor and version.
    on_bad_file : "raise" an InputError for a file that cannot be read, or "skip" it: then the ledger holds
        the reason and the result is not `complete`. Errors of the processor itself always come through.
    duplicates : events that are there twice, and files of a dataset with the bytes of another: an "error", or the later
        ones are left out and counted ("drop"), or used ("keep", without looking). Two events of data are the same if
        run, luminosity block and number are, in all datasets; two of one simulated dataset if their content is, too.
    retries : how often a file is tried again after a connection broke or timed out.
    table : Parquet file for the event tables of all datasets, in order. They are written piece by piece and
        are then not in the output.
    metrics : JSON file for what each chunk cost; a summary is in the result, and with this option in the provenance.
    progress : show a bar.

    Raises
    ------
    InputError
        For a file that cannot be read, changes while the run goes on, or has duplicates.
    IncompleteError
        If events are neither read nor lost for a known reason, or a chunk kills its workers with `on_bad_file="raise"`.
    ConfigError
        For an unknown executor or option, or a fileset that makes no sense.
    """
    if on_bad_file not in ("raise", "skip"):
        msg = f"on_bad_file is {on_bad_file!r}, expected 'raise' or 'skip'"
        raise ConfigError(msg)
    if chunksize is not None and chunksize < 1:
        msg = f"chunksize is {chunksize}, expected at least 1"
        raise ConfigError(msg)
    choice = Choice(executor, workers, scheduler, options or {})
    folder = Path(cache_dir) / config_hash(processor) if cache_dir is not None else None
    work = Work(cloudpickle.dumps(processor), folder, on_bad_file, retries, PAUSE)
    wanted = _Wanted(chunksize, memory_limit, duplicates, table, metrics, progress)
    return _carry_out(fileset, processor, work, choice, wanted)


@dataclass(frozen=True)
class _Wanted:
    """Options of `run_processor` that workers need not know."""

    chunksize: int | None
    memory_limit: int | str | None
    duplicates: str
    table: str | os.PathLike[str] | None
    metrics: str | os.PathLike[str] | None
    progress: bool


def _carry_out(fileset: Mapping[str, Any], processor: Any, work: Work, choice: Choice, wanted: _Wanted) -> RunResult:
    """From files to a plan, from chunks to results, and the books."""
    started = time.perf_counter()
    how = {"on_bad_file": work.on_bad_file, "duplicates": wanted.duplicates}
    found = find_files(fileset, **how, retries=work.retries, pause=work.pause)
    with _spool(wanted.table, work.folder) as spool:
        with open_engine(choice) as engine:
            plan = _make_plan(found, work, engine, choice, wanted.chunksize, wanted.memory_limit)
            plan = without_duplicates(plan, engine, work, wanted.duplicates)
            merger = Merger(plan, work.folder, spool)
            with _saying_how_to_resume(merger, work.folder):
                cached = _work_through(merger, work, engine, wanted.progress)
        if merger.killed and work.on_bad_file == "raise":
            raise IncompleteError("; ".join(merger.killed))
        ledger = merger.ledger(cached=cached, deaths=engine.deaths)
        costs = summarise(merger.metrics, seconds=time.perf_counter() - started, worker_deaths=engine.deaths)
        return _finish(merger, processor, ledger, costs, wanted.table, wanted.metrics)


@contextmanager
def _spool(table: Any, folder: Path | None) -> Iterator[Path | None]:
    """Folder beside the table for results that are neither in a cache nor to be held in memory."""
    if table is None or folder is not None:
        yield None
        return
    beside = Path(table).absolute().parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{Path(table).name}.", dir=beside) as name:
        yield Path(name)
