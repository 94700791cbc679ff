"""Every code block of the guide runs, in order, and does what the guide says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.models import Sample, make_scorer
from resonaut.processors import SOURCES
from resonaut.stats import Window

GUIDE = Path(__file__).parents[2] / "docs" / "processors.md"
FEATURES = ("m_h", "tau21_h")


def save_scorer(folder: Path) -> None:
    """Trees that found heavy two-prong jets in a window of pseudo-data."""
    rng = np.random.default_rng(8)
    mass = rng.uniform(2500.0, 4500.0, 3000)
    signal = (np.abs(mass - 3500.0) < 150.0) & (rng.random(3000) < 0.5)
    m_h = np.where(signal, rng.normal(170.0, 20.0, 3000), rng.exponential(80.0, 3000) + 20.0)
    tau21 = np.where(signal, rng.uniform(0.1, 0.4, 3000), rng.uniform(0.2, 0.9, 3000))
    sample = Sample(np.stack([m_h, tau21], axis=1), FEATURES, mass)
    window = Window(3300.0, 3700.0, 2700.0, 4300.0)
    make_scorer("cwola-trees", features=FEATURES, members=2).fit(sample, window).save(folder)


def test_guide_runs_as_written(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, toys: Any, run_page: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    toys.write_particle_frame(tmp_path / "events.h5", toys.make_particles(1, 60))
    shutil.copyfile(reference_data / "root" / "pfnano.root", "pfnano.root")
    shutil.copyfile(reference_data / "root" / "nano_tt_v12.root", "nano.root")
    save_scorer(tmp_path / "scorer")
    try:
        names = run_page(GUIDE)
    finally:
        SOURCES.pop("numpy-particles", None)
    printed = capsys.readouterr().out
    assert "60 of 60 events read" in printed
    assert not names["result"].complete
    found = names["ours"].output
    assert (found["tt"]["events"], found["pfnano"]["events"]) == (200, 10)
    assert found["tt"]["unscored"] == 167  # 33 events have two fat jets
    assert 0 < found["tt"]["1%"] <= found["tt"]["10%"] <= 33


def test_the_users_processor_is_about_ten_lines() -> None:
    block = re.search(r"<!-- example: user processor -->\n```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert block is not None
    lines = block[1].split("class MyAnalysis")[1].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10
