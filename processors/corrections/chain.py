"""All corrections of a sample, in their order, and the variations of events and weights that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.corrections.library import LibraryCorrection
from resonaut.processors.corrections.objects import ScaleCorrection, SmearingCorrection, scaled
from resonaut.processors.corrections.weights import WeightCorrection, normalisation

__all__ = ("Corrected", "Correction", "Corrections", "make_corrections")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Correction = WeightCorrection | ScaleCorrection | SmearingCorrection

KINDS: dict[str, type[Any]] = {"weight": WeightCorrection, "scale": ScaleCorrection, "smearing": SmearingCorrection}
NUMBER = {"scale": "factor", "smearing": "width"}  # what the correction of a file gives, where it is not a weight
LIBRARY = tuple(each.name for each in fields(LibraryCorrection))
NESTED = ("factor", "uncertainty", "width", "scale_factor")  # may be corrections of files of their own
NORMALISATION = ("cross_section", "luminosity", "sum_of_weights")
DIRECTIONS = ("up", "down")


@dataclass(frozen=True)
class Corrected:
    """Events with corrected objects.

    Parameters
    ----------
    events : the events.
    undefined : {reason: (events,) mask} of events with an object whose correction is not known.
    """

    events: Any
    undefined: Mapping[str, Mask] = field(default_factory=dict)


@dataclass(frozen=True)
class Corrections:
    """Corrections in the order in which they are applied.

    A correction called `jes` with an uncertainty makes the variations `jes_up` and `jes_down`. Corrections of objects come
    first, weights are then taken from the corrected events.

    Parameters
    ----------
    parts : the corrections; their names differ.

    Raises
    ------
    ConfigError
        If two have one name.
    """

    parts: tuple[Correction, ...] = ()

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"corrections {twice} are given more than once: each nuisance parameter has one name"
            raise ConfigError(msg)
        if odd := [name for name in names if "__" in str(name) or not str(name).isidentifier() or name == "nominal"]:
            msg = f"names of corrections are {odd}, expected letters, digits and single underscores"
            raise ConfigError(msg)

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nuisance parameters: of the corrections that have variations."""
        return tuple(part.name for part in self.parts if part.varies)

    @property
    def event_variations(self) -> tuple[str, ...]:
        """Variations that change events."""
        return self._variations(lambda part: not isinstance(part, WeightCorrection))

    @property
    def weight_variations(self) -> tuple[str, ...]:
        """Variations that change weights alone."""
        return self._variations(lambda part: isinstance(part, WeightCorrection))

    def _variations(self, chosen: Callable[[Correction], bool]) -> tuple[str, ...]:
        found = [part.name for part in self.parts if part.varies and chosen(part)]
        return tuple(f"{name}_{direction}" for name in found for direction in DIRECTIONS)

    @property
    def keep_sum(self) -> tuple[str, ...]:
        """Variations of weights whose sum over all events is not to change."""
        kept = [part.name for part in self.parts if isinstance(part, WeightCorrection) and part.keep_sum]
        return tuple(v for v in self.weight_variations if v.rsplit("_", 1)[0] in kept)

    @property
    def config(self) -> list[dict[str, Any]]:
        """Options as plain data, digests of files included."""
        return [part.config for part in self.parts]

    def corrected(self, events: Any, variation: str | None = None) -> Corrected:
        """Corrected events, nominal or with one correction moved by one standard deviation, and those that have none.

        Raises
        ------
        InputError
            If the events lack what a correction needs.
        """
        undefined: dict[str, Mask] = {}
        for part in self.parts:
            if isinstance(part, WeightCorrection):
                continue
            ratio = part.ratio(events, _direction(part.name, variation))
            bad = ~np.isfinite(ratio)
            if bad.any():
                counts = ak.num(events[part.collection], axis=1)
                undefined[f"{part.name} undefined"] = ak.to_numpy(ak.any(ak.unflatten(bad, counts), axis=1))
            events = scaled(events, part.collection, ratio, part.fields, part.met)
        return Corrected(events, undefined)

    def events(self, events: Any, variation: str | None = None) -> Any:
        """Corrected events alone; objects whose correction is not known have NaN.

        Raises
        ------
        InputError
            If the events lack what a correction needs.
        """
        return self.corrected(events, variation).events

    def factors(self, events: Any, variation: str | None = None) -> dict[str, Floats]:
        """Factor (events,) of the weight by each correction's name; NaN where one is not known.

        Raises
        ------
        InputError
            If the events lack what a correction needs.
        """
        parts = [part for part in self.parts if isinstance(part, WeightCorrection)]
        return {part.name: part.factor(events, _direction(part.name, variation)) for part in parts}

    def weight(self, events: Any, variation: str | None = None) -> Floats:
        """Product (events,) of all factors; NaN where one is not known.

        Raises
        ------
        InputError
            If the events lack what a correction needs.
        """
        weight = np.ones(len(events))
        for factor in self.factors(events, variation).values():
            weight *= factor
        return weight


def _direction(name: str, variation: str | None) -> str:
    """Where a variation moves the correction of that name."""
    found = [direction for direction in DIRECTIONS if variation == f"{name}_{direction}"]
    return found[0] if found else "nominal"


def make_corrections(given: Sequence[Mapping[str, Any]], folder: Any = None) -> Corrections:
    """Corrections from plain data, as in a config.

    Parameters
    ----------
    given : one mapping per correction with `kind` ("weight", "scale", "smearing" or "normalisation"), `name`, and the options of
        `WeightCorrection`, `ScaleCorrection`, `SmearingCorrection` or `normalisation`. A correction from a correctionlib file has
        `file`, `correction`, `inputs`, `systematic`, `nominal`, `up`, `down` (see `LibraryCorrection`): it gives the weight, the factor
        of a scale or the width of a smearing. `uncertainty` of a scale and `scale_factor` of a smearing may be such mappings too.
    folder : that relative names of files start from; the working directory where not given.

    Raises
    ------
    ConfigError
        For an unknown kind or option.

    Examples
    --------
    >>> given = [{"kind": "scale", "name": "jes", "collection": "FatJet", "uncertainty": 0.02}]
    >>> make_corrections(given).event_variations
    ('jes_up', 'jes_down')
    """
    return Corrections(tuple(_make(dict(one), folder) for one in given))


def _make(options: dict[str, Any], folder: Any) -> Correction:
    kind = str(options.pop("kind", "none given"))
    if kind not in (*KINDS, "normalisation"):
        raise ConfigError(unknown_name("kind of correction", kind, [*KINDS, "normalisation"]))
    owner = f"{kind} correction {options.get('name')!r}"
    known = _options(kind)
    for key in options:
        if key not in known:
            raise ConfigError(unknown_name(f"option of {owner}", str(key), known))
    found: Correction
    if kind == "normalisation":
        found = _called(normalisation, options, owner)
        return found
    if "file" in options:
        library = {key: options.pop(key) for key in LIBRARY if key in options}
        target = NUMBER.get(kind, "library")
        if target in options:
            msg = f"{owner} has both a file and {target}"
            raise ConfigError(msg)
        options[target] = _library(library, folder, owner)
    elif stray := [key for key in LIBRARY if key in options and (kind != "weight" or key not in KEYS_OF_BOTH)]:
        msg = f"{owner} has {', '.join(stray)}, but no file that they are of"
        raise ConfigError(msg)
    for key in NESTED:
        if isinstance(options.get(key), Mapping):
            options[key] = _library(options[key], folder, owner)
    found = _called(KINDS[kind], options, owner)
    return found


KEYS_OF_BOTH = ("nominal", "up", "down")  # of a weight by numbers or fields, and of a correction's systematic


def _options(kind: str) -> list[str]:
    if kind == "normalisation":
        return ["name", *NORMALISATION]
    own = [each.name for each in fields(KINDS[kind]) if each.name != "library"]
    return [*own, *(key for key in LIBRARY if key not in own)]


def _called(maker: Callable[..., Any], options: Mapping[str, Any], owner: str) -> Any:
    try:
        return maker(**options)
    except TypeError as error:
        msg = f"{owner} cannot be made of {dict(options)}: {error}"
        raise ConfigError(msg) from None


def _library(given: Mapping[str, Any], folder: Any, owner: str) -> LibraryCorrection:
    for key in given:
        if key not in LIBRARY:
            raise ConfigError(unknown_name(f"key of the file of {owner}", str(key), LIBRARY))
    if missing := [key for key in LIBRARY[:2] if key not in given]:
        msg = f"{owner} reads a correctionlib file and needs {' and '.join(missing)}"
        raise ConfigError(msg)
    path = Path(given["file"])
    try:
        return LibraryCorrection(**{**given, "file": str(path if folder is None else Path(folder) / path)})
    except ConfigError as error:
        msg = f"{owner}: {error}"
        raise ConfigError(msg) from None
