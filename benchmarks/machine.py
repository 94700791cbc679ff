"""What a measurement was made on: cores, load and versions, nothing that names a machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ("machine",)


def machine(*packages: str, **more: Any) -> dict[str, Any]:
    """For the results of a benchmark; `load` is that of the moment: call it before the measurement.

    Parameters
    ----------
    packages : whose versions are named beside resonaut's; of those that are not installed, None.
    more : what else belongs to it, such as a device.
    """
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("resonaut", "numpy", *packages)},
        **more,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
