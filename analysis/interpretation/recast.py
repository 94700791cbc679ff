"""The efficiency of a selection as HEPData tables: what somebody with another model needs for a first estimate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from resonaut.analysis.interpretation.measures import Plane
from resonaut.models.export.files import unit_of
from resonaut.stats import HepDataColumn, HepDataTable

__all__ = ("efficiency_tables",)


def efficiency_tables(planes: Mapping[str, Plane], about: Mapping[str, str | float]) -> list[HepDataTable]:
    """One table for each region: bins of two features, events, and the selected part of them with its 68 % interval.

    Parameters
    ----------
    planes
        Name of the region -> its plane.
    about
        Qualifiers of the columns: method, cut, window.
    """
    return [_table(region, plane, dict(about)) for region, plane in planes.items()]


def _table(region: str, plane: Plane, about: dict[str, str | float]) -> HepDataTable:
    shape = plane.total.shape
    x_bins, y_bins = (np.stack([edges[:-1], edges[1:]], axis=1) for edges in plane.edges)
    independent = (
        _bins(plane.names[0], np.repeat(x_bins, shape[1], axis=0)),
        _bins(plane.names[1], np.tile(y_bins, (shape[0], 1))),
    )
    efficiency, (low, high) = plane.efficiency, plane.interval
    errors = np.stack([(low - efficiency).ravel(), (high - efficiency).ravel()], axis=1)
    dependent = (
        HepDataColumn("Efficiency of the selection", efficiency.ravel(), "", about, {"statistics": errors}),
        HepDataColumn("Events before the selection", plane.total.ravel(), "", about),
    )
    text = f"Selected part of the events in bins of {' and '.join(plane.names)}, {region}; 68 % intervals of Wilson."
    return HepDataTable(f"Efficiency, {region}", independent, dependent, text)


def _bins(name: str, edges: npt.NDArray[np.float64]) -> HepDataColumn:
    unit = unit_of(name)
    return HepDataColumn(name, edges, "" if unit == "1" else unit)
