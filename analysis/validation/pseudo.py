"""Pseudo-experiments of background alone through the whole search, each a resumable unit; only the p-values are kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.events import EventStage
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import ScoreJob, score_jobs, score_stage
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.spectra import scan_of, selections_of
from resonaut.analysis.validation.background import drawn_rows
from resonaut.analysis.validation.setting import Setting
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.processors import read_table, table_columns, write_table
from resonaut.stats import Window

__all__ = ("PseudoJob", "pseudo_jobs", "pseudo_stage", "window_jobs", "write_events")

logger = logging.getLogger(__name__)
VERSION = 2  # of the events that are drawn: a change makes the units again


@dataclass(frozen=True)
class PseudoJob:
    """One background-only search: everything that its result depends on; `rows` are those of the simulation, None for the data."""

    setting: Setting
    config: SearchConfig
    number: int
    folder: Path
    key: str
    rows: npt.NDArray[np.int64] | None

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)


def search_key(config: SearchConfig) -> dict[str, Any]:
    """What of a config the p-values depend on."""
    return config.model_dump(mode="json", include={"seed", "scan", "methods", "selection", "fit"})


def pseudo_jobs(setting: Setting) -> list[PseudoJob]:
    """All units; each has a seed of its own for events and trainings. Fewer than asked for where the simulation has no more events."""
    jobs = []
    source = setting.background or setting.events
    windows = [window.to_dict() for window in setting.windows]
    for number, rows in enumerate(_rows(setting)):
        seed = seed_for(setting.config.seed, "pseudo-experiment", number)
        config = setting.config.model_copy(
            update={"seed": seed, "workers": 1, "signals": (), "limits": None, "validation": None, "injections": None}
        )
        simulated = setting.simulation.key if setting.simulation else ""
        key = digest(__version__, VERSION, search_key(config), source.key, setting.events.key, simulated, windows)
        jobs.append(PseudoJob(setting, config, number, setting.folder / "pseudo" / f"{number:03d}", key, rows))
    return jobs


def _rows(setting: Setting) -> Sequence[npt.NDArray[np.int64] | None]:
    """Of the simulated background, for each pseudo-experiment; None for the data."""
    asked = setting.checks.pseudo_experiments
    if setting.background is None or not asked:
        return [None] * asked
    mass = np.asarray(read_table(setting.background.table, columns=[setting.config.variable])[setting.config.variable])
    inside = (mass >= setting.config.scan.low) & (mass < setting.config.scan.high)
    generator = np.random.default_rng(seed_for(setting.config.seed, "events of pseudo-experiments"))
    found = drawn_rows(inside, float(setting.inclusive.sum()), asked, generator)
    if len(found) < asked:
        logger.warning("%d of %d pseudo-experiments: validation.background has no more events", len(found), asked)
    return found


def window_jobs(
    config: SearchConfig,
    run: RunDirectory,
    table: Path,
    key: str,
    simulation: EventStage | None,
    windows: Sequence[Window],
) -> list[ScoreJob]:
    """Score units in these windows alone."""
    every = score_jobs(config, run, table, key, simulation)
    return [job for job in every if job.window is None or job.window in windows]


def write_events(path: Path, setting: Setting, mass: np.ndarray[Any, Any]) -> None:
    """Event table of the data with other masses, without labels."""
    table = read_table(setting.events.table)
    columns = {name: np.asarray(table[name]) for name in table.fields if name not in ("label", setting.config.variable)}
    write_table(path, {**columns, setting.config.variable: mass})


def _write_background(path: Path, table: Path, like: Path, rows: npt.NDArray[np.int64]) -> None:
    """These rows of the simulation, with the columns that the data have too, so that methods learn from the same features."""
    content, known = read_table(table), table_columns(like)
    names = [name for name in content.fields if name != "label" and name in known]
    write_table(path, {name: np.asarray(content[name])[rows] for name in names})


def _work(job: PseudoJob) -> str:
    def work(folder: Path) -> None:
        setting, table = job.setting, folder / "events.parquet"
        if setting.background is None or job.rows is None:
            write_events(table, setting, setting.new_masses(setting.mass, "pseudo-experiment", job.number))
        else:
            _write_background(table, setting.background.table, setting.events.table, job.rows)
        search = RunDirectory(folder / "search")
        jobs = window_jobs(job.config, search, table, job.key, setting.simulation, setting.windows)
        score_stage(jobs, workers=1)
        selections = [each for each in selections_of(job.config, jobs, table) if each.window in setting.windows]
        entries = scan_of(job.config, selections).to_dict()["entries"]
        write_json(folder / "entries.json", finite_or_none(entries))
        shutil.rmtree(search.path)
        table.unlink()

    job.unit.make(work)
    return f"pseudo-experiment {job.number}: {job.unit.seconds:.0f} s"


def pseudo_stage(setting: Setting) -> list[list[dict[str, Any]]]:
    """Entries of the scans of all pseudo-experiments, making those that are not there yet."""
    jobs = pseudo_jobs(setting)
    todo = [job for job in jobs if not job.unit.done]
    if todo:
        with progress_bar("background-only pseudo-experiments", len(todo)) as advance:
            for done in map_unordered(_work, todo, workers=setting.config.workers):
                logger.info("finished %s", done)
                advance(1)
    return [read_json(job.folder / "entries.json") for job in jobs]
