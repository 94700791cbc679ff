"""A saved anomaly scorer as a selection inside any coffea processor.

selection = PackedSelection()
AnomalySelection("runs/demo/scores/cwola-trees/3371-3661/scorer", DijetFeatures(), {"1%": 0.97}).add_to(selection, events)
tight = selection.all("1%")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, ModelError, unknown_name

__all__ = ("AnomalyScores", "AnomalySelection")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Column = str | Callable[[Any], Any]
Columns = Mapping[str, Column] | Callable[[Any], Mapping[str, Any]]


@lru_cache(maxsize=8)
def _load(folder: str, _written: int) -> Any:
    """The scorer of a folder, loaded once per process; `_written` lets a rewritten folder be loaded anew."""
    from resonaut.models import load_scorer  # torch is imported only where events are scored

    return load_scorer(folder)


@dataclass(frozen=True)
class AnomalyScores:
    """Scores of a chunk: NaN for the `skipped` events, of which a feature is not finite."""

    scores: Floats
    skipped: int


class AnomalySelection:
    """Anomaly scores and cuts on them, inside any coffea processor.

    Holds only the folder's name, so that it pickles into worker processes; each of them loads the scorer once.

    Parameters
    ----------
    scorer : folder written by a scorer's `save`. Workers must see it.
    columns : where the scorer's features come from. Either {feature: column}, a column being the dotted name of a field
        with one number per event (such as "MET.pt") or a function of events, or one function that gives all of
        them, such as `DijetFeatures()`. Masked and NaN values are allowed: such events are not selected, and counted.
    working_points : {name: threshold}; an event is selected if its score is at least the threshold.
    mass : the resonant mass in GeV, which scorers may read features relative to: one of the columns, else the dotted
        name of a field or a function of events.

    Raises
    ------
    ModelError
        If the folder holds no scorer.
    """

    def __init__(
        self,
        scorer: str | os.PathLike[str],
        columns: Columns,
        working_points: Mapping[str, float],
        *,
        mass: Column = "mjj",
    ) -> None:
        self.folder = os.fspath(scorer)
        self.columns = columns
        self.working_points = {name: float(threshold) for name, threshold in working_points.items()}
        self.mass = mass
        if not (Path(self.folder) / "card.json").is_file():
            msg = f"no saved scorer in {self.folder}: it has no card.json; give the folder that a scorer was saved in"
            raise ModelError(msg)
        broken = [name for name, threshold in self.working_points.items() if not np.isfinite(threshold)]
        if broken or not self.working_points:
            msg = f"working points are {dict(working_points)}, expected at least one {{name: threshold}}, all finite"
            raise ConfigError(msg)

    @property
    def scorer(self) -> Any:
        """The scorer, loaded at first use in each process."""
        return _load(self.folder, (Path(self.folder) / "card.json").stat().st_mtime_ns)

    def score(self, events: Any) -> AnomalyScores:
        """Score of every event, (events,), higher = more anomalous.

        Raises
        ------
        InputError
            If a feature is missing or does not have one number per event.
        """
        from resonaut.models import Sample

        scorer = self.scorer
        given = self.columns(events) if callable(self.columns) else self.columns
        values = [self._feature(events, given, name) for name in scorer.features]
        features = np.stack(values, axis=1) if values else np.empty((len(events), 0))
        mass = self._mass(events, given)
        good = np.isfinite(features).all(axis=1) & np.isfinite(mass)
        scores = np.full(len(events), np.nan)
        if good.any():
            scores[good] = scorer.score(Sample(features[good], tuple(scorer.features), mass[good]))
        return AnomalyScores(scores, int((~good).sum()))

    def add_to(self, selection: Any, events: Any) -> AnomalyScores:
        """Add one entry per working point to a `PackedSelection`; returns the scores and the number of skipped events."""
        found = self.score(events)
        for name, threshold in self.working_points.items():
            selection.add(name, found.scores >= threshold)
        return found

    def _feature(self, events: Any, given: Mapping[str, Any], name: str) -> Floats:
        if name not in given:
            raise InputError(unknown_name("feature that the scorer needs, not among the columns,", name, given))
        column = given[name]
        return _per_event(events, column, name)

    def _mass(self, events: Any, given: Mapping[str, Any]) -> Floats:
        """The mass, from the columns or else from the events."""
        if isinstance(self.mass, str) and self.mass in given:
            return _per_event(events, given[self.mass], self.mass)
        if isinstance(self.mass, str) and self.mass.split(".", maxsplit=1)[0] not in ak.fields(events):
            msg = (
                f"no mass {self.mass!r} among the columns {sorted(given)} or the events' fields; scorers may read features "
                "relative to it: give mass= a field name or a function of events"
            )
            raise InputError(msg)
        return _per_event(events, self.mass, "mass")


def _per_event(events: Any, column: Any, name: str) -> Floats:
    """One float per event from a field name, a function of events or an array; NaN where masked."""
    value = column
    if isinstance(column, str):
        value = events
        for part in column.split("."):
            if part not in ak.fields(value):
                raise InputError(unknown_name(f"field of {column!r} for feature {name!r}", part, ak.fields(value)))
            value = value[part]
    elif callable(column):
        value = column(events)
    array = ak.to_numpy(ak.fill_none(ak.Array(value), np.nan))
    if array.shape != (len(events),):
        msg = f"feature {name!r} has shape {array.shape}, expected one number for each of {len(events)} events"
        raise InputError(msg)
    return np.asarray(array, dtype=np.float64)
