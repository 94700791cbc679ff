"""One typed door to numba, so that every kernel is compiled the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

__all__ = ("kernel",)

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile without Python objects, kept on disk between processes, releasing the GIL while it runs.

    No `fastmath`: a kernel gives the same bits on every run, and NaN keeps its meaning.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))
