"""Sums of simple functions: not log-linear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.stats.functions.base import NonLinearFunction

__all__ = ("FUNCTIONS", "TwoPowers")

FloatArray = npt.NDArray[np.float64]


class TwoPowers(NonLinearFunction):
    """Sum of two power laws.

    The ratio of the two enters through its logarithm p2, so that the density is positive for all parameters. The two may
    be exchanged without any change of the density: of equal minima, the one of the first start is taken.
    """

    name = "two-powers"
    formula = "p0 (x^-p1 + e^p2 x^-p3)"
    names = ("p0", "p1", "p2", "p3")
    domain = "0 < x < 1; spectra that flatten on logarithmic axes, others make one power superfluous: 'at limit'"
    source = "CMS H to two photons, arXiv:1407.0558 (sums of power laws)"
    starts = ((4.0, -8.0, 10.0), (6.0, -3.0, 8.0), (5.0, -25.0, 20.0))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """ln(x^-p1 + e^p2 x^-p3), without overflow."""
        log = np.log(x)
        return np.asarray(np.logaddexp(-shape[0] * log, shape[1] - shape[2] * log))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2, p3."""
        log = np.log(x)
        second = np.exp(shape[1] - shape[2] * log - self.log_shape(x, shape))
        return -(1.0 - second) * log, second, -second * log


FUNCTIONS = (TwoPowers,)
