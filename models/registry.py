"""Scorers by name: the built-in ones, and those that other packages add through the entry-point group "resonaut.scorers"."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from resonaut.errors import ConfigError, ModelError, unknown_name
from resonaut.models.option_types import check_option_types
from resonaut.models.protocol import Scorer

__all__ = ("available", "make_scorer", "register", "scorer_class")

ENTRY_POINTS = "resonaut.scorers"
_classes: dict[str, type[Scorer]] = {}
_S = TypeVar("_S", bound=type[Any])


def register(name: str) -> Callable[[_S], _S]:
    """Class decorator: make a scorer known under `name` (also set as the class's ``name``).

    Raises
    ------
    ConfigError
        If another class has the name.
    """

    def decorate(cls: _S) -> _S:
        known = _classes.get(name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            msg = f"scorer name {name!r} is taken by {known.__module__}.{known.__qualname__}: choose another"
            raise ConfigError(msg)
        cls.name = name
        _classes[name] = cls
        return cls

    return decorate


def _plugins() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def available() -> tuple[str, ...]:
    """Names of all scorers, sorted.

    Examples
    --------
    >>> from resonaut.models import available
    >>> "cwola-trees" in available()
    True
    """
    return tuple(sorted({*_classes, *_plugins()}))


def scorer_class(name: str) -> type[Scorer]:
    """Class registered under `name`.

    Raises
    ------
    ConfigError
        If there is none (with the nearest names), or if a package's entry point cannot be imported.
    """
    if name in _classes:
        return _classes[name]
    plugins = _plugins()
    if name not in plugins:
        raise ConfigError(unknown_name("scorer", name, available()))
    try:
        found = plugins[name].load()
    except Exception as error:
        msg = f"scorer {name!r} of entry point {plugins[name].value!r} cannot be imported: {error}"
        raise ConfigError(msg) from error
    if not isinstance(found, type):
        msg = f"entry point {plugins[name].value!r} of scorer {name!r} must be a class, got {found!r}"
        raise ConfigError(msg)
    own = getattr(found, "name", name)
    if own not in ("", name):
        msg = f"entry point {name!r} gives a scorer named {own!r}: a saved scorer could not be found again"
        raise ModelError(msg)
    return register(name)(found)


def make_scorer(name: str, **options: Any) -> Scorer:
    """Unfitted scorer by name, with options by keyword.

    Raises
    ------
    ConfigError
        For an unknown scorer or option (with the nearest names), or an option out of range.

    Examples
    --------
    >>> from resonaut.models import make_scorer
    >>> make_scorer("cwola-trees", members=2).options["members"]
    2
    """
    cls = scorer_class(name)
    parameters = inspect.signature(cls).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for option in options:
            if option not in parameters:
                raise ConfigError(unknown_name(f"option of scorer {name!r}", option, parameters))
    check_option_types(f"scorer {name!r}", cls, options)
    return cls(**options)
