"""Files of the Dark Machines anomaly-score challenge (arXiv:2105.14027): one event a line, a list of objects each.

    event ID; process ID; weight; MET; METphi; obj1,E1,pt1,eta1,phi1; obj2,E2,pt2,eta2,phi2; ...

Energies are in MeV in the files and in GeV everywhere else. Every line is read or counted with what is wrong with it.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resonaut.errors import ConfigError, InputError
from resonaut.files import atomic_path
from resonaut.processors.events.objects import OBJECT_KINDS, EventObjects
from resonaut.processors.sources.kernels_darkmachines import (
    COLLISION_ENERGY,
    REASONS,
    lines_end,
    pack_names,
    parse_lines,
)

__all__ = (
    "LAYOUT",
    "LineReader",
    "ObjectsRead",
    "ParsedLines",
    "check_units",
    "read_darkmachines",
    "write_darkmachines",
)

Bytes = npt.NDArray[np.uint8]

LAYOUT = "event ID;process ID;weight;MET;METphi;obj1,E1,pt1,eta1,phi1;obj2,... with energies in MeV"
GZIP_SIGNATURE = b"\x1f\x8b"
BLOCK = 8 * 1024 * 1024
TAIL = 64 * 1024  # where the end of the last line of a block is looked for first
BEYOND, BELOW = REASONS.index("energy beyond the collision energy"), REASONS.index("energy below pT")
LOWEST_MEDIAN = 1.0  # GeV: the softest objects of such samples have 15


class LineReader:
    """Lines of a text file, plain or gzip, in blocks of whole lines; memory stays that of a block.

    Raises
    ------
    InputError
        If the file is missing, truncated, corrupt or not made of lines.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 0  # lines given out that were not blank
        self.number = 0  # all lines given out
        self._rest = np.zeros(0, np.uint8)
        self._ended = False
        with self._explained():
            raw = Path(path).open("rb")  # noqa: SIM115 (closed by close)
            packed = raw.read(2) == GZIP_SIGNATURE
            raw.seek(0)
            self._raw: Any = raw
            self._file: Any = gzip.GzipFile(fileobj=raw) if packed else raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes of the file on disk that were read."""
        return int(self._raw.tell())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            msg = f"{self.path}: truncated or corrupt gzip file, copy it again ({error})"
            raise InputError(msg) from error
        except OSError as error:
            msg = f"{self.path}: cannot be read ({error.strerror or error})"
            raise InputError(msg) from error

    def _refill(self) -> None:
        with self._explained():
            more = self._file.read(BLOCK)
        self._ended = len(more) == 0
        self._rest = np.concatenate([self._rest, np.frombuffer(more, np.uint8)])
        if len(self._rest) > 2 * BLOCK:
            msg = f"{self.path}: a line of more than {BLOCK} bytes; expected text, {LAYOUT}"
            raise InputError(msg)

    def _whole(self) -> int:
        """Number of bytes at hand up to the end of the last whole line."""
        size = len(self._rest)
        if self._ended:
            return size
        for tail in (min(size, TAIL), size):
            last = self._rest[size - tail :].tobytes().rfind(b"\n")
            if last >= 0:
                return size - tail + last + 1
        return 0

    def blocks(self, lines: int | None = None) -> Iterator[Bytes]:
        """The next `lines` lines that are not blank, or all, as blocks of bytes."""
        left = np.iinfo(np.int64).max if lines is None else lines
        while left > 0:
            whole = self._whole()
            if whole == 0:
                if self._ended:
                    return
                self._refill()
                continue
            end, found, passed = lines_end(self._rest[:whole], 0, left)
            block, self._rest = self._rest[:end], self._rest[end:]
            self.line += found
            self.number += passed
            left -= found
            yield block


@dataclass(frozen=True)
class ParsedLines:
    """A block of lines as it was read: `status` of each is 0, or its place in `REASONS` and then it has no objects."""

    status: npt.NDArray[np.int8]
    where: npt.NDArray[np.int64]
    events: EventObjects
    data: Bytes

    @staticmethod
    def of(data: Bytes, max_objects: int | None = 20) -> ParsedLines:
        """Read a block of whole lines."""
        most = int(np.count_nonzero(data == ord("\n"))) + 1
        room = int(np.count_nonzero(data == ord(";"))) + 2
        status, where = np.zeros(most, np.int8), np.zeros((most, 3), np.int64)
        event, numbers, names = np.zeros(most, np.int64), np.zeros((most, 3)), np.zeros((most, 2), np.int64)
        counts, kind, four = np.zeros(most, np.int64), np.zeros(room, np.int8), np.zeros((room, 4))
        limit = -1 if max_objects is None else max_objects
        n, objects = parse_lines(data, limit, status, where, event, numbers, names, counts, kind, four)
        weight, met, met_phi = numbers[:n].T
        e, pt, eta, phi = four[:objects].T
        offsets = np.concatenate([[0], np.cumsum(counts[:n])])
        events = EventObjects(
            met, met_phi, weight, event[:n], _names(data, names[:n]), kind[:objects], e, pt, eta, phi, offsets
        )
        return ParsedLines(status[:n], where[:n], events, data)

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Which lines were read."""
        return np.asarray(self.status == 0)

    def text(self, line: int) -> str:
        """The beginning of a line, as an example."""
        _, start, stop = self.where[line]
        return self.data[start : min(stop, start + 80)].tobytes().decode("utf-8", "replace")


def _names(data: Bytes, names: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Text of each line's process; there are few different ones."""
    ends = np.concatenate([[0], np.cumsum(names[:, 1] - names[:, 0])])
    packed = np.zeros(int(ends[-1]), np.uint8)
    pack_names(data, names, ends, packed)
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(packed)]
    found = pa.Array.from_buffers(pa.binary(), len(names), buffers).dictionary_encode()
    texts = np.array([text.decode("latin-1") for text in found.dictionary.to_pylist()], np.str_)
    return texts[found.indices.to_numpy()] if len(names) else np.zeros(0, np.str_)


def check_units(path: str, status: npt.NDArray[np.int8], events: EventObjects) -> None:
    """Raise `InputError` if the energies of the lines of a file cannot be in MeV.

    Objects of such samples have a pT of at least 15 GeV and no more than the collision energy, so that GeV or keV, taken for
    MeV, put all of them outside. A few lines in the right unit do not hide a file that is in another.
    """
    beyond = int(np.count_nonzero(status == BEYOND))
    if beyond > np.count_nonzero(status == 0):
        msg = (
            f"{path}: {beyond} lines have an object of more than {COLLISION_ENERGY:g} GeV if the values are in MeV: "
            "values look like keV or a smaller unit, expected MeV"
        )
        raise InputError(msg)
    if not len(events.pt):
        return
    pt, energy = 1000 * np.median(events.pt), 1000 * np.quantile(events.e, 0.9)
    if pt < 1000 * LOWEST_MEDIAN or energy <= COLLISION_ENERGY:
        msg = (
            f"{path}: half of the objects have a pT below {pt:g} and 90 % an energy below {energy:g}: "
            "values look like GeV, expected MeV"
        )
        raise InputError(msg)


@dataclass(frozen=True)
class ObjectsRead:
    """Events of a file, and the books of its lines.

    Parameters
    ----------
    events : the events of all good lines.
    skipped : lines that were not read, by reason.
    examples : the first line of each reason, as "line 12: text".
    """

    events: EventObjects
    skipped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Lines of the file that are not blank."""
        return len(self.events) + sum(self.skipped.values())


def _reason(status: int, max_objects: int | None) -> str:
    return f"more than {max_objects} objects" if REASONS[status] == "too many objects" else REASONS[status]


def read_darkmachines(
    path: str | os.PathLike[str],
    *,
    on_bad_line: str = "skip",
    max_objects: int | None = 20,
    progress: bool = False,
) -> ObjectsRead:
    """Read a file of the Dark Machines challenge.

    Parameters
    ----------
    path : `.csv`, or the same through gzip.
    on_bad_line : "skip" to count bad lines by reason, "raise" to stop at the first.
    max_objects : lines with more objects are bad; `None` for no limit.
    progress : show a bar.

    Raises
    ------
    InputError
        If the file cannot be read to its end, no line of it is good, the energies cannot be in MeV or, with
        `on_bad_line="raise"`, at the first bad line.
    ConfigError
        For an unknown value of an option.
    """
    if on_bad_line not in ("skip", "raise") or (max_objects is not None and max_objects < 1):
        msg = f"on_bad_line is {on_bad_line!r} and max_objects {max_objects!r}, expected 'skip' or 'raise', 1 or more or None"
        raise ConfigError(msg)
    name = os.fspath(path)
    parts: list[EventObjects] = []
    statuses: list[npt.NDArray[np.int8]] = []
    examples: dict[str, str] = {}
    with LineReader(name) as reader, _bar(name, show=progress) as advance:
        before = 0
        for block in reader.blocks():
            parsed = ParsedLines.of(block, max_objects)
            _note_examples(parsed, before, max_objects, examples)
            if on_bad_line == "raise" and not _all_alike(parsed):
                _require_none(name, examples)
            statuses.append(parsed.status)
            parts.append(parsed.events.take(parsed.good) if not parsed.good.all() else parsed.events)
            before = reader.number
            advance(reader.position)
    status = np.concatenate([np.zeros(0, np.int8), *statuses])
    events = EventObjects.concatenate(parts)
    check_units(name, status, events)
    require_good(name, status, examples)
    if on_bad_line == "raise":
        _require_none(name, examples)
    counts = np.bincount(status, minlength=len(REASONS))
    skipped = {_reason(i, max_objects): int(counts[i]) for i in range(1, len(REASONS)) if counts[i]}
    return ObjectsRead(events, skipped, examples)


def _all_alike(parsed: ParsedLines) -> bool:
    """True where a report of one bad line would hide that the whole file has another unit or order of fields."""
    return any(np.count_nonzero(parsed.status == code) > np.count_nonzero(parsed.good) for code in (BEYOND, BELOW))


def _require_none(path: str, examples: dict[str, str]) -> None:
    """Raise `InputError` with the first of the bad lines, if there are any."""
    if examples:
        reason, example = min(examples.items(), key=lambda item: int(item[1].split(":", 1)[0].removeprefix("line ")))
        msg = f"{path}, {example!r}: {reason}; expected {LAYOUT}"
        raise InputError(msg)


def _note_examples(parsed: ParsedLines, before: int, max_objects: int | None, examples: dict[str, str]) -> None:
    for code in np.unique(parsed.status[parsed.status > 0]):
        line = int(np.argmax(parsed.status == code))
        text = f"line {before + int(parsed.where[line, 0]) + 1}: {parsed.text(line)}"
        examples.setdefault(_reason(int(code), max_objects), text)


def require_good(path: str, status: npt.NDArray[np.int8], examples: dict[str, str] | None = None) -> None:
    """Raise `InputError` if no line of a file is good."""
    if not len(status):
        msg = f"{path}: holds no lines; expected {LAYOUT}"
        raise InputError(msg)
    if not (status == 0).any():
        shown = "; ".join(f"{reason} ({example!r})" for reason, example in (examples or {}).items())
        msg = f"{path}: not one of {len(status)} lines can be read: {shown}. Expected {LAYOUT}"
        raise InputError(msg)


@contextmanager
def _bar(path: str, *, show: bool) -> Iterator[Any]:
    """A function that takes the bytes read so far, and draws them."""
    if not show:
        yield lambda _position: None
        return
    from rich.progress import Progress

    with Progress() as bars:
        task = bars.add_task(Path(path).name, total=Path(path).stat().st_size)
        yield lambda position: bars.update(task, completed=position)


def write_darkmachines(path: str | os.PathLike[str], events: EventObjects) -> None:
    """Write events in the layout of the challenge, whole or not at all; with a name that ends on `.gz`, through gzip.

    Raises
    ------
    InputError
        If a value is not finite, or the name of a process is empty or cannot be part of a line.
    """
    for name in ("met", "met_phi", "weight", "e", "pt", "eta", "phi"):
        if not np.isfinite(getattr(events, name)).all():
            msg = f"{name} holds values that are not finite; drop those events before writing {os.fspath(path)}"
            raise InputError(msg)
    for process in np.unique(events.process):
        if not process.strip() or not process.isascii() or not process.isprintable() or ";" in process:
            msg = f"the process {str(process)!r} cannot be written, expected printable ASCII without ';', not empty"
            raise InputError(msg)
    with atomic_path(path) as temporary:
        packed = os.fspath(path).endswith(".gz")
        raw: Any = gzip.open(temporary, "wb", 6) if packed else temporary.open("wb")  # noqa: SIM115 (closed below)
        with raw, io.TextIOWrapper(raw, encoding="ascii", newline="\n") as file:
            file.writelines(_written(events))


def _written(events: EventObjects) -> Iterator[str]:
    codes = [OBJECT_KINDS[k - 1] for k in events.kind]
    numbers = zip(codes, 1000 * events.e, 1000 * events.pt, events.eta, events.phi, strict=True)
    objects = [f";{k},{e:.12g},{pt:.12g},{eta:.12g},{phi:.12g}" for k, e, pt, eta, phi in numbers]
    for i in range(len(events)):
        head = f"{events.event[i]};{events.process[i]};{events.weight[i]:.12g};{1000 * events.met[i]:.12g}"
        listed = "".join(objects[events.offsets[i] : events.offsets[i + 1]])
        yield f"{head};{events.met_phi[i]:.12g}{listed}\n"
