"""Searches with background templates, by name: simulation beside the data, direct estimates beside the fits."""

from __future__ import annotations

import csv
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.analysis.describe import describe_search
from resonaut.analysis.events import event_stage, simulation_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import score_jobs
from resonaut.analysis.search import run_search
from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import BaseScorer, CrossFit, Sample, load_scorer, register
from resonaut.models.templates import BackgroundTemplate, MassModel, TemplateScorer, register_template
from resonaut.processors import read_table, write_table
from resonaut.stats import Window

SCAN = {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3300]}
TREES = {"classifier": "trees", "classifier_options": {"members": 2, "max_iter": 20}}


@register_template("test-simulation")
class SimulationTemplate(BackgroundTemplate):
    """The simulation in the signal region, as it is."""

    uses_simulation = True

    def __init__(self, features: tuple[str, ...] = ("a", "b"), *, seed: int = 0, fails: bool = False) -> None:
        self.features, self.seed, self.fails = tuple(features), seed, fails
        self.events_: Sample | None = None

    def fit(self, sample: Sample, window: Window) -> SimulationTemplate:
        if self.fails:
            msg = "this template cannot be made"
            raise ModelError(msg)
        simulation = sample.require_simulation(self.name)
        assert sample.mass.min() <= simulation.mass.min() + 1  # the mass range of the data, no more
        assert simulation.label is None
        self.mass_, self.window_ = MassModel.fit(sample, window), window
        self.events_ = simulation.take(window.in_signal_region(simulation.mass))
        return self

    def background(self, seed: int) -> Sample:  # noqa: ARG002
        assert self.events_ is not None
        weight = self.events_.weight * self.yield_()[0] / self.events_.weight.sum()
        return Sample(self.events_.require(self.features), self.features, self.events_.mass, weight)


@register("test-simulation")
class SimulationScorer(TemplateScorer):
    """Data of the signal region against simulation."""

    template_class = SimulationTemplate


@register("test-template-free")
class Plain(BaseScorer):
    """A scorer without a template."""

    def __init__(self, features: tuple[str, ...] = ("a", "b"), *, seed: int = 0) -> None:
        self.features, self.seed = tuple(features), seed

    fitted = True

    def fit(self, sample: Sample, window: Window | None) -> Plain:  # noqa: ARG002
        assert sample.simulation is None  # a method that does not ask for simulation sees none
        return self

    def score(self, sample: Sample) -> np.ndarray:
        return sample.require(self.features)[:, 0]

    def learnt_tensors(self) -> dict[str, np.ndarray]:
        return {"nothing": np.zeros(1)}

    def restore(self, tensors: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        pass


def table(path: Path, seed: int, *, events: int, bump: int = 0, shift: float = 0.0, weight: float = 1.0) -> None:
    """A falling spectrum, two features that do not depend on it, and a resonance that stands apart in one of them."""
    rng = np.random.default_rng(seed)
    mass = 2600.0 * (1 - rng.random(events) * (1 - 2.2**-5.0)) ** (-1 / 5.0)
    mass = np.concatenate([mass, rng.normal(3300, 60, bump)])
    a = np.concatenate([rng.normal(shift, 1, events), rng.normal(3, 0.4, bump)])
    columns = {"mjj": mass, "a": a, "b": rng.normal(0, 1, len(mass)), "weight": np.full(len(mass), weight)}
    columns["label"] = np.repeat([0, 1], [events, bump]).astype(np.int8)
    order = rng.permutation(len(mass))
    write_table(path, {name: values[order] for name, values in columns.items()})


def config_of(*methods: str, simulation: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    options = {"cwola": TREES, "test-simulation": TREES}
    given = {"files": ["data.parquet"], **({} if simulation is None else {"simulation": simulation})}
    named = [{"name": n, "features": ["a", "b"], "options": options.get(n, {})} for n in methods]
    content = {
        "name": "toy", "seed": 5, "workers": 1, "input": given, "scan": SCAN, "methods": named,
        "selection": {"cuts": [0.1, 0.01], "folds": 3}, "limits": None,
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    table(folder / "data.parquet", 1, events=30_000, bump=250)
    table(folder / "simulation.parquet", 2, events=60_000, weight=0.37)
    return folder


@pytest.fixture(scope="module")
def toy_run(inputs: Path) -> Path:
    methods = ("test-simulation", "cwola", "test-template-free")
    run_search(parse_config(config_of(*methods, simulation=["sim*.parquet"])), inputs, inputs / "run")
    return inputs / "run"


def summary_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "summary.json").read_text()))


def test_methods_with_templates_run_by_name_and_find_the_bump(toy_run: Path) -> None:
    windows = {(w["method"], w["cut"]): w for w in summary_of(toy_run)["windows"] if w["low"] < 3300 < w["high"]}
    assert windows["test-simulation", 0.01]["local_significance"] > 5
    assert windows["cwola", 0.01]["local_significance"] > 3


def test_the_direct_estimate_stands_beside_the_fit(toy_run: Path) -> None:
    summary = summary_of(toy_run)
    direct = {(d["method"], d["cut"]): d for d in summary["direct"]}
    assert set(direct) == {(m, c) for m in ("test-simulation", "cwola") for c in (0.1, 0.01)}
    fits = {(w["method"], w["cut"]): w for w in summary["windows"]}
    for place, entry in direct.items():
        assert entry["observed"] == fits[place]["observed"]
        both = np.hypot(entry["expected_error"], fits[place]["expected_error"])
        assert abs(entry["expected"] - fits[place]["expected"]) < 4 * both
    assert direct["test-simulation", 0.01]["local_significance"] > 5
    # The expected background is that of the truth: features do not depend on the mass.
    truth = read_table(toy_run / "events/events.parquet")
    mass = np.asarray(truth["mjj"])[np.asarray(truth["label"]) == 0]
    entry = direct["test-simulation", 0.1]
    inside = np.count_nonzero((mass >= entry["low"]) & (mass < entry["high"]))
    assert entry["expected"] == pytest.approx(0.1 * inside, rel=0.15)


def test_the_same_numbers_are_in_json_csv_and_report(toy_run: Path) -> None:
    entries = summary_of(toy_run)["direct"]
    assert json.loads((toy_run / "results/direct.json").read_text()) == entries
    with (toy_run / "results/direct.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["expected"]) for row in rows] == [entry["expected"] for entry in entries]
    assert [row["method"] for row in rows] == [entry["method"] for entry in entries]
    html = (toy_run / "report.html").read_text()
    for entry in entries:
        assert f"<td>{entry['expected']:,.1f}</td><td>{entry['expected_error']:,.1f}</td>" in html
    assert "simulation read" in html


def test_direct_estimates_of_a_run_are_those_of_its_saved_scorer(toy_run: Path) -> None:
    (folder,) = (toy_run / "scores/test-simulation").iterdir()
    scorer = load_scorer(folder / "scorer")
    assert isinstance(scorer, CrossFit)
    from safetensors.numpy import load_file

    saved = load_file(folder / "held_out.safetensors")
    for number, each in enumerate(scorer.scorers):
        np.testing.assert_array_equal(saved[f"{number}.scores"], each.held_out_.scores)  # type: ignore[attr-defined]


def test_every_key_of_a_direct_entry_is_documented(toy_run: Path) -> None:
    documented = (Path(__file__).parents[2] / "docs/summary.md").read_text()
    for entry in summary_of(toy_run)["direct"]:
        assert all(f"`{key}`" in documented for key in entry)


def test_simulation_has_books_of_its_own_and_stays_out_of_the_spectra(toy_run: Path, inputs: Path) -> None:
    summary = summary_of(toy_run)
    assert (summary["events"]["used"], summary["simulation"]["used"]) == (30_250, 60_000)
    assert summary["simulation"]["complete"]
    data = np.asarray(read_table(inputs / "data.parquet")["mjj"])
    inclusive = next(w for w in summary["windows"] if w["method"] == "inclusive")
    assert inclusive["observed"] == np.count_nonzero((data >= inclusive["low"]) & (data < inclusive["high"]))
    assert "simulation" in summary["timings"]


def test_a_second_run_trains_nothing(toy_run: Path, inputs: Path) -> None:
    before, stamps = summary_of(toy_run), {p: p.stat().st_mtime_ns for p in toy_run.rglob("unit.json")}
    assert {p.parent.name for p in stamps} >= {"events", "simulation"}
    methods = ("test-simulation", "cwola", "test-template-free")
    run_search(parse_config(config_of(*methods, simulation=["sim*.parquet"])), inputs, toy_run)
    assert {p: p.stat().st_mtime_ns for p in toy_run.rglob("unit.json")} == stamps
    after = summary_of(toy_run)
    assert {**before, "timings": 0} == {**after, "timings": 0}


def test_other_simulation_repeats_only_what_reads_it(inputs: Path, tmp_path: Path) -> None:
    for name in ("data.parquet", "simulation.parquet"):
        (tmp_path / name).write_bytes((inputs / name).read_bytes())
    config = parse_config(config_of("test-simulation", "test-template-free", simulation=["simulation.parquet"]))
    run = RunDirectory(tmp_path / "run")
    events = event_stage(config, tmp_path, run)
    before = score_jobs(config, run, events.table, events.key, simulation_stage(config, tmp_path, run))
    table(tmp_path / "simulation.parquet", 3, events=20_000)
    after = score_jobs(config, run, events.table, events.key, simulation_stage(config, tmp_path, run))
    assert {j.method.name for j, k in zip(before, after, strict=True) if j.key != k.key} == {"test-simulation"}
    assert [job.seed for job in before] == [job.seed for job in after]
    alone = parse_config(config_of("test-template-free"))
    assert {job.key for job in score_jobs(alone, run, events.table, events.key)} < {job.key for job in before}


def test_missing_simulation_is_told_before_anything_runs(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test-simulation learns from simulated background.*input\.simulation"):
        parse_config(config_of("test-simulation"))
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config_of("test-simulation")))
    result = CliRunner().invoke(main, ["run", str(tmp_path / "search.yaml"), "--dry-run"])
    assert result.exit_code != 0
    assert "input.simulation" in str(result.output) + str(result.exception)
    config = parse_config(config_of("test-simulation", simulation=["nowhere*.h5"]))
    with pytest.raises(InputError, match=r"input.simulation: 'nowhere\*.h5' matches no file"):
        describe_search(config, inputs)


def test_a_dry_run_says_who_reads_the_simulation(inputs: Path) -> None:
    config = parse_config(config_of("test-simulation", "cwola", simulation=["simulation.parquet"]))
    assert "simulation 1 files, for test-simulation" in describe_search(config, inputs)
    idle = parse_config(config_of("cwola", simulation=["simulation.parquet"]))
    assert "for no method" in describe_search(idle, inputs)


def test_data_given_as_simulation_are_refused(inputs: Path, tmp_path: Path) -> None:
    config = parse_config(config_of("test-simulation", simulation=["data.parquet"]))
    with pytest.raises(InputError, match="would count twice"):
        run_search(config, inputs, tmp_path / "run")


def test_simulation_without_a_feature_or_out_of_range_is_named(inputs: Path, tmp_path: Path) -> None:
    data = read_table(inputs / "simulation.parquet")
    columns = {name: np.asarray(data[name]) for name in data.fields}
    write_table(inputs / "no_b.parquet", {name: values for name, values in columns.items() if name != "b"})
    write_table(inputs / "low.parquet", {**columns, "mjj": columns["mjj"] / 10})
    with pytest.raises(InputError, match=r"the simulation \(input.simulation\) has no b"):
        run_search(parse_config(config_of("test-simulation", simulation=["no_b.parquet"])), inputs, tmp_path / "a")
    with pytest.raises(InputError, match="no event of the simulation lies between"):
        run_search(parse_config(config_of("test-simulation", simulation=["low.parquet"])), inputs, tmp_path / "b")


def test_a_template_that_cannot_be_made_is_a_skipped_window(inputs: Path, tmp_path: Path) -> None:
    content = config_of("test-simulation", "test-template-free", simulation=["simulation.parquet"])
    content["methods"][0]["options"] = {**TREES, "template": {"fails": True}}
    run_search(parse_config(content), inputs, tmp_path / "run")
    summary = summary_of(tmp_path / "run")
    assert any("a window was skipped: this template cannot be made" in warning for warning in summary["warnings"])
    assert {w["method"] for w in summary["windows"]} == {"inclusive", "test-template-free"}
    assert summary["direct"] == []
    assert not (tmp_path / "run/results/direct.json").exists()


def test_a_worker_takes_its_share_of_threads_and_the_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from resonaut.analysis import parallel

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        parallel._share_the_machine(threads, logging.INFO)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)
    assert os.environ["OMP_NUM_THREADS"] == str(threads)
    assert logging.root.level == logging.INFO
