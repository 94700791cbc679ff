"""Executors: each by its own system where it runs here, else what would be submitted or asked for."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import pytest
from coffea.processor import DaskExecutor, FuturesExecutor, IterativeExecutor, ProcessorABC, column_accumulator

from resonaut.errors import ConfigError, MissingDependencyError
from resonaut.models import Sample, make_scorer
from resonaut.processors import (
    EXECUTORS,
    AnomalySelection,
    DijetFeatures,
    batch_cluster,
    run_processor,
    source,
    write_particle_tree,
)
from resonaut.processors.running.clusters import taskvine_executor
from resonaut.processors.sources.registry import SOURCES
from resonaut.stats import Window

cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Sums(ProcessorABC):
    def process(self, events: Any) -> dict[str, Any]:
        total = ak.to_numpy(ak.sum(events.PFCand.pt, axis=1)).astype(float)
        return {events.metadata["dataset"]: {"n": len(events), "table": {"mjj": column_accumulator(total)}}}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


@pytest.fixture(scope="module")
def path(tmp_path_factory: Any, toys: Any) -> str:
    path = tmp_path_factory.mktemp("events") / "events.root"
    write_particle_tree(path, toys.make_particles(1, 60))
    return str(path)


@pytest.fixture(scope="module")
def truth(path: str) -> Any:
    """coffea's own runner on the same file."""
    from coffea.processor import Runner

    from resonaut.processors.events.schema import ParticleSchema

    runner = Runner(IterativeExecutor(status=False), schema=ParticleSchema, chunksize=20)
    return runner({"a": {"files": {path: "Events"}}}, Sums())["a"]


def check(result: Any, truth: Any) -> None:
    assert result.complete
    assert result.output["a"]["n"] == truth["n"] == 60
    np.testing.assert_array_equal(result.table()["mjj"], truth["table"]["mjj"].value)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "htex"])
def test_parsl(path: str, truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    pytest.importorskip("parsl")
    monkeypatch.chdir(tmp_path)
    options = {"executor": executor}
    check(run_processor({"a": path}, Sums(), executor="parsl", workers=1, options=options, chunksize=20), truth)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_parsl_config_of_your_own(path: str, truth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("parsl")
    from parsl.config import Config
    from parsl.executors import ThreadPoolExecutor

    made: list[Any] = []

    def config() -> Any:
        made.append(Config(executors=[ThreadPoolExecutor(max_threads=1)], run_dir=str(tmp_path), usage_tracking=0))
        return made[-1]

    monkeypatch.setitem(sys.modules, "mysite", types.SimpleNamespace(config=config))
    options = {"config": "mysite:config"}
    check(run_processor({"a": path}, Sums(), executor="parsl", options=options, chunksize=20), truth)
    assert made
    with pytest.raises(ConfigError, match="module:name"):
        run_processor({"a": path}, Sums(), executor="parsl", options={"config": "mysite:other"})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A dask cluster that somebody else has started."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.mark.slow
def test_any_executor_of_coffea(path: str, truth: Any, cluster: Any) -> None:
    check(run_processor({"a": path}, Sums(), executor=IterativeExecutor(status=False), chunksize=20), truth)
    check(run_processor({"a": path}, Sums(), executor=FuturesExecutor(workers=1, status=False), chunksize=20), truth)
    with cluster.get_client() as client:
        given = DaskExecutor(client=client, status=False)
        check(run_processor({"a": path}, Sums(), executor=given, chunksize=20), truth)


def test_the_job_that_slurm_would_get(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    options = {
        "cores": 2, "memory": "4GB", "queue": "short", "account": "atlas", "walltime": "02:00:00",
        "prologue": ["source env.sh"], "directives": ["--constraint=el9"], "log_directory": str(tmp_path),
    }  # fmt: skip
    with batch_cluster("slurm", 50, options) as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    for wanted in (
        "#SBATCH -p short", "#SBATCH -A atlas", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=4G", "#SBATCH -t 02:00:00",
        "#SBATCH --constraint=el9", "source env.sh",
    ):  # fmt: skip
        assert wanted in lines, script
    assert "--nthreads 1 " in script
    assert "--nworkers 2 " in script  # one chunk per core, never two in one process


def test_the_job_that_htcondor_would_get(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    options = {
        "memory": "3GB",
        "disk": "2GB",
        "directives": {"+JobFlavour": '"workday"'},
        "log_directory": str(tmp_path),
    }
    with batch_cluster("htcondor", 50, options) as cluster:
        script = cluster.job_script()
    for wanted in (
        "MY.DaskWorkerCores = 1", "MY.DaskWorkerMemory = 3000000000", "MY.DaskWorkerDisk = 2000000000",
        '+JobFlavour = "workday"',
    ):  # fmt: skip
        assert wanted in script.splitlines(), script
    assert "--nthreads 1 " in script


@pytest.mark.slow
def test_jobs_that_are_processes_of_this_machine(path: str, truth: Any, tmp_path: Path) -> None:
    """dask-jobqueue itself, with a `sbatch` that starts the script it is given: submission to result."""
    pytest.importorskip("dask_jobqueue")
    import os

    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sbatch").write_text(
        f'#!/bin/sh\nscript="$1"; cp "$script" {tmp_path}/job.sh\nnohup sh {tmp_path}/job.sh >/dev/null 2>&1 &\n'
        'echo "Submitted batch job $!"\n'
    )
    (tools / "scancel").write_text('#!/bin/sh\nkill "$@" 2>/dev/null\nexit 0\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        options = {"memory": "1GB", "log_directory": str(tmp_path), "interface": "lo"}
        check(run_processor({"a": path}, Sums(), executor="slurm", options=options, chunksize=20), truth)
    assert "#SBATCH --mem=954M" in (tmp_path / "job.sh").read_text()


def test_options_that_make_no_sense(path: str) -> None:
    pytest.importorskip("dask_jobqueue")
    for options, message in (
        ({"executor": "slurm", "options": {"qeue": "short"}}, "did you mean 'queue'"),
        ({"executor": "slurm", "options": {"cores": 1}}, "needs the memory of a job"),
        ({"executor": "slurm", "options": {"memory": "1GB", "disk": "1GB"}}, "no option disk"),
        ({"executor": "htcondor", "options": {"memory": "1GB", "queue": "a"}}, "htcondor has no queue"),
        ({"executor": "futures", "options": {"queue": "a"}}, "option of the executor 'futures'"),
        ({"executor": "futures", "scheduler": "tcp://a:1"}, "needs the dask executor"),
        ({"executor": "parsl", "options": {"executor": "htx"}}, "expected 'htex', 'threads'"),
        ({"memory_limit": "12 parsecs"}, "expected a number with a unit"),
        ({"memory_limit": "10MB"}, "before the first event"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_processor({"a": path}, Sums(), **options)


@pytest.mark.parametrize(
    ("executor", "module", "command"),
    [
        ("dask", "distributed", "pip install 'resonaut[dask]'"),
        ("slurm", "dask_jobqueue", "pip install 'resonaut[jobqueue]'"),
        ("htcondor", "dask_jobqueue", "pip install 'resonaut[jobqueue]'"),
        ("parsl", "parsl.config", "pip install 'resonaut[parsl]'"),
        ("taskvine", "ndcctools.taskvine", "conda install -c conda-forge ndcctools"),
    ],
)
def test_a_missing_package_is_named_with_its_command(
    path: str, monkeypatch: pytest.MonkeyPatch, executor: str, module: str, command: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    options = {"memory": "1GB"} if executor in ("slurm", "htcondor") else {}
    with pytest.raises(MissingDependencyError) as caught:
        run_processor({"a": path}, Sums(), executor=executor, options=options)
    assert command in str(caught.value)


def test_taskvine_by_a_stand_in(path: str, truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the real TaskVine, which pip does not have: that our settings are those of coffea's executor, and its results ours."""
    from dataclasses import fields

    import coffea.processor

    real = {each.name for each in fields(coffea.processor.TaskVineExecutor)}
    asked: list[dict[str, Any]] = []

    @dataclass
    class StandIn(IterativeExecutor):
        settings: dict[str, Any] = field(default_factory=dict)

    def make(**settings: Any) -> StandIn:
        assert set(settings) <= real
        asked.append(settings)
        return StandIn(status=False)

    monkeypatch.setitem(sys.modules, "ndcctools", types.ModuleType("ndcctools"))
    monkeypatch.setitem(sys.modules, "ndcctools.taskvine", types.ModuleType("ndcctools.taskvine"))
    monkeypatch.setattr(coffea.processor, "TaskVineExecutor", make)
    options = {"manager": "resonaut-1", "cores": 2, "memory": "4GB", "disk": "8GB", "port": 0}
    check(run_processor({"a": path}, Sums(), executor="taskvine", options=options, chunksize=20), truth)
    assert asked[0]["manager_name"] == "resonaut-1"
    assert (asked[0]["cores"], asked[0]["memory"], asked[0]["disk"]) == (2, 4000, 8000)  # MB
    assert taskvine_executor({}, {}).status is False


def test_every_executor_has_its_options() -> None:
    from resonaut.analysis.commands.features import features
    from resonaut.processors import EXECUTOR_OPTIONS

    choice = next(option for option in features.params if option.name == "executor")
    assert set(choice.type.choices) == set(EXECUTORS) == set(EXECUTOR_OPTIONS)  # type: ignore[attr-defined]


class Scored(ProcessorABC):
    """Counts how often a worker reads a scorer from disk."""

    def __init__(self, folder: Path, marks: Path) -> None:
        self.marks = str(marks)
        self.anomaly = AnomalySelection(folder, DijetFeatures(), {"half": 0.5})

    def process(self, events: Any) -> dict[str, Any]:
        import os
        import uuid

        import resonaut.models

        read = resonaut.models.load_scorer

        def counted(*arguments: Any) -> Any:
            Path(self.marks, f"{os.getpid()}-{uuid.uuid4().hex}").touch()
            return read(*arguments)

        resonaut.models.load_scorer = counted
        try:
            scores = self.anomaly.score(events).scores
        finally:
            resonaut.models.load_scorer = read
        return {"a": {"table": {"score": column_accumulator(scores)}}, "workers": {str(os.getpid())}}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: Any) -> Path:
    rng = np.random.default_rng(8)
    mass = rng.uniform(2500.0, 4500.0, 2000)
    sample = Sample(rng.uniform(0.0, 1.0, (2000, 2)), ("m_h", "tau21_h"), mass)
    folder = tmp_path_factory.mktemp("scorer") / "scorer"
    made = make_scorer("cwola-trees", features=("m_h", "tau21_h"), members=1)
    made.fit(sample, Window(3300.0, 3700.0, 2700.0, 4300.0)).save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["iterative", "futures", "dask"])
def test_a_scorer_is_read_once_per_worker(
    path: str, scorer: Path, tmp_path: Path, executor: str, request: pytest.FixtureRequest
) -> None:
    """And gives there the scores that it gives here."""
    processor = Scored(scorer, tmp_path)
    given = {"scheduler": request.getfixturevalue("cluster").scheduler_address} if executor == "dask" else {}
    result = run_processor({"a": path}, processor, executor=executor, chunksize=6, **given)
    assert result.ledger.chunks == 10
    loads = [mark.name.split("-")[0] for mark in tmp_path.iterdir()]
    assert sorted(loads) == sorted(result.output["workers"])  # each worker that worked, once
    events = source("particles-root").read(path, 0, 60)
    np.testing.assert_array_equal(result.table("a")["score"], processor.anomaly.score(events).scores)


class RowsOfText:
    """A layout of the user's: a line of text for each event, the pt of its only particle."""

    name = "rows-of-text"

    def recognises(self, path: str) -> bool:
        return path.endswith(".rows")

    def n_events(self, path: str, tree: str | None = None) -> int:
        del tree
        return len(Path(path).read_text().splitlines())

    def read(self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Any = None) -> Any:
        from resonaut.processors.events.schema import events_from_columns

        del tree
        pt = ak.from_regular(np.array(Path(path).read_text().splitlines()[start:stop], dtype=np.float64)[:, np.newaxis])
        columns = {"nPFCand": np.ones(stop - start, np.int64), "PFCand_pt": pt}
        columns |= {f"PFCand_{name}": 0.0 * pt for name in ("eta", "phi", "mass")}
        return events_from_columns(columns, stop - start, path, start, metadata)


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_workers_know_a_source_of_the_users(
    named: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which was registered here alone."""
    monkeypatch.setitem(SOURCES, "rows-of-text", RowsOfText())
    (tmp_path / "a.rows").write_text("\n".join(map(str, range(30))))
    files = {"files": [str(tmp_path / "a.rows")], **({"source": "rows-of-text"} if named else {})}
    scheduler = request.getfixturevalue("cluster").scheduler_address
    result = run_processor({"a": files}, Sums(), executor="dask", scheduler=scheduler, chunksize=10)
    assert result.complete
    np.testing.assert_array_equal(np.sort(result.table()["mjj"]), np.arange(30.0))
