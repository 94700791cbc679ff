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
    Drift,
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

_NETWORK: dict[str, Any] = {"members": 4, "epochs": 20, "learning_rate": 2e-3}
_BATCHES = (128, 4096)


@register_template("salad")
class SaladTemplate(BackgroundTemplate):
    """Simulated events of the signal region with weights w(x, m) = p_data(x | m) / p_sim(x | m).

    A classifier tells data from simulation in the sidebands, with the mass among its inputs and the simulation's mass
    spectrum weighted to that of the data, so that it learns the ratio of the *conditional* densities. Its ratio
    f / (1 - f) is taken at the masses of the signal region, where the masses are then made to follow the sideband fit.

    Parameters
    ----------
    features
        Columns to read.
    sidebands
        Masses to learn from: "all" outside the signal region, "near" it, or (low, high) in GeV.
    mass_range
        (low, high) of the sideband fit that gives yield and masses, GeV.
    classifier, classifier_options
        What tells data from simulation, and its options, as in `TemplateScorer`. Without options "network" is four
        networks trained for at most 20 epochs in batches of 1/200 of the events (128 to 4096).
    largest_weight
        Weights beyond [1 / largest_weight, largest_weight] are clipped and counted.
    seed
        Of the classifier.

    Notes
    -----
    Networks are the default because they are smooth in the mass. Trees are constant where they saw no events: in the
    signal region their weights are right on average over its masses, which will do where data and simulation differ in the
    same way at all masses, and they are faster.

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
        classifier: str = "network",
        classifier_options: Mapping[str, Any] | None = None,
        largest_weight: float = 50.0,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.sidebands = checked_sidebands(sidebands)
        self.mass_range = None if mass_range is None else (float(mass_range[0]), float(mass_range[1]))
        self.classifier = classifier
        self.classifier_options = None if classifier_options is None else dict(classifier_options)
        self.largest_weight = float(largest_weight)
        self.seed = seed
        if not self.largest_weight > 1:
            msg = f"option 'largest_weight' of {self.name!r} must be above 1, got {largest_weight!r}"
            raise ConfigError(msg)
        make_classifier(classifier, **(self.classifier_options or {}))  # wrong options are told now
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
        drift = Drift.of(simulation)
        trained = density_ratio(
            _inputs(data, drift),
            _inputs(beside, drift),
            (data.weight, beside.weight),
            self.classifier,
            self._options(len(data) + len(beside)),
            self.seed,
        )
        self._apply(trained, drift, simulation.take(window.in_signal_region(simulation.mass)))
        self.facts_["outside_support"] = outside_support(data, beside)
        return self

    def _options(self, events: int) -> dict[str, Any]:
        """Options of the classifier; networks that are trained in two hundred steps an epoch, where none are given."""
        if self.classifier_options is not None or self.classifier != "network":
            return self.classifier_options or {}
        return {**_NETWORK, "batch_size": int(np.clip(events // 200, *_BATCHES))}

    def _apply(self, trained: TrainedClassifier, drift: Drift, events: Sample) -> None:
        """Weights for the simulation of the signal region, and facts about them."""
        weight, clipped = clipped_ratio(log_ratio(trained, _inputs(events, drift)), self.largest_weight, self.name)
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


def _inputs(events: Sample, drift: Drift) -> FloatArray:
    return np.column_stack([drift.residuals(events), events.mass])


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
