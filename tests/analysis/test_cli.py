"""The command line: it teaches, says what is wrong in one line, and does what the rooms do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.processors import write_table
from resonaut.stats import log_edges, write_csv

COMMANDS = ("demo", "features", "hunt", "limit", "report", "run", "scan")


def falling_spectrum(path: Path, *, bump: float = 0.0) -> Path:
    """A dijet spectrum drawn around the 4-parameter function, with a Gaussian of `bump` events at 4 TeV."""
    edges = log_edges(2000.0, 8000.0, 40)
    centre = np.sqrt(edges[1:] * edges[:-1])
    x = centre / 13000.0
    expected = 2e-4 * (1 - x) ** 9 / x**5 * np.diff(edges)
    shape = np.exp(-0.5 * ((centre - 4000) / 120) ** 2) * np.diff(edges)
    counts = np.random.default_rng(8).poisson(expected + bump * shape / shape.sum())
    write_csv(path, (counts.astype(float), edges))
    return path


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    code, text = invoke(command, "--help")
    assert code == 0
    assert "Usage: " in text
    assert len(text.splitlines()) >= 7


def test_a_misspelt_command_names_the_nearest() -> None:
    code, text = invoke("hnt")
    assert code != 0
    assert "did you mean 'hunt'" in text


def test_scan_finds_a_bump_and_writes_its_numbers(tmp_path: Path) -> None:
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    code, text = invoke(
        "scan", str(spectrum), "--json", str(tmp_path / "scan.json"), "--plot", str(tmp_path / "scan_plot")
    )
    assert code == 0, text
    best = max(json.loads((tmp_path / "scan.json").read_text())["entries"], key=lambda e: e["local_significance"])
    assert best["low"] < 4000 < best["high"]
    assert best["local_significance"] > 5
    assert (tmp_path / "scan_plot.png").stat().st_size > 10_000


def test_limit_is_above_the_expected_one_at_the_bump_only(tmp_path: Path) -> None:
    spectrum = falling_spectrum(tmp_path / "mjj.csv", bump=1500)
    out = tmp_path / "limits.json"
    code, text = invoke("limit", str(spectrum), "--mass", "4000", "--mass", "6000", "--json", str(out))
    assert code == 0, text
    at_bump, elsewhere = json.loads(out.read_text())
    assert at_bump["observed"] > at_bump["expected"][4]
    assert 1000 < at_bump["observed"] < 2500  # covers the 1500 events that are there
    assert elsewhere["expected"][0] * 0.5 < elsewhere["observed"] < elsewhere["expected"][4] * 1.5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["limit", "SPECTRUM", "--mass", "9000"], "outside of the fitted range"),
        (["scan", "SPECTRUM", "--low", "7500"], "at least 6 bins"),
        (["scan", "SPECTRUM", "--function", "dijet44"], "did you mean 'dijet4'"),
        (["scan", "nowhere.csv"], "nowhere.csv"),
        (["run", "nowhere.yaml"], "config file not found"),
    ],
)
def test_errors_are_one_clear_message(arguments: list[str], expected: str, tmp_path: Path) -> None:
    spectrum = str(falling_spectrum(tmp_path / "mjj.csv"))
    code, text = invoke(*[spectrum if a == "SPECTRUM" else a for a in arguments])
    assert code == 1
    assert expected in text
    assert "Traceback" not in text


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    write_table(tmp_path / "events.parquet", {"mjj": np.linspace(3000, 5000, 50)})
    config = {"input": {"files": ["events.parquet"]}, "scan": {"low": 2800, "high": 5200, "step": 4}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    code, text = invoke("run", str(tmp_path / "search.yaml"), "--dry-run")
    assert code == 0
    assert "6 signal regions from 2979-3235 GeV" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.parquet", "search.yaml"]


def test_a_hunt_on_too_few_events_says_so(tmp_path: Path) -> None:
    write_table(tmp_path / "events.parquet", {"mjj": np.linspace(3000, 5000, 50)})
    code, text = invoke("hunt", str(tmp_path / "events.parquet"), "--out", str(tmp_path / "run"))
    assert code == 1
    assert "at least 2000 events" in text


def test_a_report_of_an_unfinished_run_says_so(tmp_path: Path) -> None:
    code, text = invoke("report", str(tmp_path))
    assert code == 1
    assert "finish the run first" in text
