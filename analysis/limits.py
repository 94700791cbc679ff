"""Fourth stage: CLs upper limits on a generic Gaussian resonance at the centre of each window, as resumable units."""

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
    build_workspace,
    fit_background,
    gaussian_template,
    limit_scan,
    write_workspace,
)
from resonaut.stats.spectrum import poisson_counts

__all__ = ("LimitJob", "limit_cuts", "limit_jobs", "limit_stage", "limit_warnings", "selected_by")


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LimitJob:
    """The limit at one mass after one cut: everything that it depends on."""

    folder: Path
    key: str
    signal: str
    mass: float
    width: float
    uncertainty: float
    fit: FitOptions
    counts: Floats
    edges: Floats

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)

    @property
    def result(self) -> LimitResult:
        """Limit of a finished unit."""
        return LimitResult.from_dict(read_json(self.folder / "limit.json"))


def limit_warnings(jobs: Sequence[LimitJob]) -> list[str]:
    """What a reader of the limits has to know: failed ones, and those that rest on a handful of events."""
    found = []
    if failed := [job for job in jobs if not job.result.ok]:
        found.append(f"{len(failed)} of {len(jobs)} limits failed: {failed[0].result.status}")
    for signal in dict.fromkeys(job.signal for job in jobs):
        if few := [job for job in jobs if job.signal == signal and job.result.method == "toys"]:
            masses = ", ".join(f"{job.mass:.4g}" for job in few)
            found.append(
                f"limits on {signal} at {masses} GeV rest on fewer than {TOYS_BELOW:g} events, where the asymptotic "
                "formula is too optimistic: they come from toys"
            )
    return found


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
    """Units of the stage, one per mass (the centre of a window), method and cut."""
    if config.limits is None:
        return []
    jobs = []
    for selection in selections:
        if selection.cut not in limit_cuts(config):
            continue
        counts, edges = poisson_counts(selection.spectrum)
        mass = float(np.sqrt(selection.window.low * selection.window.high))
        width = config.limits.width * mass
        options = (mass, width, config.limits.uncertainty)
        fit = fit_options(config, selection)
        after = selected_by(selection.method, selection.cut)
        signal = f"Gaussian, {100 * config.limits.width:g} % wide, {after}"
        how = [value for value in fit if value is not None]
        key = digest(__version__, signal, *options, *how, counts.tolist(), edges.tolist())
        folder = run.path / "limits" / selection_name(selection)
        jobs.append(LimitJob(folder, key, signal, *options, fit, counts, edges))
    return jobs


def _work(job: LimitJob) -> None:
    def work(folder: Path) -> None:
        def template(mass: float, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return gaussian_template(mass, job.width, edges)

        # A scan of one mass: a limit that fails is a result that says why, and the other units go on.
        (limit,) = limit_scan(
            (job.counts, job.edges), [job.mass], template, **job.fit._asdict(),
            signal_uncertainty=job.uncertainty, name=job.signal,
        )  # fmt: skip
        write_json(folder / "limit.json", limit.to_dict())
        if limit.ok:
            # The template is scaled to the limit, so that CLs = 0.05 at mu = 1 for whoever runs the workspace.
            options = job.fit._replace(function=limit.function)._asdict()
            fit = fit_background((job.counts, job.edges), **options, errors="fisher")
            workspace = build_workspace(
                fit, template(job.mass, job.edges) * limit.observed, signal_uncertainty=job.uncertainty
            )
            write_workspace(folder / "workspace.json", workspace)

    job.unit.make(work)


def limit_stage(jobs: Sequence[LimitJob], *, workers: int) -> list[LimitResult]:
    """Limits of all jobs, computing those that are not there yet."""
    todo = [job for job in jobs if not job.unit.done]
    if todo:
        with progress_bar("upper limits", len(todo)) as advance:
            for _ in map_unordered(_work, todo, workers=workers):
                advance(1)
    return [job.result for job in jobs]
