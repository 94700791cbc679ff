"""A pool that outlives its workers: a chunk whose worker died is worked on again, and one that kills them is named.

coffea's futures executor takes any `concurrent.futures` pool. This one hands chunks to another (processes of this machine,
a dask cluster) a few at a time, so that little waits and little is in memory, and passes each result on at once.
When a worker dies, no one can tell which of the chunks under way was to blame: each of them runs again alone. What kills
a worker again, then, is the culprit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures import BrokenExecutor as BrokenPool
from typing import Any, Protocol

from resonaut.errors import IncompleteError
from resonaut.processors.running.plan import Chunk
from resonaut.processors.running.work import Outcome

__all__ = ("Deliver", "Function", "SteadyPool", "Workforce", "culprit", "worker_died")

Function = Callable[[Any], dict[int, Outcome]]
Deliver = Callable[[dict[int, Outcome]], None]

DEATHS = {"KilledWorker", "TerminatedWorkerError", "BrokenProcessPool", "WorkerLost", "ManagerLost"}
HOPELESS = 3
"""Culprits in a row, without a single success, after which it is the workers that are broken."""


def worker_died(error: BaseException) -> bool:
    """True if an error says that a worker ended before its work did."""
    return isinstance(error, BrokenPool) or type(error).__name__ in DEATHS


def culprit(chunk: Chunk) -> dict[int, Outcome]:
    """Outcome of a chunk that killed its workers."""
    msg = (
        f"{chunk.file.path}: events {chunk.start} to {chunk.stop} killed the worker twice, the second time alone "
        "(out of memory, or a crash in compiled code): try a smaller chunksize or memory_limit"
    )
    return {chunk.index: {"failed": msg, "killed": True, "retries": 1}}


class Workforce(Protocol):
    """Processes that can be given work."""

    def pool(self) -> Executor:
        """A pool that works; a new one if the last has broken."""

    def width(self) -> int:
        """Number of chunks that may be under way at once."""


class SteadyPool(Executor):
    """Runs `expected` chunks on a workforce and delivers each result.

    Parameters
    ----------
    workforce : where the work is done.
    expected : number of chunks that will be submitted; work begins with the last of them.
    deliver : called, in one thread, with every result. Futures of this pool hold nothing, so that nothing piles up.
    """

    def __init__(self, workforce: Workforce, expected: int, deliver: Deliver) -> None:
        self.workforce, self.expected, self.deliver = workforce, expected, deliver
        self.waiting: deque[tuple[Future[Any], Function, Chunk]] = deque()
        self.running: dict[Future[Any], tuple[Future[Any], Function, Chunk]] = {}
        self.suspects: deque[tuple[Future[Any], Function, Chunk]] = deque()
        self.unsettled: set[Future[Any]] = set()
        self.error: BaseException | None = None
        self.deaths = self.successes = self.culprits = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="steady-pool", daemon=True)

    def submit(self, function: Function, item: Chunk, /) -> Future[Any]:  # type: ignore[override]
        """Queue one chunk; the future ends with an empty result when its own was delivered."""
        future: Future[Any] = Future()
        self.waiting.append((future, function, item))
        self.unsettled.add(future)
        if len(self.waiting) == self.expected:
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Start nothing more; what is under way in the workforce is the workforce's matter."""
        self._stop.set()
        for future in list(self.running):
            if cancel_futures:
                future.cancel()
        if wait and self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def raise_error(self) -> None:
        """Raise the first error that came up."""
        if self.error is not None:
            raise self.error

    def _drive(self) -> None:
        try:
            while (self.waiting or self.running or self.suspects) and not self._stop.is_set():
                self._fill()
                done, _ = wait(self.running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    self._end(future)
        except BaseException as error:  # noqa: BLE001 (raised in the main thread by raise_error)
            self.error = self.error or error
        finally:
            for future in self.unsettled:  # coffea waits for each of them
                future.set_result({})
            self.running.clear()

    def _fill(self) -> None:
        """Start as much as there is room for; a suspect only when nothing else runs."""
        if self.suspects:
            if not self.running:
                self._start(self.suspects[0])
            return
        while self.waiting and len(self.running) < self.workforce.width() and self._start(self.waiting[0]):
            self.waiting.popleft()

    def _start(self, work: tuple[Future[Any], Function, Chunk]) -> bool:
        """Whether the work is under way; not, if the pool broke just now: the next one takes it."""
        try:
            future = self.workforce.pool().submit(work[1], work[2])
        except Exception as error:
            if not worker_died(error):
                raise
            return False
        self.running[future] = work
        return True

    def _end(self, future: Future[Any]) -> None:
        work = self.running.pop(future)
        mine, _, chunk = work
        alone = bool(self.suspects) and self.suspects[0] is work
        try:
            result = future.result()
        except CancelledError as error:
            msg = "the cluster went away before the run was done; finished chunks are kept where there is a cache_dir, run again"
            raise IncompleteError(msg) from error
        except BaseException as error:
            if not worker_died(error):
                raise
            self.deaths += 1
            if not alone:
                self.suspects.append(work)
                return
            self.culprits += 1
            if self.culprits >= HOPELESS and not self.successes:
                error.add_note("workers die with whatever they are given: is their environment complete?")
                raise
            result = culprit(chunk)
        else:
            self.successes += 1
        if alone:
            self.suspects.popleft()
        self.deliver(result)
        self.unsettled.discard(mine)
        mine.set_result({})


def remaining(items: Iterable[Chunk], done: Iterable[int]) -> list[Chunk]:
    """Items whose number is not among the finished ones."""
    finished = set(done)
    return [item for item in items if item.index not in finished]
