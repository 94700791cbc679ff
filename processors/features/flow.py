"""The books of a chunk of events: weights, which events are still in, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError

__all__ = ("EventFlow", "event_columns", "event_weights")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EVENT_IDS = ("run", "luminosityBlock", "event")
MOST_LABEL = 127  # they are kept in a byte


@dataclass
class EventFlow:
    """Which events are still in, how many are left after each step, and which were skipped for what."""

    weight: Floats
    alive: Mask
    counts: dict[str, int] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def note(self, name: str) -> None:
        """Enter what is left after a step; an unknown weight adds nothing, until its event is skipped."""
        self.counts[name] = int(self.alive.sum())
        self.sums[name] = float(self.weight[self.alive & np.isfinite(self.weight)].sum())

    def cut(self, name: str, mask: Mask) -> None:
        """Keep the events of the mask."""
        self.alive &= mask
        self.note(name)

    def skip(self, reason: str, bad: Mask) -> None:
        """Leave out events that cannot be judged, counted by reason."""
        count = int((self.alive & bad).sum())
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count
        self.alive &= ~bad


def event_weights(events: Any, metadata: Any) -> Floats:
    """Event weights: the file's `weight` or generator weight, times the dataset's `weight`; NaN where missing."""
    weight = np.full(len(events), float(metadata.get("weight", 1.0)))
    for name in ("weight", "genWeight"):
        if name in events.fields:
            return np.asarray(weight * ak.to_numpy(ak.fill_none(events[name], np.nan)))
    return weight


def _labels(values: Any) -> npt.NDArray[np.int8]:
    given = np.asarray(ak.to_numpy(ak.fill_none(ak.Array(values), np.nan)))
    if given.dtype.kind not in "biuf" or not ((given == np.round(given)) & (np.abs(given) <= MOST_LABEL)).all():
        msg = f"labels are {np.unique(given)[:10]}, expected whole numbers of at most {MOST_LABEL}, 0 for background"
        raise InputError(msg)
    return given.astype(np.int8)


def event_columns(events: Any, metadata: Any, chosen: Mask) -> dict[str, npt.NDArray[Any]]:
    """Label, where the file or the dataset has one, and event numbers; without any, the entry in the file.

    Raises
    ------
    InputError
        If the label of a chosen event is no whole number, or too large.
    """
    out = {name: ak.to_numpy(events[name])[chosen].astype(np.int64) for name in EVENT_IDS if name in events.fields}
    if "event" not in out and "entrystart" in metadata:
        out["event"] = metadata["entrystart"] + np.flatnonzero(chosen)
    if "label" in events.fields:
        out["label"] = _labels(events["label"][chosen])
    elif "label" in metadata:
        out["label"] = np.repeat(_labels([metadata["label"]]), int(chosen.sum()))
    return out
