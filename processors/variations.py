"""Parallel columns: a table with the systematic variations of its events, and the views of single variations.

The table of a simulated sample has plain columns, as any other, and beside them

- `selected__nominal`: whether the event is selected without variation,
- `selected__V`: whether it is selected in a variation V of events, such as `jes_up`,
- `NAME__V`: the column NAME in V, `weight__V` among them. What V does not change is not there: then it is NAME.

Its rows are the events that are selected nominally or in any variation. A view has plain names again, and the rows of one
variation; `read_table` gives the nominal view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name

__all__ = (
    "MARKER",
    "NOMINAL",
    "SELECTED",
    "completed",
    "is_plain",
    "needed_columns",
    "plain_columns",
    "plain_name",
    "shared_columns",
    "variation",
    "variations_of",
    "varied",
    "varied_table",
    "view",
)

MARK = "__"
NOMINAL = "nominal"
SELECTED = "selected"
MARKER = f"{SELECTED}{MARK}{NOMINAL}"
"""The column that only a table with variations has."""

Columns = Mapping[str, npt.NDArray[Any]]


def varied(name: str, of: str) -> str:
    """Name of a column in a variation.

    Examples
    --------
    >>> varied("mjj", "jes_up")
    'mjj__jes_up'
    """
    return f"{name}{MARK}{of}"


def is_plain(name: str) -> bool:
    """Whether a column is no variation of another, and no mark of a selection."""
    return MARK not in name


def plain_name(name: str) -> str:
    """The column that a column is a variation of; itself if it is none."""
    return name.split(MARK, 1)[0]


def varied_table(columns: Iterable[str]) -> bool:
    """Whether these are the columns of a table with variations."""
    return MARKER in columns


def plain_columns(columns: Iterable[str]) -> list[str]:
    """Columns that a reader of the nominal events sees: all of them, where the table has no variations."""
    there = list(columns)
    return [name for name in there if is_plain(name)] if varied_table(there) else there


def variations_of(columns: Iterable[str]) -> tuple[str, ...]:
    """Variations that a table has, in the order in which they come, without the nominal one.

    Examples
    --------
    >>> variations_of(["mjj", "selected__nominal", "mjj__jes_up", "mjj__jes_down", "weight__pileup_up"])
    ('jes_up', 'jes_down', 'pileup_up')
    """
    there = list(columns)
    if not varied_table(there):
        return ()
    found = dict.fromkeys(name.split(MARK, 1)[1] for name in there if not is_plain(name))
    return tuple(name for name in found if name != NOMINAL)


def shared_columns(parts: Sequence[Iterable[str]]) -> list[str]:
    """Columns that a table of several parts has: plain ones that all have, in the order of the first, and any part's variations of them.

    Their order does not depend on which part has which variation of a column.
    """
    lists = [list(part) for part in parts]
    if not any(varied_table(names) for names in lists):
        return [name for name in lists[0] if all(name in names for names in lists)] if lists else []
    plain = [name for name in lists[0] if is_plain(name) and all(name in names for names in lists)]
    of_all = dict.fromkeys(name for names in lists for name in names if not is_plain(name))
    order = dict.fromkeys(v for names in lists for v in variations_of(names))
    wanted = [varied(name, of) for of in order for name in (SELECTED, *plain)]
    return [*plain, MARKER, *(name for name in wanted if name in of_all)]


def completed(columns: Columns, wanted: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
    """The wanted columns of a part, where a variation that it lacks is the plain column."""
    rows = len(next(iter(columns.values()))) if columns else 0
    found = {}
    for name in wanted:
        if name in columns:
            found[name] = columns[name]
        elif plain_name(name) == SELECTED:
            found[name] = columns[MARKER] if MARKER in columns else np.ones(rows, dtype=bool)
        else:
            found[name] = columns[plain_name(name)]
    return found


def needed_columns(there: Iterable[str], wanted: Iterable[str], of: str) -> list[str]:
    """Columns to read for the view of a variation with the columns that are wanted, and the marks of its rows.

    Raises
    ------
    InputError
        If there is no such variation, or a column of one is wanted by its name.
    """
    names = list(there)
    if of != NOMINAL and of not in variations_of(names):
        raise InputError(unknown_name("variation", of, [NOMINAL, *variations_of(names)]))
    if not varied_table(names):
        return list(wanted)
    if stray := [name for name in wanted if not is_plain(name)]:
        msg = f"{stray} are columns of variations: ask for the plain names and for the variation"
        raise InputError(msg)
    marks = [name for name in (MARKER, varied(SELECTED, of)) if name in names]
    return list(dict.fromkeys([varied(n, of) if varied(n, of) in names else n for n in wanted] + marks))


def variation(table: Any, of: str = NOMINAL) -> Any:
    """View of one variation: plain names, and the rows that are selected in it.

    Parameters
    ----------
    table : mapping of columns (n,) or an awkward record array, with its parallel columns (`read_all_variations`).
    of : "nominal", or the name of a variation such as "jes_up".

    Raises
    ------
    InputError
        If the table has no such variation.

    Examples
    --------
    >>> table = {
    ...     "mjj": np.array([3000.0, 2790.0]),
    ...     "mjj__jes_up": np.array([3060.0, 2846.0]),
    ...     "selected__nominal": np.array([True, False]),
    ...     "selected__jes_up": np.array([True, True]),
    ... }
    >>> variation(table)["mjj"].tolist(), variation(table, "jes_up")["mjj"].tolist()
    ([3000.0], [3060.0, 2846.0])
    """
    mapping = isinstance(table, Mapping)
    names = list(table) if mapping else ak.fields(table)
    if not varied_table(names):
        needed_columns(names, (), of)
        return table
    needed = needed_columns(names, plain_columns(names), of)
    found = view({name: np.asarray(table[name]) for name in needed})
    return found if mapping else ak.zip(found)


def view(needed: Columns) -> dict[str, npt.NDArray[Any]]:
    """What `needed_columns` asks for, with plain names and the rows of the last mark."""
    # a variation's own mark comes after the nominal one; one of weights alone has none and selects what the nominal does
    marks = [values for name, values in needed.items() if plain_name(name) == SELECTED and not is_plain(name)]
    columns = {
        plain_name(name): values for name, values in needed.items() if is_plain(name) or plain_name(name) != SELECTED
    }
    return {name: values[marks[-1]] for name, values in columns.items()} if marks else columns
