"""Result objects to plain dictionaries and back, and in short on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from resonaut.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ("brief", "plain", "restore")

Record = TypeVar("Record", bound="DataclassInstance")

LONGEST = 6  # elements of a sequence or a mapping that are shown one by one


def plain(record: DataclassInstance) -> dict[str, Any]:
    """Fields of a result as lists, numbers and texts, for JSON; results inside a result too.

    Examples
    --------
    >>> from resonaut.stats import Window
    >>> plain(Window(1.0, 2.0, 0.5, 2.5))["low"]
    1.0
    """
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def restore(
    cls: type[Record],
    content: Mapping[str, Any],
    *,
    arrays: Mapping[str, type] | None = None,
    tuples: Sequence[str] = (),
) -> Record:
    """Inverse of `plain` for a result without results inside.

    Parameters
    ----------
    cls : type
        Dataclass to make.
    content : mapping
    arrays : mapping of str to type, optional
        Fields that are arrays, with the type of their elements.
    tuples : sequence of str
        Fields that are tuples.

    Raises
    ------
    InputError
        If a key is missing or unknown.
    """
    names = {field.name for field in fields(cls)}
    if set(content) != names:
        msg = f"{cls.__name__} got keys that differ from the expected ones in {sorted(set(content) ^ names)}"
        raise InputError(msg)
    values = dict(content)
    for name, kind in (arrays or {}).items():
        values[name] = np.array(values[name], dtype=kind)
    for name in tuples:
        values[name] = tuple(values[name])
    return cls(**values)


def brief(record: DataclassInstance) -> str:
    """Short ``repr`` of a result: numbers to six digits, of arrays only the shape.

    Examples
    --------
    >>> from resonaut.stats import Signal
    >>> Signal(np.array([1.0, 2.0, 3.0]), {"luminosity": 0.025})
    Signal(template=array(3), yields={'luminosity': 0.025}, shapes={})
    """
    return (
        f"{type(record).__name__}({', '.join(f'{f.name}={_short(getattr(record, f.name))}' for f in fields(record))})"
    )


def _short(value: Any, depth: int = 0) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return f"array({'x'.join(map(str, value.shape))})"
    if isinstance(value, np.ndarray | np.generic):
        return _short(value.item(), depth)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    if isinstance(value, int | None):
        return repr(value)
    if isinstance(value, Mapping):
        return _short_mapping(value, depth)
    if isinstance(value, list | tuple):
        if len(value) > LONGEST or depth > 1:
            return f"{type(value).__name__}({len(value)})"
        items = ", ".join(_short(item, depth + 1) for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
    return _named(value)


def _short_mapping(value: Mapping[Any, Any], depth: int) -> str:
    if len(value) > LONGEST + 2 or depth > 1:
        return f"dict({len(value)})"
    return f"{{{', '.join(f'{key!r}: {_short(item, depth + 1)}' for key, item in value.items())}}}"


def _named(value: Any) -> str:
    """A window or a shape in its own words, other objects by their class."""
    text = repr(value)
    return text if len(text) <= 100 else f"{type(value).__name__}(...)"
