"""Files that are written whole or not at all, and the hashes that key resumable work."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resonaut.errors import InputError

__all__ = ("atomic_dir", "atomic_path", "digest", "file_digest", "finite_or_none", "read_json", "write_json")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Temporary path in the same folder that replaces `path` when the block ends without an error; InputError if it is a folder."""
    target = Path(path)
    if target.is_dir():
        msg = f"cannot write {path}: it is a folder, expected the name of a file"
        raise InputError(msg)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"cannot write {path}: {target.parent} is a file, expected a folder"
        raise InputError(msg) from error
    temporary = _temporary(target)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Temporary folder that becomes `path`, replacing what was there, when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=True) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON, naming the file in any error.

    Raises
    ------
    InputError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        msg = f"file not found: {path}"
        raise InputError(msg) from error
    except (IsADirectoryError, NotADirectoryError) as error:
        msg = f"{path} is a folder or lies below a file, expected a JSON file"
        raise InputError(msg) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is not valid JSON ({error})"
        raise InputError(msg) from error


def finite_or_none(content: Any) -> Any:
    """The same content with NaN and infinities as None, so that it is JSON for every reader."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {k: finite_or_none(v) for k, v in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite_or_none(v) for v in content]
    return content


def digest(*contents: Any) -> str:
    """Short hash of JSON-able contents, equal for equal contents.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(contents, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | os.PathLike[str]) -> str:
    """Short hash of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
