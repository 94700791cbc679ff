"""What a background template is: a weighted sample of background in the signal region, made without looking there."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

from resonaut.errors import ConfigError, ModelError, unknown_name
from resonaut.models.options import Configured
from resonaut.models.sample import FloatArray, Sample
from resonaut.models.storage import Tensors
from resonaut.models.templates.mass import MassModel
from resonaut.stats import Window

__all__ = ("BackgroundTemplate", "available_templates", "make_template", "register_template", "template_class")

Seed = int
_T = TypeVar("_T", bound="type[BackgroundTemplate]")
_classes: dict[str, type[BackgroundTemplate]] = {}


class BackgroundTemplate(Configured, ABC):
    """Model of the background in a signal region. Constructor arguments are its options; `features` is the first.

    A subclass writes `fit` (which must set `mass_` and `window_`) and `background`. A classifier then tells the data of
    the signal region from the template: `TemplateScorer`. All that differs between CATHODE, CURTAINs, SALAD, FETA and
    CWoLa is the template.
    """

    name: ClassVar[str] = ""
    uses_simulation: ClassVar[bool] = False
    """True where `fit` needs ``sample.simulation``."""
    made_of_events: ClassVar[bool] = False
    """True where the template is made of data events themselves: it must be made anew for each fold, without its events."""
    learns_from_data: ClassVar[bool] = True
    """False where `fit` takes nothing from the data but their yield: one template can then serve all folds."""

    features: tuple[str, ...]
    mass_: MassModel | None = None
    window_: Window | None = None

    @abstractmethod
    def fit(self, sample: Sample, window: Window) -> Self:
        """Learn from the events outside the signal region of `window` (and from ``sample.simulation``)."""

    @abstractmethod
    def background(self, seed: Seed) -> Sample:
        """Background events in the signal region, as `represent` gives them; weights sum to the expected yield."""

    def represent(self, sample: Sample) -> Sample:
        """Events as the classifier sees them; their features, where a subclass does not say otherwise."""
        return Sample(sample.require(self.features), self.features, sample.mass, sample.weight)

    def companions(self, seed: Seed) -> Sample | None:  # noqa: ARG002  # for subclasses
        """Events that stand beside the data in the classifier's training, as `represent` gives them; usually none.

        Their weights are relative to the data: a sum of 1 means as much weight as all data of the signal region.
        """
        return None

    def log_prob(self, sample: Sample) -> FloatArray:  # noqa: ARG002  # for subclasses
        """Log density (n,) of the background at each event's features given its mass, nats.

        Raises
        ------
        ModelError
            If the template has no density.
        """
        msg = f"template {self.name!r} is a sample without a density: use one that has (cathode)"
        raise ModelError(msg)

    def yield_(self) -> tuple[float, float]:
        """Expected background in the signal region and its standard deviation, from the sideband fit."""
        model = self.mass_model
        return model.total, model.error

    @property
    def mass_model(self) -> MassModel:
        """Fit of the sidebands' masses; ModelError before `fit`."""
        if self.mass_ is None:
            msg = f"template {self.name!r} is not fitted: call fit(sample, window)"
            raise ModelError(msg)
        return self.mass_

    def tensors(self) -> Tensors:
        """Arrays that `represent` needs."""
        return {}

    def facts(self) -> dict[str, Any]:
        """JSON-able facts about the fit."""
        return {} if self.mass_ is None else self.mass_.facts()

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Take back what `tensors` and `facts` gave, so that `represent` works again."""


def register_template(name: str) -> Callable[[_T], _T]:
    """Class decorator: make a template known under `name`.

    Raises
    ------
    ConfigError
        If another class has the name.
    """

    def decorate(cls: _T) -> _T:
        known = _classes.get(name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            msg = f"template name {name!r} is taken by {known.__module__}.{known.__qualname__}: choose another"
            raise ConfigError(msg)
        cls.name = name
        _classes[name] = cls
        return cls

    return decorate


def available_templates() -> tuple[str, ...]:
    """Names of all templates, sorted."""
    return tuple(sorted(_classes))


def template_class(name: str) -> type[BackgroundTemplate]:
    """Class of a template.

    Raises
    ------
    ConfigError
        If there is none of that name, with the nearest ones.
    """
    if name not in _classes:
        raise ConfigError(unknown_name("template", name, available_templates()))
    return _classes[name]


def make_template(name: str, **options: Any) -> BackgroundTemplate:
    """Unfitted template by name.

    Raises
    ------
    ConfigError
        For an unknown template or option, with the nearest names.
    """
    cls = template_class(name)
    parameters = inspect.signature(cls).parameters
    for option in options:
        if option not in parameters:
            raise ConfigError(unknown_name(f"option of template {name!r}", option, parameters))
    return cls(**options)
