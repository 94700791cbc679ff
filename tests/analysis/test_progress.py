"""Progress bars of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from resonaut.analysis import progress
from resonaut.analysis.commands import common


def test_a_resumed_bar_starts_where_the_work_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of ten masses were done before: one step for each report left the bar at four of ten."""
    steps: list[int] = []

    @contextmanager
    def bar(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
        yield steps.append

    monkeypatch.setattr(progress, "progress_bar", bar)
    with common.counting("limits", 10) as report:
        for done in (7, 8, 9, 10):
            report(done, 10)
    assert steps == [7, 1, 1, 1]
