"""Event tables on disk: Parquet, one row per event, with their provenance inside the file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
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

__all__ = ("flat_columns", "is_table", "read_provenance", "read_table", "table_columns", "write_table")

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


def _open(path: str | os.PathLike[str]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{os.fspath(path)}: cannot be read as Parquet, the file is missing, truncated or corrupt ({error})"
        raise InputError(msg) from error


def read_table(path: str | os.PathLike[str], columns: list[str] | None = None) -> ak.Array:
    """Event table as an awkward record array, all columns or some of them.

    Raises
    ------
    InputError
        If the file cannot be read or lacks a column.
    """
    with _open(path) as file:
        lacking = [name for name in columns or () if name not in file.schema_arrow.names]
        if lacking:
            msg = f"{os.fspath(path)}: lacks columns {lacking}; it has {file.schema_arrow.names}"
            raise InputError(msg)
        chosen = file.schema_arrow if columns is None else [file.schema_arrow.field(name) for name in columns]
        if nested := [field.name for field in chosen if pa.types.is_nested(field.type)]:
            msg = f"{os.fspath(path)}: an event table has one number per event and column; {nested[:5]} are nested"
            raise InputError(msg)
        try:
            table = file.read(columns)
        except (OSError, pa.ArrowInvalid) as error:
            msg = f"{os.fspath(path)}: cannot be read as Parquet, the file is corrupt ({error})"
            raise InputError(msg) from error
    return ak.zip({name: table[name].to_numpy() for name in table.column_names})


def table_columns(path: str | os.PathLike[str]) -> list[str]:
    """Names of the columns of a table on disk, without reading it."""
    with _open(path) as file:
        return list(file.schema_arrow.names)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_table` was told about the table's origin; empty for a Parquet file of other making."""
    with _open(path) as file:
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
