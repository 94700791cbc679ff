r"""Background functions that are linear in their parameters once the logarithm is taken.

A smoothly falling spectrum is described by ``f(m) = p0 exp(sum_k p_k t_k(x))`` with ``x = m / sqrt(s)``. The dijet
family of ATLAS and CMS is of this kind:

.. math::
    \frac{d\sigma}{dm} = \frac{p_0 (1-x)^{p_1}}{x^{p_2 + p_3 \ln x + p_4 \ln^2 x}}
    \quad\Leftrightarrow\quad
    \ln f = \ln p_0 + p_1 \ln(1-x) - p_2 \ln x - p_3 \ln^2 x - p_4 \ln^3 x ,

so its Poisson likelihood is that of a generalised linear model, which `resonaut.stats.batched` fits thousands at a
time. A new function of this kind is one `BackgroundFunction` given to `register_function`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name

__all__ = (
    "DEFAULT_SQRTS",
    "DIJET_FAMILY",
    "BackgroundFunction",
    "available_functions",
    "background_function",
    "register_function",
)

FloatArray = npt.NDArray[np.float64]
Term = Callable[[FloatArray], FloatArray]

DEFAULT_SQRTS = 13000.0
"""Centre-of-mass energy of LHC Run 2 (GeV)."""

DIJET_FAMILY = ("dijet3", "dijet4", "dijet5")
"""Nested members, each with one parameter more than the one before.

The power law "dijet2" is left out: it cannot follow a spectrum that an anomaly cut has bent, and toys of such spectra
show it to make excesses (five times too many p-values below 0.01 at 50 events), where "dijet3" stays calibrated.
"""


@dataclass(frozen=True)
class BackgroundFunction:
    """A function whose logarithm is linear in ``ln p0`` and in the other parameters.

    Attributes
    ----------
    name : str
        Name in the registry.
    formula : str
        The density in events per GeV, for people.
    names : tuple of str
        Names of the parameters; the first one is the factor in front (events / GeV).
    terms : tuple of callables
        For each other parameter, its coefficient in ``ln f`` as a function of ``x = m / sqrt(s)``.
    """

    name: str
    formula: str
    names: tuple[str, ...]
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.terms) + 1:
            msg = f"function {self.name!r} got {len(self.names)} names, expected one more than its {len(self.terms)} terms"
            raise ConfigError(msg)

    def basis(self, mass: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """Coefficients of (ln p0, p1, ...) in ``ln f``.

        Parameters
        ----------
        mass : array_like of any shape
            Masses (GeV), inside (0, sqrts).
        sqrts : float
            Centre-of-mass energy (GeV).

        Returns
        -------
        ndarray of shape (*mass.shape, n_parameters)

        Raises
        ------
        InputError
            If a mass is not inside (0, sqrts).

        Examples
        --------
        >>> background_function("dijet3").basis([1300.0]).round(4).tolist()
        [[1.0, -0.1054, 2.3026]]
        """
        x = np.asarray(mass, dtype=np.float64) / sqrts
        if x.size and not (x.min() > 0 and x.max() < 1):
            msg = f"{self.name} got masses {x.min() * sqrts:.6g}..{x.max() * sqrts:.6g}, expected 0 < m < sqrts = {sqrts:.6g}"
            raise InputError(msg)
        return np.stack([np.ones_like(x), *(term(x) for term in self.terms)], axis=-1)

    def density(self, mass: npt.ArrayLike, parameters: Mapping[str, float], sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """Value of the function (events / GeV) at the masses, for named physical parameters.

        Examples
        --------
        >>> f = background_function("dijet2")
        >>> round(float(f.density(1300.0, {"p0": 2.0, "p2": 3.0})), 6)
        2000.0
        """
        missing = [name for name in self.names if name not in parameters]
        if missing:
            msg = f"{self.name} got parameters {sorted(parameters)}, expected {list(self.names)}"
            raise InputError(msg)
        values = [float(parameters[name]) for name in self.names]
        return np.asarray(values[0] * np.exp(self.basis(mass, sqrts)[..., 1:] @ np.array(values[1:])))


def _minus_ln(x: FloatArray) -> FloatArray:
    return -np.log(x)


def _minus_ln2(x: FloatArray) -> FloatArray:
    return -(np.log(x) ** 2)


def _minus_ln3(x: FloatArray) -> FloatArray:
    return -(np.log(x) ** 3)


def _ln_one_minus(x: FloatArray) -> FloatArray:
    return np.log1p(-x)


def _ln_one_minus_root(x: FloatArray) -> FloatArray:
    return np.log1p(-np.cbrt(x))


def _minus(x: FloatArray) -> FloatArray:
    return -x


def _minus2(x: FloatArray) -> FloatArray:
    return -(x**2)


def _minus3(x: FloatArray) -> FloatArray:
    return -(x**3)


_REGISTRY: dict[str, BackgroundFunction] = {}


def register_function(function: BackgroundFunction) -> BackgroundFunction:
    """Make a function known by its name to every fit, scan and limit.

    Raises
    ------
    ConfigError
        If the name is taken by another function, or is the reserved word "auto".

    Examples
    --------
    >>> steep = BackgroundFunction("docs-exponential", "p0 exp(-p1 x)", ("p0", "p1"), (lambda x: -x,))
    >>> register_function(steep).name in available_functions()
    True
    """
    if function.name == "auto" or _REGISTRY.get(function.name, function) != function:
        msg = f"background function {function.name!r} is taken: expected a new name"
        raise ConfigError(msg)
    _REGISTRY[function.name] = function
    return function


def available_functions() -> tuple[str, ...]:
    """Names of all registered functions."""
    return tuple(sorted(_REGISTRY))


def background_function(name: str) -> BackgroundFunction:
    """Registered function of this name.

    Raises
    ------
    ConfigError
        If there is none; the message holds the nearest names.
    """
    if name not in _REGISTRY:
        raise ConfigError(unknown_name("background function", name, [*_REGISTRY, "auto"]))
    return _REGISTRY[name]


for _function in (
    BackgroundFunction("dijet2", "p0 / x^p2", ("p0", "p2"), (_minus_ln,)),
    BackgroundFunction("dijet3", "p0 (1-x)^p1 / x^p2", ("p0", "p1", "p2"), (_ln_one_minus, _minus_ln)),
    BackgroundFunction(
        "dijet4",
        "p0 (1-x)^p1 / x^(p2 + p3 ln x)",
        ("p0", "p1", "p2", "p3"),
        (_ln_one_minus, _minus_ln, _minus_ln2),
    ),
    BackgroundFunction(
        "dijet5",
        "p0 (1-x)^p1 / x^(p2 + p3 ln x + p4 ln^2 x)",
        ("p0", "p1", "p2", "p3", "p4"),
        (_ln_one_minus, _minus_ln, _minus_ln2, _minus_ln3),
    ),
    BackgroundFunction("exponential", "p0 exp(-p1 x)", ("p0", "p1"), (_minus,)),
    BackgroundFunction(
        "modified-exponential",
        "p0 exp(-p1 x - p2 x^2 - p3 x^3)",
        ("p0", "p1", "p2", "p3"),
        (_minus, _minus2, _minus3),
    ),
    BackgroundFunction("ua2", "p0 x^-p1 exp(-p2 x - p3 x^2)", ("p0", "p1", "p2", "p3"), (_minus_ln, _minus, _minus2)),
    BackgroundFunction("diphoton3", "p0 (1-x^(1/3))^p1 / x^p2", ("p0", "p1", "p2"), (_ln_one_minus_root, _minus_ln)),
):
    register_function(_function)
