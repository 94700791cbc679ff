"""Second stage: one out-of-fold anomaly score per event, for each method and window, as resumable units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from resonaut.analysis.config import MethodConfig, SearchConfig
from resonaut.analysis.events import EventStage
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.seeds import seed_for
from resonaut.errors import ConfigError, IncompleteError, InputError, ModelError, RegionError
from resonaut.files import digest, read_json, write_json
from resonaut.models import CrossFit, Sample, make_scorer, scorer_class, threshold
from resonaut.models.templates import HeldOut
from resonaut.processors import read_table, table_columns
from resonaut.stats import Window, log_edges, sliding_windows

__all__ = (
    "ScoreJob",
    "Scores",
    "choose_features",
    "interval_name",
    "load_held_out",
    "load_scores",
    "possible_cuts",
    "require_counts",
    "require_masses",
    "score_jobs",
    "score_stage",
    "search_windows",
    "window_name",
)

logger = logging.getLogger(__name__)
_HELD_OUT = "held_out.safetensors"
_HELD_OUT_COLUMNS = ("scores", "weight", "mass")
_WORKING_POINTS = (0.1, 0.05, 0.01, 0.005, 0.001)
_WORKING_POINT_EVENTS = 20_000


@dataclass(frozen=True)
class ScoreJob:
    """One method in one window: everything that its scores depend on."""

    table: Path
    simulation: Path | None
    folder: Path
    key: str
    method: MethodConfig
    features: tuple[str, ...]
    variable: str
    window: Window | None
    mass_range: tuple[float, float]
    folds: int
    seed: int

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)


@dataclass(frozen=True)
class Scores:
    """Scores of the events of the mass range that have all features.

    `rows` are their row numbers in the event table; `unscored` counts the events that lack a feature; `skipped` says why
    there are no scores at all (a region without events), else None.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    fold: npt.NDArray[np.int64]
    unscored: int
    skipped: str | None = None


def search_windows(config: SearchConfig) -> list[Window]:
    """Signal regions of the scan.

    Raises
    ------
    ConfigError
        If `scan.only` leaves none.
    """
    scan = config.scan
    windows = sliding_windows(
        log_edges(scan.low, scan.high, scan.bins), sr_bins=scan.sr_bins, sb_bins=scan.sb_bins, step=scan.step
    )
    if scan.only:
        windows = [w for w in windows if any(w.low <= mass < w.high for mass in scan.only)]
    if not windows:
        msg = (
            f"scan.only: none of the masses {scan.only} lies in a signal region between {scan.low} and {scan.high} GeV"
        )
        raise ConfigError(msg)
    return windows


def possible_cuts(config: SearchConfig, events: float) -> list[float]:
    """Cuts of the config that leave enough of `events` for a spectrum."""
    return [cut for cut in config.selection.cuts if cut * events >= config.selection.minimum_events]


def interval_name(low: float, high: float) -> str:
    """Name of a mass interval in folders and files: whole GeV where that is enough, six digits where it is not."""
    fine = low < 1000 or high - low < 20
    return f"{low:.6g}-{high:.6g}" if fine else f"{low:.0f}-{high:.0f}"


def window_name(window: Window) -> str:
    """Name of a window in folders and files, see `interval_name`."""
    return interval_name(window.low, window.high)


def uses_labels(method: MethodConfig) -> bool:
    """Whether the scorer is trained on truth labels: a reference for benchmarks, not a search."""
    return bool(getattr(scorer_class(method.name), "uses_labels", False))


def choose_features(method: MethodConfig, columns: Sequence[str]) -> tuple[str, ...]:
    """Features of a method: the configured ones, or its defaults as far as the event table has them.

    Raises
    ------
    InputError
        If a configured one is not in the table, or fewer than two of the defaults are.
    """
    if method.features != "auto":
        if missing := [name for name in method.features if name not in columns]:
            near = get_close_matches(missing[0], columns, 1)
            msg = (
                f"{method.title}: the event table has no {', '.join(missing)}{f' (did you mean {near[0]}?)' if near else ''}; "
                f"it has {', '.join(columns)}"
            )
            raise InputError(msg)
        return tuple(method.features)
    wanted = make_scorer(method.name, **method.options).features
    found = tuple(name for name in wanted if name in columns)
    if len(found) < 2:
        msg = (
            f"{method.name} needs features like {', '.join(wanted)}; the events have {', '.join(columns)}. "
            "Name your own: --features of a hunt, or in a config methods: [{name: ..., features: [...]}]"
        )
        raise InputError(msg)
    if missing := [name for name in wanted if name not in found]:
        logger.warning("%s runs without %s: the events do not have them", method.title, ", ".join(missing))
    return found


def _column(table: Path, name: str) -> npt.NDArray[Any]:
    return np.asarray(read_table(table, columns=[name])[name])


def require_counts(weight: npt.NDArray[Any]) -> None:
    """InputError for weights of data: fits and limits are of counts, which has to be known before anything is trained."""
    if others := np.count_nonzero(weight != 1):
        msg = (
            f"{others} of {len(weight)} events have a weight other than 1: a search counts events (its fits are Poisson). "
            "Leave the weights out for data; for weighted simulation draw unweighted events first"
        )
        raise InputError(msg)


def require_masses(mass: npt.NDArray[Any], variable: str, mass_range: tuple[float, float], what: str) -> None:
    """InputError where none of the masses, in GeV, lies in the scan."""
    if not np.any((mass >= mass_range[0]) & (mass < mass_range[1])):
        lowest, highest = (mass.min(), mass.max()) if len(mass) else (np.nan, np.nan)
        msg = (
            f"no event of the {what} lies between scan.low = {mass_range[0]:g} and scan.high = {mass_range[1]:g} GeV: "
            f"the {len(mass)} events span {lowest:.4g} to {highest:.4g} GeV in {variable}"
        )
        raise InputError(msg)


def _simulation_for(
    method: MethodConfig, features: tuple[str, ...], simulation: EventStage | None
) -> tuple[Path | None, tuple[str, ...]]:
    """Table of the simulation and what of it enters the key of a unit: nothing for methods that do not read it."""
    if simulation is None or not method.uses_simulation:
        return None, ()
    columns = table_columns(simulation.table)
    if missing := [name for name in features if name not in columns]:
        msg = (
            f"{method.title}: the simulation (input.simulation) has no {', '.join(missing)}; it has {', '.join(columns)}. "
            "It needs the features that the data have"
        )
        raise InputError(msg)
    return simulation.table, (simulation.key,)


def score_jobs(
    config: SearchConfig, run: RunDirectory, table: Path, events_key: str, simulation: EventStage | None = None
) -> list[ScoreJob]:
    """All units of the stage; a method that uses no window has one.

    Raises
    ------
    InputError
        If no event (of the data, or of the simulation) lies in the mass range, or they lack a method's features.
    """
    columns = table_columns(table)
    mass_range = (config.scan.low, config.scan.high)
    require_masses(_column(table, config.variable), config.variable, mass_range, "data")
    require_counts(_column(table, "weight"))
    if simulation is not None:
        require_masses(_column(simulation.table, config.variable), config.variable, mass_range, "simulation")
    jobs = []
    for method in config.methods:
        features = choose_features(method, columns)
        simulated, simulation_key = _simulation_for(method, features, simulation)
        windows = search_windows(config) if getattr(scorer_class(method.name), "uses_window", True) else [None]
        for window in windows:
            name = window_name(window) if window else "all"
            seed = seed_for(config.seed, method.title, name)
            described = (method.model_dump(exclude={"fit"}), features, window and window.to_dict(), mass_range)
            key = digest(events_key, described, config.selection.folds, seed, *simulation_key)
            folder = run.path / "scores" / method.title / name
            folds = config.selection.folds
            made = (method, features, config.variable, window, mass_range, folds, seed)
            jobs.append(ScoreJob(table, simulated, folder, key, *made))
    return jobs


def _sample(job: ScoreJob) -> tuple[npt.NDArray[np.int64], int, Sample]:
    """Rows of the data, how many of them lack a feature, and the sample of the others with its simulation."""
    rows, unscored, sample = _events(job, job.table, ("label",))
    if job.simulation is None:
        return rows, unscored, sample
    _, lacking, simulation = _events(job, job.simulation, ())
    if lacking:
        logger.warning("%s: %d simulated events lack a feature and are left out", job.method.title, lacking)
    return rows, unscored, sample.with_simulation(simulation)


def _events(job: ScoreJob, path: Path, optional: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], int, Sample]:
    there = table_columns(path)
    table = read_table(path, columns=[c for c in (*job.features, job.variable, "weight", *optional) if c in there])
    arrays = {name: np.asarray(table[name]) for name in table.fields}
    mass = arrays[job.variable]
    inside = (mass >= job.mass_range[0]) & (mass < job.mass_range[1])
    complete = np.all([np.isfinite(arrays[name]) for name in job.features], axis=0)
    rows = np.flatnonzero(inside & complete)
    chosen = {name: values[rows] for name, values in arrays.items()}
    return rows, int(np.count_nonzero(inside & ~complete)), Sample.from_table(chosen, job.features, mass=job.variable)


def _empty_region(job: ScoreJob, sample: Sample) -> str | None:
    """Why a window cannot be trained on; each fold needs events of each region."""
    if job.window is None:
        return None
    window, mass = job.window, sample.mass
    regions = {
        "lower sideband": window.in_lower_sideband(mass),
        "signal region": window.in_signal_region(mass),
        "upper sideband": window.in_upper_sideband(mass),
    }
    for name, inside in regions.items():
        if (count := np.count_nonzero(inside)) < 2 * job.folds:
            return f"the {name} of {window} has {count} events, fewer than {2 * job.folds} for {job.folds} folds"
    return None


def _working_points(scorer: CrossFit, sample: Sample, seed: int) -> dict[str, float]:
    """Thresholds of the saved scorer (the mean over the folds), for use on new events with `AnomalySelection`.

    They are set on events of this search, most of which each fold was trained on; the search's own selection is out of
    fold and does not use them.
    """
    few = np.random.default_rng(seed).permutation(len(sample))[:_WORKING_POINT_EVENTS]
    scores = scorer.score(sample.take(few))
    return {f"{cut:g}": threshold(scores, cut) for cut in _WORKING_POINTS if cut * len(few) >= 10}


def _work(job: ScoreJob) -> str:
    def work(folder: Path) -> None:
        rows, unscored, sample = _sample(job)
        facts = {
            "method": job.method.model_dump(exclude={"fit"}),
            "features": job.features,
            "unscored": unscored,
            "seed": job.seed,
        }
        options: dict[str, Any] = {**job.method.options, "features": job.features}
        crossfit = CrossFit(job.method.name, folds=job.folds, seed=job.seed, **options)
        if reason := _empty_region(job, sample):
            write_json(folder / "facts.json", {**facts, "skipped": reason})
            return
        try:
            result = crossfit.fit_score(sample, job.window)
        except (ModelError, RegionError) as error:  # of this window, a template that cannot be made: the others go on
            logger.warning("%s in %s: %s", job.method.title, job.folder.name, error)
            write_json(folder / "facts.json", {**facts, "skipped": str(error)})
            return
        result.scorer.save(folder / "scorer")
        _save_held_out(folder, result.held_out)
        tensors = {"rows": rows.astype(np.int64), "scores": result.scores, "fold": result.fold.astype(np.int64)}
        save_file(tensors, folder / "scores.safetensors")
        points = _working_points(result.scorer, sample, job.seed)
        write_json(folder / "facts.json", {**facts, "skipped": None, "working_points": points})

    job.unit.make(work)
    return f"{job.method.title} in {job.folder.name}: {job.unit.seconds:.0f} s"


def _save_held_out(folder: Path, held_out: Sequence[HeldOut]) -> None:
    if not held_out:
        return  # the method makes no template
    tensors = {f"{k}.{name}": getattr(each, name) for k, each in enumerate(held_out) for name in _HELD_OUT_COLUMNS}
    tensors |= {f"{k}.error": [each.error] for k, each in enumerate(held_out)}
    arrays = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in tensors.items()}
    save_file(arrays, folder / _HELD_OUT)


def load_held_out(job: ScoreJob) -> list[HeldOut]:
    """Held-out template events of each fold of a finished unit; none where the method makes no template."""
    path = job.folder / _HELD_OUT
    if not path.is_file():
        return []
    tensors = load_file(path)
    found = []
    for k in range(job.folds):
        scores, weight, mass = (tensors[f"{k}.{name}"] for name in _HELD_OUT_COLUMNS)
        found.append(HeldOut(scores, weight, mass, float(tensors[f"{k}.error"][0])))
    return found


def score_stage(jobs: Sequence[ScoreJob], *, workers: int) -> None:
    """Train and score what is not there yet, over `workers` processes."""
    todo = [job for job in jobs if not job.unit.done]
    if not todo:
        return
    if len(todo) < len(jobs):
        logger.info("%d of %d score units are there from an earlier run", len(jobs) - len(todo), len(jobs))
    with progress_bar("training and scoring", len(todo)) as advance:
        for done in map_unordered(_work, todo, workers=workers):
            logger.info("trained and scored %s", done)
            advance(1)


def load_scores(job: ScoreJob) -> Scores:
    """Scores of a finished unit.

    Raises
    ------
    IncompleteError
        If the folder holds something else: another run has written into it.
    """
    if not job.unit.done:
        msg = f"{job.folder} does not hold the scores that this run made; does another run write there? Run again"
        raise IncompleteError(msg)
    facts = read_json(job.folder / "facts.json")
    if facts["skipped"]:
        nothing = np.zeros(0, dtype=np.int64)
        return Scores(nothing, nothing.astype(np.float64), nothing, facts["unscored"], facts["skipped"])
    tensors = load_file(job.folder / "scores.safetensors")
    return Scores(tensors["rows"], tensors["scores"], tensors["fold"], facts["unscored"])
