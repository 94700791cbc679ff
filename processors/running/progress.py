"""A bar that counts events, on a terminal only: logs and pipes get one line at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ("event_bar",)


class _Events(ProgressColumn):
    """Events done of all, and events per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f} events, {speed:,.0f}/s", style="progress.download")


@contextmanager
def event_bar(show: bool, title: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Bar over events that the block advances: `advance(events)`.

    Parameters
    ----------
    show : nothing at all is written without it.
    title : what is done.
    total, done : events of the whole work, and those that an earlier run has done.
    """
    if not show:
        yield lambda _: None
        return
    console = Console(stderr=True)
    started, seen = time.perf_counter(), 0
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), _Events(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(title, total=total, completed=done)
            yield lambda events: progress.advance(task, events)
        return

    def count(events: int) -> None:
        nonlocal seen
        seen += events

    yield count
    seconds = time.perf_counter() - started
    console.print(
        f"{title}: {seen:,} events in {seconds:.1f} s ({seen / max(seconds, 1e-9):,.0f}/s)",
        highlight=False,
        soft_wrap=True,
    )
