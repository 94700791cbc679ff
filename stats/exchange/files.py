"""Spectra from files (ROOT, text tables, HEPData, pyhf) and to files (ROOT, CSV)."""

from __future__ import annotations

import csv
import fnmatch
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name
from resonaut.files import atomic_path, read_json
from resonaut.stats.exchange.hepdata import binned_table, find_table, read_hepdata
from resonaut.stats.exchange.tables import bin_edges, count_spectrum, read_text_table
from resonaut.stats.fits.fit import FitResult
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = ("read_spectrum", "write_csv", "write_root")


def read_spectrum(
    source: str | os.PathLike[str],
    *,
    per_width: bool = False,
    scale: float = 1.0,
    fractional: bool = False,
    edges: npt.ArrayLike | None = None,
) -> hist.Hist:
    """Read a spectrum of counts from ROOT, a text table, HEPData or a pyhf workspace.

    Parameters
    ----------
    source : str or path
        - ``"file.root:folder/mjj"``: a one-dimensional ROOT histogram.
        - ``"table.csv"`` or ``"table.csv:column"`` (.csv, .txt, .dat, .tsv): the columns low, high, count in GeV, separated by
          commas, semicolons, tabs or spaces; without a column the first one after the edges. Header and comment lines are
          allowed. Columns go by name or by number from 1, the edges not counted.
        - ``"table.yaml"`` (or .json), ``"submission.yaml:table"``, ``"submission.yaml:table:column"``, or the folder of a submission:
          HEPData. Tables and columns go by name or number; with no column, the observed events are found or asked for.
        - ``"workspace.json:channel"``: the observed events of a channel of a pyhf workspace; a pattern such as ``bin*`` joins
          channels. Needs `edges`.
    per_width : bool
        Whether a table's values are per GeV; each is multiplied by the width of its bin.
    scale : float
        Factor from a table's values to events: 139e3 for pb and 139/fb, 139 for pb/TeV (with `per_width`).
    fractional : bool
        Whether fractions of events are taken, as in an expectation; observed counts are whole.
    edges : array_like of shape (bins + 1,), optional
        GeV; for pyhf workspaces, which hold no edges.

    Returns
    -------
    hist.Hist
        Axis "mass"; with variances where the ROOT histogram keeps sums of squared weights.

    Raises
    ------
    InputError
        If the file, table, column or histogram is missing, damaged or not a spectrum of events: gaps, edges out of order,
        NaN, negative or fractional counts. The message holds the nearest names.

    Examples
    --------
    >>> spectrum = read_spectrum("tests/stats/data/atlas_37ifb_mjj.csv")
    >>> int(spectrum.sum()), float(spectrum.axes[0].edges[0])
    (7533435, 1100.0)
    """
    path, kind, selector = _split_source(os.fspath(source))
    if kind == "json" and not _is_hepdata(path):
        return _read_pyhf(path, selector, edges)
    if kind == "root":
        return _read_root(path, selector, fractional=fractional)
    if kind in _TEXT:
        table, column = read_text_table(_existing(path)), selector or None
    else:
        found, column = find_table(read_hepdata(path), selector, str(path))
        table = binned_table(found, str(path))
    name = table.pick(column)
    where = f"{table.source}:{name}"
    unit = table.units.get(name, "")
    return count_spectrum(
        table.values(name), table.edges, where, per_width=per_width, scale=scale, fractional=fractional, unit=unit
    )


_TEXT = ("csv", "txt", "dat", "tsv")
_SOURCE = re.compile(
    r"^(?P<path>.*?\.(?P<kind>root|csv|txt|dat|tsv|ya?ml|json))(?::(?P<rest>.*))?$", re.IGNORECASE | re.DOTALL
)


def _split_source(text: str) -> tuple[Path, str, str]:
    """Path, kind of file, and what follows the colon."""
    path, colon, name = text.rpartition(":")
    folder, _, table = text.partition(":")
    if match := _SOURCE.match(text):
        kind = match["kind"].lower().replace("yml", "yaml")
        return Path(match["path"]), kind, match["rest"] or ""
    if Path(folder, "submission.yaml").is_file():
        return Path(folder, "submission.yaml"), "yaml", table
    if not colon or not path or not name:
        msg = f"spectrum source got {text!r}, expected 'file.root:histogram', 'table.csv', 'table.yaml' (HEPData) or 'workspace.json:channel'"
        raise InputError(msg)
    return Path(path), "root", name


def sibling_source(source: str, other: str) -> str:
    """What `other` means beside the spectrum `source`: a source of its own, or a column or histogram of the same file.

    Examples
    --------
    >>> sibling_source("data/mjj.csv:obs", "fit"), sibling_source("data/mjj.csv", "data/fit.root:mjj")
    ('data/mjj.csv:fit', 'data/fit.root:mjj')
    """
    if _SOURCE.match(other) or ":" in other:
        return other
    path, kind, selector = _split_source(source)
    if kind == "yaml":
        table, _ = find_table(read_hepdata(path), selector, str(path))
        return f"{path}:{table.name}:{other}"
    return f"{path}:{other}"


def _histogram_names(file: Any) -> list[str]:
    names = file.classnames(cycle=False)
    return sorted(name for name, kind in names.items() if kind.startswith("TH1"))


def _existing(path: Path) -> Path:
    if not path.is_file():
        msg = f"file not found: {path}"
        raise InputError(msg)
    return path


def _is_hepdata(path: Path) -> bool:
    """HEPData takes data files as JSON too."""
    content = read_json(_existing(path))
    return isinstance(content, dict) and "independent_variables" in content


def _read_pyhf(path: Path, pattern: str, edges: npt.ArrayLike | None) -> hist.Hist:
    """Observed counts of the channels that a pattern matches, joined in their order."""
    content = read_json(_existing(path))
    try:
        observed = {str(entry["name"]): [float(n) for n in entry["data"]] for entry in content["observations"]}
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not a pyhf workspace ({type(error).__name__}: {error}), expected 'observations' with name and data"
        raise InputError(msg) from error
    chosen = [pattern] if pattern in observed else fnmatch.filter(observed, pattern)
    if not chosen:
        raise InputError(f"{path}: " + unknown_name("channel", pattern, observed))
    counts = np.array([n for name in chosen for n in observed[name]])
    if edges is None:
        msg = f"{path} holds {len(counts)} bins without their edges: pass edges= with {len(counts) + 1} values in GeV"
        raise InputError(msg)
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.shape != (len(counts) + 1,):
        msg = f"{path}:{pattern} has {len(counts)} bins, got {bounds.size} edges, expected {len(counts) + 1}"
        raise InputError(msg)
    return count_spectrum(counts, bin_edges(bounds[:-1], bounds[1:], str(path)), f"{path}:{pattern}")


def _read_root(path: Path, name: str, *, fractional: bool) -> hist.Hist:
    _existing(path)
    import uproot  # with awkward behind it, it takes longer than reading a table

    try:
        with uproot.open(path) as file:
            missing = file.file.fEND - path.stat().st_size
            if missing > 0:
                msg = f"{path} is truncated: {missing} bytes are missing at its end; fetch it again"
                raise InputError(msg)
            if not name:
                msg = f"{path} needs the name of a histogram ({path}:NAME): {', '.join(_histogram_names(file)) or 'it has none'}"
                raise InputError(msg)
            if name.partition(";")[0] not in file.keys(cycle=False):
                raise InputError(f"{path}: " + unknown_name("histogram", name, _histogram_names(file)))
            found = file[name]
            if not hasattr(found, "to_hist"):
                msg = f"{path}:{name} is a {type(found).__name__}, expected a one-dimensional histogram"
                raise InputError(msg)
            return _as_mass_hist(found, f"{path}:{name}", fractional=fractional)
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds for damaged files; all mean the same here
        msg = f"{path}:{name} could not be read as a ROOT histogram ({type(error).__name__}: {str(error)[:200]})"
        raise InputError(msg) from error


def _as_mass_hist(found: Any, source: str, *, fractional: bool) -> hist.Hist:
    counts, edges, variances = as_counts(found)
    if variances is None or np.array_equal(variances, counts):
        return count_spectrum(counts, edges, source, fractional=fractional)
    axis = hist.axis.Variable(edges, name="mass", label="Mass [GeV]")
    result = hist.Hist(axis, storage=hist.storage.Weight())
    result.view()["value"], result.view()["variance"] = counts, variances
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


def write_root(path: str | os.PathLike[str], histograms: Mapping[str, Spectrum | FitResult]) -> None:
    """Write spectra and fits as ROOT histograms (TH1D), whole or not at all.

    Parameters
    ----------
    path : path
    histograms : mapping of str to Spectrum or FitResult
        Names in the file; "folder/name" makes folders. A fit becomes a folder with "observed", "expected" (its bin
        errors are those of the fit), "expected_up" and "expected_down" (one standard deviation).
    """
    import uproot

    contents: dict[str, Any] = {}
    for name, content in histograms.items():
        if isinstance(content, FitResult):
            contents |= {f"{name}/{part}": spectrum for part, spectrum in _fit_histograms(content).items()}
        else:
            counts, edges, _ = as_counts(content)
            contents[name] = content if isinstance(content, hist.Hist) else (counts, edges)
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        for name, content in contents.items():
            file[name] = content


def _fit_histograms(fit: FitResult) -> dict[str, Spectrum]:
    axis = hist.axis.Variable(fit.edges, name="mass", label="Mass [GeV]")
    expected = hist.Hist(axis, storage=hist.storage.Weight())
    expected.view()["value"], expected.view()["variance"] = fit.expected, fit.expected_error**2
    return {
        "observed": (fit.counts, fit.edges),
        "expected": expected,
        "expected_up": (fit.expected + fit.expected_error, fit.edges),
        "expected_down": (np.maximum(fit.expected - fit.expected_error, 0.0), fit.edges),
    }
