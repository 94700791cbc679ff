"""The site is built without a warning, holds every page once, and asks no other host for anything."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("stats", "models", "processors", "analysis")
LOADED = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("no MkDocs: pip install 'resonaut[docs]', or `make docs`")
    tree = tmp_path_factory.mktemp("tree") / "resonaut"  # the folders as they are installed
    tree.mkdir()
    for path in (ROOT / "analysis" / "_root").glob("*.py"):
        (tree / path.name).symlink_to(path)
    for room in ROOMS:
        (tree / room).symlink_to(ROOT / room)
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)]
    environment = {**os.environ, "RESONAUT_TREE": str(tree.parent), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


class _Loads(HTMLParser):
    """Addresses of all that a browser loads for a page; links that a reader may follow are not among them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if tag == "link" and LOADED.isdisjoint(given.get("rel", "").split()):
            return
        self.found += [given[key] for key in ("src", "srcset", "data", "href") if key in given and tag != "a"]


def loads(page: str) -> list[str]:
    parser = _Loads()
    parser.feed(page)
    return parser.found


def outside(address: str) -> bool:
    return re.match(r"(https?:)?//", address) is not None


def test_what_counts_as_loaded() -> None:
    page = '<link rel="shortcut icon" href="//a.b/x.png"><a href="https://c.d">text</a><script src="https://e.f/g.js"></script>'
    assert [address for address in loads(page) if outside(address)] == ["//a.b/x.png", "https://e.f/g.js"]


def test_no_page_asks_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    asked = {(page.name, address) for page in pages for address in loads(page.read_text()) if outside(address)}
    assert asked == set()
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", sheet.read_text()) == [], sheet
    # Material loads its drawing library from another host as soon as a page has a diagram
    assert [page.name for page in pages if 'class="mermaid"' in page.read_text()] == []


def test_the_api_holds_every_name_of_the_front_doors(site: Path) -> None:
    for room in ROOMS[:3]:
        names = importlib.import_module(f"resonaut.{room}").__all__
        page = (site / "api" / f"{room}.html").read_text()
        assert [name for name in names if f'id="resonaut.{room}.{name}"' not in page] == []


def test_the_command_line_page_holds_every_command(site: Path) -> None:
    from resonaut.analysis.cli import main

    page = (site / "api" / "command-line.html").read_text()
    assert [name for name in main.commands if f">resonaut {name}<" not in page] == []
    assert "UNSET" not in page
    assert "resonaut fit mjj.csv --plot fit --json fit.json\n" in page  # examples keep their lines


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"([\w/.-]+\.md)$", navigation, flags=re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(pages)
