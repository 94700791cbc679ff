"""Work over processes: errors come through, and nobody is left behind when the parent is interrupted or killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from resonaut.analysis.input_config import ExecutorConfig
from resonaut.analysis.parallel import map_unordered
from resonaut.errors import IncompleteError

SCRIPT = """
import sys, time
from pathlib import Path
from resonaut.analysis.parallel import map_unordered

def work(i):
    Path(sys.argv[1], f"started-{i}").touch()
    time.sleep(120)

if __name__ == "__main__":
    list(map_unordered(work, range(4), workers=2))
"""


def _reciprocal(x: int) -> float:
    return 1 / x


def test_results_and_the_first_error_come_through() -> None:
    assert sorted(map_unordered(_reciprocal, [1, 2, 4], workers=2)) == [0.25, 0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        list(map_unordered(_reciprocal, [1, 0, 4], workers=2))


def test_a_cluster_gives_results_and_the_first_error() -> None:
    pytest.importorskip("distributed")
    cluster = ExecutorConfig(name="dask", workers=1)
    assert sorted(map_unordered(math.sqrt, [1.0, 4.0, 9.0], cluster=cluster)) == [1, 2, 3]
    with pytest.raises(ValueError, match="domain"):
        list(map_unordered(math.sqrt, [1.0, -4.0, 9.0], cluster=cluster))
    with pytest.raises(IncompleteError, match="more memory"):
        list(map_unordered(os._exit, [1], cluster=cluster))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.PIPE)
    _wait_for(lambda: len(list(tmp_path.glob("started-*"))) == 2)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    os.kill(parent.pid, number)
    _wait_for(lambda: parent.poll() is not None)
    _wait_for(lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers))
    assert len(list(tmp_path.glob("started-*"))) == 2
    if number == signal.SIGINT:
        assert parent.stderr is not None
        assert b"KeyboardInterrupt" in parent.stderr.read()


def _wait_for(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)
