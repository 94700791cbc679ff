"""Sums of simple functions, a straight line among them: not log-linear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.stats.functions.base import NonLinearFunction

__all__ = ("FUNCTIONS", "Linear", "TwoPowers")

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


_NOTHING = 1e-12  # density over p0 where the line would be negative: no events there cost nothing, any event much


class Linear(NonLinearFunction):
    """Straight line, for ranges so narrow that a spectrum has no curvature.

    The line is given by its direction: every positive line has one, whichever way it leans, with p1 inside (-pi/2, pi). A slope
    and an intercept at m = 0 have opposite signs where it rises steeply, and a factor in front of them none at all.
    """

    name = "linear"
    formula = "p0 (cos p1 + x sin p1)"
    names = ("p0", "p1")
    domain = "0 < x < 1; narrow ranges; 0 where the line would be negative"
    source = "arXiv:2104.02092, section 4.3, for what an autoencoder selects between 3 and 4 TeV"
    starts = ((0.0,), (-1.1,), (1.6,))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """ln(cos p1 + x sin p1)."""
        return np.asarray(np.log(np.maximum(np.cos(shape[0]) + x * np.sin(shape[0]), _NOTHING)))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1."""
        line = np.cos(shape[0]) + x * np.sin(shape[0])
        slope = x * np.cos(shape[0]) - np.sin(shape[0])
        return (np.where(line > _NOTHING, slope / np.maximum(line, _NOTHING), 0.0),)


FUNCTIONS = (TwoPowers, Linear)
