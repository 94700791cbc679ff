"""Every Python block of the page on running runs, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from resonaut.processors import EXECUTOR_OPTIONS, EXECUTORS, write_particle_tree

GUIDE = Path(__file__).parents[2] / "docs" / "running.md"


@pytest.mark.slow
def test_guide_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, toys: Any) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("abc"):
        write_particle_tree(f"{name}.root", toys.make_particles(i, 40))
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    names: dict[str, Any] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{GUIDE.name}, block {number}", "exec"), names)  # noqa: S102 (our own guide)
    assert "120 of 120 events read" in capsys.readouterr().out
    assert Path("events.parquet").exists()


def test_every_executor_and_option_is_on_the_page() -> None:
    text = GUIDE.read_text()
    for executor in EXECUTORS:
        assert f"`{executor}`" in text
        for option in EXECUTOR_OPTIONS[executor]:
            assert f"`{option}`" in text, (executor, option)
