"""Functions of searches with photons, used as alternatives in many others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from resonaut.stats.functions.base import BackgroundFunction, NonLinearFunction
from resonaut.stats.functions.terms import ln_one_minus_cbrt, minus_ln, minus_ln2

__all__ = ("FUNCTIONS", "Diphoton3", "Diphoton4", "InvPow3", "InvPowLin4", "ModDijet3", "PowLog3")

FloatArray = npt.NDArray[np.float64]


class Diphoton3(BackgroundFunction):
    """Dijet function with the cube root of x."""

    name = "diphoton3"
    formula = "p0 (1-x^(1/3))^p1 / x^p2"
    names = ("p0", "p1", "p2")
    terms = (ln_one_minus_cbrt, minus_ln)
    source = "ATLAS diphotons, arXiv:1606.03833"


class Diphoton4(BackgroundFunction):
    """Dijet function with the cube root of x and a running power."""

    name = "diphoton4"
    formula = "p0 (1-x^(1/3))^p1 / x^(p2 + p3 ln x)"
    names = ("p0", "p1", "p2", "p3")
    terms = (ln_one_minus_cbrt, minus_ln, minus_ln2)
    source = "ATLAS diphotons, arXiv:1606.03833, next order"


class ModDijet3(Diphoton3):
    """The same function under its name in CMS."""

    name = "moddijet3"
    source = "CMS paired dijets, arXiv:2206.09997 (ModDijet-3p); the same as diphoton3"


class PowLog3(BackgroundFunction):
    """Running power law."""

    name = "powlog3"
    formula = "p0 / x^(p1 + p2 ln x)"
    names = ("p0", "p1", "p2")
    terms = (minus_ln, minus_ln2)
    source = "CMS diphotons, arXiv:1609.02507"


class InvPow3(NonLinearFunction):
    """Shifted power law."""

    name = "invpow3"
    formula = "p0 (1 + p1 x)^-p2"
    names = ("p0", "p1", "p2")
    source = "CMS diphoton bias tests, arXiv:2405.09320 (invpow)"
    domain = "0 < x < 1, 1 + p1 x > 0; p1 runs to infinity, and the state to 'at limit', where a power law is best"
    starts = ((10.0, 8.0), (100.0, 5.0), (1.0, 20.0))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """-p2 ln(1 + p1 x); not a number outside the domain."""
        return np.asarray(-shape[1] * np.log1p(shape[0] * x))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2."""
        return -shape[1] * x / (1.0 + shape[0] * x), -np.log1p(shape[0] * x)


class InvPowLin4(NonLinearFunction):
    """Shifted power law whose power runs with x."""

    name = "invpowlin4"
    formula = "p0 (1 + p1 x)^-(p2 + p3 x)"
    names = ("p0", "p1", "p2", "p3")
    source = "CMS diphoton bias tests, arXiv:2405.09320 (invpowlin)"
    domain = "0 < x < 1, 1 + p1 x > 0"
    starts = ((10.0, 8.0, 0.0), (100.0, 5.0, 2.0), (1.0, 20.0, 0.0))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """-(p2 + p3 x) ln(1 + p1 x)."""
        return np.asarray(-(shape[1] + shape[2] * x) * np.log1p(shape[0] * x))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2, p3."""
        log = np.log1p(shape[0] * x)
        return -(shape[1] + shape[2] * x) * x / (1.0 + shape[0] * x), -log, -x * log


FUNCTIONS = (Diphoton3, Diphoton4, ModDijet3, PowLog3, InvPow3, InvPowLin4)
