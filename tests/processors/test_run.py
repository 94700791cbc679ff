"""Runs: executors agree bit for bit, the books balance, and what is lost is never silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.processor import IterativeExecutor, ProcessorABC, Runner

from resonaut.errors import ConfigError, IncompleteError, InputError
from resonaut.processors import (
    DijetCuts,
    DijetFeatures,
    DijetProcessor,
    Ledger,
    config_hash,
    make_plan,
    read_provenance,
    run_processor,
    write_particle_tree,
)
from resonaut.processors.events.schema import ParticleSchema
from resonaut.processors.running.fingerprint import content_digest
from resonaut.processors.running.work import result_path

CUTS = DijetCuts(pt_j1=1000.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any, toys: Any) -> dict[str, Any]:
    """Two datasets: an HDF5 file and two ROOT files of 60 toy events each."""
    folder = tmp_path_factory.mktemp("events")
    toys.write_particle_frame(folder / "a.h5", toys.make_particles(1, 60), np.zeros(60))
    for i in (2, 3):
        write_particle_tree(folder / f"{i}.root", toys.make_particles(i, 60), label=np.ones(60, np.int8))
    return {"frame": str(folder / "a.h5"), "trees": {"files": {str(folder / f"{i}.root"): "Events" for i in (2, 3)}}}


def tables_equal(one: Any, two: Any) -> None:
    assert list(one) == list(two)
    for name, column in one.items():
        np.testing.assert_array_equal(column, two[name], err_msg=name)


def test_run_counts_every_event(files: dict[str, Any]) -> None:
    result = run_processor(files, DijetProcessor(cuts=CUTS), chunksize=25)
    ledger = result.ledger
    assert (ledger.expected, ledger.read, ledger.files, ledger.lost) == (180, 180, 3, 0)
    assert ledger.used + sum(ledger.skipped.values()) == 180
    assert ledger.chunks == 9
    assert result.complete
    assert result.require_complete() is result
    assert [result.output[name]["cutflow"]["all"] for name in ("frame", "trees")] == [60, 120]
    assert set(result.table("frame")["label"]) == {0}
    assert len(result.table()["mjj"]) == sum(part["cutflow"]["selected"] for part in result.output.values())


def test_chunks_do_not_change_the_result(files: dict[str, Any]) -> None:
    one = run_processor(files, DijetProcessor(cuts=CUTS), chunksize=1000)
    two = run_processor(files, DijetProcessor(cuts=CUTS), chunksize=7)
    tables_equal(one.table(), two.table())
    assert {k: v["cutflow"] for k, v in one.output.items()} == {k: v["cutflow"] for k, v in two.output.items()}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["futures", "dask"])
def test_executors_agree_to_the_last_byte(files: dict[str, Any], tmp_path: Path, executor: str) -> None:
    for name in ("iterative", executor):
        result = run_processor(files, DijetProcessor(cuts=CUTS), executor=name, workers=2, chunksize=25)
        result.write_table(tmp_path / f"{name}.parquet")
    assert (tmp_path / "iterative.parquet").read_bytes() == (tmp_path / f"{executor}.parquet").read_bytes()


def test_coffeas_own_runner_gives_the_same(files: dict[str, Any]) -> None:
    runner = Runner(IterativeExecutor(status=False), schema=ParticleSchema, chunksize=25)
    output = runner({"trees": files["trees"]}, DijetProcessor(cuts=CUTS))
    result = run_processor({"trees": files["trees"]}, DijetProcessor(cuts=CUTS), chunksize=25)
    assert output["trees"]["cutflow"] == result.output["trees"]["cutflow"]
    for name, column in output["trees"]["table"].items():
        np.testing.assert_array_equal(column.value, result.table("trees")[name])
    assert output["trees"]["hist"]["mjj"] == result.output["trees"]["hist"]["mjj"]


def test_parquet_knows_where_it_is_from(files: dict[str, Any], tmp_path: Path) -> None:
    processor = DijetProcessor(DijetFeatures(radius=0.8), CUTS)
    run_processor(files, processor).write_table(tmp_path / "table.parquet")
    provenance = read_provenance(tmp_path / "table.parquet")
    assert provenance["processor"]["config"]["features"]["radius"] == 0.8
    assert provenance["config_hash"] == config_hash(processor) != config_hash(DijetProcessor(cuts=CUTS))
    assert [part["events"] for part in provenance["inputs"]] == [60, 60, 60]
    assert len({part["digest"] for part in provenance["inputs"]}) == 3
    assert provenance["ledger"]["complete"] is True
    assert provenance["cutflow"]["frame"]["all"] == 60


class Counting(ProcessorABC):
    """Leaves a mark for every chunk that it processes; fails on request."""

    def __init__(self, folder: Path, fail_at: int = -1, error: type[Exception] = OSError) -> None:
        self.folder, self.fail_at, self.error = str(folder), fail_at, error

    @property
    def config(self) -> dict[str, Any]:
        return {}

    def process(self, events: Any) -> dict[str, Any]:
        start = events.metadata["entrystart"]
        if start == self.fail_at:
            msg = "model file is missing"
            raise self.error(msg)
        Path(self.folder, f"{events.metadata['dataset']}-{Path(events.metadata['filename']).name}-{start}").touch()
        return {"events": len(events), "particles": int(ak.sum(ak.num(events.PFCand)))}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def test_finished_chunks_are_not_repeated(files: dict[str, Any], tmp_path: Path) -> None:
    cache, first, second, third = (tmp_path / x for x in ("cache", "first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    with pytest.raises(OSError, match="model file"):
        run_processor(files, Counting(first, fail_at=30), chunksize=30, cache_dir=cache)
    assert len(list(first.iterdir())) == 1
    result = run_processor(files, Counting(second), chunksize=30, cache_dir=cache)
    assert len(list(second.iterdir())) == 5
    assert result.ledger.chunks_cached == 1
    again = run_processor(files, Counting(third), chunksize=30, cache_dir=cache)
    assert not list(third.iterdir())
    assert again.output == result.output == run_processor(files, Counting(third), chunksize=30).output
    assert again.provenance == result.provenance


def test_results_are_found_by_content_not_by_name(files: dict[str, Any], tmp_path: Path, toys: Any) -> None:
    cache, marks = tmp_path / "cache", tmp_path / "marks"
    marks.mkdir()
    copy = tmp_path / "copy.h5"
    copy.write_bytes(Path(files["frame"]).read_bytes())
    run_processor({"frame": files["frame"]}, Counting(marks), cache_dir=cache)
    assert run_processor({"frame": str(copy)}, Counting(marks), cache_dir=cache).ledger.chunks_cached == 1
    toys.write_particle_frame(copy, toys.make_particles(9, 60))
    assert run_processor({"frame": str(copy)}, Counting(marks), cache_dir=cache).ledger.chunks_cached == 0
    other = {"frame": {"files": files["frame"], "metadata": {"weight": 2.0}}}
    assert run_processor(other, Counting(marks), cache_dir=cache).ledger.chunks_cached == 0


def test_a_damaged_kept_result_is_computed_again(files: dict[str, Any], tmp_path: Path) -> None:
    processor = DijetProcessor(cuts=CUTS)
    fileset = {"frame": files["frame"]}
    result = run_processor(fileset, processor, cache_dir=tmp_path)
    kept = result_path(tmp_path / config_hash(processor), make_plan(fileset).chunks[0])
    kept.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
    again = run_processor(fileset, processor, cache_dir=tmp_path)
    assert again.ledger.chunks_cached == 0
    tables_equal(result.table(), again.table())


@pytest.mark.parametrize("error", [OSError, ValueError, InputError])
@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_errors_of_the_processor_always_come_through(
    files: dict[str, Any], tmp_path: Path, error: type[Exception], policy: str
) -> None:
    with pytest.raises(error, match="model file is missing") as caught:
        run_processor(files, Counting(tmp_path, 0, error), on_bad_file=policy)
    assert any("a.h5" in note for note in caught.value.__notes__)


@pytest.mark.slow
def test_errors_come_through_from_worker_processes(files: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="model file is missing"):
        run_processor(files, Counting(tmp_path, 0), on_bad_file="skip", executor="futures", workers=1)


def damaged(files: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The fileset with a truncated ROOT file and a truncated HDF5 file in it."""
    for name, path in (("bad.root", next(iter(files["trees"]["files"]))), ("bad.h5", files["frame"])):
        content = Path(path).read_bytes()
        (tmp_path / name).write_bytes(content[: int(0.7 * len(content))])
    return {"frame": [files["frame"], str(tmp_path / "bad.h5")], "bad": str(tmp_path / "bad.root")}


def test_bad_files_are_errors_by_default(files: dict[str, Any], tmp_path: Path) -> None:
    fileset = damaged(files, tmp_path)
    with pytest.raises(InputError, match=r"bad\.h5.*truncated"):
        run_processor(fileset, DijetProcessor())
    with pytest.raises(InputError, match=r"bad\.root.*truncated"):
        run_processor({"bad": fileset["bad"]}, DijetProcessor())


def test_skipped_files_are_counted_and_reported(files: dict[str, Any], tmp_path: Path, caplog: Any) -> None:
    result = run_processor(damaged(files, tmp_path), DijetProcessor(), on_bad_file="skip")
    assert result.ledger.read == result.ledger.expected == 60
    assert sorted(Path(path).name for path in result.ledger.files_failed) == ["bad.h5", "bad.root"]
    assert not result.complete
    assert "INCOMPLETE" in caplog.text
    with pytest.raises(IncompleteError, match=r"bad\.root"):
        result.require_complete()
    result.write_table(tmp_path / "table.parquet")
    assert read_provenance(tmp_path / "table.parquet")["ledger"]["complete"] is False


@pytest.mark.parametrize("kind", ["h5", "root"])
def test_a_file_that_breaks_half_way_loses_only_its_bad_chunk(tmp_path: Path, kind: str, toys: Any) -> None:
    """Damage that opening does not show: the chunk is lost, counted, and named."""
    path = tmp_path / f"events.{kind}"
    particles = toys.make_particles(4, 40)
    if kind == "h5":
        toys.write_particle_frame(path, particles, chunks=(10, 450), compression="gzip", fletcher32=True)
        offset = hdf5_chunk_middle(path, 1)
    else:
        write_particle_tree(path, particles)
        offset = basket_middle(path, "PFCand_eta")
    content = bytearray(path.read_bytes())
    content[offset - 8 : offset + 8] = b"\xff" * 16
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"events\.{kind}.*corrupt"):
        run_processor({"a": str(path)}, DijetProcessor(), chunksize=10)
    result = run_processor({"a": str(path)}, DijetProcessor(), chunksize=10, on_bad_file="skip")
    lost = 10 if kind == "h5" else 40  # one basket holds all entries of the tree
    assert (result.ledger.expected, result.ledger.read, result.ledger.lost) == (40, 40 - lost, lost)
    assert list(result.ledger.files_failed) == [str(path)]
    assert not result.complete


def hdf5_chunk_middle(path: Path, index: int) -> int:
    import h5py

    with h5py.File(path) as file:
        chunk = file["df/block0_values"].id.get_chunk_info(index)
    return int(chunk.byte_offset + chunk.size // 2)


def basket_middle(path: Path, branch: str) -> int:
    import uproot

    with uproot.open(path) as file:
        found = file["Events"][branch]
        return int(found.member("fBasketSeek")[0] + found.member("fBasketBytes")[0] // 2)


def test_a_missing_branch_is_named(files: dict[str, Any]) -> None:
    """The collection that the processor was told to take is not in the file: never a bad file to skip."""
    processor = DijetProcessor(DijetFeatures(collection="FatJet"))
    with pytest.raises(InputError, match="unknown jet collection 'FatJet'"):
        run_processor(files, processor, on_bad_file="skip")


class Forgetful(ProcessorABC):
    def process(self, _events: Any) -> None:
        return None

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def test_calls_that_make_no_sense_are_refused(files: dict[str, Any]) -> None:
    path = files["frame"]
    for fileset, options, message in (
        ({}, {}, "empty"),
        ({"a": []}, {}, "no files"),
        ({"a": [path, path]}, {}, "more than once"),
        ({"a": {"files": path, "metdata": {}}}, {}, "metadata"),
        ({"a": path}, {"executor": "future"}, "futures"),
        ({"a": path}, {"workers": 0}, "workers"),
        ({"a": path}, {"chunksize": 0}, "chunksize"),
        ({"a": path}, {"on_bad_file": "ignore"}, "on_bad_file"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_processor(fileset, DijetProcessor(), **options)
    with pytest.raises(InputError, match="lhco-features"):
        run_processor({"a": {"files": path, "source": "lhco-feature"}}, DijetProcessor(), on_bad_file="skip")
    with pytest.raises(ConfigError, match="returned None"):
        run_processor({"a": path}, Forgetful())


def test_a_ledger_that_does_not_add_up_is_not_complete() -> None:
    assert Ledger(10, 10, 8, {"x": 2}).complete
    assert not Ledger(10, 9, 9).complete
    assert not Ledger(10, 10, 9).complete
    assert not Ledger(10, 9, 9, lost=1).complete
    assert Ledger(10, 9, 9, lost=1).balanced
    assert not Ledger(10, 10, 10, files_failed={"f": "gone"}).complete


def test_no_table_of_an_earlier_run_is_left_for_this_one(files: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "events.parquet"
    whole = {"frame": {"files": files["frame"], "source": "lhco-particles"}}
    assert run_processor(whole, DijetProcessor(cuts=CUTS), table=out).rows
    broken = {"frame": damaged(files, tmp_path)["bad"]}
    nothing = run_processor(broken, DijetProcessor(cuts=CUTS), table=out, on_bad_file="skip")
    assert (nothing.rows, nothing.complete) == (0, False)
    assert not out.exists()


def test_a_file_that_grows_while_a_run_begins_is_read_to_its_end(
    tmp_path: Path, toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written anew between the looks at its content and at its number of events."""
    path = tmp_path / "a.root"
    write_particle_tree(path, toys.make_particles(1, 20))

    def and_then_grow(name: str) -> str:
        write_particle_tree(path, toys.make_particles(1, 30))
        return content_digest(name)

    monkeypatch.setattr("resonaut.processors.running.plan.content_digest", and_then_grow)
    assert run_processor({"a": str(path)}, DijetProcessor(cuts=CUTS)).ledger.read == 30


def test_provenance_names_the_tree(files: dict[str, Any]) -> None:
    result = run_processor({"trees": files["trees"]}, DijetProcessor(cuts=CUTS))
    assert [part["tree"] for part in result.provenance["inputs"]] == ["Events", "Events"]


def test_the_native_lhc_olympics_file_end_to_end(reference_data: Path) -> None:
    """The published signal, Z' -> X(500) Y(100): its dijet mass has a median of 3.47 TeV, its jets peak at X and Y."""
    path = reference_data / "lhco" / "events_anomalydetection_tiny.h5"
    result = run_processor({"lhco": str(path)}, DijetProcessor(cuts=DijetCuts(pt_j1=1200, abs_eta=2.5)), chunksize=300)
    table = result.require_complete().table()
    signal = table["label"] == 1
    assert result.ledger.read == 1000
    assert signal.sum() == 93
    np.testing.assert_allclose(np.median(table["mjj"][signal]), 3470, atol=15)
    np.testing.assert_allclose(np.median(table["m_h"][signal]), 500, rtol=0.05)
    np.testing.assert_allclose(np.median(table["m_l"][signal]), 100, rtol=0.15)
    assert np.median(table["tau21_h"][signal]) < np.median(table["tau21_h"][~signal])
