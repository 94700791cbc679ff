"""Features as a flow sees them: mapped to the whole line, standardised; with the Jacobian of the way there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, logit

from resonaut.errors import InputError
from resonaut.models.counter import row_uniform
from resonaut.models.flows.options import FlowOptions
from resonaut.models.sample import FloatArray, MaskArray
from resonaut.models.storage import Tensors

__all__ = ("Preprocessing", "Standardised", "as_matrix", "whole_columns")

logger = logging.getLogger(__name__)
_MANY = 1000  # events, from which on repeated values are no chance


def as_matrix(what: str, values: ArrayLike, columns: int | None = None, rows: int | None = None) -> FloatArray:
    """Finite (n, columns) float64 matrix; a plain sequence is one column.

    Raises
    ------
    InputError
        If the shape is another, or a value is not finite.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    wanted = f"({'n' if rows is None else rows}, {'columns' if columns is None else columns})"
    fits = matrix.ndim == 2 and columns in (None, matrix.shape[-1]) and rows in (None, len(matrix))
    if not fits or matrix.shape[1] == 0:
        msg = f"{what} must have shape {wanted}, got {np.shape(values)}"
        raise InputError(msg)
    bad = ~np.isfinite(matrix)
    if bad.any():
        msg = (
            f"{what}: {np.count_nonzero(bad.any(axis=1))} of {len(matrix)} rows hold values that are not finite, in columns "
            f"{np.flatnonzero(bad.any(axis=0)).tolist()}: drop them first"
        )
        raise InputError(msg)
    return matrix


@dataclass(frozen=True)
class Standardised:
    """Columns with mean 0 and standard deviation 1 in training."""

    shift: FloatArray
    scale: FloatArray

    @classmethod
    def learn(cls, what: str, values: FloatArray) -> Self:
        """From training data (n, d).

        Raises
        ------
        InputError
            If a column is constant.
        """
        scale = values.std(axis=0)
        constant = np.flatnonzero(~(scale > 1e-12 * np.abs(values).max(axis=0, initial=1e-300)))
        if len(constant):
            msg = f"{what}: columns {constant.tolist()} are constant in training: leave them out"
            raise InputError(msg)
        return cls(values.mean(axis=0), scale)

    def to(self, values: FloatArray) -> FloatArray:
        """Standardised values (n, d)."""
        return (values - self.shift) / self.scale

    def back(self, values: FloatArray) -> FloatArray:
        """Inverse of `to`."""
        return values * self.scale + self.shift


class Preprocessing:
    """Invertible map of each feature to one that a flow learns easily.

    Parameters
    ----------
    low, high
        (d,) ends of the range; infinite where there is none.
    least, most
        (d,) smallest and largest training values: where events beyond the range are put.
    standard
        What follows the logit (or stands alone).
    discrete
        (d,) features that are whole numbers: a flow sees them with noise (`spread`), what comes back is rounded.
    """

    def __init__(
        self, low: FloatArray, high: FloatArray, least: FloatArray, most: FloatArray, standard: Standardised,
        discrete: MaskArray,
    ) -> None:  # fmt: skip
        self.low, self.high, self.least, self.most, self.standard = low, high, least, most, standard
        self.discrete = discrete

    @classmethod
    def learn(cls, features: FloatArray, options: FlowOptions, discrete: MaskArray | None = None) -> Self:
        """From training features (n, d), the discrete ones with their noise.

        Raises
        ------
        InputError
            If a feature is constant.
        """
        discrete = np.zeros(features.shape[1], dtype=bool) if discrete is None else discrete
        least, most = features.min(axis=0), features.max(axis=0)
        if (least == most).any():
            which = np.flatnonzero(least == most).tolist()
            msg = f"features: columns {which} are constant in training: leave them out"
            raise InputError(msg)
        if options.preprocessing == "standard":
            beyond = np.full(len(least), np.inf)
            return cls(-beyond, beyond, least, most, Standardised.learn("features", features), discrete)
        extra = options.margin * (most - least)
        low, high = least - extra, most + extra
        return cls(low, high, least, most, Standardised.learn("features", _line(features, low, high)), discrete)

    def spread(self, features: FloatArray) -> FloatArray:
        """Discrete features with noise in (-0.5, 0.5) that each event always gets again; the others as they are."""
        if not self.discrete.any():
            return features
        return np.where(self.discrete, features + row_uniform(features) - 0.5, features)

    @property
    def bounded(self) -> bool:
        """Whether the features have a range."""
        return bool(np.isfinite(self.low).all())

    def outside(self, features: FloatArray) -> MaskArray:
        """Events (n,) with a feature beyond the range, where the density is zero."""
        return np.asarray(((features <= self.low) | (features >= self.high)).any(axis=1))

    def clip(self, features: FloatArray) -> FloatArray:
        """Features beyond the range moved to the outermost training value."""
        clipped = np.where(features <= self.low, self.least, features)
        return np.where(clipped >= self.high, self.most, clipped)

    def to(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Flow's coordinates (n, d) of features inside the range, and ln |det| (n,) of the map there."""
        if not self.bounded:
            return self.standard.to(features), np.full(len(features), -np.log(self.standard.scale).sum())
        width = self.high - self.low
        line = _line(features, self.low, self.high)
        # d logit(u) / du = 1 / (u (1 - u))
        slope = -log_expit(line) - log_expit(-line) - np.log(width) - np.log(self.standard.scale)
        return self.standard.to(line), np.asarray(slope.sum(axis=1))

    def back(self, values: FloatArray) -> FloatArray:
        """Features (n, d) at the flow's coordinates: finite and inside the range, discrete ones as whole numbers."""
        features = self.standard.back(values)
        if self.bounded:
            features = self.low + (self.high - self.low) * expit(features)
            features = np.clip(features, np.nextafter(self.low, self.high), np.nextafter(self.high, self.low))
        whole = np.clip(np.rint(features), np.ceil(self.least), np.floor(self.most))
        return np.asarray(np.where(self.discrete, whole, features))

    def tensors(self) -> Tensors:
        """What was learnt."""
        return {
            "low": self.low, "high": self.high, "least": self.least, "most": self.most,
            "shift": self.standard.shift, "scale": self.standard.scale, "discrete": self.discrete.astype(np.float64),
        }  # fmt: skip

    @classmethod
    def restore(cls, tensors: Tensors) -> Self:
        """From what `tensors` gave."""
        standard = Standardised(tensors["shift"], tensors["scale"])
        low, high, least, most = (tensors[name] for name in ("low", "high", "least", "most"))
        return cls(low, high, least, most, standard, tensors["discrete"] > 0)


def whole_columns(features: FloatArray) -> MaskArray:
    """Columns (d,) of several whole numbers. Columns of few other values are told: a density cannot have their steps."""
    whole = np.asarray(np.all(features == np.rint(features), axis=0) & (np.ptp(features, axis=0) > 0))
    for column in np.flatnonzero(~whole):
        count = len(np.unique(features[:, column]))
        if len(features) >= _MANY and count < len(features) / 50:
            logger.warning(
                "feature %d takes only %d values in %d events: draws of a flow take others, and a classifier can tell",
                column, count, len(features),
            )  # fmt: skip
    return whole


def _line(features: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Logit of the place in the range; a number beside an end must not round onto it."""
    place = (features - low) / (high - low)
    return np.asarray(logit(np.clip(place, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)))
