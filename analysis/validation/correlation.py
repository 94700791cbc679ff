"""Checks of what features and scores have to do with the mass, from the two sidebands: the signal region is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.scoring import ScoreJob
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.validation.checks import Check, bonferroni, gravest, not_made
from resonaut.analysis.validation.figures import draw_bars
from resonaut.analysis.validation.setting import Setting
from resonaut.models import make_scorer
from resonaut.processors import read_table
from resonaut.stats import Window

__all__ = ("Separation", "feature_check", "joint_check", "score_check", "separation")

Floats = npt.NDArray[np.float64]
AUC_ALLOWED = 0.65  # between the sidebands, of a single column or of all features together
AUC_TOLD = 0.55  # below, a dependence is real but too weak to matter
_MOST = 20_000  # events that the classifier is trained on

Result = tuple[Check, Drawn | None]


class Separation(NamedTuple):
    """How well a column tells two samples apart: the area under its ROC curve, and the p-value of none at all."""

    auc: float
    z: float

    @property
    def p(self) -> float:
        """Two-sided."""
        return 2 * float(norm.sf(abs(self.z)))

    @property
    def size(self) -> float:
        """AUC above one half, whichever way."""
        return max(self.auc, 1 - self.auc)


def separation(first: Floats, second: Floats) -> Separation:
    """Mann-Whitney test of two samples; ties count one half and enter the variance.

    Examples
    --------
    >>> separation(np.arange(10.0), np.arange(10.0) + 10)
    Separation(auc=1.0, z=3.7...)
    """
    n, m = len(first), len(second)
    if not n or not m:
        return Separation(0.5, 0.0)
    ranks = rankdata(np.concatenate([first, second]))
    auc = (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)
    _, ties = np.unique(ranks, return_counts=True)
    total = n + m
    variance = (total + 1 - np.sum(ties**3.0 - ties) / (total * (total - 1))) / (12 * n * m)
    return Separation(float(auc), float((auc - 0.5) / np.sqrt(variance)) if variance > 0 else 0.0)


def _windows(job: ScoreJob, setting: Setting) -> list[Window]:
    return [job.window] if job.window else setting.windows


def _columns(job: ScoreJob) -> dict[str, Floats]:
    """The mass and the features as the method reads them."""
    table = read_table(job.table, columns=[*job.features, job.variable])
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in table.fields}
    return columns | {name: columns[name] / columns[job.variable] for name in _scaled(job)}


def _scaled(job: ScoreJob) -> tuple[str, ...]:
    """Features that the method divides by the event's mass."""
    scorer = make_scorer(job.method.name, features=job.features, **job.method.options)
    return tuple(getattr(scorer, "scaled_by_mass", ()))


class _Worst(NamedTuple):
    """The separation of several that is judged worst; `tests` is the number that its p-value is multiplied by."""

    name: str
    window: Window
    size: float
    p: float
    verdict: str
    tests: int

    def check(self, name: str, title: str, text: str) -> Check:
        details = {"tests": self.tests}
        return Check(name, title, self.size, AUC_ALLOWED, self.verdict, text, self.p, details=details)


def _worst(
    setting: Setting,
    found: Mapping[tuple[str, Window], Separation],
    size: Callable[[Separation], float] = lambda one: one.size,
    p: Callable[[Separation], float] = lambda one: one.p,
    tests_each: int = 1,
) -> _Worst:
    """Each of the separations is judged by its own p-value and size."""
    tests = tests_each * len(found)
    sizes, p_values = [size(one) for one in found.values()], [bonferroni(p(one), tests) for one in found.values()]
    verdicts = [
        setting.alarm.verdict(value, effect=effect, told=AUC_TOLD, allowed=AUC_ALLOWED)
        for value, effect in zip(p_values, sizes, strict=True)
    ]
    place = gravest(verdicts, sizes)
    return _Worst(*list(found)[place], sizes[place], p_values[place], verdicts[place], tests)


def feature_check(setting: Setting) -> Result:
    """Does any feature depend on the mass?"""
    found: dict[tuple[str, Window], Separation] = {}
    for job in setting.jobs:
        columns = _columns(job)
        read = {name: f"{name} / {job.variable}" if name in _scaled(job) else name for name in job.features}
        for window in _windows(job, setting):
            lower, upper = (
                window.in_lower_sideband(columns[job.variable]),
                window.in_upper_sideband(columns[job.variable]),
            )
            for name in job.features:
                values, known = columns[name], np.isfinite(columns[name])
                found[read[name], window] = separation(values[lower & known], values[upper & known])
    title = "features against the mass: lower against upper sideband"
    if not found:
        return not_made("feature_correlation", title, "no method has features", "amber"), None
    one = _worst(setting, found)
    text = f"no feature tells the sidebands apart by more than AUC = {one.size:.3f} ({one.name})"
    if one.verdict != "green":
        names = sorted(
            {
                n
                for (n, _), s in found.items()
                if s.size >= AUC_TOLD and bonferroni(s.p, len(found)) < setting.alarm.amber
            }
        )
        text = (
            f"{', '.join(names)} depends on the mass: {one.name} tells the sidebands of {one.window} apart with AUC = {one.size:.2f}; a selection that "
            f"learns from it learns the mass. Leave it out, {_remedy(one.name)}, or decorrelate the score (ddt)"
        )
    best = {n: max(s.size for (k, _), s in found.items() if k == n) for n, _ in found}
    drawn = draw_bars(
        list(best), [size - 0.5 for size in best.values()], title=setting.config.name,
        x_label="AUC between the sidebands, above 1/2", line=AUC_ALLOWED - 0.5,
    )  # fmt: skip
    check = one.check("feature_correlation", title, text)
    return replace(check, details={**check.details, "features": best}), drawn


def _remedy(name: str) -> str:
    if " / " in name:
        return "read it as it is (options: {scaled_by_mass: []})"
    return "divide it by the mass (options: {scaled_by_mass: [...]})"


def _joint(columns: dict[str, Floats], job: ScoreJob, window: Window, seed: int) -> Separation:
    """Out-of-fold separation of the sidebands by trees on all features: two halves, each scored by the other's trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    mass = columns[job.variable]
    x = np.stack([columns[name] for name in job.features], axis=1)
    rows = np.flatnonzero(window.in_sidebands(mass) & np.isfinite(x).all(axis=1))
    generator = np.random.default_rng(seed)
    rows = generator.permutation(rows)[:_MOST]
    upper = window.in_upper_sideband(mass[rows])
    half = np.arange(len(rows)) % 2
    parts = []
    for side in (0, 1):
        learn, test = half != side, half == side
        if len(set(upper[learn].tolist())) < 2 or len(set(upper[test].tolist())) < 2:
            return Separation(0.5, 0.0)
        trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=seed)
        trees.fit(x[rows[learn]], upper[learn])
        score = trees.decision_function(x[rows[test]])
        parts.append(separation(score[~upper[test]], score[upper[test]]))
    # the halves learn from each other, so that their separations are not independent: the larger of the two is tested
    return Separation(float(np.mean([part.auc for part in parts])), max(part.z for part in parts))


def joint_check(setting: Setting) -> Result:
    """Do all features of a method together tell the mass?"""
    found = {}
    for features, job in {job.features: job for job in setting.jobs}.items():
        columns = _columns(job)
        for window in setting.windows:
            seed = seed_for(setting.config.seed, "sidebands apart", *features, window.low)
            found[job.method.title, window] = _joint(columns, job, window, seed)
    title = "all features together against the mass: a classifier of the sidebands"
    if not found:
        return not_made("joint_correlation", title, "no method has features", "amber"), None
    # out of fold, only an AUC above one half is a separation; each has two folds
    one = _worst(setting, found, size=lambda each: each.auc, p=lambda each: float(norm.sf(each.z)), tests_each=2)
    text = f"a classifier of all features tells the sidebands apart with AUC = {one.size:.3f} at most"
    if one.verdict != "green":
        text = (
            f"the features of {one.name} together tell the sidebands of {one.window} apart with AUC = {one.size:.2f}: they hold the mass, and a "
            "selection can learn it from them"
        )
    return one.check("joint_correlation", title, text), None


def score_check(setting: Setting) -> Result:
    """Does the score depend on the mass outside of the signal region?"""
    found = {}
    for each in setting.selected:
        ranks = _in_fold(each.scores, each.fold)
        lower, upper = each.window.in_lower_sideband(each.mass), each.window.in_upper_sideband(each.mass)
        found[each.method, each.window] = separation(ranks[lower], ranks[upper])
    title = "scores against the mass: lower against upper sideband"
    if not found:
        return not_made("score_correlation", title, "no method has scores", "amber"), None
    one = _worst(setting, found)
    text = f"no score tells the sidebands apart by more than AUC = {one.size:.3f}"
    if one.verdict != "green":
        text = (
            f"the score of {one.name} in {one.window} depends on the mass (AUC = {one.size:.2f} between the sidebands): its cuts are tighter at one end of the "
            "spectrum, which the fit has to absorb"
        )
    return one.check("score_correlation", title, text), None


def _in_fold(scores: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """Scores as ranks inside of their fold, as scores of different folds are not comparable."""
    found = np.empty_like(scores)
    for number in np.unique(fold):
        own = fold == number
        found[own] = rankdata(scores[own]) / own.sum()
    return found
