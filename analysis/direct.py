"""Beside the fits: the background of each signal region straight from the template that a method made for it."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.scoring import ScoreJob, load_held_out, load_scores, possible_cuts
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.files import atomic_path, finite_or_none, write_json
from resonaut.models import DirectEstimate, direct_estimate
from resonaut.processors import read_table
from resonaut.stats import ExcessResult, ScanInput, Window

__all__ = ("DirectEntry", "direct_stage", "write_direct")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DirectEntry:
    """The direct estimate of one window, method and cut."""

    window: Window
    method: str
    estimate: DirectEstimate

    def to_dict(self) -> dict[str, Any]:
        """Window, method and numbers side by side, for JSON and CSV."""
        return {"low": self.window.low, "high": self.window.high, "method": self.method, **self.estimate.to_dict()}


def direct_stage(
    config: SearchConfig, jobs: Sequence[ScoreJob], table: Path, pairs: Sequence[tuple[ScanInput, ExcessResult]]
) -> list[DirectEntry]:
    """Direct estimates of all methods that make a template, after the cuts that the spectra are made after.

    The background before the cut is that of the blinded fit of the inclusive spectrum; a window whose inclusive spectrum
    could not be fitted has none.
    """
    inclusive = {selection.window: excess for selection, excess in pairs if selection.method == INCLUSIVE}
    mass = np.asarray(read_table(table, columns=[config.variable])[config.variable], dtype=np.float64)
    found = []
    for job in jobs:
        held_out = load_held_out(job)
        if not held_out or job.window is None:
            continue
        if job.window not in inclusive:
            logger.warning(
                "no direct estimate for %s in %s: the inclusive spectrum has no fit", job.method.title, job.window
            )
            continue
        scores, excess = load_scores(job), inclusive[job.window]
        given = (scores.scores, scores.fold, mass[scores.rows], job.window)
        # Events that lack a feature have no score: the template stands for the share that has all of them.
        scored = _scored_share(mass, scores.rows, job.window)
        background = (scored * excess.expected, scored * excess.expected_error)
        for cut in possible_cuts(config, len(scores.rows)):
            estimate = direct_estimate(*given, cut, held_out, background)
            found.append(DirectEntry(job.window, job.method.title, estimate))
    return found


def _scored_share(mass: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], window: Window) -> float:
    inside = window.in_signal_region(mass)
    return float(np.count_nonzero(inside[rows]) / np.count_nonzero(inside))


def write_direct(folder: Path, entries: Sequence[DirectEntry]) -> None:
    """`direct.json`, and the same as a table for spreadsheets; nothing where no method makes a template."""
    if not entries:
        return
    rows = [entry.to_dict() for entry in entries]
    write_json(folder / "direct.json", finite_or_none(rows))
    with atomic_path(folder / "direct.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
