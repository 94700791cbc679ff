"""Upper ends of the scale, for benchmarks only: both read truth labels, which a search does not have."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from resonaut.errors import InputError
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, MaskArray, Sample
from resonaut.models.tree_scorer import TreeScorer
from resonaut.stats import Window

__all__ = ("Idealised", "Supervised")


@register("supervised")
class Supervised(TreeScorer):
    """Signal against background, with labels: what a dedicated search for this one signal would reach. Benchmarks only.

    Trained on the events in the signal region of the window, on all where there is no window; both classes have the same
    total weight. Options: see `TreeScorer`.

    References
    ----------
    arXiv:2109.00546 (CATHODE), section 3; arXiv:2307.11157, section 2.3.
    """

    uses_labels: ClassVar[bool] = True

    def training_set(self, sample: Sample, window: Window | None) -> tuple[Sample, MaskArray, FloatArray]:
        """Labelled events of the signal region; signal is the target."""
        events = _signal_region(sample, window)
        target = events.truth() == 1
        return events, target, class_weights(target, events.weight, ("background", "signal"))


@register("idealised")
class Idealised(TreeScorer):
    """Signal-region data against true background: a weakly supervised method with a perfect template. Benchmarks only.

    `fit` shares the events of the signal region (all events, where there is no window) out in two random halves: one
    plays the data, with its signal; the other, with the signal taken out by its labels, the background template.
    `fit_against` takes data and template as they are. Options: see `TreeScorer`.

    References
    ----------
    arXiv:2109.00546 (CATHODE), section 3; arXiv:2307.11157, section 2.3.
    """

    uses_labels: ClassVar[bool] = True

    def training_set(self, sample: Sample, window: Window | None) -> tuple[Sample, MaskArray, FloatArray]:
        """Half of the signal region as data (the target), the background of the other half as template."""
        events = _signal_region(sample, window)
        is_data = np.random.default_rng(np.random.SeedSequence(self.seed).spawn(1)[0]).random(len(events)) < 0.5
        used = is_data | (events.truth() == 0)
        events, target = events.take(used), is_data[used]
        return events, target, class_weights(target, events.weight, ("template", "data"))

    def fit_against(self, data: Sample, background: Sample) -> Self:
        """Train data against a background template, both given; labels are not read."""
        matrix = np.concatenate([data.require(self.features), background.require(self.features)])
        target = np.arange(len(matrix)) < len(data)
        mass, weight = (
            np.concatenate([getattr(part, name) for part in (data, background)]) for name in ("mass", "weight")
        )
        events = Sample(matrix, self.features, mass, weight)
        return self.train(events, target, class_weights(target, weight, ("template", "data")))


def class_weights(target: MaskArray, weight: FloatArray, names: tuple[str, str]) -> FloatArray:
    """Event weights scaled to the same total in both classes, mean 1.

    Raises
    ------
    InputError
        If a class has no events.
    """
    balanced = np.empty(len(weight))
    for value, name in enumerate(names):
        inside = target == bool(value)
        content = weight[inside].sum()
        if not content > 0:
            msg = f"no {name} events to train on among {len(weight)}: check the labels and the window"
            raise InputError(msg)
        balanced[inside] = weight[inside] * (0.5 * len(weight) / content)
    return balanced


def _signal_region(sample: Sample, window: Window | None) -> Sample:
    return sample if window is None else sample.take(window.in_signal_region(sample.mass))
