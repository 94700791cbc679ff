"""Every code block of docs/generate.md runs, in order, and every command of it is one that exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pythia8mc", reason="needs Pythia 8: pip install 'resonaut[generate]'")

GUIDE = Path(__file__).parents[2] / "docs" / "generate.md"


def blocks_of(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_guide_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, run_page: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page(GUIDE)
    assert "40 of" in capsys.readouterr().out
    assert names["signal"].ledger.accepted == 20
    assert names["origin"]["process"]["prongs_x"] == 3


def test_commands_of_the_guide_exist() -> None:
    """Options are parsed by click itself; nothing runs."""
    from resonaut.analysis.cli import main

    commands = [
        line[2:] for block in blocks_of("console") for line in block.splitlines() if line.startswith("$ resonaut")
    ]
    assert len(commands) >= 5
    for command in commands:
        name, *arguments = shlex.split(command, comments=True)[1:]
        found = main.commands[name]
        # files of the page are not there: any path that exists will do
        kept = [str(GUIDE) if a.endswith(".h5") and name == "hunt" else a for a in arguments]
        assert found.make_context(name, kept).command is found
