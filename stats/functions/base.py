r"""What a background function is, and the registry of their names.

A smoothly falling spectrum is described by a density ``f(m)`` in events per GeV, with ``x = m / sqrt(s)``. Most functions
of the field are *log-linear*, ``f = p0 exp(sum_k p_k t_k(x))``: their Poisson likelihood is that of a generalised linear
model, which `resonaut.stats.engine.batched` fits thousands at a time. The others are fitted one spectrum at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name

__all__ = (
    "DEFAULT_SQRTS",
    "BackgroundFunction",
    "NonLinearFunction",
    "available_functions",
    "background_function",
    "register_function",
)

FloatArray = npt.NDArray[np.float64]
Term = Callable[[FloatArray], FloatArray]

DEFAULT_SQRTS = 13000.0
"""Centre-of-mass energy of LHC Run 2 (GeV)."""


class BackgroundFunction:
    """A density of events per GeV whose logarithm is linear in ``ln p0`` and in the other parameters.

    A function is either a subclass that fills in the attributes below, or an instance made from them in one line. One
    whose logarithm is not linear in its parameters is a `NonLinearFunction`.

    Attributes
    ----------
    name : str
        Name in the registry.
    formula : str
        The density, for people.
    names : tuple of str
        Names of the parameters; the first one is the factor in front (events / GeV).
    terms : tuple of callables
        For each other parameter, its coefficient in ``ln f`` as a function of ``x = m / sqrt(s)``.
    source : str
        Where it was published or used.
    domain : str
        Where it is positive and finite, and what it is good for.
    log_linear : bool
        Whether the batched engine, and so scans and limits, can take it.

    Raises
    ------
    ConfigError
        If there is not one name more than there are terms.

    Examples
    --------
    >>> gauss = BackgroundFunction("docs-gauss", "p0 exp(-p1 x^2)", ("p0", "p1"), (lambda x: -x**2,))
    >>> round(float(gauss.density(6500.0, {"p0": 1.0, "p1": 4.0})), 4)
    0.3679
    """

    name: str = ""
    formula: str = ""
    names: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    source: str = ""
    domain: str = "0 < x < 1"
    log_linear: bool = True

    def __init__(
        self,
        name: str | None = None,
        formula: str | None = None,
        names: Sequence[str] | None = None,
        terms: Sequence[Term] | None = None,
        *,
        source: str | None = None,
        domain: str | None = None,
    ) -> None:
        given: dict[str, Any] = {"name": name, "formula": formula, "source": source, "domain": domain}
        given |= {"names": None if names is None else tuple(names), "terms": None if terms is None else tuple(terms)}
        for key, value in given.items():
            if value is not None:
                setattr(self, key, value)
        self._check()

    def _check(self) -> None:
        if len(self.names) != len(self.terms) + 1:
            msg = f"function {self.name!r} got {len(self.names)} names, expected one more than its {len(self.terms)} terms"
            raise ConfigError(msg)

    def _identity(self) -> tuple[Any, ...]:
        return type(self), self.name, self.formula, self.names, self.terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BackgroundFunction) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"<background function {self.name}: {self.formula}>"

    def fraction(self, mass: npt.ArrayLike, sqrts: float) -> FloatArray:
        """``x = m / sqrt(s)``, checked.

        Raises
        ------
        InputError
            If a mass is not inside (0, sqrts).
        """
        x = np.asarray(mass, dtype=np.float64) / sqrts
        if x.size and not (x.min() > 0 and x.max() < 1):
            msg = f"{self.name} got masses {x.min() * sqrts:.6g}..{x.max() * sqrts:.6g}, expected 0 < m < sqrts = {sqrts:.6g}"
            raise InputError(msg)
        return x

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
        ConfigError
            If the function is not log-linear.

        Examples
        --------
        >>> from resonaut.stats import background_function
        >>> background_function("dijet3").basis([1300.0]).round(4).tolist()
        [[1.0, -0.1054, 2.3026]]
        """
        x = self.fraction(mass, sqrts)
        return np.stack([np.ones_like(x), *(term(x) for term in self.terms)], axis=-1)

    def log_density(self, mass: npt.ArrayLike, natural: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """``ln f`` at the masses.

        Parameters
        ----------
        mass : array_like of any shape
            GeV.
        natural : array_like of shape (n_parameters,)
            Natural parameters, (ln p0, p1, p2, ...).
        sqrts : float
            GeV.

        Returns
        -------
        ndarray of the shape of `mass`
        """
        return np.asarray(self.basis(mass, sqrts) @ np.asarray(natural, dtype=np.float64))

    def gradient(
        self,
        mass: npt.ArrayLike,
        natural: npt.ArrayLike,  # noqa: ARG002  (the gradient of a linear function is the same everywhere)
        sqrts: float = DEFAULT_SQRTS,
    ) -> FloatArray:
        """Derivatives of ``ln f`` by the natural parameters, of shape (*mass.shape, n_parameters)."""
        return self.basis(mass, sqrts)

    def natural(self, parameters: Mapping[str, float]) -> FloatArray:
        """Natural parameters (ln p0, p1, ...) of named physical ones.

        Raises
        ------
        InputError
            If a parameter is missing.
        """
        if any(name not in parameters for name in self.names):
            msg = f"{self.name} got parameters {sorted(parameters)}, expected {list(self.names)}"
            raise InputError(msg)
        values = np.array([float(parameters[name]) for name in self.names])
        with np.errstate(divide="ignore", invalid="ignore"):
            values[0] = np.log(values[0])
        return values

    def density(self, mass: npt.ArrayLike, parameters: Mapping[str, float], sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """Value of the function (events / GeV) at the masses, for named physical parameters.

        Raises
        ------
        InputError
            If a parameter is missing, or a mass is not inside (0, sqrts).

        Examples
        --------
        >>> from resonaut.stats import background_function
        >>> f = background_function("dijet2")
        >>> round(float(f.density(1300.0, {"p0": 2.0, "p2": 3.0})), 6)
        2000.0
        """
        values = self.natural(parameters)
        values[0] = 0.0
        return np.asarray(float(parameters[self.names[0]]) * np.exp(self.log_density(mass, values, sqrts)))


class NonLinearFunction(BackgroundFunction, ABC):
    """A function whose logarithm is not linear in its parameters: for single fits only.

    A subclass gives `log_shape`, `shape_gradient` and `starts`; the factor p0 in front is added here.

    Attributes
    ----------
    starts : tuple of tuples of float
        Values of (p1, p2, ...) from which a fit is started. The likelihood may have several minima: a few, well apart.
    """

    log_linear = False
    starts: tuple[tuple[float, ...], ...] = ()

    def _check(self) -> None:
        if not self.starts or any(len(start) + 1 != len(self.names) for start in self.starts):
            msg = f"function {self.name!r} got starts {self.starts}, expected values of {list(self.names[1:])} in each"
            raise ConfigError(msg)

    @abstractmethod
    def log_shape(self, x: FloatArray, shape: FloatArray) -> FloatArray:
        """``ln(f / p0)`` at x = m / sqrt(s), for shape = (p1, p2, ...)."""

    @abstractmethod
    def shape_gradient(self, x: FloatArray, shape: FloatArray) -> Sequence[FloatArray]:
        """Derivatives of `log_shape` by p1, p2, ..., each of the shape of x."""

    def basis(self, mass: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:  # noqa: ARG002
        """There is none.

        Raises
        ------
        ConfigError
            Always: it names the functions that have one.
        """
        msg = (
            f"function {self.name!r} is not log-linear: batched fits, and so scans, toys and limits, cannot take it; "
            f"expected one of {', '.join(available_functions(log_linear=True))}. fit_background takes it"
        )
        raise ConfigError(msg)

    def log_density(self, mass: npt.ArrayLike, natural: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """``ln f`` at the masses, see `BackgroundFunction.log_density`."""
        values = np.asarray(natural, dtype=np.float64)
        return np.asarray(values[0] + self.log_shape(self.fraction(mass, sqrts), values[1:]))

    def gradient(self, mass: npt.ArrayLike, natural: npt.ArrayLike, sqrts: float = DEFAULT_SQRTS) -> FloatArray:
        """Derivatives of ``ln f`` by the natural parameters, of shape (*mass.shape, n_parameters)."""
        x = self.fraction(mass, sqrts)
        parts = self.shape_gradient(x, np.asarray(natural, dtype=np.float64)[1:])
        return np.stack([np.ones_like(x), *(np.broadcast_to(part, x.shape) for part in parts)], axis=-1)


_REGISTRY: dict[str, BackgroundFunction] = {}


def register_function(function: BackgroundFunction) -> BackgroundFunction:
    """Make a function known by its name to every fit, and if it is log-linear to every scan and limit.

    Raises
    ------
    ConfigError
        If the name is empty, taken by another function, or the reserved word "auto".

    Examples
    --------
    >>> from resonaut.stats import BackgroundFunction, available_functions, register_function
    >>> steep = BackgroundFunction("docs-exponential", "p0 exp(-p1 x)", ("p0", "p1"), (lambda x: -x,))
    >>> register_function(steep).name in available_functions()
    True
    """
    if function.name in ("", "auto") or _REGISTRY.get(function.name, function) != function:
        msg = f"background function {function.name!r} is taken: expected a new name"
        raise ConfigError(msg)
    _REGISTRY[function.name] = function
    return function


def available_functions(*, log_linear: bool | None = None) -> tuple[str, ...]:
    """Names of all registered functions, or of those that are (not) log-linear.

    Examples
    --------
    >>> from resonaut.stats import available_functions
    >>> "dijet4" in available_functions(log_linear=True), "dijet4" in available_functions(log_linear=False)
    (True, False)
    """
    return tuple(sorted(name for name, f in _REGISTRY.items() if log_linear is None or f.log_linear == log_linear))


def background_function(name: str) -> BackgroundFunction:
    """Registered function of this name.

    Raises
    ------
    ConfigError
        If there is none; the message holds the nearest names.
    """
    if name not in _REGISTRY:
        raise ConfigError(unknown_name("background function", name, _REGISTRY))
    return _REGISTRY[name]
