"""One file over HTTP: continued where it broke, tried again, and named only when it is whole and verified."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from resonaut.errors import InputError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ("CHECKSUM_LENGTHS", "TIMEOUT", "checksum_of", "download", "unreachable")

TIMEOUT = 60.0  # seconds without an answer
CHUNK = 1024 * 1024
TRIES = 5  # in a row that bring nothing
WAIT = 1.0  # seconds before the second try, twice as long before each further one
CHECKSUM_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "adler32": 8}
"""Checksums that can be verified, and their hexadecimal digits."""

PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP answers that may be others in a moment
NOT_SATISFIABLE = 416


def checksum_of(path: Path, kind: str) -> str:
    """Checksum of a file in hexadecimal digits, of a kind in `CHECKSUM_LENGTHS`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     checksum_of(Path(file.name), "adler32")
    '00000001'
    """
    with path.open("rb") as file:
        if kind != "adler32":
            return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        value = 1
        while piece := file.read(CHUNK):
            value = zlib.adler32(piece, value)
    return f"{value:08x}"


def unreachable(address: str, error: BaseException) -> str:
    """Message for an address that gives no file."""
    reason = getattr(error, "reason", None) or error
    status = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
    return (
        f"cannot fetch {address} ({status}{reason}). What has come so far is kept, the same command goes on from there. "
        "Without a network, fetch the files on another machine and copy them: a file that is there with the right "
        "checksum is not fetched again"
    )


def download(url: str, target: Path, size: int, checksum: str, report: Callable[[int], None]) -> None:
    """Fetch a file unless it is there with the right checksum.

    The bytes that have come lie in a hidden file beside the target, and a later call asks the server for the rest. A
    connection that breaks is opened again up to `TRIES` times in a row that bring nothing, with growing waits.

    Parameters
    ----------
    size, checksum : what the file must have; checksum such as "md5:...".
    report : called with the number of bytes that are there.

    Raises
    ------
    InputError
        If the server does not give the file, or gives another.
    """
    if _is(target, size, checksum):
        report(size)
        return
    partial = target.with_name(f".{target.name}.part")
    resumed = partial.exists()
    with _alone(partial):
        if not _is(target, size, checksum):  # else another process has just brought it
            _fetch(url, partial, target, size, checksum, report, resumed=resumed)


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """No other process writes to the partial file: what it appends later would go into the file that has its name by then."""
    with partial.open("ab") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{partial}: another process is fetching this file; wait until it is done, then run again"
            raise InputError(msg) from error
        except OSError:  # a file system without locks
            pass
        yield
    with contextlib.suppress(FileNotFoundError):
        _forget_if_empty(partial)


def _fetch(
    url: str, partial: Path, target: Path, size: int, checksum: str, report: Callable[[int], None], *, resumed: bool
) -> None:
    _complete(url, partial, size, report)
    if not _is(partial, size, checksum) and resumed:  # the beginning was perhaps of another file
        partial.write_bytes(b"")
        _complete(url, partial, size, report)
    if not _is(partial, size, checksum):
        got = f"{partial.stat().st_size} bytes, {checksum_of(partial, checksum.split(':', maxsplit=1)[0])}"
        partial.unlink(missing_ok=True)
        msg = (
            f"{url}: what was fetched is not the file of the record, nothing is kept; fetch it again "
            f"(got {got}, expected {size} bytes, {checksum})"
        )
        raise InputError(msg)
    partial.replace(target)


def _is(path: Path, size: int, checksum: str) -> bool:
    kind, _, digits = checksum.partition(":")
    return path.is_file() and path.stat().st_size == size and checksum_of(path, kind) == digits


def _complete(url: str, partial: Path, size: int, report: Callable[[int], None]) -> None:
    """Bring the partial file to its size, in as many connections as it takes."""
    vain = 0
    partial.touch()
    while True:
        before = partial.stat().st_size
        if before > size:
            partial.write_bytes(b"")
            before = 0
        report(before)
        if before == size:
            return
        error: BaseException = http.client.IncompleteRead(b"")
        try:
            for there in _receive(url, partial, before, size):
                report(there)
        except urllib.error.HTTPError as raised:
            if raised.code == NOT_SATISFIABLE and before:
                partial.write_bytes(b"")  # the server's file is shorter than ours
            elif raised.code not in PASSING:
                _forget_if_empty(partial)
                raise InputError(unreachable(url, raised)) from raised
            error = raised
        except (OSError, http.client.HTTPException) as raised:
            error = raised
        vain = 0 if partial.stat().st_size > before else vain + 1
        if vain >= TRIES:
            _forget_if_empty(partial)
            raise InputError(unreachable(url, error)) from error
        if vain:
            time.sleep(WAIT * 2 ** (vain - 1))


def _forget_if_empty(partial: Path) -> None:
    if partial.stat().st_size == 0:
        partial.unlink()


def _receive(url: str, partial: Path, start: int, size: int) -> Iterator[int]:
    """Append what one connection brings; gives the number of bytes that are there."""
    headers = {"User-Agent": "resonaut", "Accept-Encoding": "identity"}  # a .gz must not be unpacked on its way
    if start:
        headers["Range"] = f"bytes={start}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        continued = answer.status == http.HTTPStatus.PARTIAL_CONTENT and f"bytes {start}-" in (
            answer.headers.get("Content-Range") or ""
        )
        with partial.open("ab" if continued else "wb") as file:  # a server that does not know ranges begins again
            there = start if continued else 0
            while there <= size and (piece := answer.read1(CHUNK)):
                file.write(piece)
                there += len(piece)
                yield there
