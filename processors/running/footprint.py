"""How many events fit into memory: measured on a few, for each kind of file."""

from __future__ import annotations

import gc
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resonaut.errors import ConfigError, InputError
from resonaut.files import digest, read_json, write_json
from resonaut.processors.running.executors import Choice, Engine
from resonaut.processors.running.metrics import peak_memory, reset_peak, resident_memory
from resonaut.processors.running.plan import Chunk, InputFile, Plan
from resonaut.processors.running.work import Work

__all__ = ("chunk_sizes", "parse_bytes")

log = logging.getLogger(__name__)

WARM, PROBE = 20, 2000
"""Events that load code and compile kernels, and those that are measured after them."""
LARGEST = 131_072
SHARE = 0.7
"""Of the memory that is left for events: the rest is for what the allocator does not give back and for merging."""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: int | str) -> int:
    """Bytes of a size such as 2000000, "500MB", "2GB" or "1.5GiB".

    Raises
    ------
    ConfigError
        If it is none.

    Examples
    --------
    >>> parse_bytes("2GB"), parse_bytes("1KiB")
    (2000000000, 1024)
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]i?)?b?\s*", str(text).lower())
    try:
        value = float(found[1]) * UNITS[found[2] or ""] if found else 0.0
    except ValueError:
        value = 0.0
    if value < 1:
        msg = f"memory size is {text!r}, expected a number with a unit, such as 500MB or 2GB"
        raise ConfigError(msg)
    return int(value)


@dataclass(frozen=True)
class _Probe:
    """Function of a chunk for executors: memory of a worker before any event, and of an event."""

    work: Work

    def __call__(self, chunk: Chunk) -> dict[int, dict[str, Any]]:
        alone = replace(self.work, folder=None)
        middle = chunk.start + min(WARM, len(chunk) // 2)
        alone(replace(chunk, stop=middle))
        gc.collect()
        before = resident_memory()
        reset_peak()
        result = alone(replace(chunk, start=middle))[chunk.index]
        used = max(0, peak_memory() - before)
        return {
            chunk.index: {"base": before, "used": used, "events": chunk.stop - middle, "failed": "failed" in result}
        }


def _measure(plan: Plan, work: Work, engine: Engine) -> dict[str, dict[str, Any]]:
    """What `_Probe` found on the largest file of each source."""
    largest: dict[str, InputFile] = {}
    for file in plan.files:
        if file.source not in largest or file.events > largest[file.source].events:
            largest[file.source] = file
    chunks = [Chunk(i, file, 0, min(file.events, PROBE + WARM)) for i, file in enumerate(largest.values())]
    found: dict[int, dict[str, Any]] = {}
    engine.run([chunk for chunk in chunks if len(chunk) > 1], _Probe(work), found.update)
    return {chunk.file.source: found[chunk.index] for chunk in chunks if "base" in found.get(chunk.index, {})}


def _size(name: str, found: Mapping[str, Any], limit: int, choice: Choice, most: int) -> int:
    """Events in a chunk so that all processes together stay below the limit; a power of two, so that noise rarely shows."""
    here = 0 if choice.name == "iterative" else resident_memory()
    base = max(found["base"], 1)
    room = SHARE * (limit - here - choice.workers * base) / choice.workers
    if room <= 0:
        need = here + choice.workers * base
        msg = (
            f"memory_limit is {limit / 1e9:.2f} GB, but {choice.workers} workers and this process take {need / 1e9:.2f} GB "
            f"before the first event: give more, or fewer workers"
        )
        raise ConfigError(msg)
    per_event = max(found["used"] / max(found["events"], 1), 1.0)
    events = max(1, min(most, LARGEST, int(room / per_event)))
    size = 1 << (events.bit_length() - 1)
    log.info("%s: %.1f kB per event, chunks of %d events", name, per_event / 1e3, size)
    return size


def chunk_sizes(
    plan: Plan, work: Work, engine: Engine, choice: Choice, *, limit: int, most: int, cache: Path | None
) -> dict[str, int]:
    """Largest number of events in a chunk, by source, that keeps all processes of a run below a limit.

    A few events of the largest file of each source are processed where the others will be. The choice is remembered in the
    cache, because finished chunks are only found again by a run that cuts files in the same way.

    Parameters
    ----------
    limit : bytes for this process and all workers together.
    most : never more than this.

    Raises
    ------
    ConfigError
        If the limit is below what the processes need before the first event.
    """
    name = choice.name if isinstance(choice.name, str) else type(choice.name).__name__
    key = digest([file.digest for file in plan.files], limit, choice.workers, name, most)
    note = cache / f"chunks-{key}.json" if cache is not None else None
    if note is not None and note.exists():
        try:
            return {str(name): int(size) for name, size in read_json(note).items()}
        except (InputError, ValueError, AttributeError, json.JSONDecodeError):
            pass
    found = _measure(plan, work, engine)
    sizes = {name: _size(name, entry, limit, choice, most) for name, entry in found.items()}
    sizes = {file.source: sizes.get(file.source, min(most, 1024)) for file in plan.files}
    if note is not None:
        write_json(note, sizes)
    return sizes
