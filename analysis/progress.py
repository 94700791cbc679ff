"""Progress bars on long work, on the terminal only: logs and pipes stay clean."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ("Advance", "counting", "progress_bar")

Advance = Callable[[int], None]
_open = False  # whether a bar is shown by this process


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Advance]:
    """Bar that the block advances: `advance(1)` for each finished piece.

    Where standard error is not a terminal, one line at the start and one at the end are written instead. Inside the block of
    another bar, and in worker processes, nothing is shown.
    """
    global _open  # noqa: PLW0603 (there is one terminal)
    if _open or multiprocessing.parent_process() is not None:
        yield lambda _: None
        return
    _open = True
    try:
        with _shown(title, total) as advance:
            yield advance
    finally:
        _open = False


@contextmanager
def _shown(title: str, total: int) -> Iterator[Advance]:
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        console.print(f"{title}: {total} to do", highlight=False)
        yield lambda _: None
        console.print(f"{title}: done", highlight=False)
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda n: progress.advance(task, n)


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Bar for functions that report ``progress(done, total)``; the first report may start above one, after a resume."""
    with progress_bar(title, total) as advance:
        before = 0

        def report(done: int, _total: int) -> None:
            nonlocal before
            advance(done - before)
            before = done

        yield report
