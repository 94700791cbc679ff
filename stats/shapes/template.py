"""Template: the histogram of a simulated resonance, in any binning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.records import brief
from resonaut.stats.shapes.base import FloatArray, Shape, checked_edges
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = ("TemplateShape",)

MAX_UNPLACED = 0.01  # fraction of the events in an underflow or overflow that bins beyond the histogram may ignore


@dataclass(frozen=True, eq=False)
class TemplateShape(Shape):
    """Histogram of simulated events, uniform within each of its bins.

    Other bins get the differences of the cumulative distribution, interpolated linearly: exact where edges coincide. Choose
    the bins of the simulation finer than those of the data, a quarter of them or less.

    Attributes
    ----------
    mass : float
        Mass of the resonance (GeV).
    edges : ndarray of shape (bins + 1,)
        GeV; any array_like is taken.
    counts : ndarray of shape (bins,)
        Events (or sums of weights) in each bin, not negative.
    below, above : float
        Events outside the edges: they count in the normalisation.

    Raises
    ------
    InputError
        If edges do not increase, or counts are negative, not finite or all zero.

    Examples
    --------
    >>> from resonaut.stats import TemplateShape
    >>> shape = TemplateShape(1000.0, [900, 1000, 1100], [30, 60], below=10)
    >>> shape.template([900.0, 950.0, 1050.0, 1100.0], yield_=50.0).round(6).tolist()
    [7.5, 22.5, 15.0]
    >>> shape.inside([900.0, 1100.0])
    0.9
    """

    kind: ClassVar[str] = "template"

    edges: FloatArray
    counts: FloatArray
    below: float = 0.0
    above: float = 0.0

    __repr__ = brief

    def __post_init__(self) -> None:
        """Check the histogram and keep it as arrays."""
        super().__post_init__()
        counts, edges, _ = as_counts((self.counts, self.edges))
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "edges", edges)
        outside = (self.below, self.above)
        if not (np.isfinite(outside).all() and min(outside) >= 0 and counts.sum() > 0):
            msg = f"template got {counts.sum():.6g} events inside and {outside} outside, expected numbers >= 0, some inside"
            raise InputError(msg)
        cumulative = np.concatenate([[0.0], np.cumsum(counts)]) + self.below
        object.__setattr__(self, "_cumulative", cumulative / (cumulative[-1] + self.above))

    @property
    def cumulative(self) -> FloatArray:
        """Probability below each edge, shape (bins + 1,)."""
        levels: FloatArray = self._cumulative  # type: ignore[attr-defined]  # set in __post_init__
        return levels

    @classmethod
    def from_spectrum(cls, mass: float, spectrum: Spectrum) -> TemplateShape:
        """Template of a histogram, with its underflow and overflow.

        Parameters
        ----------
        mass : float
            Mass of the resonance (GeV).
        spectrum : hist.Hist, any one-dimensional UHI histogram, or (counts, edges)

        Raises
        ------
        InputError
            If counts are negative (merge bins first) or the histogram has more than one axis.

        Examples
        --------
        >>> from resonaut.stats import TemplateShape, make_spectrum
        >>> TemplateShape.from_spectrum(100.0, make_spectrum([80.0, 99.0, 104.0], [90.0, 100.0, 110.0])).below
        1.0
        """
        counts, edges, _ = as_counts(spectrum)
        below, above = _outside(spectrum, len(counts))
        return cls(mass, edges, counts, below=below, above=above)

    def density(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability per GeV at the masses (GeV), 0 outside the histogram."""
        heights = np.concatenate([[0.0], np.diff(self.cumulative) / np.diff(self.edges), [0.0]])
        return np.asarray(heights[np.searchsorted(self.edges, mass, side="right")])

    def cdf(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability below the masses (GeV)."""
        return np.asarray(np.interp(np.asarray(mass, dtype=np.float64), self.edges, self.cumulative))

    def _below(self, mass: FloatArray) -> FloatArray:
        return self.cdf(np.minimum(mass, self.mass))

    def _above(self, mass: FloatArray) -> FloatArray:
        return np.asarray(1.0 - self.cdf(np.maximum(mass, self.mass)))

    def probability(self, edges: npt.ArrayLike) -> FloatArray:
        """Probability of each bin, shape (bins,).

        Raises
        ------
        InputError
            If the edges do not increase, or reach beyond the histogram on a side where more than 1 % of its events lie
            outside: nobody knows in which bins those belong.
        """
        bounds = checked_edges(edges)
        lost_below, lost_above = self.cumulative[0], 1.0 - self.cumulative[-1]
        ours, slack = self.edges, 1e-9 * self.mass
        if (bounds[0] < ours[0] - slack and lost_below > MAX_UNPLACED) or (
            bounds[-1] > ours[-1] + slack and lost_above > MAX_UNPLACED
        ):
            msg = (
                f"template of {ours[0]:.6g}..{ours[-1]:.6g} GeV has {lost_below:.1%} of its events below and {lost_above:.1%} "
                f"above, and got edges from {bounds[0]:.6g} to {bounds[-1]:.6g} GeV: fill the simulation into a wider histogram"
            )
            raise InputError(msg)
        return np.asarray(np.diff(self.cdf(bounds)))

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation (GeV) of the part inside the edges."""
        edges, p = self.edges, np.diff(self.cumulative)
        p = p / p.sum()
        centres = 0.5 * (edges[1:] + edges[:-1])
        mean = float(p @ centres)
        variance = p @ ((centres - mean) ** 2 + np.diff(edges) ** 2 / 12.0)
        return mean, float(np.sqrt(variance))

    def moved(self, mass: float, *, scale: float, shift: float) -> TemplateShape:
        """Template of another mass, every event moved from m to ``scale * m + shift`` (GeV)."""
        return TemplateShape(mass, scale * self.edges + shift, self.counts, below=self.below, above=self.above)

    def scaled_to(self, mass: float) -> TemplateShape:
        """The same shape in ``m / mass`` for another mass (GeV)."""
        return self.moved(mass, scale=mass / self.mass, shift=0.0)


def _outside(spectrum: Spectrum, bins: int) -> tuple[float, float]:
    """Underflow and overflow of a histogram, 0 where it keeps none."""
    if not hasattr(spectrum, "axes"):
        return 0.0, 0.0
    values: Any = np.asarray(spectrum.values(flow=True), dtype=np.float64)
    traits = getattr(spectrum.axes[0], "traits", None)
    has_below = bool(getattr(traits, "underflow", True)) and len(values) > bins
    has_above = bool(getattr(traits, "overflow", True)) and len(values) > bins
    return float(values[0]) if has_below else 0.0, float(values[-1]) if has_above else 0.0
