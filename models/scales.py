"""Scores of any kind on one scale: the fraction of a reference sample that scores lower, and ways to combine such fractions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.models.sample import FloatArray

__all__ = ("COMBINATIONS", "Combine", "ScoreScale", "combine_tails", "require_combination")

Combine = Literal["and", "or", "prod", "avg"]
_POINTS = 2000  # of a score's distribution: spaced evenly in the log of the fraction above
_FAR = 30.0  # -ln(1 - u), beyond which u is 1 in double precision's eyes
_LAST = 3.0  # of the log of the fraction above: the stretch at the top (5 % of what it begins with) that is continued


@dataclass(frozen=True)
class ScoreScale:
    """Distribution of a score in a reference sample, kept as points.

    Parameters
    ----------
    points
        (2, k) increasing scores, and t = -ln of the weighted fraction above each, down to half of the last event.

    Examples
    --------
    >>> scale = ScoreScale.learn(np.arange(1000.0))
    >>> np.round(scale.uniform([250.0, 990.0]), 2).tolist()
    [0.25, 0.99]
    >>> bool(np.diff(scale.tail([999.0, 1500.0, 5000.0])).min() > 0)  # beyond the reference the order is kept
    True
    """

    points: FloatArray

    @classmethod
    def learn(cls, scores: FloatArray, weight: FloatArray | None = None) -> ScoreScale:
        """From the scores (n,) of a reference sample.

        Raises
        ------
        InputError
            If no event counts, or a score is not finite.
        """
        weight = np.ones(len(scores)) if weight is None else weight
        counted = weight > 0
        scores, weight = scores[counted], weight[counted]
        if not len(scores) or not np.isfinite(scores).all():
            msg = f"{len(scores)} scores, {np.count_nonzero(~np.isfinite(scores))} of them not finite: nothing to compare with"
            raise InputError(msg)
        order = np.argsort(scores, kind="stable")
        passed = np.cumsum(weight[order]) - 0.5 * weight[order]
        logs = -np.log1p(-passed / weight.sum())
        values, first = np.unique(scores[order], return_index=True)
        grid = np.linspace(logs[first[0]], logs[first[-1]], min(_POINTS, len(values)))
        kept = np.unique(np.searchsorted(logs[first], grid))
        return cls(np.stack([values[kept], logs[first][kept]]))

    def tail(self, scores: FloatArray | list[float]) -> FloatArray:
        """t (n,) = -ln of the fraction of the reference that scores higher.

        Beyond the highest score of the reference, t goes on as a straight line, with the slope of the stretch before: events that
        no reference event comes near keep their order and do not tie.
        """
        values = np.asarray(scores, dtype=np.float64)
        x, t = self.points
        found = np.interp(values, x, t)
        start = min(int(np.searchsorted(t, t[-1] - _LAST)), len(t) - 2)
        slope = (t[-1] - t[start]) / (x[-1] - x[start]) if len(t) > 1 else 1.0
        return np.asarray(found + np.maximum(values - x[-1], 0.0) * slope)

    def uniform(self, scores: FloatArray | list[float]) -> FloatArray:
        """Fraction (n,) of the reference that scores lower: uniform in (0, 1) for events like the reference."""
        return np.asarray(-np.expm1(-self.tail(scores)))


def _any(tails: FloatArray) -> FloatArray:
    return np.asarray(tails.max(axis=0))


def _all(tails: FloatArray) -> FloatArray:
    return np.asarray(tails.min(axis=0))


def _average(tails: FloatArray) -> FloatArray:
    return np.asarray(np.log(len(tails)) - logsumexp(-tails, axis=0))


def _product(tails: FloatArray) -> FloatArray:
    logarithm = np.log1p(-np.exp(-np.maximum(tails, np.finfo(float).tiny))).sum(axis=0)  # of the product
    exact = -np.log(-np.expm1(np.minimum(logarithm, -np.finfo(float).tiny)))
    # far out 1 - prod(1 - e^-t) is the sum of e^-t, which the logarithm can take where the sum itself is zero
    return np.asarray(np.where(tails.min(axis=0) > _FAR, -logsumexp(-tails, axis=0), exact))


COMBINATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "and": _all,
    "or": _any,
    "prod": _product,
    "avg": _average,
}
"""Minimum, maximum, product and mean of uniform scores (arXiv:2106.10164, table 4), taking and giving t = -ln(1 - u)."""


def require_combination(name: str) -> Combine:
    """The name, checked.

    Raises
    ------
    ConfigError
        If it is none of `COMBINATIONS`.
    """
    if name not in COMBINATIONS:
        raise ConfigError(unknown_name("combination", name, COMBINATIONS))
    return name  # type: ignore[return-value]


def combine_tails(tails: FloatArray, combine: Combine) -> FloatArray:
    """Combined score (n,) of several scores.

    Parameters
    ----------
    tails
        (members, n) t = -ln(1 - u) of each member, u being its uniform score.
    combine
        Name in `COMBINATIONS`.

    Returns
    -------
    score
        t = -ln(1 - S) of the combined score S: in the order of S, but without ties where S rounds to one.

    Examples
    --------
    >>> u = np.array([[0.5, 0.9], [0.8, 0.2]])
    >>> for name in COMBINATIONS:
    ...     print(name, np.round(-np.expm1(-combine_tails(-np.log1p(-u), name)), 3).tolist())
    and [0.5, 0.2]
    or [0.8, 0.9]
    prod [0.4, 0.18]
    avg [0.65, 0.55]
    """
    return COMBINATIONS[require_combination(combine)](np.asarray(tails, dtype=np.float64))
