"""HEPData tables: read from a submission or from one file, and written as YAML.

A submission is a folder with `submission.yaml`, whose documents name one data file for each table; HEPData also hands out
a record as one file with all tables in it, and single tables. All three are read. The format is described at
https://hepdata-submission.readthedocs.io.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from resonaut.errors import InputError, unknown_name
from resonaut.stats.exchange.tables import BinnedTable, bin_edges, centred_edges, unique_names
from resonaut.stats.records import brief

__all__ = (
    "HepDataColumn",
    "HepDataTable",
    "binned_table",
    "covariance_table",
    "find_table",
    "read_hepdata",
    "table_document",
)

FloatArray = npt.NDArray[np.float64]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TO_GEV = {"": 1.0} | {
    prefix + unit: factor
    for prefix, factor in (("mev", 0.001), ("gev", 1.0), ("tev", 1000.0))
    for unit in ("", "/c^2", "/c2", "/c**2")
}
_OBSERVED = re.compile(r"\b(data|obs|observed|observation|events?|counts?|yield)\b", re.IGNORECASE)
_PREDICTED = re.compile(r"\b(fit|fitted|expected|prediction|predicted|background|bkg|mc|error)\b", re.IGNORECASE)
MISSING = "-"  # HEPData's sign for a cell without a number


@dataclass(frozen=True, eq=False)
class HepDataColumn:
    """One column of a HEPData table.

    Attributes
    ----------
    name : str
    values : ndarray of shape (rows,), or (rows, 2) for bins with a low and a high edge, or a tuple of str
        NaN where there is no number.
    units : str
    qualifiers : dict of str to str or float
        What the column is about, such as the cut.
    errors : dict of str to ndarray of shape (rows,) or (rows, 2)
        By label; with two columns the signed changes downwards and upwards.
    """

    name: str
    values: FloatArray | tuple[str, ...]
    units: str = ""
    qualifiers: dict[str, str | float] = field(default_factory=dict)
    errors: dict[str, FloatArray] = field(default_factory=dict)

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class HepDataTable:
    """One HEPData table.

    Attributes
    ----------
    name, description : str
    independent, dependent : tuple of HepDataColumn
        Of equal length.
    keywords : dict of str to list
        "cmenergies", "observables", "reactions" and "phrases".
    """

    name: str
    independent: tuple[HepDataColumn, ...]
    dependent: tuple[HepDataColumn, ...]
    description: str = ""
    keywords: dict[str, list[Any]] = field(default_factory=dict)

    __repr__ = brief

    def __post_init__(self) -> None:
        lengths = {len(variable) for variable in (*self.independent, *self.dependent)}
        if len(lengths) > 1:
            msg = f"HEPData table {self.name!r} has columns of {sorted(lengths)} rows, expected equal lengths"
            raise InputError(msg)


def read_hepdata(path: str | os.PathLike[str]) -> tuple[HepDataTable, ...]:
    """All tables of a HEPData submission folder, `submission.yaml`, record in one file, or single data file.

    Parameters
    ----------
    path : path

    Returns
    -------
    tuple of HepDataTable
        In the order of the file.

    Raises
    ------
    InputError
        If a file is missing, is no YAML, or holds no table.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "submission.yaml"
    tables = []
    for document in _documents(file):
        if "independent_variables" in document:
            tables.append(_table(document, document, file))
        elif "data_file" in document:
            data = file.parent / Path(str(document["data_file"])).name
            content = next(iter(_documents(data)), {})
            tables.append(_table(document, content, data))
    if not tables:
        msg = f"{file} holds no HEPData table, expected documents with independent_variables and dependent_variables"
        raise InputError(msg)
    return tuple(tables)


def _documents(path: Path) -> list[Mapping[str, Any]]:
    if not path.is_file():
        msg = f"file not found: {path}"
        raise InputError(msg)
    try:
        with path.open(encoding="utf-8") as stream:
            return [document for document in yaml.load_all(stream, Loader=_LOADER) if isinstance(document, dict)]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        msg = f"{path}{line} is not YAML: {getattr(error, 'problem', None) or error}"
        raise InputError(msg) from error


def _table(about: Mapping[str, Any], content: Mapping[str, Any], path: Path) -> HepDataTable:
    try:
        return HepDataTable(
            name=str(about.get("name", path.stem)),
            description=str(about.get("description", "")),
            independent=tuple(_variable(v) for v in content["independent_variables"]),
            dependent=tuple(_variable(v) for v in content["dependent_variables"]),
            keywords={str(k["name"]): list(k["values"]) for k in about.get("keywords") or ()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is not a HEPData table ({type(error).__name__}: {error}), expected independent_variables and dependent_variables, each with a header and values"
        raise InputError(msg) from error


def _variable(content: Mapping[str, Any]) -> HepDataColumn:
    header, cells = content["header"], content["values"]
    qualifiers = {str(q["name"]): q["value"] for q in content.get("qualifiers") or ()}
    values: FloatArray | tuple[str, ...]
    if cells and all("low" in cell and "high" in cell for cell in cells):
        values = np.array([[_number(cell["low"]), _number(cell["high"])] for cell in cells])
    else:
        values = np.array([_number(cell.get("value", MISSING)) for cell in cells])
        if len(cells) and np.isnan(values).all() and any(cell.get("value") != MISSING for cell in cells):
            values = tuple(str(cell.get("value", "")) for cell in cells)
    return HepDataColumn(str(header["name"]), values, str(header.get("units") or ""), qualifiers, _errors(cells))


def _errors(cells: list[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """Errors by label; (rows, 2) where any of them is asymmetric, NaN where a row has none."""
    pairs: dict[str, dict[int, tuple[float, float]]] = {}
    asymmetric = set()
    for row, cell in enumerate(cells):
        for k, error in enumerate(cell.get("errors") or ()):
            label = str(error.get("label") or (f"error {k + 1}" if k else "error"))
            size = cell.get("value")
            if "asymerror" in error:
                down, up = (_number(error["asymerror"][side], size) for side in ("minus", "plus"))
                asymmetric.add(label)
            else:
                up = _number(error["symerror"], size)
                down = -up
            pairs.setdefault(label, {})[row] = (down, up)
    result = {}
    for label, found in pairs.items():
        table = np.full((len(cells), 2), np.nan)
        table[list(found)] = list(found.values())
        result[label] = table if label in asymmetric else table[:, 1]
    return result


def _number(cell: Any, percent_of: Any = None) -> float:
    text = str(cell).strip()
    try:
        if text.endswith("%") and percent_of is not None:
            return float(text[:-1]) / 100.0 * float(percent_of)
        return float(text)
    except ValueError:
        return float("nan")


def find_table(tables: tuple[HepDataTable, ...], selector: str, source: str) -> tuple[HepDataTable, str | None]:
    """Table and column that a selector "table", "table:column" or, for a single table, "column" means.

    Tables are given by name or by number from 1.

    Raises
    ------
    InputError
        If nothing fits, or there are several tables and none was named.
    """
    names = unique_names(table.name for table in tables)
    by_name = dict(zip(names, tables, strict=True)) | {str(k): table for k, table in enumerate(tables, start=1)}
    for cut in range(len(selector), -1, -1):  # names may hold colons: the longest one that exists
        if selector[:cut] in by_name and selector[cut : cut + 1] in ("", ":"):
            return by_name[selector[:cut]], selector[cut + 1 :] or None
    if len(tables) == 1:
        return tables[0], selector or None
    if not selector:
        msg = f"{source} holds {len(tables)} tables, name one of them ({source}:TABLE): {', '.join(names)}"
        raise InputError(msg)
    raise InputError(f"{source}: " + unknown_name("table", selector, names))


def binned_table(table: HepDataTable, source: str) -> BinnedTable:
    """A table over mass bins, in GeV.

    Raises
    ------
    InputError
        If there is not one binned independent variable.
    """
    where = f"{source}:{table.name}"
    binned = [v for v in table.independent if isinstance(v.values, np.ndarray) and v.values.ndim == 2]
    numbers = [v for v in table.independent if isinstance(v.values, np.ndarray)]
    if len(binned) > 1 or (not binned and len(numbers) != 1):
        given = ", ".join(v.name for v in table.independent) or "none"
        msg = f"{where} has the independent variables {given}, expected one mass with bin edges"
        raise InputError(msg)
    mass = (binned or numbers)[0]
    factor = _TO_GEV.get(mass.units.replace(" ", "").casefold())
    if factor is None:
        msg = f"{where} has the mass {mass.name!r} in {mass.units!r}, expected GeV, TeV or MeV"
        raise InputError(msg)
    axis = np.asarray(mass.values) * factor
    if not len(axis):
        msg = f"{where} has no rows"
        raise InputError(msg)
    edges = bin_edges(axis[:, 0], axis[:, 1], where) if binned else centred_edges(axis, where)
    names = unique_names(_column_names(table.dependent))
    pairs = [
        (n, v)
        for n, v in zip(names, table.dependent, strict=True)
        if isinstance(v.values, np.ndarray) and v.values.ndim == 1
    ]
    columns = {name: np.asarray(variable.values) for name, variable in pairs}
    broken = {n: f"has no number in bin {int(np.isnan(v).argmax())}" for n, v in columns.items() if np.isnan(v).any()}
    return BinnedTable(where, edges, columns, _counts_column(columns), {n: v.units for n, v in pairs}, broken)


def _column_names(variables: tuple[HepDataColumn, ...]) -> Iterator[str]:
    """Names of the columns; where several share one, with the qualifiers in which they differ."""
    names = [variable.name for variable in variables]
    for variable in variables:
        others = [v for v in variables if v.name == variable.name]
        differ = [
            str(value)
            for key, value in variable.qualifiers.items()
            if any(other.qualifiers.get(key) != value for other in others)
        ]
        yield f"{variable.name} [{', '.join(differ)}]" if names.count(variable.name) > 1 and differ else variable.name


def _counts_column(columns: Mapping[str, FloatArray]) -> str | None:
    """The only column, or the only one that holds whole numbers of events, or of those the only one called observed."""
    whole = [
        name
        for name, values in columns.items()
        if np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all() and values.any()
    ]
    if len(columns) == 1:
        return next(iter(columns))
    observed = [name for name in whole if _OBSERVED.search(name) and not _PREDICTED.search(name)]
    return next((found[0] for found in (whole, observed) if len(found) == 1), None)


def table_document(table: HepDataTable) -> dict[str, Any]:
    """Content of the data file of a table, plain lists and numbers."""
    return {
        "independent_variables": [_plain(variable) for variable in table.independent],
        "dependent_variables": [_plain(variable) for variable in table.dependent],
    }


def _plain(variable: HepDataColumn) -> dict[str, Any]:
    header = {"name": variable.name} | ({"units": variable.units} if variable.units else {})
    cells = [_cell(value) for value in variable.values]
    for label, errors in variable.errors.items():
        for cell, error in zip(cells, errors, strict=True):
            if (entry := _error(label, error)) is not None:
                cell.setdefault("errors", []).append(entry)
    qualifiers = [{"name": name, "value": value} for name, value in variable.qualifiers.items()]
    return {"header": header} | ({"qualifiers": qualifiers} if qualifiers else {}) | {"values": cells}


def _cell(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"value": value}
    if np.ndim(value):
        return {"low": float(value[0]), "high": float(value[1])}
    return {"value": float(value) if math.isfinite(value) else MISSING}


def _error(label: str, error: Any) -> dict[str, Any] | None:
    """Entry of one error; None where there is none, as the format has no error of zero."""
    if not np.isfinite(error).all() or not np.any(error):
        return None
    if np.ndim(error):
        return {"asymerror": {"plus": float(error[1]), "minus": float(error[0])}, "label": label}
    return {"symerror": float(error), "label": label}


def covariance_table(
    names: Sequence[str], covariance: npt.ArrayLike, *, name: str = "Covariance", description: str = ""
) -> HepDataTable:
    """A covariance matrix as a table of all pairs.

    Parameters
    ----------
    names : sequence of str
    covariance : array_like of shape (names, names)
    name, description : str

    Raises
    ------
    InputError
        If the shape does not fit, or a value is not finite.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.shape != (len(names), len(names)):
        msg = f"covariance_table got shape {matrix.shape} for {len(names)} names"
        raise InputError(msg)
    if not np.isfinite(matrix).all():
        msg = f"covariance_table got {int((~np.isfinite(matrix)).sum())} values that are not finite, expected the covariance of a fit that converged"
        raise InputError(msg)
    first = tuple(a for a in names for _ in names)
    second = tuple(b for _ in names for b in names)
    pairs = (HepDataColumn("First", first), HepDataColumn("Second", second))
    return HepDataTable(name, pairs, (HepDataColumn("Covariance", matrix.ravel()),), description or name)
