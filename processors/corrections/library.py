"""Corrections in the JSON format of correctionlib, evaluated on flat arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import correctionlib
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.files import file_digest

__all__ = ("DIRECTIONS", "LibraryCorrection")

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
DIRECTIONS = ("nominal", "up", "down")


@lru_cache(maxsize=32)
def _open(path: str, _written: int) -> Any:
    """The corrections of a file, read once per process."""
    try:
        return correctionlib.CorrectionSet.from_file(path)
    except Exception as error:  # correctionlib raises RuntimeError, ValueError and others for a broken file
        msg = f"{path}: cannot be read as a correctionlib JSON file ({error})"
        raise InputError(msg) from error


@lru_cache(maxsize=256)
def _digest(path: str, _written: int) -> str:
    return file_digest(path)


@dataclass(frozen=True)
class LibraryCorrection:
    """One correction of a correctionlib file, and what it is a function of.

    Parameters
    ----------
    file : JSON, plain or gzip.
    correction : name of the correction, or of a compound correction, in the file.
    inputs : {input of the correction: where its values come from}: the dotted name of a field, or a number for all events.
        Of an input that is text, the text itself.
    systematic : the input that says which systematic is meant ("systematic", "weights", "ValType"), if there is one.
    nominal, up, down : its values for the correction itself and for one standard deviation; no variation without `up` and `down`.

    Raises
    ------
    ConfigError
        If the file has no such correction, or its inputs are not these.
    InputError
        If the file cannot be read.
    """

    file: str
    correction: str
    inputs: Mapping[str, str | float] = field(default_factory=dict)
    systematic: str | None = None
    nominal: str | None = None
    up: str | None = None
    down: str | None = None

    def __post_init__(self) -> None:
        if not Path(self.file).is_file():
            msg = f"{self.file}: no such file of corrections"
            raise InputError(msg)
        object.__setattr__(self, "file", str(Path(self.file).absolute()))  # workers may run in other folders
        wanted = [one.name for one in self._correction.inputs]
        given = [*self.inputs, *([self.systematic] if self.systematic else [])]
        for name in given:
            if name not in wanted:
                raise ConfigError(unknown_name(f"input of correction {self.correction!r}", name, wanted))
        if missing := [name for name in wanted if name not in given]:
            msg = f"correction {self.correction!r} of {self.file} also needs the inputs {missing}; got {given}"
            raise ConfigError(msg)
        names = [getattr(self, direction) for direction in DIRECTIONS]
        if (self.systematic is None) != (names[0] is None) or (names[1] is None) != (names[2] is None):
            msg = (
                f"correction {self.correction!r} has systematic = {self.systematic!r} and nominal, up, down = {names}: a "
                "systematic needs the name of its nominal value, variations need both names, and none goes without it"
            )
            raise ConfigError(msg)
        if self.systematic is None and names[1] is not None:
            msg = f"correction {self.correction!r} has up and down, but no input that tells them apart: give systematic"
            raise ConfigError(msg)

    @property
    def _correction(self) -> Any:
        found = _open(self.file, Path(self.file).stat().st_mtime_ns)
        if self.correction in found.compound:
            return found.compound[self.correction]
        if self.correction not in list(found):
            raise ConfigError(unknown_name(f"correction in {self.file}", self.correction, [*found, *found.compound]))
        return found[self.correction]

    @property
    def varies(self) -> bool:
        """Whether it has variations up and down."""
        return self.up is not None

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data, with the digest of the file in place of its folder."""
        written = Path(self.file).stat().st_mtime_ns
        named = {"file": Path(self.file).name, "digest": _digest(self.file, written)}
        return {**asdict(self), "inputs": dict(self.inputs), **named}

    def evaluate(self, values: Callable[[str], npt.ArrayLike], n: int, direction: str = "nominal") -> Floats:
        """The correction (n,); NaN where the inputs are not finite or outside of its range.

        Parameters
        ----------
        values : gives the flat values (n,) of a field.
        n : number of values.
        direction : "nominal", "up" or "down".

        Raises
        ------
        ConfigError
            If the correction does not know the systematic or another text among its inputs.
        """
        arguments: list[Any] = []
        for one in self._correction.inputs:
            if one.name == self.systematic:
                arguments.append(getattr(self, direction))
            elif one.type == "string":
                arguments.append(str(self.inputs[one.name]))
            else:
                source = self.inputs[one.name]
                given = values(source) if isinstance(source, str) else np.full(n, source)
                arguments.append(np.asarray(given, dtype=np.float64))
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        finite = np.all([np.ones(n, bool), *(np.isfinite(each) for each in arrays)], axis=0)
        kinds = [np.int64 if one.type == "int" else np.float64 for one in self._correction.inputs]
        out = np.full(n, np.nan)
        self._fill(arguments, kinds, np.flatnonzero(finite), out)
        return out

    def _fill(self, arguments: list[Any], kinds: list[Any], rows: npt.NDArray[np.int64], out: Floats) -> None:
        """Values of some rows; where the library refuses, halves are tried until those out of range are left."""
        if not len(rows):
            return
        given = [a[rows].astype(k) if isinstance(a, np.ndarray) else a for a, k in zip(arguments, kinds, strict=True)]
        try:
            out[rows] = self._correction.evaluate(*given)
        except (RuntimeError, IndexError, ValueError) as error:
            for one, text in zip(self._correction.inputs, arguments, strict=True):
                if isinstance(text, str) and str(error).endswith(f"val: {text}"):  # wrong for every object
                    msg = f"correction {self.correction!r} of {self.file} knows no {one.name} = {text!r} ({error})"
                    raise ConfigError(msg) from error
            if len(rows) == 1:
                return
            half = len(rows) // 2
            self._fill(arguments, kinds, rows[:half], out)
            self._fill(arguments, kinds, rows[half:], out)
