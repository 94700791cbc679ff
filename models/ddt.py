"""Designed decorrelation after the training: any scorer's output, transformed so that a cut is as tight at every mass."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.special import expit, log_expit

from resonaut.errors import ConfigError, InputError
from resonaut.files import atomic_dir
from resonaut.models.base import BaseScorer
from resonaut.models.folds import assign_folds
from resonaut.models.protocol import Scorer
from resonaut.models.registry import make_scorer, register, scorer_class
from resonaut.models.sample import FloatArray, IndexArray, MaskArray, Sample
from resonaut.models.storage import Tensors, load_scorer
from resonaut.stats import Window

__all__ = ("DDT", "EfficiencyMap")

_STEP = 2**-0.5  # each threshold of the upper half keeps this share of the events above the one before
_RIDGE = 0.1  # weak prior on the slopes (standard deviation 3 in log-odds): decides only where there are no events
_ROWS = 65_536  # events transformed at once


@dataclass(frozen=True, eq=False)
class EfficiencyMap:
    """Survival function of a score as a smooth function of the mass: S(s, m) = P(score >= s at mass m).

    Between neighbouring thresholds, the share of events that pass the next one is a logistic polynomial of ln m; S is the
    product of those shares. It falls with s at every m by construction, whatever the fit.

    Parameters
    ----------
    thresholds
        (J + 1,) scores: the lowest one and J thresholds, strictly rising.
    coefficients
        (J, degree + 1) of Legendre polynomials in ln m, for the log-odds to pass threshold j + 1 having passed j.
    ends
        ln m at both ends of the polynomials' range; constant beyond.
    tail
        Mean excess over the last threshold: S falls by e for each.
    """

    thresholds: FloatArray
    coefficients: FloatArray
    ends: FloatArray
    tail: float

    @classmethod
    def fit(cls, score: FloatArray, mass: FloatArray, weight: FloatArray, *, degree: int, min_events: float) -> Self:
        """Learn the survival function from background events.

        Parameters
        ----------
        score, mass, weight
            (n,) each; masses in GeV, above 0.
        degree
            Of the polynomials in ln m.
        min_events
            Effective events ((sum w)^2 / sum w^2) that the last threshold must leave.

        Raises
        ------
        InputError
            If there are too few events for one threshold, or masses that are not positive.
        """
        used = weight > 0
        score, mass, weight = score[used], mass[used], weight[used]
        order = np.argsort(score, kind="stable")
        score, mass, weight = score[order], mass[order], weight[order]
        if not len(mass) or not mass.min() > 0 or not np.isfinite(score).all():
            msg = f"the efficiency map needs events with masses > 0 and finite scores, got {len(mass)} events"
            raise InputError(msg)
        weight = weight * (weight.sum() / (weight**2).sum())  # counts of unweighted events that know as much
        thresholds = _thresholds(score, weight, min_events)
        if len(thresholds) < 2:
            msg = (
                f"{len(score)} background events (effectively {weight.sum():.0f}) with {len(np.unique(score))} different "
                f"scores are too few for a threshold that leaves {min_events:g}: widen the sidebands or lower min_events"
            )
            raise InputError(msg)
        ends = np.log(np.quantile(mass, [0.001, 0.999]))
        basis = _basis(mass, ends, degree)
        coefficients = np.empty((len(thresholds) - 1, degree + 1))
        start = 0
        for place, threshold in enumerate(thresholds[1:]):
            passed = score[start:] >= threshold
            coefficients[place] = _logistic(basis[start:], passed, weight[start:])
            start += int(np.argmax(passed))
        excess = np.average(score[start:] - thresholds[-1], weights=weight[start:])
        return cls(thresholds, coefficients, ends, float(excess) if excess > 0 else 1.0)

    def log_survival(self, score: FloatArray, mass: FloatArray) -> FloatArray:
        """-ln S (n,): strictly rising with the score at each mass, a standard exponential for background."""
        parts = [
            self._part(score[start : start + _ROWS], mass[start : start + _ROWS])
            for start in range(0, len(score), _ROWS)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _part(self, score: FloatArray, mass: FloatArray) -> FloatArray:
        basis = _basis(mass, self.ends, self.coefficients.shape[1] - 1)
        steps = -np.asarray(log_expit(basis @ self.coefficients.T), dtype=np.float64)
        level = np.concatenate([np.zeros((len(score), 1)), np.cumsum(steps, axis=1)], axis=1)
        last = len(self.thresholds) - 1
        place = np.clip(np.searchsorted(self.thresholds, score, side="right") - 1, 0, last)
        rows = np.arange(len(score))
        widths = np.append(np.diff(self.thresholds), self.tail)
        rise = np.where(place < last, steps[rows, np.minimum(place, last - 1)], 1.0)
        return np.asarray(level[rows, place] + rise * (score - self.thresholds[place]) / widths[place])

    def tensors(self) -> Tensors:
        """Arrays for safetensors."""
        return {
            "thresholds": self.thresholds,
            "coefficients": self.coefficients,
            "ends": self.ends,
            "tail": np.array([self.tail]),
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Map that `tensors` described."""
        return cls(tensors["thresholds"], tensors["coefficients"], tensors["ends"], float(tensors["tail"][0]))


@register("ddt")
class DDT(BaseScorer):
    """Another scorer's output at a background efficiency that is the same at every mass.

    The score of an event is -ln of the share of background events *of its mass* that the wrapped scorer finds at least as
    anomalous: a cut at t keeps e^-t of the background at every mass, so that the selected spectrum has the shape of the
    whole one. At a fixed mass the order of the events is the wrapped scorer's.

    The shares are learnt outside the signal region and interpolated into it by smooth functions of the mass: a resonance
    in the signal region does not teach the map to remove it.

    Parameters
    ----------
    wrapped
        Name of the scorer to wrap.
    wrapped_options
        Its options.
    features
        Columns that it reads, where they are not among its options.
    reference
        Background that the map is learnt from: "outside" (all masses outside the signal region), "sidebands" (those of the
        window) or "simulation" (the sample's simulated background, at all masses).
    degree
        Of the polynomials in ln m for each step of the survival function.
    min_events
        Effective events that the tightest threshold leaves; beyond it the score continues as an exponential.
    parts
        `fit` shows one of so many equal parts of the events to the map alone, not to the wrapped scorer, since a scorer's
        output for its own training events is not what it is for others.
    seed
        Splits into the seed of that part and the wrapped scorer's.

    Notes
    -----
    Inside `CrossFit` nothing is set aside: the map of each fold's scorer is learnt from the fold's own events outside the
    signal region, which that scorer did not see. It is to the map what the fold's own quantile is to a plain cut.

    What happens to the background inside the signal region alone cannot be seen from outside. A classifier that was trained
    to tell signal region and sidebands apart, on features that follow the mass, can bend the spectrum there.

    References
    ----------
    Dolen, Harris, Marzani, Rappoccio, Tran, "Thinking outside the ROCs", arXiv:1603.00027 (one efficiency, linear in the mass).

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("ddt", wrapped="cwola-trees", wrapped_options={"members": 2}).options["degree"]
    3
    """

    uses_window: ClassVar[bool] = True

    def __init__(
        self,
        wrapped: str = "cwola-trees",
        wrapped_options: Mapping[str, Any] | None = None,
        *,
        features: Sequence[str] | None = None,
        reference: Literal["outside", "sidebands", "simulation"] = "outside",
        degree: int = 3,
        min_events: float = 100.0,
        parts: int = 4,
        seed: int = 0,
    ) -> None:
        self.wrapped = wrapped
        self.wrapped_options = dict(wrapped_options or {})
        self.reference = reference
        self.degree = degree
        self.min_events = min_events
        self.parts = parts
        self.seed = seed
        if reference not in ("outside", "sidebands", "simulation"):
            msg = f"option 'reference' of 'ddt' must be 'outside', 'sidebands' or 'simulation', got {reference!r}"
            raise ConfigError(msg)
        if degree < 0 or parts < 2 or not min_events >= 10:
            msg = f"'ddt' needs degree >= 0, parts >= 2 and min_events >= 10, got {degree!r}, {parts!r}, {min_events!r}"
            raise ConfigError(msg)
        if getattr(scorer_class(wrapped), "uses_labels", False):
            msg = f"'ddt' is for searches and {wrapped!r} reads truth labels: wrap a scorer that does not"
            raise ConfigError(msg)
        if features is not None:
            self.wrapped_options["features"] = list(features)
        self.features = self._make(0).features
        self.inner_: Scorer | None = None
        self.map_: EfficiencyMap | None = None

    @property
    def uses_simulation(self) -> bool:
        """Whether the wrapped scorer or the map needs simulated background beside the data."""
        return self.reference == "simulation" or bool(getattr(self._make(0), "uses_simulation", False))

    def _make(self, seed: int) -> Scorer:
        """The wrapped scorer, unfitted, with this seed if it takes one."""
        unfitted = make_scorer(self.wrapped, **self.wrapped_options)
        own_seed = {"seed": seed} if "seed" in unfitted.options else {}
        return make_scorer(self.wrapped, **{**unfitted.options, **own_seed})

    @property
    def fitted(self) -> bool:
        """Whether there are a fitted scorer and its map."""
        return self.inner_ is not None and self.map_ is not None

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Fit the wrapped scorer on most events, and the map on the others."""
        split, inner = np.random.SeedSequence(self.seed).spawn(2)
        seen = np.ones(len(sample), dtype=bool)
        if self.reference != "simulation":
            seen = assign_folds(sample.mass, self.parts, split) > 0
        scorer = self._make(int(inner.generate_state(1)[0])).fit(sample.take(seen), window)
        return self._learn_map(scorer, sample, ~seen, window)

    def fit_folds(self, sample: Sample, window: Window | None, fold: IndexArray, seeds: Sequence[int]) -> list[DDT]:
        """One fitted scorer per fold; the map of each from the events of its own fold, which its scorer did not see."""
        unfitted = self._make(self.seed)
        if hasattr(unfitted, "fit_folds"):
            inner = list(unfitted.fit_folds(sample, window, fold, seeds))
        else:
            inner = [self._make(seed).fit(sample.take(fold != k), window) for k, seed in enumerate(seeds)]
        return [
            self.clone(seed=seed)._learn_map(scorer, sample, fold == number, window)
            for number, (seed, scorer) in enumerate(zip(seeds, inner, strict=True))
        ]

    def _learn_map(self, scorer: Scorer, sample: Sample, unseen: MaskArray, window: Window | None) -> Self:
        background = self._background(sample, unseen, window)
        score = scorer.score(background)
        self.map_ = EfficiencyMap.fit(
            score, background.mass, background.weight, degree=self.degree, min_events=self.min_events
        )
        self.inner_, self.window_ = scorer, window
        return self

    def _background(self, sample: Sample, unseen: MaskArray, window: Window | None) -> Sample:
        if self.reference == "simulation":
            return sample.require_simulation(self.name)
        if window is None:  # a scorer without a signal region: nothing to keep the map away from
            return sample.take(unseen)
        outside = ~window.in_signal_region(sample.mass)
        return sample.take(unseen & (outside if self.reference == "outside" else window.in_sidebands(sample.mass)))

    def score(self, sample: Sample) -> FloatArray:
        """-ln (n,) of the share of the background of its mass that is at least as anomalous."""
        self.require_fitted()
        assert self.inner_ is not None
        assert self.map_ is not None
        return self.map_.log_survival(self.inner_.score(sample), sample.mass)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the map, and the wrapped scorer beside it, whole or not at all."""
        self.require_fitted()
        assert self.inner_ is not None
        with atomic_dir(folder) as temporary:
            super().save(temporary)
            self.inner_.save(temporary / _INNER)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a scorer that `save` wrote.

        Raises
        ------
        ModelError
            If anything of it is missing or damaged.
        """
        scorer = super().load(folder)
        scorer.inner_ = load_scorer(Path(folder) / _INNER)
        return scorer

    def learnt_tensors(self) -> Tensors:
        """Thresholds and coefficients of the map."""
        assert self.map_ is not None
        return self.map_.tensors()

    def learnt_facts(self) -> dict[str, Any]:
        """Number of thresholds, and the share of the background above the last one."""
        assert self.map_ is not None
        return {"levels": len(self.map_.thresholds) - 1}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the map."""
        del facts
        self.map_ = EfficiencyMap.from_tensors(tensors)


_INNER = "scorer"  # folder of the wrapped scorer


def _thresholds(score: FloatArray, weight: FloatArray, min_events: float) -> FloatArray:
    """Lowest score, and scores with ever smaller shares of the weight above them; `score` is sorted, ties stay together.

    Shares are 1/2 times powers of `_STEP` in the upper half, and the same below the scores in the lower half: where the
    score follows the mass, the bulk of the events of one mass is a tail of them all.
    """
    above = np.cumsum(weight[::-1])[::-1]  # weight of this event and all above
    squares = np.cumsum(weight[::-1] ** 2)[::-1]
    tail = 0.5 * _STEP ** np.arange(0, 1 + np.log(2 * min_events / above[0]) / np.log(_STEP))
    found = [score[0]]
    for share in np.concatenate([1 - tail[:0:-1], tail]):
        place = min(int(np.searchsorted(-above, -share * above[0])), len(score) - 1)
        place = int(np.searchsorted(score, score[place]))
        if score[place] > found[-1] and above[place] ** 2 >= min_events * squares[place]:
            found.append(score[place])
    return np.asarray(found, dtype=np.float64)


def _basis(mass: FloatArray, ends: FloatArray, degree: int) -> FloatArray:
    """Legendre polynomials (n, degree + 1) of ln m, constant outside of `ends`."""
    low, high = float(ends[0]), float(ends[1])
    width = high - low if high > low else 1.0
    place = 2 * (np.clip(np.log(mass), low, high) - low) / width - 1
    return np.asarray(np.polynomial.legendre.legvander(place, degree), dtype=np.float64)


def _logistic(basis: FloatArray, passed: MaskArray, weight: FloatArray, steps: int = 50) -> FloatArray:
    """Logistic regression by Newton's method: a concave likelihood with a weak prior on the slopes."""
    prior = np.full(basis.shape[1], _RIDGE)
    prior[0] = 1e-6
    total, kept = weight.sum(), weight[passed].sum()
    coefficients = np.zeros(basis.shape[1])
    coefficients[0] = np.log(kept / max(total - kept, 1e-9))
    for _ in range(steps):
        probability = expit(basis @ coefficients)
        gradient = basis.T @ (weight * (passed - probability)) - prior * coefficients
        curvature = (basis * (weight * probability * (1 - probability))[:, None]).T @ basis + np.diag(prior)
        change = np.linalg.solve(curvature, gradient)
        coefficients += np.clip(change, -2.0, 2.0)
        if np.abs(change).max() < 1e-10:
            break
    return coefficients
