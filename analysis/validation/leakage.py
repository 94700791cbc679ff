"""Checks of the folds: does a scorer know events that it must not have seen?

Honest out-of-fold scores know an event by its features alone. Where the masses are dealt out anew among the events, features tell nothing of
the mass, whatever signal or correlation is in the data: a method that still tells the signal region from the sidebands on events that it was
not trained on has seen their labels. Copies of an event (same features, same mass) in different folds do the same without any fault of the
code; they stay together in that test, and are counted on their own.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy.stats import norm

from resonaut import __version__
from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.rundir import RunDirectory, Unit
from resonaut.analysis.scoring import ScoreJob, load_scores, score_stage
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.validation.checks import Check, bonferroni, gravest, not_made
from resonaut.analysis.validation.correlation import separation
from resonaut.analysis.validation.figures import draw_histograms
from resonaut.analysis.validation.masses import permuted_masses, twin_groups
from resonaut.analysis.validation.pseudo import write_events
from resonaut.analysis.validation.setting import Setting
from resonaut.files import digest, read_json, write_json
from resonaut.models import CrossFit, Sample
from resonaut.processors import read_table

__all__ = ("leakage_check", "twins_check")

logger = logging.getLogger(__name__)
Floats = npt.NDArray[np.float64]
AUC_ALLOWED = 0.51  # of events that were not trained on, with masses dealt out anew: one half but for chance
TWINS_ALLOWED = 1e-3
VERSION = 1
_SHOWN = 20_000

Result = tuple[Check, Drawn | None]


def twins_check(setting: Setting) -> Result:
    """Are there copies of events, which a fold can know from another?"""
    title = "copies of events: same features and same mass"
    if not setting.jobs:
        return not_made("twins", title, "no method has features", "amber"), None
    job = max(setting.jobs, key=lambda each: len(each.features))
    table = read_table(job.table, columns=[*job.features, job.variable])
    columns = np.column_stack([np.asarray(table[name], dtype=np.float64) for name in table.fields])
    number = np.bincount(twin_groups(columns))
    copies = int(number[number > 1].sum())
    share = copies / max(len(columns), 1)
    verdict = "green" if not copies else "amber" if share <= TWINS_ALLOWED else "red"
    text = "no event is there twice"
    if copies:
        text = (
            f"{copies} of {len(columns)} events have a copy with the same features and mass: folds share them, so that labels leak from training to "
            "the events that are scored; look for files or datasets that overlap (input.duplicates)"
        )
    details = {"copies": copies, "events": len(columns), "largest": int(number.max(initial=0))}
    return Check("twins", title, share, TWINS_ALLOWED, verdict, text, details=details), None


def _permuted_unit(setting: Setting, job: ScoreJob) -> Unit:
    key = digest(__version__, VERSION, job.key, setting.densest.to_dict())
    return Unit(setting.folder / "permuted" / job.method.title, key)


def _make(setting: Setting, job: ScoreJob) -> Path:
    """Train on masses that were dealt out anew; keep the separations and the scores for the figure."""
    unit = _permuted_unit(setting, job)

    def work(folder: Path) -> None:
        table = folder / "events.parquet"
        given = read_table(job.table, columns=list(job.features))
        columns = np.column_stack([np.asarray(given[name], dtype=np.float64) for name in job.features])
        seed = seed_for(setting.config.seed, "masses dealt out anew", job.method.title)
        mass = permuted_masses(setting.mass, columns, np.random.default_rng(seed))
        write_events(table, setting, mass)
        scores = RunDirectory(folder / "search")
        own = replace(job, table=table, folder=scores.path / "scores", key=unit.key)
        score_stage([own], workers=1)
        write_json(folder / "folds.json", _folds(own, mass, folder))
        shutil.rmtree(scores.path)
        table.unlink()

    unit.make(work)
    return unit.folder


def _folds(job: ScoreJob, mass: Floats, folder: Path) -> dict[str, Any]:
    """Separation of signal region and sidebands, of events that each fold held out and of those that it was trained on."""
    found = load_scores(job)
    if found.skipped or job.window is None:
        return {"skipped": found.skipped or "knows no window"}
    m = mass[found.rows]
    inside, beside = job.window.in_signal_region(m), job.window.in_sidebands(m)
    table = read_table(job.table, columns=list(job.features))
    features = np.stack([np.asarray(table[name], dtype=np.float64)[found.rows] for name in job.features], axis=1)
    sample = Sample(features, job.features, m)
    crossfit = CrossFit.load(job.folder / "scorer")
    rows: list[dict[str, float]] = []
    for number, scorer in enumerate(crossfit.scorers):
        own = found.fold == number
        held = separation(found.scores[own & beside], found.scores[own & inside])
        learnt = np.flatnonzero(~own & (inside | beside))[:_SHOWN]
        again = scorer.score(sample.take(learnt))
        trained = separation(again[beside[learnt]], again[inside[learnt]])
        rows.append({"held_out_auc": held.auc, "held_out_z": held.z, "trained_auc": trained.auc})
        if number == 0:
            shown = {"held out": found.scores[own & inside], "trained on": again[inside[learnt]]}
            save_file({key: np.ascontiguousarray(v) for key, v in shown.items()}, folder / "scores.safetensors")
    return {"skipped": None, "folds": rows}


def leakage_check(setting: Setting) -> Result:
    """Does a method tell the signal region from the sidebands on held-out events whose masses were dealt out anew?"""
    title = "leaks across folds: held-out events with masses dealt out anew"
    jobs = [job for job in setting.jobs if job.window == setting.densest]
    found, folders = {}, {}
    for job in jobs:
        folder = _make(setting, job)
        content = read_json(folder / "folds.json")
        if not content["skipped"]:
            found[job.method.title], folders[job.method.title] = content["folds"], folder
    if not found:
        return Check("fold_leakage", title, None, None, "green", "not needed: no method learns from the window"), None
    # folds learn from each other, so that their separations are not independent: the largest is tested
    tests = sum(map(len, found.values()))
    auc = [_mean(folds, "held_out_auc") for folds in found.values()]
    p_values = [bonferroni(float(norm.sf(max(f["held_out_z"] for f in folds))), tests) for folds in found.values()]
    verdicts = [setting.alarm.verdict(p, effect=a, allowed=AUC_ALLOWED) for p, a in zip(p_values, auc, strict=True)]
    place = gravest(verdicts, auc)
    name, held, p, verdict = list(found)[place], auc[place], p_values[place], verdicts[place]
    trained = _mean(found[name], "trained_auc")
    text = (
        f"held-out events are told apart with AUC = {held:.3f} ({name}; those trained on: {trained:.2f}), as by chance"
    )
    if verdict != "green":
        text = (
            f"labels leak across folds in {name}: with masses dealt out anew it tells the signal region from the sidebands on held-out events (AUC = "
            f"{held:.2f}; those trained on: {trained:.2f}), which only their own labels can have told it"
        )
    details = {"folds": found, "trained_auc": trained}
    check = Check("fold_leakage", title, held, AUC_ALLOWED, verdict, text, p, details=details)
    return check, _figure(setting, name, folders[name])


def _mean(folds: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([fold[name] for fold in folds]))


def _figure(setting: Setting, name: str, folder: Path) -> Drawn:
    shown = load_file(folder / "scores.safetensors")
    samples = {key: np.asarray(values, dtype=np.float64) for key, values in sorted(shown.items())}
    return draw_histograms(
        samples, title=setting.config.name, x_label=f"score of {name}, first fold, masses dealt out anew"
    )
