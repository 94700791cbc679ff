"""Mass windows: a signal region and its two sidebands.

A `Window` says where a search looks (the signal region, SR) and which neighbouring events teach a weakly supervised
method what background looks like (the sidebands, SB). Background fits use the whole spectrum outside the SR, not only
the sidebands of the window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError

__all__ = ("Window", "interval_text", "log_edges", "sliding_windows")

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def interval_text(low: float, high: float) -> str:
    """A mass interval for people, GeV without the unit: to a tenth of its width, whole numbers at most.

    Examples
    --------
    >>> interval_text(3371.43, 3661.02), interval_text(9.0, 10.6)
    ('3371-3661', '9.0-10.6')
    """
    width = high - low
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{low:.{digits}f}-{high:.{digits}f}"


def log_edges(low: float, high: float, bins: int) -> FloatArray:
    """Bin edges uniform in the logarithm of the mass.

    Parameters
    ----------
    low, high : float
        Ends of the range (GeV), ``0 < low < high``.
    bins : int
        Number of bins, at least 1.

    Returns
    -------
    ndarray of shape (bins + 1,)
        Edges; the first and the last are `low` and `high` exactly.

    Raises
    ------
    InputError
        If the range is empty, not positive, or `bins` is below 1.

    Examples
    --------
    The binning of "Comparing Weak- and Unsupervised Methods" (arXiv:2104.02092, section 3.1):

    >>> edges = log_edges(2800.0, 5200.0, 30)
    >>> [int(edge) for edge in edges[[9, 13]]]
    [3371, 3661]
    """
    if not (math.isfinite(low) and math.isfinite(high) and 0 < low < high):
        msg = f"log_edges got the range {low}..{high}, expected 0 < low < high"
        raise InputError(msg)
    if not (bins >= 1 and float(bins).is_integer()):
        msg = f"log_edges got {bins} bins, expected a whole number, at least 1"
        raise InputError(msg)
    edges = np.exp(np.linspace(math.log(low), math.log(high), int(bins) + 1))
    edges[0], edges[-1] = low, high
    return edges


@dataclass(frozen=True)
class Window:
    """Signal region [low, high) with sidebands [sb_low, low) and [high, sb_high), in GeV.

    Raises
    ------
    InputError
        Unless ``sb_low < low < high < sb_high`` and all four are finite.

    Examples
    --------
    >>> window = Window(3371.0, 3661.0, 3169.0, 3895.0)
    >>> str(window)
    '3371-3661 GeV'
    >>> window.in_signal_region([3200.0, 3371.0, 3661.0]).tolist()
    [False, True, False]
    """

    low: float
    high: float
    sb_low: float
    sb_high: float

    def __post_init__(self) -> None:
        for name in ("low", "high", "sb_low", "sb_high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        ends = (self.sb_low, self.low, self.high, self.sb_high)
        if not all(map(math.isfinite, ends)) or not self.sb_low < self.low < self.high < self.sb_high:
            msg = (
                f"window got sb_low, low, high, sb_high = {ends}, expected four finite masses in increasing order: "
                "a sideband is needed on both sides of the signal region"
            )
            raise InputError(msg)

    def __str__(self) -> str:
        return f"{interval_text(self.low, self.high)} GeV"

    @property
    def centre(self) -> float:
        """Middle of the signal region in the logarithm of the mass (GeV)."""
        return math.sqrt(self.low * self.high) if self.low > 0 else 0.5 * (self.low + self.high)

    def in_signal_region(self, mass: npt.ArrayLike) -> BoolArray:
        """Mask of the masses in [low, high)."""
        return self._between(mass, self.low, self.high)

    def contains(self, mass: npt.ArrayLike) -> BoolArray:
        """Mask of the masses in the signal region; the same as `in_signal_region`."""
        return self.in_signal_region(mass)

    def in_lower_sideband(self, mass: npt.ArrayLike) -> BoolArray:
        """Mask of the masses in [sb_low, low)."""
        return self._between(mass, self.sb_low, self.low)

    def in_upper_sideband(self, mass: npt.ArrayLike) -> BoolArray:
        """Mask of the masses in [high, sb_high)."""
        return self._between(mass, self.high, self.sb_high)

    def in_sidebands(self, mass: npt.ArrayLike) -> BoolArray:
        """Mask of the masses in either sideband."""
        return np.asarray(self.in_lower_sideband(mass) | self.in_upper_sideband(mass))

    def to_dict(self) -> dict[str, float]:
        """Four named masses, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Window:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            msg = f"window got the keys {sorted(content)}, expected low, high, sb_low, sb_high"
            raise InputError(msg) from error

    @staticmethod
    def _between(mass: npt.ArrayLike, low: float, high: float) -> BoolArray:
        values = np.asarray(mass, dtype=np.float64)
        return np.asarray((values >= low) & (values < high))


def sliding_windows(edges: npt.ArrayLike, sr_bins: int = 4, sb_bins: int = 3, step: int = 1) -> list[Window]:
    """Every window of whole bins whose signal region and both sidebands lie inside the edges.

    Parameters
    ----------
    edges : array_like of shape (bins + 1,)
        Increasing bin edges (GeV).
    sr_bins, sb_bins : int
        Bins in the signal region, and in each sideband; 4 and 3 are those of arXiv:2104.02092, section 3.1.
    step : int
        Bins between the signal regions of neighbouring windows.

    Returns
    -------
    list of Window
        In increasing mass.

    Raises
    ------
    InputError
        If the edges do not increase or hold no full window, or a width or the step is below 1.

    Examples
    --------
    >>> windows = sliding_windows(log_edges(2800.0, 5200.0, 30))
    >>> len(windows), str(windows[6])
    (21, '3371-3661 GeV')
    """
    bounds = np.asarray(edges, dtype=np.float64)
    if not (np.isfinite(bounds).all() and (np.diff(bounds, axis=0) > 0).all()):
        msg = f"sliding_windows got edges of shape {bounds.shape} that do not increase everywhere, expected finite ones, each above the last"
        raise InputError(msg)
    if min(sr_bins, sb_bins, step) < 1:
        msg = f"sliding_windows got sr_bins={sr_bins}, sb_bins={sb_bins}, step={step}, expected each to be at least 1"
        raise InputError(msg)
    need = sr_bins + 2 * sb_bins
    if bounds.ndim != 1 or len(bounds) < need + 1:
        msg = f"sliding_windows got {max(bounds.size - 1, 0)} bins, expected at least {need} for one full window"
        raise InputError(msg)
    return [
        Window(
            low=bounds[first + sb_bins],
            high=bounds[first + sb_bins + sr_bins],
            sb_low=bounds[first],
            sb_high=bounds[first + need],
        )
        for first in range(0, len(bounds) - need, step)
    ]
