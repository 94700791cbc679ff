"""Names of event files as people write them: paths, globs, lists, filesets of coffea, URLs.

events/*.root                 files of this machine
@files.txt   files.txt        a list, one name a line, `#` begins a comment; relative names start from the list
fileset.json fileset.json.gz  {dataset: {"files": {path: tree}, "metadata": {...}}} and the shorter forms of it
root://host//store/a.root     by XRootD (`pip install 'resonaut[xrootd]'`)
https://host/a.root           by HTTP (`pip install 'resonaut[http]'`)
"""

from __future__ import annotations

import glob
import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from resonaut.errors import InputError, unknown_name
from resonaut.processors.sources.remote import is_remote

__all__ = ("DATASET", "NamedFile", "fileset_of", "named_files")

DATASET = "events"
"""Dataset of files that no fileset names."""

LISTS = (".txt", ".list")
FILESETS = (".json", ".json.gz")
DEEPEST = 8  # lists within lists
KEYS = ("files", "metadata", "source", "treename")
OF_COFFEA = ("compressed_form", "did", "form", "format")  # what its preprocessing adds, and we do not need


@dataclass(frozen=True)
class NamedFile:
    """A file, and what the fileset that names it says about it.

    Parameters
    ----------
    path : absolute path, or URL.
    dataset : that it belongs to.
    tree : name of its tree; None where its source knows.
    metadata : of the dataset.
    source : name of a source or column map as plain data; None to recognise the file.
    origin : where it was named, for messages.
    """

    path: str
    dataset: str = DATASET
    tree: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: Any = None
    origin: str = "arguments"


def named_files(names: Sequence[str | os.PathLike[str]], base: Path | None = None) -> tuple[NamedFile, ...]:
    """All files that some names stand for, in order.

    Parameters
    ----------
    names : paths, globs, lists, filesets, URLs; see the module.
    base : folder that relative names start from; the current one if None.

    Raises
    ------
    InputError
        If a name matches no file, a list or fileset cannot be read, or a file is named twice.

    Examples
    --------
    >>> [file.path for file in named_files(["https://example.org/a.root"])]
    ['https://example.org/a.root']
    """
    start = base or Path.cwd()
    found = [file for name in names for file in _named(os.fspath(name), start, "arguments", 0)]
    _refuse_twice(found)
    if not found:
        msg = "no files are named, expected paths, globs, @lists, filesets (.json) or URLs"
        raise InputError(msg)
    return tuple(found)


def fileset_of(files: Sequence[NamedFile], source: Any = None) -> dict[str, Any]:
    """A fileset as `run_processor` takes it.

    Parameters
    ----------
    files : of `named_files`.
    source : of those that name none.

    Raises
    ------
    InputError
        If one dataset has files of different metadata or sources.
    """
    datasets: dict[str, dict[str, Any]] = {}
    for file in files:
        entry: dict[str, Any] = {"files": {}, "metadata": dict(file.metadata)}
        if (reader := file.source if file.source is not None else source) is not None:
            entry["source"] = reader
        known = datasets.setdefault(file.dataset, entry)
        if any(known.get(key) != entry.get(key) for key in ("metadata", "source")):
            msg = f"dataset {file.dataset!r} is in two filesets that say different things of it ({file.origin}); rename one"
            raise InputError(msg)
        known["files"][file.path] = file.tree
    return datasets


def _named(name: str, base: Path, origin: str, depth: int) -> Iterator[NamedFile]:
    if depth > DEEPEST:
        msg = f"{origin}: lists name lists, {DEEPEST} deep; one of them names itself"
        raise InputError(msg)
    if is_remote(name):
        yield NamedFile(name, origin=origin)
        return
    listed = name.startswith("@")
    for path in _matches(name.removeprefix("@"), base, origin):
        if listed or path.suffix in LISTS:
            yield from _of_list(path, depth)
        elif path.name.endswith(FILESETS):
            yield from _of_fileset(path)
        else:
            yield NamedFile(str(path), origin=origin)


def _matches(name: str, base: Path, origin: str) -> list[Path]:
    """The file of that name, or those that match a glob."""
    literal = base / Path(name).expanduser()
    if literal.is_dir():
        msg = f"{origin}: {name!r} is a folder; name its files, such as {name.rstrip('/')}/*.root"
        raise InputError(msg)
    if literal.exists():
        return [Path(os.path.abspath(literal))]  # noqa: PTH100 (links keep the name that they were given)
    matches = sorted(glob.glob(str(literal), recursive=True))  # noqa: PTH207 (absolute patterns)
    found = [Path(os.path.abspath(each)) for each in matches if not Path(each).is_dir()]  # noqa: PTH100
    if not found:
        msg = f"{origin}: {name!r} matches no file (relative names start from {base})"
        raise InputError(msg)
    return found


def _of_list(path: Path, depth: int) -> Iterator[NamedFile]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as a list of files, one name a line ({error})"
        raise InputError(msg) from error
    for number, line in enumerate(lines, 1):
        name = line.split("#", 1)[0].strip() if not is_remote(line) else line.split(" #", 1)[0].strip()
        if name:
            yield from _named(name, path.parent, f"{path}, line {number}", depth + 1)


def _of_fileset(path: Path) -> Iterator[NamedFile]:
    try:
        text = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        content = json.loads(text)
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path}: cannot be read as a fileset in JSON ({error})"
        raise InputError(msg) from error
    if isinstance(content, list):
        content = {DATASET: content}
    if not isinstance(content, dict) or not content:
        msg = f"{path}: expected {{dataset: {{'files': {{path: tree}}, 'metadata': {{...}}}}}} or a list of files"
        raise InputError(msg)
    for dataset, value in content.items():
        yield from _of_dataset(str(dataset), value, path)


def _of_dataset(dataset: str, value: Any, path: Path) -> Iterator[NamedFile]:
    """Files of one dataset: coffea's form, {path: tree}, a list, or one path."""
    given = value if isinstance(value, dict) and "files" in value else {"files": value}
    files = [given["files"]] if isinstance(given["files"], str) else given["files"]
    if not isinstance(files, (dict, list)) or not files:
        msg = f"{path}: dataset {dataset!r} has {files!r}, expected paths or {{path: tree}}"
        raise InputError(msg)
    if unknown := [key for key in given if key not in (*KEYS, *OF_COFFEA)]:  # a weight that is lost would not show
        msg = f"{path}: {unknown_name(f'key of dataset {dataset!r}', str(unknown[0]), KEYS)}"
        raise InputError(msg)
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, dict):
        msg = f"{path}: metadata of dataset {dataset!r} are {metadata!r}, expected {{name: value}}"
        raise InputError(msg)
    for name in files:
        tree = files[name] if isinstance(files, dict) else given.get("treename")
        if isinstance(tree, dict):  # as coffea's preprocess() writes it
            _require_all_steps(path, name, tree)
            tree = tree.get("object_path")
        if not isinstance(name, str) or not (tree is None or isinstance(tree, str)):
            msg = f"{path}: dataset {dataset!r} has {name!r}: {tree!r}, expected a path and the name of a tree"
            raise InputError(msg)
        for file in _named(name, path.parent, f"{path}, dataset {dataset!r}", 1):
            yield NamedFile(file.path, dataset, tree, metadata, given.get("source"), file.origin)


def _require_all_steps(path: Path, name: str, tree: Mapping[str, Any]) -> None:
    """InputError for a preprocessed fileset that asks for a part of a file: we read files whole."""
    steps, entries = tree.get("steps"), tree.get("num_entries")
    if not steps:
        return
    gaps = any(one[1] != two[0] for one, two in pairwise(steps))
    if steps[0][0] != 0 or gaps or (entries is not None and steps[-1][1] < entries):
        msg = f"{path}: {name} has steps that leave out events ({steps[0]} ... {steps[-1]}); files are read whole: leave steps out"
        raise InputError(msg)


def _refuse_twice(files: Sequence[NamedFile]) -> None:
    seen: dict[str, NamedFile] = {}
    for file in files:
        key = file.path if is_remote(file.path) else str(Path(file.path).resolve())
        if (first := seen.setdefault(key, file)) is not file:
            same = "" if first.path == file.path else f" as {first.path} and {file.path}"
            msg = f"{key} is named twice{same}, by {first.origin} and {file.origin}: its events would count twice"
            raise InputError(msg)
