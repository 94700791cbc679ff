"""How good an interpolation in mass is: predict a simulated resonance from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resonaut.errors import InputError
from resonaut.stats.records import brief
from resonaut.stats.shapes.base import FloatArray, Shape
from resonaut.stats.shapes.template import TemplateShape

__all__ = ("LeaveOneOut", "leave_one_out")

BINS = 40  # of the total variation distance, over the central 99 % of the events
Interpolation = Callable[[dict[float, TemplateShape]], Callable[[float], Shape]]


@dataclass(frozen=True)
class LeaveOneOut:
    """Distance between the simulated and the predicted shape at one mass.

    Both are compared, and normalised, from the first to the last filled bin of the simulated histogram.

    Attributes
    ----------
    mass : float
        Mass left out (GeV).
    ks : float
        Largest distance of the cumulative distributions.
    total_variation : float
        Fraction of the events in another bin, half the sum of absolute differences over 40 bins.
    mean, width : float
        Relative error of the mean and of the standard deviation.
    """

    mass: float
    ks: float
    total_variation: float
    mean: float
    width: float

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LeaveOneOut:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        try:
            return cls(**content)
        except TypeError as error:
            msg = f"leave-one-out result could not be read: {error}"
            raise InputError(msg) from error


def leave_one_out(
    templates: Mapping[float, TemplateShape],
    interpolation: Interpolation,
    *,
    drop: Iterable[float] | None = None,
    together: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[LeaveOneOut, ...]:
    """Predict simulated shapes from those at the other masses.

    Leave out only what was simulated: shapes that were themselves interpolated favour the method that made them.

    Parameters
    ----------
    templates : mapping of float to TemplateShape
        Mass (GeV) -> histogram of the simulation.
    interpolation : callable
        Makes an interpolation from templates: ``MorphedShapes``, ``lambda t: MorphedShapes(t, method="moment")``, or fits,
        ``lambda t: InterpolatedShapes({m: fit_shape((x.counts, x.edges)) for m, x in t.items()})``.
    drop : iterable of float, optional
        Masses to predict (GeV); all but the lowest and the highest by default.
    together : bool
        Leave out all of `drop` at once instead of one after the other.
    progress : callable, optional
        Called with (done, total) after each mass.

    Returns
    -------
    tuple of LeaveOneOut
        In the order of the masses.

    Raises
    ------
    InputError
        If a mass is not among the templates or is the lowest or highest.

    Examples
    --------
    >>> import numpy as np
    >>> from resonaut.stats import GaussianShape, MorphedShapes, TemplateShape, leave_one_out
    >>> edges = np.linspace(500.0, 4500.0, 801)
    >>> masses = (1000.0, 1500.0, 2000.0, 3000.0)
    >>> shapes = {m: TemplateShape(m, edges, GaussianShape(m, 0.05 * m).template(edges)) for m in masses}
    >>> [result.mass for result in leave_one_out(shapes, MorphedShapes) if result.ks < 1e-3]
    [1500.0, 2000.0]
    """
    masses = sorted(map(float, templates))
    dropped = sorted(map(float, masses[1:-1] if drop is None else drop))
    wrong = [mass for mass in dropped if mass not in masses[1:-1]]
    if wrong or not dropped:
        msg = f"leave_one_out got the masses {wrong or dropped} to drop, expected some of {masses[1:-1]}"
        raise InputError(msg)
    results = []
    for done, mass in enumerate(dropped, start=1):
        out = set(dropped) if together else {mass}
        predict = interpolation({float(m): template for m, template in templates.items() if float(m) not in out})
        results.append(_compare(templates[mass], predict(mass)))
        if progress is not None:
            progress(done, len(dropped))
    return tuple(results)


def _compare(truth: TemplateShape, predicted: Shape) -> LeaveOneOut:
    filled = np.flatnonzero(np.diff(truth.cumulative) > 0)
    edges = truth.edges[filled[0] : filled[-1] + 2]
    ours, theirs = (_inner(shape.cdf(edges)) for shape in (predicted, truth))
    centres, spread = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges) ** 2 / 12.0
    moments = []
    for cdf in (ours, theirs):
        p = np.diff(cdf)
        mean = float(p @ centres)
        moments.append((mean, float(np.sqrt(p @ ((centres - mean) ** 2 + spread)))))
    low, high = np.interp([0.005, 0.995], theirs, edges)
    bins = np.concatenate([edges[:1], np.linspace(low, high, BINS - 1), edges[-1:]])
    difference = np.diff(np.interp(bins, edges, ours - theirs))
    return LeaveOneOut(
        mass=truth.mass,
        ks=float(np.abs(ours - theirs).max()),
        total_variation=float(0.5 * np.abs(difference).sum()),
        mean=moments[0][0] / moments[1][0] - 1.0,
        width=moments[0][1] / moments[1][1] - 1.0,
    )


def _inner(cdf: FloatArray) -> FloatArray:
    return np.asarray((cdf - cdf[0]) / (cdf[-1] - cdf[0]))
