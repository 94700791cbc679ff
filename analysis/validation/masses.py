"""Masses of background alone for events whose features stay: where pseudo-experiments come from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.analysis.spectra import FitOptions
from resonaut.stats import fit_background

__all__ = ("drawn_masses", "permuted_masses", "resampled_masses")

Floats = npt.NDArray[np.float64]
_DIGITS = 6  # of a float32, in which most features are kept


def drawn_masses(expected: Floats, edges: Floats, number: int, generator: np.random.Generator) -> Floats:
    """(number,) masses from expected events in bins (bins,), smooth inside of the bins: the logarithm of the density is linear in ln m.

    The slope in a bin is that between its neighbours, so that the density has steps far below the statistical error of a bin.
    """
    x = np.log(edges)
    density = np.log(np.maximum(expected / np.diff(x), 1e-300))
    slope = np.gradient(density, 0.5 * (x[1:] + x[:-1]))
    bins = generator.choice(len(expected), number, p=expected / expected.sum())
    width = np.diff(x)[bins]
    k = slope[bins] * width
    u = generator.random(number)
    small = np.abs(k) < 1e-9
    part = np.where(small, u, np.log1p(u * np.expm1(np.where(small, 1.0, k))) / np.where(small, 1.0, k))
    return np.asarray(np.exp(x[bins] + part * width))


def resampled_masses(
    mass: Floats, edges: Floats, reach: float, options: FitOptions, generator: np.random.Generator
) -> Floats:
    """New masses (n,) for the same events, from the fit of their own spectrum.

    Each event moves by up to `reach` in ln m: what its features have to do with the mass over larger distances stays, and what is narrower,
    a resonance for one, goes. No event is used twice, as a copy in another fold would be known to it.

    Parameters
    ----------
    mass
        (n,) GeV; those outside of the edges keep theirs.
    edges
        Of the spectrum that is fitted, GeV.
    reach
        Half width of the move, in ln m.
    options
        Of the fit.
    generator
        Of random numbers.
    """
    inside = (mass >= edges[0]) & (mass < edges[-1])
    counts = np.histogram(mass[inside], edges)[0].astype(np.float64)
    fit = fit_background((counts, edges), **options._replace(fit_range=None)._asdict(), errors="fisher")
    expected = fit.expected if fit.ok else counts
    new = np.sort(drawn_masses(expected, edges, int(counts.sum()), generator))
    moved = np.log(mass[inside]) + generator.uniform(-reach, reach, len(new))
    found = mass.copy()
    place = np.empty(len(new), dtype=np.int64)
    place[np.argsort(moved)] = np.arange(len(new))
    found[inside] = np.clip(new[place], edges[0], np.nextafter(edges[-1], 0))
    return found


def twin_groups(columns: Floats) -> npt.NDArray[np.int64]:
    """(n,) number of the group of events that agree in all columns (n, columns), to the digits of single precision."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(columns != 0, np.floor(np.log10(np.abs(columns))), 0.0)
    unit = 10.0 ** (size - _DIGITS + 1)
    rounded = np.where(np.isfinite(columns), np.round(columns / unit) * unit, 1e300)
    _, group = np.unique(rounded, axis=0, return_inverse=True)
    return np.asarray(group.reshape(-1), dtype=np.int64)


def permuted_masses(mass: Floats, columns: Floats, generator: np.random.Generator) -> Floats:
    """The masses (n,) dealt out anew, so that features tell nothing of them; copies of an event, same features and mass, stay together.

    Parameters
    ----------
    mass
        (n,) GeV.
    columns
        (n, features).
    generator
        Of random numbers.
    """
    group = twin_groups(np.column_stack([columns, mass]))
    first = np.full(group.max() + 1, -1, dtype=np.int64)
    first[group[::-1]] = np.arange(len(mass))[::-1]
    return np.asarray(mass[generator.permutation(first)][group])
