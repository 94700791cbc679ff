"""The command line: it teaches, says what is wrong in one line, and does what the rooms do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.processors import write_table

COMMANDS = ("bumphunt", "demo", "features", "fit", "hunt", "limit", "plot", "report", "run", "scan", "toys")


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


def test_a_missing_config_is_named() -> None:
    code, text = invoke("run", "nowhere.yaml")
    assert code == 1
    assert "config file not found" in text


def test_help_does_not_wait_for_anything_heavy() -> None:
    code = "import sys, resonaut.analysis.cli; print(sorted({'numpy', 'torch', 'coffea', 'matplotlib'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    mass = np.linspace(3000, 5000, 50)
    write_table(tmp_path / "events.parquet", {"mjj": mass, "m_h": 0.1 * mass, "m_l": 0.05 * mass})
    config = {"input": {"files": ["events.parquet"]}, "scan": {"low": 2800, "high": 5200, "step": 4}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    code, text = invoke("run", str(tmp_path / "search.yaml"), "--dry-run")
    assert code == 0
    assert "6 signal regions from 2979-3235 GeV" in text
    assert "first events: 50 used, mjj 3000 to 5000 GeV, 50 of them in the scan" in text
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
