"""What the events of an excess look like: features in the signal region with the background taken off by the sidebands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.stats import Window

__all__ = ("Property", "feature_property", "properties_of")

FloatArray = npt.NDArray[np.float64]
Generator = np.random.Generator

REPLICAS = 200
BINS = 200  # of the smoothed distribution that is looked at for its peak
LEAST = 10  # excess events below which there is nothing to describe


@dataclass(frozen=True)
class Property:
    """One feature of the excess events.

    Attributes
    ----------
    feature
        Name of the column.
    mean, mean_error
        After subtraction.
    peak, peak_error
        Where the smoothed distribution after subtraction is largest.
    background_mean
        Of the selected events in the sidebands.
    """

    feature: str
    mean: float
    mean_error: float
    peak: float
    peak_error: float
    background_mean: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def feature_property(
    name: str, inside: FloatArray, beside: FloatArray, expected: tuple[float, float], rng: Generator
) -> Property | None:
    """Mean and peak of a feature of the excess events; None where there are too few.

    Parameters
    ----------
    name
        Of the feature.
    inside, beside
        Values of the selected events in the signal region and in its sidebands.
    expected
        Background events in the signal region, and their uncertainty.
    rng
        For the errors: the spread over replicas with Poisson weights and other numbers of background events.
    """
    if len(inside) - expected[0] < LEAST or not len(beside):
        return None
    spread, count = float(np.std(inside)), len(inside) - expected[0]
    if not spread > 0:
        return None
    low, high = float(np.min(inside)), float(np.max(inside))
    width = min(spread, float(np.subtract(*np.quantile(inside, (0.75, 0.25)))) / 1.34 or spread) * count**-0.2
    edges = np.linspace(low - 3 * width, high + 3 * width, BINS + 1)
    kernel = _kernel(width / (edges[1] - edges[0]))
    places = tuple(_bin(values, edges) for values in (inside, beside))

    def measure(one: FloatArray, two: FloatArray, background: float) -> tuple[float, float]:
        scale = background / max(two.sum(), 1.0)
        left = one.sum() - background
        mean = ((one * inside).sum() - scale * (two * beside).sum()) / left if left > 0 else np.nan
        shape = np.bincount(places[0], one, BINS) - scale * np.bincount(places[1], two, BINS)
        k = int(np.argmax(np.convolve(shape, kernel, mode="same")))
        return float(mean), float(0.5 * (edges[k] + edges[k + 1]))

    central = measure(np.ones(len(inside)), np.ones(len(beside)), expected[0])
    replicas = np.array([
        measure(
            rng.poisson(1.0, len(inside)).astype(float), rng.poisson(1.0, len(beside)).astype(float),
            max(rng.normal(*expected), 0.0),
        )
        for _ in range(REPLICAS)
    ])  # fmt: skip
    errors = [_half_spread(column) for column in replicas.T]
    errors[1] = float(np.hypot(errors[1], (edges[1] - edges[0]) / np.sqrt(12)))
    return Property(name, central[0], errors[0], central[1], errors[1], float(np.mean(beside)))


def _kernel(width: float) -> FloatArray:
    """Gaussian weights of this width in bins, fewer than there are bins."""
    reach = min(int(np.ceil(4 * width)), (BINS - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-9)) ** 2)
    return np.asarray(weights / weights.sum())


def _bin(values: FloatArray, edges: FloatArray) -> npt.NDArray[np.int64]:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)


def _half_spread(values: FloatArray) -> float:
    """Half of the central 68 %, which a few replicas without an excess do not move."""
    known = values[np.isfinite(values)]
    return float(np.subtract(*np.quantile(known, (0.84, 0.16))) / 2) if len(known) else float("nan")


def properties_of(
    columns: Mapping[str, FloatArray],
    mass: FloatArray,
    window: Window,
    expected: tuple[float, float],
    seed: int,
) -> list[Property]:
    """Properties of the selected events of a window.

    Parameters
    ----------
    columns
        Feature -> (n,) values of the selected events.
    mass
        (n,) GeV.
    window
        Signal region and sidebands.
    expected
        Background events in the signal region after the cut, and their uncertainty.
    seed
        Of the replicas.
    """
    here, near = window.in_signal_region(mass), window.in_sidebands(mass)
    found = []
    for name, values in columns.items():
        good = np.isfinite(values)
        part = float(np.count_nonzero(here & good)) / max(int(np.count_nonzero(here)), 1)
        scaled = (expected[0] * part, expected[1] * part)
        rng = np.random.default_rng(seed)
        if made := feature_property(name, values[here & good], values[near & good], scaled, rng):
            found.append(made)
    return found
