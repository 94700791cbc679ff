"""What each chunk cost: seconds, events per second, bytes, memory, and where it ran."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ("Meter", "peak_memory", "reset_peak", "resident_memory", "summarise")

SLOWEST = 5


def _status(field: str) -> int | None:
    """A field of this process's memory status in bytes, where the kernel tells it."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def resident_memory() -> int:
    """Memory of this process now, in bytes."""
    return _status("VmRSS") or peak_memory()


def peak_memory() -> int:
    """Largest memory of this process, in bytes, since the last `reset_peak` (or its start, where the kernel has none)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak() -> None:
    """Let `peak_memory` count from now."""
    with contextlib.suppress(OSError):  # not Linux, or forbidden: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def _bytes_read() -> int | None:
    """Bytes that this process has asked the kernel for, cached or not; network traffic is not among them."""
    try:
        return int(Path("/proc/self/io").read_text().split(None, 2)[1])
    except (OSError, ValueError, IndexError):
        return None


class Meter:
    """Measures one chunk in the process that works on it, from construction to `read`."""

    def __init__(self) -> None:
        reset_peak()
        self.bytes = _bytes_read()
        self.cpu = time.process_time()
        self.started = time.perf_counter()

    def read(self, *, events: int, retries: int = 0, splits: int = 0) -> dict[str, Any]:
        """Metrics of the chunk as plain data."""
        seconds = time.perf_counter() - self.started
        now = _bytes_read()
        return {
            "seconds": seconds,
            "cpu_seconds": time.process_time() - self.cpu,
            "events": events,
            "events_per_second": events / seconds if seconds > 0 else None,
            "bytes_read": None if now is None or self.bytes is None else now - self.bytes,
            "peak_memory": peak_memory(),
            "retries": retries,
            "splits": splits,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"min": min(known), "median": statistics.median(known), "max": max(known)}


def summarise(chunks: Iterable[Mapping[str, Any]], *, seconds: float, worker_deaths: int = 0) -> dict[str, Any]:
    """Summary of the metrics of chunks that were worked on in this run.

    Parameters
    ----------
    chunks : what `Meter.read` gave, with the chunk's `file`.
    seconds : of the whole run, by the wall clock.
    worker_deaths : workers that ended before their chunk.

    Returns
    -------
    dict
        `events`, `seconds`, `events_per_second` of the run; min, median and max per chunk of the metrics; `workers` with
        their share; `slowest_files` by events per second; counts of `retries`, `splits` and `worker_deaths`.
    """
    done = list(chunks)
    events = sum(each["events"] for each in done)
    workers: dict[str, dict[str, float]] = {}
    files: dict[str, dict[str, float]] = {}
    for each in done:
        for group, name in ((workers, each["worker"]), (files, each["file"])):
            entry = group.setdefault(name, {"chunks": 0, "events": 0, "seconds": 0.0, "retries": 0})
            entry["chunks"] += 1
            for key in ("events", "seconds", "retries"):
                entry[key] += each[key]
    speed = {name: entry["events"] / max(entry["seconds"], 1e-9) for name, entry in files.items()}
    slowest = sorted(files, key=lambda name: (speed[name], name))[:SLOWEST]
    keys = ("seconds", "cpu_seconds", "events_per_second", "bytes_read", "peak_memory")
    return {
        "chunks": len(done),
        "events": events,
        "seconds": seconds,
        "events_per_second": events / seconds if seconds > 0 else None,
        "bytes_read": sum(each["bytes_read"] or 0 for each in done),
        "per_chunk": {key: _spread(each[key] for each in done) for key in keys},
        "workers": workers,
        "slowest_files": [{"file": name, "events_per_second": speed[name], **files[name]} for name in slowest],
        "retries": sum(each["retries"] for each in done),
        "splits": sum(each["splits"] for each in done),
        "worker_deaths": worker_deaths,
    }
