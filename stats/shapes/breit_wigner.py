"""Breit-Wigner with a Gaussian resolution: a resonance of natural width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.stats.shapes.base import FloatArray, Shape, checked_edges, positive

__all__ = ("BreitWignerShape",)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
REACH = 1e7  # half-widths on each side where the quadrature ends and the Lorentzian's tail takes over


def _grid() -> FloatArray:
    """Distances from the peak in units of the larger width: fine in the core, then growing by a quarter each."""
    core = np.arange(0.0, 4.0, 0.5)
    outer = 4.0 * 1.25 ** np.arange(0, int(np.log(REACH / 4.0) / np.log(1.25)) + 1)
    one_side = np.concatenate([core, outer])
    return np.concatenate([-one_side[:0:-1], one_side])


GRID = _grid()


@dataclass(frozen=True)
class BreitWignerShape(Shape):
    """Non-relativistic Breit-Wigner, smeared by a Gaussian resolution (a Voigt profile).

    Attributes
    ----------
    mass, width : float
        Peak and full width at half maximum of the Breit-Wigner (GeV), positive.
    resolution : float
        Standard deviation of the Gaussian (GeV), 0 for none.

    Raises
    ------
    InputError
        If the mass or the width is not positive, or the resolution is negative.

    Notes
    -----
    Parton densities and the running of the width, which bend the tails of a wide resonance, are not in it: above a
    relative width of some 10 % take a template from simulation.

    Examples
    --------
    >>> from resonaut.stats import BreitWignerShape
    >>> BreitWignerShape(2000.0, 100.0).template([1950.0, 2050.0]).round(6).tolist()
    [0.5]
    >>> BreitWignerShape(2000.0, 100.0, resolution=60.0).template([1950.0, 2050.0]).round(3).tolist()
    [0.359]
    """

    kind: ClassVar[str] = "breit-wigner"

    width: float
    resolution: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        positive(self.kind, width=self.width)
        if not (np.isfinite(self.resolution) and self.resolution >= 0):
            msg = f"{self.kind} got resolution {self.resolution}, expected a standard deviation >= 0 in GeV"
            raise InputError(msg)

    def density(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability per GeV at the masses (GeV)."""
        distance = np.asarray(mass, dtype=np.float64) - self.mass
        return np.asarray(special.voigt_profile(distance, self.resolution, 0.5 * self.width))

    def _above(self, mass: FloatArray) -> FloatArray:
        distance = np.maximum(np.asarray(mass) - self.mass, 0.0)
        if self.resolution == 0:
            return np.asarray(np.arctan2(0.5 * self.width, distance) / np.pi)
        edges, inverse = np.unique(np.append(distance, 0.0), return_inverse=True)
        area = np.append(np.cumsum(self._integrals(edges)[::-1])[::-1], 0.0) + self._far(edges[-1])
        return np.asarray(area[inverse[:-1]].reshape(distance.shape))

    def _below(self, mass: FloatArray) -> FloatArray:
        return self._above(2.0 * self.mass - mass)

    def _scale(self) -> float:
        return max(self.resolution, 0.5 * self.width)

    def _far(self, distance: float) -> float:
        """Probability above a distance (GeV) from the peak, from there to infinity."""
        end = max(distance, GRID[-1] * self._scale())
        lorentzian = float(np.arctan2(0.5 * self.width, end) / np.pi)
        return lorentzian + (float(self._integrals(np.array([distance, end]))[0]) if end > distance else 0.0)

    def _integrals(self, edges: FloatArray) -> FloatArray:
        """Integral of the profile between distances (GeV) from the peak, by quadrature on a grid that knows its scale."""
        if len(edges) < 2:
            return np.zeros(0)
        grid = GRID * self._scale()
        points = np.union1d(edges, grid[(grid > edges[0]) & (grid < edges[-1])])
        half, middle = 0.5 * np.diff(points), 0.5 * (points[1:] + points[:-1])
        pieces = half * (self.density(self.mass + middle[:, None] + half[:, None] * NODES) @ WEIGHTS)
        return np.asarray(np.add.reduceat(pieces, np.searchsorted(points, edges[:-1])))

    def probability(self, edges: npt.ArrayLike) -> FloatArray:
        """Probability of each bin, shape (bins,)."""
        if self.resolution == 0:
            return super().probability(edges)
        # bins are integrated themselves: differences of sums from infinity would lose the digits of small bins
        return self._integrals(checked_edges(edges) - self.mass)

    def scaled_to(self, mass: float) -> BreitWignerShape:
        """The same relative width and resolution at another mass (GeV)."""
        ratio = mass / self.mass
        return BreitWignerShape(mass, self.width * ratio, self.resolution * ratio)
