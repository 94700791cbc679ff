"""Sample-level combination: a template with equal parts of several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resonaut.errors import ConfigError
from resonaut.models.base import feature_names
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import Sample
from resonaut.models.score_combination import named_options
from resonaut.models.storage import Tensors
from resonaut.models.templates.base import BackgroundTemplate, make_template, register_template, template_class
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.stats import Window

__all__ = ("Combination", "MixTemplate")

_DEFAULT = ("cathode", "curtains", "feta")
Member = str | Mapping[str, Any]


@register_template("mix")
class MixTemplate(BackgroundTemplate):
    """Background events of several templates together, each with the same total weight.

    Methods go wrong in ways of their own; in the mixture each error counts with its share only.

    Parameters
    ----------
    features
        Columns to read, by all members.
    members
        Templates: names, or mappings ``{"name": ..., "options": {...}}``; two or more. One name may occur twice, with
        other options.
    mass_range
        (low, high) of the sideband fit that gives the yield, GeV; of the members' too, unless their options say
        otherwise.
    seed
        Split into one for each member.

    References
    ----------
    Golling et al., arXiv:2307.11157, section 4: equal numbers of CATHODE, CURTAINs and FETA samples.

    Examples
    --------
    >>> template = MixTemplate(["m_l", "tau21_l"], members=["sidebands", {"name": "salad", "options": {"seed": 3}}])
    Traceback (most recent call last):
    ...
    resonaut.errors.ConfigError: options of member 'salad' of a mixture cannot set the seed: the mixture does
    >>> MixTemplate(["m_l", "tau21_l"], members=["sidebands", "salad"]).uses_simulation
    True
    """

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        members: Sequence[Member] = _DEFAULT,
        mass_range: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.members = [_plain(member) for member in members]
        self.mass_range = None if mass_range is None else (float(mass_range[0]), float(mass_range[1]))
        self.seed = seed
        if len(self.members) < 2:
            msg = f"a mixture needs at least two templates, got {len(self.members)}"
            raise ConfigError(msg)
        self.members_ = self._make()  # wrong options are told now
        self.facts_: dict[str, Any] = {}

    def _make(self) -> list[BackgroundTemplate]:
        children = np.random.SeedSequence(self.seed).spawn(len(self.members))
        made = []
        for member, child in zip(self.members, children, strict=True):
            cls = template_class(member["name"])
            if cls.represent is not BackgroundTemplate.represent:
                msg = f"template {cls.name!r} shows events in coordinates of its own: it cannot be mixed with others"
                raise ConfigError(msg)
            options = dict(member["options"])
            if "mass_range" in inspect.signature(cls).parameters and self.mass_range is not None:
                options.setdefault("mass_range", self.mass_range)
            seed = int(child.generate_state(1)[0])
            made.append(make_template(cls.name, features=self.features, seed=seed, **options))
        return made

    @property
    def uses_simulation(self) -> bool:  # type: ignore[override]
        """Whether any member needs simulated background."""
        return any(member.uses_simulation for member in self.members_)

    @property
    def made_of_events(self) -> bool:  # type: ignore[override]
        """Whether any member is made of data events themselves."""
        return any(member.made_of_events for member in self.members_)

    @property
    def learns_from_data(self) -> bool:  # type: ignore[override]
        """Whether any member takes more than the yield from the data."""
        return any(member.learns_from_data for member in self.members_)

    def fit(self, sample: Sample, window: Window) -> MixTemplate:
        """Fit all members."""
        self.window_, self.mass_ = window, MassModel.fit(sample, window, self.mass_range)
        self.members_ = [member.fit(sample, window) for member in self._make()]
        self.facts_ = {**self.mass_.facts(), "members": [member.facts() for member in self.members_]}
        return self

    def background(self, seed: int) -> Sample:
        """Events of all members, each with an equal part of the expected yield."""
        share = self.yield_()[0] / len(self.members_)
        parts = [member.background(own) for member, own in zip(self.members_, self._seeds(seed), strict=True)]
        return _together(parts, [part.weight * (share / part.weight.sum()) for part in parts])

    def companions(self, seed: int) -> Sample | None:
        """Companions of all members.

        A member with companions of weight c relative to its data stands for c / (1 + c) of them and 1 / (1 + c) of data.
        With equal parts of all members, their companions relative to the data are the ratio of the sums of both.
        """
        each = [member.companions(own) for member, own in zip(self.members_, self._seeds(seed), strict=True)]
        ratios = [0.0 if part is None else float(part.weight.sum()) for part in each]
        data = sum(1 / (1 + ratio) for ratio in ratios)
        parts = [part for part in each if part is not None]
        weights = [part.weight / ((1 + part.weight.sum()) * data) for part in parts]
        return _together(parts, weights) if parts else None

    def _seeds(self, seed: int) -> list[int]:
        children = np.random.SeedSequence(seed).spawn(len(self.members_))
        return [int(child.generate_state(1)[0]) for child in children]

    def facts(self) -> dict[str, Any]:
        """Facts about the mass fit and the members."""
        return self.facts_

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back the facts; members show data as they are, without arrays."""
        del tensors
        self.facts_ = dict(facts)


def _plain(member: Member) -> dict[str, Any]:
    named = named_options(member, "mixture")
    if "features" in named["options"]:
        msg = f"options of member {named['name']!r} of a mixture cannot set features: the mixture does"
        raise ConfigError(msg)
    return named


def _together(parts: Sequence[Sample], weights: Sequence[Any]) -> Sample:
    return Sample(
        np.concatenate([part.features for part in parts]),
        parts[0].names,
        np.concatenate([part.mass for part in parts]),
        np.concatenate(weights),
    )


@register("combination")
class Combination(TemplateScorer):
    """Signal-region data against equal parts of several templates: the sample-level combination.

    ``template={"members": [...]}`` names the templates: see `MixTemplate`. Without it CATHODE, CURTAINs and FETA, as in
    the paper, and FETA needs simulated background beside the data.

    Examples
    --------
    >>> Combination(["m_l", "tau21_l"], template={"members": ["cathode", "curtains"]}).uses_simulation
    False
    """

    template_class = MixTemplate
