"""Results as JSON: one pair of functions for every kind, so that plots and tables can be made again from files alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from resonaut.errors import InputError, unknown_name
from resonaut.files import finite_or_none, read_json, write_json
from resonaut.stats.bump_result import BumpHunterResult
from resonaut.stats.fit import FitResult
from resonaut.stats.limit_result import LimitResult
from resonaut.stats.scan import ScanResult
from resonaut.stats.significance import ExcessResult
from resonaut.stats.toy_study import ToyStudy
from resonaut.stats.toys import GlobalPValue, ToyGoodness

__all__ = ("KINDS", "read_result", "result_from_dict", "result_to_dict", "write_result")

KINDS: dict[str, type] = {
    "bumps": BumpHunterResult,
    "excess": ExcessResult,
    "fit": FitResult,
    "global p-value": GlobalPValue,
    "goodness": ToyGoodness,
    "limit": LimitResult,
    "scan": ScanResult,
    "toys": ToyStudy,
}
"""Value of the key "kind" in the JSON of each class."""

EXTRA = "more"  # key of what is kept beside a result and is no part of it


def result_to_dict(result: Any, **more: Any) -> Any:
    """Plain content of a result with its kind, NaN as None; a list for a sequence of results.

    Parameters
    ----------
    result : any class of `KINDS`, or a sequence of them
    **more
        Plain values to be kept beside the result, under the key "more".

    Raises
    ------
    InputError
        If the class is not in `KINDS`.
    """
    if isinstance(result, Sequence):
        return [result_to_dict(entry, **more) for entry in result]
    for kind, cls in KINDS.items():
        if type(result) is cls:
            content = result.to_dict() if hasattr(result, "to_dict") else _plain(result)
            return finite_or_none({"kind": kind, **content} | ({EXTRA: more} if more else {}))
    msg = f"no kind of result for {type(result).__name__}, expected one of {', '.join(c.__name__ for c in KINDS.values())}"
    raise InputError(msg)


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
        msg = f"result got no 'kind', expected the JSON of write_result or of --json: {', '.join(KINDS)}"
        raise InputError(msg)
    kind = str(content["kind"])
    if kind not in KINDS:
        raise InputError(unknown_name("kind of result", kind, KINDS))
    cls: Any = KINDS[kind]
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
    result : any class of `KINDS`, or a sequence of them
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


def _plain(result: Any) -> dict[str, Any]:
    if not is_dataclass(result):
        msg = f"got {type(result).__name__}, expected a dataclass"
        raise InputError(msg)
    content = {field.name: getattr(result, field.name) for field in fields(result)}
    return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in content.items()}


def _from_plain(cls: Any, values: Mapping[str, Any]) -> Any:
    return cls(**{key: np.array(value) if isinstance(value, list) else value for key, value in values.items()})


def _restored(cls: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a class with NaN where JSON has null, but for attributes that may be None."""
    annotations = {field.name: str(field.type) for field in fields(cls)}
    inner = {kind.__name__: kind for kind in KINDS.values()}
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
