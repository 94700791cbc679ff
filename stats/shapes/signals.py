"""Signal templates with their systematic uncertainties."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.stats.records import brief
from resonaut.stats.shapes.gaussian import GaussianShape
from resonaut.stats.spectrum import Spectrum, as_counts

__all__ = (
    "Signal",
    "SignalLike",
    "TemplateMaker",
    "as_signal",
    "check_relative",
    "gaussian_template",
    "shape_variations",
    "signal_counts",
)

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

LARGE = 0.5  # relative uncertainty that is more likely a mistake


@runtime_checkable
class TemplateMaker(Protocol):
    """A signal shape that can be integrated over any bins."""

    def template(self, edges: FloatArray) -> FloatArray:
        """Events in each bin."""
        ...


@dataclass(frozen=True, eq=False)
class Signal:
    """Template of a signal with systematic uncertainties; nuisances of one name are one nuisance everywhere.

    Attributes
    ----------
    template : ndarray of shape (bins,), shape or Spectrum
        Events in each bin for a strength of 1. With ``luminosity=`` of a limit it is the *part* of the signal in each bin
        instead: its sum is the acceptance of the bins, 1 if nothing is lost. A shape (`GaussianShape`, any object with
        ``template(edges)``) is integrated over the bins of the spectrum that it is fitted to.
    yields : mapping of str to float
        Relative uncertainty of the yield by name, such as ``{"luminosity": 0.02, "efficiency": 0.05}``; each is
        log-normal, ``(1 + u)^nu``. Not the factor of Combine's datacards: 1.02 there is 0.02 here.
    shapes : mapping of str to (down, up)
        Templates at -1 and +1 standard deviation of a nuisance, each like `template`. Between them the template is
        interpolated bin by bin, beyond them continued linearly (``histosys`` with code4p in pyhf).

    Examples
    --------
    >>> from resonaut.stats import CrystalBallShape, Signal
    >>> Signal(CrystalBallShape(3000.0, 100.0, 1.5, 3.0, 1.8, 8.0), {"luminosity": 0.025}).names
    ('luminosity',)
    """

    template: Any  # an array from the first fit on
    yields: Mapping[str, float] = field(default_factory=dict)
    shapes: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    __repr__ = brief

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all nuisances, in alphabetical order."""
        return tuple(sorted({*self.yields, *self.shapes}))

    def _binned(self) -> Signal:
        if isinstance(self.template, TemplateMaker) or hasattr(self.template, "axes"):
            msg = f"signal got the template {self.template!r}, expected events in bins here: pass its template(edges)"
            raise InputError(msg)
        return self

    def scaled(self, factor: float) -> Signal:
        """The same signal, `factor` times as strong."""
        shapes = {name: (factor * down, factor * up) for name, (down, up) in self.shapes.items()}
        return Signal(factor * self._binned().template, self.yields, shapes)

    def inside(self, bins: npt.NDArray[np.bool_]) -> Signal:
        """The same signal in some of the bins, others dropped."""
        shapes = {name: (down[bins], up[bins]) for name, (down, up) in self.shapes.items()}
        return Signal(self._binned().template[bins], self.yields, shapes)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        shapes = {name: [down.tolist(), up.tolist()] for name, (down, up) in self.shapes.items()}
        return {"template": self._binned().template.tolist(), "yields": dict(self.yields), "shapes": shapes}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Signal:
        """Inverse of `to_dict`."""
        shapes = {name: (np.array(down), np.array(up)) for name, (down, up) in content["shapes"].items()}
        return cls(np.array(content["template"], dtype=np.float64), dict(content["yields"]), shapes)


SignalLike: TypeAlias = "Signal | TemplateMaker | Spectrum | npt.ArrayLike"
"""A `Signal`, a shape with ``template(edges)``, a histogram, or events in each bin."""


def as_signal(signal: SignalLike, edges: FloatArray, *, uncertainty: float = 0.0) -> Signal:
    """Checked signal over the bins of a spectrum.

    Parameters
    ----------
    signal : Signal, shape, Spectrum or array_like of shape (bins,)
    edges : ndarray of shape (bins + 1,)
    uncertainty : float
        Relative uncertainty of the yield, added under the name "signal_yield".

    Raises
    ------
    InputError
        If the binning differs, a template is negative, not finite or empty, or an uncertainty is not one.
    """
    if isinstance(signal, Signal):
        shapes = {name: _pair(name, pair, edges) for name, pair in signal.shapes.items()}
        found = Signal(signal_counts(events_of(signal.template, edges), edges), dict(signal.yields), shapes)
    else:
        found = Signal(signal_counts(events_of(signal, edges), edges))
    if uncertainty:
        found = Signal(found.template, {**found.yields, "signal_yield": uncertainty}, found.shapes)
    for name, value in found.yields.items():
        check_relative(name, value)
    reserved = [name for name in found.names if name == "mu" or name.startswith("background_")]
    if reserved:
        msg = f"signal uncertainty got the reserved name {reserved[0]!r}, expected one like 'luminosity'"
        raise InputError(msg)
    return found


def check_relative(name: str, value: Any) -> None:
    """Refuse what is no relative uncertainty of a yield; tell of one that looks like a factor.

    Raises
    ------
    InputError
        Unless it is one number, finite and not negative.
    """
    if not isinstance(value, float | int | np.floating | np.integer) or not 0.0 <= value < np.inf:
        msg = (
            f"yield uncertainty {name!r} got {value!r}, expected one relative uncertainty, 0.1 for 10 % "
            "(a pair of templates goes to `shapes`)"
        )
        raise InputError(msg)
    if value > LARGE:
        _tell_large(name, float(value))


@lru_cache(maxsize=256)  # once each, not at every mass of a scan
def _tell_large(name: str, value: float) -> None:
    logger.warning(
        "yield uncertainty %r is %.0f %%: values are relative uncertainties, 0.025 where a datacard of Combine has 1.025",
        name,
        100.0 * value,
    )


def _pair(name: str, pair: tuple[FloatArray, FloatArray], edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    try:
        down, up = pair
        return signal_counts(events_of(down, edges), edges), signal_counts(events_of(up, edges), edges)
    except (InputError, ValueError, TypeError) as error:
        msg = f"shape uncertainty {name!r} got templates that cannot be used, expected (down, up): {error}"
        raise InputError(msg) from error


def events_of(shape: Any, edges: FloatArray) -> Any:
    """Events in each bin of a shape object or a function of the edges; anything else is returned as it is."""
    if isinstance(shape, Signal):
        return shape
    if isinstance(shape, TemplateMaker):
        return shape.template(edges)
    return shape(edges) if callable(shape) and not hasattr(shape, "axes") else shape


def shape_variations(
    shape: TemplateMaker | Callable[[FloatArray], npt.ArrayLike],
    edges: npt.ArrayLike,
    mass: float,
    *,
    scale: float = 0.0,
    resolution: float = 0.0,
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Templates of a resonance for an uncertain energy scale and resolution, for `Signal.shapes`.

    The shape is moved as a whole (``m -> m (1 +- scale)``) and stretched about its mass
    (``m - M -> (m - M)(1 +- resolution)``) by changing the bins that it is integrated over, so no parameter of it has
    to be known.

    Parameters
    ----------
    shape : object with ``template(edges)``, or function of the edges
        Events in each bin.
    edges : array_like of shape (bins + 1,)
        GeV.
    mass : float
        GeV.
    scale, resolution : float
        Relative uncertainties; 0 leaves one out.

    Returns
    -------
    dict
        (down, up) under "energy_scale" and "energy_resolution".

    Examples
    --------
    >>> edges = np.linspace(2000.0, 4000.0, 5)
    >>> pair = shape_variations(lambda e: gaussian_template(3000.0, 200.0, e), edges, 3000.0, scale=0.02)
    >>> [template.round(3).tolist() for template in pair["energy_scale"]]
    [[0.012, 0.608, 0.378, 0.002], [0.003, 0.381, 0.6, 0.016]]
    """
    bounds = np.asarray(edges, dtype=np.float64)
    found: dict[str, tuple[FloatArray, FloatArray]] = {}

    def events(moved: FloatArray) -> FloatArray:
        return np.asarray(events_of(shape, moved), dtype=np.float64)

    if scale:
        found["energy_scale"] = (events(bounds / (1.0 - scale)), events(bounds / (1.0 + scale)))
    if resolution:
        narrow, wide = (mass + (bounds - mass) / (1.0 + sign * resolution) for sign in (-1.0, 1.0))
        found["energy_resolution"] = (events(narrow), events(wide))
    return found


def gaussian_template(mass: float, width: float, edges: npt.ArrayLike, yield_: float = 1.0) -> FloatArray:
    """Events of a Gaussian resonance in each bin, integrated.

    Parameters
    ----------
    mass, width : float
        Mean and standard deviation (GeV).
    edges : array_like of shape (bins + 1,)
        GeV.
    yield_ : float
        Events of the whole resonance; what lies outside the edges is lost, so that the sum may be smaller.

    Raises
    ------
    InputError
        If the mass or the width is not positive, or the resonance lies more than 5 widths outside the edges.

    Examples
    --------
    >>> gaussian_template(3500.0, 100.0, [3300.0, 3500.0, 3700.0], 100.0).round(2).tolist()
    [47.72, 47.72]
    """
    return GaussianShape(mass, width).template(edges, yield_)


def signal_counts(signal: Spectrum | npt.ArrayLike, edges: FloatArray) -> FloatArray:
    """Events of a template in each bin: an array over the bins, or a histogram with the same edges.

    Raises
    ------
    InputError
        If the binning differs, or the template is negative, not finite, or empty.
    """
    if hasattr(signal, "axes") or (isinstance(signal, tuple) and len(signal) == 2):
        values, bounds, _ = as_counts(signal)
        if bounds.shape != edges.shape or not np.allclose(bounds, edges, rtol=1e-9):
            msg = f"signal template got {len(values)} bins that differ from the {len(edges) - 1} bins of the spectrum"
            raise InputError(msg)
    else:
        try:
            values = np.array(signal, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = f"signal template got {type(signal).__name__}, expected a shape, a histogram or events in each bin"
            raise InputError(msg) from error
    if values.shape != (len(edges) - 1,) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        msg = f"signal template got shape {values.shape} with sum {values.sum():.6g}, expected ({len(edges) - 1},), >= 0, sum > 0"
        raise InputError(msg)
    return values
