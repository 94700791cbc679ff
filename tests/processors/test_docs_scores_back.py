"""Every Python block of the page on scores runs, in order, and does what the page says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.models import Sample, make_scorer
from resonaut.stats import Window

PAGE = Path(__file__).parents[2] / "docs" / "scores-back.md"
FEATURES = ("m_h", "tau21_h")


def pseudo_data() -> Sample:
    rng = np.random.default_rng(8)
    mass = rng.uniform(2500.0, 4500.0, 3000)
    signal = (np.abs(mass - 3500.0) < 150.0) & (rng.random(3000) < 0.5)
    m_h = np.where(signal, rng.normal(170.0, 20.0, 3000), rng.exponential(80.0, 3000) + 20.0)
    tau21 = np.where(signal, rng.uniform(0.1, 0.4, 3000), rng.uniform(0.2, 0.9, 3000))
    return Sample(np.stack([m_h, tau21], axis=1), FEATURES, mass)


def test_page_runs_as_written(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, run_page: Any
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(reference_data / "root" / "nano_tt_v12.root", "nano.root")
    trees = make_scorer("cwola-trees", features=FEATURES, members=2)
    trees.fit(pseudo_data(), Window(3300.0, 3700.0, 2700.0, 4300.0)).save("scorer")
    make_scorer("isolation-forest", features=FEATURES, trees=20).fit(pseudo_data(), None).save("forest")
    names = run_page(PAGE)
    assert "200 {'cwola_trees': 167}" in capsys.readouterr().out
    assert names["joined"].score.notna().all()  # two jets: a score
    assert 10 <= len(names["joined"]) <= 23
    assert 0 < len(names["tight"]) <= 33
    assert names["card"]["working_points"] == {"0.1": 0.52, "0.01": 0.60}
    assert Path("friends/nano.root").is_file()
    assert Path("friends/nano.parquet").is_file()


def test_the_diff_of_the_page_is_that_of_the_files() -> None:
    shown = re.search(r"^```diff\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert shown is not None
    files = [
        (PAGE.parent / "examples" / "boosted_dijet" / name).read_text().splitlines()
        for name in ("before.py", "after.py")
    ]
    for line in shown[1].splitlines():
        if line.startswith("+"):
            assert line[1:] in files[1]
            assert line[1:] not in files[0]
        elif line.startswith(" ") and line.strip() != "...":
            assert line[1:] in files[0]
            assert line[1:] in files[1]
