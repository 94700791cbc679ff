"""Terms of which log-linear functions are made, as functions of x = m / sqrt(s)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = (
    "ln_one_minus",
    "ln_one_minus_cbrt",
    "minus",
    "minus2",
    "minus3",
    "minus_ln",
    "minus_ln2",
    "minus_ln3",
    "minus_ln4",
)

FloatArray = npt.NDArray[np.float64]


def minus_ln(x: FloatArray) -> FloatArray:
    """-ln x: the power law."""
    return -np.log(x)


def minus_ln2(x: FloatArray) -> FloatArray:
    """-ln^2 x: a power that runs with ln x."""
    return -(np.log(x) ** 2)


def minus_ln3(x: FloatArray) -> FloatArray:
    """-ln^3 x."""
    return -(np.log(x) ** 3)


def minus_ln4(x: FloatArray) -> FloatArray:
    """-ln^4 x."""
    return -(np.log(x) ** 4)


def ln_one_minus(x: FloatArray) -> FloatArray:
    """ln(1 - x): parton densities at large x."""
    return np.log1p(-x)


def ln_one_minus_cbrt(x: FloatArray) -> FloatArray:
    """ln(1 - x^(1/3))."""
    return np.log1p(-np.cbrt(x))


def minus(x: FloatArray) -> FloatArray:
    """-x: the exponential."""
    return -x


def minus2(x: FloatArray) -> FloatArray:
    """-x^2."""
    return -(x**2)


def minus3(x: FloatArray) -> FloatArray:
    """-x^3."""
    return -(x**3)
