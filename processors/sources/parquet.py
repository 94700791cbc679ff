"""Parquet files: what their sources share, and events of jagged columns named as NanoAOD's or of one column of records each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.branches import Rows
from resonaut.processors.table import is_table, opened_parquet

__all__ = ("NanoParquet", "ParquetBranches", "ParquetSource", "read_rows")

MARKS = ("FatJet", "ScoutingFatJet", "Jet", "PFCand", "PFCands", "Muon", "Electron", "Photon")


class ParquetSource:
    """What layouts of Parquet files share: they are known by their columns, and have no trees."""

    name = ""

    def _takes(self, schema: pa.Schema) -> bool:
        raise NotImplementedError

    def recognises(self, path: str) -> bool:
        """True for a Parquet file with the columns of this layout."""
        if "://" in path or not is_table(path):
            return False
        with opened_parquet(path) as file:
            return self._takes(file.schema_arrow)

    def n_events(self, path: str, tree: str | None = None) -> int:  # noqa: ARG002 (Parquet has no trees)
        """Number of rows."""
        with opened_parquet(path) as file:
            return int(file.metadata.num_rows)


def read_rows(file: pq.ParquetFile, start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
    """Rows start..stop of all columns or some, of the row groups that hold them alone."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    ends = np.cumsum([0, *sizes])
    groups = [group for group in range(len(sizes)) if ends[group] < stop and ends[group + 1] > start]
    first = int(ends[groups[0]]) if groups else start
    return file.read_row_groups(groups, columns=columns, use_threads=False).slice(start - first, stop - start)


def _branches(schema: pa.Schema) -> dict[str, tuple[str, str | None, pa.DataType]]:
    """{name: (column, its field, type)}; a list of records gives one name per field, `FatJet_pt`, and `nFatJet` none."""
    found: dict[str, tuple[str, str | None, pa.DataType]] = {}
    for column in schema:
        inner = column.type.value_type if _is_list(column.type) else column.type
        if pa.types.is_struct(inner):
            for part in inner:
                kind = pa.list_(part.type) if _is_list(column.type) else part.type
                found[f"{column.name}_{part.name}"] = (column.name, part.name, kind)
        else:
            found[column.name] = (column.name, None, column.type)
    return {name: each for name, each in found.items() if _is_numeric(each[2])}


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_numeric(kind: pa.DataType) -> bool:
    while _is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


class ParquetBranches:
    """Numeric columns of a Parquet file, and numeric fields of its columns of records as `column_field`."""

    def __init__(self, path: str) -> None:
        self.path = path
        with opened_parquet(path) as file:
            self._columns = _branches(file.schema_arrow)
            self.entries = int(file.metadata.num_rows)
        self.names = frozenset(self._columns)

    def empty(self, name: str) -> Any:
        """An array of no rows with the type of a column."""
        return ak.from_arrow(pa.array([], self._columns[name][2]))

    def read(self, name: str, start: int, stop: int) -> Any:
        """Rows start..stop of a column, of the row groups that hold them alone."""
        column, part, _ = self._columns[name]
        with opened_parquet(self.path) as file:
            table = read_rows(file, start, stop, [column] if part is None else [_leaf(file, column, part)])
        values = ak.from_arrow(table[column].combine_chunks())
        return values if part is None else values[part]


def _leaf(file: pq.ParquetFile, column: str, part: str) -> str:
    """Parquet's own path of a field, so that no other field is read."""
    schema = file.schema
    paths = (schema.column(i).path for i in range(len(schema.names)))
    wanted = (f"{column}.{part}", f"{column}.list.element.{part}", f"{column}.list.item.{part}")
    return next((path for path in paths if path in wanted or path.startswith(tuple(f"{w}." for w in wanted))), column)


class NanoParquet(ParquetSource):
    """NanoAOD in Parquet: jagged columns `FatJet_pt`, `Jet_pt`, `PFCand_pt`, ... or columns of records `FatJet`, `Jet`, ...

    Numbers of objects (`nFatJet`) need not be stored. A column is read when it is first used.
    """

    name = "nanoaod-parquet"

    def _takes(self, schema: pa.Schema) -> bool:
        kinds = {name: kind for name, (_, _, kind) in _branches(schema).items() if _is_list(kind)}
        return any(f"{mark}_pt" in kinds and not _is_list(kinds[f"{mark}_pt"].value_type) for mark in MARKS)

    def read(
        self,
        path: str,
        start: int,
        stop: int,
        *,
        tree: str | None = None,  # noqa: ARG002 (Parquet has no trees)
        metadata: Mapping[str, Any] | None = None,
    ) -> Any:
        """Rows start..stop with the collections that the file has."""
        branches = ParquetBranches(path)
        rows = Rows(branches, start, min(stop, branches.entries))
        columns = {name: rows.stored(name) for name in sorted(branches.names)}
        for name in sorted(branches.names):
            store = name.split("_", 1)[0]
            if f"n{store}" not in columns and "_" in name and branches.empty(name).ndim > 1:
                columns[f"n{store}"] = rows.column(ak.num, name)
        return events_from_columns(columns, max(0, rows.stop - start), path, start, metadata)
