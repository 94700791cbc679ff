"""Cuts on the columns of an event table: ranges of any column, and those of dijets by their short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name

__all__ = ("AllCuts", "ColumnCuts", "Cuts", "DijetCuts", "Range", "make_cuts", "make_range")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_DIJET_NUMBERS = ("pt_j1", "pt_j2", "abs_eta", "abs_eta_j2", "deta_jj")


class Cuts(Protocol):
    """Named masks on the columns of an event table."""

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""

    def masks(self, columns: Mapping[str, Floats]) -> dict[str, Mask]:
        """Each cut's mask (events,) by its name, in the order in which they are applied.

        Raises
        ------
        InputError
            If a column is not there.
        """


def _column(columns: Mapping[str, Floats], name: str) -> Floats:
    if name not in columns:
        raise InputError(unknown_name("column to cut on", name, columns))
    return columns[name]


@dataclass(frozen=True)
class DijetCuts:
    """Cuts on the two leading jets, GeV; `None` is no cut.

    Parameters
    ----------
    pt_j1, pt_j2 : smallest pT of the leading and the second jet.
    abs_eta : largest pseudorapidity of the leading jet, either sign; `abs_eta_j2` of the second.
    mjj : lowest and highest dijet mass, [low, high).
    deta_jj : largest difference of the pseudorapidities.
    """

    pt_j1: float | None = None
    pt_j2: float | None = None
    abs_eta: float | None = None
    abs_eta_j2: float | None = None
    mjj: tuple[float, float] | None = None
    deta_jj: float | None = None

    def __post_init__(self) -> None:
        if self.mjj is not None and not self.mjj[0] < self.mjj[1]:
            msg = f"mjj range is {self.mjj}, expected (low, high) with low < high"
            raise ConfigError(msg)
        for name in _DIJET_NUMBERS:
            if (value := getattr(self, name)) is not None and not np.isfinite(value):
                msg = f"the cut on {name} is {value}, expected a number"
                raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        return asdict(self)

    def masks(self, columns: Mapping[str, Floats]) -> dict[str, Mask]:
        """Each cut's mask (events,) by its name, in the order in which they are applied.

        Raises
        ------
        InputError
            If a column is not there.
        """
        out: dict[str, Mask] = {}
        for name in ("pt_j1", "pt_j2"):
            if (low := getattr(self, name)) is not None:
                out[f"{name} > {low:g}"] = _column(columns, name) > low
        for name, jet in (("abs_eta", "j1"), ("abs_eta_j2", "j2")):
            if (high := getattr(self, name)) is not None:
                out[f"|eta_{jet}| < {high:g}"] = np.abs(_column(columns, f"eta_{jet}")) < high
        if self.deta_jj is not None:
            out[f"deta_jj < {self.deta_jj:g}"] = _column(columns, "deta_jj") < self.deta_jj
        if self.mjj is not None:
            low, high = self.mjj
            mass = _column(columns, "mjj")
            out[f"mjj in [{low:g}, {high:g})"] = (mass >= low) & (mass < high)
        return out


@dataclass(frozen=True)
class Range:
    """Where a column must lie: min <= value < max, and |value| < abs_max; `None` is no bound.

    Raises
    ------
    ConfigError
        If there is no bound, or min is not below max.
    """

    min: float | None = None
    max: float | None = None
    abs_max: float | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None and self.abs_max is None:
            msg = "a cut needs min, max or abs_max"
            raise ConfigError(msg)
        if self.min is not None and self.max is not None and not self.min < self.max:
            msg = f"a cut has min = {self.min} and max = {self.max}, expected min < max"
            raise ConfigError(msg)

    def masks(self, name: str, values: Floats) -> dict[str, Mask]:
        """The masks of the bounds, by their names."""
        out = {}
        if self.min is not None and self.max is not None:
            out[f"{name} in [{self.min:g}, {self.max:g})"] = (values >= self.min) & (values < self.max)
        elif self.min is not None:
            out[f"{name} >= {self.min:g}"] = values >= self.min
        elif self.max is not None:
            out[f"{name} < {self.max:g}"] = values < self.max
        if self.abs_max is not None:
            out[f"|{name}| < {self.abs_max:g}"] = np.abs(values) < self.abs_max
        return out


@dataclass(frozen=True)
class ColumnCuts:
    """Ranges of any columns, in the order in which they are applied.

    Parameters
    ----------
    ranges : {column: Range}.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """Ranges as plain data, and their order, which is that of the cutflow."""
        return {"ranges": {name: asdict(one) for name, one in self.ranges.items()}, "order": list(self.ranges)}

    def masks(self, columns: Mapping[str, Floats]) -> dict[str, Mask]:
        """Each cut's mask (events,) by its name, in the order in which they are applied.

        Raises
        ------
        InputError
            If a column is not there.
        """
        out: dict[str, Mask] = {}
        for name, one in self.ranges.items():
            out |= one.masks(name, _column(columns, name))
        return out


@dataclass(frozen=True)
class AllCuts:
    """Several cuts, one after the other."""

    parts: tuple[Cuts, ...] = ()

    @property
    def config(self) -> dict[str, Any]:
        """Options of the parts as plain data, in their order."""
        return {"parts": [{"kind": type(part).__name__, **part.config} for part in self.parts]}

    def masks(self, columns: Mapping[str, Floats]) -> dict[str, Mask]:
        """Each cut's mask (events,) by its name, in the order in which they are applied."""
        out: dict[str, Mask] = {}
        for part in self.parts:
            out |= part.masks(columns)
        return out


def make_range(name: str, given: Any) -> Range:
    """A range from plain data: {min: ..., max: ..., abs_max: ...} or [low, high).

    Raises
    ------
    ConfigError
        If it is neither, or a bound is not a number.
    """
    if isinstance(given, Mapping):
        names = [each.name for each in fields(Range)]
        for key in given:
            if key not in names:
                raise ConfigError(unknown_name(f"key in the cut on {name}", str(key), names))
        bounds = dict(given)
    elif isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
        bounds = {"min": given[0], "max": given[1]}
    else:
        msg = f"the cut on {name} is {given!r}, expected {{min: ..., max: ..., abs_max: ...}} or [low, high]"
        if isinstance(given, int | float):
            msg += f"; {unknown_name('cut with a number alone', name, _DIJET_NUMBERS)}"
        raise ConfigError(msg)
    for key, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            msg = f"the cut on {name} has {key} = {value!r}, expected a number"
            raise ConfigError(msg)
    try:
        return Range(**{key: float(value) for key, value in bounds.items()})
    except ConfigError as error:
        msg = f"{name}: {error}"
        raise ConfigError(msg) from None


def make_cuts(given: Mapping[str, Any]) -> AllCuts:
    """Cuts from plain data, as in a config.

    Parameters
    ----------
    given : {column: {min: ..., max: ..., abs_max: ...}} or {column: [low, high]} for any column of the table; for dijets also
        the keys of `DijetCuts` with a number (`pt_j1: 1200`, `abs_eta: 2.5`). Those come first.

    Raises
    ------
    ConfigError
        If a cut is neither.

    Examples
    --------
    >>> import numpy as np
    >>> cuts = make_cuts({"pt_j1": 1200, "m_mumu": [5, 16], "eta_l1": {"abs_max": 2.4}})
    >>> columns = {"pt_j1": np.array([1300.0]), "m_mumu": np.array([9.5]), "eta_l1": np.array([-2.5])}
    >>> {name: mask.item() for name, mask in cuts.masks(columns).items()}
    {'pt_j1 > 1200': True, 'm_mumu in [5, 16)': True, '|eta_l1| < 2.4': False}
    """
    numbers = {k: v for k, v in given.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    dijet: dict[str, Any] = {name: float(value) for name, value in numbers.items() if name in _DIJET_NUMBERS}
    ranges = {name: make_range(name, value) for name, value in given.items() if name not in dijet and value is not None}
    parts: list[Cuts] = [DijetCuts(**dijet)] if dijet else []
    return AllCuts((*parts, *((ColumnCuts(ranges),) if ranges else ())))
