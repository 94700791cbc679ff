"""Flat ntuples in a search: data and signal with maps of their own, in the config or in files, and in a hunt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.config import SearchConfig, load_config, parse_config
from resonaut.analysis.events import event_stage, simulation_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.signals import signal_samples
from resonaut.errors import ConfigError, InputError
from resonaut.processors import read_table, write_table

JET = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "m"}
DATA = {
    "tree": "nominal",
    "unit": "MeV",
    "columns": {"FatJet": [{key: f"j{n}_{name}" for key, name in JET.items()} for n in (1, 2)]},
}
SIMULATED = {**DATA, "columns": {**DATA["columns"], "weight": "mcEventWeight"}}  # type: ignore[dict-item]


def write_ntuple(path: Path, mass: np.ndarray[Any, Any], weight: np.ndarray[Any, Any] | None = None) -> None:
    """Two massless jets back to back in MeV, as many columns as a flat ntuple has: mJJ is the sum of their pT."""
    n = len(mass)
    columns = {}
    for number in (1, 2):
        values = {"pt": 500 * mass, "eta": np.zeros(n), "phi": np.full(n, np.pi * (number - 1)), "m": np.full(n, 1e-3)}
        columns |= {f"j{number}_{name}": value for name, value in values.items()}
    if weight is not None:
        columns["mcEventWeight"] = weight
    with uproot.recreate(path) as file:
        file["nominal"] = columns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    write_ntuple(tmp_path / "data.root", 2800 + rng.exponential(400, 4000))
    write_ntuple(tmp_path / "qcd.root", 2800 + rng.exponential(400, 500), rng.uniform(0.5, 1.5, 500))
    write_ntuple(tmp_path / "zprime.root", rng.normal(3500, 80, 300), np.where(np.arange(300) % 3, 0.5, -0.1))
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(DATA))
    (tmp_path / "mc.yaml").write_text(yaml.safe_dump(SIMULATED))
    return tmp_path


def config_of(**signal: Any) -> dict[str, Any]:
    return {
        "name": "ntuples",
        "input": {
            "files": ["data.root"], "columns": "data.yaml",
            "simulation": ["qcd.root"], "simulation_columns": "mc.yaml",
        },
        "scan": {"low": 2800, "high": 5200},
        "methods": [{"name": "cwola-trees", "features": ["m_h", "m_l"]}],
        "luminosity": 10,
        "signals": [{"name": "zprime", "files": ["zprime.root"], "mass": 3500, **signal}],
    }  # fmt: skip


def written(folder: Path, content: dict[str, Any]) -> SearchConfig:
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_config(path)


def test_simulation_has_weights_that_data_have_not(folder: Path) -> None:
    """Weights of the signal: two thirds of 300 events 0.5 and one third -0.1, 90 in all."""
    config, run = written(folder, config_of(columns="mc.yaml")), RunDirectory(folder / "run")
    (signal,) = signal_samples(config, folder, run)
    assert signal.books["sum_of_weights"]["nominal"] == pytest.approx(90.0)
    data = read_table(event_stage(config, folder, run).table)
    assert "weight" not in data.fields or set(np.asarray(data.weight)) == {1.0}
    assert np.asarray(data.mjj).min() == pytest.approx(2800, abs=5)  # GeV
    simulation = simulation_stage(config, folder, run)
    assert simulation is not None
    weights = np.asarray(read_table(simulation.table).weight)
    assert 0.5 < weights.min() < 0.6
    assert 1.4 < weights.max() < 1.5
    again = parse_config(yaml.safe_load(yaml.safe_dump(config.described(folder))))  # as a run directory keeps it
    assert again.signals[0].columns == SIMULATED


def test_without_its_map_a_signal_is_read_by_that_of_the_data(folder: Path) -> None:
    (signal,) = signal_samples(written(folder, config_of()), folder, RunDirectory(folder / "run"))
    assert signal.books["sum_of_weights"]["nominal"] == pytest.approx(300.0)


def test_a_table_beside_mapped_data_is_a_table(folder: Path) -> None:
    mass = np.random.default_rng(2).normal(3500, 80, 50)
    write_table(folder / "zprime.parquet", {"mjj": mass, "m_h": 0.1 * mass, "m_l": 0.1 * mass}, {})
    config = written(folder, config_of(files=["zprime.parquet"]))
    (signal,) = signal_samples(config, folder, RunDirectory(folder / "run"))
    assert signal.books["from_tables"]
    assert signal.books["used"] == 50


def test_a_hunt_takes_a_map(folder: Path) -> None:
    given = ["hunt", str(folder / "data.root"), "--out", str(folder / "first"), "--columns"]
    result = CliRunner().invoke(main, [*given, str(folder / "data.yaml"), "--features", "m_h,no_such"])
    assert "no_such" in result.output  # the events were read, then the feature was missed
    assert (folder / "first" / "events" / "events.parquet").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": "nowhere.yaml"}, "nowhere.yaml: cannot be read"),
        ({"columns": "list.yaml"}, "expected keys columns, tree and unit, got list"),
        ({"columns": {"columns": {"FatJet": {"pt": "a"}}}}, "FatJet"),
        ({"colums": "mc.yaml"}, "columns"),
    ],
)
def test_maps_that_make_no_sense(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ConfigError, match=message):
        written(folder, config_of(**changes))


def test_a_file_that_is_named_twice_is_an_error(folder: Path) -> None:
    content = config_of()
    content["input"]["files"] = ["data.root", "data.root"]
    with pytest.raises(InputError, match=r"names .*data.root twice"):
        written(folder, content).resolved_files(folder)


def dry_run(folder: Path, content: dict[str, Any]) -> str:
    (folder / "search.yaml").write_text(yaml.safe_dump(content))
    return CliRunner().invoke(main, ["run", str(folder / "search.yaml"), "--dry-run"]).output


def test_a_dry_run_looks_at_the_first_events(folder: Path) -> None:
    shown = dry_run(folder, config_of(columns="mc.yaml"))
    assert "first events: 500 used, mjj 280" in shown
    assert "first simulation: 500 used" in shown
    assert "first signal zprime: 300 used" in shown
    assert not list(folder.glob("runs/*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": [{"name": "cwola-trees", "features": ["m_h", "m_k"]}]}, "did you mean m_"),
        ({"input": {"files": ["data.root"], "columns": {**DATA, "unit": "GeV"}}}, "no event of the first events"),
        ({"scan": {"low": 9000, "high": 9900}}, "UNITS AND THE SCAN"),  # it may be a far tail
        ({"input": {"files": ["qcd.root"], "columns": SIMULATED}}, "a weight other than 1"),
        ({"input": {"files": ["data.root"], "columns": {**DATA, "tree": "nominl"}}}, "nominl"),
        ({"input": {"files": ["data.root"], "columns": SIMULATED}}, "mcEventWeight"),
        ({"signals": [{"name": "zprime", "files": ["data.root"], "mass": 3500}]}, "holds the same bytes"),
    ],
)
def test_a_dry_run_finds_what_the_run_would_trip_over(folder: Path, changes: dict[str, Any], message: str) -> None:
    assert message in dry_run(folder, {**config_of(), **changes})


def test_a_dry_run_of_a_campaign_counts_the_signal(folder: Path) -> None:
    """300 unweighted events: half of them can be injected, the other half tells the efficiency."""
    for largest, code in ((150, 0), (151, 1)):
        content = {**config_of(), "injections": {"events": [0, largest], "seeds": 1}}
        (folder / "search.yaml").write_text(yaml.safe_dump(content))
        result = CliRunner().invoke(main, ["inject", str(folder / "search.yaml"), "--dry-run"])
        assert result.exit_code == code, result.output
        assert ("ask for at most 150" in result.output) == bool(code)


def test_a_weight_that_a_map_does_not_name(folder: Path) -> None:
    wanted = r"weight 'mcw': unknown field 'mcEventWeight': .*Available: FatJet"
    content = config_of(corrections=[{"kind": "weight", "name": "mcw", "nominal": "mcEventWeight"}])
    assert re.search(wanted, dry_run(folder, content))


def test_a_file_under_two_names_is_an_error(folder: Path) -> None:
    content = config_of()
    content["input"]["files"] = ["data.root", "./data.root"]
    with pytest.raises(InputError, match="twice"):
        written(folder, content).resolved_files(folder)


def test_a_dry_run_takes_parquet_ntuples_by_the_map_and_tables_as_they_are(folder: Path) -> None:
    with uproot.open(folder / "zprime.root") as file:
        columns = file["nominal"].arrays(library="np")
    write_table(folder / "ntuple.parquet", columns, {})
    write_table(folder / "table.parquet", {name: np.full(40, 3500.0) for name in ("mjj", "m_h", "m_l")}, {})
    assert "first signal zprime: 300 used" in dry_run(folder, config_of(files=["ntuple.parquet"]))
    assert "first signal zprime: 40 used" in dry_run(folder, config_of(files=["table.parquet"]))
