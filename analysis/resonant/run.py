"""A benchmark from event files to tables and figures; what is finished is never done again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.resonant.events import event_tables
from resonaut.analysis.resonant.protocol import COMBINATIONS, METHODS, REFERENCES, Protocol
from resonaut.analysis.resonant.summary import summarise
from resonaut.analysis.resonant.table import markdown
from resonaut.analysis.resonant.units import AnyUnit, Plan, undone
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import ConfigError, unknown_name
from resonaut.files import atomic_path, file_digest, finite_or_none, write_json
from resonaut.models import available, scorer_class

__all__ = ("BenchmarkReport", "choose_methods", "describe", "make_plan", "run_benchmark")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkReport:
    """Where the results of a benchmark lie, and how many units were computed now."""

    results: Path
    table: Path
    plots: Path
    computed: int


def choose_methods(wanted: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Methods of a run: those asked for, or all that are installed and have what they learn from.

    Parameters
    ----------
    wanted
        Names of references, scorers and combinations; none for all.
    files
        Roles that have a file.

    Raises
    ------
    ConfigError
        For an unknown name, or a combination of fewer than two members.
    """
    known = tuple(dict.fromkeys((*REFERENCES, *available(), *COMBINATIONS)))
    for name in wanted:
        if name not in known:
            raise ConfigError(unknown_name("method", name, known))
    if wanted:
        for name in wanted:
            needs = name in available() and getattr(scorer_class(name)(), "uses_simulation", False)
            if needs and name not in REFERENCES and "simulation" not in files:
                msg = f"{name!r} learns from simulated background: name its file with --simulation"
                raise ConfigError(msg)
        return tuple(dict.fromkeys(wanted))
    installed = [name for name in METHODS if name in available()]
    if "simulation" not in files:
        installed = [name for name in installed if not getattr(scorer_class(name)(), "uses_simulation", False)]
    return (*REFERENCES, *installed, *COMBINATIONS)


def make_plan(files: dict[str, Path], out: Path, protocol: Protocol, methods: Sequence[str]) -> Plan:
    """Plan of a run; makes the event tables.

    Raises
    ------
    ConfigError
        If a combination is asked for and fewer than two of its members.
    """
    chosen = choose_methods(methods, list(files))  # before events are read
    tables = event_tables(files, out / "events")
    content = tuple(file_digest(path) for path in tables.values())
    needed = {
        name: options for name, options in protocol.options.items() if name in chosen
    }  # theirs are the columns read
    # whoever names a method wants all of it
    reduced = {name: share for name, share in protocol.reduced.items() if name not in methods}
    protocol = replace(protocol, options=needed, reduced=reduced)
    plan = Plan(out, tuple(tables.items()), content, protocol, chosen)
    asked = [name for name in COMBINATIONS if name in chosen]
    if len(plan.mixed) < 2 and asked:
        if methods:
            msg = f"{asked[0]} needs at least two of {', '.join(protocol.combined)} among the methods, got {list(plan.mixed)}"
            raise ConfigError(msg)
        plan = Plan(out, plan.tables, content, protocol, tuple(m for m in chosen if m not in COMBINATIONS))
    return plan


def describe(plan: Plan) -> str:
    """What a run would do, in a few lines."""
    lines = [f"methods: {', '.join(plan.methods)}"]
    lines.append(f"S/B: {', '.join(f'{100 * s:g} %' for s in plan.protocol.s_over_b)}; seeds: {plan.protocol.seeds}")
    for name, units in plan.stages():
        if units:
            lines.append(f"{name}: {len(units)}, {len(units) - len(undone(units))} of them done")
    return "\n".join(lines)


def run_benchmark(plan: Plan, *, workers: int = 1) -> BenchmarkReport:
    """Make all units, then results.json, results.md and the figures.

    Parameters
    ----------
    plan
        From `make_plan`.
    workers
        Processes; with a GPU one is usually best.
    """
    run = RunDirectory(plan.folder)
    computed = 0
    with run.lock():
        for name, units in plan.stages():
            missing = undone(units)
            if not missing:
                continue
            with progress_bar(name, len(missing)) as advance:
                for unit in map_unordered(_make, missing, workers=workers):
                    logger.info("finished %s", unit)
                    advance(1)
            computed += len(missing)
        results = finite_or_none(summarise(plan))
        write_json(plan.folder / "results.json", results)
        with atomic_path(plan.folder / "results.md") as temporary:
            temporary.write_text(markdown(results))
        _draw(results, run.plots)
    return BenchmarkReport(plan.folder / "results.json", plan.folder / "results.md", run.plots, computed)


def _make(unit: AnyUnit) -> str:
    import torch

    torch.set_num_threads(1)  # many small trainings: barriers between threads cost more than they gain
    unit.make()
    return str(unit.unit.folder)


def _draw(results: dict[str, object], folder: Path) -> None:
    from resonaut.analysis.plots.resonant import draw_benchmark

    draw_benchmark(results, folder)
