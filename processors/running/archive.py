"""Accumulators on disk without pickle: what a processor returns, as one file of plain arrays and JSON.

A cache that is read back after a crash must hold no code. Known contents are the ones of coffea's accumulators:
dictionaries, lists, tuples, sets, numbers, strings, booleans, None, numpy arrays, `column_accumulator`, `hist.Hist`
and awkward arrays.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import awkward as ak
import boost_histogram
import boost_histogram.serialization
import hist
import numpy as np
from coffea.processor import column_accumulator

from resonaut.errors import ConfigError, InputError
from resonaut.files import atomic_path

__all__ = ("load", "save")

HEADER = "header.json"


class _Writer:
    """Turns an accumulator into a JSON tree whose arrays are numbered entries."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []

    def _keep(self, array: Any) -> int:
        self.arrays.append(np.asarray(array))
        return len(self.arrays) - 1

    def encode(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (float, np.generic)):
            return {
                "scalar": self._keep(value),
                "python": isinstance(value, float) and not isinstance(value, np.generic),
            }
        if isinstance(value, Mapping):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}[{k!r}]")] for k, v in value.items()]
            return {"dict": pairs}
        if isinstance(value, (list, tuple, set, frozenset)):
            kind = next(k for k in (list, tuple, set, frozenset) if isinstance(value, k)).__name__
            items = sorted(value, key=repr) if kind in ("set", "frozenset") else value
            return {kind: [self.encode(v, where) for v in items]}
        return self._encode_array(value, where)

    def _encode_array(self, value: Any, where: str) -> Any:
        if isinstance(value, column_accumulator):
            return {"column": self._array(value.value, where)}
        if isinstance(value, np.ndarray):
            return {"array": self._array(value, where)}
        if isinstance(value, hist.BaseHist):
            tree = boost_histogram.serialization.to_uhi(value)
            # of a profile that form keeps the variance, which a bin of one entry does not have yet, and not what it is made of
            own = np.asarray(value.view(flow=True)) if value.kind == boost_histogram.Kind.MEAN else None
            return {"hist": self.encode([tree, own], where)}
        if isinstance(value, ak.Array):
            form, length, buffers = ak.to_buffers(ak.to_packed(value))
            return {"awkward": [form.to_json(), length, {k: self._keep(v) for k, v in buffers.items()}]}
        msg = (
            f"output{where} is a {type(value).__name__}, which the cache cannot keep without pickle; return "
            "dictionaries, sets, numbers, strings, arrays, column_accumulator or hist.Hist, or run without cache_dir"
        )
        raise ConfigError(msg)

    def _array(self, array: Any, where: str) -> int:
        if np.asarray(array).dtype.hasobject:
            msg = f"output{where} is an array of Python objects, which the cache cannot keep; use a numeric or string type"
            raise ConfigError(msg)
        return self._keep(array)


def _decode(tree: Any, arrays: Any) -> Any:
    """Inverse of `_Writer.encode`; `arrays(i)` gives entry i."""
    if not isinstance(tree, dict):
        return tree
    kind, content = next(iter(tree.items()))
    if kind == "dict":
        return {_decode(k, arrays): _decode(v, arrays) for k, v in content}
    if kind in ("list", "tuple", "set", "frozenset"):
        made = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind]
        return made(_decode(v, arrays) for v in content)
    if kind == "scalar":
        return arrays(content).item() if tree["python"] else arrays(content)[()]
    if kind == "column":
        return column_accumulator(arrays(content))
    if kind == "array":
        return arrays(content)
    if kind == "hist":
        plain, own = _decode(content, arrays)
        made = hist.Hist(boost_histogram.serialization.from_uhi(plain))
        if own is not None:
            np.asarray(made.view(flow=True))[...] = own
        return made
    form, length, buffers = content
    return ak.from_buffers(ak.forms.from_json(form), length, {k: arrays(v) for k, v in buffers.items()})


def save(path: str | os.PathLike[str], content: Any) -> None:
    """Write an accumulator, whole or not at all.

    Raises
    ------
    ConfigError
        If it holds something that cannot be kept without pickle.
    """
    writer = _Writer()
    header = json.dumps(writer.encode(content, ""))
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr(HEADER, header)
        for i, array in enumerate(writer.arrays):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            file.writestr(f"{i}.npy", buffer.getvalue())


def load(path: str | os.PathLike[str], keys: Collection[str] | None = None) -> Any:
    """Read what `save` wrote; of a dictionary only some `keys`, without touching the others' arrays.

    Raises
    ------
    InputError
        If the file is not whole.
    """
    try:
        with zipfile.ZipFile(path) as file:

            def arrays(index: int) -> Any:
                return np.load(io.BytesIO(file.read(f"{index}.npy")), allow_pickle=False)

            tree = json.loads(file.read(HEADER))
            if keys is not None:
                tree = {"dict": [pair for pair in tree["dict"] if pair[0] in keys]}
            return _decode(tree, arrays)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        msg = f"{os.fspath(path)}: not a whole result file ({error}); delete it to compute it again"
        raise InputError(msg) from error
