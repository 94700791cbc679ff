"""Gaussian: the shape of a narrow resonance in a detector without tails, and of "generic" limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.stats.shapes.base import FittableShape, FloatArray, checked_edges, positive

__all__ = ("GaussianShape",)

SQRT_2PI = float(np.sqrt(2.0 * np.pi))


@dataclass(frozen=True)
class GaussianShape(FittableShape):
    """Gaussian resonance.

    ATLAS and CMS quote limits on visible cross-sections for Gaussians whose relative width is fixed, from the
    resolution (about 0.03) to 0.15 (arXiv:1910.08447, section 7): ``GaussianShape(mass, 0.07 * mass)``.

    Attributes
    ----------
    mass, width : float
        Mean and standard deviation (GeV), positive.

    Raises
    ------
    InputError
        If the mass or the width is not positive.

    Examples
    --------
    >>> from resonaut.stats import GaussianShape
    >>> shape = GaussianShape(3500.0, 100.0)
    >>> shape.template([3300.0, 3500.0, 3700.0], 100.0).round(2).tolist()
    [47.72, 47.72]
    >>> round(shape.inside([3300.0, 3700.0]), 4)
    0.9545
    >>> shape.scaled_to(7000.0)
    GaussianShape(mass=7000.0, width=200.0)
    """

    kind: ClassVar[str] = "gaussian"
    names: ClassVar[tuple[str, ...]] = ("mass", "width")
    limits: ClassVar[tuple[tuple[float, float], ...]] = ((0.5, 1.5), (0.05, 10.0))

    width: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        positive(self.kind, width=self.width)

    def density(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability per GeV at the masses (GeV)."""
        z = (np.asarray(mass, dtype=np.float64) - self.mass) / self.width
        return np.asarray(np.exp(-0.5 * z**2) / (SQRT_2PI * self.width))

    def _below(self, mass: FloatArray) -> FloatArray:
        return np.asarray(special.ndtr(np.minimum(mass - self.mass, 0.0) / self.width))

    def _above(self, mass: FloatArray) -> FloatArray:
        return np.asarray(special.ndtr(-np.maximum(mass - self.mass, 0.0) / self.width))

    def scaled_to(self, mass: float) -> GaussianShape:
        """The same relative width at another mass (GeV)."""
        return GaussianShape(mass, self.width * mass / self.mass)

    def probability_gradient(self, edges: npt.ArrayLike) -> FloatArray:
        """Derivative of the probability of each bin with respect to (mass, width), shape (bins, 2)."""
        z = (checked_edges(edges) - self.mass) / self.width
        density = np.exp(-0.5 * z**2) / (SQRT_2PI * self.width)
        return np.stack([-np.diff(density), -np.diff(z * density)], axis=1)
