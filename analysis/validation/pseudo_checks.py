"""Checks of the p-values of background-only pseudo-experiments: mean, width and uniformity.

Windows of one pseudo-experiment share a fit and cuts are nested, so that their p-values are correlated, and where few events are expected
they are discrete. The distribution of each statistic is therefore taken from toys: spectra of the same fitted background, thinned by
selections that know no mass, through the same fits. What is left to differ is the learnt selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import kstwobign, norm

from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.scoring import possible_cuts
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.analysis.validation.checks import Check, bonferroni, gravest, not_made
from resonaut.analysis.validation.figures import draw_histograms
from resonaut.analysis.validation.setting import Setting
from resonaut.stats import available_functions, fit_background, local_p_values

__all__ = ("Statistics", "null_significances", "pseudo_checks", "statistics_of")

Floats = npt.NDArray[np.float64]
SETS = 200
# Learnt cuts lean a little even without fault (docs/performance.md), and folds that learn from each other select alike, which widens the
# distribution (docs/validation.md): departures up to the first number are none, so that p-values are those of a search that departs by just
# that; up to the second number nothing is red.
MEAN_TOLD, MEAN_ALLOWED = 0.25, 0.5  # standard deviations
WIDTH_TOLD, WIDTH_ALLOWED = 0.20, 0.35  # from 1
KS_TOLD, KS_ALLOWED = 0.1, 0.2  # distances of normal distributions that are 0.25 and 0.5 apart

Result = tuple[Check, Drawn | None]


class Statistics(NamedTuple):
    """Of the significances of a few pseudo-experiments."""

    mean: float
    width: float
    ks: float


def statistics_of(z: Floats) -> Statistics:
    """Mean, standard deviation, and the largest distance of the distribution of p from a uniform one; NaN are left out."""
    known = z[np.isfinite(z)]
    if len(known) < 2:
        return Statistics(0.0, 1.0, 0.0)
    p = np.sort(ndtr(-known))
    steps = np.arange(len(p) + 1) / len(p)
    ks = max(float(np.max(steps[1:] - p)), float(np.max(p - steps[:-1])))
    return Statistics(float(known.mean()), float(known.std()), ks)


def null_significances(setting: Setting, method: str, number: int) -> Floats:
    """(number, windows x cuts) significances of toys whose selection knows no mass.

    Parameters
    ----------
    setting
        Of the validation.
    method
        Its fits are made; a function that is not log-linear is replaced by the family's default, as its fits take too long.
    number
        Of toys.
    """
    generator = np.random.default_rng(seed_for(setting.config.seed, "toys of the validation", method))
    base = setting.fit(INCLUSIVE, setting.middle)._replace(fit_range=None)
    fit = fit_background((setting.inclusive, setting.edges), **base._asdict(), errors="fisher")
    remaining = generator.poisson(np.clip(fit.expected, 0.0, None), (number, len(fit.expected)))
    columns, before = [], 1.0
    for cut in possible_cuts(setting.config, float(setting.inclusive.sum())):
        remaining = generator.binomial(remaining, cut / before)
        before = cut
        for window in setting.windows:
            options = setting.fit(method, window)
            if options.function not in available_functions(log_linear=True):
                options = options._replace(function="dijet4")
            found = local_p_values(remaining, setting.edges, window, **options._asdict())
            columns.append(found.local_significance)
    return np.stack(columns, axis=1)


class _Test(NamedTuple):
    """One statistic of one method against its toys."""

    method: str
    number: float
    effect: float
    p: float
    beyond: float


class _Tests(NamedTuple):
    """One method."""

    found: Statistics
    mean: _Test
    width: _Test
    ks: _Test
    z: Floats


def _tests(setting: Setting, method: str, z: Floats) -> _Tests:
    experiments = len(z)
    toys = null_significances(setting, method, SETS * experiments).reshape(SETS, experiments, -1)
    null = np.array([statistics_of(each.reshape(-1)) for each in toys])
    found = statistics_of(z.reshape(-1))
    middle, spread = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-9)

    def two_sided(place: int, number: float, effect: float, told: float, allowed: float) -> _Test:
        off = abs(number - middle[place])
        p = 2 * float(norm.sf(max(off - told, 0.0) / spread[place]))
        return _Test(method, number, effect, p, float(norm.sf((off - allowed) / spread[place])))

    # the median of Kolmogorov's distribution tells how many independent numbers there are
    independent = kstwobign.ppf(0.5) / np.median(null[:, 2])
    told, beyond = (float(kstwobign.sf(max(found.ks - most, 0.0) * independent)) for most in (KS_TOLD, KS_ALLOWED))
    return _Tests(
        found,
        two_sided(0, found.mean, abs(found.mean), MEAN_TOLD, MEAN_ALLOWED),
        two_sided(1, found.width, abs(found.width - 1), WIDTH_TOLD, WIDTH_ALLOWED),
        _Test(method, found.ks, found.ks, told, beyond),
        z.reshape(-1),
    )


def _grouped(setting: Setting, experiments: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Floats]:
    """(experiments, windows x cuts) significances of each method, NaN where there is none."""
    found = {}
    for method in (m.title for m in setting.config.methods):
        keys = sorted({(e["low"], e["cut"]) for each in experiments for e in each if e["method"] == method})
        z = np.full((len(experiments), len(keys)), np.nan)
        for row, each in enumerate(experiments):
            for entry in each:
                if entry["method"] == method and entry["local_significance"] is not None:
                    z[row, keys.index((entry["low"], entry["cut"]))] = entry["local_significance"]
        if np.isfinite(z).sum() >= 2:
            found[method] = z
    return found


def pseudo_checks(setting: Setting, experiments: Sequence[Sequence[dict[str, Any]]]) -> list[Result]:
    """Mean, width and uniformity, each for the method that is worst."""
    titles = {
        "pseudo_mean": "pseudo-experiments: mean of the significances",
        "pseudo_width": "pseudo-experiments: width of the significances",
        "pseudo_uniformity": "pseudo-experiments: uniformity of the p-values (Kolmogorov-Smirnov)",
    }
    groups = _grouped(setting, experiments) if len(experiments) >= 2 else {}
    if not groups:
        why = "no pseudo-experiments were asked for" if len(experiments) < 2 else "they have no p-values"
        verdict = "amber" if len(experiments) >= 2 else "green"
        return [(not_made(name, title, why, verdict), None) for name, title in titles.items()]
    tests = [_tests(setting, method, z) for method, z in groups.items()]
    return [
        (_mean(setting, titles["pseudo_mean"], tests), _figure(setting, tests)),
        (_width(setting, titles["pseudo_width"], tests), None),
        (_uniformity(setting, titles["pseudo_uniformity"], tests), None),
    ]


def _judged(setting: Setting, tests: Sequence[_Test], told: float, allowed: float) -> tuple[_Test, float, str]:
    """The method that is worst, its p-value and its verdict."""
    p_values, beyond = (
        [bonferroni(value, len(tests)) for value in each]
        for each in zip(*((t.p, t.beyond) for t in tests), strict=True)
    )
    verdicts = [
        setting.alarm.verdict(p, effect=test.effect, told=told, allowed=allowed, beyond=far)
        for test, p, far in zip(tests, p_values, beyond, strict=True)
    ]
    place = gravest(verdicts, [test.effect for test in tests])
    return tests[place], p_values[place], verdicts[place]


def _mean(setting: Setting, title: str, tests: Sequence[_Tests]) -> Check:
    (method, mean, *_), p, verdict = _judged(setting, [each.mean for each in tests], MEAN_TOLD, MEAN_ALLOWED)
    text = f"background alone gives significances of {method} around {mean:+.2f}, within chance"
    if verdict != "green":
        kind = "excesses" if mean > 0 else "deficits"
        text = (
            f"background alone leans to {kind} after {method}: {mean:+.2f} standard deviations on average; its p-values cannot be taken at face "
            "value"
        )
    return Check("pseudo_mean", title, mean, MEAN_ALLOWED, verdict, text, p, details=_details(tests))


def _width(setting: Setting, title: str, tests: Sequence[_Tests]) -> Check:
    (method, width, *_), p, verdict = _judged(setting, [each.width for each in tests], WIDTH_TOLD, WIDTH_ALLOWED)
    text = f"significances of {method} on background alone spread by {width:.2f}, within chance"
    if verdict != "green":
        kind = "more" if width > 1 else "less"
        text = (
            f"significances of {method} on background alone spread by {width:.2f}, {kind} than those of selections that know no mass: a p-value "
            "after its cuts is not what it says"
        )
    return Check("pseudo_width", title, width, 1 + WIDTH_ALLOWED, verdict, text, p)


def _uniformity(setting: Setting, title: str, tests: Sequence[_Tests]) -> Check:
    (method, ks, *_), p, verdict = _judged(setting, [each.ks for each in tests], KS_TOLD, KS_ALLOWED)
    text = f"p-values of {method} on background alone are uniform within chance (distance {ks:.2f})"
    if verdict != "green":
        text = f"p-values of {method} on background alone are not uniform: their distribution is off by {ks:.2f}"
    return Check("pseudo_uniformity", title, ks, KS_ALLOWED, verdict, text, p)


def _details(tests: Sequence[_Tests]) -> dict[str, Any]:
    return {each.mean.method: {**each.found._asdict(), "entries": int(np.isfinite(each.z).sum())} for each in tests}


def _figure(setting: Setting, tests: Sequence[_Tests]) -> Drawn:
    samples = {each.mean.method: each.z[np.isfinite(each.z)] for each in tests}
    return draw_histograms(
        samples, title=setting.config.name, x_label="significance of background alone", bins=24, curve=norm.pdf
    )
