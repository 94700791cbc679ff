"""SALAD: simulation of the signal region, weighted to data by a classifier learnt in the sidebands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from resonaut.errors import ConfigError
from resonaut.models.base import feature_names
from resonaut.models.classifiers import TrainedClassifier, make_classifier
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import BackgroundTemplate, register_template
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.regions import checked_sidebands, outside_signal_region
from resonaut.models.templates.reweight import (
    clipped_ratio,
    density_ratio,
    effective_events,
    follow_model,
    log_ratio,
    match_masses,
    outside_support,
    reweighted,
)
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.stats import Window

__all__ = ("Salad", "SaladTemplate")


@register_template("salad")
class SaladTemplate(BackgroundTemplate):
    """Simulated events of the signal region with weights w(x, m) = p_data(x | m) / p_sim(x | m).

    A classifier tells data from simulation in the sidebands, with the mass among its inputs and the simulation's mass
    spectrum weighted to that of the data, so that it learns the ratio of the *conditional* densities. Its ratio
    f / (1 - f) is interpolated to the signal region, where the masses are then made to follow the sideband fit.

    Parameters
    ----------
    features
        Columns to read.
    sidebands
        Masses to learn from: "all" outside the signal region, "near" it, or (low, high) in GeV.
    mass_range
        (low, high) of the sideband fit that gives yield and masses, GeV.
    classifier, classifier_options
        As in `TemplateScorer`; here it tells data from simulation.
    largest_weight
        Weights beyond [1 / largest_weight, largest_weight] are clipped and counted.
    seed
        Of the classifier.

    Notes
    -----
    Between the sidebands log w is interpolated linearly in the mass, from the classifier's answers half a signal region
    below and above: trees are constant where there were no events to learn from, and a network's own curve between is
    arbitrary.

    The weights are those of the background only where simulation has events: `facts` has the share of sideband data
    outside the range of the simulation, the clipped weights, and the effective number of events, (sum w)^2 / sum w^2.

    References
    ----------
    Andreassen, Nachman, Shih, arXiv:2001.05001; Golling et al., arXiv:2307.11157, section 2.1.
    """

    uses_simulation: ClassVar[bool] = True

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        sidebands: str | Sequence[float] = "all",
        mass_range: Sequence[float] | None = None,
        classifier: str = "trees",
        classifier_options: Mapping[str, Any] | None = None,
        largest_weight: float = 50.0,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.sidebands = checked_sidebands(sidebands)
        self.mass_range = None if mass_range is None else (float(mass_range[0]), float(mass_range[1]))
        self.classifier = classifier
        self.classifier_options = dict(classifier_options or {})
        self.largest_weight = float(largest_weight)
        self.seed = seed
        if not self.largest_weight > 1:
            msg = f"option 'largest_weight' of {self.name!r} must be above 1, got {largest_weight!r}"
            raise ConfigError(msg)
        make_classifier(classifier, **self.classifier_options)  # wrong options are told now
        self.events_: Sample | None = None
        self.facts_: dict[str, Any] = {}

    def fit(self, sample: Sample, window: Window) -> SaladTemplate:
        """Learn the weights outside the signal region and apply them inside."""
        simulation = self._columns(sample.require_simulation(self.name))
        self.window_, self.mass_ = window, MassModel.fit(sample, window, self.mass_range)
        data = self._columns(outside_signal_region(sample, window, self.sidebands))
        beside = outside_signal_region(simulation, window, self.sidebands)
        low, high = max(data.mass.min(), beside.mass.min()), min(data.mass.max(), beside.mass.max())
        data, beside = (part.take((part.mass >= low) & (part.mass <= high)) for part in (data, beside))
        beside = match_masses(beside, data, window)
        trained = density_ratio(
            _with_mass(data.features, data.mass),
            _with_mass(beside.features, beside.mass),
            (data.weight, beside.weight),
            self.classifier,
            self.classifier_options,
            self.seed,
        )
        self._apply(trained, simulation.take(window.in_signal_region(simulation.mass)), window)
        self.facts_["outside_support"] = outside_support(data, beside)
        return self

    def _apply(self, trained: TrainedClassifier, events: Sample, window: Window) -> None:
        """Weights for the simulation of the signal region, and facts about them."""
        weight, clipped = clipped_ratio(_interpolated(trained, events, window), self.largest_weight, self.name)
        model = self.mass_model
        self.events_ = follow_model(reweighted(events, events.weight * weight), model)
        self.facts_ = {
            **model.facts(),
            "classifier": trained.facts(),
            "events": len(events),
            "effective_events": effective_events(self.events_.weight),
            # E_sim[w | m] is 1 where the ratio of densities is right: a mean far from it tells of a bad classifier
            "mean_weight": float(np.average(weight, weights=events.weight)),
            "clipped": clipped,
        }

    def _columns(self, sample: Sample) -> Sample:
        return Sample(sample.require(self.features), self.features, sample.mass, sample.weight)

    def background(self, seed: int) -> Sample:
        """The weighted simulation, whatever the seed."""
        del seed
        self.yield_()
        assert self.events_ is not None
        return self.events_

    def facts(self) -> dict[str, Any]:
        """Facts about the mass fit, the classifier and the weights."""
        return self.facts_

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the facts; data are shown as they are, without arrays."""
        del tensors
        self.facts_ = dict(facts)


def _with_mass(features: FloatArray, mass: FloatArray | float) -> FloatArray:
    return np.column_stack([features, np.broadcast_to(mass, len(features))])


def _interpolated(trained: TrainedClassifier, events: Sample, window: Window) -> FloatArray:
    """log w (n,): linear in the mass between the classifier's answers on both sides of the signal region."""
    half = 0.5 * (window.high - window.low)
    low, high = window.low - half, window.high + half
    below, above = (log_ratio(trained, _with_mass(events.features, mass)) for mass in (low, high))
    share = (events.mass - low) / (high - low)
    return np.asarray((1 - share) * below + share * above)


@register("salad")
class Salad(TemplateScorer):
    """SALAD: signal-region data against simulation that was weighted to data by a classifier learnt in the sidebands.

    The sample needs simulated background beside it: ``sample.with_simulation(...)``. Options of `template`: see
    `SaladTemplate`.

    Examples
    --------
    >>> Salad(["m_l", "tau21_l"], template={"mass_range": [2800.0, 5500.0]}).uses_simulation
    True
    """

    template_class = SaladTemplate
