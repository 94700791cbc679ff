"""Event tables to Parquet piece by piece, so that a table may be larger than memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from resonaut import __version__
from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.processors.running.merge import Piece, common_columns
from resonaut.processors.table import KEY
from resonaut.processors.variations import completed

__all__ = ("stream_table",)

GROUP = 131_072
"""Rows in a row group, whatever the chunks were: the file does not depend on them."""


def _groups(pieces: list[Piece], columns: Mapping[str, np.dtype[Any]]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Rows of all pieces in groups of `GROUP`, the last smaller; at most a group and a piece are in memory."""
    held: list[dict[str, npt.NDArray[Any]]] = []
    rows = 0
    for piece in pieces:
        held.append(completed(piece.read(), columns))
        rows += piece.rows
        if rows < GROUP:
            continue
        joined = {name: np.concatenate([each[name] for each in held]) for name in columns}
        whole = rows - rows % GROUP
        for start in range(0, whole, GROUP):
            yield {name: values[start : start + GROUP] for name, values in joined.items()}
        held, rows = [{name: values[whole:].copy() for name, values in joined.items()}], rows - whole
    if rows:
        yield {name: np.concatenate([each[name] for each in held]) for name in columns}


def stream_table(path: str | os.PathLike[str], pieces: list[Piece], provenance: Mapping[str, Any]) -> int:
    """Write the pieces of an event table after one another as Parquet, whole or not at all; the number of rows.

    Raises
    ------
    InputError
        If there is no piece: the processor gives no event table.
    """
    columns = common_columns(pieces)
    if not columns:
        msg = "the processor's output holds no event table to write (a `table` of column_accumulators per dataset)"
        raise InputError(msg)
    content = json.dumps({"format": 1, "version": __version__, **provenance}).encode()
    schema = pa.schema([(name, pa.from_numpy_dtype(kind)) for name, kind in columns.items()], metadata={KEY: content})
    whole = [
        name for name, kind in columns.items() if kind.kind != "f"
    ]  # floats rarely repeat: a dictionary costs time
    rows = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=whole) as writer,
    ):
        for group in _groups(pieces, columns):
            arrays = [pa.array(group[name].astype(kind, copy=False)) for name, kind in columns.items()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=GROUP)
            rows += len(arrays[0])
    return rows
