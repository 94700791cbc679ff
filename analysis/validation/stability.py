"""Checks of stability: the background that is predicted after a cut must not depend on seeds, folds, or any one feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob, load_scores, score_stage
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.validation.checks import Check, bonferroni, not_made
from resonaut.analysis.validation.figures import draw_bars
from resonaut.analysis.validation.pseudo import window_jobs
from resonaut.analysis.validation.setting import Selected, Setting, selected_of
from resonaut.errors import ResonautError
from resonaut.models import select
from resonaut.stats import fit_background
from resonaut.stats.regions import bins_overlapping

__all__ = ("stability_checks",)

Result = tuple[Check, Drawn | None]
KINDS = {
    "seeds": "stability: other seeds",
    "folds": "stability: other numbers of folds",
    "features": "stability: each feature left out",
}


@dataclass(frozen=True)
class Variant:
    """A method of the search, changed in one thing."""

    kind: str
    name: str
    method: str
    job: ScoreJob


class _Prediction(NamedTuple):
    """Background predicted in the signal region after a cut."""

    expected: float
    error: float


class _Shift(NamedTuple):
    """How far a variant's prediction is from that of the search, in their errors."""

    kind: str
    name: str
    method: str
    cut: float
    pull: float
    overlap: float


def _variants(setting: Setting) -> list[Variant]:
    """All of them in the middle window; trainings are units of the validation."""
    found = []
    for job in setting.jobs:
        if job.window not in (None, setting.middle):
            continue
        method = next(m for m in setting.config.methods if m.title == job.method.title)
        plain = setting.config.model_copy(update={"methods": (method,)})
        for number in range(setting.checks.seeds):
            seed = seed_for(setting.config.seed, "stability", number)
            found.append(_variant(setting, "seeds", f"seed {number + 1}", plain.model_copy(update={"seed": seed})))
        for folds in setting.checks.folds:
            if folds != plain.selection.folds:
                other = plain.selection.model_copy(update={"folds": folds})
                found.append(
                    _variant(setting, "folds", f"{folds} folds", plain.model_copy(update={"selection": other}))
                )
        if setting.checks.leave_out and len(job.features) > 2:
            for name in job.features:
                left = method.model_copy(update={"features": tuple(f for f in job.features if f != name)})
                found.append(_variant(setting, "features", name, plain.model_copy(update={"methods": (left,)})))
    return found


def _variant(setting: Setting, kind: str, name: str, config: SearchConfig) -> Variant:
    run = RunDirectory(setting.folder / "variants" / f"{kind}-{name}".replace(" ", "-"))
    given = (setting.events.table, setting.events.key, setting.simulation, [setting.middle])
    (job,) = window_jobs(config, run, *given)
    return Variant(kind, name, config.methods[0].title, job)


def _predictions(setting: Setting, each: Selected) -> dict[float, _Prediction]:
    blinded = bins_overlapping(setting.edges, each.window.low, each.window.high)
    options = setting.fit(each.method, each.window)._asdict()
    found = {}
    for cut, counts in each.counts.items():
        try:
            fit = fit_background((counts, setting.edges), each.window, **options, errors="fisher")
        except ResonautError:
            continue
        if fit.ok:
            found[cut] = _Prediction(*fit.total(blinded))
    return found


def _overlap(first: ScoreJob, second: ScoreJob, cut: float) -> float:
    """Part of the selected events that both select."""
    kept = []
    for job in (first, second):
        scores = load_scores(job)
        kept.append(set(scores.rows[select(scores.scores, scores.fold, (cut,))[cut]].tolist()))
    return len(kept[0] & kept[1]) / max(len(kept[0]), 1)


def stability_checks(setting: Setting) -> list[Result]:
    """One check for each kind of change."""
    variants = _variants(setting)
    score_stage([variant.job for variant in variants], workers=setting.config.workers)
    nominal = {
        each.method: (each, _predictions(setting, each)) for each in setting.selected if each.window == setting.middle
    }
    jobs = {job.method.title: job for job in setting.jobs if job.window in (None, setting.middle)}
    shifts = []
    for variant in variants:
        chosen = selected_of(setting, variant.job, setting.middle)
        if chosen is None or variant.method not in nominal:
            continue
        reference = nominal[variant.method][1]
        for cut, found in _predictions(setting, chosen).items():
            if cut in reference:
                # selections that share events are closer than this: the p-value errs on the safe side
                error = np.hypot(found.error, reference[cut].error)
                pull = (found.expected - reference[cut].expected) / max(error, 1e-9)
                overlap = _overlap(jobs[variant.method], variant.job, cut)
                shifts.append(_Shift(variant.kind, variant.name, variant.method, cut, float(pull), overlap))
    return [_check(setting, kind, [shift for shift in shifts if shift.kind == kind]) for kind in KINDS]


def _check(setting: Setting, kind: str, shifts: list[_Shift]) -> Result:
    name, title = f"stability_{kind}", KINDS[kind]
    if not shifts:
        return not_made(name, title, "nothing of this kind was asked for"), None
    one = max(shifts, key=lambda shift: abs(shift.pull))
    p = bonferroni(2 * float(norm.sf(abs(one.pull))), len(shifts))
    verdict = setting.alarm.verdict(p)
    threshold = float(norm.isf(setting.alarm.red / (2 * len(shifts))))
    text = f"predictions of the background in {setting.middle} agree within their errors"
    if verdict != "green":
        change = f"without {one.name}" if kind == "features" else f"with {one.name}"
        text = (
            f"{change}, the background that {one.method}, cut {100 * one.cut:g} %, predicts in {setting.middle} moves by {one.pull:+.1f} of its errors: "
            f"{'the selection hangs on this feature' if kind == 'features' else 'the training is not stable'}"
        )
    labels = [f"{s.method}, {s.name}, {100 * s.cut:g} %" for s in shifts]
    drawn = draw_bars(
        labels, [s.pull for s in shifts], title=setting.config.name,
        x_label="change of the prediction / its error", line=threshold * (1 if one.pull > 0 else -1),
    )  # fmt: skip
    details = {"tests": len(shifts), "shifts": [shift._asdict() for shift in shifts]}
    return Check(name, title, abs(one.pull), threshold, verdict, text, p, details=details), drawn
