"""Checks of the mass spectra: is the fit right outside of the signal region, after each cut and before any?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, norm

from resonaut.analysis.plots.canvas import Drawn
from resonaut.analysis.spectra import INCLUSIVE, FitOptions
from resonaut.analysis.validation.checks import Check, bonferroni, gravest, not_made, worst
from resonaut.analysis.validation.figures import draw_bars, draw_points
from resonaut.analysis.validation.setting import Selected, Setting
from resonaut.errors import ResonautError
from resonaut.stats import Window, background_function, fit_background
from resonaut.stats.engine.design import Design, pooled_importance
from resonaut.stats.excesses.significance import local_significances
from resonaut.stats.regions import Region, bins_overlapping, fit_region

__all__ = ("closure_check", "efficiency_check", "inclusive_check", "sculpting_check", "shifted_pulls")

Floats = npt.NDArray[np.float64]
EFFICIENCY_ALLOWED = 0.10  # relative spread of the efficiency over the bins, beyond statistics
FEW = 5.0  # selected events of a bin in a chi2; bins with fewer are merged with their neighbour

Result = tuple[Check, Drawn | None]


class Pull(NamedTuple):
    """A region outside of the signal region, predicted by all other bins outside of it."""

    low: float
    high: float
    z: float


def _fit_quality(counts: Floats, setting: Setting, method: str, window: Window) -> tuple[float, str]:
    """p-value of the blinded fit, and its function; NaN where it failed."""
    try:
        fit = fit_background((counts, setting.edges), window, **setting.fit(method, window)._asdict(), errors="fisher")
    except ResonautError:
        return float("nan"), ""
    return (fit.p_value, fit.function) if fit.ok else (float("nan"), "")


def sculpting_check(setting: Setting) -> Result:
    """Does the background function describe the spectrum outside of the signal region after each cut?"""
    rows, failed = [], 0
    for each in setting.selected:
        for cut, counts in each.counts.items():
            p, _ = _fit_quality(counts, setting, each.method, each.window)
            failed += not np.isfinite(p)
            rows.append((each.method, each.window, cut, p))
    usable = [row for row in rows if np.isfinite(row[3])]
    title = "mass spectrum after each cut, fit outside of the signal region"
    if not usable:
        return not_made("sculpting_fit", title, "no spectrum after a cut could be fitted", "amber"), None
    method, window, cut, smallest = min(usable, key=lambda row: row[3])
    p = bonferroni(smallest, len(usable))
    verdict = setting.alarm.verdict(p)
    if verdict == "green":
        text = f"{len(usable)} spectra outside of their signal regions are described by their fits"
    else:
        text = (
            f"the spectrum after {method}, cut {100 * cut:g} %, in {window} is not described by its fit outside of the signal region "
            f"(p = {smallest:.2g}, the smallest of {len(usable)}): the selection sculpts the mass, or the function is wrong"
        )
    if failed:
        text += f"; {failed} fits failed"
        verdict = worst([verdict, "amber"])
    labels = [f"{m}, {w}, {100 * c:g} %" for m, w, c, _ in usable]
    drawn = draw_bars(
        labels, [norm.isf(max(row[3], 1e-300)) for row in usable], title=setting.config.name,
        x_label="badness of the fit [standard deviations]", line=float(norm.isf(setting.alarm.red / len(usable))),
    )  # fmt: skip
    details = {"tests": len(usable), "failed": failed, "smallest_p": smallest, "where": _where(method, window, cut)}
    return Check("sculpting_fit", title, p, setting.alarm.red, verdict, text, p, details=details), drawn


def _where(method: str, window: Window, cut: float) -> dict[str, Any]:
    return {"method": method, "low": window.low, "high": window.high, "cut": cut}


class Flatness(NamedTuple):
    """Efficiency of a cut against the mass, compared with a curve of `parameters` in ln m."""

    p: float
    spread: float  # relative, beyond statistics


def _merged(counts: Floats, total: Floats, outside: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Selected and all events of neighbouring bins, and their positions, with enough of either in each."""
    overall = counts[outside].sum() / max(total[outside].sum(), 1.0)
    k: list[float] = []
    n: list[float] = []
    x: list[float] = []
    have, place, weight = np.zeros(2), 0.0, 0.0
    for b in np.flatnonzero(outside):
        have += (counts[b], total[b])
        place, weight = place + b * total[b], weight + total[b]
        if have[1] * overall >= FEW and have[1] * (1 - overall) >= FEW:
            k.append(have[0])
            n.append(have[1])
            x.append(place / weight)
            have, place, weight = np.zeros(2), 0.0, 0.0
    if k and have[1]:
        k[-1], n[-1] = k[-1] + have[0], n[-1] + have[1]
    return np.array(k), np.array(n), np.array(x)


def _flatness(k: Floats, n: Floats, x: Floats, degree: int) -> Flatness:
    """Pearson's chi2 of binomial counts against a logistic curve of a polynomial, and the spread that it leaves over."""
    if len(k) < degree + 3:
        return Flatness(1.0, 0.0)
    z = (x - x.mean()) / max(float(np.ptp(x)), 1e-9)
    basis = np.stack([z**power for power in range(degree + 1)], axis=1)
    beta = np.zeros(degree + 1)
    rate = min(max(k.sum() / n.sum(), 1e-6), 1 - 1e-6)
    beta[0] = np.log(rate / (1 - rate))
    for _ in range(50):
        mean = 1 / (1 + np.exp(-np.clip(basis @ beta, -30, 30)))
        weight = n * mean * (1 - mean)
        step = np.linalg.lstsq(basis.T @ (weight[:, None] * basis), basis.T @ (k - n * mean), rcond=None)[0]
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    mean = 1 / (1 + np.exp(-np.clip(basis @ beta, -30, 30)))
    variance = n * mean * (1 - mean)
    statistic, ndf = float(np.sum((k - n * mean) ** 2 / variance)), len(k) - degree - 1
    information = n * mean / (1 - mean)  # inverse variance of k / (n mean)
    spread = np.sqrt(max(statistic - ndf, 0.0) / information.sum())
    return Flatness(float(chi2.sf(statistic, ndf)), float(spread))


def _with_neighbours(window: Window, edges: Floats) -> tuple[float, float]:
    """The signal region and half its width on each side: where a resonance in it has its tails."""
    inside = np.flatnonzero(bins_overlapping(edges, window.low, window.high))
    more = max(1, (len(inside) + 1) // 2)
    return float(edges[max(inside[0] - more, 0)]), float(edges[min(inside[-1] + 1 + more, len(edges) - 1)])


OR_SIGNAL = "; beside the signal region alone: the tails of a signal inside of it look the same, and what the pseudo-experiments find decides"


def _roughest(setting: Setting, found: Sequence[Flatness], tests: int) -> tuple[int, str]:
    """Place and verdict of the worst efficiency, each judged by its own p-value and spread."""
    verdicts = [
        setting.alarm.verdict(bonferroni(one.p, tests), effect=one.spread, allowed=EFFICIENCY_ALLOWED) for one in found
    ]
    place = gravest(verdicts, [one.spread for one in found])
    return place, verdicts[place]


def efficiency_check(setting: Setting) -> Result:
    """Is the efficiency of each cut flat in the mass, or at least smooth, outside of the signal region?"""
    found = []
    for each in setting.selected:
        for cut in each.counts:
            merged = _efficiency(each, cut, each.window.low, each.window.high)
            found.append((each, cut, merged, _flatness(*merged, 0), _flatness(*merged, 2)))
    title = "efficiency of each cut against the mass, outside of the signal region"
    if not found:
        return not_made("sculpting_efficiency", title, "no method has scores", "amber"), None
    tests = 2 * len(found)
    place, verdict = _roughest(setting, [row[4] for row in found], tests)
    each, cut, _, _, smooth = found[place]
    number, p = smooth.spread, bonferroni(smooth.p, tests)
    far = [_flatness(*_efficiency(e, c, *_with_neighbours(e.window, e.edges)), 2) for e, c, *_ in found]
    beside = verdict == "red" and _roughest(setting, far, tests)[1] != "red"
    if verdict == "green":
        place, slope = _roughest(setting, [row[3] for row in found], tests)
        each, cut, _, flat, _ = found[place]
        number, p = flat.spread, bonferroni(flat.p, tests)
        verdict = "amber" if slope == "red" else "green"
        text = "the efficiencies of all cuts are flat in the mass"
        if verdict != "green":
            text = (
                f"the efficiency of {each.method}, cut {100 * cut:g} %, in {each.window} changes smoothly with the mass, by "
                f"{100 * number:.0f} % (standard deviation): the fit has to absorb it"
            )
    else:
        text = (
            f"the efficiency of {each.method}, cut {100 * cut:g} %, trained in {each.window}, has a structure in the mass that no smooth curve "
            f"follows ({100 * number:.0f} %, p = {smooth.p:.2g}): the selection knows the mass and sculpts the spectrum"
        )
    if beside:
        verdict, text = "amber", text + OR_SIGNAL
    details = {
        "tests": tests,
        "where": _where(each.method, each.window, cut),
        "smallest_p_smooth": min(row[4].p for row in found),
    }
    check = Check("sculpting_efficiency", title, number, EFFICIENCY_ALLOWED, verdict, text, p, details=details)
    return check, _draw_efficiency(setting, each, cut)


def _efficiency(each: Selected, cut: float, low: float, high: float) -> tuple[Floats, Floats, Floats]:
    """See `_merged`; outside of low..high."""
    outside = ~bins_overlapping(each.edges, low, high)
    return _merged(each.counts[cut], each.all_counts, outside)


def _draw_efficiency(setting: Setting, each: Selected, cut: float) -> Drawn:
    k, n, x = _efficiency(each, cut, each.window.low, each.window.high)
    mass = np.interp(x + 0.5, np.arange(len(each.edges)), each.edges)
    rate = k.sum() / n.sum()
    return draw_points(
        mass, k / n / rate, np.sqrt(rate * (1 - rate) / n) / rate, title=setting.config.name,
        text=f"{each.method}, {100 * cut:g} %, trained in {each.window}", x_label=setting.config.mass_label,
        y_label="efficiency / mean", line=1.0, window=each.window,
    )  # fmt: skip


def shifted_pulls(counts: Floats, edges: Floats, window: Window, options: FitOptions) -> list[Pull]:
    """Regions as wide as the signal region, side by side outside of it, each predicted by a fit that sees neither.

    Parameters
    ----------
    counts, edges
        (bins,) events and (bins + 1,) GeV.
    window
        Its signal region is blind throughout.
    options
        Of the fit; a function that is not log-linear cannot be used and gives none.

    Returns
    -------
    list of Pull
        Signed significances, standard normal for a right fit.
    """
    name = options.function
    if name == "auto":
        fit = fit_background((counts, edges), window, **options._asdict(), errors="fisher")
        name = fit.function
    if not background_function(name).log_linear:
        return []
    region = fit_region(edges, window, options.fit_range)
    design = Design.build(name, edges, sqrts=options.sqrts, importance=pooled_importance(counts[None], region.in_range))
    found = []
    for part in _tiles(region):
        usable = region.in_range & ~region.blinded
        if np.count_nonzero(usable & ~part) < design.n_parameters + 2:
            continue
        z = local_significances(counts[None], design, Region(usable, part, usable & ~part))[0]
        places = np.flatnonzero(part)
        if np.isfinite(z):
            found.append(Pull(float(edges[places[0]]), float(edges[places[-1] + 1]), float(z)))
    return found


def _tiles(region: Region) -> list[npt.NDArray[np.bool_]]:
    """Regions of as many bins as the signal region, on both sides of it; the outermost bins stay for the fit."""
    blinded = np.flatnonzero(region.blinded)
    width, bins = len(blinded), np.flatnonzero(region.in_range)
    starts = [*range(blinded[0] - width, bins[0], -width), *range(blinded[-1] + 1, bins[-1] - width + 1, width)]
    tiles = []
    for start in sorted(starts):
        tile = np.zeros(len(region.in_range), dtype=bool)
        tile[start : start + width] = True
        tiles.append(tile)
    return tiles


def _pulls_of(setting: Setting, counts: Floats, method: str, window: Window) -> list[Pull]:
    try:
        return shifted_pulls(counts, setting.edges, window, setting.fit(method, window))
    except ResonautError:
        return []


def closure_check(setting: Setting) -> Result:
    """Does the fit after each cut predict regions outside of the signal region, as it is to predict the signal region?"""
    rows = [
        (each.method, each.window, cut, pull)
        for each in setting.selected
        for cut, counts in each.counts.items()
        for pull in _pulls_of(setting, counts, each.method, each.window)
    ]
    title = "closure in windows that are shifted away from the signal region, after each cut"
    if not rows:
        why = "the scan has no room beside its signal regions, or the function is not log-linear"
        return not_made("closure", title, why), None
    method, window, cut, pull = max(rows, key=lambda row: abs(row[3].z))
    p = bonferroni(2 * norm.sf(abs(pull.z)), len(rows))
    verdict = setting.alarm.verdict(p)
    text = f"{len(rows)} shifted regions are predicted within their errors"
    if verdict != "green":
        text = (
            f"after {method}, cut {100 * cut:g} %, trained in {window}, the fit misses {_place(setting, pull)} standard deviations, outside of the "
            "signal region: its prediction inside cannot be trusted"
        )
    threshold = float(norm.isf(setting.alarm.red / (2 * len(rows))))
    details = {
        "tests": len(rows),
        "mean": float(np.mean([row[3].z for row in rows])),
        "where": _where(method, window, cut),
    }
    check = Check("closure", title, abs(pull.z), threshold, verdict, text, p, details=details)
    return check, _draw_pulls(setting, [row[3] for row in rows], threshold, "after cuts")


HIDDEN = "a place that is hidden while the search is blind"


def _place(setting: Setting, pull: Pull) -> str:
    """Where and by how much a fit misses; without the place and the sign while the search is blind."""
    if setting.hidden:
        return f"{HIDDEN} by {abs(pull.z):.1f}"
    return f"{pull.low:.0f}-{pull.high:.0f} GeV by {pull.z:+.1f}"


def _draw_pulls(setting: Setting, pulls: Sequence[Pull], threshold: float, text: str) -> Drawn | None:
    """Pulls against the mass; none while the search is blind, as the regions are signal regions of others, and where there are none."""
    if setting.hidden or not pulls:
        return None
    mass, z = np.sqrt([pull.low * pull.high for pull in pulls]), np.array([pull.z for pull in pulls])
    return draw_points(
        mass, z, np.zeros(len(z)), title=setting.config.name, text=text, x_label=setting.config.mass_label,
        y_label="pull of a shifted region", line=0.0, limits=(-threshold, threshold),
    )  # fmt: skip


def _located(setting: Setting) -> Window | None:
    """The region, as wide as a signal region, without which the spectrum before any cut is described best; None where no fit works.

    The largest pull is not it: a structure inside of the fitted bins pulls the prediction of its neighbours too.
    """
    width, edges, options = setting.config.scan.sr_bins, setting.edges, setting.fit(INCLUSIVE, setting.middle)
    best, least = None, np.inf
    for start in range(1, len(edges) - 1 - width):
        window = Window(edges[start], edges[start + width], edges[start - 1], edges[start + width + 1])
        try:
            given = options._replace(fit_range=None)._asdict()
            fit = fit_background((setting.inclusive, edges), window, **given, errors="fisher")
        except ResonautError:
            continue
        if fit.ok and fit.deviance < least:
            best, least = window, fit.deviance
    return best


def _structure(setting: Setting, where: Window | None) -> tuple[str, str]:
    """Whether it is a bump or a dip, and where."""
    if where is None:
        return "structure", "somewhere"
    options = setting.fit(INCLUSIVE, where)._replace(fit_range=None)
    fit = fit_background((setting.inclusive, setting.edges), where, **options._asdict(), errors="fisher")
    more = setting.inclusive[fit.blinded].sum() > fit.total(fit.blinded)[0]
    return "bump" if more else "dip", f"around {where}"


def inclusive_check(setting: Setting) -> Result:
    """Is the spectrum before any cut smooth, outside of each signal region in turn?"""
    rows = []
    qualities = []
    for window in setting.windows:
        qualities.append((window, *_fit_quality(setting.inclusive, setting, INCLUSIVE, window)))
        rows += [(window, pull) for pull in _pulls_of(setting, setting.inclusive, INCLUSIVE, window)]
    title = "bump in the background estimate: the spectrum before any cut"
    usable = [row for row in qualities if np.isfinite(row[1])]
    tests = len(rows) + len(usable)
    if not tests:
        return not_made("background_bump", title, "the spectrum before any cut could not be fitted", "amber"), None
    window, pull = max(rows, key=lambda row: abs(row[1].z), default=(setting.middle, Pull(0.0, 0.0, 0.0)))
    bad = min(usable, key=lambda row: row[1], default=(window, 1.0, ""))
    p_pull = bonferroni(2 * norm.sf(abs(pull.z)), tests)
    p = min(p_pull, bonferroni(bad[1], tests))
    verdict = setting.alarm.verdict(p)
    text = f"{len(rows)} regions of the spectrum before any cut are predicted within their errors"
    where = _located(setting) if verdict != "green" and not setting.hidden else None
    if verdict != "green":
        kind, place = ("structure", f"in {HIDDEN}") if setting.hidden else _structure(setting, where)
        z, outside = (f"{abs(pull.z):.1f}", "a window") if setting.hidden else (f"{pull.z:+.1f}", str(bad[0]))
        text = (
            f"the spectrum before any cut has a {kind} {place} (pull of a shifted region {z}, fit outside of {outside}: p = {bad[1]:.2g}): "
            "the background itself has a structure that the function does not describe, which every selection inherits; look at the sample "
            "(stitching, triggers, weights) and at the function. A signal that needs no cut to be seen would look the same"
        )
    threshold = float(norm.isf(setting.alarm.red / (2 * tests)))
    details = {"tests": tests, "structure": where.to_dict() if where else None, "worst_fit_p": bad[1]}
    check = Check("background_bump", title, abs(pull.z), threshold, verdict, text, p, details=details)
    return check, _draw_pulls(setting, [row[1] for row in rows], threshold, "before any cut")
