"""coffea's executors by name, each set up so that errors come through at once and unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import coffea.util
import loky
from coffea.processor import DaskExecutor, FuturesExecutor, IterativeExecutor

from resonaut.errors import ConfigError, InputError, MissingDependencyError, unknown_name

__all__ = ("EXECUTORS", "execute")

Function = Callable[[Any], dict[int, dict[str, Any]]]
LABELS = {"unit": "chunk", "desc": "Processing", "compression": None}


@contextmanager
def _bars(show: bool) -> Iterator[None]:
    """The futures executor draws its bar whatever `status` says: keep its console quiet instead."""
    console = coffea.util.coffea_console
    before = console.quiet
    console.quiet = before or not show
    try:
        yield
    finally:
        console.quiet = before


def _iterative(items: Sequence[Any], function: Function, _workers: int, _scheduler: str | None, progress: bool) -> Any:
    return IterativeExecutor(status=progress, **LABELS)(items, function, {})


def _futures(items: Sequence[Any], function: Function, workers: int, _scheduler: str | None, progress: bool) -> Any:
    pool = loky.ProcessPoolExecutor(max_workers=workers)
    failed = True
    try:
        out = FuturesExecutor(pool=pool, workers=workers, status=progress, **LABELS)(items, function, {})
        failed = False
    finally:  # after an error the chunks still waiting are not worth finishing
        pool.shutdown(wait=True, kill_workers=failed)
    return out


def _dask(items: Sequence[Any], function: Function, workers: int, scheduler: str | None, progress: bool) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        msg = "the dask executor needs dask.distributed: pip install 'resonaut[dask]'"
        raise MissingDependencyError(msg) from error
    if scheduler is not None:
        try:
            client = Client(scheduler)
        except (OSError, ValueError) as error:
            msg = f"no dask scheduler answers at {scheduler!r} ({error}): start one (`dask scheduler`) or mend the address"
            raise InputError(msg) from error
        with client:
            return DaskExecutor(client=client, retries=0, status=progress, **LABELS)(items, function, {})
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        return DaskExecutor(client=client, retries=0, status=progress, **LABELS)(items, function, {})


EXECUTORS = {"iterative": _iterative, "futures": _futures, "dask": _dask}
"""How each executor is set up, by name."""


def execute(
    items: Sequence[Any],
    function: Function,
    *,
    executor: str = "iterative",
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = False,
) -> dict[int, dict[str, Any]]:
    """Merged results {item number: result} of a function over items, on the executor of that name.

    Raises
    ------
    ConfigError
        For an unknown executor or less than one worker.
    MissingDependencyError
        For "dask" without dask.distributed.
    """
    if executor not in EXECUTORS:
        raise ConfigError(unknown_name("executor", executor, EXECUTORS))
    if workers < 1:
        msg = f"workers is {workers}, expected at least 1"
        raise ConfigError(msg)
    if not items:
        return {}
    with _bars(progress):
        merged, _ = EXECUTORS[executor](items, function, workers, scheduler, progress)
    return dict(merged)
