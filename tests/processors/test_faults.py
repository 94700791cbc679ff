"""The fault drill: real processes are killed, files break, disks fill; every event is accounted for and results agree.

Each run that was disturbed is compared with one that was not. Processors here are small; they are sent to workers by value.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import psutil
import pytest
import uproot
from coffea.processor import ProcessorABC, column_accumulator

from resonaut.errors import IncompleteError, InputError
from resonaut.processors import DijetProcessor, read_provenance, read_table, run_processor, write_particle_tree

cloudpickle.register_pickle_by_value(sys.modules[__name__])

FILES, EVENTS, CHUNK = 10, 40, 20
DATA_RUN = 300_000  # simulation has run 1


class Sums(ProcessorABC):
    """The scalar sum of pT of each event; before a chunk something may happen."""

    def __init__(self, before: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.before = before

    @property
    def config(self) -> dict[str, Any]:
        return {}

    def process(self, events: Any) -> dict[str, Any]:
        if self.before is not None:
            self.before(events.metadata)
        total = ak.to_numpy(ak.sum(events.PFCand.pt, axis=1)).astype(float)
        table = {"mjj": column_accumulator(total), "event": column_accumulator(ak.to_numpy(events.event).astype(int))}
        return {events.metadata["dataset"]: {"cutflow": {"all": len(events)}, "table": table}}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def write_events(path: Path, particles: Any, first: int, run: int = DATA_RUN) -> None:
    n = len(particles)
    ids = {"run": np.full(n, run, np.uint32), "luminosityBlock": np.full(n, 7, np.uint32)}
    write_particle_tree(path, particles, event=np.arange(first, first + n, dtype=np.uint64), **ids)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: Any, toys: Any) -> list[str]:
    """Ten files of forty events, with event numbers."""
    folder = tmp_path_factory.mktemp("drill")
    for i in range(FILES):
        write_events(folder / f"{i}.root", toys.make_particles(i, EVENTS), i * EVENTS)
    return [str(folder / f"{i}.root") for i in range(FILES)]


@pytest.fixture(scope="module")
def undisturbed(paths: list[str]) -> Any:
    result = run_processor({"a": paths}, Sums(), chunksize=CHUNK).require_complete()
    assert (result.ledger.read, result.ledger.chunks) == (FILES * EVENTS, 20)
    return result


def same_table(one: Any, two: Any) -> None:
    assert one.ledger.complete
    assert one.ledger.read == two.ledger.read
    for name, column in two.table().items():
        np.testing.assert_array_equal(one.table()[name], column, err_msg=name)


def at(metadata: dict[str, Any], number: int, start: int) -> bool:
    return Path(metadata["filename"]).name == f"{number}.root" and metadata["entrystart"] == start


def killing(marker: Path) -> Callable[[dict[str, Any]], None]:
    """One chunk kills its worker the first time, the last one always."""
    mark = str(marker)

    def before(metadata: dict[str, Any]) -> None:
        first_time = at(metadata, 0, 20) and not Path(mark).exists()
        Path(mark).touch()
        if first_time or at(metadata, 3, 20):
            os.kill(os.getpid(), signal.SIGKILL)

    return before


@pytest.mark.slow
def test_killed_workers_lose_nothing_and_what_kills_them_is_named(
    paths: list[str], undisturbed: Any, tmp_path: Path
) -> None:
    cache = {"chunksize": CHUNK, "cache_dir": tmp_path / "cache"}
    with pytest.raises(IncompleteError, match=r"3\.root: events 20 to 40 killed the worker twice"):
        run_processor({"a": paths[:4]}, Sums(killing(tmp_path / "mark")), executor="futures", workers=2, **cache)
    assert len(list((tmp_path / "cache").rglob("*.zip"))) == 7  # also that of the chunk that killed its worker once
    healed = run_processor({"a": paths[:4]}, Sums(), **cache)
    assert healed.ledger.chunks_cached == 7
    assert healed.complete
    np.testing.assert_array_equal(healed.table()["mjj"], undisturbed.table()["mjj"][: 4 * EVENTS])


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New workers of dask are forks of a process that has loaded all code."""
    dask = pytest.importorskip("dask")
    utils = pytest.importorskip("distributed.utils")
    monkeypatch.setattr(utils, "_forkserver_preload_set", True)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", "resonaut.processors"])
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_killed_workers_of_dask_lose_their_chunk_alone(paths: list[str], undisturbed: Any, tmp_path: Path) -> None:
    result = run_processor(
        {"a": paths[:4]}, Sums(killing(tmp_path / "mark")), executor="dask", workers=2, chunksize=CHUNK,
        on_bad_file="skip",
    )  # fmt: skip
    ledger = result.ledger
    assert not ledger.complete
    assert (ledger.read, ledger.lost) == (4 * EVENTS - CHUNK, CHUNK)
    assert list(ledger.files_failed) == [paths[3]]
    assert "events 20 to 40 killed the worker twice" in ledger.files_failed[paths[3]]
    assert ledger.worker_deaths >= 2  # dask repeats a first death by itself, without telling
    assert "deaths of workers" in str(ledger)
    np.testing.assert_array_equal(result.table()["mjj"], undisturbed.table()["mjj"][: 4 * EVENTS - CHUNK])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A dask scheduler and two workers as processes of their own, on loopback."""
    dask = [sys.executable, "-m", "dask"]
    note = tmp_path / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    started = [subprocess.Popen([*dask, "scheduler", *common, "--port", "0", "--scheduler-file", note.name], **quiet)]
    try:
        deadline = time.monotonic() + 30
        while not note.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        address = json.loads(note.read_text())["address"]
        worker = [*dask, "worker", address, "--no-nanny", "--nthreads", "1", *common]
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]
        yield address, started[1:]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_worker_of_a_running_cluster_is_killed(
    paths: list[str], undisturbed: Any, tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    marks = tmp_path / "marks"
    marks.mkdir()

    def before(metadata: dict[str, Any]) -> None:
        (marks / f"{Path(metadata['filename']).name}-{metadata['entrystart']}-{os.getpid()}").touch()
        time.sleep(0.1)

    def kill_one() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if sum(name.name.endswith(f"-{workers[0].pid}") for name in marks.iterdir()) >= 2:
                workers[0].kill()
                return
            time.sleep(0.01)

    hand = threading.Thread(target=kill_one)
    hand.start()
    result = run_processor({"a": paths}, Sums(before), executor="dask", scheduler=address, chunksize=CHUNK)
    hand.join()
    assert workers[0].wait(5) == -signal.SIGKILL
    same_table(result, undisturbed)
    assert {int(name.name.rsplit("-", 1)[1]) for name in marks.iterdir()} == {worker.pid for worker in workers}


def test_no_scheduler_at_the_address(paths: list[str]) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")  # before its settings are changed: they come with it

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match="no dask scheduler answers"),
    ):
        run_processor({"a": paths}, Sums(), executor="dask", scheduler=f"tcp://127.0.0.1:{closed_port()}")


def test_a_corrupt_file_among_ten(paths: list[str], undisturbed: Any, tmp_path: Path) -> None:
    bad = tmp_path / "3.root"
    bad.write_bytes(Path(paths[3]).read_bytes()[:9000])
    files = [*paths[:3], str(bad), *paths[4:]]
    result = run_processor({"a": files}, Sums(), chunksize=CHUNK, on_bad_file="skip")
    assert list(result.ledger.files_failed) == [str(bad)]
    assert "truncated" in result.ledger.files_failed[str(bad)]
    assert result.ledger.retries == 0  # a corrupt file does not get better
    assert not result.complete
    keep = undisturbed.table()["event"] // EVENTS != 3
    np.testing.assert_array_equal(result.table()["mjj"], undisturbed.table()["mjj"][keep])
    assert [books.read for books in result.ledger.by_file] == [EVENTS] * 9


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_an_unreachable_file(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonaut.processors.running.run.PAUSE", 0.01)
    url = f"http://127.0.0.1:{closed_port()}/events.root"
    remote = {"files": [url], "source": "particles-root"}
    fileset = {"a": paths, "b": remote}
    result = run_processor(fileset, Sums(), chunksize=CHUNK, on_bad_file="skip", retries=2)
    assert list(result.ledger.files_failed) == [url]
    assert "tried 3 times" in result.ledger.files_failed[url]
    assert result.ledger.retries == 2
    assert (result.ledger.read, result.complete) == (FILES * EVENTS, False)
    with pytest.raises((InputError, OSError), match="127"):
        run_processor({"b": remote}, Sums(), retries=0)


class FlakyServer(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with ranges; the first answers for events are "503 busy" or break off."""

    left = 0

    def do_GET(self) -> None:
        if FlakyServer.left > 0 and "Range" in self.headers:
            FlakyServer.left -= 1
            self.send_error(503)
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        start, stop = 0, len(content)
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split(",")[0].split("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:stop])

    def log_message(self, *_arguments: Any) -> None:
        pass


def test_a_server_that_is_busy_is_asked_again(
    paths: list[str], undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonaut.processors.running.run.PAUSE", 0.01)
    monkeypatch.chdir(Path(paths[0]).parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FlakyServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/0.root"
        FlakyServer.left = 2
        fileset = {"a": {"files": [url], "source": "particles-root"}}
        result = run_processor(fileset, Sums(), chunksize=CHUNK, retries=5)
        server.shutdown()
    assert result.complete
    assert result.ledger.retries >= 1
    np.testing.assert_array_equal(result.table()["mjj"], undisturbed.table()["mjj"][:EVENTS])


def test_a_file_that_changes_between_runs_is_read_anew(tmp_path: Path, toys: Any) -> None:
    path = tmp_path / "a.root"
    write_events(path, toys.make_particles(1, EVENTS), 0)
    first = run_processor({"a": str(path)}, Sums(), chunksize=CHUNK, cache_dir=tmp_path / "cache")
    before = path.stat()
    content = bytearray(path.read_bytes())
    write_events(path, toys.make_particles(2, EVENTS), 0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # hides the change from who looks at mtime alone
    second = run_processor({"a": str(path)}, Sums(), chunksize=CHUNK, cache_dir=tmp_path / "cache")
    assert (first.ledger.chunks_cached, second.ledger.chunks_cached) == (0, 0)
    assert not np.array_equal(first.table()["mjj"], second.table()["mjj"])
    path.write_bytes(content)
    third = run_processor({"a": str(path)}, Sums(), chunksize=CHUNK, cache_dir=tmp_path / "cache")
    assert third.ledger.chunks_cached == 2
    np.testing.assert_array_equal(first.table()["mjj"], third.table()["mjj"])


@pytest.mark.parametrize("stage", [0, 20])
def test_a_file_that_changes_during_a_run_is_never_mixed(
    paths: list[str], undisturbed: Any, tmp_path: Path, toys: Any, stage: int
) -> None:
    """Written anew with the same number of events, before its first or its second chunk is read."""
    path = tmp_path / "4.root"
    path.write_bytes(Path(paths[4]).read_bytes())
    files = [*paths[:4], str(path), *paths[5:]]

    def before(metadata: dict[str, Any]) -> None:
        if (at(metadata, 4, stage) and stage == 20) or (at(metadata, 3, 20) and stage == 0):
            write_events(path, toys.make_particles(99, EVENTS), 160)

    with pytest.raises(InputError, match=r"4\.root: the file has changed"):
        run_processor({"a": files}, Sums(before), chunksize=CHUNK)
    path.write_bytes(Path(paths[4]).read_bytes())
    result = run_processor({"a": files}, Sums(before), chunksize=CHUNK, on_bad_file="skip", cache_dir=tmp_path / "c")
    assert list(result.ledger.files_failed) == [str(path)]
    assert (result.ledger.read, result.ledger.lost) == (FILES * EVENTS - EVENTS, EVENTS)
    keep = undisturbed.table()["event"] // EVENTS != 4
    np.testing.assert_array_equal(result.table()["mjj"], undisturbed.table()["mjj"][keep])


def test_a_file_that_was_only_touched_is_the_same(paths: list[str], undisturbed: Any) -> None:
    def before(metadata: dict[str, Any]) -> None:
        if at(metadata, 4, 0):
            os.utime(metadata["filename"])

    same_table(run_processor({"a": paths}, Sums(before), chunksize=CHUNK), undisturbed)


def test_events_with_nan_are_counted_by_reason(tmp_path: Path, toys: Any) -> None:
    particles = toys.make_particles(3, EVENTS)
    pt = ak.to_numpy(ak.flatten(particles.pt)).copy()
    pt[3] = np.nan
    broken = ak.with_field(particles, ak.unflatten(pt, ak.num(particles.pt)), "pt")
    write_events(tmp_path / "nan.root", broken, 0)
    write_events(tmp_path / "good.root", particles, EVENTS)
    files = [str(tmp_path / name) for name in ("nan.root", "good.root")]
    ledger = run_processor({"a": files}, DijetProcessor()).ledger
    assert ledger.skipped["particle not finite"] == 1
    assert ledger.by_file[0].skipped["particle not finite"] == 1
    assert "particle not finite" not in ledger.by_file[1].skipped
    assert ledger.complete


def test_a_duplicate_event_is_never_counted_twice_in_silence(paths: list[str], toys: Any, tmp_path: Path) -> None:
    again = tmp_path / "again.root"
    write_events(again, toys.make_particles(77, EVENTS), 30)  # numbers 30 to 70: in files 0 and 1
    twice = r"40 events are there twice, such as event 0 of .*again\.root \(dataset '{}'\), which is event 30 of .*0\.root \(dataset 'a'\)"
    whole = run_processor({"a": paths}, Sums(), chunksize=CHUNK)
    for fileset in ({"a": [*paths, str(again)]}, {"a": paths, "b": str(again)}):  # primary datasets overlap
        with pytest.raises(InputError, match=twice.format(list(fileset)[-1])):
            run_processor(fileset, Sums(), chunksize=CHUNK)
        dropped = run_processor(fileset, Sums(), chunksize=7, duplicates="drop")
        assert (dropped.ledger.read, dropped.ledger.duplicates, dropped.ledger.expected) == (400, 40, 440)
        assert dropped.complete
        assert "40 left out as duplicates" in str(dropped.ledger)
        np.testing.assert_array_equal(dropped.table()["mjj"], whole.table()["mjj"])
        assert run_processor(fileset, Sums(), chunksize=CHUNK, duplicates="keep").ledger.read == 440


def test_simulated_samples_count_anew(toys: Any, tmp_path: Path) -> None:
    """Equal numbers are equal events only where the content is the same: what is in one dataset twice, not what repeats numbers."""
    samples = [toys.make_particles(i, 20) for i in range(3)]
    samples.append(
        ak.concatenate([toys.make_particles(4, 10), samples[0][10:]])
    )  # its second half is that of the first
    for i, particles in enumerate(samples):
        write_events(tmp_path / f"{i}.root", particles, 0, run=1)
    files = [str(tmp_path / f"{i}.root") for i in range(4)]
    assert run_processor({"a": files[:3]}, Sums()).ledger.read == 60
    with pytest.raises(
        InputError, match=r"10 events are there twice, such as event 10 of .*3\.root .* event 10 of .*0\.root"
    ):
        run_processor({"a": files}, Sums())
    dropped = run_processor({"a": files}, Sums(), chunksize=7, duplicates="drop")
    assert (dropped.ledger.read, dropped.ledger.duplicates) == (70, 10)
    pt = [ak.to_numpy(ak.sum(particles.pt, axis=1)) for particles in (*samples[:3], samples[3][:10])]
    np.testing.assert_allclose(dropped.table()["mjj"], np.concatenate(pt), rtol=1e-4)  # stored as float32
    assert run_processor({"a": files[:3], "b": files[3]}, Sums()).ledger.read == 80  # inclusive and binned samples
    said = {"a": {"files": files[:3], "metadata": {"data": True}}}
    with pytest.raises(InputError, match="40 events are there twice"):
        run_processor(said, Sums())
    for i in range(3):
        write_events(tmp_path / f"{i}.root", samples[i], 0)  # run numbers as those of data
    with pytest.raises(InputError, match="40 events are there twice"):
        run_processor({"a": files[:3]}, Sums())
    assert run_processor({"a": {"files": files[:3], "metadata": {"data": False}}}, Sums()).ledger.read == 60


@pytest.mark.parametrize(
    ("name", "simulated"), [("nano_tt_v12", True), ("scouting_nano", True), ("nano_dimuon", False)]
)
def test_real_events_under_other_bytes(reference_data: Path, tmp_path: Path, name: str, simulated: bool) -> None:
    """A copy that was compressed anew, say: of a simulated sample twice in one dataset, of data wherever it is."""
    path = reference_data / "root" / f"{name}.root"
    again = tmp_path / "again.root"
    again.write_bytes(path.read_bytes() + b"other bytes")

    def count(events: Any) -> dict[str, int]:
        return {"n": len(events)}

    together = run_processor({"a": [path, again]}, count, duplicates="drop")
    apart = run_processor({"a": path, "b": again}, count, duplicates="drop")
    events = together.ledger.expected // 2
    assert (together.output["n"], together.ledger.duplicates) == (events, events)
    assert apart.output["n"] == (2 * events if simulated else events)


def test_numbers_that_cannot_be_read_do_not_hide_duplicates(paths: list[str], toys: Any, tmp_path: Path) -> None:
    """The numbers of one file are damaged, its particles are not: whoever does not look at them would count it twice."""
    bad = tmp_path / "bad.root"
    write_events(bad, toys.make_particles(0, EVENTS), 0)  # file 0 again
    with uproot.open(bad) as file:
        branch = file["Events"]["event"]
        offset = int(branch.member("fBasketSeek")[0] + branch.member("fBasketBytes")[0] // 2)
    content = bytearray(bad.read_bytes())
    content[offset - 8 : offset + 8] = b"\xff" * 16
    bad.write_bytes(content)

    def count(events: Any) -> dict[str, Any]:
        return {"pt": float(ak.sum(events.PFCand.pt)), "n": len(events)}

    files = [*paths[:2], str(bad)]
    assert run_processor({"a": files}, count, duplicates="keep").output["n"] == 3 * EVENTS
    with pytest.raises(InputError, match=r"bad\.root: its event numbers cannot be read"):
        run_processor({"a": files}, count)
    skipped = run_processor({"a": files}, count, on_bad_file="skip")
    assert skipped.output["n"] == 2 * EVENTS
    assert (skipped.ledger.lost, skipped.complete) == (EVENTS, False)
    assert "duplicates would not show" in skipped.ledger.files_failed[str(bad)]


def test_duplicates_inside_a_file_and_over_many_parts(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a set in memory: random numbers, compared in many small parts on disk."""
    monkeypatch.setattr("resonaut.processors.running.duplicates.PART", 10)
    monkeypatch.setattr("resonaut.processors.running.duplicates.BATCH", 17)
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 60, 80).astype(np.uint64)
    blocks = rng.integers(0, 2, 80).astype(np.uint32)
    particles = toys.make_particles(5, 80)
    for i, rows in enumerate((slice(0, 50), slice(50, 80))):
        ids = {"event": numbers[rows], "luminosityBlock": blocks[rows], "run": np.full(80, 3, np.uint32)[rows]}
        write_particle_tree(tmp_path / f"{i}.root", particles[rows], **ids)
    files = [str(tmp_path / f"{i}.root") for i in range(2)]
    said = {"a": {"files": files, "metadata": {"data": True}}}
    result = run_processor(said, Sums(), chunksize=9, duplicates="drop")
    seen: set[tuple[int, int]] = set()
    first = [not (key in seen or seen.add(key)) for key in zip(blocks.tolist(), numbers.tolist(), strict=True)]
    assert 0 < sum(first) < 80
    assert result.table()["event"].tolist() == numbers[first].tolist()
    assert result.ledger.duplicates == 80 - sum(first)


def test_the_same_bytes_under_two_names(paths: list[str], undisturbed: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy.root"
    copy.write_bytes(Path(paths[2]).read_bytes())
    with pytest.raises(InputError, match=r"copy\.root and .*2\.root hold the same bytes"):
        run_processor({"a": [*paths, str(copy)]}, Sums(), chunksize=CHUNK)
    result = run_processor({"a": [*paths, str(copy)]}, Sums(), chunksize=CHUNK, duplicates="drop")
    assert result.ledger.copies == {str(copy): paths[2]}
    assert (result.ledger.duplicates, result.ledger.expected) == (EVENTS, (FILES + 1) * EVENTS)
    same_table(result, undisturbed)
    of_simulation = {"metadata": {"data": False}}
    both = {"a": {"files": [*paths, str(copy)], **of_simulation}, "b": {"files": str(copy), **of_simulation}}
    result = run_processor(both, Sums(), chunksize=CHUNK, duplicates="drop")
    assert (result.ledger.read, result.ledger.duplicates) == (
        (FILES + 1) * EVENTS,
        EVENTS,
    )  # the other dataset has it once
    assert result.output["b"]["cutflow"]["all"] == EVENTS


def short_of_memory(metadata: dict[str, Any]) -> None:
    if metadata["entrystop"] - metadata["entrystart"] > 6:
        raise MemoryError


def test_a_chunk_without_memory_is_split(paths: list[str], undisturbed: Any) -> None:
    result = run_processor({"a": paths[:2]}, Sums(short_of_memory), chunksize=CHUNK)
    np.testing.assert_array_equal(result.table()["mjj"], undisturbed.table()["mjj"][: 2 * EVENTS])
    assert result.ledger.splits == 4 * 3  # 20 = 10 + 10, each 5 + 5
    assert result.complete


DRILL = """
    import os, sys, time
    import awkward as ak
    import numpy as np
    from pathlib import Path
    from coffea.processor import ProcessorABC, column_accumulator
    from resonaut.processors import run_processor

    class Slow(ProcessorABC):
        config = {}

        def __init__(self, marks=None, pause=0.0):
            self.marks, self.pause = marks, pause

        def process(self, events):
            if self.marks is not None:
                name = f"{Path(events.metadata['filename']).name}-{events.metadata['entrystart']}"
                Path(self.marks, f"{name}-{os.getpid()}").touch()
            time.sleep(self.pause)
            total = ak.to_numpy(ak.sum(events.PFCand.pt, axis=1)).astype(float)
            return {"a": {"table": {"mjj": column_accumulator(total)}}}

        def postprocess(self, accumulator):
            return accumulator

    def main():
        folder, executor, workers, *files = sys.argv[1:]
        Path(folder, "marks").mkdir()
        run_processor(
            {"a": files}, Slow(f"{folder}/marks", 0.4), chunksize=20, cache_dir=f"{folder}/cache", executor=executor,
            workers=int(workers), table=f"{folder}/table.parquet", duplicates="keep",
        )
"""


class Job:
    """A run in a process (group) of its own, and in this one when it is started again: its processor is in a module of its own."""

    def __init__(self, folder: Path, paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.paths = folder, paths
        self.table, self.marks = folder / "table.parquet", folder / "marks"
        (folder / "drill_module.py").write_text(textwrap.dedent(DRILL))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "drill_module", raising=False)

    def start(self, executor: str, workers: int) -> tuple[subprocess.Popen[str], list[int]]:
        """The process after some chunks, and all processes that it has started."""
        # a shell that starts the tests in the background would have them ignore Ctrl-C
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import drill_module; drill_module.main()"
        command = [sys.executable, "-W", "ignore", "-c", code, str(self.folder), executor, str(workers), *self.paths]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        running = subprocess.Popen(command, start_new_session=True, env=environment, **pipes)
        deadline = time.monotonic() + 60
        while running.poll() is None and len(self.started()) < 2 + workers and time.monotonic() < deadline:
            time.sleep(0.01)
        return running, [child.pid for child in psutil.Process(running.pid).children(recursive=True)]

    def started(self) -> list[str]:
        return sorted(path.name for path in self.marks.iterdir()) if self.marks.exists() else []

    def again(self, **options: Any) -> Any:
        import drill_module  # type: ignore[import-not-found]

        return run_processor({"a": self.paths}, drill_module.Slow(), chunksize=20, duplicates="keep", **options)

    def goes_on(self, undisturbed: Any) -> None:
        """Nothing half is left; the same call continues, and writes the same bytes as one that was not disturbed."""
        assert not self.table.exists()
        done = len(list((self.folder / "cache").rglob("*.zip")))
        assert 1 <= done < 2 * len(self.paths)
        result = self.again(cache_dir=self.folder / "cache", table=self.table)
        assert result.ledger.chunks_cached == done
        assert len(self.started()) - done <= 4  # what was under way or waited for its turn in a worker
        np.testing.assert_array_equal(
            np.asarray(read_table(self.table).mjj), undisturbed.table()["mjj"][: len(self.paths) * EVENTS]
        )
        self.again(table=self.folder / "fresh.parquet")
        assert self.table.read_bytes() == (self.folder / "fresh.parquet").read_bytes()


def ends(pids: list[int], seconds: float) -> bool:
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in set(pids) if psutil.pid_exists(pid)], timeout=seconds)
    return not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "workers"), [("futures", 2), ("dask", 1)])
def test_ctrl_c_ends_at_once_and_a_restart_goes_on(
    paths: list[str], undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, workers: int
) -> None:
    job = Job(tmp_path, paths[:8], monkeypatch)
    running, children = job.start(executor, workers)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the parent and all its workers
    _, complaint = running.communicate(timeout=60)
    assert running.returncode != 0
    assert "interrupted with" in complaint
    assert "the same call continues" in complaint
    assert ends(children, 30)
    job.goes_on(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["futures", "dask"])
def test_workers_end_when_the_parent_is_killed_and_a_restart_goes_on(
    paths: list[str], undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    job = Job(tmp_path, paths[:8], monkeypatch)
    running, children = job.start(executor, workers=1)
    assert {int(mark.rsplit("-", 1)[1]) for mark in job.started()} <= set(children)
    running.kill()
    running.communicate()
    assert ends(children, 30)
    job.goes_on(undisturbed)


def test_a_full_disk_keeps_what_is_whole(paths: list[str], undisturbed: Any, tmp_path: Path) -> None:
    """No file may grow beyond 400 bytes (RLIMIT_FSIZE, as a full disk: the write fails half-way)."""
    options: dict[str, Any] = {"chunksize": CHUNK, "cache_dir": tmp_path / "cache", "table": tmp_path / "table.parquet"}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
    try:
        for duplicates, what in (
            ("error", "while event numbers are compared in"),
            ("keep", "while keeping the result of"),
        ):
            with pytest.raises(OSError, match="File too large") as caught:
                run_processor({"a": paths}, Sums(), duplicates=duplicates, **options)
            assert any(what in note and "make room" in note for note in caught.value.__notes__)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "table.parquet").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    run_processor({"a": paths}, Sums(), **options)
    np.testing.assert_array_equal(np.asarray(read_table(tmp_path / "table.parquet").mjj), undisturbed.table()["mjj"])


def test_no_room_for_the_table(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC while the table is written: an error and no half table, also not the temporary one."""
    import pyarrow.parquet as pq

    def full(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        run_processor({"a": paths}, Sums(), chunksize=CHUNK, table=tmp_path / "table.parquet")
    assert not list(tmp_path.iterdir())


def test_the_table_on_disk_is_the_table_in_memory(paths: list[str], undisturbed: Any, tmp_path: Path) -> None:
    for name, options in (("a", {"chunksize": 20}), ("b", {"chunksize": 7, "cache_dir": tmp_path / "cache"})):
        result = run_processor({"a": paths}, Sums(), table=tmp_path / f"{name}.parquet", **options)
        assert result.rows == FILES * EVENTS
        assert "table" not in result.output["a"]
    table = read_table(tmp_path / "a.parquet")
    for name, column in undisturbed.table().items():
        np.testing.assert_array_equal(np.asarray(table[name]), column)
    assert read_table(tmp_path / "b.parquet").to_list() == table.to_list()
    assert read_provenance(tmp_path / "a.parquet")["ledger"]["complete"] is True
    assert read_provenance(tmp_path / "a.parquet")["cutflow"]["a"]["all"] == FILES * EVENTS
