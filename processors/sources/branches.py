"""Branches of a file by name, whatever the file is, read when they are first used: trees, RNTuples, Parquet, HDF5.

A source says which columns of events are made of which branches (`Rows.column`); nothing is read for that, because the
form of a column follows from the forms of its branches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from threading import get_ident
from typing import Any, Protocol

import awkward as ak

from resonaut.errors import InputError, unknown_name
from resonaut.processors.events.schema import plain
from resonaut.processors.sources.remote import is_remote
from resonaut.processors.sources.root_files import file_state, find_tree, is_ntuple, names_of

__all__ = ("Branches", "Rows", "TreeBranches", "collection", "simple_form", "tree_branches")

INDEXED = re.compile(r"(.+)\[(\d+)\]")
LIST = re.compile(r"(?:ROOT::VecOps::RVec|(?:std::)?vector)<([\w: ]+)>")
NUMBERS = {"float": "float32", "double": "float64", "bool": "bool"}
NUMBERS |= {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
MASSES = {"Electron": 0.000511, "Muon": 0.10566}  # GeV, where a file leaves them out


class Branches(Protocol):
    """The branches of one table of a file."""

    path: str
    names: frozenset[str]
    entries: int

    def empty(self, name: str) -> Any:
        """An array of no rows with the type of a branch."""

    def read(self, name: str, start: int, stop: int) -> Any:
        """Rows start..stop of a branch."""


def tree_branches(path: str, *trees: str) -> TreeBranches:
    """`TreeBranches` of a file, kept while it is the same: to parse a tree of thousands of branches takes a second.

    Raises
    ------
    InputError
        If the file cannot be read or has no such tree.
    """
    if is_remote(path):
        return TreeBranches(path, *trees)
    return _kept(path, trees, file_state(path), get_ident())


@lru_cache(maxsize=3)
def _kept(path: str, trees: tuple[str, ...], _state: tuple[int, ...], _thread: int) -> TreeBranches:
    return TreeBranches(path, *trees)


class TreeBranches:
    """Branches of a TTree or an RNTuple, by the names of `names_of`.

    Parameters
    ----------
    path : the file, local or a URL.
    trees : names of the tree, the first that is there is taken.
    """

    def __init__(self, path: str, *trees: str) -> None:
        self.path = path
        self._tree = find_tree(path, *trees)
        self.is_ntuple = is_ntuple(self._tree)
        self._keys = names_of(self._tree)
        self.names = frozenset(self._keys)
        self.entries = int(self._tree.num_entries)

    @property
    def where(self) -> tuple[Any, str]:
        """The open file, as coffea takes it, and the name of the tree in it."""
        return self._tree.file.root_directory, self._tree.object_path.split(";", 1)[0].lstrip("/")

    def empty(self, name: str) -> Any:
        """An array of no rows with the type of a branch."""
        branch = self._tree[self._keys[name]]
        if not self.is_ntuple:
            form = branch.interpretation.awkward_form(None)
        else:
            form = simple_form(branch.typename) or branch.to_akform()[0].contents[0]
        return ak.Array(form.length_zero_array())

    def read(self, name: str, start: int, stop: int) -> Any:
        """Rows start..stop of a branch."""
        return self._tree[self._keys[name]].array(entry_start=start, entry_stop=stop)


def simple_form(kind: str) -> Any | None:
    """Form of an RNTuple's column of numbers or lists of numbers, by the name of its type; None for any other.

    uproot finds it by a search through all fields of the RNTuple, which for thousands of columns takes seconds.

    Examples
    --------
    >>> str(simple_form("ROOT::VecOps::RVec<float>").type)
    'var * float32'
    """
    if kind.startswith(("ROOT::RNTupleCardinality<", "RNTupleCardinality<")):
        return ak.forms.NumpyForm("int64")
    lists = LIST.fullmatch(kind)
    inner = (lists[1] if lists else kind).removeprefix("std::").removesuffix("_t")
    if inner not in NUMBERS:
        return None
    number = ak.forms.NumpyForm(NUMBERS[inner])
    return ak.forms.ListOffsetForm("i64", number) if lists else number


class _Column:
    """A column of events that is made of branches when its values are asked for."""

    def __init__(self, rows: Rows, make: Callable[..., Any], names: tuple[str, ...]) -> None:
        self._rows, self._make, self._names = rows, make, names
        self._values: Any = None
        self.layout = plain(make(*(rows.empty(name) for name in names))).layout

    def __getitem__(self, rows: slice) -> Any:
        if self._values is None:
            self._values = plain(self._make(*(self._rows.read(name) for name in self._names)))
        return self._values[rows]


class Rows:
    """Rows start..stop of the branches of a file, each read once and only if it is used.

    A name may have a place of an inner axis of fixed length: `Jet.Tau[5][0]`, `jet_kinematics[2]`.
    """

    def __init__(self, branches: Branches, start: int, stop: int) -> None:
        self.branches, self.start, self.stop = branches, start, stop
        self._kept: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._split(name) is not None

    def _split(self, name: str) -> tuple[str, int | None] | None:
        if name in self.branches.names:
            return name, None
        match = INDEXED.fullmatch(name)
        if match and match[1] in self.branches.names:
            return match[1], int(match[2])
        return None

    def first(self, names: Iterable[str]) -> str | None:
        """The first of some names that the file has."""
        return next((name for name in names if name in self), None)

    def _require(self, name: str) -> tuple[str, int | None]:
        found = self._split(name)
        if found is None:
            msg = f"{self.branches.path}: {unknown_name('column', name, self.branches.names)}"
            raise InputError(msg)
        return found

    def empty(self, name: str) -> Any:
        """An array of no rows with the type of a branch."""
        stored, place = self._require(name)
        return _pick(self.branches.empty(stored), place)

    def read(self, name: str) -> Any:
        """The values of a branch."""
        stored, place = self._require(name)
        if stored not in self._kept:
            self._kept[stored] = self.branches.read(stored, self.start, self.stop)
        return _pick(self._kept[stored], place)

    def column(self, make: Callable[..., Any], *names: str) -> Any:
        """A column made of branches.

        Parameters
        ----------
        make : called with the arrays of the branches; must give a type that does not depend on their values.
        names : of the branches.

        Raises
        ------
        InputError
            If a branch is not there or not made of numbers.
        """
        try:
            return _Column(self, make, names)
        except InputError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            msg = f"{self.branches.path}: {', '.join(names)} cannot be read as numbers of events or of their objects ({error})"
            raise InputError(msg) from error

    def stored(self, name: str, scale: float = 1.0) -> Any | None:
        """A branch as it is, or times `scale`; None if the file does not have it."""
        if name not in self:
            return None
        return self.column(_as_it_is if scale == 1.0 else _Scaled(scale), name)


def _pick(array: Any, place: int | None) -> Any:
    return array if place is None else array[..., place]


def _as_it_is(values: Any) -> Any:
    return values


class _Scaled:
    """Multiplication that keeps the precision of the values."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, values: Any) -> Any:
        return values * self.factor


def collection(rows: Rows, name: str, counted: str, fields: dict[str, Any | None]) -> dict[str, Any]:
    """Columns of a jagged collection: those of its fields that are there, the number of objects, and a lepton's mass.

    Parameters
    ----------
    rows : the branches.
    name : of the collection.
    counted : a branch with one value per object; nothing is returned if the file does not have it.
    fields : {field: column, or None where the file has none}.
    """
    if counted not in rows:
        return {}
    if fields.get("mass") is None and name in MASSES:
        fields = {**fields, "mass": rows.column(lambda pt: ak.full_like(pt, MASSES[name]), counted)}
    found = {f"{name}_{key}": values for key, values in fields.items() if values is not None}
    return {f"n{name}": rows.column(ak.num, counted), **found}
