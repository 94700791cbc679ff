"""Simulated signals of a search: their event tables with systematic variations, and the window that each belongs to."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from coffea.processor import accumulate

from resonaut.analysis.config import SearchConfig, SignalConfig
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.signal_tables import read_signal_tables
from resonaut.errors import InputError
from resonaut.files import digest, read_json, write_json
from resonaut.processors import Corrections, config_hash, run_processor, table_columns, write_table
from resonaut.processors.running.fingerprint import content_digest
from resonaut.processors.sources.paths import NamedFile, fileset_of, named_files
from resonaut.processors.sources.tables import EventTable
from resonaut.stats import Window

__all__ = ("SignalSample", "is_signal_table", "refuse_same", "signal_samples", "signal_window")

Floats = npt.NDArray[np.float64]
BOOKS = ("cutflow", "cutflow_weighted", "variations", "sum_of_weights")


@dataclass(frozen=True)
class SignalSample:
    """The event table of a signal with its variations, and the books of how it was made."""

    config: SignalConfig
    table: Path
    key: str
    seconds: float
    books: dict[str, Any]

    @property
    def generated(self) -> float:
        """Sum of weights that an efficiency of 1 would select."""
        return float(self.config.generated or self.books["sum_of_weights"]["nominal"])

    def rescale(self, variation: str) -> float:
        """Factor of the weights of a variation whose sum over all events is not to change; 1 for all others."""
        sums = self.books["sum_of_weights"]
        return float(sums["corrected"] / sums[variation]) if variation in self.books["keep_sum"] else 1.0

    @property
    def warnings(self) -> list[str]:
        """What a reader of the limits has to know about the events."""
        who, books = f"signal {self.config.name}", self.books
        found = [f"INCOMPLETE: {who}: {Path(p).name} was skipped: {why}" for p, why in books["files_failed"].items()]
        if books["lost"]:
            found.append(f"INCOMPLETE: {who}: {books['lost']} events were lost with their files")
        for what, part in {"": books, **books["variations"]}.items():
            if counts := {reason: n for reason, n in part["skipped"].items() if n}:
                detail = ", ".join(f"{n} with {reason}" for reason, n in counts.items())
                found.append(f"{who}{', ' + what if what else ''}: events left out, {detail}")
        if self.config.generated is None and books["from_tables"]:
            found.append(
                f"{who}: its efficiencies are relative to the events of its table, which were selected before: give "
                "`generated`, the sum of weights of all generated events"
            )
        return found


def signal_window(mass: float, windows: Sequence[Window]) -> Window | None:
    """The window whose signal region holds a mass closest to its centre; of none holds it, the nearest that has it in a sideband.

    Parameters
    ----------
    mass : GeV.
    windows : of the search.

    Examples
    --------
    >>> windows = [Window(3000.0, 3400.0, 2800.0, 3600.0), Window(3200.0, 3600.0, 3000.0, 3800.0)]
    >>> [str(signal_window(mass, windows)) for mass in (3250.0, 3390.0, 2900.0, 5000.0)]
    ['3000-3400 GeV', '3200-3600 GeV', '3000-3400 GeV', 'None']
    """

    def distance(window: Window) -> float:
        return float(abs(np.log(mass / np.sqrt(window.low * window.high))))

    holding = [w for w in windows if w.low <= mass < w.high]
    near = holding or [w for w in windows if bool(w.in_sidebands(np.array([mass]))[0])]
    return min(near, key=distance, default=None)


def signal_samples(config: SearchConfig, base: Path, run: RunDirectory) -> list[SignalSample]:
    """Event tables of all signals, made now or found from an earlier run.

    Raises
    ------
    InputError
        If a file cannot be read, is one of the data or of the simulation, or no event is left of it.
    ConfigError
        If corrections make no sense.
    """
    refuse_same(config, base)
    made = [
        (signal, signal.make_corrections(base), _named(config.resolved_signal(signal, base)))
        for signal in config.signals
    ]
    return [_sample(config, run, signal, corrections, files) for signal, corrections, files in made]


def refuse_same(config: SearchConfig, base: Path) -> None:
    """InputError for signals that are data or simulation, or one table that is there twice: before the first is processed."""
    if not config.signals:
        return
    read = _named((*config.resolved_files(base), *config.resolved_simulation(base)))
    data = {content_digest(file.path): f"{file.path}, which the search reads as data or simulation" for file in read}
    for signal in config.signals:
        _refuse_same(signal, _named(config.resolved_signal(signal, base)), data, config)


def _refuse_same(
    signal: SignalConfig, files: Sequence[NamedFile], data: Mapping[str, str], config: SearchConfig
) -> None:
    """InputError for events that are data, and for a table that is there twice; event files are compared when they are read."""
    seen = dict(data)
    for file in files:
        content = content_digest(file.path)
        if same := seen.get(content):
            msg = f"{file.path} of the signal {signal.name} holds the same bytes as {same}"
            raise InputError(msg)
        if is_signal_table(file, signal, config):
            seen[content] = f"{file.path}: its events would count twice, leave one out"
        if file.metadata.get("data"):
            msg = f"{file.path} of the signal {signal.name} is in a dataset of data ({file.origin}): leave `data` out"
            raise InputError(msg)


def _named(paths: Sequence[Path]) -> tuple[NamedFile, ...]:
    """The event files themselves, where a path is that of a list or a fileset."""
    return named_files([str(path) for path in paths])


def _sample(
    config: SearchConfig, run: RunDirectory, signal: SignalConfig, corrections: Corrections, files: Sequence[NamedFile]
) -> SignalSample:
    given = config.input
    content = [(Path(f.path).name, content_digest(f.path), f.dataset, f.tree, f.metadata, f.source) for f in files]
    columns = given.columns if signal.columns is None else signal.columns
    how = (config_hash(given.processor()), config.variable, columns, given.on_bad_file, given.duplicates)
    key = digest(content, *how, corrections.config)
    unit = run.unit(f"signals/{signal.name}/events", key)
    cache = run.path / f"cache-signal-{signal.name}"

    def work(folder: Path) -> None:
        tables = [Path(file.path) for file in files if is_signal_table(file, signal, config)]
        if tables and len(tables) < len(files):
            msg = f"signal {signal.name} mixes event files and event tables: give one kind, or make them two signals"
            raise InputError(msg)
        out = folder / "events.parquet"
        books = (
            _from_tables(tables, out, config, corrections)
            if tables
            else _from_events(fileset_of(files, columns), out, config, corrections, cache)
        )
        if not books["sum_of_weights"]["nominal"] > 0:
            msg = (
                f"signal {signal.name}: its weights sum to {books['sum_of_weights']['nominal']:g}, expected more than 0"
            )
            raise InputError(msg)
        write_json(folder / "books.json", {**books, "keep_sum": list(corrections.keep_sum)})

    if unit.done and not read_json(unit.folder / "books.json")["complete"]:
        shutil.rmtree(unit.folder)  # a file that could not be read may be readable now
    unit.make(work)
    books = read_json(unit.folder / "books.json")
    if books["complete"]:
        shutil.rmtree(cache, ignore_errors=True)
    return SignalSample(signal, unit.folder / "events.parquet", key, unit.seconds, books)


def is_signal_table(file: NamedFile, signal: SignalConfig, config: SearchConfig) -> bool:
    """Whether a file is an event table, not one that a column map reads; beside mapped data a table is one that has their mass."""
    if file.source is not None or signal.columns is not None or not EventTable().recognises(file.path):
        return False
    return config.input.columns is None or config.variable in table_columns(file.path)


def _from_tables(paths: Sequence[Path], out: Path, config: SearchConfig, corrections: Corrections) -> dict[str, Any]:
    cuts = config.input.processor().cuts
    columns, books = read_signal_tables(paths, cuts, corrections, variable=config.variable)
    write_table(out, columns, {"tables": [str(path) for path in paths], "corrections": corrections.config})
    return {**books, "from_tables": True}


def _from_events(
    fileset: dict[str, Any], out: Path, config: SearchConfig, corrections: Corrections, cache: Path
) -> dict[str, Any]:
    given, executor = config.input, config.input.executor
    result = run_processor(
        fileset, given.processor(corrections),
        executor=executor.name, workers=executor.workers, scheduler=executor.scheduler, options=executor.options,
        chunksize=executor.chunks, memory_limit=executor.memory_limit, retries=executor.retries, cache_dir=cache,
        on_bad_file=given.on_bad_file, duplicates=given.duplicates, table=out, progress=True,
    )  # fmt: skip
    ledger = result.ledger
    # several datasets of a fileset are one signal: counts and sums add up
    output = accumulate([{k: part[k] for k in BOOKS if k in part} for part in result.output.values()]) or {}
    if not result.rows:
        msg = f"no event of {', '.join(Path(path).name for part in fileset.values() for path in part['files'])} is left of {ledger.read} read: {output.get('cutflow', {})}"
        raise InputError(msg)
    return {
        "read": ledger.read,
        "used": ledger.used,
        "lost": ledger.lost,
        "skipped": dict(ledger.skipped),
        "files_failed": dict(ledger.files_failed),
        "complete": ledger.complete,
        "cutflow": output["cutflow"],
        "variations": output.get("variations", {}),
        "sum_of_weights": output.get("sum_of_weights", {"nominal": output["cutflow_weighted"]["all"]}),
        "from_tables": False,
    }
