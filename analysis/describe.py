"""What a run would do, and what the first events of its files say: for `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig, SignalConfig
from resonaut.analysis.injections.grid import require_events
from resonaut.analysis.limits import limit_cuts
from resonaut.analysis.scoring import choose_features, require_counts, require_masses, search_windows
from resonaut.analysis.signals import is_signal_table, refuse_same, signal_window
from resonaut.errors import InputError
from resonaut.processors import TableProcessor, read_table, recognise, source
from resonaut.processors.sources.paths import NamedFile, named_files
from resonaut.processors.sources.tables import EventTable

__all__ = ("describe_inputs", "describe_search", "require_injections")

LOOKED_AT = 500
"""Events of the first file of each kind."""
FILES = 5
"""Most files that are opened to find one with masses in the scan."""
Columns = Mapping[str, npt.NDArray[Any]]


def describe_search(config: SearchConfig, base: Path) -> str:
    """What a run would do, for `--dry-run`."""
    files = config.resolved_files(base)
    simulated = config.resolved_simulation(base)
    using = [m.title for m in config.methods if m.uses_simulation]
    windows = search_windows(config)
    cuts = ", ".join(f"{c:g}" for c in config.selection.cuts)
    functions = [config.fit.function, *(f"{m.fit.function} ({m.title})" for m in config.methods if m.fit)]
    lines = [
        f"search {config.name!r}, seed {config.seed}",
        f"events    {len(files)} files, {config.input.executor.name} executor",
        f"          {', '.join(f.name for f in files[:6])}{' ...' if len(files) > 6 else ''}",
        *(
            []
            if not simulated
            else [f"simulation {len(simulated)} files, for {', '.join(using) or 'no method: not needed'}"]
        ),
        f"windows   {len(windows)} signal regions from {windows[0]} to {windows[-1]}",
        f"methods   {', '.join(m.title for m in config.methods)}; {config.selection.folds} folds",
        f"cuts      none, {cuts} of the events",
        f"fits      {(len(config.selection.cuts) * len(config.methods) + 1) * len(windows)} with {', '.join(functions)}",
        f"limits    {len(limit_cuts(config))} cuts, one mass per window",
        *_described_signals(config, base),
        *_described_checks(config),
        f"workers   {config.workers}",
    ]
    return "\n".join(lines)


def _described_checks(config: SearchConfig) -> list[str]:
    lines = ["blind     observed data of signal regions are hidden until `resonaut unblind`"] if config.blind else []
    if config.validation:
        number = config.validation.pseudo_experiments
        lines.append(f"checks    before signal regions are looked at, with {number} pseudo-experiments")
    return lines


def _described_signals(config: SearchConfig, base: Path) -> list[str]:
    lines = []
    for signal in config.signals:
        window = signal_window(signal.mass, search_windows(config))
        names = [*signal.make_corrections(base).names, *signal.uncertainties]
        where = f"in {window}" if window else "in no window: no limit"
        lines.append(
            f"signal    {signal.name}, {len(config.resolved_signal(signal, base))} files, {signal.mass:g} GeV, {where}; "
            f"uncertainties: {', '.join(names) or 'of the number of its events'}"
        )
    return lines


def describe_inputs(config: SearchConfig, base: Path) -> str:
    """What the first events are like, read as the search would read them.

    Raises
    ------
    ResonautError
        What the search would say: files that cannot be read, columns and features that are not there, a signal that is the data.
    """
    refuse_same(config, base)
    lines = []
    kinds: dict[str, tuple[Any, Any]] = {"events": (config.resolved_files(base), config.input.columns_of("events"))}
    if files := config.resolved_simulation(base):
        kinds["simulation"] = (files, config.input.columns_of("simulation"))
    for name, (files, columns) in kinds.items():
        found = _first_of(name, files, columns, config)
        for method in config.methods:
            if name == "events" or method.uses_simulation:
                choose_features(method, list(found))
        if name == "events":
            require_counts(np.asarray(found.get("weight", np.ones(0))))
        lines.append(_described_events(name, found, config))
    for signal in config.signals:
        first = _first_signal_events(signal, config, base)
        lines.append(_described_events(f"signal {signal.name}", first.columns, config))
    return "\n".join(lines)


def require_injections(config: SearchConfig, base: Path) -> None:
    """InputError if a signal has too few simulated events for the largest strength of a campaign, as its first events say."""
    if config.injections is None:
        return
    chosen = config.injections.signals or tuple(signal.name for signal in config.signals)
    for signal in config.signals:
        if signal.name in chosen:
            first = _first_signal_events(signal, config, base)
            # as if all its events were like the first
            weight = np.resize(first.columns.get("weight", np.ones(first.used)), round(first.used * first.share))
            generated = signal.generated or first.sum_of_weights * first.share
            require_events(signal.name, config.injections.events[-1], weight.astype(np.float64), generated)


@dataclass(frozen=True)
class _First:
    """First events of some files: columns of their table, how many were read, sum of their weights before cuts, and all events / read ones."""

    columns: Columns
    read: int
    sum_of_weights: float
    share: float = 1.0

    @property
    def used(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def _first_of(name: str, files: Any, columns: Any, config: SearchConfig) -> Columns:
    """First events of the first file that has some in the scan, of a few: slices of a sample may each hold other masses."""
    masses = []
    for position in np.unique(np.linspace(0, len(files) - 1, FILES).astype(int)):
        found = _first_events(_first(files[position:]), columns, config.input.processor()).columns
        masses.append(_masses(name, found, config))
        if np.any((masses[-1] >= config.scan.low) & (masses[-1] < config.scan.high)):
            return found
    looked_at = np.concatenate(masses)
    if np.any(looked_at >= config.scan.high):  # none below: a scan in the far tail would look the other way round
        about = f"first {name} ({LOOKED_AT} of each of {len(masses)} files)"
        require_masses(looked_at, config.variable, (config.scan.low, config.scan.high), about)
    return found


def _first(files: Any) -> NamedFile:
    return named_files([str(path) for path in files[:1]])[0]


def _first_signal_events(signal: SignalConfig, config: SearchConfig, base: Path) -> _First:
    columns = config.input.columns if signal.columns is None else signal.columns
    processor = config.input.processor(signal.make_corrections(base))
    files = named_files([str(path) for path in config.resolved_signal(signal, base)])
    columns = None if is_signal_table(files[0], signal, config) else columns
    first = _first_events(files[0], columns, processor)
    total = sum(_reader(file, columns).n_events(file.path, file.tree) for file in files)
    return replace(first, share=total / max(first.read, 1))


def _reader(file: NamedFile, columns: Any) -> Any:
    given = file.source if file.source is not None else columns
    return source(recognise(file.path) if given is None else given)


def _first_events(file: NamedFile, columns: Any, processor: TableProcessor) -> _First:
    """Event table of the first events of a file."""
    if file.source is None and columns is None and EventTable().recognises(file.path):
        table = read_table(file.path)[:LOOKED_AT]
        found = {name: np.asarray(table[name]) for name in table.fields}
        return _First(found, len(table), float(np.sum(found.get("weight", np.ones(len(table))))))
    reader = _reader(file, columns)
    number = min(reader.n_events(file.path, file.tree), LOOKED_AT)
    about = {**file.metadata, "dataset": file.dataset, "filename": file.path}
    events = reader.read(file.path, 0, number, tree=file.tree, metadata=about)
    (output,) = processor.process(events).values()
    weights = output["sum_of_weights"]["nominal"] if "sum_of_weights" in output else output["cutflow_weighted"]["all"]
    return _First({name: column.value for name, column in output["table"].items()}, number, float(weights))


def _described_events(name: str, columns: Columns, config: SearchConfig) -> str:
    """How many of the first events are used, and where their masses are."""
    mass = _masses(name, columns, config)
    if not len(mass):
        return f"first {name}: none of {LOOKED_AT} is left after the cuts"
    inside = np.count_nonzero((mass >= config.scan.low) & (mass < config.scan.high))
    text = f"first {name}: {len(mass)} used, {config.variable} {mass.min():.4g} to {mass.max():.4g} GeV, {inside} of them in the scan"
    return text if inside else f"{text}: ARE THE UNITS AND THE SCAN RIGHT?"


def _masses(name: str, columns: Columns, config: SearchConfig) -> npt.NDArray[np.float64]:
    """Finite values of the resonant variable, GeV."""
    if config.variable not in columns:
        msg = f"{name}: no column {config.variable} (GeV) among {', '.join(columns)}: see scan.variable"
        raise InputError(msg)
    mass = np.asarray(columns[config.variable], dtype=np.float64)
    return mass[np.isfinite(mass)]
