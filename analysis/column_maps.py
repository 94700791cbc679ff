"""Column maps in configs: written there, or in a YAML file of their own, for data, simulation and single signals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from resonaut.errors import ConfigError
from resonaut.processors import ColumnMap

__all__ = ("checked_map", "read_column_map", "with_column_maps")

KEYS = ("columns", "simulation_columns")


def read_column_map(path: Path) -> dict[str, Any]:
    """The content of a YAML file with a column map: keys columns, tree and unit (docs/inputs.md).

    Raises
    ------
    ConfigError
        If there is no such file, or no map in it.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path}: cannot be read as a YAML file with a column map ({error})"
        raise ConfigError(msg) from None
    if not isinstance(content, dict):
        msg = f"{path}: expected keys columns, tree and unit, got {type(content).__name__}"
        raise ConfigError(msg)
    try:
        ColumnMap.from_dict(content)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None
    return content


def with_column_maps(content: Any, base: Path) -> Any:
    """A config in which the maps stand that it names by their files, relative to `base`."""
    if not isinstance(content, Mapping):
        return content
    found = dict(content)
    if isinstance(content.get("input"), Mapping):
        found["input"] = _read(content["input"], base)
    if isinstance(content.get("signals"), list):
        found["signals"] = [_read(each, base) for each in content["signals"]]
    return found


def _read(section: Any, base: Path) -> Any:
    if not isinstance(section, Mapping):
        return section
    named = {key: section[key] for key in KEYS if isinstance(section.get(key), str)}
    return {**section, **{key: read_column_map(base / name) for key, name in named.items()}}


def checked_map(given: Any) -> Any:
    """For the validators of configs: ValueError for a map that makes no sense."""
    if isinstance(given, str):
        msg = "the file of a column map is read where the config is a file too: give the map itself"
        raise ValueError(msg)  # noqa: TRY004 (pydantic's own)
    try:
        if given is not None:
            ColumnMap.from_dict(given)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return given
