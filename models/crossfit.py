"""Out-of-fold scores: no event is scored by anything that saw it in training or validation."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from resonaut.errors import ModelError
from resonaut.files import atomic_dir
from resonaut.models.cuts import select
from resonaut.models.direct import DirectEstimate, direct_estimate
from resonaut.models.folds import assign_folds
from resonaut.models.protocol import Scorer
from resonaut.models.registry import make_scorer, register
from resonaut.models.sample import FloatArray, IndexArray, MaskArray, Sample
from resonaut.models.storage import load_scorer, read_card, write_card
from resonaut.stats import Window

if TYPE_CHECKING:
    from resonaut.models.templates.scorer import HeldOut

__all__ = ("CrossFit", "OutOfFold")

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class OutOfFold:
    """Scores of a sample in which each event was scored by the scorer of its own fold, which never saw it.

    Parameters
    ----------
    scores
        (n,) higher = more anomalous. Comparable inside a fold; cuts across folds go through `select`.
    fold
        (n,) fold of each event.
    scorer
        The fitted `CrossFit`, for new events.
    """

    scores: FloatArray
    fold: IndexArray
    scorer: CrossFit

    def select(
        self, fractions: tuple[float, ...], weight: FloatArray | None = None, reference: MaskArray | None = None
    ) -> dict[float, MaskArray]:
        """Most anomalous fractions, set fold by fold: see `resonaut.models.select`."""
        return select(self.scores, self.fold, fractions, weight, reference)

    @property
    def held_out(self) -> list[HeldOut]:
        """Scored template events that no classifier saw, one entry per fold; empty where the method makes no template."""
        found = [held for scorer in self.scorer.scorers if (held := getattr(scorer, "held_out_", None)) is not None]
        return found if len(found) == len(self.scorer.scorers) else []

    def direct_estimate(
        self, sample: Sample, cut: float, background: tuple[float, float] | None = None
    ) -> DirectEstimate:
        """Background of the signal region after a cut, from the method's template: see `resonaut.models.direct_estimate`.

        Parameters
        ----------
        sample
            The events that were scored.
        cut
            Fraction of them that is selected.
        background
            Background in the signal region before the cut, and its standard deviation; from a fit of the masses on both
            sides of the signal region where not given.

        Raises
        ------
        ModelError
            If the method makes no template.
        """
        held_out, window = self.held_out, self.scorer.window_
        if window is None or not held_out:
            msg = f"{self.scorer.base.name!r} makes no background template: fit the selected spectrum instead"
            raise ModelError(msg)
        if background is None:
            from resonaut.models.templates import MassModel  # above this module: scorers are built on templates

            model = MassModel.fit(sample, window)
            background = (model.total, model.error)
        return direct_estimate(self.scores, self.fold, sample.mass, window, cut, held_out, background)


@register("cross-fit")
class CrossFit:
    """Any scorer, fitted once per fold on the events of the other folds.

    Parameters
    ----------
    scorer
        Name of a scorer in the registry, or an unfitted scorer, which is copied and not changed.
    folds
        Number of folds; the usual 5 trains on 80 % of the events.
    seed
        Splits into the seed of the folds and one for each fold's scorer.
    options
        Options of the scorer, where it is given by name, or changes to it.

    Examples
    --------
    >>> CrossFit("cwola-trees", folds=5, seed=1, members=4).options["folds"]
    5
    """

    name: ClassVar[str] = "cross-fit"

    def __init__(self, scorer: str | Scorer = "cwola-trees", *, folds: int = 5, seed: int = 0, **options: Any) -> None:
        if isinstance(scorer, str):
            self.base = make_scorer(scorer, **options)
        else:
            self.base = make_scorer(scorer.name, **{**scorer.options, **options})
        self.folds = folds
        self.seed = seed
        self.scorers: list[Scorer] = []
        self.window_: Window | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the scorer reads."""
        return self.base.features

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments, JSON-able."""
        return {"scorer": self.base.name, "folds": self.folds, "seed": self.seed, **self._base_options()}

    def _base_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.base.options.items() if name != "seed"}

    def _seeds(self) -> tuple[np.random.SeedSequence, list[int]]:
        split, *each = np.random.SeedSequence(self.seed).spawn(self.folds + 1)
        return split, [int(child.generate_state(1)[0]) for child in each]

    def fold_of(self, mass: FloatArray) -> IndexArray:
        """Fold (n,) of each event of a sample with these masses: the same for the same masses and seed."""
        return assign_folds(mass, self.folds, self._seeds()[0])

    def fit(self, sample: Sample, window: Window | None, progress: Progress | None = None) -> Self:
        """Fit one scorer per fold, each without the events of its own fold."""
        fold = self.fold_of(sample.mass)
        self.window_ = window
        if hasattr(self.base, "fit_folds"):
            self.scorers = list(self.base.fit_folds(sample, window, fold, self._seeds()[1]))
            if progress is not None:
                progress(self.folds, self.folds)
            return self
        self.scorers = []
        for number, seed in enumerate(self._seeds()[1]):
            scorer = make_scorer(self.base.name, **self._base_options(), **self._seed_option(seed))
            self.scorers.append(scorer.fit(sample.take(fold != number), window))
            logger.info("fold %d of %d fitted with %s", number + 1, self.folds, self.base.name)
            if progress is not None:
                progress(number + 1, self.folds)
        return self

    def _seed_option(self, seed: int) -> dict[str, int]:
        return {"seed": seed} if "seed" in self.base.options else {}

    def fit_score(self, sample: Sample, window: Window | None, progress: Progress | None = None) -> OutOfFold:
        """Fit, and score the same events out of fold.

        Parameters
        ----------
        sample
            All events of the search: those in the window are trained on, all are scored.
        window
            Signal region and sidebands; None for methods that need none.
        progress
            Called as ``progress(folds done, folds)``.
        """
        self.fit(sample, window, progress)
        fold = self.fold_of(sample.mass)
        scores = np.empty(len(sample))
        for number, scorer in enumerate(self.scorers):
            own = fold == number
            scores[own] = scorer.score(sample.take(own))
        if not np.isfinite(scores).all():
            msg = f"{self.base.name!r} gave {np.count_nonzero(~np.isfinite(scores))} scores that are not finite"
            raise ModelError(msg)
        return OutOfFold(scores, fold, self)

    def score(self, sample: Sample) -> FloatArray:
        """Mean score (n,) over the folds' scorers, for events that took no part in the training."""
        if not self.scorers:
            msg = "this cross-fit is not fitted: call fit_score(sample, window), or load a saved one"
            raise ModelError(msg)
        return np.asarray(np.mean([scorer.score(sample) for scorer in self.scorers], axis=0), dtype=np.float64)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a card and one folder per fold, whole or not at all."""
        if not self.scorers:
            msg = "this cross-fit is not fitted: nothing to save"
            raise ModelError(msg)
        card = {
            "scorer": self.name,
            "options": self.options,
            "features": list(self.features),
            "window": None if self.window_ is None else self.window_.to_dict(),
            "folds": [_fold_folder(number) for number in range(self.folds)],
        }
        with atomic_dir(folder) as temporary:
            for number, scorer in enumerate(self.scorers):
                scorer.save(temporary / _fold_folder(number))
            write_card(temporary, card, {})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a cross-fit that `save` wrote.

        Raises
        ------
        ModelError
            If anything of it is missing or damaged.
        """
        card = read_card(folder)
        if card["scorer"] != cls.name:
            msg = f"{folder} holds a {card['scorer']!r} scorer, expected {cls.name!r}: use load_scorer(folder)"
            raise ModelError(msg)
        crossfit = cls(**card["options"])
        crossfit.scorers = [load_scorer(Path(folder) / name) for name in card["folds"]]
        crossfit.window_ = None if card["window"] is None else Window.from_dict(card["window"])
        return crossfit


def _fold_folder(number: int) -> str:
    return f"fold-{number}"
