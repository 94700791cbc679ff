"""Public data sets, fetched from Zenodo and the CERN Open Data portal: what a record holds is asked of the record itself.

Names, sizes and checksums are the record's own. Every file is verified, and a transfer that broke goes on where it was.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from resonaut.errors import InputError, unknown_name
from resonaut.processors.transfer import CHECKSUM_LENGTHS, TIMEOUT, download, unreachable
from resonaut.processors.unpack import is_archive
from resonaut.processors.unpack import unpack as unpack_archive

__all__ = ("ARCHIVES", "DATASETS", "ZENODO", "RemoteDataset", "RemoteFile", "fetch", "list_files")

ZENODO = "https://zenodo.org/api/records"
CERN = "https://opendata.cern.ch/api/records"
CHECKSUM = re.compile(r"([a-z0-9]+):([0-9a-f]+)")


@dataclass(frozen=True)
class RemoteDataset:
    """A data set: the number of its record, its DOI, what it is, and the archive that keeps it, a name in `ARCHIVES`."""

    record: int
    doi: str
    title: str
    archive: str = "zenodo"


DATASETS = {
    "darkmachines": RemoteDataset(
        3961917, "10.5281/zenodo.3961917", "Dark Machines anomaly-score challenge (arXiv:2105.14027)"
    ),
    "lhco-rd": RemoteDataset(
        4536377, "10.5281/zenodo.4536377", "LHC Olympics 2020, R&D data set: particles and features (arXiv:2101.08320)"
    ),
    "lhco-boxes": RemoteDataset(
        4536624, "10.5281/zenodo.4536624", "LHC Olympics 2020, black boxes and background sample (arXiv:2101.08320)"
    ),
    "lhco-qcd": RemoteDataset(
        8370758, "10.5281/zenodo.8370758", "Further QCD events in the signal region of the LHC Olympics R&D data set"
    ),
    "lhco-signals": RemoteDataset(
        11188685, "10.5281/zenodo.11188685", "Signals of many masses for the LHC Olympics R&D data set, W' to X Y"
    ),
    "cms-dimuon": RemoteDataset(
        12341, "10.7483/OPENDATA.CMS.LVG5.QT81", "CMS 2012 dimuons, NanoAOD reduced to muons, 2 GB", "cern"
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


def list_files(name: str, only: str | None = None, *, base_url: str | None = None) -> list[RemoteFile]:
    """Files of a data set, as its record lists them now, in the order of their names.

    Parameters
    ----------
    name : a name in `DATASETS`.
    only : pattern of file names such as "*channel2a*"; all files without it.
    base_url : address of the records, for a copy of the archive.

    Raises
    ------
    InputError
        If there is no such data set, the record cannot be reached or understood, or no file fits the pattern.
    """
    if name not in DATASETS:
        raise InputError(unknown_name("data set", name, DATASETS))
    home, entries_of = ARCHIVES[DATASETS[name].archive]
    address = f"{(base_url or home).rstrip('/')}/{DATASETS[name].record}"
    entries = entries_of(address, _read_record(address))
    if not entries:
        msg = f"{address}: the record lists no files; see https://doi.org/{DATASETS[name].doi} in a browser"
        raise InputError(msg)
    files = sorted((_checked(address, *entry) for entry in entries), key=lambda file: file.name)
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
        raise InputError(unreachable(address, error)) from error
    except ValueError as error:
        msg = (
            f"{address}: the answer is not JSON ({error}); is this the address of a record, or a login page in between?"
        )
        raise InputError(msg) from error


def _lacks(address: str, error: BaseException, entry: Any, expected: str) -> InputError:
    return InputError(f"{address}: an entry of the record has no {error}; expected {expected}: {entry!r}")


def _zenodo_entries(address: str, record: Any) -> list[tuple[Any, Any, Any, Any]]:
    """(name, size, checksum, address) of each file."""
    entries = record.get("files") if isinstance(record, dict) else None
    out = []
    for entry in entries if isinstance(entries, list) else []:
        try:
            out.append((entry["key"], entry["size"], entry["checksum"], entry["links"]["self"]))
        except (KeyError, TypeError) as error:
            raise _lacks(address, error, entry, "key, size, checksum and links.self") from error
    return out


def _cern_entries(address: str, record: Any) -> list[tuple[Any, Any, Any, Any]]:
    """(name, size, checksum, address) of each file; the portal serves by HTTP what it lists by XRootD."""
    found = record.get("metadata") if isinstance(record, dict) else None
    found = found if isinstance(found, dict) else {}
    groups = [found.get("files"), *(index.get("files") for index in found.get("_file_indices") or [])]
    base = urlsplit(address)
    out = []
    for entry in [entry for group in groups if isinstance(group, list) for entry in group]:
        try:
            uri, size, checksum = str(entry["uri"]), entry["size"], entry["checksum"]
        except (KeyError, TypeError) as error:
            raise _lacks(address, error, entry, "uri, size and checksum") from error
        path = "/" + urlsplit(uri).path.lstrip("/")
        out.append((PurePosixPath(path).name, size, checksum, f"{base.scheme}://{base.netloc}{path}"))
    return list(dict.fromkeys(out))  # a file may be listed both ways


ARCHIVES: dict[str, tuple[str, Callable[[str, Any], list[tuple[Any, Any, Any, Any]]]]] = {
    "zenodo": (ZENODO, _zenodo_entries),
    "cern": (CERN, _cern_entries),
}
"""Where records are, and how the files of one are found in it, by the name of the archive."""


def _checked(address: str, name: Any, size: Any, checksum: Any, url: Any) -> RemoteFile:
    """A file of the record's list; nothing of it is taken on trust."""
    if not isinstance(name, str) or name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name:
        msg = f"{address}: the record has a file called {name!r}, expected a plain name without folders"
        raise InputError(msg)
    found = CHECKSUM.fullmatch(checksum) if isinstance(checksum, str) else None
    if found is None or len(found[2]) != CHECKSUM_LENGTHS.get(found[1]):
        msg = f"{address}: the checksum of {name} is {checksum!r}, expected md5:..., so that it cannot be verified"
        raise InputError(msg)
    if not isinstance(size, int) or size < 0:
        msg = f"{address}: the size of {name} is {size!r}, expected a number of bytes"
        raise InputError(msg)
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        msg = f"{address}: the address of {name} is {url!r}, expected https://..."
        raise InputError(msg)
    return RemoteFile(name, size, checksum, url)


def fetch(
    name: str,
    folder: str | os.PathLike[str],
    only: str | None = None,
    *,
    unpack: bool = False,
    progress: bool = True,
    base_url: str | None = None,
) -> list[Path]:
    """Fetch the files of a data set into a folder, each verified against the record's checksum.

    A file that is there with the right checksum is left alone; one with a wrong checksum is fetched anew. A file gets its
    name when it is whole and verified, never before; what came before a connection broke is kept, and continued.

    Parameters
    ----------
    name : a name in `DATASETS`.
    folder : where the files go; made if it is not there.
    only : pattern of file names such as "*channel2a*"; all files without it.
    unpack : unpack archives (tar, zip) into folders of their names beside them.
    progress : show bars.
    base_url : address of the records.

    Returns
    -------
    Paths of the files, and of the folders in place of archives that were unpacked.

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
    paths = []
    for file in files:
        with _bar(file, show=progress) as report:
            download(file.url, target / file.name, file.size, file.checksum, report)
        paths.append(target / file.name)
    return [unpack_archive(path) if unpack and is_archive(path) else path for path in paths]


@contextmanager
def _bar(file: RemoteFile, *, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told the number of bytes that are there."""
    if not show:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as bars:
        task = bars.add_task(file.name, total=file.size)
        yield lambda there: bars.update(task, completed=there)
