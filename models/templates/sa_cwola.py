"""CWoLa hunting with simulation that tells what depends on the mass: as flipped roles, or as a weight on the sidebands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from resonaut.errors import RegionError
from resonaut.models.base import require_positive
from resonaut.models.classifiers import make_classifier
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import register_template
from resonaut.models.templates.reweight import (
    clipped_ratio,
    density_ratio,
    effective_events,
    follow_model,
    log_ratio,
    match_masses,
    reweighted,
)
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.models.templates.sidebands import SidebandTemplate
from resonaut.stats import Window

__all__ = ("SACWoLa", "SACWoLaTemplate", "SidebandsTransfer", "SidebandsTransferTemplate")


@register_template("sa-cwola")
class SACWoLaTemplate(SidebandTemplate):
    """Sidebands as they are, and simulation with the roles of signal region and sidebands exchanged.

    Simulation of the signal region stands beside the sideband data, simulation of the sidebands beside the data of the
    signal region: a classifier that tells signal region from sidebands by anything that simulation has too is wrong about
    the simulation as often as it is right about the data.

    Parameters
    ----------
    features, mass_range, seed
        As in `SidebandTemplate`.
    strength
        Weight lambda of the simulation relative to the data, in either class.

    Notes
    -----
    With densities b of the data's background, s of the simulation and g of the signal, of which the signal region has
    the fraction e, the optimal classifier is, at equal total weight of the classes,

        f / (1 - f) = [(1 - e) b_SR + e g + lambda s_SB] / [b_SB + lambda s_SR].

    Without signal, with lambda = 1 and s = b, numerator and denominator are equal at every x, however b depends on the
    mass; with signal what is left is 1 + e (g - b_SR) / (b_SR + b_SB), which grows with g / (b_SR + b_SB). Any other
    lambda leaves (r + lambda) / (1 + lambda r), r = b_SR / b_SB: damped, not gone. Where simulation is wrong by a factor
    u(x) that does not depend on the mass, (r + u) / (1 + u r) is left. `SidebandsTransferTemplate` is free of that.

    References
    ----------
    Benkendorfer, Le Pottier, Nachman, arXiv:2009.02205.
    """

    uses_simulation: ClassVar[bool] = True

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        mass_range: Sequence[float] | None = None,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features, mass_range=mass_range, seed=seed)
        self.strength = float(strength)
        require_positive(self.name, strength=self.strength)
        self.companions_: Sample | None = None

    def fit(self, sample: Sample, window: Window) -> SACWoLaTemplate:
        """Keep sideband data and simulation."""
        super().fit(sample, window)
        assert self.events_ is not None
        inside, outside = simulated_regions(self, sample, window)
        total = self.mass_model.total
        share = self.strength / (1 + self.strength)  # background() must sum to the yield
        inside = reweighted(inside, inside.weight * (share * total / inside.weight.sum()))
        self.companions_ = reweighted(outside, outside.weight * (self.strength / outside.weight.sum()))
        self.events_ = _joined(reweighted(self.events_, self.events_.weight * (1 - share)), inside)
        return self

    def companions(self, seed: int) -> Sample | None:
        """Simulation of the sidebands."""
        del seed
        return self.companions_


@register_template("sidebands-transfer")
class SidebandsTransferTemplate(SidebandTemplate):
    """Data of the sidebands, weighted by the simulation's ratio of signal region to sidebands, s_SR(x) / s_SB(x).

    Where simulation is wrong by a factor u(x), the ratio is right as long as u does not depend on the mass:
    b_SB s_SR / s_SB = b_SB u b_SR / (u b_SB) = b_SR. The classifier learns a ratio that is near 1 everywhere, and
    nothing is interpolated in the mass.

    Parameters
    ----------
    features, mass_range
        As in `SidebandTemplate`.
    classifier, classifier_options
        As in `TemplateScorer`; here it tells signal region from sidebands in simulation.
    largest_weight
        Weights beyond [1 / largest_weight, largest_weight] are clipped and counted.
    seed
        Of the classifier.
    """

    uses_simulation: ClassVar[bool] = True

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        mass_range: Sequence[float] | None = None,
        classifier: str = "trees",
        classifier_options: Mapping[str, Any] | None = None,
        largest_weight: float = 50.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features, mass_range=mass_range, seed=seed)
        self.classifier = classifier
        self.classifier_options = dict(classifier_options or {})
        self.largest_weight = float(largest_weight)
        require_positive(self.name, largest_weight=self.largest_weight - 1)
        make_classifier(classifier, **self.classifier_options)  # wrong options are told now
        self.facts_: dict[str, Any] = {}

    def fit(self, sample: Sample, window: Window) -> SidebandsTransferTemplate:
        """Weight the sideband data."""
        super().fit(sample, window)
        assert self.events_ is not None
        inside, outside = simulated_regions(self, sample, window)
        trained = density_ratio(
            inside.features,
            outside.features,
            (inside.weight, outside.weight),
            self.classifier,
            self.classifier_options,
            self.seed,
        )
        logs = log_ratio(trained, self.events_.features)
        ratio, clipped = clipped_ratio(logs, self.largest_weight, self.name)
        weight = self.events_.weight * ratio
        mean = float(weight.sum() / self.events_.weight.sum())
        self.events_ = reweighted(self.events_, weight * (self.mass_model.total / weight.sum()))
        self.facts_ = {
            **self.mass_model.facts(),
            "classifier": trained.facts(),
            "events": len(self.events_),
            "effective_events": effective_events(self.events_.weight),
            "mean_weight": mean,
            "clipped": clipped,
        }
        return self

    def facts(self) -> dict[str, Any]:
        """Facts about the mass fit, the classifier and the weights."""
        return self.facts_

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the facts; data are shown as they are, without arrays."""
        del tensors
        self.facts_ = dict(facts)


def simulated_regions(template: SidebandTemplate, sample: Sample, window: Window) -> tuple[Sample, Sample]:
    """Simulation of the signal region and of the sidebands, with the masses of the sideband fit and of the template's data.

    Raises
    ------
    RegionError
        If a region has no simulated events.
    """
    given = sample.require_simulation(template.name)
    simulation = Sample(given.require(template.features), template.features, given.mass, given.weight)
    masks = {
        "signal region": window.in_signal_region(simulation.mass),
        "lower sideband": window.in_lower_sideband(simulation.mass),
        "upper sideband": window.in_upper_sideband(simulation.mass),
    }
    for name, inside in masks.items():
        if not simulation.weight[inside].sum() > 0:
            msg = f"the simulation has no events in the {name} of {window}: {template.name!r} needs it in all three regions"
            raise RegionError(msg)
    assert template.events_ is not None
    sidebands = simulation.take(masks["lower sideband"] | masks["upper sideband"])
    return (
        follow_model(simulation.take(masks["signal region"]), template.mass_model),
        match_masses(sidebands, template.events_, window),
    )


def _joined(first: Sample, second: Sample) -> Sample:
    parts = (first, second)
    return Sample(
        np.concatenate([part.features for part in parts]),
        first.names,
        np.concatenate([part.mass for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


@register("sa-cwola")
class SACWoLa(TemplateScorer):
    """CWoLa hunting, with simulation that keeps the classifier from learning how the features depend on the mass.

    The sample needs simulated background beside it: ``sample.with_simulation(...)``. Options of `template`: see
    `SACWoLaTemplate`.

    Examples
    --------
    >>> SACWoLa(["m_l", "tau21_l"], template={"strength": 0.5}).uses_simulation
    True
    """

    template_class = SACWoLaTemplate


@register("sidebands-transfer")
class SidebandsTransfer(TemplateScorer):
    """CWoLa hunting, with sidebands that were carried to the signal region by weights learnt in simulation.

    The sample needs simulated background beside it: ``sample.with_simulation(...)``. Options of `template`: see
    `SidebandsTransferTemplate`.

    Examples
    --------
    >>> SidebandsTransfer(["m_l", "tau21_l"]).uses_simulation
    True
    """

    template_class = SidebandsTransferTemplate
