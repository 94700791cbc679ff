"""An ONNX graph under construction: operations by name, constants as they come, the batch as first axis of every value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import MissingDependencyError
from resonaut.models.sample import FloatArray

__all__ = (
    "FEATURES",
    "IR_VERSION",
    "MASS",
    "OPSET",
    "SCORE",
    "TAIL_TOLERANCE",
    "TOLERANCE",
    "TREES_OPSET",
    "Graph",
    "require_onnx",
)

OPSET = 17
TREES_OPSET = 5
"""Of the domain ai.onnx.ml: the first whose trees give double precision (onnxruntime 1.20 and later)."""
IR_VERSION = 10
TOLERANCE = 1e-5
"""Largest difference of a score, relative to the score or the spread of all scores, whichever is larger."""
TAIL_TOLERANCE = 1e-2
"""The same where a score in single precision goes through -ln of the fraction of events above it: that function climbs by a step
between two events of its reference, however close they are, and so magnifies the seventh decimal for single events. The mean
difference must stay below `TOLERANCE` all the same."""
_FLOAT, _DOUBLE = 1, 11  # TensorProto
FEATURES, MASS, SCORE = "features", "mass", "score"


def require_onnx() -> Any:
    """The package onnx.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        msg = "writing ONNX needs onnx and onnxruntime: pip install 'resonaut[onnx]'"
        raise MissingDependencyError(msg) from error
    return onnx


@dataclass(frozen=True)
class Graph:
    """Nodes and constants, and the range of features in which the scorer has something to say.

    Methods take and return names of values. `FEATURES` is (n, d) and `MASS` (n, 1), in double precision: cuts of trees lie
    between neighbouring numbers, and a feature that is rounded first can fall on the other side.
    """

    features: tuple[str, ...]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    tolerances: list[float] = field(default_factory=list)
    scaled: set[str] = field(default_factory=set)

    @property
    def uses_mass(self) -> bool:
        """Whether any node reads the mass."""
        return any(MASS in node.input for node in self.nodes)

    @property
    def uses_single(self) -> bool:
        """Whether anything is evaluated in single precision, as networks are."""
        return any(node.op_type == "Cast" and node.attribute[0].i == _FLOAT for node in self.nodes)

    @property
    def tolerance(self) -> float:
        """Largest relative difference of scores that rounding explains."""
        return max([TOLERANCE, *self.tolerances])

    def constant(self, value: npt.ArrayLike) -> str:
        """A constant tensor, of the type of the array; equal ones are kept once."""
        array = np.ascontiguousarray(value)
        if np.ndim(value) == 0:
            array = array.reshape(())
        helper = require_onnx().numpy_helper
        key = f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
        if key not in self.constants:
            self.constants[key] = helper.from_array(array, f"c{len(self.constants)}")
        return str(self.constants[key].name)

    def op(self, kind: str, *inputs: str | npt.ArrayLike, domain: str = "", **attributes: Any) -> str:
        """Output of an operation; inputs are names of values, or arrays, which become constants."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        output = f"v{len(self.nodes)}"
        node = require_onnx().helper.make_node(kind, names, [output], domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def single(self, value: str) -> str:
        """The value in single precision."""
        return self.op("Cast", value, to=_FLOAT)

    def double(self, value: str) -> str:
        """The value in double precision."""
        return self.op("Cast", value, to=_DOUBLE)

    def mean(self, value: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Mean over axes."""
        return self.op("ReduceMean", value, axes=list(axes), keepdims=int(keep))

    def sum(self, value: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """Sum over axes."""
        return self.op("ReduceSum", value, np.array(axes, dtype=np.int64), keepdims=int(keep))

    def matrix(self, features: Sequence[str], scaled: Sequence[str] = ()) -> str:
        """Columns (n, len(features)) of the input, those named in `scaled` divided by the mass."""
        value = FEATURES
        if tuple(features) != self.features:
            place = np.array([self.features.index(name) for name in features], dtype=np.int64)
            value = self.op("Gather", FEATURES, place, axis=1)
        if scaled:
            self.scaled.update(scaled)
            chosen = np.isin(features, scaled)[None, :]
            value = self.op("Where", chosen, self.op("Div", value, MASS), value)
        return value

    def where_known(self, score: str) -> str:
        """The score (n,), NaN for an event with a feature or, where any node reads it, a mass that is not finite.

        Comparisons in trees and activations of networks would make a number of it, and another one than resonaut.
        """
        nothing = self.sum(self.op("Mul", FEATURES, np.float64(0.0)), (1,))  # NaN where not finite, else 0
        if self.uses_mass:
            nothing = self.op("Add", nothing, self.sum(self.op("Mul", MASS, np.float64(0.0)), (1,)))
        return self.op("Add", score, nothing)

    def note_range(self, features: Sequence[str], low: FloatArray, high: FloatArray) -> None:
        """Note where the features (as a classifier sees them) vary; ranges of several parts are joined."""
        for name, least, most in zip(features, np.ravel(low).tolist(), np.ravel(high).tolist(), strict=True):
            if least <= most:
                before = self.ranges.get(name, (least, most))
                self.ranges[name] = (min(before[0], least), max(before[1], most))
