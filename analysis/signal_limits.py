"""Limits on simulated signals: efficiency, shape and uncertainties of each after the cuts of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.limits import limit_cuts
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import ScoreJob
from resonaut.analysis.signal_config import STATISTICS, SignalConfig
from resonaut.analysis.signals import SignalSample
from resonaut.analysis.spectra import FitOptions, fit_options, selection_name
from resonaut.analysis.systematics import (
    SignalSpectra,
    TemplateJob,
    load_templates,
    template_jobs,
    template_stage,
)
from resonaut.files import digest, read_json, write_json
from resonaut.stats import (
    LimitResult,
    ScanInput,
    Signal,
    build_workspace,
    fit_background,
    limit_scan,
    write_workspace,
)
from resonaut.stats.spectrum import poisson_counts

__all__ = ("SignalLimitJob", "SignalResult", "SignalStage", "signal_of", "signal_results", "signal_stage")

Floats = npt.NDArray[np.float64]
FEW = 10.0  # simulated events after a cut, below which there is no shape to set a limit with


def signal_of(spectra: SignalSpectra, config: SignalConfig) -> Signal:
    """The signal for `resonaut.stats`: per event that is produced, with the uncertainties of its yield and of its shape."""
    total, error = spectra.efficiency, spectra.efficiency_error
    yields = {name: value for name, value in config.uncertainties.items() if value}
    if error > 0:
        yields[f"{STATISTICS}_{config.name}"] = error / total
    # a variation that leaves nothing cannot be a template; a millionth of the nominal one is nothing to a limit
    floor = 1e-6 * spectra.nominal
    shapes = {name: (np.maximum(down, floor), np.maximum(up, floor)) for name, (down, up) in spectra.nuisances.items()}
    return Signal(spectra.nominal, yields, shapes)


@dataclass(frozen=True)
class SignalLimitJob:
    """The limit on one signal in one spectrum."""

    folder: Path
    key: str
    name: str
    mass: float
    signal: Signal
    fit: FitOptions
    counts: Floats
    edges: Floats

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)

    @property
    def result(self) -> LimitResult:
        """Limit of a finished unit, in selected events."""
        return LimitResult.from_dict(read_json(self.folder / "limit.json"))


@dataclass(frozen=True)
class SignalResult:
    """What a search says about one signal after one cut: how it is selected, and the limit where one is set."""

    config: SignalConfig
    templates: TemplateJob
    cut: float
    spectra: SignalSpectra
    unscored: int
    limit: SignalLimitJob | None = None
    why_not: str = ""

    @property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """Bins of the spectrum that the limit is set in."""
        edges = self.spectra.edges
        low, high = (self.limit.fit.fit_range if self.limit else None) or (edges[0], edges[-1])
        return np.asarray((edges[:-1] >= low * (1 - 1e-9)) & (edges[1:] <= high * (1 + 1e-9)))

    def yield_changes(self) -> dict[str, list[float]]:
        """Relative change of the yield by -1 and +1 standard deviation of each nuisance parameter."""
        total = self.spectra.efficiency
        found = {name: [-value, value] for name, value in self.config.uncertainties.items()}
        if total > 0:
            found[STATISTICS] = [-self.spectra.efficiency_error / total, self.spectra.efficiency_error / total]
            found |= {n: [float(s.sum() / total - 1) for s in pair] for n, pair in self.spectra.nuisances.items()}
        return found

    @property
    def warnings(self) -> list[str]:
        """What a reader of the limit has to know."""
        who = f"signal {self.config.name}, {self.templates.method}"
        found = []
        if self.unscored:
            found.append(f"{who}: {self.unscored} events lack a feature and cannot be selected")
        if self.spectra.clipped:
            found.append(
                f"{who}, cut {100 * self.cut:g} %: {self.spectra.clipped} bins of its templates were negative, taken as 0"
            )
        if self.why_not:
            found.append(f"{who}, cut {100 * self.cut:g} %: {self.why_not}")
        if self.limit and not self.limit.result.ok:
            found.append(f"{who}, cut {100 * self.cut:g} %: no limit, {self.limit.result.status}")
        return found

    def to_dict(self, luminosity: float | None) -> dict[str, Any]:
        """Numbers for JSON; see docs/summary.md."""
        window, efficiency = self.templates.window, self.spectra.efficiency
        values: dict[str, Any] = {
            "name": self.config.name, "mass": self.config.mass, "low": window.low, "high": window.high,
            "method": self.templates.method, "cut": self.cut,
            "efficiency": efficiency, "efficiency_error": self.spectra.efficiency_error,
            "unscored": self.unscored, "uncertainties": self.yield_changes(),
            "expected_events": None, "observed": None, "expected": None, "observed_fb": None, "expected_fb": None,
            "observed_strength": None, "expected_strength": None, "cls_pyhf": None,
            "status": self.why_not or "no limit was asked for after this cut",
        }  # fmt: skip
        cross_section = self.config.cross_section
        if luminosity and cross_section:
            values["expected_events"] = cross_section * luminosity * efficiency
        if self.limit is None:
            return values
        limit = self.limit.result
        values |= {
            "observed": limit.observed,
            "expected": list(limit.expected),
            "cls_pyhf": limit.cls_pyhf,
            "status": limit.status,
        }
        inside = float(self.spectra.nominal[self.fitted].sum())
        if luminosity and inside > 0 and limit.ok:
            produced = limit.cross_section(luminosity, efficiency=inside)
            values |= {"observed_fb": produced.observed, "expected_fb": list(produced.expected)}
            if cross_section:
                values["observed_strength"] = produced.observed / cross_section
                values["expected_strength"] = [value / cross_section for value in produced.expected]
        return values


def signal_results(
    config: SearchConfig, run: RunDirectory, jobs: Sequence[TemplateJob], selections: Sequence[ScanInput]
) -> list[SignalResult]:
    """Signals after each cut of each method, with the units of their limits.

    Parameters
    ----------
    config, run : of the search.
    jobs : finished templates.
    selections : spectra of the data.
    """
    spectra = {(s.method, s.window, s.cut): s for s in selections}
    found = []
    for job in jobs:
        by_cut, unscored = load_templates(job)
        for cut, each in by_cut.items():
            given = (job.sample.config, job, cut, each, unscored)
            selection = spectra.get((job.method, job.window, cut))
            if selection is None or cut not in limit_cuts(config):
                found.append(SignalResult(*given))
                continue
            # events that the statistical error is that of
            effective = each.efficiency**2 / each.variance.sum() if each.efficiency > 0 else 0.0
            if effective < FEW:
                why = f"failed: {effective:.1f} simulated events are left after the cut, too few for a template"
                found.append(SignalResult(*given, why_not=why))
                continue
            found.append(SignalResult(*given, limit=_limit_job(config, run, job, selection, each)))
    return found


def _limit_job(
    config: SearchConfig, run: RunDirectory, job: TemplateJob, selection: ScanInput, spectra: SignalSpectra
) -> SignalLimitJob:
    counts, edges = poisson_counts(selection.spectrum)
    fit = fit_options(config, selection)
    signal = signal_of(spectra, job.sample.config)
    name, mass = job.sample.config.name, job.sample.config.mass
    key = digest(__version__, name, mass, signal.to_dict(), list(fit), counts.tolist(), edges.tolist())
    folder = run.path / "signals" / name / "limits" / selection_name(selection)
    return SignalLimitJob(folder, key, name, mass, signal, fit, counts, edges)


def _work(job: SignalLimitJob) -> None:
    def work(folder: Path) -> None:
        spectrum = (job.counts, job.edges)
        # A scan of one mass: a limit that fails is a result that says why, and the other units go on.
        (limit,) = limit_scan(
            spectrum, [job.mass], lambda _mass, _edges: job.signal, **job.fit._asdict(), name=job.name
        )
        write_json(folder / "limit.json", limit.to_dict())
        write_json(folder / "signal.json", job.signal.to_dict())
        if limit.ok:
            # The signal is scaled to the limit, so that CLs = 0.05 at mu = 1 for whoever runs the workspace.
            fit = fit_background(spectrum, **job.fit._replace(function=limit.function)._asdict(), errors="fisher")
            inside = job.signal.template[fit.mask | fit.blinded].sum()
            write_workspace(folder / "workspace.json", build_workspace(fit, job.signal.scaled(limit.observed / inside)))

    job.unit.make(work)


@dataclass(frozen=True)
class SignalStage:
    """Everything that a search has found out about its signals."""

    results: list[SignalResult]
    warnings: list[str]
    seconds: float

    def to_dicts(self, luminosity: float | None) -> list[dict[str, Any]]:
        """One entry for each signal, method and cut, for JSON."""
        return [result.to_dict(luminosity) for result in self.results]


def signal_stage(
    config: SearchConfig,
    run: RunDirectory,
    samples: Sequence[SignalSample],
    scores: Sequence[ScoreJob],
    data: Path,
    selections: Sequence[ScanInput],
) -> SignalStage:
    """Efficiencies of all signals and limits on them, computing what is not there yet.

    Parameters
    ----------
    config, run : of the search.
    samples : event tables of the signals.
    scores : finished trainings.
    data : event table of the data.
    selections : spectra of the data.
    """
    templates, warnings = template_jobs(config, run, samples, scores, data)
    template_stage(templates, workers=config.workers)
    results = signal_results(config, run, templates, selections)
    limits = [result.limit for result in results if result.limit is not None]
    todo = [job for job in limits if not job.unit.done]
    if todo:
        with progress_bar("limits on signals", len(todo)) as advance:
            for _ in map_unordered(_work, todo, workers=config.workers):
                advance(1)
    for sample in samples:
        warnings += sample.warnings
    for result in results:
        warnings += result.warnings
    units = [job.unit for job in templates] + [job.unit for job in limits]
    seconds = sum(sample.seconds for sample in samples) + sum(unit.seconds for unit in units)
    return SignalStage(results, warnings, seconds)
