"""Opening ROOT files, local or on a server, and finding their trees."""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import uproot
from uproot.behaviors.RNTuple import HasFields

from resonaut.errors import InputError, ResonautError
from resonaut.processors.sources.remote import REMEMBERED, is_remote, remote_options

__all__ = ("TREE", "file_state", "find_tree", "is_ntuple", "is_root", "names_of", "open_root", "trees_of", "unreadable")

XROOTD = ("root://", "roots://", "xroot://")
ROOT_SIGNATURE = b"root"
TREE = "Events"
KINDS = ("TTree", "TNtuple", "TNtupleD", "TChain", "RNTuple")


def is_root(path: str) -> bool:
    """True if a file begins as ROOT files do; remote ones are judged by their address."""
    if is_remote(path):
        return path.startswith(XROOTD) or path.split("?", maxsplit=1)[0].endswith(".root")
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == ROOT_SIGNATURE
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error


def file_state(path: str) -> tuple[int, ...]:
    """What changes when a local file does; InputError if it is not there."""
    try:
        found = Path(path).stat()
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _require_whole(path: str, promised: int) -> None:
    """Compare the length in the header with the file: uproot only sees a missing end when it reads there."""
    if not is_remote(path) and (found := Path(path).stat().st_size) < promised:
        msg = f"{path}: truncated, the header promises {promised} bytes and the file has {found}; copy it again"
        raise InputError(msg)


def open_root(path: str) -> Any:
    """An open file, local or remote.

    Raises
    ------
    InputError
        If the file is missing, truncated or corrupt, or its host cannot be reached.
    MissingDependencyError
        If a package is needed for this kind of URL.
    """
    options = remote_options(path)
    try:
        file = uproot.open(path, array_cache=None, **options)  # files stay open: values of a chunk must not
        _require_whole(path, file.file.fEND)
    except ResonautError:
        raise
    except Exception as error:  # uproot raises many kinds for a broken file
        raise unreadable(path, error) from error
    return file


def unreadable(path: str, error: Exception) -> InputError:
    """The error of a file that cannot be read, whatever uproot has raised for it."""
    what = (
        "cannot be read from its server"
        if "://" in path
        else "cannot be read as ROOT, the file is truncated or corrupt"
    )
    return InputError(f"{path}: {what} ({type(error).__name__}: {error})")


def _trees(file: Any) -> list[str]:
    classes = file.classnames(recursive=True, cycle=False)
    return [key for key, kind in classes.items() if kind.rsplit("::", 1)[-1] in KINDS]


def trees_of(path: str) -> list[str]:
    """Names of the trees and RNTuples of a file; InputError if it cannot be read.

    Every source asks: they are kept while a local file is the same, and for a while where it is on a server.
    """
    return list(_trees_kept(path, (int(time.monotonic() // REMEMBERED),) if is_remote(path) else file_state(path)))


@lru_cache(maxsize=64)
def _trees_kept(path: str, _state: tuple[int, ...]) -> list[str]:
    with open_root(path) as file:
        try:
            return _trees(file)
        except Exception as error:  # uproot raises many kinds for a broken file
            raise unreadable(path, error) from error


def find_tree(path: str, *names: str) -> Any:
    """A tree or RNTuple of a file, the first of the names that is there, else its only one; the file stays open with it.

    Raises
    ------
    InputError
        If the file cannot be read or has no such tree.
    """
    file = open_root(path)
    try:
        trees = _trees(file)
        found = next((name for name in names if name in trees), trees[0] if not names and len(trees) == 1 else None)
        if found is None:
            wanted = f"a tree {' or '.join(map(repr, names))}" if names else "one tree, name it"
            msg = f"{path}: got {sorted(trees)[:8]}, expected {wanted}"
            raise InputError(msg)
        return file[found]
    except InputError:
        raise
    except Exception as error:  # uproot raises many kinds for a broken file
        raise unreadable(path, error) from error


def is_ntuple(tree: Any) -> bool:
    """True for an RNTuple."""
    return isinstance(tree, HasFields)


def names_of(tree: Any) -> dict[str, str]:
    """{name: uproot's name} of the branches of a tree, or the columns of an RNTuple.

    The name is the part after the slash, or all of it where several branches end alike (`jets/pt`, `muons/pt`).
    """
    if is_ntuple(tree):  # whose nested names cost seconds; fields without a type only hold others together
        return {field.name: field.name for field in tree.fields if field.typename}
    last = {key: key.rsplit("/", 1)[-1] for key in tree.keys()}  # noqa: SIM118 (a tree is no dictionary)
    alike = Counter(last.values())
    return {name if alike[name] == 1 else key: key for key, name in last.items()}
