"""p-value scan over windows, methods and cuts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from resonaut.errors import ConfigError, InputError, ResonautError
from resonaut.stats.excesses.significance import LocalPValues, local_p_values
from resonaut.stats.functions import DEFAULT_SQRTS, available_functions, background_function
from resonaut.stats.records import brief
from resonaut.stats.spectrum import Spectrum, poisson_counts
from resonaut.stats.windows import Window

__all__ = ("ScanEntry", "ScanInput", "ScanResult", "scan", "scan_windows")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ScanInput:
    """One spectrum to look at in one window.

    Attributes
    ----------
    window : Window
    method : str
        Name of the scorer that selected the events, or "none".
    cut : float
        Fraction of events kept, 1 for all.
    spectrum : Spectrum
    """

    window: Window
    method: str
    cut: float
    spectrum: Spectrum

    __repr__ = brief


@dataclass(frozen=True)
class ScanEntry:
    """Excess of one window after one cut; NaN and a status "failed: reason" where there is none.

    Attributes
    ----------
    low, high : float
        Signal region (GeV).
    method : str
    cut : float
        Fraction of events kept.
    observed, expected, expected_error : float
        Events in the signal region, background prediction and its standard deviation.
    local_p, local_significance : float
        One-sided p-value of an excess and its signed significance.
    status : str
        Of the sideband fit: "converged", "at limit" or "failed: reason".
    function : str
        Background function of the fit.
    """

    low: float
    high: float
    method: str
    cut: float
    observed: float
    expected: float
    expected_error: float
    local_p: float
    local_significance: float
    status: str
    function: str

    __repr__ = brief

    @property
    def ok(self) -> bool:
        """Whether there is a p-value."""
        return not self.status.startswith("failed")


@dataclass(frozen=True)
class ScanResult:
    """All entries of a scan, in the order of the inputs."""

    entries: tuple[ScanEntry, ...]

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def best(self) -> ScanEntry | None:
        """Most significant excess; None if no entry has a p-value."""
        usable = [entry for entry in self.entries if entry.ok]
        return max(usable, key=lambda entry: entry.local_significance, default=None)

    @property
    def n_failed(self) -> int:
        """Entries without a p-value."""
        return sum(not entry.ok for entry in self.entries)

    def select(self, *, method: str | None = None, cut: float | None = None) -> ScanResult:
        """Entries of one method and/or one cut."""
        return ScanResult(
            tuple(
                entry
                for entry in self.entries
                if (method is None or entry.method == method) and (cut is None or entry.cut == cut)
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {"entries": [asdict(entry) for entry in self.entries]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ScanResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If an entry lacks a key or has an unknown one.
        """
        names = [field.name for field in fields(ScanEntry)]
        try:
            return cls(tuple(ScanEntry(**entry) for entry in content["entries"]))
        except (KeyError, TypeError) as error:
            msg = f"scan result could not be read ({error}), expected 'entries' with the keys {names}"
            raise InputError(msg) from error


def scan(
    inputs: Iterable[ScanInput],
    *,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """Local p-value of every input; what cannot be fitted becomes an entry that says why.

    Parameters
    ----------
    inputs : iterable of ScanInput
    function : str
        Name of a background function, or "auto" (chosen for each spectrum on its sidebands).
    sqrts : float
        GeV.
    fit_range : (low, high), optional
        GeV.
    progress : callable, optional
        Called with (done, total) after each window.

    Raises
    ------
    ConfigError
        If the function is not known; nothing else stops a scan.
    """
    if function not in (*available_functions(), "auto"):
        background_function(function)  # raises, naming the nearest
    todo = list(inputs)
    entries: list[ScanEntry | None] = [None] * len(todo)
    done = 0
    for rows in _batches(todo, entries):
        group = [todo[row] for row in rows]
        counts = np.stack([poisson_counts(item.spectrum)[0] for item in group])
        edges = poisson_counts(group[0].spectrum)[1]
        try:
            found = local_p_values(counts, edges, group[0].window, function=function, sqrts=sqrts, fit_range=fit_range)
        except ConfigError:
            raise
        except ResonautError as error:
            for row, item in zip(rows, group, strict=True):
                entries[row] = _failed(item, str(error), function)
        else:
            for k, (row, item) in enumerate(zip(rows, group, strict=True)):
                entries[row] = _entry(item, found, k)
        done += len(rows)
        if progress is not None:
            progress(done, len(todo))
    result = ScanResult(tuple(entry for entry in entries if entry is not None))
    if result.n_failed:
        logger.warning("scan: %d of %d entries have no p-value", result.n_failed, len(result))
    return result


def _batches(todo: Sequence[ScanInput], entries: list[ScanEntry | None]) -> list[list[int]]:
    """Rows that share window and binning, fitted together; unusable spectra are entered as failed."""
    groups: dict[tuple[Window, bytes], list[int]] = {}
    for row, item in enumerate(todo):
        try:
            edges = poisson_counts(item.spectrum)[1]
        except ResonautError as error:
            entries[row] = _failed(item, str(error), "")
            continue
        groups.setdefault((item.window, edges.tobytes()), []).append(row)
    return list(groups.values())


def _entry(item: ScanInput, found: LocalPValues, k: int) -> ScanEntry:
    return ScanEntry(
        low=item.window.low,
        high=item.window.high,
        method=item.method,
        cut=item.cut,
        observed=float(found.observed[k]),
        expected=float(found.expected[k]),
        expected_error=float(found.expected_error[k]),
        local_p=float(found.local_p[k]),
        local_significance=float(found.local_significance[k]),
        status=found.status[k],
        function=found.function[k],
    )


def _failed(item: ScanInput, reason: str, function: str) -> ScanEntry:
    nan = float("nan")
    where = (item.window.low, item.window.high, item.method, item.cut)
    return ScanEntry(*where, nan, nan, nan, nan, nan, f"failed: {reason}", function)


def scan_windows(
    spectrum: Spectrum,
    windows: Iterable[Window],
    *,
    method: str = "none",
    cut: float = 1.0,
    function: str = "dijet4",
    sqrts: float = DEFAULT_SQRTS,
    fit_range: tuple[float, float] | None = None,
) -> ScanResult:
    """Local p-value of one spectrum in each window.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import log_edges, sliding_windows
    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> counts = np.floor(5000.0 * np.exp(-0.2 * np.arange(30)))
    >>> counts[9:13] += [40, 90, 90, 40]
    >>> result = scan_windows((counts, edges), sliding_windows(edges), function="dijet3")
    >>> len(result), round(result.best.low), round(result.best.high)
    (21, 3371, 3661)
    """
    inputs = [ScanInput(window, method, cut, spectrum) for window in windows]
    return scan(inputs, function=function, sqrts=sqrts, fit_range=fit_range)
