"""What the built-in scorers share: options from the constructor, clones, and the way to disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.files import atomic_dir
from resonaut.models.options import Configured
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors, read_card, read_tensors, write_card
from resonaut.stats import Window

__all__ = ("BaseScorer", "feature_names", "require_events", "require_fraction", "require_positive")


class BaseScorer(Configured, ABC):
    """Scorer whose constructor arguments are its options, kept as attributes of the same names.

    A subclass writes `fit` and `score`, and gives what it learnt as arrays (`learnt_tensors`) and JSON-able facts
    (`learnt_facts`), which `restore` takes back. Learnt attributes end in an underscore.
    """

    name: ClassVar[str] = ""
    uses_window: ClassVar[bool] = True
    """False for a method that learns the same whatever the window: a search then fits it once."""
    uses_labels: ClassVar[bool] = False
    """True for references that are trained on truth: benchmarks, never a search."""
    features: tuple[str, ...]
    window_: Window | None = None

    @abstractmethod
    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Learn from `sample`."""

    @abstractmethod
    def score(self, sample: Sample) -> FloatArray:
        """Anomaly score (n,) of each event."""

    @property
    @abstractmethod
    def fitted(self) -> bool:
        """Whether `fit` or `load` has been called."""

    @abstractmethod
    def learnt_tensors(self) -> Tensors:
        """Arrays that `score` needs."""

    def learnt_facts(self) -> dict[str, Any]:
        """JSON-able facts about the training, for the card."""
        return {}

    @abstractmethod
    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back what `learnt_tensors` and `learnt_facts` gave."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write card and tensors into `folder`, whole or not at all, replacing what was there."""
        self.require_fitted()
        card = {
            "scorer": self.name,
            "options": self.options,
            "features": list(self.features),
            "window": None if self.window_ is None else self.window_.to_dict(),
            "learnt": self.learnt_facts(),
        }
        with atomic_dir(folder) as temporary:
            write_card(temporary, card, self.learnt_tensors())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a scorer that `save` wrote.

        Raises
        ------
        ModelError
            If the folder is missing, damaged, of another format, or holds another kind of scorer.
        """
        card = read_card(folder)
        if card["scorer"] != cls.name:
            msg = f"{folder} holds a {card['scorer']!r} scorer, expected {cls.name!r}: use load_scorer(folder)"
            raise ModelError(msg)
        try:
            scorer = cls(**card["options"])
        except (TypeError, ConfigError) as error:
            msg = f"the options in {folder} do not fit this version of {cls.name!r} ({error}): fit and save again"
            raise ModelError(msg) from error
        scorer.restore(read_tensors(folder, card), card["learnt"])
        scorer.window_ = None if card["window"] is None else Window.from_dict(card["window"])
        return scorer

    def require_fitted(self) -> None:
        """Raise ModelError unless the scorer has learnt something."""
        if not self.fitted:
            msg = f"{self.name!r} is not fitted: call fit(sample, window), or load a saved scorer"
            raise ModelError(msg)

    def require_window(self, window: Window | None) -> Window:
        """Return the window, or raise InputError where the method needs one and has none."""
        if window is None:
            msg = f"{self.name!r} learns from a signal region and sidebands: give fit(sample, window) a Window"
            raise InputError(msg)
        return window


def feature_names(features: Iterable[str]) -> tuple[str, ...]:
    """Feature names as a tuple, checked.

    Raises
    ------
    ConfigError
        If there are none, or one is repeated.
    """
    names = (features,) if isinstance(features, str) else tuple(features)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        msg = f"expected at least one feature and none twice, got {list(names)}"
        raise ConfigError(msg)
    return names


def require_positive(scorer: str, **options: float) -> None:
    """Raise ConfigError for an option that is not above zero."""
    for name, value in options.items():
        if not value > 0:
            msg = f"option {name!r} of {scorer!r} must be above 0, got {value!r}"
            raise ConfigError(msg)


def require_fraction(scorer: str, **options: float) -> None:
    """Raise ConfigError for an option that is not between 0 and 1."""
    require_positive(scorer, **options)
    for name, value in options.items():
        if not value < 1:
            msg = f"option {name!r} of {scorer!r} must be below 1, got {value!r}"
            raise ConfigError(msg)


def require_events(scorer: str, sample: Sample, least: int) -> None:
    """Raise InputError for a sample of fewer events than a method can learn from."""
    if len(sample) < least:
        msg = f"{scorer!r} needs at least {least} events, got {len(sample)}"
        raise InputError(msg)
