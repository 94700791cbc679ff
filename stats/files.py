"""Spectra from and to files: ROOT histograms and CSV tables."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hist
import numpy as np
import uproot

from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = ("read_spectrum", "write_csv", "write_root")

EDGE_TOLERANCE = 1e-6  # relative gap between neighbouring bins of a table


def read_spectrum(source: str | os.PathLike[str]) -> hist.Hist:
    """Read a spectrum from ``"file.root:name"`` or ``"table.csv"``.

    Parameters
    ----------
    source : str or path
        A ROOT file and the histogram inside it (``"spectra.root:folder/mjj"``), or a CSV table with the columns low,
        high, count (GeV; any column names, further columns are ignored, lines that start with # are comments).

    Returns
    -------
    hist.Hist
        Axis "mass"; with variances where the ROOT histogram keeps sums of squared weights.

    Raises
    ------
    InputError
        If the file or the histogram is missing, truncated or not a spectrum; the message holds the nearest names.
    """
    text = os.fspath(source)
    if text.endswith((".csv", ".txt", ".dat")):
        return _read_csv(Path(text))
    path, _, name = text.rpartition(":")
    if not path or not name:
        msg = f"spectrum source got {text!r}, expected 'file.root:histogram' or 'table.csv'"
        raise InputError(msg)
    return _read_root(Path(path), name)


def _read_root(path: Path, name: str) -> hist.Hist:
    if not path.is_file():
        msg = f"file not found: {path}"
        raise InputError(msg)
    try:
        with uproot.open(path) as file:
            missing = file.file.fEND - path.stat().st_size
            if missing > 0:
                msg = f"{path} is truncated: {missing} bytes are missing at its end; fetch it again"
                raise InputError(msg)
            names = [key for key in file.keys(cycle=False) if file.classnames().get(f"{key};1", "TH").startswith("TH")]
            if name.partition(";")[0] not in file.keys(cycle=False):
                close = difflib.get_close_matches(name, names, n=2, cutoff=0.4)
                hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
                msg = f"{path} has no histogram {name!r}: {hint}Histograms: {', '.join(sorted(names)) or 'none'}"
                raise InputError(msg)
            found = file[name]
            if not hasattr(found, "to_hist"):
                msg = f"{path}:{name} is a {type(found).__name__}, expected a one-dimensional histogram"
                raise InputError(msg)
            return _as_mass_hist(found)
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds for damaged files; all mean the same here
        msg = f"{path}:{name} could not be read as a ROOT histogram ({type(error).__name__}: {str(error)[:200]})"
        raise InputError(msg) from error


def _as_mass_hist(found: Any) -> hist.Hist:
    counts, edges, variances = as_counts(found)
    axis = hist.axis.Variable(edges, name="mass", label="Mass [GeV]")
    weighted = variances is not None and not np.array_equal(variances, counts)
    if not weighted:
        result = hist.Hist(axis, storage=hist.storage.Double())
        result.view()[...] = counts
        return result
    result = hist.Hist(axis, storage=hist.storage.Weight())
    result.view()["value"], result.view()["variance"] = counts, variances
    return result


def _read_csv(path: Path) -> hist.Hist:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} could not be read: {error}"
        raise InputError(msg) from error
    rows: list[tuple[float, float, float]] = []
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if not row or not "".join(row).strip() or row[0].lstrip().startswith("#"):
            continue
        try:
            low, high, count = (float(cell) for cell in row[:3])
        except ValueError as error:
            if not rows:
                continue  # the header
            msg = f"{path} line {number} got {','.join(row)!r}, expected low, high, count"
            raise InputError(msg) from error
        rows.append((low, high, count))
    if not rows:
        msg = f"{path} holds no rows of low, high, count"
        raise InputError(msg)
    table = np.array(rows)
    if not np.allclose(table[1:, 0], table[:-1, 1], rtol=EDGE_TOLERANCE, atol=0.0):
        first = int((~np.isclose(table[1:, 0], table[:-1, 1], rtol=EDGE_TOLERANCE)).argmax())
        msg = f"{path} has a gap or an overlap after bin {first} ({table[first, 1]:.6g}, {table[first + 1, 0]:.6g} GeV)"
        raise InputError(msg)
    counts, edges, _ = as_counts((table[:, 2], np.append(table[:, 0], table[-1, 1])))
    result = hist.Hist(hist.axis.Variable(edges, name="mass", label="Mass [GeV]"), storage=hist.storage.Double())
    result.view()[...] = counts
    return result


def write_csv(path: str | os.PathLike[str], spectrum: Spectrum, columns: Mapping[str, Any] | None = None) -> None:
    """Write low, high, count and further columns as CSV, whole or not at all.

    Parameters
    ----------
    path : path
    spectrum : Spectrum
    columns : mapping of str to array_like of shape (bins,), optional
        Further columns, such as the expected counts of a fit.

    Raises
    ------
    InputError
        If a column has another length.
    """
    counts, edges, _ = as_counts(spectrum)
    extra = {name: np.asarray(values) for name, values in (columns or {}).items()}
    wrong = [name for name, values in extra.items() if values.shape != counts.shape]
    if wrong:
        msg = f"write_csv got columns {wrong} whose length differs from the {len(counts)} bins"
        raise InputError(msg)
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["low", "high", "count", *extra])
        table = zip(
            edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), *(v.tolist() for v in extra.values()), strict=True
        )
        writer.writerows(table)


def write_root(path: str | os.PathLike[str], histograms: Mapping[str, Spectrum]) -> None:
    """Write spectra as ROOT histograms (TH1D), whole or not at all.

    Parameters
    ----------
    path : path
    histograms : mapping of str to Spectrum
        Names in the file; "folder/name" makes folders.
    """
    contents: dict[str, Any] = {}
    for name, spectrum in histograms.items():
        counts, edges, _ = as_counts(spectrum)
        contents[name] = spectrum if isinstance(spectrum, hist.Hist) else (counts, edges)
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        for name, content in contents.items():
            file[name] = content
