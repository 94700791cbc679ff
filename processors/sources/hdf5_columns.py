"""Columns of HDF5 files by name: data sets, fields of compound tables, pandas frames of fixed layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import awkward as ak
import h5py
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name
from resonaut.processors.sources.hdf5 import FrameFile, opened_hdf5

__all__ = ("HDF5Branches",)


class HDF5Branches:
    """Columns of an HDF5 file that have one row per event.

    Names are those of data sets, with their groups (`jets/pt`); of the fields of a compound table (`table` says which,
    where there are several); or of the columns of a pandas frame written with `format="fixed"`. Data sets of more dimensions
    are columns of arrays: `jet_kinematics[2]` is the third of each event. Columns of variable length become jagged.

    Parameters
    ----------
    path : the file.
    table : a group, compound table or frame in it; None for the root, or the only table.
    """

    def __init__(self, path: str, table: str | None = None) -> None:
        self.path = path
        with opened_hdf5(path) as file:
            node = self._node(file, table)
            self._where: str = node.name
            self._kind, self._types = _describe(node, path)
            lengths = {shape[0] for _, shape in self._types.values()}
            if len(lengths) > 1:  # data sets about the file beside those of events
                longest = max(lengths)
                self._types = {name: each for name, each in self._types.items() if each[1][0] == longest}
                lengths = {longest}
        self._rows: tuple[tuple[int, int], Any] | None = None
        self.entries = int(lengths.pop()) if lengths else 0
        self.names = frozenset(self._types)

    def _node(self, file: h5py.File, table: str | None) -> Any:
        if table is not None:
            if table not in file:
                msg = f"{self.path}: {unknown_name('table', table, list(file))}"
                raise InputError(msg)
            return file[table]
        tables = [key for key in file if _is_table(file[key])]
        return file[tables[0]] if len(tables) == 1 else file

    def empty(self, name: str) -> Any:
        """An array of no rows with the type of a column."""
        dtype, shape = self._types[name]
        inner = h5py.check_vlen_dtype(dtype)
        if inner is not None:
            return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, np.int64)), _numpy(inner)))
        return ak.from_numpy(np.zeros((0, *shape[1:]), dtype), regulararray=True)

    def read(self, name: str, start: int, stop: int) -> Any:
        """Rows start..stop of a column."""
        if self._kind != "sets":
            return ak.from_numpy(np.ascontiguousarray(self._whole(start, stop)[name]), regulararray=True)
        with opened_hdf5(self.path) as file:
            values = file[self._where][name][start:stop]
        if len(values) and h5py.check_vlen_dtype(self._types[name][0]) is not None:
            return ak.unflatten(np.concatenate(values), [len(each) for each in values])
        if not len(values):
            return self.empty(name)
        return ak.from_numpy(np.ascontiguousarray(values), regulararray=True)

    def _whole(self, start: int, stop: int) -> Any:
        """Rows of a table or a frame, all columns at once: they lie side by side on disk."""
        if self._rows is None or self._rows[0] != (start, stop):
            with opened_hdf5(self.path) as file:
                node = file[self._where]
                rows = FrameFile(node, self.path).read(start, stop) if self._kind == "frame" else node[start:stop]
            self._rows = (start, stop), rows
        return self._rows[1]


def _numpy(dtype: npt.DTypeLike) -> Any:
    return ak.contents.NumpyArray(np.zeros(0, dtype))


def _is_table(node: Any) -> bool:
    """True for a compound data set and for a pandas frame."""
    if isinstance(node, h5py.Dataset):
        return node.dtype.names is not None
    return bool(node.attrs.get("pandas_type") == b"frame")


Types = dict[str, tuple[npt.DTypeLike, tuple[int, ...]]]


def _describe(node: Any, path: str) -> tuple[str, Types]:
    """What a node is, and type and shape of each of its columns."""
    if isinstance(node, h5py.Dataset):
        if node.dtype.names is None:
            msg = f"{path}: {node.name} is one data set of shape {node.shape}, expected a group, a compound table or a frame"
            raise InputError(msg)
        fields = {name: node.dtype[name] for name in node.dtype.names}
        return "table", {n: (t.base, (len(node), *t.shape)) for n, t in fields.items() if _numeric(t.base)}
    if node.attrs.get("pandas_type") == b"frame":
        return "frame", {
            n: (values.dtype, (len(values),)) for n, values in _frame(node, path) if _numeric(values.dtype)
        }
    found: Types = {}

    def note(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and each.shape and _numeric(h5py.check_vlen_dtype(each.dtype) or each.dtype):
            found[name] = (each.dtype, each.shape)

    node.visititems(note)
    return "sets", found


def _frame(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    for names, values in FrameFile(node, path).blocks:
        for name in names:
            yield name, values


def _numeric(dtype: Any) -> bool:
    return np.dtype(dtype).kind in "biuf"
