"""A campaign from its config to its numbers and figures."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resonaut.analysis.blinding import require_blind
from resonaut.analysis.config import MethodConfig, SearchConfig
from resonaut.analysis.events import event_stage, simulation_stage
from resonaut.analysis.injections.curves import curves_of
from resonaut.analysis.injections.figures import draw_campaign
from resonaut.analysis.injections.grid import InjectionJob, check_weights, injected_signals, injection_jobs
from resonaut.analysis.injections.unit import run_unit
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import uses_labels
from resonaut.analysis.signals import signal_samples
from resonaut.analysis.summary import versions
from resonaut.errors import ConfigError, InputError
from resonaut.files import finite_or_none, read_json, write_json
from resonaut.models import make_scorer

__all__ = ("SCHEMA", "describe_campaign", "run_campaign", "trainings_of")

logger = logging.getLogger(__name__)
SCHEMA = "resonaut.campaign/1"
PATIENCE = 90.0
"""Seconds until a shared file system shows what another machine has written."""


def trainings_of(name: str, options: dict[str, Any]) -> int:
    """Networks, or ensembles of trees, that a scorer trains on one part of the events.

    Examples
    --------
    >>> trainings_of("cwola-nn", {}), trainings_of("cwola-trees", {"members": 4})
    (40, 4)
    """
    scorer = make_scorer(name, **options)
    known = scorer.options
    parts = [member for key in ("members", "scorers") if isinstance(member := known.get(key), (list, tuple))]
    if parts:
        return sum(trainings_of(part["name"], dict(part.get("options", {}))) for part in parts[0])
    number = 1
    for key in ("rounds", "initialisations", "members"):
        value = known.get(key, 1)
        number *= value if isinstance(value, int) and value > 0 else 1
    return number


def _trainings(method: MethodConfig, config: SearchConfig) -> int:
    return config.selection.folds * trainings_of(method.name, dict(method.options))


def _required(config: SearchConfig) -> None:
    if config.injections is None:
        msg = "this config has no campaign: add injections: {events: [0, 100, 200, 500, 1000]} and signals"
        raise ConfigError(msg)
    if config.limits is None:
        msg = "a campaign sets limits: leave `limits: null` out"
        raise ConfigError(msg)
    if config.blind:
        msg = (
            "a campaign shows the observed limits and excesses of the data, and this config has `blind: true`: inject into "
            "simulation or pseudo-data (input.files) with `blind: false`"
        )
        raise ConfigError(msg)


def describe_campaign(config: SearchConfig) -> str:
    """What a campaign would do, for `--dry-run`."""
    _required(config)
    assert config.injections is not None
    names = config.injections.signals or tuple(signal.name for signal in config.signals)
    lines = [
        f"campaign of the search {config.name!r}, seed {config.seed}",
        f"signals   {', '.join(names)}",
        f"strengths {', '.join(f'{n:g}' for n in config.injections.events)} produced events, {config.injections.seeds} runs of each",
    ]
    total = 0
    for method in config.methods:
        points = 1 if uses_labels(method) else len(config.injections.events)
        units = len(names) * points * config.injections.seeds
        number = units * _trainings(method, config)
        total += number
        lines.append(
            f"method    {method.title}: {units} units, {number} trainings{' (reference: knows the truth)' if uses_labels(method) else ''}"
        )
    executor = config.injections.executor
    where = f"{config.workers} workers" if executor is None else f"on {executor.name}"
    return "\n".join([*lines, f"in all    {total} trainings, {where}"])


def run_campaign(config: SearchConfig, base: Path, out: Path) -> Path:
    """Run a campaign, or finish one that was interrupted.

    Parameters
    ----------
    config : of the search, with `signals` and `injections`.
    base : folder that relative names of files start from.
    out : run directory; it may be that of a search with the same events, whose event table is then taken.

    Returns
    -------
    Path
        `campaign.json`.

    Raises
    ------
    ResonautError
        On bad input; finished units stay in the run directory.
    """
    _required(config)
    run = RunDirectory(out.absolute())
    require_blind(config, run.path)
    with run.lock():
        base = base.absolute()
        data, simulation = event_stage(config, base, run), simulation_stage(config, base, run)
        signals = injected_signals(config, signal_samples(config, base, run))
        samples = [sample for sample, _ in signals]
        warnings = [
            *data.warnings,
            *(w for sample in samples for w in sample.warnings),
            *check_weights(config, samples),
        ]
        jobs = injection_jobs(config, run, data, simulation, signals)
        (run.path / "campaign.json").unlink(missing_ok=True)  # what an earlier config led to is no result of this one
        shutil.rmtree(run.path / "campaign", ignore_errors=True)
        _work_off(jobs, config)
        content = _summary(config, jobs, warnings)
        write_json(run.path / "campaign.json", finite_or_none(content))
        draw_campaign(content, run.path / "campaign")
    return run.path / "campaign.json"


def _work_off(jobs: Sequence[InjectionJob], config: SearchConfig) -> None:
    assert config.injections is not None
    todo = [job for job in jobs if not job.unit.done]
    if len(todo) < len(jobs):
        logger.info("%d of %d units of the campaign are there from an earlier run", len(jobs) - len(todo), len(jobs))
    with progress_bar("searches with signals injected", len(todo)) as advance:
        for done in map_unordered(run_unit, todo, workers=config.workers, cluster=config.injections.executor):
            logger.info("finished %s", done)
            advance(1)
    end = time.monotonic() + PATIENCE
    while (missing := [job for job in todo if not job.unit.done]) and time.monotonic() < end:
        time.sleep(1.0)
    if missing:
        msg = f"{missing[0].folder} is finished on a worker but is not seen here: give --out a place that all workers share"
        raise InputError(msg)


def _summary(config: SearchConfig, jobs: Sequence[InjectionJob], warnings: Sequence[str]) -> dict[str, Any]:
    results = [(job, read_json(job.folder / "result.json")) for job in jobs]
    skipped = {
        f"{job.sample.config.name}, {job.method.title}: {found['skipped']}"
        for job, found in results
        if found["skipped"]
    }
    return {
        "schema": SCHEMA,
        "name": config.name,
        "seed": config.seed,
        "luminosity": config.fb_inverse,
        "units": len(jobs),
        "trainings": sum(_trainings(job.method, config) for job in jobs),
        "cpu_seconds": sum(job.unit.seconds for job in jobs),
        "signals": curves_of(results),
        "warnings": [*warnings, *sorted(skipped)],
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }
