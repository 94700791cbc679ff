"""Searches that are ready to run: `resonaut run dimuon` takes `dimuon.yaml` from here, and its files from the current folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from resonaut.errors import InputError, unknown_name

__all__ = ("available_searches", "located_search", "ready_search")


def _folder() -> Path:
    return Path(str(files("resonaut.analysis.searches")))


def available_searches() -> tuple[str, ...]:
    """Names of the ready searches."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def ready_search(name: str) -> Path:
    """Config of a ready search.

    Raises
    ------
    InputError
        If there is none of that name; the message holds the nearest.
    """
    if name not in available_searches():
        raise InputError(unknown_name("ready search", name, available_searches()))
    return _folder() / f"{name}.yaml"


def located_search(config: Path) -> tuple[Path, Path]:
    """A config by its path or by the name of a ready search, and the folder that its relative names of files start from."""
    if not config.exists() and str(config) in available_searches():
        return ready_search(str(config)), Path()
    return config, config.parent
