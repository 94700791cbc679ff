"""Exponentials of polynomials (log-linear) and of powers with free exponents (not log-linear)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.stats.functions.base import BackgroundFunction, NonLinearFunction
from resonaut.stats.functions.terms import minus, minus2, minus3

__all__ = ("FUNCTIONS", "Exponential", "ModExp3", "ModExp4", "ModifiedExponential")

FloatArray = npt.NDArray[np.float64]


class Exponential(BackgroundFunction):
    """Exponential."""

    name = "exponential"
    formula = "p0 exp(-p1 x)"
    names = ("p0", "p1")
    terms = (minus,)
    source = "narrow ranges in many searches"
    domain = "0 < x < 1; narrow ranges"


class ModifiedExponential(BackgroundFunction):
    """Exponential of a third-order polynomial."""

    name = "modified-exponential"
    formula = "p0 exp(-p1 x - p2 x^2 - p3 x^3)"
    names = ("p0", "p1", "p2", "p3")
    terms = (minus, minus2, minus3)
    source = "exponentials of polynomials: ATLAS H to two photons, arXiv:1408.7084, to higher order"
    domain = "0 < x < 1; the highest power may turn upwards outside the fitted range"


class ModExp3(NonLinearFunction):
    """Stretched exponential."""

    name = "modexp3"
    formula = "p0 exp(-p1 x^p2)"
    names = ("p0", "p1", "p2")
    source = "CMS dijet bias tests, with three parameters (ModExp-3p)"
    domain = "0 < x < 1"
    starts = ((20.0, 0.5), (40.0, 0.2), (30.0, 1.0))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """-p1 x^p2."""
        return np.asarray(-shape[0] * x ** shape[1])

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2."""
        power = x ** shape[1]
        return -power, -shape[0] * power * np.log(x)


class ModExp4(NonLinearFunction):
    """Modified exponential of CMS."""

    name = "modexp4"
    formula = "p0 exp(-p1 x^p2 - p1 (1-x)^p3)"
    names = ("p0", "p1", "p2", "p3")
    source = "CMS dijet bias tests, arXiv:1604.08907 (there p1 has the opposite sign)"
    domain = "0 < x < 1; p1 runs to infinity, and the state to 'at limit', where dijet3 is best"
    starts = ((20.0, 0.5, 1.0), (40.0, 0.2, -0.1), (20.0, 0.3, -0.5))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """-p1 x^p2 - p1 (1-x)^p3."""
        return np.asarray(-shape[0] * (x ** shape[1] + (1.0 - x) ** shape[2]))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2, p3."""
        low, high = x ** shape[1], (1.0 - x) ** shape[2]
        return -low - high, -shape[0] * low * np.log(x), -shape[0] * high * np.log1p(-x)


FUNCTIONS = (Exponential, ModifiedExponential, ModExp3, ModExp4)
