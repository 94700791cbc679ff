"""Score-level combination of any scorers: mean, product, minimum or maximum of their scores on a common scale."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from resonaut.errors import ConfigError, ModelError, unknown_name
from resonaut.files import atomic_dir
from resonaut.models.base import BaseScorer, feature_names
from resonaut.models.protocol import Scorer
from resonaut.models.registry import make_scorer, register, scorer_class
from resonaut.models.sample import FloatArray, IndexArray, Sample
from resonaut.models.scales import Combine, ScoreScale, combine_tails, require_combination
from resonaut.models.storage import Tensors, load_scorer, read_card, write_card
from resonaut.stats import Window

__all__ = ("RareAndDifferent", "ScoreCombination", "named_options")

Scale = Literal["as-is", "tail", "uniform"]
_SCALES = ("as-is", "tail", "uniform")


@register("score-combination")
class ScoreCombination(BaseScorer):
    """Combined score of several scorers, fitted to the same events.

    Parameters
    ----------
    members
        Scorers: names, or mappings ``{"name": ..., "options": {...}}``; two or more. One name may occur twice.
    features
        Columns to read, where not all that the members ask for are there: each reads those of its own that are named here,
        or all of these if none is.
    scale
        What is combined. "as-is": the scores themselves, as in arXiv:2307.11157; every member must give probabilities. "tail":
        -ln of the fraction of the signal region's events (of all events, where there is no window) that score higher.
        "uniform": the fraction that scores lower, as in arXiv:2106.10164. The last two bring scores of any kind to one scale;
        they are made of the events that the members were fitted to, and keep the order of events beyond all of those.
    combine
        "avg", the mean. With the scale "uniform" also "and" (the minimum: all members must find an event anomalous), "or" (the
        maximum: one is enough) and "prod" (the product); the score is then -ln(1 - S) of the combination S.
    seed
        Split into one for each member.

    References
    ----------
    Golling et al., arXiv:2307.11157, section 4; Caron, Hendriks, Verheyen, "Rare and Different", arXiv:2106.10164, section 4.

    Examples
    --------
    >>> ScoreCombination([{"name": "cathode"}, {"name": "cwola", "options": {"classifier": "trees"}}]).features
    ('m_l', 'dm_jj', 'tau21_l', 'tau21_h')
    """

    def __init__(
        self,
        members: Sequence[str | Mapping[str, Any]] = ("cathode", "curtains"),
        *,
        features: Sequence[str] | None = None,
        scale: Scale = "as-is",
        combine: Combine = "avg",
        seed: int = 0,
    ) -> None:
        self.members = [named_options(member, "score combination") for member in members]
        self.features = () if features is None else feature_names(features)
        self.scale = scale
        self.combine = require_combination(combine)
        self.seed = seed
        if len(self.members) < 2:
            msg = f"a score combination needs at least two members, got {len(self.members)}"
            raise ConfigError(msg)
        if scale not in _SCALES:
            raise ConfigError(unknown_name("scale", scale, _SCALES))
        if combine != "avg" and scale != "uniform":
            msg = f"combine={combine!r} needs scores on the scale 'uniform', got {scale!r}"
            raise ConfigError(msg)
        unfitted = self._make(self.seed)  # wrong options are told now
        self.features = tuple(dict.fromkeys(name for member in unfitted for name in member.features))
        self.members_: list[Scorer] = []
        self.scales_: list[ScoreScale] = []

    def _make(self, seed: int) -> list[Scorer]:
        children = np.random.SeedSequence(seed).spawn(len(self.members))
        made = []
        for member, child in zip(self.members, children, strict=True):
            options = dict(member["options"])
            cls = scorer_class(member["name"])
            if cls is type(self) or cls.name == "cross-fit":
                msg = f"{cls.name!r} cannot be a member of a score combination: cross-fit the combination instead"
                raise ConfigError(msg)
            if getattr(cls, "uses_labels", False):
                msg = f"{cls.name!r} is trained on truth: a reference for benchmarks, no member of a score combination"
                raise ConfigError(msg)
            scorer = make_scorer(member["name"], **options)
            if self.features:
                kept = [name for name in scorer.features if name in self.features]
                options["features"] = kept or list(self.features)
            if "seed" in scorer.options:
                options["seed"] = int(child.generate_state(1)[0])
            made.append(make_scorer(member["name"], **options))
        return made

    @property
    def uses_simulation(self) -> bool:
        """Whether any member needs simulated background beside the data."""
        return any(getattr(member, "uses_simulation", False) for member in self._make(0))

    @property
    def fitted(self) -> bool:
        """Whether there are fitted members."""
        return bool(self.members_)

    def fit(self, sample: Sample, window: Window | None) -> Self:
        """Fit all members to the same events."""
        nobody = np.full(len(sample), -1, dtype=np.int64)
        (fitted,) = self.fit_folds(sample, window, nobody, [self.seed])
        vars(self).update(vars(fitted))
        return self

    def fit_folds(self, sample: Sample, window: Window | None, fold: IndexArray, seeds: Sequence[int]) -> list[Self]:
        """One fitted combination per fold, number k of members fitted without the events whose `fold` is k.

        Members that train all folds together do so here too.
        """
        own = [self._make(seed) for seed in seeds]
        columns = [
            _fit_member([members[place] for members in own], sample, window, fold) for place in range(len(self.members))
        ]
        combined = []
        for number, seed in enumerate(seeds):
            scorer = self.clone(seed=seed)
            scorer.window_, scorer.members_ = window, [column[number] for column in columns]
            rest = sample.take(fold != number)
            scorer._calibrate(rest if window is None else rest.take(window.in_signal_region(rest.mass)))
            combined.append(scorer)
        return combined

    def _calibrate(self, events: Sample) -> None:
        for member in self.members_:
            scores = member.score(events)
            if self.scale != "as-is":
                self.scales_.append(ScoreScale.learn(scores, events.weight))
            elif scores.min() < 0 or scores.max() > 1:
                msg = (
                    f"scores of {member.name!r} are no probabilities ({scores.min():.3g} to {scores.max():.3g}), so that their "
                    "mean with others means nothing: take scale='tail' or 'uniform'"
                )
                raise ModelError(msg)

    def member_scores(self, sample: Sample) -> FloatArray:
        """Scores (members, n) on the common scale; for "uniform", t = -ln(1 - u) of the uniform score u."""
        self.require_fitted()
        scores = [member.score(sample) for member in self.members_]
        if self.scale != "as-is":
            scores = [scale.tail(values) for scale, values in zip(self.scales_, scores, strict=True)]
        return np.asarray(scores, dtype=np.float64)

    def score(self, sample: Sample) -> FloatArray:
        """Combined score (n,) of the members, on the common scale."""
        scores = self.member_scores(sample)
        return combine_tails(scores, self.combine) if self.scale == "uniform" else np.asarray(scores.mean(axis=0))

    def learnt_tensors(self) -> Tensors:
        """Distributions of the members' scores; the members have folders of their own."""
        return {f"tail.{place}": scale.points for place, scale in enumerate(self.scales_)}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the distributions."""
        del facts
        self.scales_ = [ScoreScale(tensors[f"tail.{place}"]) for place in range(len(tensors))]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a card and one folder per member, whole or not at all."""
        self.require_fitted()
        names = [f"member-{place}" for place in range(len(self.members_))]
        card = {
            "scorer": self.name,
            "options": self.options,
            "features": list(self.features),
            "window": None if self.window_ is None else self.window_.to_dict(),
            "learnt": {},
            "members": names,
        }
        with atomic_dir(folder) as temporary:
            for name, member in zip(names, self.members_, strict=True):
                member.save(temporary / name)
            write_card(temporary, card, self.learnt_tensors())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a combination that `save` wrote.

        Raises
        ------
        ModelError
            If anything of it is missing or damaged.
        """
        scorer = super().load(folder)
        scorer.members_ = [load_scorer(Path(folder) / name) for name in read_card(folder)["members"]]
        return scorer


@register("rare-and-different")
class RareAndDifferent(ScoreCombination):
    """Events that are different (far from a target that the known events are mapped to) or rare (of low likelihood), in one score.

    An ensemble of Deep SVDDs and an autoregressive flow by default, each score mapped to uniform on the training events, then
    combined. In the Dark Machines challenge this was among the best three kinds of entries.

    Parameters
    ----------
    members, features, combine, seed
        As in `ScoreCombination`; any scorers may be combined.

    References
    ----------
    Caron, Hendriks, Verheyen, arXiv:2106.10164.

    Examples
    --------
    >>> RareAndDifferent(combine="or").options["members"]
    [{'name': 'deep-svdd', 'options': {}}, {'name': 'flow', 'options': {}}]
    """

    uses_window: ClassVar[bool] = False

    def __init__(
        self,
        members: Sequence[str | Mapping[str, Any]] = ("deep-svdd", "flow"),
        *,
        features: Sequence[str] | None = None,
        combine: Combine = "prod",
        seed: int = 0,
    ) -> None:
        super().__init__(members, features=features, scale="uniform", combine=combine, seed=seed)


def named_options(member: str | Mapping[str, Any], what: str) -> dict[str, Any]:
    """Name and options of a member, JSON-able, from a name or a mapping.

    Raises
    ------
    ConfigError
        For another key, no name, or a seed among the options: members get their own.
    """
    if isinstance(member, str):
        return {"name": member, "options": {}}
    for key in member:
        if key not in {"name", "options"}:
            raise ConfigError(unknown_name(f"key of a member of a {what}", key, ("name", "options")))
    if "name" not in member:
        msg = f"a member of a {what} needs a name: {dict(member)!r}"
        raise ConfigError(msg)
    options = dict(member.get("options") or {})
    if "seed" in options:
        msg = f"options of member {member['name']!r} of a {what} cannot set the seed: the {what} does"
        raise ConfigError(msg)
    return {"name": str(member["name"]), "options": options}


def _fit_member(unfitted: Sequence[Scorer], sample: Sample, window: Window | None, fold: IndexArray) -> list[Scorer]:
    """One fitted scorer per fold of one method, `unfitted` being its twins with the folds' seeds."""
    first = unfitted[0]
    if hasattr(first, "fit_folds"):
        seeds = [scorer.options.get("seed", 0) for scorer in unfitted]
        return list(first.fit_folds(sample, window, fold, seeds))
    return [scorer.fit(sample.take(fold != number), window) for number, scorer in enumerate(unfitted)]
