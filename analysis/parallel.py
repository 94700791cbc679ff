"""Independent units of work over the cores of a machine: one thin function."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

__all__ = ("map_unordered",)

Item = TypeVar("Item")
Result = TypeVar("Result")


def _start_worker(threads: int, level: int) -> None:
    """Give a worker its share of the cores, before numerical libraries are loaded in it, and the level of the log."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:  # a script's own imports come before this
        torch.set_num_threads(threads)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def map_unordered(function: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1) -> Iterator[Result]:
    """`function(item)` for all items, as they finish; in this process if there is one worker or one item.

    The first exception is raised here, after the work that is under way has ended; nothing more is started.
    """
    work = list(items)
    if workers == 1 or len(work) <= 1:
        yield from map(function, work)
        return
    workers = min(workers, len(work))
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Forking a process that runs OpenMP or torch threads can hang: start clean ones.
    context = multiprocessing.get_context("spawn")
    started = (threads, logging.getLogger().getEffectiveLevel())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=started) as pool:
        futures = [pool.submit(function, item) for item in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
