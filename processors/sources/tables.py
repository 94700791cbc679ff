"""Event tables (Parquet) as a source: one number per event and column, so that scorers run on them like on event files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
from coffea.nanoevents import BaseSchema, NanoEventsFactory
from coffea.nanoevents.mapping import SimplePreloadedColumnSource

from resonaut.files import digest
from resonaut.processors.sources.parquet import ParquetSource, read_rows
from resonaut.processors.table import column_values, opened_parquet

__all__ = ("TABLE", "EventTable")

TABLE = "event_table"
"""Key of the events' metadata: their fields are the columns of a table."""


class EventTable(ParquetSource):
    """An event table: Parquet whose columns all hold one number (or text) per event. Those of numbers become fields of the events."""

    name = "event-table"

    def _takes(self, schema: pa.Schema) -> bool:
        return not any(pa.types.is_nested(field.type) for field in schema)

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
            numbers = [field.name for field in file.schema_arrow if _is_number(field.type)]
            rows = read_rows(file, start, stop, numbers)
        columns = {name: ak.Array(np.ascontiguousarray(column_values(rows[name], name))) for name in numbers}
        about = {**(metadata or {"filename": path}), TABLE: True}
        source = SimplePreloadedColumnSource(
            columns, uuid=digest(path, start), num_rows=stop - start, object_path="/table"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return NanoEventsFactory.from_preloaded(source, schemaclass=BaseSchema, metadata=about).events()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
