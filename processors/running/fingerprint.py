"""What a file's content is, known cheaply the second time, and whether it is still the same.

A local file is its SHA-256; a remote one its identity (ROOT's UUID and length), read without its events. Digests are
remembered between runs by path, size, times of modification and change, and inode. The time of change (ctime) cannot be set
back by a program, so that a file rewritten with its old size and time is digested anew; and a digest is only remembered
when the file had been left alone for a while, because two writes within a tick of the clock leave the same times.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import uproot

from resonaut.errors import InputError
from resonaut.files import atomic_path, digest, file_digest
from resonaut.processors.sources.remote import is_remote, remote_options

__all__ = ("Stamp", "content_digest", "digest_folder", "stamp", "unchanged")

SETTLED = 2.0
"""Seconds since the last change before a digest is remembered: twice the coarsest clock of file systems in use."""


@dataclass(frozen=True)
class Stamp:
    """A local file as the file system describes it, seen from a host."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    host: str

    def agrees(self, other: Stamp) -> bool:
        """True if both describe the same state; between hosts only size and time of modification can be compared."""
        if self.host == other.host:
            return self == other
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


def stamp(path: str) -> Stamp | None:
    """The state of a local file; None for a remote one.

    Raises
    ------
    InputError
        If it is not there.
    """
    if is_remote(path):
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 (paths are strings here)
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror})"
        raise InputError(msg) from error
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, socket.gethostname())


def digest_folder() -> Path:
    """Where digests are remembered: `resonaut/digests` in the user's cache folder (XDG_CACHE_HOME)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resonaut" / "digests"


def _remembered(note: Path, state: Stamp) -> str | None:
    try:
        content = json.loads(note.read_text())
        return str(content["digest"]) if content["stamp"] == asdict(state) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(note: Path, path: str, state: Stamp, found: str) -> None:
    try:
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps({"path": path, "stamp": asdict(state), "digest": found}))
    except (OSError, InputError):  # a home that cannot be written costs time, nothing else
        return


def _local_digest(path: str) -> str:
    state = stamp(path)
    assert state is not None
    note = digest_folder() / f"{digest(os.path.abspath(path))}.json"  # noqa: PTH100 (links stay as they are named)
    if known := _remembered(note, state):
        return known
    started = time.time()
    try:
        found = file_digest(path)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise InputError(msg) from error
    if stamp(path) != state:
        msg = f"{path}: changed while it was read; wait until it is written, then run again"
        raise InputError(msg)
    if started - max(state.mtime_ns, state.ctime_ns) / 1e9 > SETTLED:
        _remember(note, path, state, found)
    return found


def content_digest(path: str) -> str:
    """Digest of a local file's content; of a remote one's identity, without reading it whole.

    Raises
    ------
    InputError
        If the file cannot be read, or is being written.
    """
    if not is_remote(path):
        return _local_digest(path)
    with uproot.open(path, **remote_options(path)) as file:
        return digest(str(file.file.uuid), file.file.fEND)


@lru_cache(maxsize=256)
def _digest_at(path: str, _state: Stamp) -> str:
    return _local_digest(path)


def unchanged(path: str, planned: Stamp | None, found: str) -> bool:
    """True if a file still has the content that a run was planned with.

    Costs a look at the file system; only where that differs (also from another host) the content is read again.
    """
    now = stamp(path)
    if now is None or planned is None:
        return content_digest(path) == found
    return now.agrees(planned) or _digest_at(path, now) == found
