"""What scorers are made of, as ONNX: stacks of networks, sums of trees, piecewise linear functions, combinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.models.export.graph import TAIL_TOLERANCE, Graph, require_onnx
from resonaut.models.forest import Forest
from resonaut.models.sample import FloatArray
from resonaut.models.scales import ScoreScale
from resonaut.models.stack import BATCH_NORM_EPS, StackedMLP

__all__ = (
    "combined_tails",
    "forest_value",
    "log1p",
    "minus_log_minus_expm1",
    "note_cuts",
    "note_inputs",
    "place_of",
    "stack_output",
    "standardised",
    "tail_of",
)

_TREES = "ai.onnx.ml"
_LEQ = 0  # branch mode: x <= value is true
_SUM = 1  # of the trees' leaves
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "leaky": ("LeakyRelu", {"alpha": 0.1}),
    "elu": ("Elu", {"alpha": 1.0}),
    "relu": ("Relu", {}),
}


def _array(tensor: Any) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = tensor.detach().cpu().numpy().astype(np.float32)
    return found


def standardised(graph: Graph, network: StackedMLP, value: str) -> str:
    """Inputs (n, d) in single precision as each network of a stack sees them, (K, n, d)."""
    shift, scale = _array(network.get_buffer("shift")), _array(network.get_buffer("scale"))
    if np.all(shift == shift[:1]) and np.all(scale == scale[:1]):
        shift, scale = shift[:1], scale[:1]  # standardised once for all
    return graph.op("Div", graph.op("Sub", value, shift), scale)


def stack_output(graph: Graph, network: StackedMLP, value: str, *, standardise: bool = True) -> str:
    """Outputs (K, n, width) of a stack in evaluation mode, in single precision as in training.

    Parameters
    ----------
    graph
        Where the nodes go.
    network
        The stack.
    value
        Inputs in single precision, (n, d) or (K, n, d).
    standardise
        False where `value` is what `standardised` gave.
    """
    hidden = standardised(graph, network, value) if standardise else value
    for place, layer in enumerate(network.layers):
        hidden = graph.op("MatMul", hidden, _array(network.weights[place]))
        hidden = graph.op("Add", hidden, _array(network.biases[place]))
        if layer.activation in _ACTIVATIONS:
            kind, attributes = _ACTIVATIONS[layer.activation]
            hidden = graph.op(kind, hidden, **attributes)
        if layer.batch_norm:
            gain, offset = _normalisation(network, place)
            hidden = graph.op("Add", graph.op("Mul", hidden, gain), offset)
    return hidden


def _normalisation(network: StackedMLP, place: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Gain and offset (K, 1, width) of a batch norm with the running mean and variance."""
    names = (f"gain_{place}", f"offset_{place}", f"mean_{place}", f"variance_{place}")
    gain, offset, mean, variance = (_array(network.stacked()[name]) for name in names)
    gain = gain / np.sqrt(variance + np.float32(BATCH_NORM_EPS))
    return gain, offset - mean * gain


def note_inputs(graph: Graph, network: StackedMLP, features: Sequence[str]) -> None:
    """Features within five standard deviations of those that a stack was trained on."""
    shift, scale = _array(network.get_buffer("shift")), _array(network.get_buffer("scale"))
    low, high = (shift - 5 * scale).min(axis=(0, 1)), (shift + 5 * scale).max(axis=(0, 1))
    graph.note_range(features, low.astype(np.float64), high.astype(np.float64))


class _Trees:
    """Attributes of a TreeEnsemble node, filled tree by tree: inner nodes and leaves are numbered apart."""

    def __init__(self, targets: int) -> None:
        self.targets = targets
        self.roots: list[int] = []
        self.feature: list[int] = []
        self.cut: list[float] = []
        self.children: tuple[list[int], list[int]] = ([], [])
        self.is_leaf: tuple[list[int], list[int]] = ([], [])
        self.leaf_target: list[int] = []
        self.leaf_value: list[float] = []

    def leaf(self, value: float, target: int = 0) -> int:
        self.leaf_target.append(target)
        self.leaf_value.append(value)
        return len(self.leaf_value) - 1

    def inner(self, feature: int, cut: float) -> int:
        """A node x <= cut, its children to come."""
        self.feature.append(feature)
        self.cut.append(cut)
        for side in (0, 1):
            self.children[side].append(0)
            self.is_leaf[side].append(0)
        return len(self.feature) - 1

    def link(self, node: int, side: int, child: int, *, leaf: bool) -> None:
        self.children[side][node], self.is_leaf[side][node] = child, int(leaf)

    def node(self, graph: Graph, value: str) -> str:
        """The sum of all trees, (n, targets), of a matrix (n, d) in double precision."""
        helper = require_onnx().numpy_helper
        return graph.op(
            "TreeEnsemble",
            value,
            domain=_TREES,
            n_targets=self.targets,
            aggregate_function=_SUM,
            post_transform=0,
            nodes_featureids=self.feature,
            nodes_modes=helper.from_array(np.full(len(self.feature), _LEQ, dtype=np.uint8), "modes"),
            nodes_splits=helper.from_array(np.asarray(self.cut, dtype=np.float64), "splits"),
            nodes_truenodeids=self.children[0],
            nodes_falsenodeids=self.children[1],
            nodes_trueleafs=self.is_leaf[0],
            nodes_falseleafs=self.is_leaf[1],
            leaf_targetids=self.leaf_target,
            leaf_weights=helper.from_array(np.asarray(self.leaf_value, dtype=np.float64), "weights"),
            tree_roots=self.roots,
        )


def forest_value(graph: Graph, forest: Forest, value: str) -> str:
    """offset + scale * sum of the trees, (n,), for a matrix (n, columns) in double precision."""
    trees = _Trees(1)
    constant = 0.0  # trees that are a single leaf
    for root in forest.roots.tolist():
        if forest.feature[root] < 0:
            constant += float(forest.cut[root])
            continue
        number = {root: trees.inner(int(forest.feature[root]), float(forest.cut[root]))}
        trees.roots.append(number[root])
        waiting = [root]
        while waiting:
            node = waiting.pop()
            for side, child in enumerate(forest.child[node].tolist()):
                leaf = forest.feature[child] < 0
                cut = float(forest.cut[child])
                own = trees.leaf(cut) if leaf else trees.inner(int(forest.feature[child]), cut)
                trees.link(number[node], side, own, leaf=leaf)
                if not leaf:
                    number[child] = own
                    waiting.append(child)
    if not trees.roots:
        zero = graph.op("Mul", graph.sum(value, (1,)), np.float64(0.0))
        return graph.op("Add", zero, np.float64(forest.offset + forest.scale * constant))
    total = graph.op("Squeeze", trees.node(graph, value), np.array([1], dtype=np.int64))
    return graph.op(
        "Add", graph.op("Mul", total, np.float64(forest.scale)), np.float64(forest.offset + forest.scale * constant)
    )


def note_cuts(graph: Graph, forest: Forest, features: Sequence[str]) -> None:
    """Features between the first and last cut of a forest, and a tenth beyond."""
    inner = forest.feature >= 0
    low, high = np.full(len(features), np.inf), np.full(len(features), -np.inf)
    np.minimum.at(low, forest.feature[inner], forest.cut[inner])
    np.maximum.at(high, forest.feature[inner], forest.cut[inner])
    with np.errstate(invalid="ignore"):
        margin = 0.1 * (high - low) + 1e-3 * np.abs(high)
        graph.note_range(features, low - margin, high + margin)


def _lookup(graph: Graph, edges: FloatArray, rows: FloatArray, value: str) -> str:
    """Row (n, columns) of `rows` by the number of `edges` that are below a value (n,): a binary tree of the edges."""
    trees = _Trees(rows.shape[1])

    def grow(first: int, last: int, column: int) -> tuple[int, bool]:
        if first == last:
            return trees.leaf(float(rows[first, column]), column), True
        middle = (first + last) // 2
        node = trees.inner(0, float(edges[middle]))
        for side, (start, stop) in enumerate(((first, middle), (middle + 1, last))):
            child, leaf = grow(start, stop, column)
            trees.link(node, side, child, leaf=leaf)
        return node, False

    for column in range(rows.shape[1]):
        trees.roots.append(grow(0, len(edges), column)[0])
    return trees.node(graph, graph.op("Unsqueeze", value, np.array([1], dtype=np.int64)))


def place_of(graph: Graph, edges: FloatArray, value: str) -> str:
    """Number (n,) of `edges`, rising, that are at most a value (n,), as integers."""
    below = np.nextafter(edges, -np.inf)  # x <= the number before an edge: x < edge
    found = _lookup(graph, below, np.arange(len(edges) + 1, dtype=np.float64)[:, None], value)
    return graph.op("Cast", graph.op("Squeeze", found, np.array([1], dtype=np.int64)), to=7)


def tail_of(graph: Graph, scale: ScoreScale, value: str) -> str:
    """t (n,) of a score (n,): linear between the points of the scale, constant below, going on straight above."""
    x, t = scale.points
    if graph.uses_single:
        graph.tolerances.append(TAIL_TOLERANCE)
    if len(x) > 1:
        with np.errstate(divide="ignore"):
            slope = np.diff(t) / np.diff(x)
    else:
        slope = np.zeros(0)
    step = float(x[-1] - x[0]) or 1.0
    last = (scale.tail([float(x[-1]) + step]) - t[-1]).item() / step
    rows = np.stack(
        [np.concatenate([x[:1], x]), np.concatenate([t[:1], t]), np.concatenate([[0.0], slope, [last]])], axis=1
    )
    found = _lookup(graph, x, rows, value)
    start, level, steep = (graph.op("Gather", found, np.int64(column), axis=1) for column in range(3))
    return graph.op("Add", level, graph.op("Mul", steep, graph.op("Sub", value, start)))


def log1p(graph: Graph, value: str) -> str:
    """ln(1 + y), also for tiny y (Kahan's correction: the rounding of 1 + y divides out)."""
    shifted = graph.op("Add", value, np.float64(1.0))
    lost = graph.op("Sub", shifted, np.float64(1.0))
    tiny = graph.op("Equal", lost, np.float64(0.0))
    divisor = graph.op("Where", tiny, np.float64(1.0), lost)
    corrected = graph.op("Mul", graph.op("Log", shifted), graph.op("Div", value, divisor))
    return graph.op("Where", tiny, value, corrected)


def minus_log_minus_expm1(graph: Graph, value: str) -> str:
    """-ln(1 - exp(x)) for x < 0, also near 0, where 1 - exp(x) is -x - x^2 / 2 - x^3 / 6 to double precision."""
    near = graph.op("Greater", value, np.float64(-1e-5))
    cubic = graph.op("Add", graph.op("Mul", value, np.float64(1 / 6)), np.float64(0.5))
    series = graph.op("Add", graph.op("Mul", graph.op("Mul", value, value), cubic), value)
    direct = graph.op("Sub", graph.op("Exp", value), np.float64(1.0))
    return graph.op("Neg", graph.op("Log", graph.op("Neg", graph.op("Where", near, series, direct))))


def _minus_log_sum(graph: Graph, tails: str) -> str:
    lowest = graph.op("ReduceMin", tails, axes=[0], keepdims=1)
    summed = graph.sum(graph.op("Exp", graph.op("Sub", lowest, tails)), (0,))
    return graph.op("Sub", graph.op("Squeeze", lowest, np.array([0], dtype=np.int64)), graph.op("Log", summed))


def combined_tails(graph: Graph, tails: Sequence[str], combine: str) -> str:
    """Combination (n,) of several t (n,): see `resonaut.models.combine_tails`."""
    rows = [graph.op("Unsqueeze", tail, np.array([0], dtype=np.int64)) for tail in tails]
    stacked = graph.op("Concat", *rows, axis=0)
    if combine in ("and", "or"):
        return graph.op("ReduceMin" if combine == "and" else "ReduceMax", stacked, axes=[0], keepdims=0)
    if combine == "avg":
        return graph.op("Add", _minus_log_sum(graph, stacked), np.float64(np.log(len(tails))))
    tiny = np.float64(np.finfo(float).tiny)
    safe = graph.op("Max", stacked, tiny)
    logarithm = graph.sum(log1p(graph, graph.op("Neg", graph.op("Exp", graph.op("Neg", safe)))), (0,))
    exact = minus_log_minus_expm1(graph, graph.op("Min", logarithm, -tiny))
    far = graph.op("Greater", graph.op("ReduceMin", stacked, axes=[0], keepdims=0), np.float64(30.0))
    return graph.op("Where", far, _minus_log_sum(graph, stacked), exact)
