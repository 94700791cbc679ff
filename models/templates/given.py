"""A template that was made before: its events, and what is needed to show new data as it saw them, in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from resonaut.errors import ConfigError, ModelError
from resonaut.files import atomic_dir
from resonaut.models.base import feature_names, require_positive
from resonaut.models.inputs import RESONANT_FEATURES
from resonaut.models.registry import register
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors, read_card, read_tensors, write_card
from resonaut.models.templates.base import BackgroundTemplate, make_template, register_template
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.scorer import TemplateScorer
from resonaut.stats import Window

__all__ = ("Given", "GivenTemplate", "store_template")

_EVENTS, _MAKER, _MASS = "events.", "maker.", "mass."


def store_template(
    folder: str | os.PathLike[str], events: Sample, mass: MassModel, maker: BackgroundTemplate | None = None
) -> None:
    """Write background events, for as many classifiers as wanted.

    Parameters
    ----------
    folder
        Written whole or not at all.
    events
        Weighted background in the signal region, as the classifier is to see it.
    mass
        Expected yield.
    maker
        The fitted template that made them, where it shows data to the classifier in coordinates of its own.

    Examples
    --------
    >>> import tempfile
    >>> rng = np.random.default_rng(1)
    >>> events = Sample(rng.normal(size=(100, 1)), ("x",), rng.uniform(3300.0, 3700.0, 100))
    >>> folder = tempfile.mkdtemp() + "/template"
    >>> mass = MassModel(np.array([3300.0, 3700.0]), np.array([100.0]), 100.0, 10.0, 1.0)
    >>> store_template(folder, events, mass)
    >>> template = GivenTemplate(["x"], folder=folder).fit(events, Window(3300.0, 3700.0, 3000.0, 4000.0))
    >>> len(template.background(seed=0)), template.yield_()
    (100, (100.0, 10.0))
    """
    tensors: Tensors = {_EVENTS + name: getattr(events, name) for name in ("features", "mass", "weight")}
    tensors |= {_MASS + name: getattr(mass, name) for name in ("edges", "content")}
    made: dict[str, Any] | None = None
    if maker is not None:
        tensors |= {_MAKER + name: array for name, array in maker.tensors().items()}
        made = {"name": maker.name, "options": maker.options, "facts": maker.facts()}
    card = {"names": list(events.names), "maker": made, **mass.facts()}
    with atomic_dir(folder) as temporary:
        write_card(temporary, card, tensors)


@register_template("given")
class GivenTemplate(BackgroundTemplate):
    """Background events that `store_template` wrote: nothing is learnt any more.

    Parameters
    ----------
    features
        Columns of the data to read.
    folder
        Where the events lie.
    events
        At most this many are given, chosen at random with unchanged total weight: a classifier's time grows with them.
        All of them where not given.
    seed
        Not used: `background` has its own.
    """

    learns_from_data: ClassVar[bool] = False

    def __init__(
        self,
        features: Sequence[str] = RESONANT_FEATURES,
        *,
        folder: str | None = None,
        events: int | None = None,
        seed: int = 0,
    ) -> None:
        self.features = feature_names(features)
        self.folder = folder
        self.events = events
        self.seed = seed
        if events is not None:
            require_positive(self.name, events=events)
        self.events_: Sample | None = None
        self.maker_: BackgroundTemplate | None = None

    def fit(self, sample: Sample, window: Window) -> GivenTemplate:
        """Read the events; the data are not looked at.

        Raises
        ------
        ConfigError
            If the events were made for another signal region.
        """
        del sample
        self._read()
        low, high = self.mass_model.edges[[0, -1]]
        if not np.allclose([low, high], [window.low, window.high], rtol=1e-6):
            msg = (
                f"the template in {self.folder} is for {low:.6g}-{high:.6g} GeV, not for the signal region of {window}"
            )
            raise ConfigError(msg)
        self.window_ = window
        return self

    def _read(self) -> None:
        if self.folder is None:
            msg = "the template 'given' needs the option folder: where store_template wrote its events"
            raise ConfigError(msg)
        card = read_card(self.folder)
        tensors = read_tensors(self.folder, card)
        own = {name.removeprefix(_EVENTS): array for name, array in tensors.items() if name.startswith(_EVENTS)}
        self.events_ = Sample(own["features"], card["names"], own["mass"], own["weight"])
        self.mass_ = MassModel(
            tensors[_MASS + "edges"],
            tensors[_MASS + "content"],
            card["yield"],
            card["yield_error"],
            card["fit_p_value"],
        )
        if card["maker"] is not None:
            self.maker_ = make_template(card["maker"]["name"], **card["maker"]["options"])
            arrays = {name.removeprefix(_MAKER): a for name, a in tensors.items() if name.startswith(_MAKER)}
            self.maker_.restore(arrays, card["maker"]["facts"])

    def background(self, seed: int) -> Sample:
        """The events, or those that `seed` chooses among them."""
        if self.events_ is None:
            msg = "the template 'given' has not read its events: call fit(sample, window)"
            raise ModelError(msg)
        if self.events is None or len(self.events_) <= self.events:
            return self.events_
        chosen = self.events_.take(np.random.default_rng(seed).permutation(len(self.events_))[: self.events])
        weight = chosen.weight * (self.events_.weight.sum() / chosen.weight.sum())
        return Sample(chosen.features, chosen.names, chosen.mass, weight)

    def represent(self, sample: Sample) -> Sample:
        """Events as the template that made the events shows them."""
        return super().represent(sample) if self.maker_ is None else self.maker_.represent(sample)

    def log_prob(self, sample: Sample) -> FloatArray:
        """Density of the template that made the events, if it was stored with them and has one."""
        return super().log_prob(sample) if self.maker_ is None else self.maker_.log_prob(sample)

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Read the events again: they stay in their folder."""
        del tensors, facts
        self._read()


@register("given")
class Given(TemplateScorer):
    """Classifier of signal-region data against background events that were made before."""

    template_class = GivenTemplate
