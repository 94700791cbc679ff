"""Result of BumpHunter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.stats.excesses.tails import squared_significance
from resonaut.stats.records import brief, plain, restore

__all__ = ("BumpHunterResult",)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BumpHunterResult:
    """What `bump_hunter` found.

    Attributes
    ----------
    low, high : float
        The most significant interval (GeV); NaN where no interval has an excess.
    observed, expected : float
        Events in it.
    local_p : float
        Poisson tail of the interval for the expectation as it is; 0 below 1e-308, `statistic` has its logarithm.
    statistic : float
        ``-ln local_p``, the test statistic t.
    global_p, global_p_error : float
        Fraction of toys with at least this statistic, (k + 1) / (n + 1), and its binomial error; NaN without toys.
    toys, failed : int
        Toys that were scanned, and toys whose background fit failed (left out).
    function : str
        Background function; "given" for a fixed background.
    refit : bool
        Whether the background was fitted again in every toy.
    deficits : bool
        Whether deficits were looked for.
    excluded : tuple of float or None
        Interval (GeV) that was left out of the background fit, see `bump_hunter`.
    edges : ndarray of shape (bins + 1,)
        Of the scanned range (GeV).
    counts, background : ndarray of shape (bins,)
    intervals : int ndarray of shape (intervals, 2)
        First bin and end (one past the last bin) of every interval.
    interval_statistics : ndarray of shape (intervals,)
        -ln p of every interval, 0 for those without an excess.
    toy_statistics : ndarray of shape (toys,)
    """

    low: float
    high: float
    observed: float
    expected: float
    local_p: float
    statistic: float
    global_p: float
    global_p_error: float
    toys: int
    failed: int
    function: str
    refit: bool
    deficits: bool
    excluded: tuple[float, float] | None
    edges: FloatArray
    counts: FloatArray
    background: FloatArray
    intervals: IntArray
    interval_statistics: FloatArray
    toy_statistics: FloatArray

    __repr__ = brief

    @property
    def local_significance(self) -> float:
        """Standard deviations of `local_p`, at least 0."""
        return float(np.sqrt(squared_significance(self.statistic)))

    @property
    def global_significance(self) -> float:
        """Standard deviations of `global_p`, negative above one half."""
        return float(-special.ndtri(self.global_p))

    @property
    def interval_p(self) -> FloatArray:
        """Local p-value of every interval, shape (intervals,)."""
        return np.asarray(np.exp(-self.interval_statistics))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return plain(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> BumpHunterResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        kinds = dict.fromkeys(("edges", "counts", "background", "interval_statistics", "toy_statistics"), np.float64)
        found = restore(cls, content, arrays={**kinds, "intervals": np.int64})
        excluded = None if found.excluded is None else (float(found.excluded[0]), float(found.excluded[1]))
        return replace(found, excluded=excluded)
