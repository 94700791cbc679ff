"""The quick start and the tutorials do what they say: their blocks run in order, commands and configs too."""

from __future__ import annotations

import re
import shlex
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|console|yaml)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def command(line: str) -> None:
    words = [name for word in shlex.split(line, comments=True) for name in (sorted(glob(word)) or [word])]  # noqa: PTH207
    assert words[0] == "resonaut"
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", ["quickstart", "tutorials/events", "tutorials/histogram", "tutorials/pieces"])
def test_page_runs_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text())
    assert blocks
    for number, (kind, title, text) in enumerate(blocks):
        if kind == "python":
            exec(compile(text, f"{page}, block {number}", "exec"), names)  # noqa: S102 (our own page)
        elif kind == "yaml":
            assert title, "a config needs a title: the file that it is"
            (tmp_path / title).write_text(text)
        else:
            for line in text.splitlines():
                command(line.removeprefix("$ "))
