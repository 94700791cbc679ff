"""A chunk of events with its systematic variations: judged once each, and laid side by side as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.processors.corrections.chain import Corrections
from resonaut.processors.features.flow import EventFlow
from resonaut.processors.variations import MARKER, NOMINAL, SELECTED, varied

__all__ = ("Judged", "VariedEvents")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
ROUNDING = 1e-12  # a ratio of two scaled numbers differs in its last digits: that is no variation
Judge = Callable[[Any, Floats, Mapping[str, Mask]], tuple[Any, EventFlow]]


@dataclass(frozen=True)
class Judged:
    """Features of all events in one variation, their weights, and which are selected."""

    events: Any
    columns: Mapping[str, Floats]
    flow: EventFlow


class VariedEvents:
    """Events as corrected and in each variation.

    Parameters
    ----------
    corrections : what makes the variations.
    events : a chunk, as read.
    weight : (events,) as read.
    judge : features and selection of events with these weights.
    """

    def __init__(self, corrections: Corrections, events: Any, weight: Floats, judge: Judge) -> None:
        self.corrections = corrections
        self.read_weight = weight
        self.nominal = self._judged(events, judge, None)
        self.shifted = {name: self._judged(events, judge, name) for name in corrections.event_variations}
        self.rows: Mask = np.any(
            [self.nominal.flow.alive, *(each.flow.alive for each in self.shifted.values())], axis=0
        )
        self.weights = {v: self._factor(self.nominal.events, v) for v in corrections.weight_variations}

    def _factor(self, events: Any, variation: str | None) -> Floats:
        return self.read_weight * self.corrections.weight(events, variation)

    def _judged(self, events: Any, judge: Judge, variation: str | None) -> Judged:
        corrected = self.corrections.corrected(events, variation)
        undefined = dict(corrected.undefined)
        weight = self.read_weight
        for name, factor in self.corrections.factors(corrected.events, variation).items():
            bad = ~np.isfinite(factor)
            if bad.any():
                undefined[f"{name} undefined"] = bad
            weight = weight * np.where(bad, 0.0, factor)  # the events are skipped, and no sum becomes NaN
        features, flow = judge(corrected.events, weight, undefined)
        return Judged(corrected.events, features.columns, flow)

    @property
    def nominal_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Features and weight of the events that are selected without variation."""
        alive = self.nominal.flow.alive
        columns = {name: values[alive] for name, values in self.nominal.columns.items()}
        return {**columns, "weight": self.nominal.flow.weight[alive]}

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Nominal features of all rows of the table."""
        return {name: values[self.rows] for name, values in self.nominal.columns.items()}

    def weight(self) -> Floats:
        """Nominal weights of all rows of the table."""
        return self.nominal.flow.weight[self.rows]

    def parallel_columns(self) -> dict[str, npt.NDArray[Any]]:
        """What variations change, and the marks of who is selected where; nothing without variations."""
        if not self.corrections.names:
            return {}
        rows = self.rows
        out: dict[str, npt.NDArray[Any]] = {MARKER: self.nominal.flow.alive[rows]}
        for variation, shifted in self.shifted.items():
            out[varied(SELECTED, variation)] = shifted.flow.alive[rows]
            pairs = {name: (self.nominal.columns[name], values) for name, values in shifted.columns.items()}
            pairs["weight"] = (self.nominal.flow.weight, shifted.flow.weight)
            for name, (nominal, values) in pairs.items():
                if not _same(nominal[rows], values[rows]):
                    out[varied(name, variation)] = values[rows]
        for variation, weight in self.weights.items():
            # without a known factor the event does not count in the variation; `books` says how many there are
            out[varied("weight", variation)] = np.where(np.isfinite(weight), weight, 0.0)[rows]
        return out

    def books(self) -> dict[str, Any]:
        """Cutflows and skips of the variations, and the sums of weights of all events before corrections and selection."""
        if not self.corrections:
            return {}
        known = np.isfinite(self.read_weight)
        sums = {NOMINAL: float(self.read_weight[known].sum())}
        found: dict[str, Any] = {
            name: {"cutflow": each.flow.counts, "cutflow_weighted": each.flow.sums, "skipped": each.flow.skipped}
            for name, each in self.shifted.items()
        }
        for variation, weight in self.weights.items():
            good, alive = np.isfinite(weight), self.nominal.flow.alive
            bad = int(np.count_nonzero(alive & ~good))
            found[variation] = {
                "cutflow": {"selected": int(np.count_nonzero(alive & good))},
                "cutflow_weighted": {"selected": float(weight[alive & good].sum())},
                "skipped": {f"{variation} undefined": bad} if bad else {},
            }
            sums[variation] = float(weight[good].sum())
        factor = self.corrections.weight(self.nominal.events)
        good = known & np.isfinite(factor)
        sums["corrected"] = float((self.read_weight * factor)[good].sum())
        return {"variations": found, "sum_of_weights": sums}


def _same(nominal: Floats, values: Floats) -> bool:
    """True if two columns differ by rounding at most: beside their largest number, which may be as small as a weight."""
    scale = np.max(np.abs(nominal), where=np.isfinite(nominal), initial=0.0)
    return bool(np.allclose(nominal, values, rtol=ROUNDING, atol=ROUNDING * scale, equal_nan=True))
