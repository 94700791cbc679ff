"""Polynomials of the mass in a fixed range (not log-linear): for narrow ranges that no falling function is made for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import comb

from resonaut.errors import ConfigError, InputError
from resonaut.stats.functions.base import DEFAULT_SQRTS, NonLinearFunction

__all__ = ("Polynomial",)

FloatArray = npt.NDArray[np.float64]

_NOTHING = 1e-9  # density over p0 where the polynomial would be negative: no events there cost nothing, any event much


class Polynomial(NonLinearFunction):
    """Polynomial of any degree in a mass range, in the basis of Bernstein.

    With u = 0 at the lower and u = 1 at the upper end of the range, f = p0 (b_0(u) + p1 b_1(u) + ... + pn b_n(u)), where b_k = C(n, k)
    u^k (1 - u)^(n - k): every polynomial that is positive at the lower end. The coefficients are of the size of the density
    and nearly independent, where those of the powers of m are neither. Its range belongs to a spectrum, so that it is in
    no registry: give it to `register_function` under a name of its own.

    Parameters
    ----------
    degree : int
        Of the polynomial, at least 1.
    low, high : float
        Range (GeV).
    name : str
        In the registry; "polynomial" with the degree by default.

    Raises
    ------
    ConfigError
        If the degree is below 1 or the range is empty.

    Examples
    --------
    >>> from resonaut.stats import Polynomial
    >>> line = Polynomial(1, 5.0, 16.0)
    >>> line.density([5.0, 10.5, 16.0], {"p0": 100.0, "p1": 0.5}).round(6).tolist()
    [100.0, 75.0, 50.0]
    """

    source = (
        "arXiv:2502.14036 (degree 5, of dimuon masses); CMS H to two photons, arXiv:1804.02716 (Bernstein polynomials)"
    )

    def __init__(self, degree: int, low: float, high: float, *, name: str | None = None) -> None:
        if not (degree >= 1 and low < high):
            msg = f"polynomial got degree {degree} and range {low}..{high}, expected at least 1 and low < high"
            raise ConfigError(msg)
        self.low, self.high, self.degree = float(low), float(high), int(degree)
        self._binomial = comb(self.degree, np.arange(self.degree + 1))
        even, falling = np.ones(self.degree), np.linspace(1.0, 0.2, self.degree + 1)[1:]
        self.starts = (tuple(even), tuple(falling))
        names = tuple(f"p{k}" for k in range(self.degree + 1))
        terms = " + ".join(f"p{k} b{k}(u)" for k in range(1, self.degree + 1))
        super().__init__(
            name or f"polynomial{self.degree}",
            f"p0 (b0(u) + {terms}), u = (m - {low:g}) / {high - low:g}",
            names,
            (),
            domain=f"{low:g} <= m <= {high:g} GeV; nothing where the polynomial would be negative",
        )

    def fraction(self, mass: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:  # noqa: ARG002
        """u, checked.

        Raises
        ------
        InputError
            If a mass is outside the range.
        """
        u = (np.asarray(mass, dtype=np.float64) - self.low) / (self.high - self.low)
        if u.size and not (u.min() > -1e-9 and u.max() < 1 + 1e-9):
            msg = f"{self.name} got masses outside of its range {self.low:g}..{self.high:g} GeV"
            raise InputError(msg)
        return u

    def _parts(self, u: FloatArray) -> list[FloatArray]:
        n = self.degree
        return [self._binomial[k] * u**k * (1.0 - u) ** (n - k) for k in range(n + 1)]

    def _value(self, u: FloatArray, shape: FloatArray) -> FloatArray:
        first, *others = self._parts(u)
        return np.asarray(first + sum(p * part for p, part in zip(shape, others, strict=True)))

    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """ln of the polynomial over p0, at u."""
        return np.asarray(np.log(np.maximum(self._value(x, shape), _NOTHING)))

    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """By p1, p2, ..."""
        value = self._value(x, shape)
        return [np.where(value > _NOTHING, part / np.maximum(value, _NOTHING), 0.0) for part in self._parts(x)[1:]]
