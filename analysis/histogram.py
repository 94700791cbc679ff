"""Histograms that somebody else made, for the commands of `resonaut.analysis.commands`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.progress import counting
from resonaut.errors import InputError
from resonaut.files import atomic_path
from resonaut.stats import (
    LimitResult,
    as_counts,
    draw_toys,
    fit_background,
    gaussian_template,
    limit_scan,
    read_spectrum,
    write_root,
)
from resonaut.stats.exchange.files import sibling_source
from resonaut.stats.spectrum import poisson_counts

__all__ = ("limits_of_histogram", "read_background", "read_range", "scan_masses", "write_toys")

Floats = npt.NDArray[np.float64]
Histogram = tuple[Floats, Floats]

MIN_BINS = 6  # two more than the default function has parameters


def read_range(
    spectrum: str, low: float | None = None, high: float | None = None, *, per_width: bool = False, scale: float = 1.0
) -> Histogram:
    """Counts and edges of the bins of a stored histogram that lie between `low` and `high` (GeV).

    Raises
    ------
    InputError
        If fewer than six bins do, or they are empty.
    """
    counts, edges = poisson_counts(read_spectrum(spectrum, per_width=per_width, scale=scale))
    slack = 1e-9 * edges[-1]  # an edge that was printed and read again is the same edge
    first = 0 if low is None else int(np.searchsorted(edges, low - slack))
    last = len(edges) - 1 if high is None else int(np.searchsorted(edges, high + slack, side="right")) - 1
    if low is not None and high is not None and low >= high:
        msg = f"the range starts at {low:g} GeV and ends at {high:g} GeV, expected low < high"
        raise InputError(msg)
    if last - first < MIN_BINS:
        wanted = (("from", low), ("to", high))
        where = "".join(f" {word} {bound:g} GeV" for word, bound in wanted if bound is not None)
        spans = f"{len(edges) - 1} bins from {edges[0]:g} to {edges[-1]:g} GeV"
        msg = f"a fit needs at least {MIN_BINS} bins, got {max(last - first, 0)}{where}: {spectrum} has {spans}"
        raise InputError(msg)
    counts, edges = counts[first:last], edges[first : last + 1]
    if not counts.any():
        msg = f"{spectrum} has no events between {edges[0]:g} and {edges[-1]:g} GeV"
        raise InputError(msg)
    return counts, edges


def read_background(
    spectrum: str, background: str, edges: Floats, *, per_width: bool = False, scale: float = 1.0
) -> Floats:
    """Expected counts in the bins between `edges`: a column of the table of `spectrum`, or a source of its own.

    `per_width` and `scale` make events of its values, as of those of the spectrum.

    Raises
    ------
    InputError
        If there is no such column or file, or its bins differ.
    """
    source = sibling_source(spectrum, background)
    values, bounds, _ = as_counts(read_spectrum(source, per_width=per_width, scale=scale, fractional=True))
    first = int(np.searchsorted(bounds, edges[0] - 1e-6 * edges[0]))
    inside = bounds[first : first + len(edges)]
    if inside.shape != edges.shape or not np.allclose(inside, edges, rtol=1e-6):
        msg = f"background {background} has other bins than {spectrum}: {len(bounds) - 1} from {bounds[0]:g} to {bounds[-1]:g} GeV"
        raise InputError(msg)
    return values[first : first + len(edges) - 1]


def scan_masses(edges: Floats, masses: Sequence[float], width: float) -> Floats:
    """Masses of a scan: the given ones, each once, or half a width apart over the range, without its ends.

    Raises
    ------
    InputError
        If a mass lies outside of the histogram.
    """
    if outside := [m for m in masses if not edges[0] < m < edges[-1]]:
        msg = f"masses {outside} lie outside of the fitted range {edges[0]:g} to {edges[-1]:g} GeV"
        raise InputError(msg)
    if masses:
        return np.array(sorted(set(masses)))
    low, high = edges[0] * (1 + 2 * width), edges[-1] / (1 + 2 * width)
    if not low < high:
        msg = f"resonances {100 * width:g} % wide do not fit into {edges[0]:g} to {edges[-1]:g} GeV, expected a smaller --width or --mass"
        raise InputError(msg)
    points = int(np.clip(np.ceil(np.log(high / low) / np.log1p(width / 2)), 2, 300))
    return np.geomspace(low, high, points)


def _round_masses(low: float, high: float, points: int) -> list[float]:
    """About equal ratios from `low` to `high`, in round numbers."""
    masses = np.geomspace(low, high, points)
    room = np.diff(masses).min() / 2  # rounding moves a mass by less than a quarter of a gap
    power = 10.0 ** np.floor(np.log10(room))
    step = power * max(k for k in (1, 2, 5) if k * power <= room)
    return sorted({float(np.rint(mass / step) * step) for mass in masses})


def limits_of_histogram(
    histogram: Histogram, masses: Sequence[float], *, width: float, uncertainty: float, **options: Any
) -> tuple[LimitResult, ...]:
    """Upper limits on Gaussian resonances of relative `width` at `masses` (GeV), by default twelve over the range.

    Raises
    ------
    InputError
        If a mass lies outside of the histogram.
    """
    edges = histogram[1]
    masses = masses or _round_masses(edges[0] * 1.1, edges[-1] / 1.1, 12)
    masses = scan_masses(edges, masses, width).tolist()
    with counting("upper limits", len(masses)) as progress:
        return limit_scan(
            histogram,
            masses,
            lambda mass, bins: gaussian_template(mass, width * mass, bins),
            signal_uncertainty=uncertainty,
            name=f"Gaussian, {100 * width:g} % wide",
            progress=progress,
            **options,
        )


def write_toys(path: Path, histogram: Histogram, toys: int, *, function: str, sqrts: float, seed: int) -> None:
    """Write the toys of `resonaut.stats.studies.toy_study`: .npz (counts, edges, expected), .root (a TH1D each) or .csv (a column each).

    Raises
    ------
    InputError
        If the name ends otherwise.
    """
    fit = fit_background(histogram, function=function, sqrts=sqrts)
    counts = np.concatenate(list(draw_toys(fit, toys, seed=seed)))
    names = [f"toy_{k:0{len(str(toys - 1))}d}" for k in range(toys)]
    if path.suffix == ".npz":
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, counts=counts.astype(np.int64), edges=fit.edges, expected=fit.expected)
    elif path.suffix == ".root":
        write_root(path, {"fit": fit, **{name: (row, fit.edges) for name, row in zip(names, counts, strict=True)}})
    elif path.suffix == ".csv":
        table = np.column_stack([fit.edges[:-1], fit.edges[1:], counts.T])
        with atomic_path(path) as temporary:
            header = ",".join(["low", "high", *names])
            np.savetxt(
                temporary, table, delimiter=",", header=header, comments="", fmt=["%.17g", "%.17g", *["%d"] * toys]
            )
    else:
        msg = f"toys got the file name {path.name!r}, expected one that ends in .npz, .root or .csv"
        raise InputError(msg)
