"""Independent units of work over the cores of a machine: one thin function."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

__all__ = ("map_unordered",)

Item = TypeVar("Item")
Result = TypeVar("Result")


def _end_with(parent: int) -> None:
    """End this process when its parent has gone, killed perhaps: nobody would take its results."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _share_the_machine(threads: int, level: int) -> None:
    """Give a worker its share of the cores, before numerical libraries are loaded in it, and the level of the log."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:  # a script's own imports come before this
        torch.set_num_threads(threads)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def _start_worker(parent: int, threads: int, level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _share_the_machine(threads, level)


def map_unordered(function: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1) -> Iterator[Result]:
    """`function(item)` for all items, as they finish; in this process if there is one worker or one item.

    The first exception is raised here, after the work that is under way has ended; nothing more is started. An
    interruption (Ctrl-C) ends that work at once.
    """
    work = list(items)
    if workers == 1 or len(work) <= 1:
        yield from map(function, work)
        return
    workers = min(workers, len(work))
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Forking a process that runs OpenMP or torch threads can hang: start clean ones.
    context = multiprocessing.get_context("spawn")
    started = (os.getpid(), threads, logging.getLogger().getEffectiveLevel())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=started) as pool:
        futures = [pool.submit(function, item) for item in work]
        try:
            for future in as_completed(futures):
                yield future.result()
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:  # also the end of whoever takes our results
            for process in list(pool._processes.values()):
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise
