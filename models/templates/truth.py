"""The idealised detector: true background as the template. Benchmarks only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from resonaut.errors import InputError
from resonaut.models.base import feature_names
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import Sample
from resonaut.models.templates.base import BackgroundTemplate, register_template
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.stats import Window

__all__ = ("IdealisedTemplate", "TruthTemplate")


@register_template("truth")
class TruthTemplate(BackgroundTemplate):
    """Events beside the data (``sample.with_simulation(...)``) that come from the data's own background, as they are.

    A weakly supervised method with a perfect template: the upper end of the scale, reached with the same classifier as
    the other methods. The events must be independent of the data: simulation of the same kind that plays no data, as the
    additional background of the LHC Olympics. Where they have labels, signal among them is left out.

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
    arXiv:2307.11157, section 2.3 ("idealised AD").
    """

    uses_simulation: ClassVar[bool] = True
    learns_from_data: ClassVar[bool] = False

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

    def fit(self, sample: Sample, window: Window) -> TruthTemplate:
        """Keep the true background of the signal region."""
        truth = sample.require_simulation(self.name)
        self.window_, self.mass_ = window, MassModel.fit(sample, window, self.mass_range)
        used = window.in_signal_region(truth.mass)
        if truth.label is not None:
            used &= truth.label == 0
        truth = truth.take(used)
        if not truth.weight.sum() > 0:
            msg = f"none of the events beside the data are background in the signal region {window}"
            raise InputError(msg)
        weight = truth.weight * (self.mass_.total / truth.weight.sum())
        self.events_ = Sample(truth.require(self.features), self.features, truth.mass, weight)
        return self

    def background(self, seed: int) -> Sample:
        """The events, whatever the seed."""
        del seed
        self.yield_()
        assert self.events_ is not None
        return self.events_


@register("idealised-template")
class IdealisedTemplate(TemplateScorer):
    """Signal-region data against true background: what any template could reach with this classifier. Benchmarks only.

    The sample needs background of the data's own kind, and independent of it, beside it:
    ``sample.with_simulation(background)``.

    Examples
    --------
    >>> IdealisedTemplate(["m_l", "tau21_l"]).uses_labels
    True
    """

    uses_labels: ClassVar[bool] = True
    template_class = TruthTemplate
