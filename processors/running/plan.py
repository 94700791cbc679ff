"""From a fileset to chunks of work: which source reads which file, how many events, which rows go together."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import uproot

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.files import digest, file_digest
from resonaut.processors.sources.registry import recognise, source

__all__ = ("Chunk", "InputFile", "Plan", "make_plan")

log = logging.getLogger(__name__)

DATASET_KEYS = ("files", "metadata", "source", "treename")


@dataclass(frozen=True)
class InputFile:
    """A file of a dataset as it was found: its source, content digest and number of events."""

    dataset: str
    path: str
    tree: str | None
    source: str
    digest: str
    events: int
    metadata: dict[str, Any] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """For provenance: what identifies the input."""
        return {
            "dataset": self.dataset,
            "file": self.path,
            "source": self.source,
            "digest": self.digest,
            "events": self.events,
            "metadata": self.metadata,
        }


@dataclass(frozen=True)
class Chunk:
    """Rows start..stop of a file, one unit of work."""

    index: int
    file: InputFile
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def key(self) -> str:
        """Hash of everything about the input that a result depends on; a moved or renamed file keeps it."""
        file = self.file
        return digest(file.dataset, file.metadata, file.source, file.tree, file.digest, self.start, self.stop)


@dataclass(frozen=True)
class Plan:
    """All chunks of a fileset, and the files that could not be opened with the reason."""

    files: tuple[InputFile, ...]
    chunks: tuple[Chunk, ...]
    failed: dict[str, str]


def _entries(name: str, value: Any) -> tuple[list[tuple[str, str | None]], dict[str, Any], str | None]:
    """Files with their trees, metadata and source of one dataset of a fileset."""
    metadata: dict[str, Any] = {}
    reader = tree = None
    files = value
    if isinstance(value, Mapping) and "files" in value:
        for key in value:
            if key not in DATASET_KEYS:
                raise ConfigError(unknown_name(f"key of dataset {name!r}", str(key), DATASET_KEYS))
        files, metadata = value["files"], dict(value.get("metadata") or {})
        reader, tree = value.get("source"), value.get("treename")
    if isinstance(files, (str, os.PathLike)):
        files = [files]
    pairs = files.items() if isinstance(files, Mapping) else ((path, tree) for path in files)
    entries = [(os.fspath(path), own) for path, own in pairs]
    paths = [path for path, _ in entries]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if not entries or twice:
        msg = f"dataset {name!r} " + (f"has files more than once: {twice}" if twice else "has no files")
        raise ConfigError(msg)
    return entries, metadata, reader


def _content_digest(path: str) -> str:
    """Digest of a local file's content; of a remote one's identity, without reading it whole."""
    if "://" not in path:
        return file_digest(path)
    with uproot.open(path) as file:
        return digest(str(file.file.uuid), file.file.fEND)


def _inspect(fileset: Mapping[str, Any], failed: dict[str, str], on_bad_file: str) -> Iterator[InputFile]:
    for dataset, value in fileset.items():
        entries, metadata, reader = _entries(dataset, value)
        if reader is not None:
            source(reader)  # a name that is not known is a mistake in the call, never a bad file
        for path, tree in entries:
            try:
                name = reader or recognise(path)
                events = source(name).n_events(path, tree)
                yield InputFile(dataset, path, tree, name, _content_digest(path), events, metadata)
            except (InputError, OSError) as error:
                if on_bad_file == "raise":
                    raise
                log.warning("skipping file: %s", error)
                failed[path] = str(error)


def _ranges(events: int, chunksize: int) -> Iterator[tuple[int, int]]:
    """Chunks of nearly equal size, none above `chunksize`; an empty file is one empty chunk."""
    pieces = max(1, -(-events // chunksize))
    bounds = [events * i // pieces for i in range(pieces + 1)]
    yield from pairwise(bounds)


def make_plan(fileset: Mapping[str, Any], *, chunksize: int = 10_000, on_bad_file: str = "raise") -> Plan:
    """Open every file of a fileset once and cut it into chunks.

    Parameters
    ----------
    fileset : {dataset: files}, with files a path, a list of paths, {path: tree}, or coffea's
        {"files": ..., "metadata": {...}}, optionally with "source" (a name in `SOURCES`) and "treename".
    chunksize : most events in a chunk.
    on_bad_file : "raise", or "skip" to list files that cannot be opened in `failed`.

    Raises
    ------
    InputError
        For a file that cannot be opened, with `on_bad_file="raise"`.
    ConfigError
        For a fileset that makes no sense: no files, a file listed twice, unknown keys.
    """
    if not fileset:
        msg = "the fileset is empty, expected {dataset: [files]}"
        raise ConfigError(msg)
    if chunksize < 1:
        msg = f"chunksize is {chunksize}, expected at least 1"
        raise ConfigError(msg)
    failed: dict[str, str] = {}
    files = tuple(_inspect(fileset, failed, on_bad_file))
    rows = [(file, start, stop) for file in files for start, stop in _ranges(file.events, chunksize)]
    chunks = tuple(Chunk(i, file, start, stop) for i, (file, start, stop) in enumerate(rows))
    return Plan(files, chunks, failed)
