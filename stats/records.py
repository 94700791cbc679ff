"""Result objects to plain dictionaries and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from resonaut.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ("plain", "restore")

Record = TypeVar("Record", bound="DataclassInstance")


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
