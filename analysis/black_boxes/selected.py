"""The events behind the spectra of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.scoring import ScoreJob, load_scores, possible_cuts
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.models import select
from resonaut.processors import read_table
from resonaut.stats import ScanInput, Window, log_edges

__all__ = ("Selected", "selected_events")

IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Key = tuple[str, Window | None, float]


@dataclass(frozen=True)
class Selected:
    """Which events of the table each spectrum is made of.

    Parameters
    ----------
    rows
        (n,) rows of the event table inside of the scan.
    bins
        (n,) bin of the spectrum that each is in.
    masks
        (method, window, cut) -> (n,) selected events; the window is None for methods that use none.
    """

    rows: IndexArray
    bins: IndexArray
    masks: dict[Key, BoolArray]

    def of(self, selection: ScanInput) -> BoolArray:
        """Events (n,) of the spectrum of a selection."""
        if selection.method == INCLUSIVE:
            return np.ones(len(self.rows), dtype=bool)
        own = (selection.method, selection.window, selection.cut)
        return self.masks[own] if own in self.masks else self.masks[selection.method, None, selection.cut]

    def shared(self, selections: Sequence[ScanInput], bins: int) -> npt.NDArray[np.float64]:
        """Events (bins, S, S) that two selections have in common, in each bin."""
        found = np.zeros((bins, len(selections), len(selections)))
        order = np.argsort(self.bins, kind="stable")
        ends = np.searchsorted(self.bins[order], np.arange(bins + 1))
        masks = np.stack([self.of(selection) for selection in selections], axis=1)
        for b in range(bins):
            members = masks[order[ends[b] : ends[b + 1]]].astype(np.float32)
            found[b] = members.T @ members
        return found


def selected_events(config: SearchConfig, jobs: Sequence[ScoreJob], table: Path) -> Selected:
    """Events of every selection of a search, as `resonaut.analysis.spectra.selections_of` cuts them."""
    mass, weight = (
        np.asarray(values, dtype=np.float64) for values in _columns(table, (config.variable, "weight")).values()
    )
    edges = log_edges(config.scan.low, config.scan.high, config.scan.bins)
    rows = np.flatnonzero((mass >= edges[0]) & (mass < edges[-1]))
    place = np.full(len(mass), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    masks: dict[Key, BoolArray] = {}
    for job in jobs:
        scores = load_scores(job)
        if scores.skipped:
            continue
        weights = weight[scores.rows]
        cuts = possible_cuts(config, weights.sum())
        for cut, chosen in select(scores.scores, scores.fold, cuts, weights).items():
            mask = np.zeros(len(rows), dtype=bool)
            own = place[scores.rows[chosen]]
            mask[own[own >= 0]] = True  # an event on the very edge of the scan may be in no bin
            masks[job.method.title, job.window, cut] = mask
    bins = np.clip(np.searchsorted(edges, mass[rows], side="right") - 1, 0, len(edges) - 2)
    return Selected(rows, bins, masks)


def _columns(table: Path, names: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    found = read_table(table, columns=list(names))
    return {name: np.asarray(found[name]) for name in names}
