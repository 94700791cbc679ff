"""Thresholds that go with a saved scorer: in its card, or beside it where a search wrote them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resonaut.errors import ConfigError, ModelError
from resonaut.files import digest, read_json, write_json
from resonaut.models.storage import CARD, read_card

__all__ = ("check_working_points", "read_working_points", "write_working_points")

KEY = "working_points"
_SEARCH = "facts.json"  # of a search's unit, one folder above the scorer


def check_working_points(points: Mapping[str, float]) -> dict[str, float]:
    """Names and thresholds, checked.

    Raises
    ------
    ConfigError
        If there are none, or a threshold is not a finite number.
    """
    try:
        found = {str(name): float(threshold) for name, threshold in points.items()}
    except (TypeError, ValueError, AttributeError):
        found = {}
    if not found or not all(np.isfinite(threshold) for threshold in found.values()):
        msg = f"working points are {points!r}, expected at least one {{name: threshold}}, all finite"
        raise ConfigError(msg)
    return found


def write_working_points(folder: str | os.PathLike[str], points: Mapping[str, float]) -> None:
    """Put thresholds into the card of a saved scorer; those that were there are replaced.

    Parameters
    ----------
    folder
        Written by a scorer's `save`.
    points
        {name: threshold}; an event is selected if its score is at least the threshold. Names of thresholds that keep a fraction
        of the events are by custom that fraction: "0.01".

    Raises
    ------
    ModelError
        If the folder holds no saved scorer.
    ConfigError
        If there are no points, or one is not finite.
    """
    content = {name: value for name, value in read_card(folder).items() if name != "digest"}
    content[KEY] = check_working_points(points)
    write_json(Path(folder) / CARD, {**content, "digest": digest(content)})


def read_working_points(folder: str | os.PathLike[str]) -> dict[str, float]:
    """Thresholds of a saved scorer: those of its card, else those that the search wrote beside it.

    Raises
    ------
    ModelError
        If there are none.
    """
    found = read_card(folder).get(KEY)
    beside = Path(folder).resolve().parent / _SEARCH
    if not found and beside.is_file():
        found = read_json(beside).get(KEY)
    if not found:
        msg = (
            f"the scorer in {os.fspath(folder)} has no working points: give them, {{name: threshold}}, or put them into its card "
            "with resonaut.models.write_working_points(folder, {name: threshold})"
        )
        raise ModelError(msg)
    return check_working_points(found)
