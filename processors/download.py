"""Public data sets fetched from Zenodo: what a record holds is asked of the record itself, and every file is verified."""

from __future__ import annotations

import fnmatch
import http.client
import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resonaut.errors import InputError, unknown_name

__all__ = ("DATASETS", "ZENODO", "RemoteDataset", "RemoteFile", "fetch", "list_files")

ZENODO = "https://zenodo.org/api/records"
TIMEOUT = 60.0  # seconds without an answer
CHUNK = 1024 * 1024
CHECKSUM = re.compile(r"(md5|sha256|sha512):[0-9a-f]{32,128}")


@dataclass(frozen=True)
class RemoteDataset:
    """A data set on Zenodo: the number of its record, its DOI and what it is."""

    record: int
    doi: str
    title: str


DATASETS = {
    "darkmachines": RemoteDataset(
        3961917, "10.5281/zenodo.3961917", "Dark Machines anomaly-score challenge (arXiv:2105.14027)"
    ),
}
"""Every data set that can be fetched, by its name. Files, sizes and checksums are the record's own and not kept here."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: its name, size in bytes, checksum such as "md5:..." and address."""

    name: str
    size: int
    checksum: str
    url: str


def list_files(name: str, only: str | None = None, *, base_url: str = ZENODO) -> list[RemoteFile]:
    """Files of a data set, as its record lists them now, in the order of their names.

    Parameters
    ----------
    name : a name in `DATASETS`.
    only : pattern of file names such as "*channel2a*"; all files without it.
    base_url : address of the records; `ZENODO` or a copy of it.

    Raises
    ------
    InputError
        If there is no such data set, the record cannot be reached or understood, or no file fits the pattern.
    """
    if name not in DATASETS:
        raise InputError(unknown_name("data set", name, DATASETS))
    address = f"{base_url.rstrip('/')}/{DATASETS[name].record}"
    record = _read_record(address)
    entries = record.get("files") if isinstance(record, dict) else None
    if not isinstance(entries, list) or not entries:
        msg = f"{address}: the record lists no files; see https://doi.org/{DATASETS[name].doi} in a browser"
        raise InputError(msg)
    files = sorted((_entry(address, entry) for entry in entries), key=lambda file: file.name)
    chosen = [file for file in files if only is None or fnmatch.fnmatchcase(file.name, only)]
    if not chosen:
        msg = f"no file of {name!r} fits {only!r}; there are {', '.join(file.name for file in files)}"
        raise InputError(msg)
    return chosen


def _read_record(address: str) -> Any:
    if not address.startswith(("https://", "http://")):
        msg = f"{address}: expected an address that begins with https://"
        raise InputError(msg)
    try:
        request = urllib.request.Request(address, headers={"Accept": "application/json", "User-Agent": "resonaut"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(_unreachable(address, error)) from error
    except ValueError as error:
        msg = (
            f"{address}: the answer is not JSON ({error}); is this the address of a record, or a login page in between?"
        )
        raise InputError(msg) from error


def _unreachable(address: str, error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    status = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
    return (
        f"cannot fetch {address} ({status}{reason}). Without a network, fetch the files on another machine and copy "
        "them: a file that is there with the right checksum is not fetched again"
    )


def _entry(address: str, entry: Any) -> RemoteFile:
    """A file of the record's list; nothing of it is taken on trust."""
    try:
        name, size, checksum, url = entry["key"], entry["size"], entry["checksum"], entry["links"]["self"]
    except (KeyError, TypeError) as error:
        msg = (
            f"{address}: an entry of the record has no {error}; expected key, size, checksum and links.self: {entry!r}"
        )
        raise InputError(msg) from error
    if not isinstance(name, str) or name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name:
        msg = f"{address}: the record has a file called {name!r}, expected a plain name without folders"
        raise InputError(msg)
    if not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum):
        msg = f"{address}: the checksum of {name} is {checksum!r}, expected md5:..., so that it cannot be verified"
        raise InputError(msg)
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        msg = f"{address}: the address of {name} is {url!r}, expected https://..."
        raise InputError(msg)
    return RemoteFile(name, int(size), checksum, url)


def fetch(
    name: str,
    folder: str | os.PathLike[str],
    only: str | None = None,
    *,
    progress: bool = True,
    base_url: str = ZENODO,
) -> list[Path]:
    """Fetch the files of a data set into a folder, each verified against the record's checksum.

    A file that is there with the right checksum is left alone; one with a wrong checksum is fetched anew. A file gets its
    name when it is whole and verified, never before.

    Parameters
    ----------
    name : a name in `DATASETS`.
    folder : where the files go; made if it is not there.
    only : pattern of file names such as "*channel2a*"; all files without it.
    progress : show bars.
    base_url : address of the records.

    Returns
    -------
    Paths of the files.

    Raises
    ------
    InputError
        If the data set or its files are unknown, cannot be reached, or do not have the checksum that the record promises.
    """
    files = list_files(name, only, base_url=base_url)
    target = Path(folder)
    if target.exists() and not target.is_dir():
        msg = f"cannot write to {target}: it is a file, expected a folder"
        raise InputError(msg)
    target.mkdir(parents=True, exist_ok=True)
    return [_fetch_one(file, target, progress=progress) for file in files]


def _fetch_one(file: RemoteFile, folder: Path, *, progress: bool) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)  # its lines would run through the bar
    try:
        with _bar(file, show=progress) as bar:
            as_it_is = {"Accept-Encoding": "identity"}  # a .gz must not be unpacked on its way
            downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT, headers=as_it_is)
            found = pooch.retrieve(file.url, file.checksum, file.name, folder, downloader=downloader)
    except requests.exceptions.RequestException as error:
        raise InputError(_unreachable(file.url, error)) from error
    except ValueError as error:  # pooch's word for a wrong checksum
        msg = f"{file.url}: what was fetched is not the file of the record, nothing is kept; fetch it again ({error})"
        raise InputError(msg) from error
    return Path(found)


@contextmanager
def _bar(file: RemoteFile, *, show: bool) -> Iterator[Any]:
    """A bar of the kind that pooch drives, or False."""
    if not show:
        yield False
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as bars:
        yield _Bar(bars, bars.add_task(file.name, total=file.size))


class _Bar:
    """Passes pooch's calls (`total`, `update`, `reset`, `close`) on to a bar of rich."""

    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task
        self.total = 0  # pooch writes the size that the server announces here; the record's is known already

    def update(self, amount: int) -> None:
        """`amount` bytes more have come."""
        self._bars.advance(self._task, amount)

    def reset(self) -> None:
        """Begin again: pooch does so before it calls `update` a last time with the whole size."""
        self._bars.reset(self._task)

    def close(self) -> None:
        """Nothing is left to do: the bar ends with its block."""
