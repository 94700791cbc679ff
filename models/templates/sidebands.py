"""CWoLa hunting on equal footing: the template is the neighbouring sidebands, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from resonaut.errors import RegionError
from resonaut.models.base import feature_names
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import Sample
from resonaut.models.templates.base import BackgroundTemplate, register_template
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.stats import Window

__all__ = ("CWoLa", "SidebandTemplate")


@register_template("sidebands")
class SidebandTemplate(BackgroundTemplate):
    """Data of the window's sidebands, the lower one weighing as much as the upper one.

    Right where the features do not depend on the mass; where they do, the classifier learns the mass instead of the
    signal. Masses of the events are those that they have, outside the signal region.

    Parameters
    ----------
    features
        Columns to read.
    mass_range
        (low, high) of the sideband fit that gives the yield, GeV.
    seed
        Not used: nothing is random.

    References
    ----------
    Collins, Howe, Nachman, arXiv:1805.02664; the balance of the sidebands: arXiv:2104.02092, section 3.1.
    """

    made_of_events: ClassVar[bool] = True

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        mass_range: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.mass_range = None if mass_range is None else (float(mass_range[0]), float(mass_range[1]))
        self.seed = seed
        self.events_: Sample | None = None

    def fit(self, sample: Sample, window: Window) -> SidebandTemplate:
        """Keep the events of the sidebands."""
        self.window_, self.mass_ = window, MassModel.fit(sample, window, self.mass_range)
        parts = []
        for name, inside in (
            ("lower", window.in_lower_sideband(sample.mass)),
            ("upper", window.in_upper_sideband(sample.mass)),
        ):
            part = sample.take(inside)
            if not part.weight.sum() > 0:
                msg = f"the {name} sideband of {window} has no events: widen it"
                raise RegionError(msg)
            parts.append((part, part.weight * (0.5 * self.mass_.total / part.weight.sum())))
        self.events_ = Sample(
            np.concatenate([part.require(self.features) for part, _ in parts]),
            self.features,
            np.concatenate([part.mass for part, _ in parts]),
            np.concatenate([weight for _, weight in parts]),
        )
        return self

    def background(self, seed: int) -> Sample:  # noqa: ARG002  # nothing is random here
        """The events of the sidebands."""
        self.yield_()
        assert self.events_ is not None
        return self.events_


@register("cwola")
class CWoLa(TemplateScorer):
    """CWoLa hunting with the classifier of the other resonant methods: signal region against sidebands.

    Where the features do not depend on the mass it needs no simulation and no density. `CWoLaTrees` and `CWoLaNetwork`
    are the same idea with their own choices (masses relative to mJJ, nested cross-validation).
    """

    template_class = SidebandTemplate
