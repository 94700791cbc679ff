"""Scores back beside the events: one friend file per input file, its rows in the order of the input's events.

A friend is a ROOT tree for `TTree::AddFriend`, RDataFrame and uproot, or a Parquet table to join by event numbers. It has one row
per input event, whatever becomes of the event: scores are NaN where an event has none.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea.processor import ProcessorABC, column_accumulator

from resonaut import __version__
from resonaut.errors import ConfigError, IncompleteError, InputError, ModelError
from resonaut.files import digest
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.friend_files import FORMATS, read_friend_provenance, write_friend
from resonaut.processors.identity import config_hash, processor_config
from resonaut.processors.running.plan import InputFile, make_plan
from resonaut.processors.running.run import run_processor
from resonaut.processors.selection import Column, Columns, SavedScorer, columns_of, mass_of
from resonaut.processors.sources.tables import TABLE
from resonaut.processors.variations import is_plain, variations_of, varied

__all__ = ("FriendProcessor", "FriendReport", "find_scorers", "write_friends")

EVENT_IDS = ("run", "luminosityBlock", "event")
UNSCORED = "no score: a feature is not finite"
_CARD = "card.json"
_NO_PART = ("scores", "scorer")  # of a path in a run directory: the same for all scorers


def find_scorers(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Saved scorers by the name of their branch: that of a folder, or all of a run directory.

    Parameters
    ----------
    path : folder that a scorer was saved in, or one with such folders in it, at any depth: a search's run directory has them
        as ``scores/METHOD/WINDOW/scorer``, which become METHOD_WINDOW.

    Raises
    ------
    ModelError
        If there is none.
    """
    top = Path(path)
    if (top / _CARD).is_file():
        return {_own_name(top): top}
    found: dict[str, Path] = {}
    inside: list[Path] = []
    for card in sorted(top.rglob(_CARD), key=lambda each: (len(each.parts), str(each))):
        folder = card.parent
        hidden = any(part.startswith(".") for part in folder.relative_to(top).parts)
        if hidden or any(folder.is_relative_to(scorer) for scorer in inside):
            continue  # half-written, or a fold of a scorer that was found
        inside.append(folder)
        found[_branch(folder.relative_to(top).parts)] = folder
    if not found:
        msg = (
            f"no saved scorer in or below {top}: give the folder that scorer.save(folder) wrote, or the run directory of a search "
            "(with scores/METHOD/WINDOW/scorer)"
        )
        raise ModelError(msg)
    return dict(sorted(found.items()))


def _own_name(folder: Path) -> str:
    """METHOD_WINDOW for a scorer in a run directory, else its folder's name; what it is, if that is just "scorer"."""
    parts = folder.resolve().parts
    if parts[-4:-3] == (_NO_PART[0],):
        return _branch(parts[-3:])
    if parts[-1] != _NO_PART[1]:
        return _branch(parts[-1:])
    card = SavedScorer(os.fspath(folder)).card
    return _branch([str(card["options"].get("scorer", card["scorer"]))])


def _branch(parts: Sequence[str]) -> str:
    """Name that ROOT and C++ take."""
    kept = [part for part in parts if part not in _NO_PART] or list(parts[-1:])
    return _identifier("_".join(kept))


def _identifier(name: str) -> str:
    made = re.sub(r"\W", "_", name)
    return made if not made[:1].isdigit() else f"score_{made}"


class FriendProcessor(ProcessorABC):  # type: ignore[misc] # coffea is untyped
    """Scores of every event, selected or not, in the order of the file.

    `process` returns, under the dataset's name, `table` (`run`, `luminosityBlock`, `event` as far as the file has them, without any
    of them the entry in the file as `event`; then one column per scorer, NaN where an event has no score), `unscored` (events
    without a score, for each scorer) and `skipped` (events without any, for the ledger). Scores in a systematic variation V of the
    events, of `corrections` or of the parallel columns of an event table, are columns SCORE__V, as in event tables.

    Parameters
    ----------
    scorers : {name of the column: folder of a saved scorer}.
    columns : where features come from: see `AnomalySelection`. The columns of an event table are always taken as they are.
    mass : the resonant mass, GeV; the builder's own variable where not given, else "mjj".
    corrections : of simulated events, with their variations: a `Corrections`. Event tables have theirs.
    """

    def __init__(
        self,
        scorers: Mapping[str, str | os.PathLike[str]],
        columns: Columns | None = None,
        *,
        mass: Column | None = None,
        corrections: Any = None,
    ) -> None:
        self.columns = DijetFeatures() if columns is None else columns
        self.mass: Column = getattr(self.columns, "variable", "mjj") if mass is None else mass
        self.corrections = corrections
        self.scorers = {name: SavedScorer(os.fspath(folder)) for name, folder in scorers.items()}
        wrong = [name for name in self.scorers if name in EVENT_IDS or _identifier(name) != name]
        if wrong or not self.scorers:
            msg = f"columns of scores are {list(self.scorers)}, expected at least one, letters, digits and _, none of {EVENT_IDS}"
            raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that the scores depend on."""
        return {
            "scorers": {name: saved.card["digest"] for name, saved in self.scorers.items()},
            "columns": _described(self.columns),
            "mass": _described(self.mass),
            "corrections": None if self.corrections is None else self.corrections.config,
        }

    def process(self, events: Any) -> dict[str, Any]:
        """Event numbers and scores of a chunk of events."""
        metadata = events.metadata or {}
        table: dict[str, npt.NDArray[Any]] = _event_numbers(events, metadata)
        unscored: dict[str, int] = {}
        some = np.zeros(len(events), dtype=bool)
        for variation, shifted, given in self._variations(events, metadata):
            mass = mass_of(shifted, given, self.mass)
            for name, saved in self.scorers.items():
                found = saved.score(columns_of(shifted, given, saved.scorer.features), mass)
                column = varied(name, variation) if variation else name
                table[column], unscored[column] = found.scores, found.skipped
                some |= found.scored
        return {
            str(metadata.get("dataset", "events")): {
                "table": {name: column_accumulator(values) for name, values in table.items()},
                "unscored": unscored,
                "skipped": {UNSCORED: int(np.count_nonzero(~some))} if not some.all() else {},
            }
        }

    def _variations(
        self, events: Any, metadata: Mapping[str, Any]
    ) -> Iterator[tuple[str | None, Any, Mapping[str, Any]]]:
        """Variation (None: nominal), events and columns, one after another: of a large chunk not all are in memory."""
        if metadata.get(TABLE):
            for variation, given in self._varied_tables({name: events[name] for name in ak.fields(events)}):
                yield variation, events, given
            return
        for variation in (None, *(self.corrections.event_variations if self.corrections is not None else ())):
            shifted = events if self.corrections is None else self.corrections.events(events, variation)
            yield variation, shifted, self.columns(shifted) if callable(self.columns) else self.columns

    def _varied_tables(self, columns: Mapping[str, Any]) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
        """The columns of a table as they are, then of each variation that changes what a score depends on."""
        yield None, columns
        read = {name for saved in self.scorers.values() for name in saved.scorer.features}
        read |= {self.mass} if isinstance(self.mass, str) else set()
        for variation in variations_of(columns):
            if any(varied(name, variation) in columns for name in read):
                plain = filter(is_plain, columns)
                yield variation, {name: columns.get(varied(name, variation), columns[name]) for name in plain}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Nothing is left to do."""
        return accumulator


def _described(what: Any) -> Any:
    """Plain data that tell one builder or column from another; `config_hash` adds their code."""
    return what if isinstance(what, str) else processor_config(what)


def _event_numbers(events: Any, metadata: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    found = {name: ak.to_numpy(events[name]).astype(np.int64) for name in EVENT_IDS if name in ak.fields(events)}
    if "event" not in found:
        found["event"] = int(metadata.get("entrystart", 0)) + np.arange(len(events), dtype=np.int64)
    return found


@dataclass(frozen=True)
class FriendReport:
    """What `write_friends` did.

    Parameters
    ----------
    written, kept : {input file: friend}, made now and found from an earlier run.
    failed : {input file: reason} of files without a friend.
    events : rows of the friends written now.
    unscored : {score: rows of the friends written now that are NaN}.
    """

    written: dict[str, Path] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    events: int = 0
    unscored: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every input file has its friend."""
        return not self.failed

    def require_complete(self) -> FriendReport:
        """Itself, or `IncompleteError` if files have no friend."""
        if self.failed:
            msg = f"{len(self.failed)} files have no friend: {'; '.join(self.failed.values())}. Repair them, then run again"
            raise IncompleteError(msg)
        return self


def write_friends(
    files: Iterable[str | os.PathLike[str]],
    scorers: Mapping[str, str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    columns: Columns | None = None,
    mass: Column | None = None,
    corrections: Any = None,
    treename: str | None = None,
    format: str = "root",
    friend_tree: str = "Friends",
    on_bad_file: str = "raise",
    cache_dir: str | os.PathLike[str] | None = None,
    **running: Any,
) -> FriendReport:
    """Score all events of files, and write a friend of the same name for each file.

    Parameters
    ----------
    files : event files of any source, or event tables.
    scorers : {name of the branch: folder of a saved scorer}, or a folder for `find_scorers`.
    out : folder for the friends. Files of one name from several folders keep as much of their paths as tells them apart.
    columns, mass, corrections : of the features, and their systematic variations: see `FriendProcessor`.
    treename : tree in the input files, where it is not the one that their source reads.
    format : "root" or "parquet".
    friend_tree : name of the tree in ROOT friends.
    on_bad_file : "raise", or "skip" files that cannot be read: they get no friend and are reported.
    cache_dir : where finished chunks are kept until all friends are written; in `out` where not given.
    running : duplicates ("keep" here: a friend has a row for every row), executor, workers, scheduler, chunksize, progress of `run_processor`.

    Returns
    -------
    FriendReport

    Raises
    ------
    InputError
        For a file that cannot be read, lacks a feature, or would be overwritten by its friend.
    ModelError
        If there is no scorer.
    ConfigError
        For an unknown format.

    Notes
    -----
    A friend is written whole or not at all, when all chunks of its file are scored. One that is there and was made of the same
    file content, scorers, features and version is kept: a run that was interrupted goes on.
    """
    if format not in FORMATS:
        msg = f"format is {format!r}, expected one of {', '.join(FORMATS)}"
        raise ConfigError(msg)
    given = scorers if isinstance(scorers, Mapping) else find_scorers(scorers)
    processor = FriendProcessor(given, columns, mass=mass, corrections=corrections)
    targets = _targets([os.fspath(path) for path in files], Path(out), format)
    plan = make_plan(_fileset(targets, treename), on_bad_file=on_bad_file)
    jobs = {
        file.path: _Job(file, targets[file.path], friend_tree, _provenance(processor, file, friend_tree))
        for file in plan.files
    }
    kept = {path: job.target for path, job in jobs.items() if job.done}
    pending = [path for path in jobs if path not in kept]
    report = FriendReport(kept=kept, failed=dict(plan.failed), unscored={})
    if not pending:
        return report
    cache = Path(cache_dir) if cache_dir is not None else Path(out) / f".chunks-{digest(sorted(targets))}"
    fileset = _fileset({path: targets[path] for path in pending}, treename)
    result = run_processor(
        fileset, processor, on_bad_file=on_bad_file, cache_dir=cache, **{"duplicates": "keep", **running}
    )
    return _write_all(result, [jobs[path] for path in pending], report, cache, own_cache=cache_dir is None)


def _fileset(paths: Iterable[str], treename: str | None) -> dict[str, Any]:
    """One dataset per file: rows of one file are never mixed with another's."""
    return {path: {"files": [path], "treename": treename} for path in paths}


def _targets(paths: Sequence[str], out: Path, format: str) -> dict[str, Path]:
    """Friend of each file: its name in `out`, under as much of its path as tells files of one name apart."""
    if not paths or len(set(paths)) < len(paths):
        msg = f"got {len(paths)} files, {len(set(paths))} different ones: give at least one, and none twice"
        raise InputError(msg)
    names = {path: [part for part in path.split("/") if part not in ("", ".", "..")] for path in paths}
    depth = 1
    while len({tuple(name[-depth:]) for name in names.values()}) < len(paths):
        if depth >= max(len(name) for name in names.values()):
            msg = f"the paths {list(paths)[:4]} ... name one file twice: give each once"
            raise InputError(msg)
        depth += 1
    suffix = f".{format}"
    found = {path: out.joinpath(*name[-depth:]).with_suffix(suffix) for path, name in names.items()}
    for path, target in found.items():
        if target.exists() and "://" not in path and Path(path).exists() and target.samefile(path):
            msg = f"the friend of {path} would overwrite it: give another folder for the friends"
            raise InputError(msg)
    if len(set(found.values())) < len(found):
        msg = "files that differ in their endings alone would have one friend: score them into different folders"
        raise InputError(msg)
    return found


def _provenance(processor: FriendProcessor, file: InputFile, tree: str) -> dict[str, Any]:
    """Where a friend's scores are from; `key` is equal for equal scores."""
    kept = ("scorer", "features", "window", "digest", "version")
    about = {name: {key: saved.card.get(key) for key in kept} for name, saved in processor.scorers.items()}
    content = {"input": file.to_dict(), "scorers": about, "columns": processor.config["columns"]}
    content |= {"mass": processor.config["mass"], "corrections": processor.config["corrections"]}
    key = digest(config_hash(processor), tree, file.digest, file.tree, file.source, file.events)
    return {**content, "key": key}


@dataclass(frozen=True)
class _Job:
    """One friend to be written."""

    file: InputFile
    target: Path
    tree: str
    provenance: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether the friend is there, of the same scorers and the same input, written by this version."""
        try:
            found = read_friend_provenance(self.target)
        except InputError:
            return False
        return found.get("key") == self.provenance["key"] and found.get("version") == __version__


def _write_all(
    result: Any, jobs: Sequence[_Job], report: FriendReport, cache: Path, *, own_cache: bool
) -> FriendReport:
    events = 0
    for job in jobs:
        path = job.file.path
        found = result.output.get(path)
        table = result.table(path) if found is not None else {}
        if not table or len(table["event"]) != job.file.events:
            reason = result.ledger.files_failed.get(path, "not all of its events could be read")
            report.failed[path] = reason
            continue
        counts = {name: int(count) for name, count in found["unscored"].items()}
        provenance = {**job.provenance, "events": job.file.events, "unscored": counts}
        write_friend(job.target, table, provenance, tree=job.tree)
        report.written[path] = job.target
        events += job.file.events
        for name, count in counts.items():
            report.unscored[name] = report.unscored.get(name, 0) + count
    if own_cache and not report.failed:
        shutil.rmtree(cache, ignore_errors=True)
    return FriendReport(report.written, report.kept, report.failed, events, report.unscored)
