"""The validation suite on toys whose faults are known: one without, three sabotaged ones, each with its own diagnosis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import matplotlib.pyplot as plt
import numpy as np
import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.analysis.validation import run_validation
from resonaut.errors import ConfigError
from resonaut.files import read_json
from resonaut.models import Sample
from resonaut.models.base import BaseScorer
from resonaut.models.registry import register
from resonaut.models.storage import Tensors
from resonaut.processors import write_table

LOW, HIGH, EVENTS = 2800.0, 5200.0, 20_000
# for faults whose checks need neither pseudo-experiments nor other trainings
FEW = {"pseudo_experiments": 0, "windows": 3, "seeds": 0, "folds": [], "leave_out": False}
Array = np.ndarray[Any, Any]


class _Histogram(BaseScorer):
    """Signal region over sidebands in cells of the first two features: a classifier that learns in milliseconds."""

    uses_window: ClassVar[bool] = True
    cells: ClassVar[int] = 8
    fitted = False

    def __init__(self, features: tuple[str, ...] = ("a", "b"), *, seed: int = 0) -> None:
        self.features = tuple(features)
        self.seed = seed

    def _cell(self, sample: Sample) -> Array:
        x = sample.require(self.features)
        inner = [np.searchsorted(edges, x[:, k]) for k, edges in enumerate(self.edges)]
        return np.ravel_multi_index(inner, [self.cells] * len(inner))

    def fit(self, sample: Sample, window: Any) -> Self:
        x = sample.require(self.features)
        parts = np.linspace(0, 1, self.cells + 1)[1:-1]
        self.edges = np.stack([np.quantile(column, parts) for column in x.T])
        cell, size = self._cell(sample), self.cells ** x.shape[1]
        inside = np.bincount(cell[window.in_signal_region(sample.mass)], minlength=size)
        beside = np.bincount(cell[window.in_sidebands(sample.mass)], minlength=size)
        self.table = (inside + 2.0) / (beside + 2.0)
        self.fitted = True
        return self

    def score(self, sample: Sample) -> Array:
        # ties inside of a cell would make cuts coarse: a hash of the event breaks them without knowing the mass
        x = sample.require(self.features)
        return np.asarray(self.table[self._cell(sample)] + 1e-6 * (np.abs(x @ np.full(x.shape[1], 1e4)) % 1))

    def learnt_tensors(self) -> Tensors:
        return {"edges": self.edges, "table": self.table}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        del facts
        self.edges, self.table, self.fitted = tensors["edges"], tensors["table"], True


@register("test-histogram")
class Histogram(_Histogram):
    """The honest one."""


@register("test-leaky")
class Leaky(_Histogram):
    """Remembers the label of every event, of all folds: what a fold is scored with has seen it."""

    def fit_folds(self, sample: Sample, window: Any, fold: Array, seeds: list[int]) -> list[Leaky]:
        del fold
        return [type(self)(self.features, seed=seed).fit(sample, window) for seed in seeds]

    def fit(self, sample: Sample, window: Any) -> Self:
        first = sample.require(self.features)[:, 0]
        order = np.argsort(first)
        self.known, self.label = first[order], window.in_signal_region(sample.mass)[order].astype(float)
        self.fitted = True
        return self

    def score(self, sample: Sample) -> Array:
        x = sample.require(self.features)
        place = np.clip(np.searchsorted(self.known, x[:, 0]), 0, len(self.known) - 1)
        memory = np.where(self.known[place] == x[:, 0], self.label[place], 0.0)
        return np.asarray(0.05 * memory + np.abs(x[:, 1]) % 1)

    def learnt_tensors(self) -> Tensors:
        return {"known": self.known, "label": self.label}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        del facts
        self.known, self.label, self.fitted = tensors["known"], tensors["label"], True


@register("test-extreme")
class Extreme(_Histogram):
    """The second feature is the score: nothing is learnt, and no window is known."""

    uses_window: ClassVar[bool] = False

    def fit(self, sample: Sample, window: Any) -> Self:
        del sample, window
        self.fitted = True
        return self

    def score(self, sample: Sample) -> Array:
        return np.asarray(sample.require(self.features)[:, 1], dtype=np.float64)

    def learnt_tensors(self) -> Tensors:
        return {"nothing": np.zeros(1)}

    def restore(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        del tensors, facts
        self.fitted = True


def falling(rng: np.random.Generator, events: int = EVENTS) -> Array:
    """Masses of a power law, by its inverse."""
    ends, u = (LOW**-5, HIGH**-5), rng.random(events)
    return (ends[0] + u * (ends[1] - ends[0])) ** -0.2


def clean(seed: int = 11, events: int = EVENTS) -> dict[str, Array]:
    """Features that know nothing of the mass."""
    rng = np.random.default_rng(seed)
    mass = falling(rng, events)
    return {"mjj": mass, **{name: rng.normal(size=events) for name in "abc"}, "weight": np.ones(events)}


def correlated(seed: int = 12) -> dict[str, Array]:
    """One feature is the mass, measured badly."""
    table = clean(seed)
    table["b"] = np.log(table["mjj"] / 3500) + 0.05 * table["b"]
    return table


def bumpy(seed: int = 13) -> dict[str, Array]:
    """Background of other events at 4,150 GeV, alike in all features, as where two simulated samples overlap."""
    table = clean(seed)
    more = clean(seed + 100, 500)
    more["mjj"] = np.random.default_rng(seed).normal(4150, 60, 500)
    return {name: np.concatenate([table[name], more[name]]) for name in table}


def doubled(seed: int = 14) -> dict[str, Array]:
    """A fifth of the events is there twice, as where two datasets overlap."""
    table = clean(seed)
    return {name: np.concatenate([values, values[: EVENTS // 5]]) for name, values in table.items()}


def config_of(method: str, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "toy", "seed": 3, "workers": 1, "input": {"files": ["events.parquet"]},
        "scan": {"low": LOW, "high": HIGH, "bins": 30, "step": 4},
        "methods": [{"name": method, "features": ["a", "b"]}],
        "selection": {"cuts": [0.1, 0.02], "folds": 3}, "limits": None,
        "validation": {"pseudo_experiments": 6, "windows": 3, "seeds": 1, "folds": []},
    }  # fmt: skip
    return {**content, **changes}


def validated(folder: Path, table: dict[str, Array], method: str = "test-histogram", **changes: Any) -> dict[str, Any]:
    write_table(folder / "events.parquet", table)
    content: dict[str, Any] = read_json(
        run_validation(parse_config(config_of(method, **changes)), folder, folder / "run")
    )
    return content


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in content["checks"]}


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the rest, and are drawn once, for the search without fault."""
    monkeypatch.setattr("resonaut.analysis.validation.stage.save_figure", lambda drawn, _: plt.close(drawn[0]))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    validated(folder, clean())
    return folder


def test_a_search_without_fault_is_green(sound: Path) -> None:
    content = read_json(sound / "run/validation/validation.json")
    assert {name: v for name, v in verdicts(content).items() if v != "green"} == {}
    assert content["verdict"] == "green"
    for check in content["checks"]:
        assert check["diagnosis"]
        if check["figure"]:
            assert (sound / "run" / f"{check['figure']}.png").is_file()


@pytest.mark.usefixtures("no_figures")
def test_features_that_are_the_mass_are_told(tmp_path: Path) -> None:
    content = validated(tmp_path, correlated(), validation=FEW)
    assert content["verdict"] == "red"
    assert "b depends on the mass" in content["diagnosis"]
    found = verdicts(content)
    assert found["feature_correlation"] == found["joint_correlation"] == "red"
    assert found["sculpting_efficiency"] == "red"
    assert found["fold_leakage"] == found["twins"] == found["background_bump"] == "green"


@pytest.mark.usefixtures("no_figures")
def test_labels_that_leak_across_folds_are_told(tmp_path: Path) -> None:
    content = validated(tmp_path, clean(), "test-leaky")
    assert content["verdict"] == "red"
    assert "labels leak across folds" in content["diagnosis"]
    found = verdicts(content)
    assert found["fold_leakage"] == found["pseudo_mean"] == "red"
    assert found["feature_correlation"] == found["twins"] == found["background_bump"] == "green"


@pytest.mark.usefixtures("no_figures")
def test_copies_of_events_are_told(tmp_path: Path) -> None:
    content = validated(tmp_path, doubled(), validation=FEW)
    assert content["verdict"] == "red"
    assert "8000 of 24000 events have a copy" in content["diagnosis"]


@pytest.mark.usefixtures("no_figures")
def test_a_bump_in_the_background_is_told(tmp_path: Path) -> None:
    content = validated(tmp_path, bumpy(), validation=FEW)
    assert content["verdict"] == "red"
    found = verdicts(content)
    assert found["background_bump"] == "red"
    assert found["fold_leakage"] == found["feature_correlation"] == found["joint_correlation"] == "green"
    assert "before any cut has a bump around" in content["diagnosis"]
    (check,) = (c for c in content["checks"] if c["name"] == "background_bump")
    assert check["details"]["structure"]["low"] < 4150 < check["details"]["structure"]["high"]
    assert check["figure"]


@pytest.mark.usefixtures("no_figures")
def test_a_blind_search_does_not_tell_where_its_data_have_a_bump(tmp_path: Path) -> None:
    """The bump is in a signal region of the scan: that there is one is told, its place and its sign are not."""
    content = validated(tmp_path, bumpy(), validation=FEW, blind=True)
    checks = {check["name"]: check for check in content["checks"]}
    bump = checks["background_bump"]
    assert bump["verdict"] == "red"
    assert bump["details"]["structure"] is bump["figure"] is checks["closure"]["figure"] is None
    for text in (bump["diagnosis"], checks["closure"]["diagnosis"]):
        assert "GeV" not in text.replace("trained in", "").split("misses")[-1]
    assert "hidden while the search is blind (pull" in content["diagnosis"]
    assert not {"bump", "dip", "+"} & set(bump["diagnosis"].split())


@pytest.mark.usefixtures("no_figures")
def test_pseudo_experiments_are_drawn_from_simulated_background(tmp_path: Path) -> None:
    """It has a peak in the middle window that the data lack: cuts that know nothing keep their part of it, S / sqrt(B) of it."""
    rng, wanted = np.random.default_rng(21), 3
    events, peak = clean(22, 75_000), clean(23, 4000)
    peak["mjj"] = rng.uniform(3560, 3770, 4000)
    content = {name: np.concatenate([events[name], peak[name]]) for name in events}
    write_table(tmp_path / "background.parquet", {**content, "unknown": rng.normal(size=len(content["mjj"]))})
    checks = {**FEW, "pseudo_experiments": 8, "background": ["background.parquet"]}
    found = validated(tmp_path, clean(), "test-extreme", validation=checks)
    experiments = [read_json(path) for path in sorted((tmp_path / "run/validation/pseudo").glob("*/entries.json"))]
    assert len(experiments) == wanted  # three times the data, and none of the events twice
    middle = [
        e for entries in experiments for e in entries if e["method"] != "inclusive" and e["low"] < 3660 < e["high"]
    ]
    signal, background = 0.1 * 4000 / 79_000 * EVENTS, 0.1 * EVENTS * (3513.5**-5 - 3815.8**-5) / (LOW**-5 - HIGH**-5)
    excess = np.mean([e["observed"] - e["expected"] for e in middle if e["cut"] == 0.1])
    assert excess == pytest.approx(signal, abs=3 * (1.5 * background / wanted) ** 0.5)
    assert verdicts(found)["background_bump"] == "green"


@pytest.mark.usefixtures("no_figures")
def test_finished_units_are_kept(sound: Path) -> None:
    units = {path: path.stat().st_mtime_ns for path in (sound / "run").rglob("unit.json")}
    assert len([path for path in units if "pseudo" in path.parts]) == 6
    run_validation(parse_config(config_of("test-histogram")), sound, sound / "run")
    assert units == {path: path.stat().st_mtime_ns for path in (sound / "run").rglob("unit.json")}


@pytest.mark.usefixtures("no_figures")
def test_the_command_tells_all_checks_and_ends_with_the_verdict(tmp_path: Path) -> None:
    import yaml

    write_table(tmp_path / "events.parquet", doubled())
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config_of("test-histogram", validation=FEW)))
    given = ["validate", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "run"), "--quick"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 1, result.output
    assert "have a copy with the same features and mass" in result.output
    content = read_json(tmp_path / "run/validation/validation.json")
    assert len(content["windows"]) == 2


@pytest.mark.usefixtures("no_figures")
def test_a_method_without_a_window_is_checked_too(tmp_path: Path) -> None:
    """Its score is made of a feature that is the mass: an autoencoder may do that."""
    table = correlated()
    content = validated(
        tmp_path, table, "test-extreme", validation={"pseudo_experiments": 2, "windows": 2, "seeds": 0, "folds": []}
    )
    found = verdicts(content)
    assert found["feature_correlation"] == "red"
    assert found["score_correlation"] in ("amber", "red")
    assert found["fold_leakage"] == "green"


@pytest.mark.usefixtures("no_figures")
def test_a_signal_in_the_sidebands_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name, width in (("narrow", 40.0), ("wide", 600.0)):
        write_table(tmp_path / f"{name}.parquet", {**clean(6, 2000), "mjj": rng.normal(3660, width, 2000)})
    signals = [
        {"name": name, "files": [f"{name}.parquet"], "mass": 3660.0, "generated": 2000.0} for name in ("narrow", "wide")
    ]
    checks = {"pseudo_experiments": 0, "windows": 1, "seeds": 0, "folds": [], "leave_out": False}
    content = validated(tmp_path, clean(), signals=signals, limits={"cuts": [1.0]}, validation=checks)
    (check,) = (c for c in content["checks"] if c["name"] == "contamination")
    assert check["verdict"] == "red"
    assert "wide is" in check["diagnosis"]
    narrow, wide = (signal["ratio"] for signal in check["details"]["signals"])
    assert narrow < 0.2
    assert wide > 0.5
    assert content["diagnosis"] == check["diagnosis"]


def test_a_benchmark_has_no_search_to_validate(tmp_path: Path) -> None:
    table = {**clean(7, 2000), "label": np.arange(2000) % 2}
    with pytest.raises(ConfigError, match="trained on truth labels"):
        validated(tmp_path, table, "supervised")
