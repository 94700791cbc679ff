"""Each kind of scorer as a graph. A new kind is one function here, registered with its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from resonaut.errors import ModelError
from resonaut.models.autoencoder import Autoencoder
from resonaut.models.classifiers import TrainedClassifier
from resonaut.models.classifiers.network import TrainedNetwork
from resonaut.models.classifiers.trees import TrainedTrees
from resonaut.models.clusters import Clusters
from resonaut.models.crossfit import CrossFit
from resonaut.models.cwola import CWoLaNetwork
from resonaut.models.ddt import DDT, EfficiencyMap
from resonaut.models.export.graph import MASS, Graph
from resonaut.models.export.parts import (
    combined_tails,
    forest_value,
    note_cuts,
    note_inputs,
    place_of,
    stack_output,
    standardised,
    tail_of,
)
from resonaut.models.isolation_forest import IsolationForest
from resonaut.models.protocol import Scorer
from resonaut.models.registry import available, scorer_class
from resonaut.models.score_combination import ScoreCombination
from resonaut.models.stack import StackedMLP
from resonaut.models.svdd import DeepSVDD
from resonaut.models.templates import TemplateScorer
from resonaut.models.templates.base import BackgroundTemplate
from resonaut.models.tree_scorer import TreeScorer
from resonaut.models.vae import VAE

__all__ = ("convert", "exportable")

Converter = Callable[[Graph, Any], str]
_F = TypeVar("_F", bound=Converter)
_converters: dict[type[Any], Converter] = {}
_TINY = 1e-12  # of `TrainedClassifier.probability`
_FIRST = np.array([0], dtype=np.int64)
_SECOND = np.array([1], dtype=np.int64)
_SHOW_DATA = ("anode", "lacathode")  # their scores need the flow itself


def _converts(*classes: type[Any]) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        _converters.update(dict.fromkeys(classes, function))
        return function

    return decorate


def _converter(cls: type[Any]) -> Converter | None:
    return next((_converters[base] for base in cls.__mro__ if base in _converters), None)


def exportable() -> tuple[str, ...]:
    """Names of the scorers that can be written as ONNX, sorted."""
    return tuple(
        sorted(name for name in available() if name not in _SHOW_DATA and _converter(scorer_class(name)) is not None)
    )


def convert(graph: Graph, scorer: Scorer) -> str:
    """Score (n,), in double precision, of the scorer.

    Raises
    ------
    ModelError
        If it cannot be exported: the message lists those that can.
    """
    function = _converter(type(scorer))
    if function is None:
        raise ModelError(_cannot(scorer.name))
    return function(graph, scorer)


def _cannot(name: str, why: str = "has no translation to ONNX") -> str:
    return (
        f"a scorer {name!r} cannot be exported: it {why}. Those that can (also inside cross-fit, score-combination and ddt): "
        f"{', '.join(exportable())}. For the others, write their scores as friend trees: resonaut score"
    )


def _mean_of_members(graph: Graph, network: StackedMLP, value: str) -> str:
    """Mean sigmoid output (n,) of a stack; sigmoid and mean in double precision, as in training."""
    output = graph.double(stack_output(graph, network, graph.single(value)))
    probability = graph.op("Sigmoid", graph.op("Squeeze", output, np.array([2], dtype=np.int64)))
    return graph.mean(probability, (0,))


@_converts(TreeScorer)
def _trees(graph: Graph, scorer: TreeScorer) -> str:
    assert scorer.forest_ is not None
    note_cuts(graph, scorer.forest_, scorer.features)
    return forest_value(graph, scorer.forest_, graph.matrix(scorer.features, scorer.scaled_by_mass))


@_converts(CWoLaNetwork)
def _cwola(graph: Graph, scorer: CWoLaNetwork) -> str:
    assert scorer.network_ is not None
    note_inputs(graph, scorer.network_, scorer.features)
    return _mean_of_members(graph, scorer.network_, graph.matrix(scorer.features, scorer.scaled_by_mass))


@_converts(IsolationForest)
def _isolation(graph: Graph, scorer: IsolationForest) -> str:
    assert scorer.forest_ is not None
    note_cuts(graph, scorer.forest_, scorer.features)
    matrix = graph.double(graph.single(graph.matrix(scorer.features)))  # scikit-learn reads single precision
    return graph.op("Pow", np.float64(2.0), graph.op("Neg", forest_value(graph, scorer.forest_, matrix)))


def _squared(graph: Graph, first: str, second: Any) -> str:
    difference = graph.op("Sub", first, second)
    return graph.op("Mul", difference, difference)


@_converts(Autoencoder)
def _autoencoder(graph: Graph, scorer: Autoencoder) -> str:
    network = scorer.network_
    assert network is not None
    note_inputs(graph, network, scorer.features)
    inputs = standardised(graph, network, graph.single(graph.matrix(scorer.features)))
    output = stack_output(graph, network, inputs, standardise=False)
    return graph.double(graph.mean(_squared(graph, output, inputs), (0, 2)))


@_converts(VAE)
def _vae(graph: Graph, scorer: VAE) -> str:
    network = scorer.network_
    assert network is not None
    note_inputs(graph, network.encoder, scorer.features)
    inputs = standardised(graph, network.encoder, graph.single(graph.matrix(scorer.features)))
    encoded = stack_output(graph, network.encoder, inputs, standardise=False)
    latent = np.arange(2 * scorer.latent, dtype=np.int64)
    mu, log_variance = (graph.op("Gather", encoded, part, axis=2) for part in np.split(latent, 2))
    terms = []
    if scorer.score_as != "kl":
        decoded = stack_output(graph, network.decoder, mu)
        error = graph.double(graph.sum(_squared(graph, decoded, inputs), (2,)))
        scale = 1 / len(scorer.features) if scorer.score_as == "reconstruction" else 0.5
        terms.append(graph.op("Mul", error, np.float64(scale)))
    if scorer.score_as != "reconstruction":
        weight = 1.0 if scorer.score_as == "kl" else scorer.beta
        terms.append(graph.op("Mul", _divergence(graph, mu, log_variance), np.float64(weight)))
    total = terms[0] if len(terms) == 1 else graph.op("Add", *terms)
    return graph.mean(total, (0,))


def _divergence(graph: Graph, mu: str, log_variance: str) -> str:
    """Of N(mu, exp(log_variance)) from N(0, 1), (K, n); see `resonaut.models.gaussian.kl_to_normal`.

    Double precision stands for the expm1 that ONNX does not have.
    """
    log_variance, mu = graph.double(log_variance), graph.double(mu)
    capped = graph.op("Min", log_variance, np.float64(80.0))
    excess = graph.op("Sub", graph.op("Sub", graph.op("Exp", capped), np.float64(1.0)), log_variance)
    return graph.op("Mul", graph.sum(graph.op("Add", graph.op("Mul", mu, mu), excess), (2,)), np.float64(0.5))


@_converts(DeepSVDD)
def _svdd(graph: Graph, scorer: DeepSVDD) -> str:
    network = scorer.network_
    assert network is not None
    note_inputs(graph, network, scorer.features)
    output = stack_output(graph, network, graph.single(graph.matrix(scorer.features)))
    target = np.array([value for _, value in scorer.members], dtype=np.float32)[:, None, None]
    widths = np.array([dimension for dimension, _ in scorer.members])
    share = (np.arange(widths.max()) < widths[:, None]) / widths[:, None]
    distance = graph.double(graph.op("MatMul", _squared(graph, output, target), share[:, :, None].astype(np.float32)))
    distance = graph.op("Squeeze", distance, np.array([2], dtype=np.int64))
    kept = np.flatnonzero(scorer.collapsed_ == 0).tolist()
    tails = [
        tail_of(graph, scorer.scales_[place], graph.op("Gather", distance, np.int64(place), axis=0)) for place in kept
    ]
    return combined_tails(graph, tails, scorer.combine)


@_converts(Clusters)
def _clusters(graph: Graph, scorer: Clusters) -> str:
    arrays = scorer.arrays_
    spread = 5 * arrays["scale"]
    graph.note_range(scorer.features, arrays["shift"] - spread, arrays["shift"] + spread)
    matrix = graph.matrix(scorer.features)
    points = graph.op("Div", graph.op("Sub", matrix, arrays["shift"]), arrays["scale"])
    apart = graph.op("Sub", graph.op("Unsqueeze", points, _FIRST), arrays["centres"][:, None, :])  # (clusters, n, d)
    if scorer.model == "k-means":
        distance = graph.op("Sqrt", graph.sum(graph.op("Mul", apart, apart), (2,)))
        return graph.op("ReduceMin", distance, axes=[0], keepdims=0)
    turned = graph.op("MatMul", apart, arrays["roots"])
    squared = graph.sum(graph.op("Mul", turned, turned), (2,))
    roots = np.log(np.diagonal(arrays["roots"], axis1=1, axis2=2)).sum(axis=1)
    norm = np.log(arrays["shares"]) + roots - 0.5 * arrays["centres"].shape[1] * np.log(2 * np.pi)
    logs = graph.op("Sub", norm[:, None], graph.op("Mul", squared, np.float64(0.5)))
    return graph.op("Neg", graph.op("ReduceLogSumExp", logs, axes=[0], keepdims=0))


@_converts(CrossFit)
def _cross_fit(graph: Graph, scorer: CrossFit) -> str:
    return _mean(graph, [convert(graph, each) for each in scorer.scorers])


def _mean(graph: Graph, values: list[str]) -> str:
    rows = [graph.op("Unsqueeze", value, _FIRST) for value in values]
    return graph.mean(graph.op("Concat", *rows, axis=0), (0,))


@_converts(ScoreCombination)
def _combination(graph: Graph, scorer: ScoreCombination) -> str:
    values = [convert(graph, member) for member in scorer.members_]
    if scorer.scale != "as-is":
        values = [tail_of(graph, scale, value) for scale, value in zip(scorer.scales_, values, strict=True)]
    return combined_tails(graph, values, scorer.combine) if scorer.scale == "uniform" else _mean(graph, values)


@_converts(TemplateScorer)
def _template(graph: Graph, scorer: TemplateScorer) -> str:
    template = scorer.template_
    assert template is not None
    if (
        type(template).represent is not BackgroundTemplate.represent
        and getattr(template, "maker_", template) is not None
    ):
        raise ModelError(_cannot(scorer.name, "shows events to its classifier through a flow"))
    assert scorer.trained_ is not None
    return _probability(graph, scorer.trained_, scorer)


def _probability(graph: Graph, trained: TrainedClassifier, scorer: TemplateScorer) -> str:
    matrix = graph.matrix(scorer.features)
    if isinstance(trained, TrainedTrees):
        note_cuts(graph, trained.forest, scorer.features)
        value = graph.op("Sigmoid", forest_value(graph, trained.forest, matrix))
    elif isinstance(trained, TrainedNetwork):
        note_inputs(graph, trained.network, scorer.features)
        value = _mean_of_members(graph, trained.network, matrix)
    else:
        raise ModelError(_cannot(scorer.name, f"has a classifier {trained.kind!r} without a translation to ONNX"))
    return graph.op("Clip", value, np.float64(_TINY), np.float64(1 - _TINY))


@_converts(DDT)
def _ddt(graph: Graph, scorer: DDT) -> str:
    assert scorer.inner_ is not None
    assert scorer.map_ is not None
    return _log_survival(graph, scorer.map_, convert(graph, scorer.inner_))


def _log_survival(graph: Graph, levels: EfficiencyMap, score: str) -> str:
    """-ln S(score, mass): see `EfficiencyMap.log_survival`."""
    basis = _legendre(graph, levels)
    odds = graph.op("MatMul", basis, np.ascontiguousarray(levels.coefficients.T))
    steps = graph.op("Add", _log1p_exp(graph, odds), graph.op("Max", graph.op("Neg", odds), np.float64(0.0)))
    nothing = graph.op("Mul", graph.op("Gather", steps, _FIRST, axis=1), np.float64(0.0))
    level = graph.op("Concat", nothing, graph.op("CumSum", steps, np.int64(1)), axis=1)
    last = len(levels.thresholds) - 1
    place = place_of(graph, levels.thresholds[1:], score)  # 0 ... last
    column = graph.op("Unsqueeze", place, _SECOND)
    below = graph.op("GatherElements", level, column, axis=1)
    rising = graph.op("GatherElements", steps, graph.op("Min", column, np.int64(last - 1)), axis=1)
    beyond = graph.op("Equal", column, np.int64(last))
    rise = graph.op("Where", beyond, np.float64(1.0), rising)
    widths = np.append(np.diff(levels.thresholds), levels.tail)
    start, width = (graph.op("Gather", values, column, axis=0) for values in (levels.thresholds, widths))
    above = graph.op("Div", graph.op("Sub", graph.op("Unsqueeze", score, _SECOND), start), width)
    return graph.op("Squeeze", graph.op("Add", below, graph.op("Mul", rise, above)), _SECOND)


def _log1p_exp(graph: Graph, odds: str) -> str:
    """ln(1 + exp(-|x|)): the smooth part of -ln(sigmoid(x)); 1 + exp is at least 1, so that nothing is lost."""
    return graph.op("Log", graph.op("Add", graph.op("Exp", graph.op("Neg", graph.op("Abs", odds))), np.float64(1.0)))


def _legendre(graph: Graph, levels: EfficiencyMap) -> str:
    """Legendre polynomials (n, degree + 1) of ln m, by Bonnet's recursion."""
    low, high = (float(end) for end in levels.ends)
    width = high - low if high > low else 1.0
    mass = graph.op("Clip", graph.op("Log", MASS), np.float64(low), np.float64(high))
    x = graph.op("Sub", graph.op("Mul", graph.op("Sub", mass, np.float64(low)), np.float64(2 / width)), np.float64(1))
    found = [graph.op("Add", graph.op("Mul", x, np.float64(0.0)), np.float64(1.0)), x]
    for order in range(2, levels.coefficients.shape[1]):
        upper = graph.op("Mul", graph.op("Mul", x, found[-1]), np.float64((2 * order - 1) / order))
        found.append(graph.op("Sub", upper, graph.op("Mul", found[-2], np.float64((order - 1) / order))))
    chosen = found[: levels.coefficients.shape[1]]
    return chosen[0] if len(chosen) == 1 else graph.op("Concat", *chosen, axis=1)
