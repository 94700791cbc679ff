"""What a piece of work costs: its peak memory, on the machine and on a GPU."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = ("measured",)


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Peak resident memory of the process while the block ran, and of the GPU where there is one, in MB.

    Where the system cannot reset its record (it can on Linux), the peak is that of the process so far.
    """
    costs: dict[str, Any] = {}
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    gpu = _gpu()
    if gpu is not None:
        gpu.reset_peak_memory_stats()
    yield costs
    costs["memory_mb"] = _peak()
    if gpu is not None:
        costs["gpu_memory_mb"] = gpu.max_memory_allocated() / 1e6


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1e3
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _gpu() -> Any:
    import torch

    return torch.cuda if torch.cuda.is_available() else None
