"""Friends on disk: a ROOT tree or a Parquet table of event numbers and scores, with their provenance inside the file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uproot

from resonaut import __version__
from resonaut.errors import ConfigError, InputError
from resonaut.files import atomic_path
from resonaut.processors.table import flat_columns, is_table, read_provenance, write_table

__all__ = ("FORMATS", "read_friend", "read_friend_provenance", "write_friend")

FORMATS = ("root", "parquet")
PROVENANCE = "resonaut_provenance"
_BASKET = 500_000  # rows written at once


def write_friend(
    path: str | os.PathLike[str],
    table: Mapping[str, npt.ArrayLike],
    provenance: Mapping[str, Any] | None = None,
    *,
    tree: str = "Friends",
) -> None:
    """Write a table of scores as ROOT or Parquet, by the file's ending, whole or not at all.

    Parameters
    ----------
    path : file to write, .root or .parquet.
    table : {name: (n,)}, row k for event k of the input.
    provenance : JSON-able facts about where it is from; the version of resonaut is added.
    tree : name of the tree in a ROOT file.

    Raises
    ------
    ConfigError
        For another ending.
    InputError
        If columns are not flat or differ in length.
    """
    ending = Path(path).suffix.removeprefix(".")
    if ending not in FORMATS:
        msg = f"{os.fspath(path)}: a friend ends in .root or .parquet"
        raise ConfigError(msg)
    if ending == "parquet":
        write_table(path, table, provenance)
        return
    columns = flat_columns(table)
    content = {"format": 1, "version": __version__, **(provenance or {})}
    length = len(next(iter(columns.values())))
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        file.mktree(tree, {name: values.dtype for name, values in columns.items()})
        for start in range(0, length, _BASKET):
            file[tree].extend({name: values[start : start + _BASKET] for name, values in columns.items()})
        file[PROVENANCE] = json.dumps(content)


def _open_root(path: str) -> Any:
    try:
        return uproot.open(path)
    except Exception as error:  # uproot raises many kinds for a broken file
        msg = f"{path}: cannot be read as ROOT, it is missing, truncated or corrupt ({type(error).__name__}: {error})"
        raise InputError(msg) from error


def read_friend_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_friend` was told about the scores' origin.

    Raises
    ------
    InputError
        If the file cannot be read or is no friend that resonaut wrote.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        msg = f"{name}: no such file"
        raise InputError(msg)
    if is_table(name):
        found = read_provenance(name)
    else:
        with _open_root(name) as file:
            found = json.loads(str(file[PROVENANCE])) if PROVENANCE in file else {}
    if "scorers" not in found:
        msg = f"{name}: it has no scores that resonaut wrote (no provenance with scorers)"
        raise InputError(msg)
    return found


def read_friend(path: str | os.PathLike[str], *, tree: str = "Friends") -> dict[str, npt.NDArray[Any]]:
    """Columns (n,) of a friend, ROOT or Parquet.

    Raises
    ------
    InputError
        If it cannot be read or has no such tree.
    """
    name = os.fspath(path)
    if is_table(name):
        from resonaut.processors.table import read_table

        table = read_table(name)
        return {column: np.asarray(table[column]) for column in table.fields}
    with _open_root(name) as file:
        if tree not in file:
            msg = f"{name}: got {sorted(file.keys(cycle=False))}, expected a tree {tree!r}"
            raise InputError(msg)
        return dict(file[tree].arrays(library="np"))
