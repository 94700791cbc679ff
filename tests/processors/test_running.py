"""Parts of a run: what is tried again, what a file is, how large chunks may be, what a run says of itself."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import urllib.error
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import pytest
import uproot
from click.testing import CliRunner
from coffea.processor import ProcessorABC

from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.errors import ConfigError, InputError
from resonaut.processors import read_provenance, run_processor, write_particle_tree
from resonaut.processors.running import archive, fingerprint
from resonaut.processors.running.faults import is_transient, with_retries
from resonaut.processors.running.footprint import parse_bytes
from resonaut.processors.running.metrics import resident_memory, summarise
from resonaut.processors.running.pools import SteadyPool

TRANSIENT = [
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError("timed out"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError("Can't synchronously read data (file read failed: errno = 5, error message = 'Input/output error')"),
    urllib.error.HTTPError("http://a", 503, "busy", None, None),  # type: ignore[arg-type]
    OSError("[ERROR] Operation expired"),
    OSError("[FATAL] Connection error"),
    OSError("[ERROR] Server responded with an error: [3024] Server is overloaded"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
]
PERMANENT = [
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError("Unable to synchronously open file (truncated file: eof = 5000, sblock->base_addr = 0)"),
    OSError("Unable to open file (unable to open file: errno = 2, error message = 'No such file or directory')"),
    urllib.error.HTTPError("http://a", 404, "gone", None, None),  # type: ignore[arg-type]
    OSError("[ERROR] Server responded with an error: [3011] No such file or directory"),
    OSError("[FATAL] Auth failed"),
    socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ValueError("not a basket"),
    MemoryError(),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=str)
def test_errors_that_may_go_away(error: Exception) -> None:
    assert is_transient(error)
    wrapped = InputError("cannot be read")
    wrapped.__cause__ = error
    assert is_transient(wrapped)


@pytest.mark.parametrize("error", PERMANENT, ids=str)
def test_errors_that_stay(error: Exception) -> None:
    assert not is_transient(error)


def test_reading_is_tried_again_with_longer_and_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    answers = iter([ConnectionResetError(), TimeoutError(), "events"])

    def read() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert with_retries(read, retries=3, pause=0.5, what="a.root") == ("events", 2)
    assert pauses == [0.5, 1.0]
    answers = iter([ConnectionResetError() for _ in range(9)])
    with pytest.raises(ConnectionResetError) as caught:
        with_retries(read, retries=2, pause=0.1, what="a.root")
    assert len(list(answers)) == 6  # three tries
    assert caught.value.__notes__ == ["tried 3 times"]
    answers = iter([ValueError("a bug"), "never"])
    with pytest.raises(ValueError, match="a bug"):
        with_retries(read, retries=5, pause=0.1, what="a.root")


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A cache of digests of its own; lists the files that were read for a digest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read: list[str] = []
    whole = fingerprint.file_digest

    def counted(path: Any) -> str:
        read.append(os.fspath(path))
        return whole(path)

    monkeypatch.setattr(fingerprint, "file_digest", counted)
    return read


def write(path: Path, content: bytes, age: float = 0.0) -> str:
    path.write_bytes(content)
    past = time.time_ns() - int(age * 1e9)
    os.utime(path, ns=(past, past))
    return str(path)


def test_a_digest_is_remembered(digests: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "SETTLED", -1.0)  # as if the file had been there for a while
    path = write(tmp_path / "a", b"events")
    one = fingerprint.content_digest(path)
    assert one == fingerprint.content_digest(path)
    assert digests == [path]
    state = os.stat(path)  # noqa: PTH116
    (tmp_path / "a").write_bytes(b"EVENTS")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint.content_digest(path) != one  # same size, same mtime
    assert len(digests) == 2


def test_a_file_that_is_being_written_is_not_remembered(digests: list[str], tmp_path: Path) -> None:
    """Its mtime is old, but its ctime is now: another write could leave the same times."""
    path = write(tmp_path / "a", b"events", age=100.0)
    fingerprint.content_digest(path)
    fingerprint.content_digest(path)
    assert digests == [path, path]


def test_no_place_for_digests_is_no_error(digests: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "SETTLED", -1.0)
    monkeypatch.setenv("XDG_CACHE_HOME", write(tmp_path / "file", b""))
    path = write(tmp_path / "a", b"events")
    assert fingerprint.content_digest(path) == fingerprint.content_digest(path)
    assert len(digests) == 2


@pytest.mark.parametrize("storage", ["Double", "Int64", "Weight", "Mean", "WeightedMean"])
def test_histograms_are_added_up_from_disk_as_in_memory(tmp_path: Path, storage: str) -> None:
    """Also profiles, of which a bin with one entry has no variance yet."""

    def filled(x: list[float], y: list[float]) -> Any:
        made = getattr(hist.Hist.new.Reg(4, 0, 4, name="x", label="$x$"), storage)()
        made.fill(x, sample=y) if "Mean" in storage else made.fill(x)
        return made

    parts = [filled([0.5, 1.5], [1.0, 3.0]), filled([0.5, 1.5, 1.5, 9.0], [2.0, 5.0, 6.0, 1.0])]
    for i, part in enumerate(parts):
        archive.save(tmp_path / f"{i}.zip", {"hist": part})
    loaded = [archive.load(tmp_path / f"{i}.zip")["hist"] for i in range(2)]
    assert loaded == parts
    np.testing.assert_array_equal(sum(loaded).values(flow=True), sum(parts).values(flow=True))
    np.testing.assert_array_equal(sum(loaded).variances(flow=True), sum(parts).variances(flow=True))
    if storage == "Mean":
        assert sum(loaded).variances()[0] == np.var([1.0, 2.0], ddof=1) / 2  # of the mean


class Broken:
    def submit(self, *_arguments: Any) -> Any:
        raise BrokenExecutor


class BreaksAtTheSecondChunk:
    """A workforce whose pool is found broken by the one who submits."""

    def __init__(self, threads: Executor) -> None:
        self.pools = iter([threads, Broken(), *[threads] * 9])

    def pool(self) -> Any:
        return next(self.pools)

    def width(self) -> int:
        return 2


def test_a_pool_that_breaks_while_work_is_handed_to_it_loses_no_chunk() -> None:
    delivered: dict[int, Any] = {}
    with ThreadPoolExecutor(1) as threads:
        pool = SteadyPool(BreaksAtTheSecondChunk(threads), 5, delivered.update)
        futures = [pool.submit(lambda i: {i: {"kept": True}}, i) for i in range(5)]  # type: ignore[arg-type, misc]
        assert [future.result(timeout=30) for future in futures] == [{}] * 5
    pool.raise_error()
    assert sorted(delivered) == [0, 1, 2, 3, 4]


class Hungry(ProcessorABC):
    """Takes a megabyte for every event."""

    config: dict[str, Any] = {}  # noqa: RUF012

    def process(self, events: Any) -> dict[str, Any]:
        taken = np.ones((len(events), 125_000))
        return {"n": int(taken[:, 0].sum())}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


@pytest.fixture(scope="module")
def path(tmp_path_factory: Any, toys: Any) -> str:
    path = tmp_path_factory.mktemp("events") / "events.root"
    write_particle_tree(path, toys.make_particles(1, 600, soft=5))
    return str(path)


def test_chunks_follow_the_memory_limit(path: str, tmp_path: Path) -> None:
    """A megabyte per event: in 400 MB above what is there already go between 128 and 400 events."""
    run_processor({"a": path}, Hungry(), chunksize=50)  # loads code
    limit = resident_memory() + 400_000_000
    result = run_processor({"a": path}, Hungry(), memory_limit=limit, metrics=tmp_path / "metrics.json")
    assert result.output == {"n": 600}
    chunks = json.loads((tmp_path / "metrics.json").read_text())["chunk_list"]
    assert 75 <= max(chunk["events"] for chunk in chunks) <= 280
    assert max(chunk["peak_memory"] for chunk in chunks) < limit
    capped = run_processor({"a": path}, Hungry(), memory_limit=limit, chunksize=40)
    assert capped.ledger.chunks == 600 // 32 + 1  # the power of two below


def test_a_run_that_goes_on_cuts_files_as_before(path: str, tmp_path: Path) -> None:
    limit = resident_memory() + 400_000_000
    first = run_processor({"a": path}, Hungry(), memory_limit=limit, cache_dir=tmp_path)
    again = run_processor({"a": path}, Hungry(), memory_limit=limit, cache_dir=tmp_path)
    assert again.ledger.chunks_cached == first.ledger.chunks > 1


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), (500, 500), ("300k", 300_000), ("7 MB", 7 * 10**6)]
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "two", "1XB", "1.2.3MB", 0])
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(ConfigError, match="expected a number with a unit"):
        parse_bytes(text)


def test_the_summary_of_metrics() -> None:
    base = {"cpu_seconds": 1.0, "bytes_read": 10, "peak_memory": 5, "retries": 1, "splits": 0}
    chunks = [
        {**base, "file": "a", "worker": "h:1", "events": 100, "seconds": 1.0, "events_per_second": 100.0},
        {**base, "file": "a", "worker": "h:2", "events": 100, "seconds": 3.0, "events_per_second": 100 / 3},
        {**base, "file": "b", "worker": "h:1", "events": 60, "seconds": 3.0, "events_per_second": 20.0},
    ]
    found = summarise(chunks, seconds=4.0)
    assert (found["events"], found["events_per_second"], found["bytes_read"], found["retries"]) == (260, 65.0, 30, 3)
    assert found["per_chunk"]["seconds"] == {"min": 1.0, "median": 3.0, "max": 3.0}
    assert [(each["file"], each["events_per_second"]) for each in found["slowest_files"]] == [("b", 20.0), ("a", 50.0)]
    assert found["workers"]["h:1"] == {"chunks": 2, "events": 160, "seconds": 4.0, "retries": 2}
    assert summarise([], seconds=0.0)["per_chunk"]["seconds"] is None


def test_metrics_of_a_run(path: str, tmp_path: Path) -> None:
    class Reading(Hungry):
        def process(self, events: Any) -> dict[str, Any]:
            assert ak.sum(events.PFCand.pt) > 0
            return super().process(events)

    result = run_processor({"a": path}, Reading(), chunksize=100, metrics=tmp_path / "m.json")
    written = json.loads((tmp_path / "m.json").read_text())
    assert [chunk["events"] for chunk in written["chunk_list"]] == [100] * 6
    assert written["ledger"]["complete"] is True
    assert result.metrics["per_chunk"] == written["per_chunk"]
    with uproot.open(path) as file:
        assert result.metrics["bytes_read"] >= file["Events/PFCand_pt"].compressed_bytes > 10_000
    assert result.metrics["per_chunk"]["peak_memory"]["min"] > 100_000_000  # the array of a hundred events
    assert result.provenance["metrics"]["events"] == 600
    assert "metrics" not in run_processor({"a": path}, Hungry(), chunksize=100).provenance


def features(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["features", *arguments])


def test_the_command_is_red_unless_all_events_are_there(path: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(Path(path).read_bytes()[:20_000])
    out = tmp_path / "table.parquet"
    good = features(path, "--out", str(out), "--metrics", str(tmp_path / "m.json"))
    assert good.exit_code == 0, good.output
    assert "600 events read" in good.output
    assert read_provenance(out)["ledger"]["complete"] is True
    assert read_provenance(out)["metrics"]["events"] == 600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.root", "m.json", "table.parquet"]
    red = features(path, str(bad), "--out", str(out), "--skip-bad-files")
    assert red.exit_code == 1
    assert f"INCOMPLETE: {bad} was skipped" in red.output
    assert read_provenance(out)["ledger"]["complete"] is False
    assert features(path, str(bad), "--out", str(out)).exit_code == 1


def test_options_of_executors_on_the_command_line(path: str, tmp_path: Path) -> None:
    out = str(tmp_path / "table.parquet")
    wrong = features(path, "--out", out, "--executor", "slurm", "-E", "qeue=short")
    assert wrong.exit_code == 1
    assert "did you mean 'queue'" in wrong.output
    assert "KEY=VALUE" in features(path, "--out", out, "-E", "queue").output
    assert "needs the dask executor" in features(path, "--out", out, "--scheduler", "tcp://a:1").output


def test_options_of_executors_in_a_config() -> None:
    content: dict[str, Any] = {"input": {"files": ["a.h5"]}, "scan": {"low": 2800, "high": 5200}}
    content["methods"] = [{"name": "cwola-trees"}]
    content["input"]["executor"] = {"name": "slurm", "workers": 50, "memory": "4GB", "queue": "short"}
    settings = parse_config(content).input.executor
    assert settings.options == {"memory": "4GB", "queue": "short"}
    assert settings.chunks == 20_000
    for executor, message in (
        ({"name": "slurm", "memry": "4GB"}, "did you mean 'memory'"),
        ({"name": "futures", "queue": "short"}, "unknown key of the executor 'futures' 'queue'"),
        ({"name": "futures", "memory_limit": "much"}, "expected a number with a unit"),
    ):
        content["input"]["executor"] = executor
        with pytest.raises(ConfigError, match=message):
            parse_config(content)
