"""What the methods learned in the most significant window: numbers and figures, one resumable unit for each method."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resonaut import __version__
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.interpretation.importance import Importance, permutation_importance
from resonaut.analysis.interpretation.measures import Plane, efficiency_plane, feature_spread, score_map
from resonaut.analysis.interpretation.recast import efficiency_tables
from resonaut.analysis.interpretation.view import (
    ID_COLUMNS,
    MAX_SCORINGS,
    BoolArray,
    MethodView,
    fold_events,
    plane_columns,
    view_of,
)
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import ScoreJob, load_scores
from resonaut.analysis.seeds import seed_for
from resonaut.errors import ModelError
from resonaut.files import atomic_path, digest, finite_or_none, read_json, write_json
from resonaut.models import exportable
from resonaut.models.export.files import unit_of
from resonaut.stats import ScanEntry, ScanResult, Window, write_hepdata

__all__ = ("SCHEMA", "interpretation_stage")

logger = logging.getLogger(__name__)
SCHEMA = "resonaut.interpretation/1"
FOLDER = "interpretation"
SHOWN_EVENTS = 25
VERSION = 3  # of this file's numbers: a change makes the units again


def interpretation_stage(
    config: SearchConfig, run: RunDirectory, jobs: Sequence[ScoreJob], scan: ScanResult
) -> dict[str, Any]:
    """What each method learned, in the window of the largest excess and after the cut that is most significant there.

    Parameters
    ----------
    config
        Of the search.
    run
        Run directory; `interpretation/` in it is written: a folder for each method, and `interpretation.json`.
    jobs
        Finished score units.
    scan
        The p-value scan, which says where to look.

    Returns
    -------
    dict
        Content of `interpretation.json`, see docs/report.md.
    """
    folder = run.path / FOLDER
    content: dict[str, Any] = {"schema": SCHEMA, "window": None, "status": "done", "methods": []}
    best = scan.best
    if getattr(config, "blind", False):
        content["status"] = "blind: what was selected in the signal region is not looked at before `resonaut unblind`"
    elif best is None:
        content["status"] = "no window has a usable fit"
    else:
        units = [(job, *_unit(config, job, best, scan, folder)) for job in jobs if _is_of(job, best)]
        _remove_others(folder, [unit for _, unit, _ in units])
        content["window"] = {"low": best.low, "high": best.high}
        content["methods"] = _make_all(units)
    if not content["methods"]:
        _remove_others(folder, [])
    write_json(folder / "interpretation.json", finite_or_none(content))
    return content


def _is_of(job: ScoreJob, best: ScanEntry) -> bool:
    return job.window is None or (job.window.low, job.window.high) == (best.low, best.high)


def _unit(
    config: SearchConfig, job: ScoreJob, best: ScanEntry, scan: ScanResult, folder: Path
) -> tuple[Unit, dict[str, Any]]:
    """The unit of a method, and what it is to look at; a window that is not the job's own is that of the scan's steps."""
    window = job.window or _window(config, best)
    made = [e for e in scan.entries if e.method == job.method.title and (e.low, e.high) == (best.low, best.high)]
    usable = [e for e in made if e.ok] or made
    task: dict[str, Any] = {
        "window": window.to_dict(),
        "cut": max(usable, key=lambda e: e.local_significance).cut if usable else None,
        "title": config.name,
        "mass_label": config.mass_label,
        "seed": seed_for(config.seed, FOLDER, job.method.title),
    }
    return Unit(folder / job.method.title, digest(__version__, VERSION, job.key, task)), task


def _window(config: SearchConfig, best: ScanEntry) -> Window:
    from resonaut.analysis.scoring import search_windows

    return next(w for w in search_windows(config) if (w.low, w.high) == (best.low, best.high))


def _remove_others(folder: Path, units: Sequence[Unit]) -> None:
    """Nothing of an earlier run with another config may be taken for a result."""
    kept = {unit.folder.name for unit in units}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)


def _make_all(units: Sequence[tuple[ScoreJob, Unit, dict[str, Any]]]) -> list[dict[str, Any]]:
    with progress_bar("what the methods learned", len(units)) as advance:
        for job, unit, task in units:
            unit.make(lambda folder, job=job, task=task: _interpret(job, task, folder))  # type: ignore[misc]
            advance(1)
    return [read_json(unit.folder / "method.json") for _, unit, _ in units]


def _interpret(job: ScoreJob, task: dict[str, Any], folder: Path) -> None:
    """All numbers and figures of one method, into the folder of its unit."""
    about = _about(job, task)
    scores = load_scores(job)
    if scores.skipped or task["cut"] is None:
        about["status"] = scores.skipped or "no cut was made in this window: too few events"
        write_json(folder / "method.json", finite_or_none(about))
        return
    view = view_of(job, Window.from_dict(task["window"]), task["cut"])
    inside = view.window.in_signal_region(view.mass)
    near = inside | view.window.in_sidebands(view.mass)
    about["events"] = {
        "signal region": int(inside.sum()),
        "signal region, selected": int((inside & view.selected).sum()),
        "sidebands": int((near & ~inside).sum()),
        "sidebands, selected": int((near & ~inside & view.selected).sum()),
    }
    about["importance"] = [row.to_dict() for row in _importance(view, task["seed"])]
    about["most_anomalous"] = _most_anomalous(view)
    _write_events(folder / "most_anomalous.csv", about["most_anomalous"])
    about["figures"] = _figures(view, about, task, folder)
    write_json(folder / "method.json", finite_or_none(about))


def _about(job: ScoreJob, task: dict[str, Any]) -> dict[str, Any]:
    """What a theorist needs to use the score function: where it is, its inputs with units, thresholds, how to export it."""
    scorer = Path("scores") / job.method.title / job.folder.name / "scorer"
    facts = read_json(job.folder / "facts.json")
    return {
        "method": job.method.title,
        "scorer_name": job.method.name,
        "status": "done",
        "window": task["window"],
        "cut": task["cut"],
        "folder": f"{FOLDER}/{job.method.title}",
        "features": {feature: unit_of(feature) for feature in job.features},
        "scorer": scorer.as_posix(),
        "working_points": facts.get("working_points", {}),
        "onnx": job.method.name in exportable(),
        "events": {},
        "importance": [],
        "most_anomalous": [],
        "figures": [],
    }


def _importance(view: MethodView, seed: int) -> list[Importance]:
    try:
        folds = fold_events(view, seed)
    except ModelError as error:
        logger.warning("%s: no permutation importance: %s", view.job.method.title, error)
        return []
    scorings = sum(fold.features.size for fold in folds)
    repeats = min(max(MAX_SCORINGS // max(scorings, 1), 1), 5)  # few events are exchanged several times
    return permutation_importance(folds, view.job.features, repeats=repeats, seed=seed)


def _most_anomalous(view: MethodView) -> list[dict[str, Any]]:
    """Events of the signal region, the most anomalous first: by the part of their fold that scores as high."""
    rows = np.flatnonzero(view.window.in_signal_region(view.mass))
    tail = np.ones(len(view.scores))
    for number in np.unique(view.fold):
        own = view.fold == number
        ordered = np.sort(view.scores[own])
        tail[own] = 1 - np.searchsorted(ordered, view.scores[own], side="left") / len(ordered)
    order = rows[np.lexsort((-view.scores[rows], tail[rows]))][:SHOWN_EVENTS]
    plane = plane_columns(list(view.columns), view.job.features, view.job.variable)
    shown = dict.fromkeys([view.job.variable, *plane, *view.job.features])
    found = []
    for row in order:
        numbers: dict[str, Any] = {name: int(view.columns[name][row]) for name in ID_COLUMNS if name in view.columns}
        numbers |= {name: float(view.columns[name][row]) for name in shown}
        found.append(
            {**numbers, "score": float(view.scores[row]), "fold": int(view.fold[row]), "tail": float(tail[row])}
        )
    return found


def _write_events(path: Path, events: Sequence[dict[str, Any]]) -> None:
    if not events:
        return
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(events[0]))
        writer.writeheader()
        writer.writerows(events)


def _planes(view: MethodView, inside: BoolArray, near: BoolArray) -> dict[str, Plane]:
    """Efficiency in the signal region and, in the same bins, in the sidebands; events without one of the two are left out."""
    x_name, y_name = plane_columns(list(view.columns), view.job.features, view.job.variable)
    x, y = (np.asarray(view.columns[name], dtype=np.float64) for name in (x_name, y_name))
    good, planes, edges = np.isfinite(x) & np.isfinite(y), {}, None
    for region, mask in (("signal region", inside), ("sidebands", near & ~inside)):
        rows = mask & good
        if rows.any():
            planes[region] = efficiency_plane(x[rows], y[rows], view.selected[rows], (x_name, y_name), edges=edges)
            edges = planes[region].edges
    return planes


def _figures(view: MethodView, about: dict[str, Any], task: dict[str, Any], folder: Path) -> list[str]:
    from resonaut.analysis.plots.canvas import save_figure
    from resonaut.analysis.plots.interpretation import (
        draw_efficiency_planes,
        draw_importance,
        draw_score_map,
        draw_spreads,
    )

    words = {"title": task["title"], "subtitle": f"{about['method']}, {100 * about['cut']:g} %, {view.window}"}
    inside = view.window.in_signal_region(view.mass)
    near = inside | view.window.in_sidebands(view.mass)
    drawn = {}
    if planes := _planes(view, inside, near):
        drawn["efficiency_plane"] = draw_efficiency_planes(planes, **words)
        selection = {"Method": about["method"], "Fraction of events kept": about["cut"], "Window": str(view.window)}
        write_hepdata(folder / "hepdata", efficiency_tables(planes, selection), comment=words["subtitle"])
    spreads = [
        feature_spread(name, np.asarray(view.columns[name], dtype=np.float64)[near], inside[near], view.selected[near])
        for name in view.job.features
    ]
    drawn["features"] = draw_spreads(spreads, **words)
    rows = [Importance(**row) for row in about["importance"]]
    if rows:
        drawn["importance"] = draw_importance(rows, **words)
    if len(rows) > 1:
        names = (rows[0].feature, rows[1].feature)
        x, y = (np.asarray(view.columns[name], dtype=np.float64)[near] for name in names)
        drawn["score_map"] = draw_score_map(score_map(x, y, view.rank[near], names), **words)
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
    return list(drawn)
