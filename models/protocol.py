"""The one protocol of this room: anything with these members can be cross-fitted, saved, loaded and used in a search."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from resonaut.models.sample import FloatArray, Sample
from resonaut.stats import Window

__all__ = ("Scorer",)


@runtime_checkable
class Scorer(Protocol):
    """A method that learns from a sample and gives one number per event, higher = more anomalous.

    A class that derives from `resonaut.models.BaseScorer` gets everything but `fit` and `score` from its constructor
    signature and a list of arrays. A class may also offer ``fit_folds(sample, window, fold, seeds) -> list of fitted
    scorers``, one per seed, number k trained without the events whose `fold` is k: `CrossFit` then uses it instead of
    one `fit` after another (one stack of networks for a whole window).
    """

    name: ClassVar[str]
    """Name in the registry."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the scorer reads."""

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments, JSON-able: ``type(scorer)(**scorer.options)`` is an unfitted twin."""

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Learn from `sample`; `window` says what is signal region and what are sidebands."""

    def score(self, sample: Sample) -> FloatArray:
        """Anomaly score (n,) of each event."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the fitted scorer as a JSON card and safetensors."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a scorer that `save` wrote."""
