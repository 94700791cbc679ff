"""Which errors of reading may go away by themselves, and reading again after them.

Only these are tried again: connections that broke, timeouts, servers that are busy, and the kernel's I/O errors of network
file systems. A corrupt file, a missing one and a bug in a processor give the same error again: they are raised at once.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ("chain", "is_transient", "with_retries")

log = logging.getLogger(__name__)

T = TypeVar("T")

ERRNOS = {
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "EAGAIN", "EPIPE", "ETIMEDOUT", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "ENOTCONN",
        "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET", "EREMOTEIO",
    )
    if hasattr(errno, name)
}  # fmt: skip
# aiohttp's and fsspec's own kinds, by name: neither need be installed
NAMES = {
    "ClientConnectionError", "ClientConnectorError", "ClientOSError", "ClientPayloadError", "FSTimeoutError",
    "ServerDisconnectedError", "ServerTimeoutError", "ConnectionTimeoutError", "SocketTimeoutError", "IncompleteRead",
}  # fmt: skip
STATUSES = {408, 425, 429, 500, 502, 503, 504}
# XRootD's client states, and the protocol's error numbers for a locked file, a failing disk, a busy or missing server
XROOTD = re.compile(
    r"\[(?:ERROR|FATAL)\] (?:Operation expired|Operation interrupted|Connection error|Socket (?:error|timeout)|"
    r"Stream (?:event|timeout)|Invalid session|Internal error|Timer expired|Response (?:was )?corrupted)|"
    r"\[(?:3003|3005|3007|3012|3014|3020|3024)\]"
)
# HDF5 hands the system's error on as text alone
HDF5 = re.compile(r"\berrno = (\d+)")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    seen: set[int] = set()
    todo: BaseException | None = error
    while todo is not None and id(todo) not in seen:
        seen.add(id(todo))
        yield todo
        todo = todo.__cause__ or (None if todo.__suppress_context__ else todo.__context__)


def _transient(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)) or type(error).__name__ in NAMES:
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    status = error.status if hasattr(error, "status") else getattr(error, "code", None)
    if isinstance(status, int) and status in STATUSES:
        return True
    if not isinstance(error, OSError):
        return False
    text = str(error)
    found = {int(number) for number in HDF5.findall(text)}
    return error.errno in ERRNOS or bool(found & ERRNOS) or XROOTD.search(text) is not None


def is_transient(error: BaseException) -> bool:
    """True if an error of reading, or one that led to it, may go away when it is tried again.

    Examples
    --------
    >>> is_transient(ConnectionResetError()), is_transient(OSError(5, "Input/output error")), is_transient(ValueError())
    (True, True, False)
    """
    return any(_transient(each) for each in chain(error))


def with_retries(
    read: Callable[[], T],
    *,
    retries: int,
    pause: float,
    what: str,
    again: Callable[[BaseException], bool] = is_transient,
) -> tuple[T, int]:
    """What `read` gives, and how often it had to be tried again.

    Parameters
    ----------
    read : called until it returns, raises an error that is not transient, or the tries are used up.
    retries : most repetitions.
    pause : seconds before the first repetition; each further one waits twice as long.
    what : for the log.
    again : whether an error is worth another try.

    Raises
    ------
    Exception
        That of the last try, with a note of how many there were.
    """
    for attempt in range(retries + 1):
        try:
            return read(), attempt
        except Exception as error:
            if not again(error):
                raise
            if attempt == retries:
                if retries:
                    error.add_note(f"tried {retries + 1} times")
                raise
            wait = pause * 2**attempt
            log.warning("%s: %s; trying again in %.1f s", what, error, wait)
            time.sleep(wait)
    raise AssertionError
