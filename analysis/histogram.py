"""The statistics alone, on a histogram that somebody else made: behind `resonaut scan` and `resonaut limit`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.analysis.progress import progress_bar
from resonaut.errors import InputError
from resonaut.stats import (
    LimitResult,
    ScanResult,
    gaussian_template,
    limit_scan,
    read_spectrum,
    scan_windows,
    sliding_windows,
)
from resonaut.stats.spectrum import poisson_counts

__all__ = ("limits_of_histogram", "read_range", "scan_histogram")

Histogram = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def read_range(spectrum: str, low: float | None = None, high: float | None = None) -> Histogram:
    """Counts and edges of the bins of a stored histogram that lie between `low` and `high` (GeV).

    Raises
    ------
    InputError
        If fewer than six bins do.
    """
    counts, edges = poisson_counts(read_spectrum(spectrum))
    first = 0 if low is None else int(np.searchsorted(edges, low))
    last = len(edges) - 1 if high is None else int(np.searchsorted(edges, high, side="right")) - 1
    if last - first < 6:
        where = f"between {low} and {high} GeV; {spectrum} spans {edges[0]:g} to {edges[-1]:g} GeV"
        msg = f"a fit needs at least 6 bins, got {max(last - first, 0)} {where}"
        raise InputError(msg)
    return counts[first:last], edges[first : last + 1]


def scan_histogram(histogram: Histogram, *, function: str, sqrts: float, sr_bins: int, sb_bins: int) -> ScanResult:
    """Local p-values of all signal regions of `sr_bins` bins with `sb_bins` or more bins on either side."""
    windows = sliding_windows(histogram[1], sr_bins=sr_bins, sb_bins=sb_bins, step=1)
    return scan_windows(histogram, windows, function=function, sqrts=sqrts)


def limits_of_histogram(
    histogram: Histogram, masses: Sequence[float], *, width: float, uncertainty: float, function: str, sqrts: float
) -> tuple[LimitResult, ...]:
    """Upper limits on Gaussian resonances of relative `width` at `masses` (GeV), by default twelve over the range.

    Raises
    ------
    InputError
        If a mass lies outside of the histogram.
    """
    edges = histogram[1]
    masses = list(masses) or [float(m) for m in np.geomspace(edges[0] * 1.1, edges[-1] / 1.1, 12)]
    if outside := [m for m in masses if not edges[0] < m < edges[-1]]:
        msg = f"masses {outside} lie outside of the fitted range {edges[0]:g} to {edges[-1]:g} GeV"
        raise InputError(msg)
    with progress_bar("upper limits", len(masses)) as advance:
        return limit_scan(
            histogram,
            masses,
            lambda mass, bins: gaussian_template(mass, width * mass, bins),
            function=function,
            sqrts=sqrts,
            signal_uncertainty=uncertainty,
            name=f"Gaussian, {100 * width:g} % wide",
            progress=lambda _done, _total: advance(1),
        )
