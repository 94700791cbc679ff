r"""Shapes at masses that were not simulated.

Three ways to go from histograms at some masses to one between them. All return the simulated histogram at its own mass.

"quantile"
    The mass below which a given fraction of the events lies moves smoothly with the mass of the resonance: for each fraction,
    ``quantile / M`` is interpolated against ``1 / M``. Interpolation of cumulative distributions is due to A. L. Read
    (NIM A 425 (1999) 357).
"moment"
    Moment morphing (Baak, Gadatsu, Harrington, Verkerke, arXiv:1410.7388, section 2): the two neighbours are moved and
    stretched to the interpolated mean and width, then averaged with weights linear in the mass. The paper interpolates mean
    and width by a polynomial; we take the monotone cubic, against ``1 / M``, which does not oscillate.
"scaled"
    The two neighbours in ``m / M``, averaged with weights linear in the mass, as in CMS's dijet searches.

The first two are exact for every family of shapes whose mean and width are linear in the mass, ``m = a(M) + b(M) z`` with
one distribution of z (a Gaussian, for instance); the third for shapes that depend on ``m / M`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, FitError, InputError, unknown_name
from resonaut.stats.shapes.base import FittableShape, FloatArray
from resonaut.stats.shapes.fitting import ShapeFit
from resonaut.stats.shapes.template import TemplateShape
from resonaut.stats.spectrum import Spectrum

__all__ = ("InterpolatedShapes", "MorphedShapes")

SMALLEST_BIN = 1e-9  # width of a bin relative to the mass, below which it is merged


class _Nodes:
    """Increasing masses, and which of them a mass lies between."""

    def __init__(self, masses: npt.ArrayLike) -> None:
        self.values = np.asarray(masses, dtype=np.float64)
        if len(self.values) < 2 or not np.isfinite(self.values).all() or (np.diff(self.values) <= 0).any():
            msg = f"got shapes at {len(self.values)} masses, expected at least 2 different masses in GeV"
            raise InputError(msg)

    def index(self, mass: float) -> int | None:
        """Position of a mass that is a node, or None.

        Raises
        ------
        InputError
            If the mass lies outside the nodes.
        """
        lower = self.lower(mass)
        return next((index for index in (lower, lower + 1) if self.values[index] == mass), None)

    def lower(self, mass: float) -> int:
        """Position of the node below.

        Raises
        ------
        InputError
            If the mass lies outside the nodes.
        """
        low, high = self.values[0], self.values[-1]
        if np.ndim(mass):
            msg = f"got an array of shape {np.shape(mass)} for the mass of a resonance, expected one mass in GeV: use shapes(mass).template(edges)"
            raise InputError(msg)
        if not low <= mass <= high:
            msg = f"got a resonance of {mass:.6g} GeV outside the masses {low:.6g}..{high:.6g} GeV of the shapes: simulate it"
            raise InputError(msg)
        return min(int(np.searchsorted(self.values, mass, side="right")) - 1, len(self.values) - 2)

    def near(self, mass: float) -> slice:
        """The nodes that the monotone cubic at this mass depends on: up to two on each side."""
        lower = self.lower(mass)
        return slice(max(lower - 1, 0), lower + 3)

    def fraction(self, mass: float) -> float:
        """Way from the node below to the one above, 0 to 1."""
        lower = self.lower(mass)
        below, above = self.values[lower : lower + 2]
        return float((mass - below) / (above - below))

    def interpolate(self, mass: float, values: npt.ArrayLike) -> FloatArray:
        """Monotone cubic against 1 / mass through the values (nodes, ...) of the nodes of `near`."""
        from scipy.interpolate import PchipInterpolator  # takes a fifth of the import of this package

        curve = PchipInterpolator(-1.0 / self.values[self.near(mass)], np.asarray(values, dtype=np.float64), axis=0)
        return np.asarray(curve(-1.0 / mass))


class MorphedShapes:
    """Histograms of simulated resonances, and those between them.

    Parameters
    ----------
    templates : mapping of float to TemplateShape or Spectrum
        Mass of the resonance (GeV) -> histogram; edges may differ.
    method : str
        "quantile", "moment" or "scaled": see the head of `resonaut.stats.shapes.morphing`. `leave_one_out` tells which is
        best for your shapes.

    Raises
    ------
    InputError
        If there are fewer than two masses, or a histogram cannot be used.
    ConfigError
        If the method is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import GaussianShape, MorphedShapes
    >>> edges = np.linspace(500.0, 3500.0, 601)
    >>> shapes = MorphedShapes({m: (GaussianShape(m, 0.05 * m).template(edges), edges) for m in (1000.0, 2000.0)})
    >>> mean, width = shapes(1600.0).moments()
    >>> print(f"{mean:.1f} {width:.1f}")
    1600.0 80.0
    >>> shapes(1600.0).template([1500.0, 1600.0, 1700.0], 1000.0).round().tolist()
    [394.0, 394.0]
    """

    def __init__(self, templates: Mapping[float, TemplateShape | Spectrum], *, method: str = "quantile") -> None:
        if method not in METHODS:
            raise ConfigError(unknown_name("morphing method", method, METHODS))
        self.method = method
        self.templates = tuple(_template(float(mass), templates[mass]) for mass in sorted(templates))
        self._nodes = _Nodes([template.mass for template in self.templates])

    @property
    def masses(self) -> tuple[float, ...]:
        """Masses of the simulated resonances (GeV)."""
        return tuple(map(float, self._nodes.values))

    def __call__(self, mass: float) -> TemplateShape:
        """Template of a resonance of this mass (GeV).

        Raises
        ------
        InputError
            If the mass lies outside those of the templates.
        """
        node = self._nodes.index(mass)
        if node is not None:
            return self.templates[node]
        return METHODS[self.method](self._nodes, self.templates, float(mass))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {"method": self.method, "templates": [template.to_dict() for template in self.templates]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MorphedShapes:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError, ConfigError
            If a key is missing or a value cannot be used.
        """
        try:
            templates = [TemplateShape.from_dict(entry) for entry in content["templates"]]
            return cls({template.mass: template for template in templates}, method=content["method"])
        except (KeyError, TypeError) as error:
            msg = f"morphed shapes could not be read: {error}"
            raise InputError(msg) from error


def _template(mass: float, content: TemplateShape | Spectrum) -> TemplateShape:
    if not isinstance(content, TemplateShape):
        return TemplateShape.from_spectrum(mass, content)
    if content.mass != mass:
        msg = f"got a template of mass {content.mass:.6g} GeV under the mass {mass:.6g} GeV: use its own mass"
        raise InputError(msg)
    return content


def _mixture(mass: float, fraction: float, lower: TemplateShape, upper: TemplateShape) -> TemplateShape:
    """Weighted average of two templates on all edges of both: exact, since both are uniform in their bins."""
    edges = np.union1d(lower.edges, upper.edges)
    edges = edges[np.append(True, np.diff(edges) > SMALLEST_BIN * mass)]
    cumulative = (1.0 - fraction) * lower.cdf(edges) + fraction * upper.cdf(edges)
    return TemplateShape(
        mass, edges, np.maximum(np.diff(cumulative), 0.0), below=cumulative[0], above=max(1.0 - cumulative[-1], 0.0)
    )


def _scaled(nodes: _Nodes, templates: tuple[TemplateShape, ...], mass: float) -> TemplateShape:
    lower = nodes.lower(mass)
    below, above = (template.scaled_to(mass) for template in templates[lower : lower + 2])
    return _mixture(mass, nodes.fraction(mass), below, above)


def _moment(nodes: _Nodes, templates: tuple[TemplateShape, ...], mass: float) -> TemplateShape:
    relative = [np.array(template.moments()) / template.mass for template in templates[nodes.near(mass)]]
    mean, width = nodes.interpolate(mass, relative) * mass
    moved = []
    lower = nodes.lower(mass)
    for template in templates[lower : lower + 2]:
        old_mean, old_width = template.moments()
        scale = float(width / old_width)
        moved.append(template.moved(mass, scale=scale, shift=float(mean - scale * old_mean)))
    return _mixture(mass, nodes.fraction(mass), *moved)


def _quantile(nodes: _Nodes, templates: tuple[TemplateShape, ...], mass: float) -> TemplateShape:
    near = templates[nodes.near(mass)]
    inner = [(t.cumulative - t.cumulative[0]) / (t.cumulative[-1] - t.cumulative[0]) for t in near]
    levels = np.unique(np.concatenate(inner))
    relative = [_quantiles(t.edges, cdf, levels) / t.mass for t, cdf in zip(near, inner, strict=True)]
    # the quantiles of steep shapes may cross by a rounding, or by the cubic where a tail holds a few events
    edges = np.maximum.accumulate(nodes.interpolate(mass, relative) * mass)
    last = np.append(np.diff(edges) > SMALLEST_BIN * mass, True)
    cdf = np.repeat(levels, 2)[last]
    cdf[0] = 0.0
    fraction, lower = nodes.fraction(mass), nodes.lower(mass)
    below, above = (
        float((1.0 - fraction) * low + fraction * high)
        for low, high in zip(*(_outside(t) for t in templates[lower : lower + 2]), strict=True)
    )
    return TemplateShape(mass, edges[last], (1.0 - below - above) * np.diff(cdf), below=below, above=above)


def _outside(template: TemplateShape) -> tuple[float, float]:
    return float(template.cumulative[0]), max(float(1.0 - template.cumulative[-1]), 0.0)


def _quantiles(edges: FloatArray, cdf: FloatArray, levels: FloatArray) -> FloatArray:
    """Lowest and highest mass where the cumulative distribution is at each level, one after the other.

    They differ where bins are empty, and there the morphed shape has a gap too.
    """
    first = np.searchsorted(cdf, levels, side="left")
    last = np.searchsorted(cdf, levels, side="right") - 1
    start = np.maximum(first - 1, 0)
    between = np.interp(levels, cdf, edges) if (np.diff(cdf) > 0).all() else _between(edges, cdf, levels, start)
    exact = cdf[first] == levels
    low = np.where(exact, edges[first], between)
    high = np.where(exact, edges[last], between)
    low[0], high[-1] = high[0], low[-1]  # from the first to the last filled bin
    return np.asarray(np.stack([low, high], axis=1).ravel())


def _between(edges: FloatArray, cdf: FloatArray, levels: FloatArray, start: npt.NDArray[np.int64]) -> FloatArray:
    step = cdf[start + 1] - cdf[start]
    part = (levels - cdf[start]) / np.where(step > 0, step, 1.0)
    return np.asarray(edges[start] + part * (edges[start + 1] - edges[start]))


METHODS = {"moment": _moment, "quantile": _quantile, "scaled": _scaled}


class InterpolatedShapes:
    """Fitted shapes at some masses, and those between them by their parameters.

    Each parameter follows a monotone cubic against ``1 / M``: mass and width relative to the mass of the resonance, ends of
    tails and powers by their logarithms. Where neighbouring fits found different minima, parameters jump and the shape between
    does not follow: look at `leave_one_out`, or fix the powers.

    Parameters
    ----------
    shapes : mapping of float to FittableShape or ShapeFit
        Mass of the resonance (GeV) -> shape, all of one kind. The fitted peak need not be at the mass of the resonance.

    Raises
    ------
    InputError
        If there are fewer than two masses or several kinds of shape.
    FitError
        If one of the fits has failed.

    Examples
    --------
    >>> from resonaut.stats import GaussianShape, InterpolatedShapes
    >>> shapes = InterpolatedShapes({1000.0: GaussianShape(990.0, 60.0), 2000.0: GaussianShape(1985.0, 110.0)})
    >>> shape = shapes(1500.0)
    >>> print(f"{shape.mass:.1f} {shape.width:.1f}")
    1487.5 85.0
    """

    def __init__(self, shapes: Mapping[float, FittableShape | ShapeFit]) -> None:
        self.shapes = {float(mass): _fitted(mass, shapes[mass]) for mass in sorted(shapes)}
        self._nodes = _Nodes(list(self.shapes))
        kinds = {shape.kind for shape in self.shapes.values()}
        if len(kinds) > 1:
            msg = f"InterpolatedShapes got shapes of the kinds {sorted(kinds)}, expected one"
            raise InputError(msg)
        self._table = np.array([_flat(mass, shape) for mass, shape in self.shapes.items()])

    @property
    def masses(self) -> tuple[float, ...]:
        """Masses of the simulated resonances (GeV)."""
        return tuple(self.shapes)

    def __call__(self, mass: float) -> FittableShape:
        """Shape of a resonance of this mass (GeV).

        Raises
        ------
        InputError
            If the mass lies outside those of the shapes.
        """
        if self._nodes.index(mass) is not None:
            return self.shapes[float(mass)]
        row = self._nodes.interpolate(mass, self._table[self._nodes.near(mass)])
        first = next(iter(self.shapes.values()))
        values = [_curved(name, float(value), mass) for name, value in zip(first.names, row, strict=True)]
        return type(first)(*values)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {"masses": list(self.shapes), "shapes": [shape.to_dict() for shape in self.shapes.values()]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InterpolatedShapes:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or a value cannot be used.
        """
        try:
            shapes = [FittableShape.from_dict(entry) for entry in content["shapes"]]
            return cls(dict(zip(content["masses"], shapes, strict=True)))
        except (KeyError, TypeError) as error:
            msg = f"interpolated shapes could not be read: {error}"
            raise InputError(msg) from error


def _fitted(mass: float, content: object) -> FittableShape:
    if isinstance(content, ShapeFit):
        if not content.ok:
            msg = f"the shape at {mass:.6g} GeV {content.status}; expected a converged fit: leave this mass out"
            raise FitError(msg)
        return _fitted(mass, content.shape)
    if not isinstance(content, FittableShape):
        msg = f"InterpolatedShapes got a {type(content).__name__}, expected a fitted shape: use MorphedShapes for histograms"
        raise InputError(msg)
    return content


def _flat(mass: float, shape: FittableShape) -> list[float]:
    """Parameters on scales where they change little with the mass."""
    return [_straight(name, float(value), mass) for name, value in zip(shape.names, shape.parameters, strict=True)]


def _straight(name: str, value: float, mass: float) -> float:
    if name in {"mass", "width"}:
        return value / mass
    return float(np.log(value - 1.0 if name.startswith("n_") else value))


def _curved(name: str, value: float, mass: float) -> float:
    if name in {"mass", "width"}:
        return value * mass
    return float(np.exp(value)) + (1.0 if name.startswith("n_") else 0.0)
