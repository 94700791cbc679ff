"""How alike templates are, and how alike scores are: the comparisons of resonant methods, without plots.

| question | function |
| --- | --- |
| does one feature of a template follow the truth | `ks_distance`, against `ks_floor` |
| which method made this event, and which looks most like truth | `log_posteriors` |
| do two methods agree on what is anomalous | `score_correlation`, `shared_top`, `overlap_excess` |
| does a cut bend the mass spectrum | `flatness` |
| is one SIC curve above others everywhere | `uniformly_better` |

References
----------
Golling et al., arXiv:2307.11157, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from resonaut.errors import InputError
from resonaut.models.metrics import Band
from resonaut.models.sample import FloatArray, MaskArray

__all__ = (
    "Flatness",
    "KsFloor",
    "Uniformity",
    "effective_size",
    "flatness",
    "ks_distance",
    "ks_floor",
    "overlap_excess",
    "score_correlation",
    "shared_top",
    "top_mask",
    "uniformly_better",
)


@dataclass(frozen=True)
class KsFloor:
    """Kolmogorov-Smirnov distance of two samples of one distribution: its mean and its 16, 84 and 95 % quantiles."""

    mean: float
    low: float
    high: float
    upper: float


@dataclass(frozen=True)
class Flatness:
    """Efficiency of a cut against the mass.

    Parameters
    ----------
    edges
        (k + 1,) GeV.
    efficiency, error
        (k,) fraction that passes in each bin and its binomial standard deviation at the mean efficiency; NaN where the bin
        is empty.
    mean
        Efficiency of all bins together.
    chi2, ndf, p_value
        Test of one efficiency for all bins that hold at least five expected passing events.
    """

    edges: FloatArray
    efficiency: FloatArray
    error: FloatArray
    mean: float
    chi2: float
    ndf: int
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able content."""
        return {name: _plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Uniformity:
    """One band of SIC curves against the best of others.

    Parameters
    ----------
    es
        (k,) signal efficiencies at which all bands are known.
    ratio
        (k,) median of the one over the largest median of the others.
    above
        Whether the median is nowhere below the best of the others.
    consistent
        Whether its upper edge is nowhere below the best median of the others: not worse within its band.
    """

    es: FloatArray
    ratio: FloatArray
    above: bool
    consistent: bool

    @property
    def smallest(self) -> float:
        """Smallest ratio."""
        return float(self.ratio.min())


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def effective_size(weight: FloatArray) -> float:
    """Number of equally weighted events with the same statistical power, (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def ks_distance(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    first_weight: npt.ArrayLike | None = None,
    second_weight: npt.ArrayLike | None = None,
) -> float:
    """Largest difference of the (weighted) cumulative distributions of two samples.

    Raises
    ------
    InputError
        If a sample has no weight, or weights of another shape.

    Examples
    --------
    >>> round(ks_distance([1.0, 2.0, 3.0], [2.5, 3.5]), 6)
    0.666667
    """
    values, steps = [], []
    for sign, given, weight in ((1.0, first, first_weight), (-1.0, second, second_weight)):
        sample = np.asarray(given, dtype=np.float64)
        weights = np.ones(sample.shape) if weight is None else np.asarray(weight, dtype=np.float64)
        if sample.ndim != 1 or weights.shape != sample.shape or not weights.sum() > 0:
            msg = f"a KS distance needs flat samples with weight, got shapes {sample.shape} and {weights.shape}"
            raise InputError(msg)
        values.append(sample)
        steps.append(sign * weights / weights.sum())
    joined, step = np.concatenate(values), np.concatenate(steps)
    order = np.argsort(joined, kind="stable")
    ranked, difference = joined[order], np.cumsum(step[order])
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    return float(np.abs(difference[last_of_tie]).max())


def ks_floor(values: npt.ArrayLike, first: float, second: float, *, toys: int = 50, seed: int = 0) -> KsFloor:
    """KS distance that two samples of `values`'s own distribution have, by bootstrap.

    Parameters
    ----------
    values
        (n,) sample of the truth.
    first, second
        (Effective) sizes of the two samples.
    toys
        Pairs that are drawn.
    seed
        Equal seeds give equal floors.
    """
    ranked, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    owner = np.repeat(np.arange(len(ranked)), counts)  # ties stay together
    sizes = [max(1, round(first)), max(1, round(second))]
    found = np.empty(toys)
    for toy, child in enumerate(np.random.SeedSequence(seed).spawn(toys)):
        rng = np.random.default_rng(child)
        shares = [np.bincount(owner[rng.integers(0, len(owner), n)], minlength=len(ranked)) / n for n in sizes]
        found[toy] = np.abs(np.cumsum(shares[0] - shares[1])).max()
    low, high, upper = np.quantile(found, [0.16, 0.84, 0.95])
    return KsFloor(float(found.mean()), float(low), float(high), float(upper))


def score_correlation(scores: Sequence[npt.ArrayLike]) -> FloatArray:
    """Pearson correlations (k, k) of k methods' scores of the same events; NaN for a score that is constant."""
    matrix = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(matrix))


def top_mask(scores: npt.ArrayLike, fraction: float, seed: int = 0) -> MaskArray:
    """The round(fraction n) events with the highest scores; which of equal ones is drawn, not taken by position.

    Ties broken by position would make two constant scores agree on everything.
    """
    values = np.asarray(scores, dtype=np.float64)
    order = np.lexsort((np.random.default_rng(seed).random(len(values)), values))
    mask = np.zeros(len(values), dtype=bool)
    mask[order[len(values) - round(fraction * len(values)) :]] = True
    return mask


def shared_top(scores: Sequence[npt.ArrayLike], fraction: float, seed: int = 0) -> float:
    """Part of the most anomalous `fraction` on which all methods agree: events in all top sets over the size of one."""
    masks = [top_mask(values, fraction, seed + number) for number, values in enumerate(scores)]
    size = int(masks[0].sum())
    if not size:
        msg = f"the top {fraction:g} of {len(masks[0])} events is no event: use a larger fraction or more events"
        raise InputError(msg)
    return float(np.logical_and.reduce(masks).sum() / size)


def overlap_excess(scores: Sequence[npt.ArrayLike], fraction: float, seed: int = 0) -> float:
    """`shared_top` minus what k independent methods share by chance, fraction^(k - 1) (arXiv:2307.11157, figure 7)."""
    return shared_top(scores, fraction, seed) - fraction ** (len(scores) - 1)


def flatness(mass: npt.ArrayLike, passing: npt.ArrayLike, edges: npt.ArrayLike) -> Flatness:
    """Efficiency of a cut in bins of mass, and whether one number describes them all.

    Parameters
    ----------
    mass
        (n,) GeV.
    passing
        (n,) whether an event passes.
    edges
        (k + 1,) bin edges, GeV.

    Raises
    ------
    InputError
        If no event, or every event, of the range passes.
    """
    bounds, masses, passes = (np.asarray(a) for a in (edges, mass, passing))
    total = np.histogram(masses, bounds)[0].astype(np.float64)
    passed = np.histogram(masses[passes], bounds)[0].astype(np.float64)
    if not 0 < passed.sum() < total.sum():
        msg = f"{passed.sum():.0f} of {total.sum():.0f} events in {bounds[0]:.0f}-{bounds[-1]:.0f} GeV pass: no shape to test"
        raise InputError(msg)
    mean = float(passed.sum() / total.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        efficiency, error = passed / total, np.sqrt(mean * (1 - mean) / total)
    error[total == 0] = np.nan
    used = mean * total >= 5
    pooled = passed[used].sum() / total[used].sum()
    terms = (passed[used] - pooled * total[used]) ** 2 / (total[used] * pooled * (1 - pooled))
    ndf = int(used.sum()) - 1
    value = float(terms.sum())
    p_value = float(chi2.sf(value, ndf)) if ndf > 0 else float("nan")
    return Flatness(bounds.astype(np.float64), efficiency, error, mean, value, ndf, p_value)


def uniformly_better(one: Band, others: Mapping[str, Band]) -> Uniformity:
    """Whether a band of SIC curves is at least as high as the best of others at every signal efficiency.

    Parameters
    ----------
    one
        The band in question: a combination's, say.
    others
        Bands on the same grid.

    Raises
    ------
    InputError
        If the grids differ, or there is no efficiency that all bands reach.
    """
    if not others or any(not np.array_equal(band.es, one.es) for band in others.values()):
        msg = "bands are compared on one grid of signal efficiencies, with at least one other band"
        raise InputError(msg)
    medians = np.stack([band.median for band in others.values()])
    known = np.isfinite(one.median) & np.isfinite(medians).all(axis=0)
    if not known.any():
        msg = "there is no signal efficiency that all bands reach: more events, or a lower floor of background"
        raise InputError(msg)
    best = medians[:, known].max(axis=0)
    ratio = one.median[known] / best
    return Uniformity(one.es[known], ratio, bool((ratio >= 1).all()), bool((one.high[known] >= best).all()))
