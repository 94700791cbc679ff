"""What every scorer takes: a feature matrix with names, the resonant mass, weights and, for benchmarks, truth labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name

__all__ = ("FloatArray", "IndexArray", "LabelArray", "MaskArray", "Sample")

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int8]
MaskArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, init=False)
class Sample:
    """Events for training or scoring.

    Parameters
    ----------
    features
        (n, d) float64 matrix, one row per event, finite.
    names
        d column names, all different.
    mass
        (n,) resonant mass, GeV, finite.
    weight
        (n,) event weights, finite and >= 0; ones where not given.
    label
        (n,) truth, 1 = signal, 0 = background, or None. Only benchmarks and the references may read it.
    simulation
        Simulated background with the same features, for methods that learn from it (SALAD, FETA, SA-CWoLa), or None. It
        goes along with `take`, whole: it is no part of the rows.

    Raises
    ------
    InputError
        For shapes that do not agree, repeated names, NaN or infinite values (with the column and the count), negative
        weights.

    Examples
    --------
    >>> sample = Sample(np.array([[120.0, 0.4], [450.0, 0.1]]), ("m_h", "tau21_h"), np.array([2900.0, 3500.0]))
    >>> len(sample), sample.require(["tau21_h", "m_h"]).tolist()
    (2, [[0.4, 120.0], [0.1, 450.0]])
    """

    features: FloatArray
    names: tuple[str, ...]
    mass: FloatArray
    weight: FloatArray
    label: LabelArray | None
    simulation: Sample | None

    def __init__(
        self,
        features: npt.ArrayLike,
        names: Sequence[str],
        mass: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
        label: npt.ArrayLike | None = None,
        simulation: Sample | None = None,
    ) -> None:
        matrix = np.ascontiguousarray(features, dtype=np.float64)
        if matrix.ndim != 2:
            msg = f"features must be a matrix (events, columns), got shape {matrix.shape}"
            raise InputError(msg)
        put = object.__setattr__  # frozen for its users
        put(self, "features", matrix)
        put(self, "names", tuple(names))
        put(self, "mass", np.asarray(mass, dtype=np.float64))
        put(self, "weight", np.ones(len(matrix)) if weight is None else np.asarray(weight, dtype=np.float64))
        put(self, "label", None if label is None else np.asarray(label).astype(np.int8))
        put(self, "simulation", simulation)
        self._check()

    def _check(self) -> None:
        events, columns = self.features.shape
        if len(self.names) != columns or len(set(self.names)) != columns:
            msg = f"expected {columns} different names for {columns} feature columns, got {list(self.names)}"
            raise InputError(msg)
        for what, values in (("mass", self.mass), ("weight", self.weight), ("label", self.label)):
            if values is not None and values.shape != (events,):
                msg = f"{what} has shape {values.shape}, expected ({events},): one value per row of features"
                raise InputError(msg)
        for column, name in enumerate(self.names):
            _require_finite(name, self.features[:, column])
        _require_finite("mass", self.mass)
        _require_finite("weight", self.weight)
        if np.any(self.weight < 0):
            msg = f"{np.count_nonzero(self.weight < 0)} negative weights: a classifier needs weights >= 0"
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.mass)

    @classmethod
    def from_table(
        cls,
        table: Any,
        features: Sequence[str],
        *,
        mass: str = "mjj",
        weight: str | None = "weight",
        label: str | None = "label",
    ) -> Sample:
        """Sample from columns by name.

        Parameters
        ----------
        table
            An event table: a mapping of columns, an awkward record array, a structured array or a data frame.
        features
            Columns that become the feature matrix, in this order.
        mass
            Column with the resonant mass, GeV.
        weight, label
            Columns taken where the table has them; None to ignore them even then.

        Raises
        ------
        InputError
            If a feature or the mass is missing (with the nearest names), or has NaN or infinite values: drop and count
            such events first.
        """
        columns = _column_names(table)
        for name in (*features, mass):
            if name not in columns:
                raise InputError(unknown_name("column", name, columns))
        if not features:
            msg = f"no features asked for; available: {', '.join(sorted(columns))}"
            raise InputError(msg)
        matrix = np.column_stack([_column(table, name) for name in features])
        return cls(
            matrix,
            tuple(features),
            _column(table, mass),
            _column(table, weight) if weight is not None and weight in columns else None,
            _column(table, label) if label is not None and label in columns else None,
        )

    def take(self, rows: npt.NDArray[Any]) -> Sample:
        """Sample of some rows, by boolean mask (n,) or by integer indices."""
        label = None if self.label is None else self.label[rows]
        return Sample(self.features[rows], self.names, self.mass[rows], self.weight[rows], label, self.simulation)

    def with_simulation(self, simulation: Sample | None) -> Sample:
        """The same events with other simulated background beside them.

        Raises
        ------
        InputError
            If the simulation lacks one of the features.
        """
        if simulation is not None:
            simulation.require(self.names)
        return Sample(self.features, self.names, self.mass, self.weight, self.label, simulation)

    def require_simulation(self, method: str) -> Sample:
        """Simulated background that goes with the events.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.simulation is None:
            msg = (
                f"{method!r} learns from simulated background and there is none: give input.simulation in the config, or "
                "sample.with_simulation(...)"
            )
            raise InputError(msg)
        return self.simulation

    def require(self, names: Iterable[str]) -> FloatArray:
        """Columns (n, len(names)) in the order asked for, whatever the order here.

        Raises
        ------
        InputError
            If a column is missing, with the nearest names.
        """
        wanted = tuple(names)
        if wanted == self.names:
            return self.features
        position = {name: column for column, name in enumerate(self.names)}
        for name in wanted:
            if name not in position:
                raise InputError(unknown_name("feature", name, self.names))
        return np.ascontiguousarray(self.features[:, [position[name] for name in wanted]])

    def truth(self) -> LabelArray:
        """Truth labels (n,), for benchmarks and references only.

        Raises
        ------
        InputError
            If the sample has no labels.
        """
        if self.label is None:
            msg = "this needs truth labels and the sample has none: use a labelled (simulated) sample"
            raise InputError(msg)
        return self.label


def _require_finite(name: str, values: FloatArray) -> None:
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        msg = f"column {name!r} has {bad} NaN or infinite values in {len(values)} events: drop and count them first"
        raise InputError(msg)


def _column_names(table: Any) -> list[str]:
    dtype_names = getattr(getattr(table, "dtype", None), "names", None)
    for names in (getattr(table, "fields", None), dtype_names, getattr(table, "columns", None)):
        if names is not None:
            return [str(name) for name in names]
    if hasattr(table, "keys"):
        return [str(name) for name in table.keys()]  # noqa: SIM118  # Mapping-like, iteration may differ
    msg = f"expected a mapping of columns, an awkward record array or a data frame, got {type(table).__name__}"
    raise InputError(msg)


def _column(table: Any, name: str) -> FloatArray:
    values = np.asarray(table[name])
    if values.ndim != 1:
        msg = f"column {name!r} must be flat (one number per event), got shape {values.shape}"
        raise InputError(msg)
    return values.astype(np.float64)
