"""The page on corrections runs as written, and its config is one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "corrections.md"


def test_page_runs_as_written(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, run_page: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(reference_data / "root" / "nano_tt_v12.root", "nano.root")
    names = run_page(PAGE)
    printed = capsys.readouterr().out
    assert "('pileup', 'jes', 'jer', 'tagging')" in printed
    nominal, up, down = (float(x) for x in re.findall(r"largest mass ([\d.]+)", printed))
    assert 1.01 < up / nominal < 1.04
    assert 0.96 < down / nominal < 0.99
    assert len(names["weights"]) == 50


def test_the_config_of_the_page_is_one() -> None:
    from resonaut.analysis.config import parse_config

    block = re.search(r"<!-- example: config -->\n```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert block is not None
    signal = parse_config(yaml.safe_load(block[1])).signals[0]
    assert [each["name"] for each in signal.corrections] == ["pileup", "jes", "jer", "qcd_scale"]
