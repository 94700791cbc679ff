"""Event tables (Parquet) as a source: one number per event and column, so that scorers run on them like on event files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.nanoevents.mapping import SimplePreloadedColumnSource

from resonaut.files import digest
from resonaut.processors.sources.parquet import opened_parquet, row_groups
from resonaut.processors.table import is_table

__all__ = ("TABLE", "EventTable")

TABLE = "event_table"
"""Key of the events' metadata: their fields are the columns of a table."""


class EventTable:
    """An event table: Parquet whose columns all hold one number (or text) per event. Its columns become the events' fields."""

    name = "event-table"

    def recognises(self, path: str) -> bool:
        """True for a Parquet file without nested columns."""
        if "://" in path or not is_table(path):
            return False
        with opened_parquet(path) as file:
            return not any(pa.types.is_nested(field.type) for field in file.schema_arrow)

    def n_events(self, path: str, tree: str | None = None) -> int:  # noqa: ARG002 (tables have no trees)
        """Number of rows."""
        with opened_parquet(path) as file:
            return int(file.metadata.num_rows)

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (tables have no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Rows start..stop, one field per column; empty cells are NaN."""
        with opened_parquet(path) as file:
            rows = _rows(file, start, stop)
        columns = {}
        for name in rows.column_names:
            values = rows[name].combine_chunks()
            if (
                pa.types.is_integer(values.type)
                or pa.types.is_floating(values.type)
                or pa.types.is_boolean(values.type)
            ):
                columns[name] = ak.Array(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)))
        about = {**(metadata or {"filename": path}), TABLE: True}
        source = SimplePreloadedColumnSource(
            columns, uuid=digest(path, start), num_rows=stop - start, object_path="/table"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return NanoEventsFactory.from_preloaded(source, schemaclass=BaseSchema, metadata=about).events()


def _rows(file: pq.ParquetFile, start: int, stop: int) -> pa.Table:
    """Rows start..stop, of the row groups that hold them alone."""
    groups, first = row_groups(file, start, stop)
    return (
        file.read_row_groups(groups).slice(start - first, stop - start) if groups else file.schema_arrow.empty_table()
    )
