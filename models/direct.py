r"""Background after a cut without a fit of the cut spectrum: a template's efficiency times the yield of the signal region.

A method that makes a background template for the signal region (SR) knows more than which events are anomalous: the same cut
applied to template events that the classifier did not see gives the efficiency of background. With B the SR background before
the cut (from the sidebands of the whole spectrum), :math:`t_k` the threshold that the data of fold k were cut at,
:math:`\epsilon_k` the efficiency of fold k's held-out template at it and :math:`f_k` the share of the SR events in that fold,

.. math:: b = B \sum_k f_k \, \epsilon_k(t_k).

No curve is fitted to the few events that are left, so the error stays small where the fit has none left to stand on.
It is as right as the template, and that is tested where there is no signal: the closure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from resonaut.errors import InputError
from resonaut.models.cuts import fold_thresholds
from resonaut.models.sample import FloatArray, IndexArray, MaskArray
from resonaut.stats import Window, log_edges, on_off_p_value

if TYPE_CHECKING:
    from resonaut.models.templates.scorer import HeldOut

__all__ = ("DirectEstimate", "direct_estimate", "interpolated_efficiency")

_BINS_PER_E_FOLD = 60
_SLOPE_SCALES = (5.0, 20.0, 100.0)  # of log-odds against 1, x, x^2 with x = ln(m / centre): far beyond any real cut
_STEPS = 50
_ENOUGH = 50  # expected passing events: fewer cannot tell a dispersion of the fit


@dataclass(frozen=True)
class DirectEstimate:
    """Observed and expected events of a signal region after a cut, the latter from a background template.

    Parameters
    ----------
    cut
        Fraction of the events that the selection keeps.
    observed, expected
        Events in the signal region, and background from the template.
    template_error
        Statistical, of the held-out template events.
    yield_error
        From the background before the cut.
    closure_error
        Systematic, of the template: what the closure shows beyond its own statistical error.
    closure, closure_precision
        Background in the signal region that the data outside it expect (efficiency of the cut, interpolated in mass), and
        the standard deviation of ``expected - closure`` if the template is right.
    local_p, local_significance
        Of the excess over `expected`; a deficit has p > 0.5 and a negative significance.
    """

    cut: float
    observed: float
    expected: float
    template_error: float
    yield_error: float
    closure_error: float
    closure: float
    closure_precision: float
    local_p: float
    local_significance: float

    @property
    def expected_error(self) -> float:
        """Standard deviation of the expected background, all sources."""
        return float(np.sqrt(self.template_error**2 + self.yield_error**2 + self.closure_error**2))

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for JSON."""
        return {**asdict(self), "expected_error": self.expected_error}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})


class Efficiency(NamedTuple):
    """An efficiency and its standard deviation."""

    value: float
    error: float


def direct_estimate(
    scores: FloatArray,
    fold: IndexArray,
    mass: FloatArray,
    window: Window,
    cut: float,
    held_out: Sequence[HeldOut],
    background: tuple[float, float],
) -> DirectEstimate:
    r"""Background of a signal region after a cut, from the template that the scores were made with.

    Parameters
    ----------
    scores, fold, mass
        (n,) out-of-fold scores, folds and masses (GeV) of all events that the cut's fraction refers to, inside and outside the
        signal region. Events count; there are no weights.
    window
        Its signal region is the one that the template describes.
    cut
        Fraction of the events that the selection keeps: the thresholds are those of `select`.
    held_out
        ``scorer.held_out_`` of each fold's scorer, in the order of the folds.
    background
        Background in the signal region before the cut, and its standard deviation: a blinded fit of the uncut spectrum.

    Raises
    ------
    InputError
        If the arrays do not belong together, or a region has no events.

    Notes
    -----
    The closure compares the template's efficiency with that of the data outside the signal region, interpolated to it
    (`interpolated_efficiency`). For a difference d with standard deviation s in case that the template is right, d^2 - s^2 is
    an unbiased estimate of the square of the template's bias; its root, where it is positive, is the systematic error. A
    template that does not look like data is found this way. One that makes the classifier cut on the mass itself, so that
    the efficiency peaks in the signal region, is found as far as a parabola in ln m follows the peak.

    The thresholds are quantiles of the data. Where they fluctuate up, less is expected and less is observed; together the
    difference has the variance of a Poisson count, as if they were fixed.

    The p-value is that of the on/off problem of the same relative error, b^2 / error^2 background events seen in a region
    tau = b / error^2 times as large (`resonaut.stats.on_off_p_value`): the Poisson tail, averaged over what such a count says of
    the background.

    References
    ----------
    Cousins, Linnemann, Tucker, arXiv:physics/0702156. CATHODE's background estimate from its samples: arXiv:2109.00546,
    section 5.

    Examples
    --------
    Noise for a score, so that the cut keeps a tenth of the background everywhere:

    >>> from resonaut.models.templates import HeldOut
    >>> rng = np.random.default_rng(1)
    >>> mass = 2800.0 + rng.exponential(500.0, 20_000)
    >>> window = Window(3300.0, 3700.0, 3000.0, 4000.0)
    >>> held = [HeldOut(rng.random(5000), np.ones(5000), np.full(5000, 3500.0), 0.0) for _ in range(2)]
    >>> before = float(window.in_signal_region(mass).sum())
    >>> found = direct_estimate(rng.random(20_000), np.arange(20_000) % 2, mass, window, 0.1, held, (before, 40.0))
    >>> bool(abs(found.expected - 0.1 * before) < 15), bool(abs(found.local_significance) < 4)
    (True, True)
    """
    inside = window.in_signal_region(mass)
    _check(scores, fold, mass, inside, held_out)
    lowest = fold_thresholds(scores, fold, cut)
    passing = scores >= np.array([lowest.get(number, np.inf) for number in range(len(held_out))])[fold]
    shares = np.bincount(fold[inside], minlength=len(held_out)) / np.count_nonzero(inside)
    template = _template_efficiency(held_out, [lowest.get(k, np.inf) for k in range(len(held_out))], shares)
    data = interpolated_efficiency(mass, passing, window)
    total, total_error = background
    expected = total * template.value
    precision = total * float(np.hypot(template.error, data.error))
    surplus = (expected - total * data.value) ** 2 - precision**2
    errors = {
        "template_error": total * template.error,
        "yield_error": template.value * total_error,
        "closure_error": float(np.sqrt(max(surplus, 0.0))),
    }
    observed = float(np.count_nonzero(inside & passing))
    p, z = _gamma_tail(observed, expected, float(np.sqrt(sum(error**2 for error in errors.values()))))
    return DirectEstimate(
        cut=cut,
        observed=observed,
        expected=expected,
        **errors,
        closure=total * data.value,
        closure_precision=precision,
        local_p=p,
        local_significance=z,
    )


def _check(
    scores: FloatArray, fold: IndexArray, mass: FloatArray, inside: MaskArray, held_out: Sequence[HeldOut]
) -> None:
    if not len(scores) == len(fold) == len(mass):
        msg = f"got {len(scores)} scores, {len(fold)} folds and {len(mass)} masses: one of each per event"
        raise InputError(msg)
    if len(fold) and not 0 <= fold.min() <= fold.max() < len(held_out):
        msg = f"events are in folds {fold.min()}-{fold.max()} but {len(held_out)} folds have a held-out template"
        raise InputError(msg)
    if not inside.any() or inside.all():
        msg = f"{np.count_nonzero(inside)} of {len(mass)} events are in the signal region: both sides need events"
        raise InputError(msg)
    if empty := [k for k, held in enumerate(held_out) if not held.weight.sum() > 0]:
        msg = f"the held-out template of fold {empty[0]} has no events: draw a larger template"
        raise InputError(msg)


def _template_efficiency(held_out: Sequence[HeldOut], lowest: Sequence[float], shares: FloatArray) -> Efficiency:
    """Efficiency of the cut on the held-out events of all folds, each with the share of the data it stands for.

    Events that stand in several folds' samples (a template made of data) are known by their mass and count as one. The
    error is not less than that of one average event: none passing does not mean that none can.
    """
    parts, value = [], 0.0
    for held, cut, share in zip(held_out, lowest, shares, strict=True):
        weight = held.weight * (share / held.weight.sum())
        efficiency = float(weight[held.scores >= cut].sum()) / share if share else 0.0
        value += share * efficiency
        parts.append((held.mass, weight, weight * ((held.scores >= cut) - efficiency)))
    mass, weights, residuals = (np.concatenate([part[column] for part in parts]) for column in range(3))
    event = np.unique(mass, return_inverse=True)[1]
    squared = float(np.sum(np.bincount(event, residuals) ** 2))
    average = float(np.sum(np.bincount(event, weights) ** 2))
    return Efficiency(value, float(np.sqrt(max(squared, average**2))))


def interpolated_efficiency(mass: FloatArray, passing: MaskArray, window: Window) -> Efficiency:
    """Efficiency of a cut in the signal region, as the data on both sides of it tell.

    The log-odds of passing are fitted outside the signal region with a parabola in ln m and averaged over the masses of
    the events inside, of which nothing else is used.

    Parameters
    ----------
    mass
        (n,) masses, GeV, on both sides of the signal region and in it.
    passing
        (n,) events that pass the cut.
    window
        Its signal region is left out of the fit.

    Returns
    -------
    Efficiency
        Value and standard deviation; the latter grows with the dispersion of the fit where it is above one.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> mass = rng.uniform(3000.0, 4000.0, 50_000)
    >>> passing = rng.random(50_000) < 0.1 * mass / 3500.0
    >>> value, error = interpolated_efficiency(mass, passing, Window(3400.0, 3600.0, 3300.0, 3700.0))
    >>> round(value, 2), error < 0.003
    (0.1, True)
    """
    edges = _edges(mass, window)
    total, passed = (np.histogram(values, edges)[0].astype(np.float64) for values in (mass, mass[passing]))
    centre = np.sqrt(edges[1:] * edges[:-1])
    inside = (centre >= window.low) & (centre < window.high)
    outside = ~inside & (total > 0)
    design = np.vander(np.log(centre / window.centre), 3, increasing=True)
    beta, covariance = _log_odds_fit(design[outside], total[outside], passed[outside])
    odds = 1.0 / (1.0 + np.exp(-design[inside] @ beta))
    share = total[inside] / total[inside].sum()
    gradient = (share * odds * (1.0 - odds)) @ design[inside]
    return Efficiency(float(share @ odds), float(np.sqrt(gradient @ covariance @ gradient)))


def _edges(mass: FloatArray, window: Window) -> FloatArray:
    """Edges of fine bins, uniform in ln m, with the ends of the signal region among them."""
    ends = (float(mass.min()), window.low, window.high, float(np.nextafter(mass.max(), np.inf)))
    parts = []
    for low, high in itertools.pairwise(ends):
        if not low < high:
            msg = f"the masses {ends[0]:.0f}-{ends[-1]:.0f} GeV do not reach beyond both ends of {window}"
            raise InputError(msg)
        parts.append(log_edges(low, high, max(3, round(_BINS_PER_E_FOLD * np.log(high / low)))))
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def _log_odds_fit(design: FloatArray, total: FloatArray, passed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients of the log-odds by Newton's steps, and their covariance; a wide prior keeps them finite."""
    prior = np.diag(1.0 / np.array(_SLOPE_SCALES) ** 2)
    start = (passed.sum() + 0.5) / (total.sum() + 1.0)
    centre = np.array([np.log(start / (1.0 - start)), 0.0, 0.0])
    beta = centre.copy()
    for _ in range(_STEPS):
        odds = 1.0 / (1.0 + np.exp(-design @ beta))
        information = (design.T * (total * odds * (1.0 - odds))) @ design + prior
        step = np.linalg.solve(information, design.T @ (passed - total * odds) - prior @ (beta - centre))
        step *= min(1.0, 2.0 / max(float(np.abs(design @ step).max()), 1e-300))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    odds = 1.0 / (1.0 + np.exp(-design @ beta))
    variance = total * odds * (1.0 - odds)
    information = (design.T * variance) @ design + prior
    dispersion = 1.0
    if passed.sum() >= _ENOUGH and len(total) > 3:
        dispersion = max(1.0, float(np.sum((passed - total * odds) ** 2 / variance)) / (len(total) - 3))
    return beta, np.linalg.inv(information) * dispersion


def _gamma_tail(observed: float, expected: float, error: float) -> tuple[float, float]:
    """p-value and significance of a count over a background that another count of this relative error measures."""
    ratio = expected / error**2 if expected > 0 else 1.0 / error
    p, z = on_off_p_value(observed, ratio * expected, ratio)
    return float(p), float(z)
