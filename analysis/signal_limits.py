"""Limits on simulated signals: efficiency, shape and uncertainties of each after the cuts of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.limits import LimitJob, limit_cuts, limit_stage, unconfirmed
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob
from resonaut.analysis.signal_config import STATISTICS, SignalConfig
from resonaut.analysis.signals import SignalSample
from resonaut.analysis.systematics import (
    SignalSpectra,
    TemplateJob,
    load_templates,
    template_jobs,
    template_stage,
)
from resonaut.stats import TOYS_BELOW, ScanInput, Signal

__all__ = ("SignalResult", "SignalStage", "signal_of", "signal_results", "signal_stage")

Floats = npt.NDArray[np.float64]
LARGEST = 1.0  # relative change of the yield that a log-normal factor stands for
SMALLEST = 1e-6  # relative change of the yield that is one, not the last digits of sums
FEW = 10.0  # simulated events after a cut, below which there is no shape to set a limit with


def signal_of(spectra: SignalSpectra, config: SignalConfig) -> Signal:
    """The signal for `resonaut.stats`: per event that is produced, with the uncertainties of its yield and of its shape.

    A variation that changes the yield is a log-normal factor of it (``normsys`` of pyhf) times templates with what is left of
    the change (``histosys``), so that at one standard deviation both give the spectra of the variation, and further out the
    signal does not vanish or become negative. The number of simulated events is one nuisance parameter a bin, as ``staterror``
    of pyhf.
    """
    yields = {name: value for name, value in config.uncertainties.items() if value}
    shapes = {}
    # a variation that leaves nothing cannot be a template; a millionth of the nominal one is nothing to a limit
    floor = 1e-6 * spectra.nominal
    for name, pair in spectra.nuisances.items():
        down, up = (np.maximum(each, floor) for each in pair)
        change = float(np.sqrt(up.sum() / down.sum())) - 1.0
        if SMALLEST < change <= LARGEST:  # a factor of the yield cannot fall with its parameter
            yields[name] = change
            down, up = down * (1.0 + change), up / (1.0 + change)
        if not np.allclose([down, up], spectra.nominal, rtol=1e-9, atol=0.0):
            shapes[name] = (down, up)
    return Signal(spectra.nominal, yields, shapes | _statistics(spectra, config.name))


def _statistics(spectra: SignalSpectra, name: str) -> dict[str, tuple[Floats, Floats]]:
    """Templates with one bin moved by its error; bins that hold the last hundredth of the variance are left out."""
    variance = np.where(spectra.nominal > 0, spectra.variance, 0.0)
    order = np.argsort(variance)
    kept = order[np.cumsum(variance[order]) > 0.01 * variance.sum()]
    found = {}
    for place in sorted(kept.tolist()):
        error = np.zeros(len(variance))
        error[place] = np.sqrt(variance[place])
        pair = (np.maximum(spectra.nominal - error, 0.0), spectra.nominal + error)
        found[f"{STATISTICS}_{name}_bin{place:03d}"] = pair
    return found


@dataclass(frozen=True)
class SignalResult:
    """What a search says about one signal after one cut: how it is selected, and the limit where one is set."""

    config: SignalConfig
    templates: TemplateJob
    cut: float
    spectra: SignalSpectra
    unscored: int
    limit: LimitJob | None = None
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

    def shape_changes(self) -> dict[str, dict[str, list[float]]]:
        """What -1 and +1 standard deviation of each correction do to the shape, whatever they do to the yield.

        "mean": relative change of the mean mass; "moved": part of the selected events that is in another bin.
        """
        edges, nominal = self.spectra.edges, self.spectra.nominal
        if not nominal.sum() > 0:
            return {}
        centres = np.sqrt(edges[1:] * edges[:-1])
        shape = nominal / nominal.sum()
        found = {}
        for name, pair in self.spectra.nuisances.items():
            shapes = [each / each.sum() if each.sum() > 0 else shape for each in pair]
            mean = [float((centres @ each) / (centres @ shape) - 1.0) for each in shapes]
            found[name] = {"mean": mean, "moved": [float(0.5 * np.abs(each - shape).sum()) for each in shapes]}
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
        elif self.limit and self.limit.result.method == "toys":
            few = f"rests on fewer than {TOYS_BELOW:g} events, where the asymptotic formula is too optimistic"
            found.append(f"{who}, cut {100 * self.cut:g} %: the limit {few}: it comes from toys")
        if self.limit and self.limit.result.check:
            found.append(unconfirmed(f"{who}, cut {100 * self.cut:g} %", self.limit.result))
        return found

    def to_dict(self, luminosity: float | None) -> dict[str, Any]:
        """Numbers for JSON; see docs/summary.md."""
        window, efficiency = self.templates.window, self.spectra.efficiency
        values: dict[str, Any] = {
            "name": self.config.name, "mass": self.config.mass, "low": window.low, "high": window.high,
            "method": self.templates.method, "cut": self.cut,
            "efficiency": efficiency, "efficiency_error": self.spectra.efficiency_error,
            "unscored": self.unscored, "uncertainties": self.yield_changes(), "shapes": self.shape_changes(),
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
            produced = limit.cross_section(luminosity, efficiency=min(inside, 1.0))
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
            signal = job.sample.config
            folder = run.path / "signals" / signal.name / "limits"
            limit = LimitJob.of(config, selection, folder, signal.name, signal.mass, signal_of(each, signal))
            found.append(SignalResult(*given, limit=limit))
    return found


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
    run.remove_others("signals/*/limits/*", [job.folder for job in limits])
    limit_stage(limits, workers=config.workers, title="limits on signals")
    for sample in samples:
        warnings += sample.warnings
    for result in results:
        warnings += result.warnings
    units = [job.unit for job in templates] + [job.unit for job in limits]
    seconds = sum(sample.seconds for sample in samples) + sum(unit.seconds for unit in units)
    return SignalStage(results, warnings, seconds)
