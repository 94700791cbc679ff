"""Archives of data sets, unpacked without trust: nothing leaves its folder, and the folder is whole or not there."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from resonaut.errors import InputError
from resonaut.files import atomic_dir

__all__ = ("is_archive", "unpack")

ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")


def _ending(name: str) -> str | None:
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), None)


def is_archive(path: Path) -> bool:
    """True for a name of a tar or zip archive; a single compressed file (.csv.gz) is none: it is read as it is."""
    return _ending(path.name) is not None


def unpack(path: Path) -> Path:
    """Unpack an archive into the folder of its name beside it; gives the folder. One that is there is left alone.

    Raises
    ------
    InputError
        If the file is no archive, is broken, or holds something that would not stay in the folder.
    """
    ending = _ending(path.name)
    if ending is None:
        msg = f"{path}: expected an archive ({', '.join(ENDINGS)})"
        raise InputError(msg)
    folder = path.with_name(path.name[: -len(ending)])
    if folder.is_dir():
        return folder
    if folder.exists():
        msg = f"cannot unpack {path}: {folder} is a file, expected to make a folder of that name"
        raise InputError(msg)
    extract: Callable[[Path, Path], None] = _unzip if ending == ".zip" else _untar
    try:
        with atomic_dir(folder) as temporary:
            extract(path, temporary)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        msg = f"{path}: cannot be unpacked, nothing is kept: {error}"
        raise InputError(msg) from error
    return folder


def _untar(path: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        msg = f"unpacking {path} safely needs Python 3.11.4 or newer; unpack it by hand"
        raise InputError(msg)
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            link = stat.S_ISLNK(entry.external_attr >> 16)
            if name.is_absolute() or ".." in name.parts or ":" in entry.filename or link:
                msg = f"{path}: {entry.filename!r} would not stay in the folder, nothing is unpacked"
                raise InputError(msg)
            target = folder.joinpath(*name.parts)
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
