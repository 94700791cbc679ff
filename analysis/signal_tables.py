"""Signals that come as event tables: cut like the data, with corrections of weights, or with the variations that they have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors import Corrections, Cuts, WeightCorrection, read_all_variations
from resonaut.processors.variations import (
    MARKER,
    NOMINAL,
    SELECTED,
    completed,
    plain_columns,
    plain_name,
    shared_columns,
    variations_of,
    varied,
    varied_table,
)

__all__ = ("read_signal_tables",)

Columns = dict[str, npt.NDArray[Any]]


def read_signal_tables(
    paths: Sequence[Path], cuts: Cuts, corrections: Corrections, *, variable: str
) -> tuple[Columns, dict[str, Any]]:
    """Columns of all tables with their variations, and the books.

    Parameters
    ----------
    paths : event tables; those that have variations keep them.
    cuts : applied in each variation.
    corrections : of weights, for tables that have no variations yet.
    variable : column with the resonant variable, GeV.

    Raises
    ------
    InputError
        If a table lacks a column, corrections cannot be applied to tables, or nothing is left.
    """
    if not all(isinstance(part, WeightCorrection) for part in corrections.parts):
        msg = "objects of event tables cannot be corrected, they have none: give the signal's event files"
        raise InputError(msg)
    parts = [_table(path, variable) for path in paths]
    names = shared_columns(parts)
    whole = [completed(part, names) for part in parts]
    columns = {name: np.concatenate([part[name] for part in whole]) for name in names}
    if varied_table(columns) and corrections:
        msg = "the signal's table has variations already; corrections go with event files or tables that have none"
        raise InputError(msg)
    rows = len(columns[variable])
    good = np.isfinite(columns["weight"])
    books: dict[str, Any] = {"read": rows, "lost": 0, "skipped": {}, "files_failed": {}, "complete": True}
    chosen = columns[MARKER] if varied_table(columns) else np.ones(rows, dtype=bool)
    books["sum_of_weights"] = {NOMINAL: float(columns["weight"][good & chosen].sum())}
    if corrections:
        _weigh(columns, corrections, books)
    columns, books = _cut(columns, cuts, variable, books)
    return columns, books


def _table(path: Path, variable: str) -> Columns:
    table = read_all_variations(path)
    if variable not in table.fields:
        msg = f"{path}: an event table needs a column {variable} (GeV); it has {', '.join(plain_columns(table.fields))}"
        raise InputError(msg)
    columns = {name: np.asarray(table[name]) for name in table.fields}
    columns.setdefault("weight", np.ones(len(columns[variable])))
    return columns


def _weigh(columns: Columns, corrections: Corrections, books: dict[str, Any]) -> None:
    """Corrected weights and their variations, in place."""
    events = ak.zip(dict(columns))
    read = columns["weight"]
    for variation in (None, *corrections.weight_variations):
        weight = read * corrections.weight(events, variation)
        known = np.isfinite(weight)
        books["sum_of_weights"][variation or "corrected"] = float(weight[known].sum())
        columns[varied("weight", variation) if variation else "weight"] = weight
    if corrections.names:
        columns[MARKER] = np.ones(len(read), dtype=bool)


def _cut(columns: Columns, cuts: Cuts, variable: str, books: dict[str, Any]) -> tuple[Columns, dict[str, Any]]:
    """Rows that are selected in any variation, and the marks of which."""
    every = list(columns)
    shifts = [v for v in variations_of(every) if varied(SELECTED, v) in columns]
    alive = {}
    for variation in (NOMINAL, *shifts):
        seen = {name: columns.get(varied(name, variation), columns[name]) for name in plain_columns(every)}
        mark = columns.get(varied(SELECTED, variation), np.ones(len(seen[variable]), dtype=bool))
        usable = np.isfinite(seen[variable]) & np.isfinite(seen["weight"])
        if variation == NOMINAL and (bad := int(np.count_nonzero(mark & ~usable))):
            books["skipped"]["mass or weight not finite"] = bad
        alive[variation] = np.all([mark, usable, *cuts.masks(seen).values()], axis=0)
    rows = np.any(list(alive.values()), axis=0)
    if not rows.any():
        msg = f"no event of {len(rows)} in the signal's tables is left after input.cuts {cuts.config}"
        raise InputError(msg)
    if varied_table(columns):
        columns = {**columns, **{varied(SELECTED, v): mask for v, mask in alive.items()}}
    else:
        rows = alive[NOMINAL]
    for name in columns:
        if plain_name(name) == "weight":  # of an event that a variation has no factor for: it does not count there
            columns[name] = np.where(np.isfinite(columns[name]), columns[name], 0.0)
    selected = int(np.count_nonzero(alive[NOMINAL]))
    books |= {
        "used": books["read"] - sum(books["skipped"].values()),
        "cutflow": {"selected": selected},
        "variations": {},
    }
    return {name: values[rows] for name, values in columns.items()}, books
