from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "stats").glob("*.md"))


@pytest.mark.parametrize("page", [DOCS / "stats.md", *PAGES], ids=lambda page: page.stem)
def test_examples_of_the_guide_run(page, monkeypatch):
    monkeypatch.chdir(DOCS.parent)  # paths on the pages are relative to the repository
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 0 or ">>>" not in page.read_text()
    assert result.failed == 0
