"""Results as JSON: one pair of functions for every kind, so that plots and tables can be made again from files alone."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from resonaut.errors import InputError, unknown_name
from resonaut.files import finite_or_none, read_json, write_json
from resonaut.stats.records import plain

__all__ = ("read_result", "result_from_dict", "result_kinds", "result_to_dict", "write_result")

EXTRA = "more"  # key of what is kept beside a result and is no part of it


@functools.cache
def result_kinds() -> dict[str, type]:
    """Value of the key "kind" in the JSON of each class: all result classes of `resonaut.stats`.

    Examples
    --------
    >>> from resonaut.stats.exchange.results import result_kinds
    >>> {kind: cls.__name__ for kind, cls in result_kinds().items() if kind in ("fit", "bump hunter")}
    {'bump hunter': 'BumpHunterResult', 'fit': 'FitResult'}
    """
    from resonaut import stats  # the front door knows all of them; it imports this module itself

    found = [getattr(stats, name) for name in stats.__all__]
    records = [c for c in found if isinstance(c, type) and is_dataclass(c) and not inspect.isabstract(c)]
    classes = [c for c in records if hasattr(c, "from_dict") or c in _bare()]
    return {_kind(cls): cls for cls in classes}


def _bare() -> tuple[type, ...]:
    """Results of plain numbers and arrays without a from_dict of their own."""
    from resonaut.stats.excesses.toys import GlobalPValue, ToyGoodness

    return GlobalPValue, ToyGoodness


def _kind(cls: type) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", cls.__name__.removesuffix("Result"))
    return words.lower()


def result_to_dict(result: Any, **more: Any) -> Any:
    """Plain content of a result with its kind, NaN as None; a list for a sequence of results.

    Parameters
    ----------
    result : any class of `result_kinds`, or a sequence of them
    **more
        Plain values to be kept beside the result, under the key "more".

    Raises
    ------
    InputError
        If the class is none of `result_kinds`.
    """
    if isinstance(result, Sequence):
        return [result_to_dict(entry, **more) for entry in result]
    kinds, cls = result_kinds(), type(result)
    kind = _kind(cls)
    if kinds.get(kind) is not cls:
        msg = f"no kind of result for {type(result).__name__}, expected one of {', '.join(c.__name__ for c in kinds.values())}"
        raise InputError(msg)
    content = result.to_dict() if hasattr(result, "to_dict") else plain(result)
    return finite_or_none({"kind": kind, **content} | ({EXTRA: more} if more else {}))


def result_from_dict(content: Any) -> Any:
    """Inverse of `result_to_dict`; what was kept beside the result is left out.

    Raises
    ------
    InputError
        If there is no kind, or the content does not fit it.
    """
    if isinstance(content, list):
        return tuple(result_from_dict(entry) for entry in content)
    if not isinstance(content, Mapping) or "kind" not in content:
        msg = f"result got no 'kind', expected the JSON of write_result or of --json: {', '.join(result_kinds())}"
        raise InputError(msg)
    kind = str(content["kind"])
    if kind not in result_kinds():
        raise InputError(unknown_name("kind of result", kind, result_kinds()))
    cls: Any = result_kinds()[kind]
    values = _restored(cls, {key: value for key, value in content.items() if key not in ("kind", EXTRA)})
    try:
        return cls.from_dict(values) if hasattr(cls, "from_dict") else _from_plain(cls, values)
    except (KeyError, TypeError) as error:
        msg = f"{kind} result could not be read ({type(error).__name__}: {error})"
        raise InputError(msg) from error


def write_result(path: str | os.PathLike[str], result: Any, **more: Any) -> None:
    """Write a result, or a sequence of results, as JSON, whole or not at all.

    Parameters
    ----------
    path : path
    result : any class of `result_kinds`, or a sequence of them
    **more
        Plain values to be kept beside the result.

    Examples
    --------
    >>> import tempfile
    >>> from resonaut.stats import LimitResult, read_result
    >>> limit = LimitResult("Z'", 3000.0, 12.0, (5.0, 7.0, 10.0, 14.0, 19.0), "events", 1.0, 0.95, 0.05, "converged", "dijet4")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_result(f"{folder}/limit.json", limit)
    ...     read_result(f"{folder}/limit.json").observed
    12.0
    """
    write_json(path, result_to_dict(result, **more))


def read_result(path: str | os.PathLike[str]) -> Any:
    """Read what `write_result`, or a command's --json, wrote.

    Returns
    -------
    FitResult, ScanResult, LimitResult, ... or a tuple of them
        The class that the key "kind" names.

    Raises
    ------
    InputError
        If the file is missing, no JSON, or holds no result.
    """
    content = read_json(path)
    try:
        return result_from_dict(content)
    except InputError as error:
        error.add_note(f"while reading {path}")
        raise


def _from_plain(cls: Any, values: Mapping[str, Any]) -> Any:
    return cls(**{key: np.array(value) if isinstance(value, list) else value for key, value in values.items()})


def _restored(cls: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a class with NaN where JSON has null, but for attributes that may be None."""
    annotations = {field.name: str(field.type) for field in fields(cls)}
    inner = {kind.__name__: kind for kind in result_kinds().values()}
    values: dict[str, Any] = {}
    for key, value in content.items():
        annotation = annotations.get(key, "")
        if annotation in inner and isinstance(value, dict):
            values[key] = _restored(inner[annotation], value)
        else:
            values[key] = value if value is None and "None" in annotation else _none_to_nan(value)
    return values


def _none_to_nan(content: Any) -> Any:
    if content is None:
        return float("nan")
    if isinstance(content, dict):
        return {key: _none_to_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_none_to_nan(value) for value in content]
    return content
