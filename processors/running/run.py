"""Running a processor over files of any source, on coffea's executors, so that nothing is lost silently.

Each chunk of events is one item of work for an executor. Results are merged in the order of the fileset, whatever
the order in which they were finished, so that executors and restarted runs agree bit for bit. With a `cache_dir`
finished chunks are kept on disk, written whole or not at all, and found again by what went into them.
"""

from __future__ import annotations

import inspect
import logging
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
from coffea.processor import accumulate

from resonaut import __version__
from resonaut.errors import ConfigError, IncompleteError, InputError
from resonaut.files import digest
from resonaut.processors.running import archive
from resonaut.processors.running.executors import execute
from resonaut.processors.running.ledger import Ledger, RunResult
from resonaut.processors.running.plan import Chunk, Plan, make_plan
from resonaut.processors.sources.registry import source

__all__ = ("config_hash", "processor_config", "run_processor")

log = logging.getLogger(__name__)

READERS = ("coffea.nanoevents.mapping.", "coffea.nanoevents.transforms")


def processor_config(processor: Any) -> dict[str, Any]:
    """What identifies a processor: its class, its `config` if it has one, else a hash of its state."""
    kind = type(processor)
    config = getattr(processor, "config", None)
    if config is None:
        config = {"state": digest(cloudpickle.dumps(processor).hex())}
    return {"name": f"{kind.__module__}.{kind.__qualname__}", "config": config}


def config_hash(processor: Any) -> str:
    """Hash of a processor's configuration, its module's source and the version of resonaut."""
    try:
        code = inspect.getsource(inspect.getmodule(type(processor)) or type(processor))
    except (OSError, TypeError):
        code = ""  # defined at a prompt: its pickled state holds the code
    return digest(processor_config(processor), code, __version__)


@lru_cache(maxsize=4)
def _unpack(pickled: bytes) -> Any:
    """The processor in this process, unpacked once and not for every chunk."""
    return cloudpickle.loads(pickled)


def _raised_while_reading(error: BaseException) -> bool:
    """True if the error came up through coffea's reading of a branch, not from the processor's own code."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(READERS):
            return True
        trace = trace.tb_next
    return False


@dataclass(frozen=True)
class _Work:
    """The function that executors call with a chunk; its result is {chunk number: what happened}."""

    processor: bytes
    folder: Path | None
    on_bad_file: str

    def __call__(self, chunk: Chunk) -> dict[int, dict[str, Any]]:
        started = time.perf_counter()
        try:
            content = self._process(chunk)
        except _BadChunk as bad:
            if self.on_bad_file == "raise":
                raise InputError(str(bad)) from bad
            log.warning("skipping events %d to %d: %s", chunk.start, chunk.stop, bad)
            return {chunk.index: {"failed": str(bad)}}
        if self.folder is not None:
            archive.save(result_path(self.folder, chunk), content)
            content = {"kept": True}
        return {chunk.index: {**content, "seconds": time.perf_counter() - started}}

    def _process(self, chunk: Chunk) -> dict[str, Any]:
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
        try:
            events = source(file.source).read(file.path, chunk.start, chunk.stop, tree=file.tree, metadata=metadata)
        except InputError as error:
            raise _BadChunk(str(error)) from error
        if len(events) != len(chunk):
            msg = f"{file.path}: got {len(events)} events in rows {chunk.start} to {chunk.stop}: the file has changed"
            raise _BadChunk(msg)
        try:
            output = _call(_unpack(self.processor), events)
        except Exception as error:
            if _raised_while_reading(error):
                msg = f"{file.path}: cannot be read, the file is truncated or corrupt ({type(error).__name__}: {error})"
                raise _BadChunk(msg) from error
            error.add_note(f"while processing events {chunk.start} to {chunk.stop} of {file.path}")
            raise
        if output is None:
            msg = (
                f"{_unpack(self.processor)!r} returned None from process(); return a dictionary or another accumulator"
            )
            raise ConfigError(msg)
        return {"read": len(events), "output": output}


class _BadChunk(Exception):
    """A chunk that could not be read."""


def _call(processor: Any, events: Any) -> Any:
    return processor.process(events) if hasattr(processor, "process") else processor(events)


def result_path(folder: Path, chunk: Chunk) -> Path:
    """Where the result of a chunk is kept."""
    return folder / f"{chunk.key}.zip"


def _collect(plan: Plan, results: Mapping[int, Mapping[str, Any]], folder: Path | None) -> Iterable[tuple[Chunk, Any]]:
    """What happened to every chunk, in order, kept results read back one after the other."""
    for chunk in plan.chunks:
        result = results.get(chunk.index)
        if result is None:
            msg = f"{chunk.file.path}: events {chunk.start} to {chunk.stop} came back from no worker; run again"
            raise IncompleteError(msg)
        yield chunk, archive.load(result_path(folder, chunk)) if folder and "kept" in result else result


def _skipped(output: Any) -> dict[str, int]:
    """Skipped events by reason, summed over the datasets of an output that counts them."""
    total: dict[str, int] = {}
    parts = output.values() if isinstance(output, Mapping) else ()
    for part in parts:
        if isinstance(part, Mapping) and isinstance(part.get("skipped"), Mapping):
            for reason, count in part["skipped"].items():
                total[reason] = total.get(reason, 0) + int(count)
    return total


def _merge(
    plan: Plan, results: Mapping[int, Mapping[str, Any]], folder: Path | None, cached: int
) -> tuple[Any, Ledger]:
    """Accumulate outputs in the order of the fileset and keep the books."""
    output: Any = None
    read = lost = 0
    failed = dict(plan.failed)
    for chunk, result in _collect(plan, results, folder):
        if "failed" in result:
            lost += len(chunk)
            failed.setdefault(chunk.file.path, result["failed"])
            continue
        read += result["read"]
        output = accumulate([result["output"]], output)
    skipped = _skipped(output)
    ledger = Ledger(
        expected=sum(file.events for file in plan.files),
        read=read,
        used=read - sum(skipped.values()),
        skipped=skipped,
        lost=lost,
        files=len(plan.files) + len(plan.failed),
        files_failed=failed,
        chunks=len(plan.chunks),
        chunks_cached=cached,
    )
    return output, ledger


def _kept(plan: Plan, folder: Path | None) -> dict[int, dict[str, Any]]:
    """Chunks whose whole result is on disk."""
    if folder is None:
        return {}
    return {c.index: {"kept": True} for c in plan.chunks if zipfile.is_zipfile(result_path(folder, c))}


def _close(plan: Plan, processor: Any, output: Any, ledger: Ledger) -> RunResult:
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
        "ledger": {k: v for k, v in ledger.to_dict().items() if k != "chunks_cached"},
    }
    return RunResult(output if output is not None else {}, ledger, provenance)


def run_processor(
    fileset: Mapping[str, Any],
    processor: Any,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    chunksize: int = 10_000,
    cache_dir: str | Path | None = None,
    on_bad_file: str = "raise",
    progress: bool = False,
) -> RunResult:
    """Run a coffea processor over a fileset.

    Parameters
    ----------
    fileset : {dataset: files}; see `make_plan`. Files may be of any source, recognised by their content.
    processor : a `ProcessorABC`, or a function of events. Counts under "skipped" in a dataset's output go to the ledger.
    executor : "iterative" (this process), "futures" (processes on this machine) or "dask".
    workers : number of processes; with "dask" and no scheduler, of a local cluster.
    scheduler : address of a running dask scheduler, such as "tcp://host:8786".
    chunksize : most events in a chunk.
    cache_dir : folder, shared with the workers, for the results of finished chunks; a later run finds them by the content
        of files, processor and version.
    on_bad_file : "raise" an InputError for a file that cannot be read, or "skip" it: then the ledger holds
        the reason and the result is not `complete`. Errors of the processor itself always come through.
    progress : show a bar.

    Raises
    ------
    InputError
        For a file that cannot be read.
    IncompleteError
        If events are neither read nor lost for a known reason.
    ConfigError
        For an unknown executor or a fileset that makes no sense.
    """
    if on_bad_file not in ("raise", "skip"):
        msg = f"on_bad_file is {on_bad_file!r}, expected 'raise' or 'skip'"
        raise ConfigError(msg)
    plan = make_plan(fileset, chunksize=chunksize, on_bad_file=on_bad_file)
    folder = Path(cache_dir) / config_hash(processor) if cache_dir is not None else None
    work = _Work(cloudpickle.dumps(processor), folder, on_bad_file)
    results = _kept(plan, folder)
    cached = len(results)
    pending = [chunk for chunk in plan.chunks if chunk.index not in results]
    results |= execute(pending, work, executor=executor, workers=workers, scheduler=scheduler, progress=progress)
    output, ledger = _merge(plan, results, folder, cached)
    return _close(plan, processor, output, ledger)
