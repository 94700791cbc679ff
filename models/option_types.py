"""Types of a scorer's options, checked against its annotations: a config gives texts and lists, not what code expects."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from resonaut.errors import ConfigError

__all__ = ("check_option_types",)


@lru_cache(maxsize=256)
def _adapters(maker: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """A checker for each annotated argument whose type pydantic understands."""
    target = maker.__init__ if isinstance(maker, type) else maker  # type: ignore[misc] # of a class, not an instance
    try:
        hints = typing.get_type_hints(target)
    except NameError:  # an annotation that exists for type checkers only
        return {}
    found = {}
    for name, annotation in hints.items():
        try:
            found[name] = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
        except PydanticUserError:
            continue
    return found


def _takes(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def check_option_types(owner: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Compare the values of options with the annotations of what takes them.

    Whole numbers pass as floats; numbers in quotes, fractions for whole numbers, and single values for lists do not.

    Raises
    ------
    ConfigError
        Naming the owner, the option, its value and what was expected.
    """
    adapters = _adapters(maker)
    for name, value in options.items():
        if name not in adapters or name == "return":
            continue
        given = value.item() if isinstance(value, np.generic) else value
        if isinstance(given, list) and _takes(adapters[name], tuple(given)):
            continue  # YAML knows no tuples
        try:
            adapters[name].validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "literal_error":
                continue  # scorers name the nearest of their own words
            where = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
            expected = first["msg"].removeprefix("Input should be ")
            msg = f"{owner}: option {name}{where} is {first['input']!r}, expected {expected}"
            raise ConfigError(msg) from None
