"""Pages that make their own files do what they say: blocks run in order, commands and configs too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("quickstart", "tutorials/events", "tutorials/histogram", "tutorials/pieces", "api/index", "report")


@pytest.mark.parametrize("page", PAGES)
def test_page_runs_as_written(page: str, run_page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(DOCS / f"{page}.md", commands=page != "report")  # the report's commands are of a run that was made before
