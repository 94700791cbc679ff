"""Signal shapes: what a resonance looks like in the reconstructed mass, at any mass and in any binning.

Shapes
    `GaussianShape`, `CrystalBallShape`, `BreitWignerShape`, `TemplateShape`, all of them a `Shape`
Fit of a shape to simulation
    `fit_shape` -> `ShapeFit`
Other masses than the simulated ones
    `MorphedShapes` (histograms), `InterpolatedShapes` (parameters), `leave_one_out` -> `LeaveOneOut`
"""

from __future__ import annotations

from resonaut.stats.shapes.base import FittableShape, Shape
from resonaut.stats.shapes.breit_wigner import BreitWignerShape
from resonaut.stats.shapes.comparison import LeaveOneOut, leave_one_out
from resonaut.stats.shapes.crystal_ball import CrystalBallShape
from resonaut.stats.shapes.fitting import ShapeFit, fit_shape
from resonaut.stats.shapes.gaussian import GaussianShape
from resonaut.stats.shapes.morphing import InterpolatedShapes, MorphedShapes
from resonaut.stats.shapes.template import TemplateShape

__all__ = (
    "BreitWignerShape",
    "CrystalBallShape",
    "FittableShape",
    "GaussianShape",
    "InterpolatedShapes",
    "LeaveOneOut",
    "MorphedShapes",
    "Shape",
    "ShapeFit",
    "TemplateShape",
    "fit_shape",
    "leave_one_out",
)
