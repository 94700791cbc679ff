"""Files on servers: what uproot needs to read them, and how long it may wait for a server that does not answer."""

from __future__ import annotations

import os
import socket
import time
from functools import lru_cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from resonaut.errors import InputError, MissingDependencyError

__all__ = ("CONNECT", "is_remote", "remote_options")

CONNECT = 10.0
"""Seconds in which a server must take a connection."""

SILENCE = 60
"""Seconds without a byte after which a read is given up."""

PORTS = {"http": 80, "https": 443, "root": 1094, "roots": 1094, "xroot": 1094}
PACKAGES = {
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
    "root": ("fsspec_xrootd", "xrootd"),
    "roots": ("fsspec_xrootd", "xrootd"),
    "xroot": ("fsspec_xrootd", "xrootd"),
}
XROOTD = {
    "XRD_CONNECTIONWINDOW": 10,
    "XRD_CONNECTIONRETRY": 1,
    "XRD_REQUESTTIMEOUT": SILENCE,
    "XRD_STREAMTIMEOUT": SILENCE,
}
REMEMBERED = 30  # seconds for which a server that answered is not asked again


def is_remote(path: str) -> bool:
    """True for URLs."""
    return "://" in path


@lru_cache(maxsize=256)
def _reach(host: str, port: int, _now: int) -> None:
    """Raise OSError if a server does not take connections; only that it does is remembered."""
    socket.create_connection((host, port), timeout=CONNECT).close()


def remote_options(path: str) -> dict[str, Any]:
    """Options of uproot for a path: none for a local file; limits to waiting for one on a server.

    Raises
    ------
    MissingDependencyError
        If the package that reads such URLs is not installed.
    InputError
        If the kind of URL is not known or its host does not take connections within `CONNECT` seconds.
    """
    if not is_remote(path):
        return {}
    url = urlsplit(path)
    if url.scheme not in PORTS:
        msg = f"{path}: got a URL of kind {url.scheme!r}, expected one of {', '.join(PORTS)}, or a local path"
        raise InputError(msg)
    package, extra = PACKAGES[url.scheme]
    if find_spec(package) is None:
        msg = f"{path}: {url.scheme}:// URLs need {package}: pip install 'resonaut[{extra}]'"
        raise MissingDependencyError(msg)
    host, port = url.hostname or "", url.port or PORTS[url.scheme]
    try:
        _reach(host, port, int(time.monotonic() // REMEMBERED))
    except OSError as error:
        msg = f"{path}: {host}:{port} does not take connections ({error}); check the address and the network"
        raise InputError(msg) from error
    if url.scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
        return {"client_kwargs": {"timeout": timeout}}
    for name, value in XROOTD.items():  # read by the client's library when it is loaded
        os.environ.setdefault(name, str(value))
    return {}
