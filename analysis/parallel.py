"""Independent units of work over the cores of a machine, or over a dask cluster: one thin function."""

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
from typing import TYPE_CHECKING, TypeVar

from resonaut.errors import IncompleteError

if TYPE_CHECKING:
    from resonaut.analysis.input_config import ExecutorConfig

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


def map_unordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int = 1,
    cluster: ExecutorConfig | None = None,
) -> Iterator[Result]:
    """`function(item)` for all items, as they finish; in this process if there is one worker or one item.

    The first exception is raised here, after the work that is under way has ended; nothing more is started. An
    interruption (Ctrl-C) ends that work at once.

    Parameters
    ----------
    workers : processes of this machine.
    cluster : dask, slurm or htcondor, instead of processes of this machine. Files that `function` reads and writes must be on a
        file system that all workers see. Work on a `scheduler` of the user ends by itself after an interruption.

    Raises
    ------
    IncompleteError
        If a worker of the cluster died more often than dask allows.
    """
    work = list(items)
    if cluster is not None:
        yield from _on_cluster(function, work, cluster)
        return
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


def _on_cluster(function: Callable[[Item], Result], work: list[Item], cluster: ExecutorConfig) -> Iterator[Result]:
    if not work:
        return
    from resonaut.processors.running.clusters import dask_client
    from resonaut.processors.running.pools import worker_died

    with dask_client(cluster.name, cluster.workers, cluster.scheduler, cluster.options) as client:
        import distributed

        futures = client.map(function, work, pure=False, retries=0)
        try:
            for future in distributed.as_completed(futures):
                yield future.result()
        except Exception as error:
            if not worker_died(error):
                raise
            msg = f"a worker of the cluster died, out of memory perhaps: give jobs more memory and run again ({error})"
            raise IncompleteError(msg) from error
        finally:
            client.cancel(futures)
