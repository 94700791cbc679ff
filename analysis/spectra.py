"""Third stage: the mass spectrum of each selection, its background fit and the local p-value of its signal region."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.scoring import ScoreJob, load_scores, search_windows
from resonaut.models import select
from resonaut.processors import read_table
from resonaut.stats import (
    ExcessResult,
    ScanEntry,
    ScanResult,
    Window,
    local_p_value,
    log_edges,
    make_spectrum,
    write_root,
)

__all__ = ("INCLUSIVE", "Selection", "excesses_of", "scan_of", "selections_of", "write_spectra")

logger = logging.getLogger(__name__)
INCLUSIVE = "inclusive"


@dataclass(frozen=True)
class Selection:
    """Events of one method, window and cut, as a mass spectrum."""

    method: str
    window: Window
    cut: float
    spectrum: hist.Hist

    @property
    def name(self) -> str:
        """Name in ROOT files: letters, digits and underscores."""
        cut = f"{100 * self.cut:g}".replace(".", "p")
        return f"{self.method}_{self.window.low:.0f}_{self.window.high:.0f}_cut{cut}".replace("-", "_")


def _masses(job_table: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    table = read_table(job_table, columns=["mjj", "weight"])
    return np.asarray(table["mjj"], dtype=float), np.asarray(table["weight"], dtype=float)


def selections_of(config: SearchConfig, jobs: Sequence[ScoreJob], table: Path) -> list[Selection]:
    """Spectra of all methods, windows and cuts; the inclusive one stands once per window, as the cut 1."""
    mass, weight = _masses(table)
    edges = log_edges(config.scan.low, config.scan.high, config.scan.bins)
    inclusive = make_spectrum(mass, edges, weight)
    windows = search_windows(config)
    found = [Selection(INCLUSIVE, window, 1.0, inclusive) for window in windows]
    for job in jobs:
        scores = load_scores(job)
        weights = weight[scores.rows]
        cuts = [c for c in config.selection.cuts if c * weights.sum() >= config.selection.minimum_events]
        for cut in set(config.selection.cuts) - set(cuts):
            logger.warning(
                "cut %g of %s would leave under %d events: not made",
                cut,
                job.method.title,
                config.selection.minimum_events,
            )
        masks = select(scores.scores, scores.fold, cuts, weights)
        for cut in cuts:
            rows = scores.rows[masks[cut]]
            spectrum = make_spectrum(mass[rows], edges, weight[rows])
            for window in [job.window] if job.window else windows:
                found.append(Selection(job.method.title, window, cut, spectrum))
    return found


def excesses_of(config: SearchConfig, selections: Sequence[Selection]) -> list[ExcessResult]:
    """Blinded fit and local p-value of each selection, in the same order."""
    fit = config.fit
    return [local_p_value(s.spectrum, s.window, function=fit.function, sqrts=fit.sqrts) for s in selections]


def scan_of(selections: Sequence[Selection], excesses: Sequence[ExcessResult]) -> ScanResult:
    """The p-value scan over all windows and cuts."""
    pairs = zip(selections, excesses, strict=True)
    return ScanResult(tuple(ScanEntry.from_excess(s.window, e, method=s.method, cut=s.cut) for s, e in pairs))


def write_spectra(folder: Path, selections: Sequence[Selection], excesses: Sequence[ExcessResult]) -> dict[str, Any]:
    """Spectra to ROOT, and fits to a JSON-able dict from which every spectrum plot can be redrawn."""
    folder.mkdir(parents=True, exist_ok=True)
    write_root(folder / "spectra.root", {s.name: s.spectrum for s in selections})
    return {
        "fits": [
            {"name": s.name, "method": s.method, "cut": s.cut, "window": s.window.to_dict(), "excess": e.to_dict()}
            for s, e in zip(selections, excesses, strict=True)
        ]
    }
