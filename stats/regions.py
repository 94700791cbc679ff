"""Which bins a fit uses: the fit range, less the blinded signal region."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.windows import Window

__all__ = ("Region", "bins_overlapping", "fit_region")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ROUNDING = 1e-9  # relative: edges that were written and read again still align


class Region(NamedTuple):
    """Bins of a fit.

    Attributes
    ----------
    in_range : bool ndarray of shape (bins,)
        Bins inside the fit range.
    blinded : bool ndarray of shape (bins,)
        Bins of the signal region.
    fitted : bool ndarray of shape (bins,)
        In range and not blinded.
    """

    in_range: BoolArray
    blinded: BoolArray
    fitted: BoolArray

    def starts(self) -> npt.NDArray[np.int64]:
        """First bin of each cell, with the signal region as one cell."""
        follows = self.blinded[1:] & self.blinded[:-1]
        return np.flatnonzero(np.append(True, ~follows)).astype(np.int64)


def bins_overlapping(edges: npt.ArrayLike, low: float, high: float) -> BoolArray:
    """Mask of the bins of which any part lies in [low, high).

    Examples
    --------
    >>> bins_overlapping([1.0, 2.0, 3.0, 4.0], 2.0, 3.5).tolist()
    [False, True, True]
    """
    bounds = np.asarray(edges, dtype=np.float64)
    slack = ROUNDING * np.abs(bounds).max()
    return np.asarray((bounds[1:] > low + slack) & (bounds[:-1] < high - slack))


def fit_region(
    edges: npt.ArrayLike, window: Window | None = None, fit_range: tuple[float, float] | None = None
) -> Region:
    """Bins to fit, for a blinded window and a fit range.

    Parameters
    ----------
    edges : array_like of shape (bins + 1,)
        GeV.
    window : Window, optional
        Its signal region is blinded; a bin that it covers in part is blinded as a whole.
    fit_range : (low, high), optional
        GeV; only bins that lie inside it as a whole are used. The whole spectrum by default.

    Raises
    ------
    InputError
        If the range is not two finite masses or holds no bin, or the window is not inside the spectrum and the range.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    in_range = np.ones(len(bounds) - 1, dtype=bool)
    if fit_range is not None:
        low, high = _ends(fit_range)
        slack = ROUNDING * np.abs(bounds).max()
        in_range = (bounds[:-1] >= low - slack) & (bounds[1:] <= high + slack)
        if not in_range.any():
            msg = (
                f"fit range got {low:.6g}..{high:.6g} GeV, expected whole bins of {bounds[0]:.6g}..{bounds[-1]:.6g} GeV"
            )
            raise InputError(msg)
    if window is None:
        return Region(in_range, np.zeros_like(in_range), in_range)
    blinded = bins_overlapping(bounds, window.low, window.high)
    if not blinded.any() or (blinded & ~in_range).any():
        first, last = bounds[:-1][in_range][0], bounds[1:][in_range][-1]
        msg = f"window {window} is not inside the fitted spectrum, {first:.6g}..{last:.6g} GeV"
        raise InputError(msg)
    return Region(in_range, blinded, in_range & ~blinded)


def _ends(fit_range: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = map(float, fit_range)
    except (TypeError, ValueError) as error:
        msg = f"fit range got {fit_range!r}, expected (low, high) in GeV"
        raise InputError(msg) from error
    if not (math.isfinite(low) and math.isfinite(high)):
        msg = f"fit range got {low}..{high}, expected two finite masses in GeV; None is the whole spectrum"
        raise InputError(msg)
    return low, high
