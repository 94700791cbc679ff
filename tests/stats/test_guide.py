from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from resonaut.stats.functions import base

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "stats").glob("*.md"))


@pytest.mark.parametrize("page", [DOCS / "stats.md", *PAGES], ids=lambda page: page.stem)
def test_examples_of_the_guide_run(page, monkeypatch):
    monkeypatch.chdir(DOCS.parent)  # paths on the pages are relative to the repository
    # functions that a page registers would outlive its names, and fail in whichever test tries all functions next
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted > 0 or ">>>" not in page.read_text()
    assert result.failed == 0


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", DOCS / "stats.md", *PAGES], ids=lambda page: page.stem)
def test_links_and_figures_are_there(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_every_page_is_reached_from_the_guide():
    guide = (DOCS / "stats.md").read_text()
    assert [page.name for page in PAGES if f"stats/{page.name}" not in guide] == []
