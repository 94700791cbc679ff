"""Which files of a folder belong to which channel, and what they hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from resonaut.errors import InputError
from resonaut.files import file_digest
from resonaut.processors.objects.channels import CHANNELS

__all__ = ("ChannelFiles", "find_challenge")

_CHANNEL = re.compile(r"chan(?:nel)?[_-]?(1|2a|2b|3)(?![0-9a-z])", re.IGNORECASE)
_SUFFIXES = (".csv", ".csv.gz")


@dataclass
class ChannelFiles:
    """Files of one channel.

    Parameters
    ----------
    training
        Background to learn from.
    test
        Background to measure on; empty where the challenge has one file for both (its last tenth is for tests).
    signals
        File of each signal by its name.
    secret
        Files whose events are told apart by their process: those that the training has are background.
    """

    training: list[Path] = field(default_factory=list)
    test: list[Path] = field(default_factory=list)
    signals: dict[str, Path] = field(default_factory=dict)
    secret: list[Path] = field(default_factory=list)

    @property
    def content(self) -> dict[str, Any]:
        """Digests of the files by their role, JSON-able."""
        return {
            "training": [_digest(path) for path in self.training],
            "test": [_digest(path) for path in self.test],
            "signals": {name: _digest(path) for name, path in self.signals.items()},
            "secret": [_digest(path) for path in self.secret],
        }


def _digest(path: Path) -> str:
    """Digest of a file, read again only if it has changed since."""
    state = path.stat()
    return _digest_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest_of(path: Path, _size: int, _written: int) -> str:
    return file_digest(path)


def find_challenge(folder: Path) -> dict[str, ChannelFiles]:
    """Files of each channel below a folder.

    A file belongs to the channel that its name or its folder names: ``channel1/background_train.csv.gz`` as well as
    ``background_chan1_7.79.csv``. ``background...`` holds background (``...test...`` that of the test), ``...secret...`` or
    ``...blackbox...`` the secret events, anything else a signal, named as the file without ``sig_`` and the channel.

    Raises
    ------
    InputError
        If there is no channel with background and a signal (or secret events), a file lies there twice (compressed and not), or two
        signals of a channel have one name.
    """
    channels: dict[str, ChannelFiles] = {}
    for path in sorted(folder.rglob("*.csv*")):
        if not path.name.endswith(_SUFFIXES):
            continue
        found = [match.group(1).lower() for match in _CHANNEL.finditer(str(path.relative_to(folder)))]
        if not found:
            continue
        if path.name.endswith(".csv") and path.with_name(f"{path.name}.gz").exists():
            msg = f"{path} lies there compressed too: its events would be taken twice, remove one of the files"
            raise InputError(msg)
        _add(channels.setdefault(found[-1], ChannelFiles()), path)
    usable = {name: channels[name] for name in CHANNELS if name in channels and channels[name].training}
    usable = {name: files for name, files in usable.items() if files.signals or files.secret}
    if not usable:
        msg = (
            f"{folder}: no channel with background and signals. Expected files such as channel1/background_train.csv.gz and "
            "channel1/sig_NAME.csv.gz, or background_chan1_7.79.csv and NAME_chan1.csv; `resonaut fetch darkmachines` gets those "
            "of the challenge"
        )
        raise InputError(msg)
    return usable


def _add(files: ChannelFiles, path: Path) -> None:
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    plain = stem.lower()
    if "secret" in plain or "blackbox" in plain:
        files.secret.append(path)
    elif plain.startswith("background"):
        (files.test if "test" in plain else files.training).append(path)
    else:
        name = _CHANNEL.sub("", stem).removeprefix("sig_").strip("_-.")
        name = re.sub(r"[_-]{2,}", "_", name)
        if name in files.signals:
            msg = f"{path} and {files.signals[name]} are both signal {name!r} of one channel: rename one"
            raise InputError(msg)
        files.signals[name] = path
