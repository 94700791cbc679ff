"""Whether an ONNX file gives a scorer's own scores: evaluated by onnxruntime, which shares no code with us."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resonaut.errors import MissingDependencyError, ModelError
from resonaut.models.export.graph import FEATURES, MASS, SCORE, TOLERANCE
from resonaut.models.protocol import Scorer
from resonaut.models.sample import FloatArray, Sample

__all__ = ("Agreement", "check_onnx", "onnx_scores")

_ROWS = 1024  # more would be out of the cache for stacks of wide networks


@dataclass(frozen=True)
class Agreement:
    """How well an exported scorer agrees with the original.

    Parameters
    ----------
    events
        Compared.
    difference
        Largest |ONNX - own| / max(|own|, standard deviation of own).
    mean_difference
        Mean of the same.
    exchanged
        Pairs of neighbours in the ranking by ONNX that the own scores order the other way round.
    exchanged_by
        Largest difference of the own scores of such a pair, in the same units as `difference`: 0 for an identical ranking, below
        twice `difference` where only scores that agree to rounding change places.
    """

    events: int
    difference: float
    mean_difference: float
    exchanged: int
    exchanged_by: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for JSON."""
        return asdict(self)

    def within(self, tolerance: float) -> bool:
        """Whether scores agree and no two events change places that differ by more than both may be off."""
        close = self.difference <= tolerance and self.mean_difference <= TOLERANCE
        return close and self.exchanged_by <= 2 * tolerance


def _session(model: bytes | str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        msg = "checking ONNX needs onnxruntime: pip install 'resonaut[onnx]'"
        raise MissingDependencyError(msg) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_scores(model: bytes | str | os.PathLike[str], sample: Sample) -> FloatArray:
    """Scores (n,) that onnxruntime gives.

    Parameters
    ----------
    model
        The file, or its content.
    sample
        Events whose columns are the features of the file, in its order.
    """
    session = _session(model if isinstance(model, bytes) else os.fspath(model))
    needed = [each.name for each in session.get_inputs()]
    parts = [np.zeros(0)]
    for start in range(0, len(sample), _ROWS):
        rows = slice(start, start + _ROWS)
        inputs = {FEATURES: sample.features[rows], MASS: sample.mass[rows, None]}
        parts.append(session.run([SCORE], {name: inputs[name] for name in needed})[0])
    return np.concatenate(parts)


def check_onnx(model: bytes | str | os.PathLike[str], scorer: Scorer, sample: Sample) -> Agreement:
    """Compare an ONNX file with the scorer that it was made from.

    Parameters
    ----------
    model
        The file, or its content.
    scorer
        Fitted.
    sample
        Events to score, with the scorer's features.

    Raises
    ------
    ModelError
        If a score is not finite in one and finite in the other.
    """
    columns = Sample(sample.require(scorer.features), scorer.features, sample.mass)
    own, other = scorer.score(columns), onnx_scores(model, columns)
    if not np.array_equal(np.isfinite(own), np.isfinite(other)):
        bad = int(np.count_nonzero(np.isfinite(own) != np.isfinite(other)))
        msg = f"{bad} of {len(own)} scores are finite in one of the scorer and its ONNX form and not in the other"
        raise ModelError(msg)
    own, other = own[np.isfinite(own)], other[np.isfinite(own)]
    if not len(own):
        return Agreement(0, 0.0, 0.0, 0, 0.0)
    unit = np.maximum(np.abs(own), own.std() or np.finfo(float).tiny)
    apart = np.abs(own - other) / unit
    order = np.argsort(other, kind="stable")
    fall = np.maximum.accumulate(own[order]) - own[order]  # own scores should rise along the other's ranking
    fall[np.concatenate([[False], np.diff(other[order]) == 0])] = 0.0
    return Agreement(
        events=len(own),
        difference=float(apart.max()),
        mean_difference=float(apart.mean()),
        exchanged=int(np.count_nonzero(fall > 0)),
        exchanged_by=float(np.max(fall / unit[order])),
    )
