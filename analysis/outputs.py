"""Last stage: figures of a run, each with its numbers beside it, and the same results as a HEPData submission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.limits import LimitJob, selected_by
from resonaut.analysis.plots import draw_limits, draw_scan, draw_sic, draw_spectra, save_figure, with_signals
from resonaut.analysis.progress import progress_bar
from resonaut.analysis.scoring import ScoreJob, load_scores, window_name
from resonaut.analysis.signal_limits import SignalResult
from resonaut.analysis.spectra import INCLUSIVE, selection_name
from resonaut.models import SicCurve, sic_curve
from resonaut.processors import read_table, table_columns
from resonaut.stats import ExcessResult, LimitResult, ScanInput, ScanResult, Window, write_hepdata

__all__ = ("draw_all", "write_submission")

Pairs = Sequence[tuple[ScanInput, ExcessResult]]


def _spectra_figures(config: SearchConfig, folder: Path, pairs: Pairs) -> None:
    groups: dict[tuple[str, Window], dict[float, ExcessResult]] = {}
    inclusive = {s.window: e for s, e in pairs if s.method == INCLUSIVE}
    for selection, excess in pairs:
        if selection.method != INCLUSIVE:
            groups.setdefault((selection.method, selection.window), {})[selection.cut] = excess
    with progress_bar("drawing spectra", len(groups)) as advance:
        for (method, window), excesses in groups.items():
            uncut = {1.0: inclusive[window]} if window in inclusive else {}
            drawn = draw_spectra(
                window, {**uncut, **excesses}, title=config.name, method=method, x_label=config.mass_label
            )
            save_figure(drawn, folder / f"spectrum_{method}_{window_name(window)}")
            advance(1)


def _limit_figures(
    config: SearchConfig,
    folder: Path,
    jobs: Sequence[LimitJob],
    limits: Sequence[LimitResult],
    signals: Sequence[SignalResult],
) -> None:
    groups: dict[str, list[LimitResult]] = {}
    for job, limit in zip(jobs, limits, strict=True):
        groups.setdefault(job.signal, []).append(limit)
    luminosity = config.fb_inverse
    points: dict[str, dict[str, LimitResult]] = {}
    for each in signals:
        if each.limit is not None:
            points.setdefault(selected_by(each.templates.method, each.cut), {})[each.config.name] = each.limit.result
    scale, unit = (1 / luminosity, "fb") if luminosity else (1.0, "selected signal events")
    for number, (signal, results) in enumerate(groups.items()):
        drawn = draw_limits(
            results, title=config.name, subtitle=signal, scale=scale, unit=unit, x_label=config.mass_label
        )
        after = next((after for after in points if signal.endswith(f"wide, {after}")), None)
        if after is not None:
            drawn = with_signals(drawn, points[after], scale=scale)
        save_figure(drawn, folder / f"limits_{number}")


def sic_curves(jobs: Sequence[ScoreJob], table: Path, window: Window, variable: str) -> dict[str, SicCurve]:
    """SIC of each method in one signal region, from truth labels; empty where there are none of either kind."""
    if "label" not in table_columns(table):
        return {}
    columns = read_table(table, columns=[variable, "label", "weight"])
    mass, label, weight = (np.asarray(columns[c]) for c in (variable, "label", "weight"))
    curves = {}
    for job in jobs:
        if job.window not in (None, window):
            continue
        scores = load_scores(job)
        if scores.skipped:
            continue
        inside = window.in_signal_region(mass[scores.rows])
        truth = label[scores.rows][inside]
        known = (truth == 0) | (truth == 1)
        if {0, 1} <= set(truth[known].tolist()):
            rows = scores.rows[inside][known]
            curves[job.method.title] = sic_curve(truth[known], scores.scores[inside][known], weight[rows])
    return curves


def draw_all(
    config: SearchConfig,
    folder: Path,
    *,
    score_jobs: Sequence[ScoreJob],
    table: Path,
    pairs: Pairs,
    scan: ScanResult,
    limit_jobs: Sequence[LimitJob],
    limits: Sequence[LimitResult],
    signals: Sequence[SignalResult] = (),
) -> None:
    """All figures of a run into `folder`; a blinded one has no p-values to show."""
    folder.mkdir(parents=True, exist_ok=True)
    if not config.blind:
        save_figure(draw_scan(scan, title=config.name, x_label=config.mass_label), folder / "pvalue_scan")
    _spectra_figures(config, folder, pairs)
    _limit_figures(config, folder, limit_jobs, limits, signals)
    if scan.best and not config.blind:
        window = next(s.window for s, _ in pairs if s.window.low == scan.best.low and s.window.high == scan.best.high)
        if curves := sic_curves(score_jobs, table, window, config.variable):
            subtitle = f"truth labels, {window}"
            save_figure(draw_sic(curves, title=config.name, subtitle=subtitle), folder / "sic")


def write_submission(
    config: SearchConfig, results: Path, pairs: Pairs, scan: ScanResult, limits: Sequence[LimitResult]
) -> None:
    """The p-value scan, the limits, and the spectra of the most significant window with their fits, for HEPData.

    Parameters
    ----------
    config
        Of the search.
    results
        Folder of the results; `hepdata/` in it is written. Its tables are read again by `resonaut fit`, `limit` and others.
    pairs, scan, limits
        Results of the run. Fits of other windows differ in what they blind and stay in `fits.json`.
    """
    if getattr(config, "blind", False):
        return  # it would hold the observed events
    best = scan.best
    found: dict[str, Any] = {"Scan": scan} if best else {}
    for selection, excess in pairs:
        window = selection.window
        if best and (window.low, window.high) == (best.low, best.high):
            found[selection_name(selection)] = excess.fit
    if usable := [limit for limit in limits if limit.ok]:
        found["Generic resonance"] = usable
    if found:
        quantities = {"observables": ["N"], "phrases": ["anomaly detection", "resonance search"]}
        comment = f"{config.name}: search for a resonance in {config.variable}, made with resonaut"
        write_hepdata(results / "hepdata", found, comment=comment, keywords=quantities)
