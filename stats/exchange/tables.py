"""Tables of numbers in mass bins, and the checks that every spectrum from a file goes through."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hist
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name
from resonaut.stats.spectrum import as_counts

__all__ = ("BinnedTable", "bin_edges", "centred_edges", "count_spectrum", "read_text_table", "unique_names")

FloatArray = npt.NDArray[np.float64]

EDGE_TOLERANCE = 1e-6  # relative gap between neighbouring bins of a table
WHOLE_TOLERANCE = 1e-6  # relative distance from a whole number of events
COMMENTS = ("#", "%", "//")
_LOW = re.compile(r"(?<![a-z])(low|lo|lower|min|left)(?![a-z])", re.IGNORECASE)
_HIGH = re.compile(r"(?<![a-z])(high|hi|upper|max|right)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class BinnedTable:
    """Columns of numbers over mass bins.

    Attributes
    ----------
    source : str
        File and table, for messages.
    edges : ndarray of shape (bins + 1,)
        GeV.
    columns : dict of str to ndarray of shape (bins,)
        NaN where a cell is empty or no number.
    default : str or None
        The column of the counts; None where the table does not tell.
    units : dict of str to str
        Units of the columns, where the file gives them.
    broken : dict of str to str
        For columns with a cell that is no number: where, and what it is.
    """

    source: str
    edges: FloatArray
    columns: dict[str, FloatArray]
    default: str | None = None
    units: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def pick(self, column: str | None) -> str:
        """Name of a column given by name, by what its name has in square brackets, or by number (from 1); or the default one.

        Raises
        ------
        InputError
            If there is no such column, or none was asked for and there are several.
        """
        names = list(self.columns)
        if column is None:
            if self.default is None:
                msg = f"{self.source} has several columns, name one of them ({self.source}:COLUMN): {', '.join(names)}"
                raise InputError(msg)
            return self.default
        if column in self.columns:
            return column
        wanted = column.casefold()
        same = [name for name in names if name.casefold() == wanted or name.casefold().endswith(f"[{wanted}]")]
        if len(same) == 1:
            return same[0]
        if column.isdigit() and 1 <= int(column) <= len(names):
            return names[int(column) - 1]
        raise InputError(f"{self.source}: " + unknown_name("column", column, names))

    def values(self, column: str | None) -> FloatArray:
        """One column, complete.

        Raises
        ------
        InputError
            If the column is not there or has a cell that is no number.
        """
        name = self.pick(column)
        if name in self.broken:
            msg = f"{self.source} column {name!r} {self.broken[name]}, expected a number in every bin"
            raise InputError(msg)
        return self.columns[name]


def bin_edges(low: FloatArray, high: FloatArray, source: str) -> FloatArray:
    """Edges of bins that lie side by side in increasing order, shape (bins + 1,).

    Raises
    ------
    InputError
        If a bin is empty or infinite, bins are out of order, or there is a gap or an overlap.
    """
    bad = ~(np.isfinite(low) & np.isfinite(high))
    if bad.any():
        first = int(bad.argmax())
        msg = f"{source} bin {first} goes from {low[first]:g} to {high[first]:g}: leave underflow and overflow out"
        raise InputError(msg)
    if (high <= low).any():
        first = int((high <= low).argmax())
        msg = f"{source} bin {first} has the low edge {low[first]:.6g} and the high edge {high[first]:.6g}, expected rows of low edge < high edge, count"
        raise InputError(msg)
    if (np.diff(low) <= 0).any():
        first = int((np.diff(low) <= 0).argmax())
        msg = f"{source} has bin {first + 1} at {low[first + 1]:.6g} GeV after bin {first} at {low[first]:.6g} GeV, expected increasing masses"
        raise InputError(msg)
    apart = ~np.isclose(low[1:], high[:-1], rtol=EDGE_TOLERANCE, atol=0.0)
    if apart.any():
        first = int(apart.argmax())
        what = "a gap" if low[first + 1] > high[first] else "an overlap"
        msg = f"{source} has {what} after bin {first}: it ends at {high[first]:.6g} GeV, the next starts at {low[first + 1]:.6g} GeV"
        raise InputError(msg)
    return np.append(low, high[-1])


def centred_edges(centres: FloatArray, source: str) -> FloatArray:
    """Edges of equal bins around their centres; other bins cannot be told from their centres.

    Raises
    ------
    InputError
        If the centres are not equally spaced, or fewer than three.

    Examples
    --------
    >>> import numpy as np
    >>> centred_edges(np.array([5.0, 15.0, 25.0]), "table").tolist()
    [0.0, 10.0, 20.0, 30.0]
    """
    steps = np.diff(centres)
    if len(centres) < 3 or not np.allclose(steps, steps.mean(), rtol=EDGE_TOLERANCE) or not steps.mean() > 0:
        msg = (
            f"{source} gives bin centres, not edges, and they are not equally spaced: many sets of edges have these centres. "
            "Give the low and the high edge of each bin"
        )
        raise InputError(msg)
    return np.asarray(np.append(centres, centres[-1] + steps.mean()) - steps.mean() / 2)


def count_spectrum(
    values: FloatArray,
    edges: FloatArray,
    source: str,
    *,
    per_width: bool = False,
    scale: float = 1.0,
    fractional: bool = False,
    unit: str = "",
) -> hist.Hist:
    """Spectrum of whole events from a column of a file.

    Parameters
    ----------
    values : ndarray of shape (bins,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    source : str
        For messages.
    per_width : bool
        Whether the values are per GeV: each is multiplied by the width of its bin.
    scale : float
        Factor to events, such as a luminosity for a cross-section.
    fractional : bool
        Whether counts may be fractions: expectations, not observed events.
    unit : str
        Unit of the values, for messages.

    Raises
    ------
    InputError
        If a value is NaN, infinite or negative, or is no whole number of events.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(bad.argmax())
        msg = f"{source} has {int(bad.sum())} counts that are not finite (first: bin {first}, {edges[first]:.6g} GeV)"
        raise InputError(msg)
    if (values < 0).any():
        first = int((values < 0).argmax())
        msg = f"{source} has {int((values < 0).sum())} negative counts (first: {values[first]:.6g} in bin {first}), expected events"
        raise InputError(msg)
    scaled = per_width or scale != 1.0
    events = values * scale * (np.diff(edges) if per_width else 1.0)
    if not fractional:
        events = _whole(events, source, scaled=scaled, unit=unit)
    counts, bounds, _ = as_counts((events, edges))
    result = hist.Hist(hist.axis.Variable(bounds, name="mass", label="Mass [GeV]"), storage=hist.storage.Double())
    result.view()[...] = counts
    return result


def _whole(events: FloatArray, source: str, *, scaled: bool, unit: str) -> FloatArray:
    """Events, rounded where they come from a rate; published rates have a few digits, so more distance is allowed."""
    allowed = np.maximum(0.02, 0.005 * events) if scaled else WHOLE_TOLERANCE * np.maximum(events, 1.0)
    off = np.abs(events - np.rint(events)) > allowed
    if off.any():
        first = int(off.argmax())
        what = f"{events[first]:.9g} {unit}".strip()
        hint = (
            "check per_width and scale"
            if scaled
            else "a rate or cross-section: give per_width=True if it is per GeV and scale= (luminosity) to make events of it"
        )
        msg = f"{source} has {what} in bin {first}, expected whole events: {hint}; fractional=True takes it as an expectation"
        raise InputError(msg)
    return np.asarray(np.rint(events)) if scaled else events


def unique_names(names: Iterable[str]) -> list[str]:
    """Names with a number behind those that come again.

    Examples
    --------
    >>> unique_names(["events", "error", "error"])
    ['events', 'error', 'error (2)']
    """
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def read_text_table(path: Path) -> BinnedTable:
    """Table of low edge, high edge and further columns: commas, semicolons, tabs or spaces.

    Comment lines start with #, % or //; lines without numbers before the first row are headers, the last of them names
    the columns. HEPData's own CSV files (centre, low, high, values) are understood by their header.

    Raises
    ------
    InputError
        If the file cannot be read, a row cannot be understood (with its line), or the bins do not lie side by side.
    """
    header, rows = _split(path)
    if not rows:
        msg = f"{path} holds no rows of low, high, count"
        raise InputError(msg)
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            msg = f"{path} line {number} has {len(cells)} columns, the first row has {width}: {','.join(cells)!r}"
            raise InputError(msg)
    names = unique_names(header) if len(header) == width else [f"column {k + 1}" for k in range(width)]
    numbers = np.array([[_number(cell) for cell in cells] for _, cells in rows])
    if width == 2:
        return _centred(path, names, numbers)
    first = _edge_columns(names, numbers)
    edges = bin_edges(numbers[:, first], numbers[:, first + 1], str(path))
    columns = {name: numbers[:, k] for k, name in enumerate(names) if k not in (first, first + 1)}
    broken = {}
    for k, name in enumerate(names):
        if (missing := ~np.isfinite(numbers[:, k])).any():
            line, cells = rows[int(missing.argmax())]
            broken[name] = f"has {cells[k]!r} in line {line}"
    return BinnedTable(
        str(path), edges, columns, default=names[first + 2] if first + 2 < width else None, broken=broken
    )


def _centred(path: Path, names: Sequence[str], numbers: FloatArray) -> BinnedTable:
    """Two columns: bin centres and counts."""
    if len(numbers) > 1 and np.allclose(numbers[:-1, 1], numbers[1:, 0]):
        msg = f"{path} has a low and a high edge in each row but no counts, expected low, high, count"
        raise InputError(msg)
    edges = centred_edges(numbers[:, 0], str(path))
    return BinnedTable(str(path), edges, {names[1]: numbers[:, 1]}, default=names[1])


def _edge_columns(names: Sequence[str], numbers: FloatArray) -> int:
    """Position of the low edge; the high edge is the next column."""
    for k in range(len(names) - 1):
        if _LOW.search(names[k]) and _HIGH.search(names[k + 1]) and (numbers[:, k] < numbers[:, k + 1]).all():
            return k
    return 0


def _split(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header cells, and (line number, cells) of each row of numbers."""
    lines = _lines(path)
    last = next((line for _, line in reversed(lines) if not line.startswith(COMMENTS)), "")
    delimiter = next((d for d in (";", "\t", ",") if d in last), " ")
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    for number, line in lines:
        comment = line.startswith(COMMENTS)
        cells = _cells(line.lstrip("#%/ ") if comment else line, delimiter)
        if comment or not cells:
            header = header if rows or not comment else cells
        elif np.isnan([_number(cell) for cell in cells[:2]]).any():
            if rows:
                msg = f"{path} line {number} got {line[:80]!r}, expected low, high, count (one table in a file)"
                raise InputError(msg)
            header = cells
        else:
            rows.append((number, cells))
    return header, rows


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        msg = f"{path} could not be read: {error.strerror or error}"
        raise InputError(msg) from error
    if "\0" in text:
        msg = f"{path} is not a text file, expected rows of low, high, count"
        raise InputError(msg)
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in stripped if line]


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        line = " ".join(line.split())
    row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    cells = [cell.strip().strip("'\"").strip() for cell in row]
    if cells and "#" in cells[-1]:  # a remark behind the numbers
        cells[-1] = cells[-1].partition("#")[0].strip()
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
