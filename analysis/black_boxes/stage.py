"""The stage that describes the largest excess of a search, as one resumable unit."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resonaut import __version__
from resonaut.analysis.black_boxes.measure import events_after, fit_peak
from resonaut.analysis.black_boxes.properties import properties_of
from resonaut.analysis.black_boxes.pull import mass_pull
from resonaut.analysis.black_boxes.selected import Selected, selected_events
from resonaut.analysis.black_boxes.toys import global_excess
from resonaut.analysis.config import SearchConfig
from resonaut.analysis.interpretation import FoldEvents
from resonaut.analysis.interpretation.view import ID_COLUMNS, fold_events, view_of
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob
from resonaut.analysis.seeds import seed_for
from resonaut.analysis.spectra import INCLUSIVE, fit_options
from resonaut.errors import ModelError
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.processors import read_table, table_columns
from resonaut.stats import ExcessResult, ScanInput

__all__ = ("FOLDER", "SCHEMA", "excess_stage")

logger = logging.getLogger(__name__)
SCHEMA = "resonaut.excess/1"
FOLDER = "excess"
VERSION = 3  # of this folder's numbers: a change makes the unit again
SHOWN = ("m_j1", "m_j2", "m_h", "m_l", "tau21_h", "tau21_l", "tau32_h", "tau32_l", "n_h", "n_l")
Pairs = Sequence[tuple[ScanInput, ExcessResult]]


def excess_stage(
    config: SearchConfig,
    run: RunDirectory,
    jobs: Sequence[ScoreJob],
    table: Path,
    pairs: Pairs,
    signals: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """Everything about the largest excess that needs no label; None for a blinded search and where no fit can be used.

    Parameters
    ----------
    config
        Of the search.
    run
        Run directory; the unit `excess/` in it is written.
    jobs
        Finished score units.
    table
        Event table.
    pairs
        Selections with their blinded fits.
    signals
        Rows of the simulated signals in the summary: their efficiencies turn events into cross-sections.

    Returns
    -------
    dict
        See docs/summary.md: window, method, cut, local and global significance, `mass`, `events`, `cross_section`,
        `properties`.
    """
    usable = [(s, e) for s, e in pairs if np.isfinite(e.local_significance)]
    if config.blind or not usable:
        shutil.rmtree(run.path / FOLDER, ignore_errors=True)
        return None
    columns = _shown(jobs, table, config.variable)
    made_of = [(str(s.window), s.method, s.cut, e.to_dict()) for s, e in usable]
    key = digest(VERSION, __version__, made_of, columns, config.seed, [(job.folder.name, job.key) for job in jobs])
    unit = run.unit(FOLDER, key)
    unit.make(lambda folder: write_json(folder / "excess.json", _described(config, jobs, table, usable, columns)))
    content: dict[str, Any] = read_json(unit.folder / "excess.json")
    return content | {"cross_section": _cross_section(content, config.fb_inverse, signals)}


def _described(
    config: SearchConfig, jobs: Sequence[ScoreJob], table: Path, pairs: Pairs, columns: Sequence[str]
) -> dict[str, Any]:
    best, excess = max(pairs, key=lambda pair: pair[1].local_significance)
    selected = selected_events(config, jobs, table)
    shared = selected.shared([s for s, _ in pairs], config.scan.bins)
    found = global_excess([e for _, e in pairs], shared, excess, seed_for(config.seed, FOLDER, "toys"))
    options = fit_options(config, best)._replace(function=excess.fit.function)
    peak = fit_peak(best, excess, options)
    folds = _folds(jobs, best, seed_for(config.seed, FOLDER, "folds"))
    if folds is not None:
        peak = replace(peak, mass_pull=mass_pull(best, peak, options, folds))
    content = {
        "schema": SCHEMA,
        "low": best.window.low,
        "high": best.window.high,
        "method": best.method,
        "cut": best.cut,
        "local_p": excess.local_p,
        "local_significance": excess.local_significance,
        **found.to_dict(),
        "fit": {name: getattr(excess.fit, name) for name in ("function", "chi2", "ndf", "p_value")},
        "peak": peak.to_dict(),
        "events": events_after(peak, best, [(s, e, fit_options(config, s)) for s, e in pairs]),
        "properties": _properties(config, table, selected, best, excess, columns),
    }
    return dict(finite_or_none(content))


def _folds(jobs: Sequence[ScoreJob], best: ScanInput, seed: int) -> list[FoldEvents] | None:
    """Selected events of the signal region with their scorers: none without a cut; None where the scorers cannot be read."""
    job = next((j for j in jobs if j.method.title == best.method and j.window in (None, best.window)), None)
    if job is None:
        return []
    try:
        return fold_events(view_of(job, best.window, best.cut), seed)
    except ModelError as error:
        logger.warning("%s: how far the cut moves the mass is not known: %s", best.method, error)
        return None


def _shown(jobs: Sequence[ScoreJob], table: Path, variable: str) -> tuple[str, ...]:
    """Columns that are described: masses, substructure and multiplicities of the two jets, and what the methods learnt from."""
    there = table_columns(table)
    wanted = dict.fromkeys([*SHOWN, *(name for job in jobs for name in job.features)])
    return tuple(name for name in wanted if name in there and name != variable and name not in ID_COLUMNS)


def _properties(
    config: SearchConfig,
    table: Path,
    selected: Selected,
    best: ScanInput,
    excess: ExcessResult,
    columns: Sequence[str],
) -> list[dict[str, Any]]:
    rows = selected.rows[selected.of(best)]
    read = read_table(table, columns=[config.variable, *columns])
    values = {name: np.asarray(read[name], dtype=np.float64)[rows] for name in (config.variable, *columns)}
    mass = values.pop(config.variable)
    seed = seed_for(config.seed, FOLDER, "properties")
    expected = (excess.expected, excess.expected_error)
    return [p.to_dict() for p in properties_of(values, mass, best.window, expected, seed)]


def _cross_section(
    content: Mapping[str, Any], luminosity: float | None, signals: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """From events to produced ones, and to fb where the luminosity is known.

    The efficiency of a cut for an unknown signal is not known. What is known: a resonance has at least the events that are
    left of it after a cut (`at_least`, with the cut of the largest excess), and without a cut all of them (`without_cut`,
    fitted at the same mass, whose uncertainty is that of the whole background). Of a simulated signal in the same window
    the efficiency is known.
    """
    per_fb = 1.0 / luminosity if luminosity else None
    events, error = content["peak"]["events"], content["peak"]["events_error"]
    found: dict[str, Any] = {"luminosity": luminosity, "at_least": _estimate(events, error, per_fb)}
    whole = next((row for row in content["events"] if row["method"] == INCLUSIVE), None)
    found["without_cut"] = _estimate(whole["events"], whole["events_error"], per_fb) if whole else None
    place = tuple(content[name] for name in ("low", "high", "method", "cut"))
    found["models"] = [
        {
            "signal": row["name"],
            "efficiency": row["efficiency"],
            "efficiency_error": row["efficiency"] * _relative_error(row),
            **_estimate(events / row["efficiency"], _over(events, error, row), per_fb),
        }
        for row in signals
        if tuple(row[name] for name in ("low", "high", "method", "cut")) == place and row["efficiency"]
    ]
    return dict(finite_or_none(found))


def _relative_error(row: Mapping[str, Any]) -> float:
    """Of the yield of a simulated signal: all its nuisance parameters, independent, the larger side of each; luminosity among them."""
    sides = [max(abs(down), abs(up)) for down, up in row["uncertainties"].values()]
    return float(np.sqrt(np.sum(np.square(sides))))


def _over(events: float, error: float, row: Mapping[str, Any]) -> float:
    """Error of events / efficiency."""
    return float(np.hypot(error, events * _relative_error(row)) / row["efficiency"])


def _estimate(events: float, error: float, per_fb: float | None) -> dict[str, float | None]:
    scale = (events * per_fb, error * per_fb) if per_fb else (None, None)
    return {"events": events, "events_error": error, "fb": scale[0], "fb_error": scale[1]}
