"""A whole search: event files -> event table -> scores -> spectra -> fits -> p-value scan -> limits -> plots -> report."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resonaut.analysis.black_boxes import excess_stage
from resonaut.analysis.blinding import (
    blind_direct,
    blind_limits,
    blind_pairs,
    blind_scan,
    blind_selections,
    blind_signals,
    blind_state,
    config_hash,
    record_unblinding,
    require_blind,
    require_reason,
    require_verdict,
    write_blinded,
)
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.direct import DirectEntry, direct_stage, write_direct
from resonaut.analysis.events import EventStage, event_stage, simulation_stage
from resonaut.analysis.interpretation import interpretation_stage
from resonaut.analysis.limits import LimitJob, limit_jobs, limit_stage, limit_warnings
from resonaut.analysis.outputs import draw_all, write_submission
from resonaut.analysis.report import write_report
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import (
    ScoreJob,
    load_scores,
    score_jobs,
    score_stage,
    uses_labels,
)
from resonaut.analysis.signal_limits import SignalStage, signal_stage
from resonaut.analysis.signals import SignalSample, signal_samples
from resonaut.analysis.spectra import excesses_of, scan_of, selections_of, write_spectra
from resonaut.analysis.summary import build_summary
from resonaut.analysis.validation import current_validation, is_of, validation_stage
from resonaut.analysis.validation_config import ValidationConfig
from resonaut.errors import ConfigError
from resonaut.files import atomic_path, write_json
from resonaut.stats import LimitResult, ScanResult

__all__ = ("run_search", "unblind_search")

logger = logging.getLogger(__name__)
EVIDENCE = 3.0  # global standard deviations from which an excess is worth a validation


@dataclass(frozen=True)
class _Work:
    """The finished units of a run, for timings and warnings."""

    events: EventStage
    simulation: EventStage | None
    scores: list[ScoreJob]
    limits: list[LimitJob]
    signals: SignalStage
    started: float

    def timings(self) -> dict[str, float]:
        return {
            "events": self.events.seconds,
            **({} if self.simulation is None else {"simulation": self.simulation.seconds}),
            "training": sum(job.unit.seconds for job in self.scores),
            "limits": sum(job.unit.seconds for job in self.limits),
            **({"signals": self.signals.seconds} if self.signals.results else {}),
            "total": time.perf_counter() - self.started,
        }

    def warnings(self, config: SearchConfig, scan: ScanResult) -> list[str]:
        found = list(self.events.warnings)
        if self.simulation is not None:
            found += [f"{warning} (simulation)" for warning in self.simulation.warnings]
            if not any(method.uses_simulation for method in config.methods):
                found.append("no method of this search learns from simulation: input.simulation was read for nothing")
        for job in self.scores:
            scores = load_scores(job)
            if scores.unscored:
                found.append(f"{job.method.title}: {scores.unscored} events lack a feature and cannot be selected")
            if scores.skipped:
                found.append(f"{job.method.title}: a window was skipped: {scores.skipped}")
        for method in config.methods:
            made = {e.cut for e in scan.entries if e.method == method.title}
            for cut in set(config.selection.cuts) - made:
                keeps = f"it would keep fewer than {config.selection.minimum_events} events"
                found.append(
                    f"{method.title}: the cut {100 * cut:g} % was not made, {keeps}; there is no limit after it"
                )
            if uses_labels(method):
                found.append(f"{method.title} is trained on truth labels: this is a benchmark, not a search")
        found += limit_warnings(self.limits)
        found += self.signals.warnings
        failed = [e for e in scan.entries if not e.ok]
        if failed:
            found.append(f"{len(failed)} of {len(scan.entries)} fits failed: those entries have no p-value")
        return list(dict.fromkeys(found))


def run_search(config: SearchConfig, base: Path, out: Path) -> Path:
    """Run a search, or finish one that was interrupted.

    Parameters
    ----------
    config
        What to do.
    base
        Folder that relative file names of the config start from.
    out
        Run directory. Finished units of an earlier run with the same inputs are taken as they are.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ResonautError
        On bad input; everything that was finished stays in the run directory.
    """
    started = time.perf_counter()
    run = RunDirectory(out.absolute())  # workers of a cluster may have another working directory
    with run.lock():
        return _run(config, base.absolute(), run, started)


def unblind_search(config: SearchConfig, out: Path, *, reason: str, force: bool = False) -> Path:
    """Record that the signal regions of a blinded run are looked at, and conclude the run with them.

    Parameters
    ----------
    config
        Of the run, from its own `config.yaml`.
    out
        Run directory of a finished, blinded run.
    reason
        Why, in the words of who looks.
    force
        Look although the validation is red, or without one; without `force` one that is missing is made now.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ConfigError
        If the run is not blind, the reason is empty, or the validation is red.
    """
    if not config.blind:
        msg = f"{out} is not a blinded run: its config has no `blind: true`"
        raise ConfigError(msg)
    require_reason(reason)
    started = time.perf_counter()
    run, base = RunDirectory(out.absolute()), out.absolute()
    with run.lock():
        events = event_stage(config, base, run)
        validation = current_validation(config, base, run, events.key)
        enough = is_of(validation, config.validation or ValidationConfig())  # not a quick one
        if not enough and not force:
            simulation = simulation_stage(config, base, run)
            validation = validation_stage(config, base, run, events, simulation, signal_samples(config, base, run))
            enough = True
        require_verdict(validation, force=force)
        own = config_hash(config, base, events.key)
        forced = validation is None or not enough or validation["verdict"] not in ("green", "amber")
        record_unblinding(run.path, reason=reason, own_hash=own, validation=validation, forced=forced)
        return _run(config, base, run, started)


def _run(config: SearchConfig, base: Path, run: RunDirectory, started: float) -> Path:
    require_blind(config, run.path)
    run.clear_results()
    _write_config(config, base, run)
    events = event_stage(config, base, run)
    simulation = simulation_stage(config, base, run)
    samples = signal_samples(config, base, run)
    state = blind_state(config, base, run.path, events.key)
    validation = current_validation(config, base, run, events.key)
    if config.validation and not is_of(validation, config.validation):
        validation = validation_stage(config, base, run, events, simulation, samples)
    jobs = score_jobs(config, run, events.table, events.key, simulation)
    score_stage(jobs, workers=config.workers)
    results = _results(config.model_copy(update={"blind": state.hidden}), run, jobs, events, samples)
    interpretation_stage(results.config, run, jobs, results.scan)
    work = _Work(events, simulation, jobs, results.limit_jobs, results.signals, started)
    summary = build_summary(
        config,
        events=events.summary,
        simulation=simulation.summary if simulation else None,
        scan=results.scan,
        direct=results.direct,
        limits=results.limits,
        signals=results.signal_rows,
        excess=results.excess,
        timings=work.timings(),
        warnings=[*work.warnings(config, results.scan), *state.warnings, *_unvalidated(results.excess, validation)],
        blind=state.hidden,
        unblinding=state.record,
        validation=validation,
    )
    write_json(run.summary, summary)
    return write_report(run.path)


def _unvalidated(excess: Mapping[str, Any] | None, validation: Mapping[str, Any] | None) -> list[str]:
    """That nobody has tried the search that found something on background."""
    significance = excess and excess["global_significance"]
    if validation or not significance or significance < EVIDENCE:
        return []
    text = (
        "this excess is not validated: a selection that has learnt the mass makes one of background alone; `resonaut validate` repeats "
        "the whole search on background"
    )
    return [text]


@dataclass(frozen=True)
class _Results:
    """What a run concludes, as it may be shown; `config` says whether it is blind now."""

    config: SearchConfig
    scan: ScanResult
    direct: list[DirectEntry]
    limit_jobs: list[LimitJob]
    limits: list[LimitResult]
    signals: SignalStage
    signal_rows: list[dict[str, Any]]
    excess: dict[str, Any] | None


def _results(
    config: SearchConfig, run: RunDirectory, jobs: list[ScoreJob], events: EventStage, samples: list[SignalSample]
) -> _Results:
    """Fits, p-values, limits and their files; of a blinded run, without what was observed."""
    selections = selections_of(config, jobs, events.table)
    scan = scan_of(config, selections)
    pairs = excesses_of(config, selections)
    direct = direct_stage(config, jobs, events.table, pairs)
    if config.blind:
        selections = blind_selections(config, pairs)
        scan, pairs, direct = blind_scan(scan), blind_pairs(config, pairs), blind_direct(direct)
        write_blinded(run.results, pairs, scan)
    else:
        write_spectra(run.results, pairs, scan)
    write_direct(run.results, direct)
    todo = limit_jobs(config, run, selections)
    limits = limit_stage(todo, workers=config.workers)
    signals = signal_stage(config, run, samples, jobs, events.table, selections)
    rows = signals.to_dicts(config.fb_inverse)
    excess = excess_stage(config, run, jobs, events.table, pairs, rows)
    if config.blind:
        limits, rows = blind_limits(limits), blind_signals(rows)
    draw_all(
        config,
        run.plots,
        score_jobs=jobs,
        table=events.table,
        pairs=pairs,
        scan=scan,
        limit_jobs=todo,
        limits=limits,
        signals=() if config.blind else signals.results,
    )
    write_submission(config, run.results, pairs, scan, limits)
    return _Results(config, scan, direct, todo, limits, signals, rows, excess)


def _write_config(config: SearchConfig, base: Path, run: RunDirectory) -> None:
    """Keep the config, defaults filled in and files by their whole names, so that it runs from anywhere."""
    content = config.described(base)
    with atomic_path(run.config) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))
