"""One typed door to numba, so that every kernel is compiled the same way."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core import event

__all__ = ("fused_kernel", "in_threads", "kernel", "summing_kernel", "thread_count")

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile without Python objects, kept on disk between processes, releasing the GIL while it runs.

    No `fastmath`: a kernel gives the same bits on every run, and NaN keeps its meaning.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))


def fused_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """`kernel` that may round a product and a sum once instead of twice, where the processor can."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, fastmath={"contract"})(function))


def summing_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """`kernel` whose sums may be taken in another order, so that they use all lanes of the processor.

    Infinity and NaN keep their meaning. The last bits may differ between kinds of processors, not between runs.
    """
    flags = {"reassoc", "contract", "nsz"}
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True, fastmath=flags, error_model="numpy")(function))


def thread_count() -> int:
    """Threads that kernels may use: OMP_NUM_THREADS if that is set, else all cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(asked)) if asked.isdecimal() else len(os.sched_getaffinity(0))


def in_threads(function: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> list[R]:
    """Results in the order of the items; kernels release the GIL, so that they run side by side."""
    todo = list(items)
    count = min(threads or thread_count(), len(todo))
    if count <= 1:
        return [function(item) for item in todo]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, todo))


class _Announce(event.Listener):  # type: ignore[misc]  # numba has no types
    """Says once in a process that it is compiling: a first use takes half a minute, and silence looks like a hang."""

    said = False

    def on_start(self, event: Any) -> None:
        """The first compilation of a kernel of ours."""
        if not self.said and event.data["dispatcher"].py_func.__module__.startswith("resonaut."):
            logger.info("compiling, once after an installation: up to half a minute")
            self.said = True

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", _Announce())
