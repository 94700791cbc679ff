"""Flat ntuples: events made of columns of any name, by a map that the user writes.

    tree: ntuple                       # only where a file has several
    unit: MeV                          # of energies in the file; GeV if it is not said
    columns:
      FatJet: {pt: fatjet_pt, eta: fatjet_eta, phi: fatjet_phi, mass: fatjet_m, tau1: fatjet_tau1}
      MET: {pt: met, phi: met_phi}
      weight: mcweight

A collection is a mapping of its fields to jagged columns, or a list of such mappings to columns with one number per event,
one for each object: `FatJet: [{pt: j1_pt, ...}, {pt: j2_pt, ...}]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.branches import Branches, Rows, tree_branches
from resonaut.processors.sources.hdf5 import is_hdf5
from resonaut.processors.sources.hdf5_columns import HDF5Branches
from resonaut.processors.sources.parquet import ParquetBranches
from resonaut.processors.sources.root_files import is_root
from resonaut.processors.table import is_table

__all__ = ("PREFIX", "UNITS", "ColumnMap")

PREFIX = "columns:"
UNITS = {"GeV": 1.0, "MeV": 1e-3, "TeV": 1e3, "keV": 1e-6}
KEYS = ("columns", "tree", "unit")
ENERGIES = {"pt", "mass", "e", "px", "py", "pz", "et", "msoftdrop", "msd", "split12", "split23", "qw", "sumEt"}
"""Fields that `unit` scales."""

ALIASES = {"m": "mass", "energy": "e", "E": "e", "PT": "pt", "Eta": "eta", "Phi": "phi", "M": "mass"}
MASSLESS = ("Photon",)
Spec = Mapping[str, str]


@dataclass(frozen=True)
class ColumnMap:
    """A source of flat ntuples: ROOT (TTree, RNTuple), Parquet and HDF5.

    Parameters
    ----------
    columns : {collection: {field: column}}, {collection: [{field: column}, ...]} or {event field: column}. Collections need
        `pt eta phi` and `mass` or `e`, or `px py pz` and `mass` or `e`; missing momenta (`...MET`) `pt` and `phi`. All other
        fields are kept by the name that they are given. `column[i]` is a place of a column of arrays.
    tree : TTree, RNTuple, HDF5 table or group; None for the only one.
    unit : of energies in the file.

    Raises
    ------
    ConfigError
        For a map that makes no sense.

    Notes
    -----
    Where objects are listed one by one, one whose pT is not positive (0, NaN, a negative default) is not there.

    Examples
    --------
    >>> ColumnMap({"MET": {"pt": "met", "phi": "met_phi"}, "weight": "w"}, unit="MeV").unit
    'MeV'
    """

    columns: Mapping[str, Any]
    tree: str | None = None
    unit: str = "GeV"
    name: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigError(unknown_name("unit", str(self.unit), UNITS))
        given: Any = self.columns  # of a file: it may be anything
        if not isinstance(given, Mapping) or not given:
            msg = f"columns are {self.columns!r}, expected a mapping such as {{'FatJet': {{'pt': 'jet_pt', ...}}, 'weight': 'w'}}"
            raise ConfigError(msg)
        for key, value in self.columns.items():
            _check(str(key), value)
        # the map itself, so that a name in a fileset, a chunk or a ledger is enough to read its files
        text = json.dumps({"columns": self.columns, "tree": self.tree, "unit": self.unit}, sort_keys=True)
        object.__setattr__(self, "name", PREFIX + text)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> ColumnMap:
        """The map of plain data, as in a YAML file or a fileset.

        Raises
        ------
        ConfigError
            For an unknown key or a map that makes no sense.
        """
        for key in given:
            if key not in KEYS:
                raise ConfigError(unknown_name("key of a column map", str(key), KEYS))
        return cls(given.get("columns", {}), given.get("tree"), given.get("unit", "GeV"))

    @classmethod
    def from_name(cls, name: str) -> ColumnMap:
        """The map that has this name."""
        try:
            return cls.from_dict(json.loads(name.removeprefix(PREFIX)))
        except ValueError as error:
            msg = f"{name!r} is not a column map ({error})"
            raise ConfigError(msg) from error

    def __reduce__(self) -> tuple[Callable[[str], ColumnMap], tuple[str]]:
        return ColumnMap.from_name, (self.name,)

    def recognises(self, path: str) -> bool:
        """True if the file has all columns of the map."""
        try:
            self._columns(Rows(self._branches(path, None), 0, 0))
        except InputError:
            return False
        return True

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of rows; InputError if a column is not there."""
        branches = self._branches(path, tree)
        self._columns(Rows(branches, 0, 0))
        return branches.entries

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Rows start..stop with the collections of the map; a column is read when it is first used."""
        branches = self._branches(path, tree)
        rows = Rows(branches, start, min(stop, branches.entries))
        return events_from_columns(self._columns(rows), max(0, rows.stop - start), path, start, metadata)

    def _branches(self, path: str, tree: str | None) -> Branches:
        chosen = tree or self.tree
        if is_root(path):
            return tree_branches(path, *([chosen] if chosen else []))
        if "://" not in path and is_hdf5(path):
            return HDF5Branches(path, chosen)
        if "://" not in path and is_table(path):
            return ParquetBranches(path)
        msg = f"{path}: a column map reads ROOT, Parquet and HDF5, and this is none of them"
        raise InputError(msg)

    def _columns(self, rows: Rows) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for name, given in self.columns.items():
            if isinstance(given, str):
                columns[name] = _stored(rows, given, 1, f"columns.{name}")
            elif name.endswith("MET") and isinstance(given, Mapping):
                for key, column in given.items():
                    columns[f"{name}_{ALIASES.get(key, key)}"] = self._scaled(rows, name, key, column, 1)
            elif isinstance(given, Mapping):
                columns |= self._jagged(rows, name, given)
            else:
                columns |= self._listed(rows, name, given)
        return columns

    def _factor(self, key: str) -> float:
        return UNITS[self.unit] if ALIASES.get(key, key) in ENERGIES else 1.0

    def _scaled(self, rows: Rows, name: str, key: str, column: str, depth: int) -> Any:
        return _stored(rows, column, depth, f"columns.{name}.{key}", self._factor(key))

    def _jagged(self, rows: Rows, name: str, given: Spec) -> dict[str, Any]:
        """A collection of jagged columns."""
        counted = next(iter(given.values()))
        for key, column in given.items():
            self._scaled(rows, name, key, column, 2)
        keys = {ALIASES.get(key, key): column for key, column in given.items()}
        found = {}
        for key, (parts, make) in _recipes(keys, name).items():
            recipe = _Recipe(make, [self._factor(part) for part in parts])
            as_many = _AsMany(recipe, f"{rows.branches.path}: columns.{name}.{key}", counted)
            found[f"{name}_{key}"] = rows.column(as_many, counted, *(keys[part] for part in parts))
        return {f"n{name}": rows.column(ak.num, counted), **found}

    def _listed(self, rows: Rows, name: str, given: Sequence[Spec]) -> dict[str, Any]:
        """A collection whose objects are listed, each with its own columns."""
        for i, each in enumerate(given):
            for key, column in each.items():
                self._scaled(rows, f"{name}[{i}]", key, column, 1)
        specs = [{ALIASES.get(key, key): column for key, column in each.items()} for each in given]
        keys = list(specs[0])
        flags = ("pt",) if "pt" in keys else ("px", "py")
        objects = [spec[flag] for spec in specs for flag in flags]
        found = {}
        for key, (parts, make) in _recipes({key: key for key in keys}, name).items():
            recipe = _Recipe(make, [self._factor(part) for part in parts])
            names = [spec[part] for spec in specs for part in parts]
            found[f"{name}_{key}"] = rows.column(_Listed(recipe, len(specs), len(flags)), *objects, *names)
        return {f"n{name}": rows.column(_Present(len(specs), len(flags)), *objects), **found}


def _check(name: str, value: Any) -> None:
    """ConfigError for an entry that cannot be read."""
    shape = "a column, {field: column} or a list of {field: column}"
    specs = [value] if isinstance(value, Mapping) else value
    if isinstance(value, str):
        return
    if not isinstance(specs, Sequence) or not specs or not all(isinstance(each, Mapping) and each for each in specs):
        msg = f"columns.{name} is {value!r}, expected {shape}"
        raise ConfigError(msg)
    if "_" in name or not name.isidentifier():
        msg = f"columns.{name}: a collection's name has letters and digits alone, such as FatJet"
        raise ConfigError(msg)
    for each in specs:
        if bad := [key for key, column in each.items() if not isinstance(column, str)]:
            msg = f"columns.{name}.{bad[0]} is {each[bad[0]]!r}, expected the name of a column"
            raise ConfigError(msg)
        keys = {ALIASES.get(key, key) for key in each}
        if len(keys) < len(each):
            msg = f"columns.{name} names a field twice, such as m and mass; got {', '.join(map(str, each))}"
            raise ConfigError(msg)
        if odd := sorted(map(str, keys ^ {ALIASES.get(key, key) for key in specs[0]})):
            msg = f"columns.{name}: some of the objects that are listed have {', '.join(odd)}, and others do not"
            raise ConfigError(msg)
        if name.endswith("MET") and not isinstance(value, Sequence):
            lacking = [key for key in ("pt", "phi") if key not in keys]
        else:
            lacking = [] if {"px", "py", "pz"} <= keys else [key for key in ("pt", "eta", "phi") if key not in keys]
            if not {"mass", "e"} & keys and name not in MASSLESS:
                lacking.append("mass (or e)")
        if lacking:
            msg = f"columns.{name} lacks {', '.join(lacking)}; got {', '.join(map(str, each))}"
            raise ConfigError(msg)


def _stored(rows: Rows, column: str, depth: int, where: str, factor: float = 1.0) -> Any:
    """A column of the file as it is, with one number per event (depth 1) or per object (depth 2)."""
    if column not in rows:
        msg = f"{rows.branches.path}: {where}: {unknown_name('column', column, rows.branches.names)}"
        raise InputError(msg)
    found = rows.stored(column, factor)
    held = found.layout.minmax_depth[1] if found is not None else 0
    if held != depth:
        numbers = {1: "one number per event", 2: "a list of numbers per event"}
        msg = (
            f"{rows.branches.path}: {where}: {column!r} holds {numbers.get(held, 'lists of lists')}, expected {numbers[depth]}; "
            "objects whose columns are numbers are listed one by one: FatJet: [{pt: j1_pt, ...}, {pt: j2_pt, ...}]"
        )
        raise InputError(msg)
    return found


Recipe = tuple[tuple[str, ...], Callable[..., Any]]


def _same(values: Any) -> Any:
    return values


def _recipes(keys: Mapping[str, Any], name: str) -> dict[str, Recipe]:
    """{field: (fields that it is made of, how)}: pt, eta, phi and mass from whatever coordinates are given."""
    made: dict[str, Recipe] = {key: ((key,), _same) for key in keys if key not in ("e", "px", "py", "pz")}
    if {"px", "py", "pz"} <= set(keys):
        made["pt"] = ("px", "py"), np.hypot
        made["eta"] = ("px", "py", "pz"), lambda px, py, pz: np.arcsinh(pz / np.hypot(px, py))
        made["phi"] = ("px", "py"), lambda px, py: np.arctan2(py, px)
        if "mass" not in keys and "e" in keys:
            made["mass"] = ("px", "py", "pz", "e"), lambda px, py, pz, e: _root(e**2 - px**2 - py**2 - pz**2)
    elif "mass" not in keys and "e" in keys:
        made["mass"] = ("pt", "eta", "e"), lambda pt, eta, e: _root(e**2 - (pt * np.cosh(eta)) ** 2)
    if "mass" not in made and name in MASSLESS:
        made["mass"] = (next(iter(made["pt"][0])),), lambda pt: pt * 0
    return made


def _root(squared: Any) -> Any:
    return np.sqrt(np.maximum(squared, 0.0))


class _Recipe:
    """A field from its parts, each brought to GeV."""

    def __init__(self, make: Callable[..., Any], factors: Sequence[float]) -> None:
        self.make, self.factors = make, factors

    def __call__(self, *parts: Any) -> Any:
        return self.make(*(part if f == 1 else part * f for part, f in zip(parts, self.factors, strict=True)))


class _AsMany:
    """A jagged field, which must have as many values in every event as the column that its collection is counted by."""

    def __init__(self, recipe: _Recipe, where: str, counted: str) -> None:
        self.recipe, self.where, self.counted = recipe, where, counted

    def __call__(self, counted: Any, *parts: Any) -> Any:
        values = self.recipe(*parts)
        if not ak.array_equal(ak.num(values), ak.num(counted)):  # values would go to the objects of other events
            msg = f"{self.where} has another number of values than {self.counted!r} in some events: they are not of the same objects"
            raise InputError(msg)
        return values


class _Present:
    """Which of the listed objects an event has: those with a positive pT; called with their flags, gives their number."""

    def __init__(self, objects: int, flags: int) -> None:
        self.objects, self.flags = objects, flags

    def mask(self, columns: Sequence[Any]) -> Any:
        flags = [np.asarray(each, np.float64) for each in columns]
        pt = [
            flags[i] if self.flags == 1 else np.hypot(flags[i], flags[i + 1]) for i in range(0, len(flags), self.flags)
        ]
        return np.stack(pt, axis=1) > 0

    def __call__(self, *columns: Any) -> Any:
        return self.mask(columns).sum(axis=1)


class _Listed:
    """A field of listed objects: called with the flags of all and then the parts of each."""

    def __init__(self, recipe: _Recipe, objects: int, flags: int) -> None:
        self.recipe, self.objects, self.flags = recipe, objects, flags

    def __call__(self, *columns: Any) -> Any:
        marks = self.objects * self.flags
        present = _Present(self.objects, self.flags).mask(columns[:marks])
        each = (len(columns) - marks) // self.objects
        parts = [columns[marks + each * i : marks + each * (i + 1)] for i in range(self.objects)]
        with np.errstate(all="ignore"):  # of objects that are not there
            values = np.stack([np.asarray(self.recipe(*map(np.asarray, part))) for part in parts], axis=1)
        return ak.unflatten(values[present], present.sum(axis=1))
