from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from resonaut.stats.functions import base

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "stats").glob("*.md"))


@pytest.mark.parametrize("page", [DOCS / "stats.md", *PAGES], ids=lambda page: page.stem)
def test_examples_of_the_guide_run(page, monkeypatch, tmp_path):
    """Blocks in order: those with prompts as doctests, the others, which draw figures, as they stand."""
    for folder in ("tests", "benchmarks"):  # paths on the pages are relative to the repository
        (tmp_path / folder).symlink_to(DOCS.parent / folder)
    monkeypatch.chdir(tmp_path)
    # functions that a page registers would outlive its names, and fail in whichever test tries all functions next
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    names = {"__name__": "page"}
    runner, parser = doctest.DocTestRunner(), doctest.DocTestParser()
    text = page.read_text()
    for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        if ">>>" not in block[1]:
            exec(compile(block[1], page.name, "exec", dont_inherit=True), names)  # noqa: S102 (our own page)
            continue
        line = text[: block.start(1)].count("\n")
        examples = doctest.DocTest(parser.get_examples(block[1]), {}, page.stem, str(page), line, None)
        examples.globs = names
        runner.run(examples, clear_globs=False)
    assert runner.tries == len(re.findall(r"^ *>>> ", text, flags=re.MULTILINE))
    assert runner.failures == 0


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", DOCS / "stats.md", *PAGES], ids=lambda page: page.stem)
def test_links_and_figures_are_there(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_every_page_is_reached_from_the_guide():
    guide = (DOCS / "stats.md").read_text()
    assert [page.name for page in PAGES if f"stats/{page.name}" not in guide] == []
