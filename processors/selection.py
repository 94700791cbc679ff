"""A saved anomaly scorer as a selection inside any coffea processor.

selection = PackedSelection()
AnomalySelection("runs/demo/scores/cwola-trees/3371-3661/scorer", DijetFeatures(), "card").add_to(selection, events)
tight = selection.all("0.01")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, ModelError, unknown_name

__all__ = ("AnomalyScores", "AnomalySelection", "Column", "Columns", "SavedScorer", "columns_of", "mass_of")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Column = str | Callable[[Any], Any]
Columns = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]


@lru_cache(maxsize=64)
def _load(folder: str, _written: int) -> Any:
    """The scorer of a folder, loaded once per process; `_written` lets a rewritten folder be loaded anew."""
    from resonaut.models import load_scorer  # torch is imported only where events are scored

    return load_scorer(folder)


@lru_cache(maxsize=64)
def _card(folder: str, _written: int) -> dict[str, Any]:
    from resonaut.models import read_card

    return read_card(folder)


@dataclass(frozen=True)
class AnomalyScores:
    """Scores of a chunk: NaN for the `skipped` events, of which a feature or the mass is not finite."""

    scores: Floats
    skipped: int

    @property
    def scored(self) -> Mask:
        """Events (n,) that have a score."""
        return np.isfinite(self.scores)


@dataclass(frozen=True)
class SavedScorer:
    """A scorer on disk, by its folder's name: it pickles into workers, and each process loads it once.

    Parameters
    ----------
    folder : written by a scorer's `save`. Workers must see it.

    Raises
    ------
    ModelError
        If the folder holds no scorer.
    """

    folder: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", os.path.abspath(self.folder))  # noqa: PTH100 (workers may be elsewhere)
        if not (Path(self.folder) / "card.json").is_file():
            msg = f"no saved scorer in {self.folder}: it has no card.json; give the folder that a scorer was saved in"
            raise ModelError(msg)

    def __getstate__(self) -> dict[str, Any]:
        """The folder, and which scorer is in it now: another one is another selection, and never scores in its place."""
        return {"folder": self.folder, "digest": self.card["digest"]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "folder", state["folder"])
        object.__setattr__(self, "_expected", state["digest"])

    @property
    def _written(self) -> int:
        written = (Path(self.folder) / "card.json").stat().st_mtime_ns
        expected = getattr(self, "_expected", None)
        if expected is not None and (found := _card(self.folder, written)["digest"]) != expected:
            msg = f"the scorer in {self.folder} has changed since the work began (digest {found}, expected {expected}): run again"
            raise ModelError(msg)
        return written

    @property
    def scorer(self) -> Any:
        """The scorer, loaded at first use in each process."""
        return _load(self.folder, self._written)

    @property
    def card(self) -> dict[str, Any]:
        """The scorer's card: what it is, how it was made, its digest."""
        return _card(self.folder, self._written)

    def score(self, columns: Mapping[str, Floats], mass: Floats) -> AnomalyScores:
        """Score of every event, (n,), higher = more anomalous.

        Parameters
        ----------
        columns : at least the scorer's features, (n,) each, NaN where undefined.
        mass : (n,) resonant mass, GeV.
        """
        from resonaut.models import Sample

        scorer = self.scorer
        names = tuple(scorer.features)
        features = np.stack([columns[name] for name in names], axis=1) if names else np.empty((len(mass), 0))
        good = np.isfinite(features).all(axis=1) & np.isfinite(mass)
        scores = np.full(len(mass), np.nan)
        if good.any():
            scores[good] = scorer.score(Sample(features[good], names, mass[good]))
        return AnomalyScores(scores, int((~good).sum()))


class AnomalySelection:
    """Anomaly scores and cuts on them, inside any coffea processor.

    Holds only the folder's name, so that it pickles into worker processes; each of them loads the scorer once.

    Parameters
    ----------
    scorer : folder written by a scorer's `save`. Workers must see it.
    columns : where the scorer's features come from. Either {feature: column}, a column being the dotted name of a field
        with one number per event (such as "MET.pt"), an array or a function of events, or one function that gives all of
        them, such as `DijetFeatures()`. Masked and NaN values are allowed: such events are not selected, and counted.
    working_points : {name: threshold}, an event being selected if its score is at least the threshold; or "card": those that
        were saved with the scorer, named by the fraction of events that they keep ("0.01").
    mass : the resonant mass of each event in GeV, which scorers may read features relative to: one of the columns, else the
        dotted name of a field or a function of events. Where not given, the builder's own variable, else "mjj".
    label : what the names of the entries begin with ("cwola" makes "cwola 0.01"): for several scorers in one processor.

    Raises
    ------
    ModelError
        If the folder holds no scorer, or none with working points where they shall come from its card.
    ConfigError
        If the working points make no sense.
    """

    def __init__(
        self,
        scorer: str | os.PathLike[str],
        columns: Columns,
        working_points: Mapping[str, float] | Literal["card"],
        *,
        mass: Column | None = None,
        label: str = "",
    ) -> None:
        self.saved = SavedScorer(os.fspath(scorer))
        self.columns = columns
        self.mass: Column = getattr(columns, "variable", "mjj") if mass is None else mass
        self.label = label
        self.working_points = self._points(working_points)

    def _points(self, given: Mapping[str, float] | str) -> dict[str, float]:
        from resonaut.models import check_working_points, read_working_points

        if isinstance(given, str):
            if given != "card":
                msg = f"working points are {given!r}, expected {{name: threshold}} or 'card'"
                raise ConfigError(msg)
            return read_working_points(self.saved.folder)
        return check_working_points(given)

    @property
    def folder(self) -> str:
        """Folder of the scorer."""
        return self.saved.folder

    @property
    def scorer(self) -> Any:
        """The scorer, loaded at first use in each process."""
        return self.saved.scorer

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries in a `PackedSelection`, loosest first."""
        ordered = sorted(self.working_points, key=self.working_points.__getitem__)
        return tuple(f"{self.label} {name}".strip() for name in ordered)

    def score(self, events: Any, columns: Mapping[str, Any] | None = None) -> AnomalyScores:
        """Score of every event, (events,), higher = more anomalous.

        Parameters
        ----------
        events : a chunk of events, or their systematic variation.
        columns : features that are there already, in place of the constructor's: several scorers share what
            ``DijetFeatures()(events)`` took long to make.

        Raises
        ------
        InputError
            If a feature is missing or does not have one number per event.
        """
        given = _given(self.columns, events) if columns is None else columns
        return self.saved.score(columns_of(events, given, self.scorer.features), mass_of(events, given, self.mass))

    def add_to(
        self, selection: Any, events: Any, columns: Mapping[str, Any] | None = None, *, suffix: str = ""
    ) -> AnomalyScores:
        """Add one entry per working point to a `PackedSelection`; returns the scores and the number of skipped events.

        Parameters
        ----------
        selection : coffea's `PackedSelection`.
        events, columns : see `score`.
        suffix : what the names of the entries end with, such as "_jesUp" for a systematic variation of the events.
        """
        found = self.score(events, columns)
        for name, threshold in self.working_points.items():
            selection.add(f"{self.label} {name}{suffix}".strip(), found.scores >= threshold)
        return found


def _given(columns: Columns, events: Any) -> Mapping[str, Any]:
    return columns(events) if callable(columns) else columns


def columns_of(events: Any, given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Floats]:
    """Features (events,) by name, NaN where masked.

    Raises
    ------
    InputError
        If one is not there or does not have one number per event.
    """
    found = {}
    for name in names:
        if name not in given:
            raise InputError(unknown_name("feature that the scorer needs, not among the columns,", name, given))
        found[name] = _per_event(events, given[name], name)
    return found


def mass_of(events: Any, given: Mapping[str, Any], mass: Column) -> Floats:
    """The mass (events,), from the columns or else from the events.

    Raises
    ------
    InputError
        If it is in neither.
    """
    if isinstance(mass, str) and mass in given:
        return _per_event(events, given[mass], mass)
    if isinstance(mass, str) and mass.split(".", maxsplit=1)[0] not in ak.fields(events):
        msg = (
            f"no mass {mass!r} among the columns {sorted(given)} or the events' fields; scorers may read features "
            "relative to it: give mass= a field name or a function of events"
        )
        raise InputError(msg)
    return _per_event(events, mass, "mass")


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
