"""Every Python block of the page on running runs, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.processors import EXECUTOR_OPTIONS, EXECUTORS, write_particle_tree

GUIDE = Path(__file__).parents[2] / "docs" / "running.md"


@pytest.mark.slow
def test_guide_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, toys: Any, run_page: Any
) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)
    ids = {"run": np.full(40, 300_000, np.uint32), "luminosityBlock": np.full(40, 7, np.uint32)}
    for i, name in enumerate("abc"):
        numbers = np.arange(40 * i, 40 * (i + 1), dtype=np.uint64)
        write_particle_tree(f"{name}.root", toys.make_particles(i, 40), **ids, event=numbers)
    skim = {name: values[30:] for name, values in ids.items()}
    write_particle_tree("skim.root", toys.make_particles(0, 40)[30:], **skim, event=np.arange(30, 40, dtype=np.uint64))
    run_page(GUIDE)
    printed = capsys.readouterr().out
    assert "120 of 120 events read" in printed
    assert (
        "10 events are there twice, such as event 0 of skim.root (dataset 'leptons'), which is event 30 of a.root"
        in printed
    )
    assert Path("events.parquet").exists()


def test_every_executor_and_option_is_on_the_page() -> None:
    text = GUIDE.read_text()
    for executor in EXECUTORS:
        assert f"`{executor}`" in text
        for option in EXECUTOR_OPTIONS[executor]:
            assert f"`{option}`" in text, (executor, option)
