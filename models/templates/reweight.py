"""Weights that make one sample look like another: in mass by bins, in the features by a classifier's ratio of densities."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from resonaut.errors import RegionError
from resonaut.models.classifiers import TrainedClassifier, make_classifier
from resonaut.models.references import class_weights
from resonaut.models.sample import FloatArray, MaskArray, Sample
from resonaut.models.templates.mass import MassModel
from resonaut.stats import Window

__all__ = (
    "Drift",
    "clipped_ratio",
    "density_ratio",
    "effective_events",
    "follow_model",
    "log_ratio",
    "match_masses",
    "outside_support",
    "reweighted",
)

logger = logging.getLogger(__name__)
_BIN_EVENTS, _MOST_BINS = 200, 40  # a bin's content is then known to 7 % or better, and hardly varies inside a bin


def match_masses(events: Sample, reference: Sample, window: Window) -> Sample:
    """The same events, weighted so that their mass spectrum follows that of a reference on each side of the window.

    Two samples with one spectrum differ by p(x | m) alone: a classifier between them learns the ratio of these
    densities, and not how often masses occur.

    Parameters
    ----------
    events, reference
        Outside the signal region of `window`; the result sums to the weight of the reference events that lie between
        the lowest and the highest mass of `events` on their side.
    window
        Bins do not cross its signal region.

    Raises
    ------
    RegionError
        If one side has no events.
    """
    weight = np.zeros(len(events))
    for side, below in (("below", True), ("above", False)):
        own = (events.mass < window.low) == below
        other = reference.take((reference.mass < window.low) == below)
        if not events.weight[own].sum() > 0 or not other.weight.sum() > 0:
            msg = (
                f"{np.count_nonzero(own)} events to weight and {len(other)} to follow {side} the signal region {window}: "
                "both are needed on both sides; check the mass ranges of data and simulation"
            )
            raise RegionError(msg)
        edges = _population_edges(events.mass[own])
        content = np.histogram(other.mass, edges, weights=other.weight)[0]
        weight[own] = _scaled_to(events.mass[own], events.weight[own], edges, content)
    return reweighted(events, weight)


def follow_model(events: Sample, model: MassModel) -> Sample:
    """Signal-region events, weighted so that their mass spectrum and their sum are those of the sideband fit.

    Raises
    ------
    RegionError
        If there are no events.
    """
    if not events.weight.sum() > 0:
        msg = f"no simulated events in the signal region {model.edges[0]:.0f}-{model.edges[-1]:.0f} GeV to weight"
        raise RegionError(msg)
    edges = _population_edges(events.mass)
    edges[0], edges[-1] = model.edges[0], model.edges[-1]
    rungs = np.concatenate([[0.0], np.cumsum(model.content)])
    content = np.diff(np.interp(edges, model.edges, rungs))
    weight = _scaled_to(events.mass, events.weight, edges, content)
    return reweighted(events, weight * (model.total / weight.sum()))


def reweighted(events: Sample, weight: FloatArray) -> Sample:
    """The same events with other weights."""
    return Sample(events.features, events.names, events.mass, weight, events.label)


def _population_edges(mass: FloatArray) -> FloatArray:
    """Edges of bins of equal population; the last one lies above the highest mass."""
    bins = int(np.clip(len(mass) // _BIN_EVENTS, 1, _MOST_BINS))
    edges = np.unique(np.quantile(mass, np.linspace(0.0, 1.0, bins + 1)))
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return edges if len(edges) > 1 else np.array([edges[0], np.nextafter(edges[0], np.inf)])


def _scaled_to(mass: FloatArray, weight: FloatArray, edges: FloatArray, content: FloatArray) -> FloatArray:
    """Weights scaled in each bin to its content; a bin without weight stays without."""
    place = np.clip(np.searchsorted(edges, mass, side="right") - 1, 0, len(edges) - 2)
    found = np.bincount(place, weight, minlength=len(edges) - 1)
    return np.asarray(weight * np.divide(content, found, out=np.zeros_like(found), where=found > 0)[place])


@dataclass(frozen=True)
class Drift:
    """How features move with the mass: their mean and spread, linear between the masses of a grid.

    The ratio of two densities at equal mass does not change when both are seen in coordinates that move with the mass.
    A classifier that interpolates badly in the mass (trees) has then little to interpolate.

    Parameters
    ----------
    mass
        (k,) increasing, GeV.
    mean, spread
        (k, d) of the features there.
    """

    mass: FloatArray
    mean: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, events: Sample) -> Self:
        """Drift of the features of some events, in bins of equal population."""
        edges = _population_edges(events.mass)
        place = np.searchsorted(edges, events.mass, side="right") - 1
        rows = []
        for number in np.flatnonzero(np.bincount(place, events.weight) > 0):
            own = events.take(place == number)
            mean = np.average(own.features, axis=0, weights=own.weight)
            spread = np.sqrt(np.average((own.features - mean) ** 2, axis=0, weights=own.weight))
            rows.append((np.average(own.mass, weights=own.weight), mean, spread))
        mass, means, spreads = (np.array(part) for part in zip(*rows, strict=True))
        return cls(mass, means, np.where(spreads > 0, spreads, 1.0))

    def residuals(self, events: Sample) -> FloatArray:
        """Features (n, d) as deviations from the mean at each event's mass, in units of the spread there."""
        columns = []
        for column, mean, spread in zip(events.features.T, self.mean.T, self.spread.T, strict=True):
            at = (np.interp(events.mass, self.mass, values) for values in (mean, spread))
            columns.append((column - next(at)) / next(at))
        return np.column_stack(columns)


def density_ratio(
    numerator: FloatArray,
    denominator: FloatArray,
    weights: tuple[FloatArray, FloatArray],
    classifier: str,
    options: Mapping[str, Any],
    seed: int,
) -> TrainedClassifier:
    """Classifier whose `log_ratio` is that of the densities of two weighted samples, both normalised to one.

    Parameters
    ----------
    numerator, denominator
        (n, d) and (k, d) matrices.
    weights
        (n,) and (k,) weights.
    classifier, options
        See `resonaut.models.classifiers.make_classifier`.
    seed
        Of the training.
    """
    target = np.arange(len(numerator) + len(denominator)) < len(numerator)
    weight = class_weights(target, np.concatenate(weights), ("denominator", "numerator"))
    everybody = np.full(len(target), -1, dtype=np.int64)
    matrix = np.concatenate([numerator, denominator])
    (trained,) = make_classifier(classifier, **options).train(matrix, target, weight, everybody, [seed])
    return trained


def log_ratio(trained: TrainedClassifier, matrix: FloatArray) -> FloatArray:
    """Log of the density ratio (n,), from the probability for equally frequent classes."""
    probability = trained.probability(matrix)
    return np.asarray(np.log(probability) - np.log1p(-probability))


def clipped_ratio(log_weight: FloatArray, largest: float, name: str) -> tuple[FloatArray, int]:
    """Weights exp(log_weight) inside [1 / largest, largest], and how many had to be moved there."""
    limit = np.log(largest)
    outside = int(np.count_nonzero(np.abs(log_weight) > limit))
    if outside:
        logger.warning(
            "%s: %d of %d weights clipped to %.3g-%.3g: data and simulation hardly overlap there",
            name, outside, len(log_weight), 1 / largest, largest,
        )  # fmt: skip
    return np.exp(np.clip(log_weight, -limit, limit)), outside


def outside_support(events: Sample, simulation: Sample) -> float:
    """Fraction of events with a feature beyond the range of the simulation's: no weight can make up for those."""
    low, high = simulation.features.min(axis=0), simulation.features.max(axis=0)
    beyond: MaskArray = np.any((events.features < low) | (events.features > high), axis=1)
    return float(events.weight[beyond].sum() / events.weight.sum())


def effective_events(weight: FloatArray) -> float:
    """Unweighted events with the same relative error: (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / (weight**2).sum())
