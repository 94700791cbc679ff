"""coffea's executors by name, each set up so that errors come through at once and unchanged.

- `iterative`: this process;
- `futures`: processes of this machine;
- `dask`: a local cluster, or a scheduler that runs;
- `slurm`, `htcondor`: a dask cluster of batch jobs;
- `parsl`, `taskvine`: those systems, through coffea's own executors.

Any other instance of coffea's `ExecutorBase` is taken as it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import coffea.util
import loky
import loky.process_executor
from coffea.processor import FuturesExecutor, IterativeExecutor
from coffea.processor.executor import ExecutorBase

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.running import clusters
from resonaut.processors.running.plan import Chunk
from resonaut.processors.running.pools import (
    Deliver,
    Function,
    SteadyPool,
    Workforce,
    culprit,
    remaining,
    worker_died,
)

__all__ = ("EXECUTORS", "Choice", "Engine", "open_engine")

LABELS = {"unit": "chunk", "desc": "Processing", "compression": None, "status": False}
WATCH = 0.5
"""Seconds between a worker's looks at whether its parent still lives."""


@dataclass(frozen=True)
class Choice:
    """Which executor, and how it is set up.

    Parameters
    ----------
    name : one of `EXECUTORS`, or an instance of coffea's `ExecutorBase`.
    workers : processes, or batch jobs.
    scheduler : address of a running dask scheduler.
    options : of the executor, see docs/running.md.
    """

    name: str | ExecutorBase = "iterative"
    workers: int = 1
    scheduler: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.name, str) and self.name not in EXECUTORS:
            raise ConfigError(unknown_name("executor", self.name, EXECUTORS))
        if self.workers < 1:
            msg = f"workers is {self.workers}, expected at least 1"
            raise ConfigError(msg)
        if self.scheduler and self.name != "dask":
            msg = f"a scheduler needs the dask executor, got {self.name!r}"
            raise ConfigError(msg)
        known = clusters.OPTIONS.get(self.name, ()) if isinstance(self.name, str) else ()
        for key in self.options:
            if key not in known:
                raise ConfigError(unknown_name(f"option of the executor {self.name!r}", str(key), known))


class Engine(Protocol):
    """An executor that is set up and stays so for several rounds of work."""

    deaths: int

    def run(self, items: Sequence[Chunk], function: Function, deliver: Deliver) -> None:
        """Call the function with all items and deliver what it gives, in any order."""


@contextmanager
def _quiet() -> Iterator[None]:
    """coffea's futures executor draws its bar whatever `status` says; ours counts events."""
    console = coffea.util.coffea_console
    before = console.quiet
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = before


class _Here:
    """This process."""

    deaths = 0

    def run(self, items: Sequence[Chunk], function: Function, deliver: Deliver) -> None:
        def work(item: Chunk) -> dict[int, Any]:
            deliver(function(item))
            return {}

        IterativeExecutor(**LABELS)(items, work, {})


class _Steady:
    """coffea's futures executor on a pool that outlives its workers."""

    def __init__(self, workforce: Workforce) -> None:
        self.workforce = workforce
        self.deaths = 0

    def run(self, items: Sequence[Chunk], function: Function, deliver: Deliver) -> None:
        if not items:
            return
        pool = SteadyPool(self.workforce, len(items), deliver)
        try:
            FuturesExecutor(pool=pool, **LABELS)(items, function, {})
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            self.deaths += pool.deaths
        pool.raise_error()


class _Merged:
    """A coffea executor that hands everything back at its end."""

    def __init__(self, executor: ExecutorBase) -> None:
        self.executor = executor
        self.deaths = 0

    def run(self, items: Sequence[Chunk], function: Function, deliver: Deliver) -> None:
        left = list(items)
        for _ in range(2):
            if not left:
                return
            try:
                merged, error = self.executor(left, function, {})
            except Exception as raised:
                if not worker_died(raised):
                    raise
                merged, error = {}, raised
            deliver(dict(merged))
            left = remaining(left, merged)
            if isinstance(error, BaseException) and not worker_died(error):
                raise error
            self.deaths += bool(error)
        for chunk in left:
            deliver(culprit(chunk))


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # loky replaces a process that has grown by 300 MB, which the first chunk does: code, kernels, scorers
    loky.process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


class _Processes:
    """Processes of this machine, started anew after one of them died."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: Any = None

    def pool(self) -> Executor:
        if self._pool is not None and self._pool._flags.broken is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None
        if self._pool is None:
            self._pool = loky.ProcessPoolExecutor(
                max_workers=self.workers, initializer=_start_worker, initargs=(os.getpid(),)
            )
        pool: Executor = self._pool
        return pool

    def width(self) -> int:
        return 2 * self.workers

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _iterative(_choice: Choice) -> Iterator[Engine]:
    yield _Here()


@contextmanager
def _futures(choice: Choice) -> Iterator[Engine]:
    processes = _Processes(choice.workers)
    try:
        yield _Steady(processes)
    finally:
        processes.close()


class _Dask:
    """Workers of a dask cluster."""

    def __init__(self, client: Any, workers: int) -> None:
        self.client, self.workers = client, workers
        self._pool = client.get_executor(pure=False, retries=0)
        self._threads, self._asked = workers, 0.0

    def pool(self) -> Executor:
        pool: Executor = self._pool
        return pool

    def width(self) -> int:
        """Twice the threads that are there now: workers of a batch system come and go."""
        if (now := time.monotonic()) - self._asked > 1.0:
            self._threads, self._asked = sum(self.client.ncores().values()) or self.workers, now
        return 2 * self._threads


@contextmanager
def _dask(choice: Choice) -> Iterator[Engine]:
    with clusters.dask_client(str(choice.name), choice.workers, choice.scheduler, choice.options) as client:
        yield _Steady(_Dask(client, choice.workers))


@contextmanager
def _parsl(choice: Choice) -> Iterator[Engine]:
    with clusters.parsl_executor(choice.workers, choice.options, LABELS) as made:
        yield _Merged(made)


@contextmanager
def _taskvine(choice: Choice) -> Iterator[Engine]:
    yield _Merged(clusters.taskvine_executor(choice.options, LABELS))


EXECUTORS: dict[str, Callable[[Choice], AbstractContextManager[Engine]]] = {
    "iterative": _iterative,
    "futures": _futures,
    "dask": _dask,
    "slurm": _dask,
    "htcondor": _dask,
    "parsl": _parsl,
    "taskvine": _taskvine,
}
"""How each executor is set up, by name."""


@contextmanager
def open_engine(choice: Choice) -> Iterator[Engine]:
    """The executor of a choice, set up; whatever it started is ended with the block, also after an error or Ctrl-C.

    Raises
    ------
    MissingDependencyError
        If the executor needs a package that is not installed.
    InputError
        If no scheduler answers at the address.
    """
    with _quiet():
        if isinstance(choice.name, ExecutorBase):
            yield _Merged(choice.name)
            return
        with EXECUTORS[choice.name](choice) as engine:
            yield engine
