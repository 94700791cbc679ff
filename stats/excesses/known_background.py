"""A background that is taken as known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.fits.fit import FitResult, require_fit
from resonaut.stats.spectrum import Spectrum

__all__ = ("given_background",)

FloatArray = npt.NDArray[np.float64]


def given_background(background: npt.ArrayLike | Spectrum | FitResult, edges: FloatArray) -> FloatArray:
    """Expected counts in the bins of the spectrum, checked.

    Parameters
    ----------
    background : array_like of shape (bins,), Spectrum or FitResult
    edges : ndarray of shape (bins + 1,)
        Of the spectrum (GeV).

    Raises
    ------
    InputError
        If the bins differ, or a count is negative or not finite.
    FitError
        If the fit failed.
    """
    source: Any = background
    bounds: Any = None
    if isinstance(source, FitResult):
        source, bounds = require_fit(source).expected, source.edges
    elif hasattr(source, "axes") and hasattr(source, "values"):
        axis = source.axes[0]
        source, bounds = source.values(), axis.edges if isinstance(axis.edges, np.ndarray) else axis.edges()
    elif isinstance(source, tuple) and len(source) == 2 and np.ndim(source[0]) == 1:
        source, bounds = source
    try:
        expected = np.asarray(source, dtype=np.float64)
        limits = edges if bounds is None else np.asarray(bounds, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"bump_hunter got a background of type {type(background).__name__}, expected counts, (counts, edges), a histogram or a fit"
        raise InputError(msg) from error
    if expected.shape != (len(edges) - 1,) or limits.shape != edges.shape or not np.allclose(limits, edges, rtol=1e-9):
        wrong = (
            f"shape {expected.shape}" if bounds is None else f"{expected.size} bins with other edges than the spectrum"
        )
        msg = f"bump_hunter got a background of {wrong}, expected {len(edges) - 1} finite counts >= 0, one for each bin"
        raise InputError(msg)
    bad = ~(np.isfinite(expected) & (expected >= 0))
    if bad.any():
        first = int(bad.argmax())
        msg = f"bump_hunter got {bad.sum()} negative or non-finite background counts (first: {expected[first]:g} in bin {first}), expected {len(expected)} finite counts >= 0"
        raise InputError(msg)
    return expected
