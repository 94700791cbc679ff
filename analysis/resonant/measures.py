"""Figures of merit: of one unit's scores, of a template's events, of several methods' scores together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from resonaut.analysis.resonant.events import Events
from resonaut.analysis.resonant.protocol import Protocol
from resonaut.analysis.resonant.work import Scores
from resonaut.errors import InputError
from resonaut.models import Sample, auc, select, si_at, sic_band, sic_curve
from resonaut.models.compare import (
    effective_size,
    flatness,
    ks_distance,
    ks_floor,
    score_correlation,
)
from resonaut.models.sample import FloatArray, IndexArray
from resonaut.stats import log_edges

__all__ = (
    "FRACTIONS",
    "GRID",
    "agreement",
    "band",
    "ks_table",
    "marginals",
    "performance",
    "sculpting",
    "template_auc",
)

GRID = np.linspace(0.0, 1.0, 101)[1:]
"""Signal efficiencies of the SIC curves."""
FRACTIONS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Most anomalous fractions at which methods' selections are compared."""
FLOORS = (10, 30)
"""Background events that a cut must leave for its SIC to count."""
CUTS = (0.1, 0.01)
"""Fractions of the signal region whose efficiency against the mass is tested."""
REJECTION = 1e-3
_MASSES = (2800.0, 5500.0)  # of the efficiency, GeV: above the turn-on
_MASS_BINS = 40
_MARGINAL_BINS = 40
_SCATTER = 1500


def performance(scores: Scores) -> dict[str, Any]:
    """AUC, SIC curve and its figures, and how well the classifier tells data from template."""
    labels = np.repeat([0, 1], [len(scores.background), len(scores.signal)])
    values = np.concatenate(scores.ranked())
    found: dict[str, Any] = {"auc": auc(labels, values), "sic_at_rejection": si_at(labels, values, REJECTION)}
    for floor in FLOORS:
        try:
            curve = sic_curve(labels, values, min_background=floor)
        except InputError:  # fewer background events than the floor
            found |= {f"max_sic_{floor}": None, f"max_sic_{floor}_error": None}
            continue
        best, error = curve.best
        found |= {f"max_sic_{floor}": best, f"max_sic_{floor}_error": error}
        if floor == FLOORS[0]:
            found["sic"] = sic_band([curve], GRID).median.tolist()
    return found


def template_auc(scores: Scores, data: FloatArray) -> float | None:
    """AUC of data against the template's events, out of fold; 0.5 for a template that cannot be told from data."""
    if not len(scores.template):
        return None
    labels = np.repeat([0, 1], [len(scores.template), len(data)])
    weight = np.concatenate([scores.template_weight, np.ones(len(data))])
    return auc(labels, np.concatenate([scores.template, data]), weight)


def sculpting(scores: Scores, events: Events, protocol: Protocol) -> dict[str, Any]:
    """Efficiency against the mass, above the turn-on, of cuts set in the signal region."""
    mass = events.background.mass
    inside = protocol.window.in_signal_region(mass)
    values, fold = np.empty(len(mass)), np.empty(len(mass), dtype=np.int64)
    values[inside], values[~inside] = scores.background, scores.outside
    fold[inside], fold[~inside] = scores.background_fold, scores.outside_fold
    edges = log_edges(*_MASSES, _MASS_BINS)
    found = {}
    for cut, passing in select(values, fold, CUTS, reference=inside).items():
        found[f"{cut:g}"] = flatness(mass, passing, edges).to_dict()
    return found


def ks_table(template: Sample, truth: Sample, *, toys: int, seed: int) -> dict[str, Any]:
    """KS distance of each feature and of the mass between template and truth, beside what statistics alone makes."""
    size = effective_size(template.weight)
    floor = ks_floor(truth.mass, size, len(truth), toys=toys, seed=seed)  # the same for every continuous feature
    columns = {**dict(zip(truth.names, range(len(truth.names)), strict=True))}
    distances = {
        name: ks_distance(template.features[:, at], truth.features[:, at], template.weight, truth.weight)
        for name, at in columns.items()
    }
    distances["mass"] = ks_distance(template.mass, truth.mass, template.weight, truth.weight)
    return {"distance": distances, "floor": vars(floor), "events": len(template), "effective": size}


def marginals(samples: Mapping[str, Sample], truth: Sample) -> dict[str, Any]:
    """Normalised histograms of each feature and of the mass, with statistical errors, truth first."""
    found: dict[str, Any] = {}
    for at, name in enumerate([*truth.names, "mass"]):

        def column(sample: Sample, at: int = at, name: str = name) -> FloatArray:
            return sample.mass if name == "mass" else sample.features[:, at]

        low, high = np.quantile(column(truth), [0.0005, 0.9995])
        edges = np.linspace(low, high, _MARGINAL_BINS + 1)
        found[name] = {"edges": edges.tolist(), "truth": _histogram(column(truth), truth.weight, edges)}
        found[name] |= {key: _histogram(column(sample), sample.weight, edges) for key, sample in samples.items()}
    return found


def _histogram(values: FloatArray, weight: FloatArray, edges: FloatArray) -> dict[str, list[float]]:
    content = np.histogram(values, edges, weights=weight)[0] / weight.sum()
    variance = np.histogram(values, edges, weights=weight**2)[0] / weight.sum() ** 2
    return {"content": content.tolist(), "error": np.sqrt(variance).tolist()}


def agreement(scores: Mapping[str, Sequence[Scores]], seed: int) -> dict[str, Any]:
    """Correlations and overlaps of methods on background and on signal, medians over repetitions.

    Parameters
    ----------
    scores
        Method -> its scores in each repetition.
    """
    names = list(scores)
    found: dict[str, Any] = {"methods": names}
    for kind in ("background", "signal"):
        columns = list(zip(*scores.values(), strict=True))
        standard = [[s.standardised(kind) for s in column] for column in columns]
        places = [[s.ordered(kind, seed + k) for k, s in enumerate(column)] for column in columns]
        matrices = np.stack([score_correlation(values) for values in standard])
        overlaps = {"&".join(pair): _overlaps(places, [names.index(n) for n in pair]) for pair in _groups(names)}
        rows = np.random.default_rng(seed).permutation(len(places[0][0]))[:_SCATTER]
        found[kind] = {
            "correlation": np.median(matrices, axis=0).tolist(),
            "overlap": overlaps,
            "scatter": {name: np.round(v[rows], 3).tolist() for name, v in zip(names, standard[0], strict=True)},
        }
    return found


def _groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    pairs: list[tuple[str, ...]] = list(combinations(names, 2))
    return [*pairs, tuple(names)] if len(names) > 2 else pairs


def _overlaps(each: Sequence[Sequence[IndexArray]], methods: Sequence[int]) -> list[dict[str, Any]]:
    """Excess of the overlap over chance at each fraction that holds at least ten events.

    What `overlap_excess` finds from scores; places are known here, and sorting them for each pair would take minutes.
    """
    count, rows = len(each[0][0]), []
    for fraction in (f for f in FRACTIONS if f * count >= 10):
        size = round(fraction * count)
        shared = [np.logical_and.reduce([places[k] < size for k in methods]).sum() / size for places in each]
        rows.append({"fraction": fraction, **band([float(s - fraction ** (len(methods) - 1)) for s in shared])})
    return rows


def band(values: Sequence[float | None]) -> dict[str, float | None]:
    """Median and 68 % interval of what is known."""
    known = [value for value in values if value is not None]
    if not known:
        return {"median": None, "low": None, "high": None}
    median, low, high = np.quantile(known, [0.5, 0.16, 0.84])
    return {"median": float(median), "low": float(low), "high": float(high)}
