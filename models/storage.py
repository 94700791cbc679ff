"""Scorers on disk: ``card.json`` (what it is, how it was made) and ``tensors.safetensors`` (what it learnt), never a pickle.

The card holds the hash of the tensors and of itself, so that a file that was changed, mixed up or cut short is an error
with a next step and not a wrong number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.files import digest, file_digest, read_json, write_json
from resonaut.models.protocol import Scorer
from resonaut.models.registry import scorer_class

__all__ = ("FORMAT", "Tensors", "load_scorer", "read_card", "read_tensors", "save_scorer", "write_card")

FORMAT = 1
CARD = "card.json"
TENSORS = "tensors.safetensors"
Tensors = dict[str, npt.NDArray[Any]]


def write_card(folder: Path, card: Mapping[str, Any], tensors: Tensors) -> None:
    """Write a card and its tensors into an existing folder."""
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / TENSORS)
    content = {
        "format": FORMAT,
        "version": version("resonaut"),
        **card,
        "tensors": {"file": TENSORS, "digest": file_digest(folder / TENSORS)},
    }
    write_json(folder / CARD, {**content, "digest": digest(content)})


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Card of a saved scorer, checked.

    Raises
    ------
    ModelError
        If the folder or the card is missing, cut short or changed, or of a format that this version does not read.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        what = "has no card.json" if Path(folder).is_dir() else "does not exist"
        msg = f"no saved scorer: {folder} {what}; give the folder that scorer.save(folder) wrote"
        raise ModelError(msg)
    try:
        card = read_json(path)
    except InputError as error:
        msg = f"the card of the saved scorer cannot be read: {error}; save the scorer again"
        raise ModelError(msg) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        got = card.get("format") if isinstance(card, dict) else type(card).__name__
        written = card.get("version", "?") if isinstance(card, dict) else "?"
        msg = (
            f"{path} has format {got!r} (written by resonaut {written}), this resonaut {version('resonaut')} reads format "
            f"{FORMAT}: load it with that version, or fit and save again"
        )
        raise ModelError(msg)
    content = {key: value for key, value in card.items() if key != "digest"}
    if digest(content) != card.get("digest"):
        msg = f"{path} was changed after it was written (its digest does not match): save the scorer again"
        raise ModelError(msg)
    return card


def read_tensors(folder: str | os.PathLike[str], card: Mapping[str, Any]) -> Tensors:
    """Arrays of a saved scorer, checked against its card.

    Raises
    ------
    ModelError
        If the file is missing, cut short or not the one that the card was written with.
    """
    path = Path(folder) / str(card["tensors"]["file"])
    if not path.is_file():
        msg = f"{path} is missing beside its card: copy the whole folder, or save the scorer again"
        raise ModelError(msg)
    if file_digest(path) != card["tensors"]["digest"]:
        msg = f"{path} is not the file that its card was written with (digest differs): save the scorer again"
        raise ModelError(msg)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        msg = f"{path} cannot be read as safetensors ({error}): save the scorer again"
        raise ModelError(msg) from error


def save_scorer(scorer: Scorer, folder: str | os.PathLike[str]) -> None:
    """Write a fitted scorer into `folder`, whole or not at all, replacing what was there."""
    scorer.save(folder)


def load_scorer(folder: str | os.PathLike[str]) -> Scorer:
    """Read any saved scorer: the card says which class it is.

    Raises
    ------
    ModelError
        If the folder is missing or damaged, or names a scorer that is not installed.
    """
    card = read_card(folder)
    try:
        cls = scorer_class(str(card.get("scorer")))
    except ConfigError as error:
        msg = f"{folder} holds a scorer that is not available here: {error}; install the package that provides it"
        raise ModelError(msg) from error
    return cls.load(folder)
