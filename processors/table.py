"""Event tables on disk: Parquet, one row per event, with their provenance inside the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from resonaut import __version__
from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.processors.variations import NOMINAL, needed_columns, plain_columns, variations_of, varied_table, view

__all__ = (
    "column_values",
    "flat_columns",
    "is_table",
    "opened_parquet",
    "read_all_variations",
    "read_provenance",
    "read_table",
    "table_columns",
    "table_variations",
    "write_table",
)

KEY = b"resonaut"
SIGNATURE = b"PAR1"


def flat_columns(table: Any) -> dict[str, npt.NDArray[Any]]:
    """Columns of a flat table: a mapping of arrays or an awkward record array.

    Raises
    ------
    InputError
        If a column is not flat or the lengths differ.
    """
    names = list(table) if isinstance(table, Mapping) else ak.fields(table)
    columns = {name: np.asarray(getattr(table[name], "value", table[name])) for name in names}
    lengths = {len(column) for column in columns.values() if column.ndim == 1}
    bad = [name for name, column in columns.items() if column.ndim != 1]
    if bad or len(lengths) > 1:
        shapes = {name: column.shape for name, column in columns.items()}
        msg = f"an event table has one number per event and column; got shapes {shapes}"
        raise InputError(msg)
    return columns


def write_table(path: str | os.PathLike[str], table: Any, provenance: Mapping[str, Any] | None = None) -> None:
    """Write an event table as Parquet, whole or not at all.

    Parameters
    ----------
    path : file to write.
    table : mapping of column names to arrays (n,), or an awkward record array.
    provenance : JSON-able facts about where the table is from; the version of resonaut is added.

    Examples
    --------
    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "events.parquet")
    >>> write_table(path, {"mjj": [3500.0, 2900.0], "weight": [1.0, 1.0]}, {"processor": "by hand"})
    >>> read_table(path).mjj.tolist(), read_provenance(path)["processor"]
    ([3500.0, 2900.0], 'by hand')
    """
    content = {"format": 1, "version": __version__, **(provenance or {})}
    arrow = pa.table(flat_columns(table)).replace_schema_metadata({KEY: json.dumps(content).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


@contextmanager
def opened_parquet(path: str | os.PathLike[str]) -> Iterator[pq.ParquetFile]:
    """An open Parquet file; InputError for one that cannot be opened or read."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{os.fspath(path)}: cannot be read as Parquet, the file is missing, truncated or corrupt ({error})"
        raise InputError(msg) from error


def read_table(path: str | os.PathLike[str], columns: list[str] | None = None, *, of: str = NOMINAL) -> ak.Array:
    """Event table as an awkward record array, all columns or some of them.

    Parameters
    ----------
    path : Parquet file.
    columns : plain names; all of them where not given.
    of : the systematic variation whose events are read, of a table that has variations; "nominal": events and columns
        without any.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a column or the variation.
    """
    with opened_parquet(path) as file:
        there = list(file.schema_arrow.names)
        lacking = [name for name in columns or () if name not in there]
        if lacking:
            msg = f"{os.fspath(path)}: lacks columns {lacking}; it has {plain_columns(there)}"
            raise InputError(msg)
        try:
            needed = needed_columns(there, plain_columns(there) if columns is None else columns, of)
        except InputError as error:
            msg = f"{os.fspath(path)}: {error}"
            raise InputError(msg) from None
        table = _read(path, file, needed)
    if not varied_table(there):
        return table
    return ak.zip(view({name: np.asarray(table[name]) for name in needed}))


def _read(path: str | os.PathLike[str], file: pq.ParquetFile, columns: list[str]) -> ak.Array:
    if nested := [name for name in columns if pa.types.is_nested(file.schema_arrow.field(name).type)]:
        msg = f"{os.fspath(path)}: an event table has one number per event and column; {nested[:5]} are nested"
        raise InputError(msg)
    table = file.read(columns)
    try:
        return ak.zip({name: column_values(table[name], name) for name in table.column_names})
    except InputError as error:
        msg = f"{os.fspath(path)}: {error}"
        raise InputError(msg) from None


def column_values(column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
    """Values of a flat column (n,): numbers, with NaN in empty cells, or texts.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts: npt.NDArray[Any] = column.cast(pa.string()).fill_null("").to_numpy().astype(np.str_)
        return texts
    if pa.types.is_boolean(kind) and column.null_count:
        column = column.cast(pa.int8())
    values: npt.NDArray[Any] = column.to_numpy()
    if values.dtype.kind not in "biuf":
        msg = f"column {name!r} holds {column.type}, expected numbers or texts; convert it or leave it out"
        raise InputError(msg)
    return values


def read_all_variations(path: str | os.PathLike[str]) -> ak.Array:
    """Event table with its parallel columns and all rows, also those that are selected in a variation alone.

    `variation(table, name)` is the view of one of them. See `resonaut.processors.variations` for the columns.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with opened_parquet(path) as file:
        return _read(path, file, list(file.schema_arrow.names))


def table_variations(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the variations of a table on disk, without reading it; none where it has none."""
    with opened_parquet(path) as file:
        return variations_of(file.schema_arrow.names)


def table_columns(path: str | os.PathLike[str]) -> list[str]:
    """Names of the columns of a table on disk, without reading it and without those of variations."""
    with opened_parquet(path) as file:
        return plain_columns(file.schema_arrow.names)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_table` was told about the table's origin; empty for a Parquet file of other making."""
    with opened_parquet(path) as file:
        text = (file.schema_arrow.metadata or {}).get(KEY, b"{}")
    content: dict[str, Any] = json.loads(text)
    return content


def is_table(path: str | os.PathLike[str]) -> bool:
    """True if the file is Parquet."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        msg = f"{os.fspath(path)}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error
