"""Factors of event weights: pile-up, scale factors, generator weights, and their variations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.processors.corrections.fields import event_values
from resonaut.processors.corrections.library import DIRECTIONS, LibraryCorrection
from resonaut.processors.identity import code_digest, state_digest

__all__ = ("Value", "WeightCorrection", "normalisation")

Floats = npt.NDArray[np.float64]
Value = float | str | Callable[[Any], Any] | None
"""A factor: a number, the name of a field, or a function of events that gives one number per event."""


@dataclass(frozen=True)
class WeightCorrection:
    """A factor of the event weight.

    Parameters
    ----------
    name : of the nuisance parameter.
    library : correction of a correctionlib file that gives the factor and its variations; then nothing of what follows.
    nominal : the factor: a number, the field with it, or a function of events; 1 where not given.
    up, down : the factor moved by one standard deviation; `None` for no variation. They replace `nominal`.
    keep_sum : whether variations are scaled so that the sum of weights of all events, before any selection, stays: the
        uncertainty of the acceptance alone, without that of the cross-section (scale and PDF weights).

    Raises
    ------
    ConfigError
        If one variation is given without the other, nothing at all, or a library and numbers.

    Examples
    --------
    >>> WeightCorrection("qcd_scale", up="LHEScaleWeight[8]", down="LHEScaleWeight[0]").varies
    True
    """

    name: str
    library: LibraryCorrection | None = None
    nominal: Value = None
    up: Value = None
    down: Value = None
    keep_sum: bool = False

    def __post_init__(self) -> None:
        given = [getattr(self, direction) is not None for direction in DIRECTIONS]
        if self.library is not None and any(given):
            msg = f"weight {self.name!r} has a correction from a file and also nominal, up or down of its own"
            raise ConfigError(msg)
        if given[1] != given[2]:
            msg = f"weight {self.name!r} has up = {self.up!r} and down = {self.down!r}: give both or none"
            raise ConfigError(msg)
        if self.library is None and not any(given):
            msg = f"weight {self.name!r} has neither a file with a correction nor nominal, up and down"
            raise ConfigError(msg)

    @property
    def varies(self) -> bool:
        """Whether there are variations up and down."""
        return self.up is not None if self.library is None else self.library.varies

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data; functions by their code."""
        own = {"kind": "weight", "name": self.name, "keep_sum": self.keep_sum}
        if self.library is not None:
            return own | {"library": self.library.config}
        return own | {direction: _plain(getattr(self, direction)) for direction in DIRECTIONS}

    def factor(self, events: Any, direction: str = "nominal") -> Floats:
        """The factor (events,); NaN where it is not known, so that the event is counted as one that cannot be judged.

        Raises
        ------
        InputError
            If the events lack a field, or a function gives something else.
        """
        owner = f"weight {self.name!r}"

        def values(name: str) -> Floats:
            return _numbers(event_values(events, name, owner))

        if self.library is not None:
            return self.library.evaluate(values, len(events), direction)
        value: Value = getattr(self, direction)
        if isinstance(value, str):
            return values(value)
        if callable(value):
            found = _numbers(value(events))
            if found.shape != (len(events),):
                msg = f"{owner}: its function gave shape {found.shape}, expected ({len(events)},): one number per event"
                raise InputError(msg)
            return found
        return np.full(len(events), 1.0 if value is None else float(value))


def _numbers(array: Any) -> Floats:
    return np.asarray(ak.to_numpy(ak.fill_none(ak.Array(array), np.nan)), np.float64)


def _plain(value: Value) -> Any:
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return {"function": name, "code": code_digest(value), "state": state_digest(value)}


def normalisation(
    cross_section: float, luminosity: float, sum_of_weights: float, name: str = "norm"
) -> WeightCorrection:
    """The factor that makes weights sum to the expected events: cross-section x luminosity / sum of generator weights.

    Parameters
    ----------
    cross_section : fb.
    luminosity : inverse femtobarns.
    sum_of_weights : of all generated events, before any selection.
    name : of the correction.

    Raises
    ------
    ConfigError
        If one of them is not positive.

    Examples
    --------
    >>> normalisation(10.0, 139.0, 20000.0).nominal
    0.0695
    """
    for what, value in (
        ("cross_section", cross_section),
        ("luminosity", luminosity),
        ("sum_of_weights", sum_of_weights),
    ):
        if not 0 < value < np.inf:
            msg = f"{what} is {value}, expected a positive number"
            raise ConfigError(msg)
    return WeightCorrection(name, nominal=cross_section * luminosity / sum_of_weights)
