"""Third stage: the mass spectrum of each selection, its background fit and the local p-value of its signal region."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.scoring import ScoreJob, load_scores, possible_cuts, search_windows, window_name
from resonaut.errors import ResonautError
from resonaut.files import finite_or_none, write_json
from resonaut.models import select
from resonaut.processors import read_table
from resonaut.stats import (
    ExcessResult,
    ScanEntry,
    ScanInput,
    ScanResult,
    local_p_value,
    log_edges,
    make_spectrum,
    scan,
    write_root,
)

__all__ = (
    "INCLUSIVE",
    "FitOptions",
    "excesses_of",
    "fit_options",
    "scan_of",
    "selection_name",
    "selections_of",
    "write_spectra",
)

logger = logging.getLogger(__name__)
INCLUSIVE = "inclusive"


class FitOptions(NamedTuple):
    """Arguments of the fits in `resonaut.stats`; the range in GeV, None for the whole spectrum."""

    function: str
    sqrts: float
    fit_range: tuple[float, float] | None


def selection_name(selection: ScanInput) -> str:
    """Name of a selection in ROOT files and folders: letters, digits and underscores.

    Distinct selections have distinct names: the config refuses labels that differ in punctuation alone.
    """
    name = f"{selection.method}_{window_name(selection.window)}_cut{100 * selection.cut:g}"
    return re.sub(r"\W", "_", name.replace(".", "p"))


def selections_of(config: SearchConfig, jobs: Sequence[ScoreJob], table: Path) -> list[ScanInput]:
    """Spectra of all methods, windows and cuts; the inclusive one stands once per window, as the cut 1."""
    names = (config.variable, "weight")
    columns = read_table(table, columns=list(names))
    mass, weight = (np.asarray(columns[name], dtype=float) for name in names)
    edges = log_edges(config.scan.low, config.scan.high, config.scan.bins)
    inclusive = make_spectrum(mass, edges, weight)
    windows = search_windows(config)
    found = [ScanInput(window, INCLUSIVE, 1.0, inclusive) for window in windows]
    for job in jobs:
        scores = load_scores(job)
        if scores.skipped:
            continue  # counted among the warnings of the run
        weights = weight[scores.rows]
        cuts = possible_cuts(config, weights.sum())
        masks = select(scores.scores, scores.fold, cuts, weights)
        for cut in cuts:
            rows = scores.rows[masks[cut]]
            spectrum = make_spectrum(mass[rows], edges, weight[rows])
            for window in [job.window] if job.window else windows:
                found.append(ScanInput(window, job.method.title, cut, spectrum))
    return found


def fit_options(config: SearchConfig, selection: ScanInput) -> FitOptions:
    """How a spectrum is fitted: what its method asks for, else what the search does."""
    fit = config.fit_of(selection.method)
    fit_range = None
    if fit.sideband_bins is not None:
        edges = log_edges(config.scan.low, config.scan.high, config.scan.bins)
        first, last = (int(np.argmin(np.abs(edges - end))) for end in (selection.window.low, selection.window.high))
        ends = max(first - fit.sideband_bins, 0), min(last + fit.sideband_bins, config.scan.bins)
        fit_range = (float(edges[ends[0]]), float(edges[ends[1]]))
    return FitOptions(fit.function, config.fit.sqrts, fit_range)


def scan_of(config: SearchConfig, selections: Sequence[ScanInput]) -> ScanResult:
    """The p-value scan over all windows and cuts; a fit that fails is an entry that says so."""
    groups: dict[FitOptions, list[int]] = {}
    for row, selection in enumerate(selections):
        groups.setdefault(fit_options(config, selection), []).append(row)
    entries: dict[int, ScanEntry] = {}
    for options, rows in groups.items():
        found = scan([selections[row] for row in rows], **options._asdict())
        entries |= zip(rows, found.entries, strict=True)
    return ScanResult(tuple(entries[row] for row in range(len(selections))))


def excesses_of(config: SearchConfig, selections: Sequence[ScanInput]) -> list[tuple[ScanInput, ExcessResult]]:
    """Selections with their blinded fits, for the plots; those that cannot be fitted are left out."""
    found = []
    for selection in selections:
        try:
            options = fit_options(config, selection)._asdict()
            excess = local_p_value(selection.spectrum, selection.window, **options)
        except ResonautError as error:
            logger.warning("%s is not drawn: %s", selection_name(selection), error)
            continue
        found.append((selection, excess))
    return found


def write_spectra(folder: Path, pairs: Sequence[tuple[ScanInput, ExcessResult]], result: ScanResult) -> None:
    """Spectra to ROOT; fits and scan to JSON, from which every plot can be redrawn."""
    folder.mkdir(parents=True, exist_ok=True)
    write_root(folder / "spectra.root", {selection_name(s): s.spectrum for s, _ in pairs})
    fits = [{"name": selection_name(s), "method": s.method, "cut": s.cut, "excess": e.to_dict()} for s, e in pairs]
    write_json(folder / "fits.json", finite_or_none(fits))
    write_json(folder / "scan.json", finite_or_none(result.to_dict()))
