"""Random events that stand for a weighted sample, for methods that take no weights."""

from __future__ import annotations

import numpy as np

from resonaut.errors import InputError
from resonaut.models.sample import FloatArray, IndexArray

__all__ = ("draw_rows", "standardisation")


def draw_rows(weight: FloatArray, most: int, rng: np.random.Generator) -> IndexArray:
    """Rows of at most `most` random events: without repetition where all weights are equal, else in proportion to the weight.

    Parameters
    ----------
    weight
        (n,) weights >= 0.
    most
        Rows to return, n where there are fewer events.
    rng
        Where the choice comes from.

    Raises
    ------
    InputError
        If no event has a weight above 0.

    Notes
    -----
    In proportion: evenly spaced points on the cumulative weight (systematic resampling), so that an event of weight w stands there
    w * most / sum(w) times, rounded up or down.
    """
    size = min(most, len(weight))
    if not len(weight) or not weight.max() > 0:
        msg = f"{len(weight)} events, none with a weight above 0: there is nothing to learn from"
        raise InputError(msg)
    if weight.min() == weight.max():
        return np.sort(rng.permutation(len(weight))[:size])
    points = (rng.random() + np.arange(size)) / size
    order = rng.permutation(len(weight))  # neighbours in the file are no better spread than others
    total = np.cumsum(weight[order])
    return np.sort(order[np.searchsorted(total / total[-1], points, side="right")])


def standardisation(matrix: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted mean and standard deviation (d,) of each column; 1 for columns that do not vary."""
    centre = np.average(matrix, axis=0, weights=weight)
    spread = np.sqrt(np.average((matrix - centre) ** 2, axis=0, weights=weight))
    return centre, np.where(spread > 0, spread, 1.0)
