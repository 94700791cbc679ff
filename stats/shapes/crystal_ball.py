r"""Double-sided Crystal Ball: a Gaussian core with a power-law tail on each side.

With ``t = (m - mass) / width`` the density is proportional to

.. math::
    g(t) = e^{-t^2/2} \quad (-\alpha_L \le t \le \alpha_H), \qquad
    g(t) = e^{-\alpha^2/2} \left[1 + \frac{\alpha}{n} (|t| - \alpha)\right]^{-n} \quad \text{beyond},

continuous with its first derivative, and zero below ``m = 0``. It is the function of J. E. Gaiser (SLAC-R-255, appendix F) with a second tail, written
so that large n (an exponential tail) and large alpha (a Gaussian) are no special cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from resonaut.errors import InputError
from resonaut.stats.shapes.base import FittableShape, FloatArray, checked_edges, positive
from resonaut.stats.shapes.gaussian import SQRT_2PI

__all__ = ("CrystalBallShape",)


def _height(u: FloatArray, alpha: float, n: float) -> FloatArray:
    """Value of g at the distance u >= 0 from the peak, in standard deviations."""
    beyond = np.maximum(u - alpha, 0.0)
    core = np.minimum(u, alpha)
    return np.asarray(np.exp(-0.5 * core**2 - n * np.log1p(alpha * beyond / n)))


def _area(u: FloatArray, alpha: float, n: float) -> FloatArray:
    """Integral of g from u >= 0 to infinity."""
    log_y = np.log1p(alpha * np.maximum(u - alpha, 0.0) / n)
    tail = n / (alpha * (n - 1.0)) * np.exp(-0.5 * alpha**2 + (1.0 - n) * log_y)
    core = special.ndtr(-np.minimum(u, alpha)) - special.ndtr(-alpha)
    return np.asarray(tail + SQRT_2PI * core)


def _area_gradient(u: FloatArray, alpha: float, n: float) -> FloatArray:
    """Derivative of `_area` with respect to (u, alpha, n), shape (*u.shape, 3)."""
    beyond = np.maximum(u - alpha, 0.0)
    y = 1.0 + alpha * beyond / n
    tail = n / (alpha * (n - 1.0)) * np.exp(-0.5 * alpha**2 + (1.0 - n) * np.log(y))
    in_tail = u > alpha
    from_core = np.where(in_tail, 0.0, np.exp(-0.5 * alpha**2))
    slope = np.where(in_tail, (1.0 - n) * (u - 2.0 * alpha) / (n * y), 0.0)
    d_alpha = tail * (-alpha - 1.0 / alpha + slope) + from_core
    d_n = tail * (1.0 / n - 1.0 / (n - 1.0) - np.log(y) - (1.0 - n) * alpha * beyond / (n**2 * y))
    return np.stack([-_height(u, alpha, n), d_alpha, d_n], axis=-1)


@dataclass(frozen=True)
class CrystalBallShape(FittableShape):
    """Double-sided Crystal Ball (DSCB).

    Attributes
    ----------
    mass, width : float
        Peak and standard deviation of the core (GeV), positive.
    alpha_low, alpha_high : float
        Where the tails begin, in standard deviations from the peak, positive.
    n_low, n_high : float
        Powers of the tails, above 1: at 1 a tail has no finite area.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Notes
    -----
    The normalisation runs over all positive masses: a power n_low near 1 would put most of a resonance below zero. With a
    power n_high near 1 much of it lies far above the peak.

    Examples
    --------
    >>> from resonaut.stats import CrystalBallShape
    >>> shape = CrystalBallShape(3000.0, 90.0, alpha_low=1.2, n_low=3.0, alpha_high=1.8, n_high=8.0)
    >>> shape.template([2600.0, 2900.0, 3100.0, 3400.0], 1000.0).round(1).tolist()
    [188.5, 643.1, 127.6]
    >>> round(shape.inside([2600.0, 3400.0]), 4)
    0.9591
    """

    kind: ClassVar[str] = "dscb"
    names: ClassVar[tuple[str, ...]] = ("mass", "width", "alpha_low", "n_low", "alpha_high", "n_high")
    limits: ClassVar[tuple[tuple[float, float], ...]] = (
        (0.5, 1.5),
        (0.05, 10.0),
        (0.05, 6.0),
        (1.02, 150.0),
        (0.05, 6.0),
        (1.02, 150.0),
    )

    width: float
    alpha_low: float
    n_low: float
    alpha_high: float
    n_high: float

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        positive(self.kind, width=self.width, alpha_low=self.alpha_low, alpha_high=self.alpha_high)
        if not (1.0 < self.n_low < np.inf and 1.0 < self.n_high < np.inf):
            msg = f"{self.kind} got n_low {self.n_low} and n_high {self.n_high}, expected finite powers above 1"
            raise InputError(msg)

    def density(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability per GeV at the masses (GeV)."""
        t = (np.asarray(mass, dtype=np.float64) - self.mass) / self.width
        low = _height(np.maximum(-t, 0.0), self.alpha_low, self.n_low)
        high = _height(np.maximum(t, 0.0), self.alpha_high, self.n_high)
        positive_mass = np.asarray(mass) >= 0
        return np.asarray(positive_mass * low * high / (self._total * self.width))  # each is 1 on the other's side

    @cached_property
    def _cut(self) -> float:
        """Area of the low tail below zero."""
        return float(_area(np.asarray(self.mass / self.width), self.alpha_low, self.n_low))

    @cached_property
    def _total(self) -> float:
        zero = np.zeros(())
        both = _area(zero, self.alpha_low, self.n_low) + _area(zero, self.alpha_high, self.n_high)
        return float(both) - self._cut

    def _below(self, mass: FloatArray) -> FloatArray:
        u = (self.mass - np.clip(mass, 0.0, self.mass)) / self.width
        return np.asarray((_area(u, self.alpha_low, self.n_low) - self._cut) / self._total)

    def _above(self, mass: FloatArray) -> FloatArray:
        u = np.maximum(mass - self.mass, 0.0) / self.width
        return np.asarray(_area(u, self.alpha_high, self.n_high) / self._total)

    def scaled_to(self, mass: float) -> CrystalBallShape:
        """The same relative width and tails at another mass (GeV)."""
        width = self.width * mass / self.mass
        return CrystalBallShape(mass, width, self.alpha_low, self.n_low, self.alpha_high, self.n_high)

    def probability_gradient(self, edges: npt.ArrayLike) -> FloatArray:
        """Derivative of the probability of each bin with respect to the parameters in the order of `names`.

        Returns
        -------
        ndarray of shape (bins, 6)

        Raises
        ------
        InputError
            If the edges do not increase.
        """
        bounds = checked_edges(edges)
        distance = (np.maximum(bounds, 0.0) - self.mass) / self.width
        area = np.zeros((len(bounds), 6))  # of the areas below minus above each edge: bins are its differences
        norm = np.zeros(6)
        for sign, alpha, n, columns in (
            (-1.0, self.alpha_low, self.n_low, [2, 3]),
            (1.0, self.alpha_high, self.n_high, [4, 5]),
        ):
            outside = distance > 0 if sign > 0 else distance <= 0  # an edge at the peak: once
            u = np.where(outside, sign * distance, 0.0)
            gradient = -sign * _area_gradient(u, alpha, n)
            area[:, 0] += np.where(outside, -sign * gradient[:, 0], 0.0) / self.width
            area[:, 1] += -u * gradient[:, 0] / self.width
            area[:, columns] = gradient[:, 1:]
            norm[columns] = _area_gradient(np.zeros(()), alpha, n)[1:]
        norm -= self._cut_gradient()
        return np.asarray((np.diff(area, axis=0) - self.probability(bounds)[:, None] * norm) / self._total)

    def _cut_gradient(self) -> FloatArray:
        """Derivative of the area below zero with respect to all parameters."""
        u = self.mass / self.width
        d_u, d_alpha, d_n = _area_gradient(np.asarray(u), self.alpha_low, self.n_low)
        return np.array([d_u / self.width, -u * d_u / self.width, d_alpha, d_n, 0.0, 0.0])
