"""What a selection did to the features: counts in bins before and after it, and the mean rank of the score in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from resonaut.errors import InputError

__all__ = (
    "Plane",
    "ScoreMap",
    "Spread",
    "efficiency_plane",
    "feature_spread",
    "rank_in_fold",
    "score_map",
    "useful_range",
)

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ONE_SIGMA = 1.0  # standard deviations of the intervals of efficiencies


@dataclass(frozen=True)
class Plane:
    """Events of a region in bins of two features, before and after a selection.

    Parameters
    ----------
    names
        The two features.
    edges
        (nx + 1,) and (ny + 1,) bin edges.
    total, selected
        (nx, ny) events before and after.
    outside
        Events beyond the edges.
    """

    names: tuple[str, str]
    edges: tuple[FloatArray, FloatArray]
    total: FloatArray
    selected: FloatArray
    outside: int

    @property
    def efficiency(self) -> FloatArray:
        """(nx, ny) selected part of the events of a bin; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(self.total > 0, self.selected / np.maximum(self.total, 1), np.nan))

    @property
    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Ends (nx, ny) of the central 68 % interval of the efficiency (E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209)."""
        n, z2 = np.maximum(self.total, 1), ONE_SIGMA**2
        part = self.selected / n
        centre = (part + z2 / (2 * n)) / (1 + z2 / n)
        half = ONE_SIGMA * np.sqrt(part * (1 - part) / n + z2 / (4 * n**2)) / (1 + z2 / n)
        unknown = self.total == 0
        low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
        return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        low, high = self.interval
        return {
            "features": list(self.names),
            "x_edges": self.edges[0].tolist(),
            "y_edges": self.edges[1].tolist(),
            "total": self.total.tolist(),
            "selected": self.selected.tolist(),
            "efficiency": self.efficiency.tolist(),
            "efficiency_low": low.tolist(),
            "efficiency_high": high.tolist(),
            "outside": self.outside,
        }


@dataclass(frozen=True)
class Spread:
    """One feature in the signal region and in the sidebands, before and after a selection.

    Parameters
    ----------
    name
        The feature.
    edges
        (bins + 1,) bin edges; events beyond them are in the first and the last bin.
    counts
        (bins,) events: "signal region", "sidebands", and both with ", selected".
    distance, p_value
        Kolmogorov-Smirnov distance of the selected events of the signal region from those of the sidebands, and its
        p-value; None where one of the two is empty. The p-value is that of independent events.
    """

    name: str
    edges: FloatArray
    counts: dict[str, FloatArray]
    distance: float | None
    p_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        counts = {name: values.tolist() for name, values in self.counts.items()}
        return {
            "feature": self.name,
            "edges": self.edges.tolist(),
            "counts": counts,
            "distance": self.distance,
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class ScoreMap:
    """Mean rank of the score in bins of two features: 0 is the most ordinary event of a fold, 1 the most anomalous.

    Parameters
    ----------
    names
        The two features.
    edges
        (nx + 1,) and (ny + 1,) bin edges.
    events, rank
        (nx, ny) events, and their mean rank; NaN where there are none.
    """

    names: tuple[str, str]
    edges: tuple[FloatArray, FloatArray]
    events: FloatArray
    rank: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {
            "features": list(self.names),
            "x_edges": self.edges[0].tolist(),
            "y_edges": self.edges[1].tolist(),
            "events": self.events.tolist(),
            "mean_rank": self.rank.tolist(),
        }


def useful_range(values: FloatArray, selected: BoolArray) -> tuple[float, float]:
    """Range that shows the bulk of all events and that of the selected ones: from the 0.5 % to the 99.5 % quantile of either.

    Examples
    --------
    >>> useful_range(np.arange(1001.0), np.arange(1001) == 1000)
    (5.0, 1000.0)
    """
    parts = [values] if not selected.any() else [values, values[selected]]
    low = min(float(np.quantile(part, 0.005)) for part in parts)
    high = max(float(np.quantile(part, 0.995)) for part in parts)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def efficiency_plane(
    x: FloatArray,
    y: FloatArray,
    selected: BoolArray,
    names: tuple[str, str],
    *,
    edges: tuple[FloatArray, FloatArray] | None = None,
    bins: int = 14,
) -> Plane:
    """Part of the events that a selection keeps, in bins of two features.

    Parameters
    ----------
    x, y
        (n,) values of the two features.
    selected
        (n,) events after the selection.
    names
        Of the features.
    edges
        Bin edges of both; equal bins over `useful_range` where not given.
    bins
        Number of bins in each direction, where no edges are given.

    Raises
    ------
    InputError
        If there are no events, or the arrays differ in length.
    """
    if not len(x) or not len(x) == len(y) == len(selected):
        msg = f"an efficiency needs events with both features, got {len(x)}, {len(y)} values and {len(selected)} flags"
        raise InputError(msg)
    if edges is None:
        edges = tuple(np.linspace(*useful_range(values, selected), bins + 1) for values in (x, y))  # type: ignore[assignment]
    assert edges is not None
    total = np.histogram2d(x, y, bins=edges)[0]
    kept = np.histogram2d(x[selected], y[selected], bins=edges)[0]
    return Plane(names, edges, total, kept, int(len(x) - total.sum()))


def feature_spread(name: str, values: FloatArray, inside: BoolArray, selected: BoolArray, *, bins: int = 25) -> Spread:
    """One feature before and after a selection, in the signal region and beside it.

    Parameters
    ----------
    name
        Of the feature.
    values
        (n,) of the events of the signal region and its sidebands.
    inside, selected
        (n,) events of the signal region; events after the selection.
    bins
        Number of bins.
    """
    edges = np.linspace(*useful_range(values, selected), bins + 1)
    clipped = np.clip(values, edges[0], edges[-1])
    groups = {
        "signal region": inside,
        "sidebands": ~inside,
        "signal region, selected": inside & selected,
        "sidebands, selected": ~inside & selected,
    }
    counts = {group: np.histogram(clipped[mask], bins=edges)[0].astype(np.float64) for group, mask in groups.items()}
    here, beside = values[inside & selected], values[~inside & selected]
    if not len(here) or not len(beside):
        return Spread(name, edges, counts, None, None)
    test = ks_2samp(here, beside, method="asymp" if min(len(here), len(beside)) > 100 else "auto")
    return Spread(name, edges, counts, float(test.statistic), float(test.pvalue))


def rank_in_fold(scores: FloatArray, fold: IndexArray) -> FloatArray:
    """Rank (n,) of each event among those of its fold, between 0 and 1; scores of different folds are different functions.

    Examples
    --------
    >>> rank_in_fold(np.array([5.0, 1.0, 0.2, 0.1]), np.array([0, 0, 1, 1])).tolist()
    [0.75, 0.25, 0.75, 0.25]
    """
    from scipy.stats import rankdata

    ranks = np.empty(len(scores))
    for number in np.unique(fold):
        own = fold == number
        ranks[own] = (rankdata(scores[own]) - 0.5) / np.count_nonzero(own)
    return ranks


def score_map(x: FloatArray, y: FloatArray, rank: FloatArray, names: Sequence[str], *, bins: int = 30) -> ScoreMap:
    """Mean rank of the score in bins of two features.

    Parameters
    ----------
    x, y
        (n,) values of the features.
    rank
        (n,) of `rank_in_fold`.
    names
        Of the two features.
    bins
        Number of bins in each direction.
    """
    anomalous = rank >= np.quantile(rank, 0.99)
    edges = (
        np.linspace(*useful_range(x, anomalous), bins + 1),
        np.linspace(*useful_range(y, anomalous), bins + 1),
    )
    events = np.histogram2d(x, y, bins=edges)[0]
    sums = np.histogram2d(x, y, bins=edges, weights=rank)[0]
    mean = np.where(events > 0, sums / np.maximum(events, 1), np.nan)
    return ScoreMap((names[0], names[1]), edges, events, mean)
