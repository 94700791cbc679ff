"""Fourth stage: CLs upper limits on signals, first of all on a generic Gaussian resonance at the centre of each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.spectra import FitOptions, fit_options, selection_name
from resonaut.files import digest, read_json, write_json
from resonaut.stats import (
    TOYS_BELOW,
    LimitResult,
    ScanInput,
    Signal,
    build_workspace,
    fit_background,
    gaussian_template,
    limit_scan,
    write_workspace,
)
from resonaut.stats.spectrum import poisson_counts

__all__ = ("LimitJob", "limit_cuts", "limit_jobs", "limit_stage", "limit_warnings", "selected_by", "unconfirmed")

Floats = npt.NDArray[np.float64]
FORMAT = 2  # raised when the same input gives other limits or workspaces


@dataclass(frozen=True)
class LimitJob:
    """The limit on one signal in one spectrum, as a resumable unit: everything that it depends on.

    Parameters
    ----------
    folder : of the unit.
    signal : name of the signal.
    mass : of the signal, GeV.
    template : in the bins of the spectrum, with its uncertainties.
    fit : of the background.
    counts, edges : (bins,) events and (bins + 1,) GeV.
    """

    folder: Path
    signal: str
    mass: float
    template: Signal
    fit: FitOptions
    counts: Floats
    edges: Floats

    @classmethod
    def of(
        cls, config: SearchConfig, selection: ScanInput, folder: Path, signal: str, mass: float, template: Signal
    ) -> LimitJob:
        """The limit on a signal in the spectrum of a selection, in a folder of its own below `folder`."""
        counts, edges = poisson_counts(selection.spectrum)
        place = folder / selection_name(selection)
        return cls(place, signal, mass, template, fit_options(config, selection), counts, edges)

    @property
    def unit(self) -> Unit:
        spectrum = (self.counts.tolist(), self.edges.tolist())
        made_of = (self.signal, self.mass, self.template.to_dict(), list(self.fit), *spectrum)
        return Unit(self.folder, digest(__version__, FORMAT, *made_of))

    @property
    def result(self) -> LimitResult:
        """Limit of a finished unit, in signal events."""
        return LimitResult.from_dict(read_json(self.folder / "limit.json"))


def limit_warnings(jobs: Sequence[LimitJob]) -> list[str]:
    """What a reader of the limits has to know: failed ones, those that pyhf does not confirm, and those that rest on a handful of events."""
    found = []
    if failed := [job for job in jobs if not job.result.ok]:
        found.append(f"{len(failed)} of {len(jobs)} limits failed: {failed[0].result.status}")
    found += [unconfirmed(f"{job.signal} at {job.mass:.4g} GeV", job.result) for job in jobs if job.result.check]
    for signal in dict.fromkeys(job.signal for job in jobs):
        if few := [job for job in jobs if job.signal == signal and job.result.method == "toys"]:
            masses = ", ".join(f"{job.mass:.4g}" for job in few)
            found.append(
                f"limits on {signal} at {masses} GeV rest on fewer than {TOYS_BELOW:g} events, where the asymptotic "
                "formula is too optimistic: they come from toys"
            )
    return found


def unconfirmed(what: str, limit: LimitResult) -> str:
    """That pyhf does not find the same as we do, for the warnings of a run."""
    return f"the limit on {what} is not confirmed by pyhf: {limit.check}; take it with care, and look at its workspace.json"


def selected_by(method: str, cut: float) -> str:
    """A selection in words, as it stands in the name of a limit."""
    return "no cut" if cut >= 1 else f"{method}, {100 * cut:g} %"


def limit_cuts(config: SearchConfig) -> tuple[float, ...]:
    """Cuts with limits: the configured ones, else no cut and the middle cut."""
    if config.limits is None:
        return ()
    if config.limits.cuts is not None:
        return config.limits.cuts
    cuts = config.selection.cuts
    return (1.0, cuts[len(cuts) // 2])


def limit_jobs(config: SearchConfig, run: RunDirectory, selections: Sequence[ScanInput]) -> list[LimitJob]:
    """Units of the stage, one per mass (the centre of a window), method and cut; those of an earlier config are removed."""
    jobs = _jobs(config, run, selections)
    run.remove_others("limits/*", [job.folder for job in jobs])
    return jobs


def _jobs(config: SearchConfig, run: RunDirectory, selections: Sequence[ScanInput]) -> list[LimitJob]:
    if config.limits is None:
        return []
    uncertainty, part = config.limits.uncertainty, config.limits.width
    jobs = []
    for selection in selections:
        if selection.cut not in limit_cuts(config):
            continue
        mass = float(np.sqrt(selection.window.low * selection.window.high))
        shape = gaussian_template(mass, part * mass, poisson_counts(selection.spectrum)[1])
        template = Signal(shape, {"signal_yield": uncertainty} if uncertainty else {})
        name = f"Gaussian, {100 * part:g} % wide, {selected_by(selection.method, selection.cut)}"
        jobs.append(LimitJob.of(config, selection, run.path / "limits", name, mass, template))
    return jobs


def _work(job: LimitJob) -> None:
    def work(folder: Path) -> None:
        spectrum = (job.counts, job.edges)
        # A scan of one mass: a limit that fails is a result that says why, and the other units go on.
        (limit,) = limit_scan(
            spectrum, [job.mass], lambda _mass, _edges: job.template, **job.fit._asdict(), name=job.signal
        )
        write_json(folder / "limit.json", limit.to_dict())
        write_json(folder / "signal.json", job.template.to_dict())
        if limit.ok:
            # The signal is scaled to the limit, so that CLs = 0.05 at mu = 1 for whoever runs the workspace; the limit
            # counts the events in the fitted bins, which may be a part of the template's.
            fit = fit_background(spectrum, **job.fit._replace(function=limit.function)._asdict(), errors="fisher")
            inside = job.template.template[fit.mask | fit.blinded].sum()
            signal = job.template.scaled(limit.observed / inside)
            write_workspace(folder / "workspace.json", build_workspace(fit, signal))

    job.unit.make(work)


def limit_stage(jobs: Sequence[LimitJob], *, workers: int, title: str = "upper limits") -> list[LimitResult]:
    """Limits of all jobs, computing those that are not there yet."""
    todo = [job for job in jobs if not job.unit.done]
    if todo:
        with progress_bar(title, len(todo)) as advance:
            for _ in map_unordered(_work, todo, workers=workers):
                advance(1)
    return [job.result for job in jobs]
