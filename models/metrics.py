"""How well a score tells signal from background, where truth is known: ROC, AUC, significance improvement.

For benchmarks: a search has no labels. All functions take event weights; all efficiencies are fractions of the weight.

The SIC (significance improvement characteristic) of a cut is eS / sqrt(eB): the factor by which it multiplies S/sqrt(B). Where
only a handful of background events pass, its largest value is a fluctuation: `sic_curve` gives its statistical error and
leaves out cuts with fewer background events than `min_background`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.models.sample import FloatArray

__all__ = (
    "Band",
    "RocCurve",
    "SicCurve",
    "auc",
    "efficiency_at",
    "max_sic",
    "roc_curve",
    "si_at",
    "sic_band",
    "sic_curve",
)


@dataclass(frozen=True)
class RocCurve:
    """Efficiencies of every possible cut, from the tightest to none.

    Parameters
    ----------
    eb, es
        (k,) background and signal efficiency, both rising from 0 to 1.
    threshold
        (k,) events with score >= threshold pass; the first is +inf.
    background, signal
        (k,) effective numbers of passing events, (sum w)^2 / sum w^2: the counts where all weights are equal.
    """

    eb: FloatArray
    es: FloatArray
    threshold: FloatArray
    background: FloatArray
    signal: FloatArray


@dataclass(frozen=True)
class SicCurve:
    """Significance improvement of every cut that keeps enough background to be measured.

    Parameters
    ----------
    es, eb
        (k,) signal and background efficiency, rising.
    sic
        (k,) es / sqrt(eb).
    error
        (k,) statistical standard deviation of `sic` from the binomial errors of both efficiencies.
    """

    es: FloatArray
    eb: FloatArray
    sic: FloatArray
    error: FloatArray

    @property
    def best(self) -> tuple[float, float]:
        """Largest SIC and its statistical error."""
        place = int(np.argmax(self.sic))
        return float(self.sic[place]), float(self.error[place])


@dataclass(frozen=True)
class Band:
    """Median and spread over seeds on a common grid of signal efficiencies.

    Parameters
    ----------
    es
        (g,) grid.
    median, low, high
        (g,) median, 16 % and 84 % quantile of the SIC; NaN where fewer than half of the curves reach.
    """

    es: FloatArray
    median: FloatArray
    low: FloatArray
    high: FloatArray


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> RocCurve:
    """ROC curve, one point for each different score.

    Parameters
    ----------
    labels
        (n,) truth, 1 = signal, 0 = background.
    scores
        (n,) higher = more anomalous.
    weight
        (n,) weights >= 0.

    Raises
    ------
    InputError
        For shapes that differ, NaN scores, or a class without events.

    Examples
    --------
    >>> curve = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    >>> curve.es.tolist(), curve.eb.tolist()
    ([0.0, 0.5, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.5, 1.0])
    """
    truth, values, weights = _checked(labels, scores, weight)
    order = np.argsort(-values, kind="stable")
    truth, values, weights = truth[order], values[order], weights[order]
    last = np.append(values[1:] != values[:-1], True)

    def passing(amount: FloatArray) -> FloatArray:
        return np.concatenate([[0.0], np.cumsum(amount)[last]])

    sums = {kind: passing(np.where(truth == kind, weights, 0.0)) for kind in (False, True)}
    squares = {kind: passing(np.where(truth == kind, weights**2, 0.0)) for kind in (False, True)}
    effective = {
        kind: np.divide(sums[kind] ** 2, squares[kind], out=np.zeros_like(sums[kind]), where=squares[kind] > 0)
        for kind in (False, True)
    }
    return RocCurve(
        eb=sums[False] / sums[False][-1],
        es=sums[True] / sums[True][-1],
        threshold=np.concatenate([[np.inf], values[last]]),
        background=effective[False],
        signal=effective[True],
    )


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike, weight: npt.ArrayLike | None = None) -> float:
    """Area under the ROC curve: the probability that signal scores above background, ties counting half.

    Examples
    --------
    >>> auc([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    1.0
    """
    curve = roc_curve(labels, scores, weight)
    return float(np.trapezoid(curve.es, curve.eb))


def efficiency_at(
    labels: npt.ArrayLike, scores: npt.ArrayLike, eb: float, weight: npt.ArrayLike | None = None
) -> float:
    """Signal efficiency at a background efficiency `eb` in (0, 1], linear between points of the ROC curve.

    Examples
    --------
    >>> efficiency_at([0, 0, 0, 0, 1, 1], [0.0, 0.1, 0.2, 0.3, 0.25, 0.9], 0.25)
    1.0
    """
    if not 0 < eb <= 1:
        msg = f"background efficiency must be in (0, 1], got {eb!r}"
        raise ConfigError(msg)
    curve = roc_curve(labels, scores, weight)
    top = np.append(curve.eb[1:] != curve.eb[:-1], True)  # of the points at one eb, the highest
    return float(np.interp(eb, curve.eb[top], curve.es[top]))


def si_at(labels: npt.ArrayLike, scores: npt.ArrayLike, eb: float, weight: npt.ArrayLike | None = None) -> float:
    """Significance improvement eS / sqrt(eB) at a fixed background efficiency.

    Examples
    --------
    >>> si_at([0, 0, 0, 0, 1, 1], [0.0, 0.1, 0.2, 0.3, 0.25, 0.9], 0.25)
    2.0
    """
    return efficiency_at(labels, scores, eb, weight) / float(np.sqrt(eb))


def sic_curve(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    min_background: float = 10.0,
    min_signal: float = 1.0,
) -> SicCurve:
    """Significance improvement against signal efficiency.

    Parameters
    ----------
    labels, scores, weight
        As in `roc_curve`.
    min_background
        Cuts that leave fewer (effective) background events are left out. At 10 the error of the SIC is 16 %; the maximum over cuts
        prefers upward fluctuations, so quote figures with 100 where the sample allows.
    min_signal
        The same for signal.

    Returns
    -------
    SicCurve
        With the error from (d sic / sic)^2 = (1 - es) / (es nS) + (1/4) (1 - eb) / (eb nB), the binomial variances of the
        efficiencies with (effective) event numbers nS, nB.

    Raises
    ------
    InputError
        If no cut leaves enough events.
    """
    curve = roc_curve(labels, scores, weight)
    keep = (curve.background >= max(min_background, 1e-9)) & (curve.signal >= max(min_signal, 1e-9))
    if not keep.any():
        msg = (
            f"no cut leaves {min_background} background and {min_signal} signal events (there are "
            f"{curve.background[-1]:.0f} and {curve.signal[-1]:.0f}): use more events or lower the floors"
        )
        raise InputError(msg)
    es, eb = curve.es[keep], curve.eb[keep]
    sic = es / np.sqrt(eb)
    relative = (1 - es) / curve.signal[keep] + 0.25 * (1 - eb) / curve.background[keep]
    return SicCurve(es, eb, sic, sic * np.sqrt(relative))


def max_sic(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    min_background: float = 10.0,
) -> tuple[float, float]:
    """Largest significance improvement over all cuts with enough background, and its statistical error."""
    return sic_curve(labels, scores, weight, min_background=min_background).best


def sic_band(curves: Sequence[SicCurve], grid: FloatArray | None = None) -> Band:
    """Median and 68 % band of SIC curves of several seeds.

    Parameters
    ----------
    curves
        One per seed.
    grid
        Signal efficiencies; 200 points from 0 to 1 where not given.

    Raises
    ------
    InputError
        If there are no curves.
    """
    if not curves:
        msg = "a band needs at least one SIC curve, got none"
        raise InputError(msg)
    es = np.linspace(0.0, 1.0, 201)[1:] if grid is None else np.asarray(grid, dtype=np.float64)
    values = np.stack([_along(curve, es) for curve in curves])
    reached = np.isfinite(values).sum(axis=0) * 2 >= len(curves)
    bands = np.full((3, len(es)), np.nan)
    if reached.any():
        bands[:, reached] = np.nanquantile(values[:, reached], [0.5, 0.16, 0.84], axis=0)
    return Band(es, *bands)


def _along(curve: SicCurve, es: FloatArray) -> FloatArray:
    first = np.insert(curve.es[1:] != curve.es[:-1], 0, True)  # of the points at one es, the least background
    return np.asarray(np.interp(es, curve.es[first], curve.sic[first], left=np.nan, right=np.nan), dtype=np.float64)


def _checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weight: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.bool_], FloatArray, FloatArray]:
    truth = np.asarray(labels)
    values = np.asarray(scores, dtype=np.float64)
    weights = np.ones(values.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    if truth.ndim != 1 or not truth.shape == values.shape == weights.shape:
        msg = f"labels, scores and weights must be flat and alike, got {truth.shape}, {values.shape}, {weights.shape}"
        raise InputError(msg)
    if np.isnan(values).any() or not np.isfinite(weights).all() or (weights < 0).any():
        msg = f"scores must not be NaN ({np.count_nonzero(np.isnan(values))} are), weights finite and >= 0"
        raise InputError(msg)
    truth = truth.astype(bool)
    if not (weights[truth].sum() > 0 and weights[~truth].sum() > 0):
        msg = f"need signal and background events, got {np.count_nonzero(truth)} and {np.count_nonzero(~truth)}"
        raise InputError(msg)
    return truth, values, weights
