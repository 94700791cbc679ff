"""Excess of one window in one spectrum, for functions that the batched engine cannot take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.stats.fits.fit import fit_counts
from resonaut.stats.regions import Region

__all__ = ("BothFits", "fit_both")

FloatArray = npt.NDArray[np.float64]


class BothFits(NamedTuple):
    """What the fits with a free signal and without one say about the signal region.

    Attributes
    ----------
    expected, error : float
        Events that the sidebands predict, and the standard deviation of that.
    q0 : float
        Deviance without signal less that with a free one.
    exposure : float
        tau of the equivalent on/off problem.
    status : str
        Of the sideband fit, or of the one without signal where that failed.
    """

    expected: float
    error: float
    q0: float
    exposure: float
    status: str


def fit_both(counts: FloatArray, edges: FloatArray, region: Region, *, function: str, sqrts: float) -> BothFits:
    r"""Fit the sidebands alone, and the sidebands with the signal region as one bin.

    Parameters
    ----------
    counts : ndarray of shape (bins,)
    edges : ndarray of shape (bins + 1,)
        GeV.
    region : Region
        Its blinded bins are neighbours: the signal region.
    function : str
    sqrts : float
        GeV.

    Notes
    -----
    For the exposure, the information of the sidebands is needed at the fit without signal. In parameters in which the covariance C of
    that fit is the unit matrix, :math:`I_{SB} = 1 - g g^T / b_0` with g the gradient of b0, so that (Sherman and Morrison) the sidebands
    know b0 to :math:`\sigma_0^2 = s^2 b_0 / (b_0 - s^2)`, where :math:`s^2 = g^T g` is its variance in that fit.
    """
    free = fit_counts(counts, edges, region, function=function, sqrts=sqrts)
    cells = np.flatnonzero(region.in_range)[[0, -1]] + [0, 1]
    inside = np.flatnonzero(region.blinded)
    first, last = int(inside[0]), int(inside[-1]) + 1
    merged = np.concatenate([counts[cells[0] : first], [counts[first:last].sum()], counts[last : cells[1]]])
    bounds = np.concatenate([edges[cells[0] : first + 1], edges[last : cells[1] + 1]])
    everywhere, cell = np.ones(len(merged), dtype=bool), np.arange(len(merged)) == first - cells[0]
    null = fit_counts(merged, bounds, Region(everywhere, ~everywhere, everywhere), function=function, sqrts=sqrts)
    if not (free.ok and null.ok):
        return BothFits(np.nan, np.nan, np.nan, np.nan, null.status if free.ok else free.status)
    expected, error = free.total(region.blinded)
    b0, s = null.total(cell)
    exposure = max(b0 - s**2, 0.0) / s**2 if s > 0 else 1.0
    return BothFits(expected, error, max(null.deviance - free.deviance, 0.0), exposure, free.status)
