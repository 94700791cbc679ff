"""From a fileset to chunks of work: which source reads which file, how many events, which rows go together."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import cloudpickle

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.files import digest
from resonaut.processors.identity import source_code
from resonaut.processors.running.faults import with_retries
from resonaut.processors.running.fingerprint import Stamp, content_digest, stamp
from resonaut.processors.sources.registry import Source, recognise, source

__all__ = ("DUPLICATES", "Chunk", "InputFile", "Plan", "cut", "find_files", "make_plan")

log = logging.getLogger(__name__)

DATASET_KEYS = ("files", "metadata", "source", "treename")
DUPLICATES = ("error", "drop", "keep")
"""What is done about events that are there twice."""


def _pickled(found: Source) -> bytes:
    """A source of the user's for workers; nothing where it cannot travel, or where they have it by its name."""
    if type(found).__module__.partition(".")[0] == "resonaut":
        return b""
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
        return bytes(cloudpickle.dumps(found))
    return b""


@dataclass(frozen=True)
class InputFile:
    """A file of a dataset as it was found: its source, content digest and number of events.

    Of a source that is not ours, `reader` has the code, and `own` the source itself, which workers do not know by its name.
    """

    dataset: str
    path: str
    tree: str | None
    source: str
    digest: str
    events: int
    metadata: dict[str, Any] = field(default_factory=dict, compare=False)
    stamp: Stamp | None = field(default=None, compare=False, repr=False)
    reader: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    own: bytes = field(default=b"", compare=False, repr=False)

    def open_source(self) -> Source:
        """The source that reads this file, in any process."""
        found: Source = cloudpickle.loads(self.own) if self.own else source(self.source)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For provenance: what identifies the input."""
        return {
            "dataset": self.dataset,
            "file": self.path,
            "tree": self.tree,
            "source": self.source,
            "digest": self.digest,
            "events": self.events,
            "metadata": self.metadata,
        }


@dataclass(frozen=True)
class Chunk:
    """Rows start..stop of a file, one unit of work, without the rows that are `dropped` as duplicates."""

    index: int
    file: InputFile
    start: int
    stop: int
    dropped: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def key(self) -> str:
        """Hash of everything about the input that a result depends on; a moved or renamed file keeps it."""
        file = self.file
        what = (file.dataset, file.metadata, file.source, file.reader, file.tree, file.digest)
        return digest(*what, self.start, self.stop, self.dropped)


@dataclass(frozen=True)
class Plan:
    """All chunks of a fileset, and the files that have none.

    Parameters
    ----------
    files : those that could be opened.
    chunks : of them, numbered from 0.
    failed : {file: reason} of those that could not be opened.
    copies : {(dataset, file): first} of those left out, because another of the dataset has the same content.
    unread : {(dataset, file): reason} of those left out, because it cannot be told whether their events are duplicates.
    retries : readings that were tried again.
    """

    files: tuple[InputFile, ...]
    chunks: tuple[Chunk, ...]
    failed: dict[str, str]
    copies: dict[tuple[str, str], str] = field(default_factory=dict)
    unread: dict[tuple[str, str], str] = field(default_factory=dict)
    retries: int = 0


def _entries(name: str, value: Any) -> tuple[list[tuple[str, str | None]], dict[str, Any], Any]:
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


@dataclass
class _Finder:
    """Opens the files of a fileset once and notes what is wrong with them."""

    on_bad_file: str
    duplicates: str
    retries: int
    pause: float
    failed: dict[str, str] = field(default_factory=dict)
    copies: dict[tuple[str, str], str] = field(default_factory=dict)
    retried: int = 0

    def files(self, fileset: Mapping[str, Any]) -> Iterator[InputFile]:
        for dataset, value in fileset.items():
            entries, metadata, reader = _entries(dataset, value)
            if reader is not None:
                reader = source(reader).name  # one that is not known is a mistake in the call, never a bad file
            seen: dict[str, InputFile] = {}
            for path, tree in entries:
                found = self._open(dataset, path, tree, reader, metadata)
                if found is None:
                    continue
                yield found
                if (first := seen.setdefault(found.digest + (tree or ""), found)) is not found:
                    self._copy(first, found)

    def _copy(self, first: InputFile, second: InputFile) -> None:
        """Two names for the same content in one dataset."""
        if self.duplicates == "error":
            msg = (
                f"{second.path} and {first.path} hold the same bytes: their {second.events} events would count twice; "
                'leave one out, or say duplicates="drop" (or "keep")'
            )
            raise InputError(msg)
        if self.duplicates == "drop":
            self.copies[second.dataset, second.path] = first.path

    def _open(
        self, dataset: str, path: str, tree: str | None, reader: Any, metadata: dict[str, Any]
    ) -> InputFile | None:
        def look() -> InputFile:
            state = stamp(path)  # before anything is read, so that a later change shows
            name = recognise(path) if reader is None else source(reader).name
            content = content_digest(
                path
            )  # before the events are counted: they are those of this content or of a later one
            found = source(name)
            events = found.n_events(path, tree)
            code, own = source_code(found), _pickled(found)
            return InputFile(dataset, path, tree, name, content, events, metadata, state, code, own)

        try:
            found, again = with_retries(look, retries=self.retries, pause=self.pause, what=path)
        except (InputError, OSError) as error:
            if self.on_bad_file == "raise":
                raise
            log.warning("skipping file: %s", error)
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
            self.failed[path] = f"{error}{notes}"
            self.retried += self.retries * bool(notes)
            return None
        self.retried += again
        return found


def _ranges(events: int, chunksize: int) -> Iterator[tuple[int, int]]:
    """Chunks of nearly equal size, none above `chunksize`; an empty file is one empty chunk."""
    pieces = max(1, -(-events // chunksize))
    bounds = [events * i // pieces for i in range(pieces + 1)]
    yield from pairwise(bounds)


def cut(plan: Plan, chunksize: int | Mapping[str, int]) -> Plan:
    """The same files in chunks of at most `chunksize` events; one size for all, or {source: size}."""
    sizes = dict.fromkeys({file.source for file in plan.files}, chunksize) if isinstance(chunksize, int) else chunksize
    rows = [
        (file, start, stop)
        for file in plan.files
        if (file.dataset, file.path) not in plan.copies
        for start, stop in _ranges(file.events, sizes[file.source])
    ]
    chunks = tuple(Chunk(i, file, start, stop) for i, (file, start, stop) in enumerate(rows))
    return replace(plan, chunks=chunks)


def find_files(
    fileset: Mapping[str, Any],
    *,
    on_bad_file: str = "raise",
    duplicates: str = "error",
    retries: int = 0,
    pause: float = 0.5,
) -> Plan:
    """Open every file of a fileset once: a plan without chunks.

    Parameters
    ----------
    fileset, on_bad_file : as for `make_plan`.
    duplicates : two files of a dataset with the same content are an "error", the second is left out ("drop"), or both
        are read ("keep").
    retries, pause : repetitions after a transient error, and the seconds before the first of them.

    Raises
    ------
    InputError
        For a file that cannot be opened, with `on_bad_file="raise"`, or is there twice, with `duplicates="error"`.
    ConfigError
        For a fileset that makes no sense: no files, a file listed twice, unknown keys.
    """
    if not fileset:
        msg = "the fileset is empty, expected {dataset: [files]}"
        raise ConfigError(msg)
    if duplicates not in DUPLICATES:
        raise ConfigError(unknown_name("value of duplicates", str(duplicates), DUPLICATES))
    finder = _Finder(on_bad_file, duplicates, retries, pause)
    files = tuple(finder.files(fileset))
    return Plan(files, (), finder.failed, finder.copies, retries=finder.retried)


def make_plan(
    fileset: Mapping[str, Any],
    *,
    chunksize: int | Mapping[str, int] = 10_000,
    on_bad_file: str = "raise",
    duplicates: str = "error",
) -> Plan:
    """Open every file of a fileset once and cut it into chunks.

    Parameters
    ----------
    fileset : {dataset: files}, with files a path, a list of paths, {path: tree}, or coffea's
        {"files": ..., "metadata": {...}}, optionally with "source" (a name in `SOURCES`, or a `ColumnMap` or its plain data) and "treename".
    chunksize : most events in a chunk, or {source: most events}.
    on_bad_file : "raise", or "skip" to list files that cannot be opened in `failed`.
    duplicates : what is done about files of the same content, see `find_files`.

    Raises
    ------
    InputError
        For a file that cannot be opened, with `on_bad_file="raise"`, or is there twice, with `duplicates="error"`.
    ConfigError
        For a fileset that makes no sense: no files, a file listed twice, unknown keys.
    """
    if isinstance(chunksize, int) and chunksize < 1:
        msg = f"chunksize is {chunksize}, expected at least 1"
        raise ConfigError(msg)
    return cut(find_files(fileset, on_bad_file=on_bad_file, duplicates=duplicates), chunksize)
