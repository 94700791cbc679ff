"""What every signal shape can do: bin integrals, the fraction inside the edges, plain JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError, unknown_name

__all__ = ("FittableShape", "Shape", "checked_edges", "positive")

FloatArray = npt.NDArray[np.float64]

NOTHING_INSIDE = 3e-7  # probability of a Gaussian beyond 5 standard deviations


def positive(owner: str, **values: float) -> None:
    """Check that all values are positive and finite.

    Raises
    ------
    InputError
    """
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            msg = f"{owner} got {name} {value}, expected a positive {name}"
            raise InputError(msg)


def checked_edges(edges: npt.ArrayLike) -> FloatArray:
    """Bin edges as an array of shape (bins + 1,), finite and increasing.

    Raises
    ------
    InputError
    """
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        msg = f"shape got edges of shape {bounds.shape}, expected (bins + 1,) finite, strictly increasing masses in GeV"
        raise InputError(msg)
    return bounds


@dataclass(frozen=True)
class Shape(ABC):
    """Distribution of the reconstructed mass of one resonance, normalised to one over all masses.

    Attributes
    ----------
    mass : float
        Mass of the resonance (GeV).
    """

    kind: ClassVar[str]
    _kinds: ClassVar[dict[str, type[Shape]]] = {}

    mass: float

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in vars(cls):
            Shape._kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        """Check the parameters; subclasses check more of them."""
        positive(self.kind, mass=self.mass)

    @abstractmethod
    def density(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability per GeV at the masses (GeV), of the same shape as `mass`."""

    @abstractmethod
    def _below(self, mass: FloatArray) -> FloatArray:
        """Probability below ``min(mass, self.mass)``, precise far below the peak."""

    @abstractmethod
    def _above(self, mass: FloatArray) -> FloatArray:
        """Probability above ``max(mass, self.mass)``, precise far above the peak."""

    @abstractmethod
    def scaled_to(self, mass: float) -> Shape:
        """The same shape in ``m / mass``, for a resonance of another mass (GeV)."""

    def cdf(self, mass: npt.ArrayLike) -> FloatArray:
        """Probability below the masses (GeV), of the same shape as `mass`."""
        m = np.asarray(mass, dtype=np.float64)
        return np.asarray(np.where(m < self.mass, self._below(m), 1.0 - self._above(m)))

    def probability(self, edges: npt.ArrayLike) -> FloatArray:
        """Probability of each bin, shape (bins,).

        Raises
        ------
        InputError
            If the edges do not increase.
        """
        bounds = checked_edges(edges)
        # each side of the peak is taken from its own tail: no cancellation far from the peak
        return np.asarray(np.diff(self._below(bounds)) - np.diff(self._above(bounds)))

    def inside(self, edges: npt.ArrayLike) -> float:
        """Fraction of the resonance between the first and the last edge (GeV).

        Raises
        ------
        InputError
            If the edges do not increase.
        """
        bounds = checked_edges(edges)
        return float(self.probability(bounds[[0, -1]])[0])

    def template(self, edges: npt.ArrayLike, yield_: float = 1.0) -> FloatArray:
        """Events in each bin, integrated.

        Parameters
        ----------
        edges : array_like of shape (bins + 1,)
            GeV.
        yield_ : float
            Events of the whole resonance. What lies outside the edges is lost: the sum is ``yield_ * inside(edges)``.

        Returns
        -------
        ndarray of shape (bins,)

        Raises
        ------
        InputError
            If the edges do not increase, the yield is negative, or all but 3e-7 of the resonance lies on one side of
            the edges.
        """
        bounds = checked_edges(edges)
        if not (np.isfinite(yield_) and yield_ >= 0):
            msg = f"{self.kind} got a yield of {yield_}, expected a number of events >= 0"
            raise InputError(msg)
        if 1.0 - self.cdf(bounds[0]) < NOTHING_INSIDE or self.cdf(bounds[-1]) < NOTHING_INSIDE:
            msg = (
                f"{self.kind} of mass {self.mass:.6g} GeV lies outside the edges {bounds[0]:.6g}..{bounds[-1]:.6g} GeV: "
                "choose a mass inside them"
            )
            raise InputError(msg)
        return np.asarray(yield_ * self.probability(bounds))

    def to_dict(self) -> dict[str, Any]:
        """Kind and parameters as plain numbers and lists, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: v.tolist() if isinstance(v, np.ndarray) else float(v) for name, v in values.items()}
        return {"kind": self.kind, **plain}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; ``Shape.from_dict`` makes a shape of any kind.

        Raises
        ------
        InputError
            If the kind is not known or is that of another class, or a parameter is missing, unknown or out of range.
        """
        values = dict(content)
        kind = str(values.pop("kind", None))
        if kind not in Shape._kinds:
            raise InputError(unknown_name("kind of shape", kind, Shape._kinds))
        target = Shape._kinds[kind]
        if not issubclass(target, cls):
            msg = (
                f"{cls.__name__}.from_dict got a shape of kind {kind!r}, expected a {cls.__name__}: use Shape.from_dict"
            )
            raise InputError(msg)
        try:
            return target(**values)
        except TypeError as error:
            msg = f"{kind} could not be read: {error}"
            raise InputError(msg) from error


class FittableShape(Shape):
    """A shape of a few parameters whose bin integrals have a gradient."""

    names: ClassVar[tuple[str, ...]]
    limits: ClassVar[tuple[tuple[float, float], ...]]
    """Range of each parameter in a fit, those of mass and width in units of the start values."""

    @property
    def parameters(self) -> FloatArray:
        """Values in the order of `names`, shape (parameters,)."""
        return np.array([getattr(self, name) for name in self.names], dtype=np.float64)

    @abstractmethod
    def probability_gradient(self, edges: npt.ArrayLike) -> FloatArray:
        """Derivative of `probability` with respect to each parameter, shape (bins, parameters)."""
