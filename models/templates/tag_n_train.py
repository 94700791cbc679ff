"""Tag N' Train: one jet's weak tag makes purer mixed samples, on which a classifier of the other jet is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from resonaut.errors import ConfigError, RegionError, unknown_name
from resonaut.models.autoencoder import Autoencoder
from resonaut.models.base import BaseScorer, feature_names
from resonaut.models.classifiers import TrainedClassifier, make_classifier, restore_classifier
from resonaut.models.folds import assign_folds
from resonaut.models.inputs import CWOLA_FEATURES, JET_MASSES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.reweight import density_ratio, log_ratio
from resonaut.stats import Window

__all__ = ("TagNTrain",)

_AUTOENCODER: dict[str, Any] = {"members": 4, "hidden": 64, "latent": 2, "learning_rate": 1e-3}
_INNER_FOLDS = 5


@register("tag-n-train")
class TagNTrain(BaseScorer):
    """Two classifiers, one for each jet, each trained on samples that an autoencoder of the other jet has made purer.

    Each jet's autoencoder learns that jet's features; the signal region's events that it reconstructs worst are rich in
    signal, those that it reconstructs best are rich in background. Signal has two anomalous jets, background two
    ordinary ones that hardly know of each other: a classifier of the *other* jet between the two samples finds the
    signal, and nothing that the tag looked at. The score is the mean of both classifiers' log-odds.

    Parameters
    ----------
    features
        Columns of both jets, each ending in one of the suffixes; the same for both jets.
    jets
        Suffixes of the two jets.
    signal_rich, background_rich
        Fractions of the signal region's events, the most and the least anomalous by the tag.
    rounds
        Trainings. From the second on, the other jet's classifier is the tag instead of its autoencoder: out of fold, since a
        classifier knows its own training events' labels, which this jet has made.
    autoencoder
        Options of the tags: see `Autoencoder`. Small ones are the default, since a tag need not be good.
    classifier, classifier_options
        As in `TemplateScorer`.
    seed
        Equal seeds give equal scores.

    Notes
    -----
    Both samples are taken from the signal region, so that a feature that depends on the mass cannot tell them apart, and
    no sideband is needed. Jet masses and transverse momenta are divided by the event's resonant mass. What jets of
    background have in common (mass, flavour, a shared mJJ) is learnt as if it were signal: the score is a weak one where
    jets are correlated.

    References
    ----------
    Amram, Suarez, arXiv:2002.12376: top 20 % against the lowest 40 % of the tag, and a window in the mass.

    Examples
    --------
    >>> TagNTrain(["m_h", "tau21_h", "m_l", "tau21_l"]).sides
    (('m_h', 'tau21_h'), ('m_l', 'tau21_l'))
    """

    def __init__(
        self,
        features: Sequence[str] = CWOLA_FEATURES,
        *,
        jets: Sequence[str] = ("_h", "_l"),
        signal_rich: float = 0.2,
        background_rich: float = 0.4,
        rounds: int = 1,
        autoencoder: Mapping[str, Any] | None = None,
        classifier: str = "trees",
        classifier_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.jets = tuple(jets)
        self.signal_rich = signal_rich
        self.background_rich = background_rich
        self.rounds = rounds
        self.autoencoder = dict(autoencoder or {})
        self.classifier = classifier
        self.classifier_options = dict(classifier_options or {})
        self.seed = seed
        self.sides = self._sides()
        self._check()
        self.trained_: list[TrainedClassifier] = []

    def _sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Columns of the first and of the second jet, in the same order."""
        if len(self.jets) != 2 or self.jets[0] == self.jets[1]:
            msg = (
                f"option 'jets' of {self.name!r} must be two different suffixes of column names, got {list(self.jets)}"
            )
            raise ConfigError(msg)
        found = [[name for name in self.features if name.endswith(suffix)] for suffix in self.jets]
        stems = [{name.removesuffix(suffix) for name in names} for names, suffix in zip(found, self.jets, strict=True)]
        odd = [name for name in self.features if name not in (*found[0], *found[1])]
        if odd or not found[0] or stems[0] != stems[1]:
            msg = (
                f"{self.name!r} needs the same features of both jets, ending in {self.jets[0]!r} and {self.jets[1]!r}, and no "
                f"others: got {', '.join(self.features)}"
            )
            raise ConfigError(msg)
        second = [name.removesuffix(self.jets[0]) + self.jets[1] for name in found[0]]
        return tuple(found[0]), tuple(second)

    def _check(self) -> None:
        if not (self.signal_rich > 0 and self.background_rich > 0 and self.signal_rich + self.background_rich <= 1):
            msg = (
                "options 'signal_rich' and 'background_rich' are fractions above 0, together at most 1, got "
                f"{self.signal_rich!r} and {self.background_rich!r}"
            )
            raise ConfigError(msg)
        if self.rounds < 1:
            msg = f"option 'rounds' of {self.name!r} must be at least 1, got {self.rounds!r}"
            raise ConfigError(msg)
        known = Autoencoder().options
        for option in self.autoencoder:
            if option not in known or option in {"features", "seed"}:
                raise ConfigError(unknown_name("option of the autoencoder", option, known))
        make_classifier(self.classifier, **self.classifier_options)

    @property
    def fitted(self) -> bool:
        """Whether there are classifiers to score with."""
        return bool(self.trained_)

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Train tags and classifiers on the events of the signal region.

        Raises
        ------
        RegionError
            If it has no events.
        """
        window = self.require_window(window)
        inside = sample.take(window.in_signal_region(sample.mass))
        if not len(inside):
            msg = f"the signal region {window} has no events: move the window"
            raise RegionError(msg)
        tag_seeds, train_seeds = (
            child.generate_state(2 * self.rounds) for child in np.random.SeedSequence(self.seed).spawn(2)
        )
        matrices = [_scaled(inside, side) for side in self.sides]
        tags = [
            self._tag(matrix, side, inside, int(seed))
            for matrix, side, seed in zip(matrices, self.sides, tag_seeds, strict=False)
        ]
        trained: list[TrainedClassifier] = []
        for number in range(self.rounds):
            seeds = train_seeds[2 * number :]
            # each jet is trained on the other one's tag
            jets = [(matrices[k], tags[1 - k], int(seeds[k])) for k in range(2)]
            if number == self.rounds - 1:
                trained = [self._train(matrix, tag, inside.weight, seed) for matrix, tag, seed in jets]
            else:
                tags = [self._next_tag(matrix, tag, inside, seed) for matrix, tag, seed in jets]
        self.window_, self.trained_ = window, trained
        return self

    def _tag(self, matrix: FloatArray, names: tuple[str, ...], events: Sample, seed: int) -> FloatArray:
        """How badly an autoencoder reconstructs one jet, (n,)."""
        jets = Sample(matrix, names, events.mass, events.weight)
        return Autoencoder(names, seed=seed, **{**_AUTOENCODER, **self.autoencoder}).fit(jets, None).score(jets)

    def _next_tag(self, matrix: FloatArray, tag: FloatArray, events: Sample, seed: int) -> FloatArray:
        """Log-odds (n,) of one jet, each event's by a classifier that did not see it."""
        split, *own = np.random.SeedSequence(seed).spawn(1 + _INNER_FOLDS)
        fold, found = assign_folds(events.mass, _INNER_FOLDS, split), np.empty(len(tag))
        for number, child in enumerate(own):
            seen = fold != number
            trained = self._train(matrix[seen], tag[seen], events.weight[seen], int(child.generate_state(1)[0]))
            found[~seen] = log_ratio(trained, matrix[~seen])
        return found

    def _train(self, matrix: FloatArray, tag: FloatArray, weight: FloatArray, seed: int) -> TrainedClassifier:
        """Classifier of one jet between the events that the other jet's tag likes most and least."""
        order = np.argsort(tag, kind="stable")
        passed = np.cumsum(weight[order]) / weight.sum()
        background: IndexArray = order[passed <= self.background_rich]
        signal: IndexArray = order[passed > 1 - self.signal_rich]
        return density_ratio(
            matrix[signal],
            matrix[background],
            (weight[signal], weight[background]),
            self.classifier,
            self.classifier_options,
            seed,
        )

    def score(self, sample: Sample) -> FloatArray:
        """Mean log-odds (n,) of the two jets' classifiers, at any mass."""
        self.require_fitted()
        each = [log_ratio(t, _scaled(sample, side)) for t, side in zip(self.trained_, self.sides, strict=True)]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    def learnt_tensors(self) -> Tensors:
        """Arrays of both classifiers."""
        return {
            f"jet{k}.{name}": array
            for k, trained in enumerate(self.trained_)
            for name, array in trained.tensors().items()
        }

    def learnt_facts(self) -> dict[str, Any]:
        """Facts of both classifiers."""
        return {"classifiers": [trained.facts() for trained in self.trained_]}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back both classifiers."""
        self.trained_ = [
            restore_classifier(tensors, each, prefix=f"jet{k}.") for k, each in enumerate(facts["classifiers"])
        ]


def _scaled(sample: Sample, names: tuple[str, ...]) -> FloatArray:
    """Features (n, d) of one jet, those in GeV divided by the event's resonant mass."""
    in_gev = [name in JET_MASSES or name.startswith("pt_") for name in names]
    matrix = sample.require(names)
    return np.where(in_gev, matrix / sample.mass[:, None], matrix)
