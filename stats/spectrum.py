"""Spectra: counts in mass bins, as `hist.Hist` or as (counts, edges)."""

from __future__ import annotations

from typing import Any, TypeAlias

import hist
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError

__all__ = ("Spectrum", "as_counts", "make_spectrum", "poisson_counts", "require_events")

FloatArray = npt.NDArray[np.float64]
Spectrum: TypeAlias = Any
"""A one-dimensional histogram with the UHI interface (`hist.Hist`, an uproot TH1, ...) or a pair (counts, edges)."""


def as_counts(
    spectrum: Spectrum, edges: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Counts, edges and variances of a spectrum, checked.

    Parameters
    ----------
    spectrum : hist.Hist, any one-dimensional UHI histogram, (counts, edges) pair, or counts
        Underflow and overflow are left out.
    edges : array_like of shape (bins + 1,), optional
        Edges (GeV) where `spectrum` is bare counts.

    Returns
    -------
    counts : ndarray of shape (bins,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    variances : ndarray of shape (bins,) or None
        Sums of squared weights where the histogram keeps them.

    Raises
    ------
    InputError
        If shapes disagree, edges do not increase, or counts are negative or not finite.

    Examples
    --------
    >>> counts, edges, variances = as_counts(([3, 1], [1000, 1100, 1250]))
    >>> counts.tolist(), edges.tolist(), variances is None
    ([3.0, 1.0], [1000.0, 1100.0, 1250.0], True)
    """
    values, bounds, variances = _parts(spectrum, edges)
    if values.ndim != 1 or bounds.shape != (len(values) + 1,) or not len(values):
        msg = f"spectrum got {values.shape} counts and {bounds.shape} edges, expected (bins,) and (bins + 1,), bins > 0"
        raise InputError(msg)
    if not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        msg = f"spectrum got edges from {bounds[0]:.6g} to {bounds[-1]:.6g} that do not increase strictly"
        raise InputError(msg)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        msg = (
            f"spectrum got {bad.sum()} negative or non-finite counts (first: bin {bad.argmax()}), expected counts >= 0"
        )
        raise InputError(msg)
    return values, bounds, variances


def _parts(spectrum: Spectrum, edges: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    if hasattr(spectrum, "axes") and hasattr(spectrum, "values"):
        if len(spectrum.axes) != 1:
            msg = f"spectrum got a histogram of {len(spectrum.axes)} axes, expected one: project it on the mass first"
            raise InputError(msg)
        axis = spectrum.axes[0]
        bounds = axis.edges if isinstance(axis.edges, np.ndarray) else axis.edges()
        variances = spectrum.variances()
        return (
            np.array(spectrum.values(), dtype=np.float64),
            np.array(bounds, dtype=np.float64),
            None if variances is None else np.array(variances, dtype=np.float64),
        )
    try:
        if edges is None:
            spectrum, edges = spectrum
        return np.array(spectrum, dtype=np.float64), np.array(edges, dtype=np.float64), None
    except (TypeError, ValueError) as error:
        msg = f"spectrum got {type(spectrum).__name__}, expected a hist.Hist or a pair (counts, edges)"
        raise InputError(msg) from error


def poisson_counts(spectrum: Spectrum) -> tuple[FloatArray, FloatArray]:
    """Counts and edges of a spectrum that Poisson statistics describe.

    Raises
    ------
    InputError
        If the histogram was filled with weights (its variances differ from its counts): a likelihood of counts would
        give wrong errors for it.
    """
    counts, edges, variances = as_counts(spectrum)
    if variances is not None and not np.allclose(variances, counts, rtol=1e-6, atol=1e-9):
        scale = float(variances.sum() / max(counts.sum(), 1e-300))
        msg = (
            f"spectrum got weighted entries (variance / count = {scale:.4g} on average), expected counts: "
            "fit unweighted events, or pass (counts, edges) of an Asimov spectrum scaled to the luminosity that it stands for"
        )
        raise InputError(msg)
    return counts, edges


def require_events(counts: npt.ArrayLike, name: str) -> None:
    """Raise InputError if nothing is seen: errors of a signal, and all in units of them, are then no numbers.

    Parameters
    ----------
    counts : array_like
        In the fitted bins.
    name : str
        Of the caller.
    """
    if not np.sum(counts) > 0:
        msg = f"{name} got no events in the fitted range, expected some: widen the range, or set an upper limit"
        raise InputError(msg)


def make_spectrum(mass: npt.ArrayLike, edges: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> hist.Hist:
    """Histogram of the masses, `hist.Hist` with axis "mass" (label in GeV).

    Parameters
    ----------
    mass : array_like of shape (events,)
        GeV; events outside the edges go to underflow and overflow.
    edges : array_like of shape (bins + 1,)
    weight : array_like of shape (events,), optional
        With weights the histogram keeps the sums of squared weights.

    Raises
    ------
    InputError
        If a mass is not finite or shapes disagree.

    Examples
    --------
    >>> make_spectrum([1010.0, 1020.0, 1300.0], [1000.0, 1100.0, 1250.0]).values().tolist()
    [2.0, 0.0]
    """
    values = np.asarray(mass, dtype=np.float64).ravel()
    bounds = as_counts((np.zeros(max(np.size(edges) - 1, 0)), edges))[1]
    if not np.isfinite(values).all():
        msg = (
            f"make_spectrum got {int((~np.isfinite(values)).sum())} non-finite masses of {values.size}: drop them first"
        )
        raise InputError(msg)
    axis = hist.axis.Variable(bounds, name="mass", label="Mass [GeV]")
    if weight is None:
        return hist.Hist(axis, storage=hist.storage.Double()).fill(values)
    weights = np.asarray(weight, dtype=np.float64).ravel()
    if weights.shape != values.shape or not np.isfinite(weights).all():
        msg = f"make_spectrum got {weights.size} weights for {values.size} masses, expected one finite weight each"
        raise InputError(msg)
    return hist.Hist(axis, storage=hist.storage.Weight()).fill(values, weight=weights)
