"""Commands and configs of all pages: they parse, and those of the statistics run and print what the page shows."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.column_maps import with_column_maps
from resonaut.analysis.config import parse_config
from resonaut.processors import ColumnMap

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = ("command-line", "exchange", "scans")  # pages of the statistics whose commands are quick
SMALLEST = {"input": {"files": ["events.root"]}, "scan": {"low": 2800, "high": 5200}}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def numbers(text: str) -> list[float]:
    return [float(found) for found in NUMBER.findall(text)]


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}[^\n]*\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Lines of the command line, with what the page shows below them."""
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            if line.startswith("resonaut "):
                yield line, shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_exist(page: Path) -> None:
    """Options are parsed by click itself; nothing runs, and files need not be there."""
    for line, _ in commands(page):
        words = shlex.split(re.split(r" > ", line)[0], comments=True)[1:]
        found: click.Command = main
        while isinstance(found, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            assert name in found.commands, line
            found = found.commands[name]
        try:
            found.make_context(found.name, words)
        except click.exceptions.Exit:
            assert "--help" in line
        except click.BadParameter as error:
            if "does not exist" not in str(error):
                error.add_note(line)
                raise


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.stem)
def test_yaml_of_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for name in ("map", "data", "mc"):  # column maps that the pages name
        (tmp_path / f"{name}.yaml").write_text("columns: {FatJet: {pt: pt, eta: eta, phi: phi, mass: m}}")
    for text in blocks(page, "yaml"):
        content = yaml.safe_load(text)
        if "columns" in content:
            ColumnMap.from_dict(content)
            continue
        given = SMALLEST | content
        given["input"] = SMALLEST["input"] | given["input"]
        parse_config(with_column_maps(given, tmp_path))


@pytest.mark.parametrize("name", SHOWN)
def test_commands_of_the_statistics_print_what_is_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    shutil.copyfile(ROOT / "tests" / "stats" / "data" / "cms_137ifb_wide_dijet_mjj.csv", "mjj.csv")
    for line, shown in commands(ROOT / "docs" / "stats" / f"{name}.md"):
        result: Any = CliRunner().invoke(main, shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
        printed = {NUMBER.sub("#", text): numbers(text) for text in result.output.splitlines()}
        for text in shown.splitlines():
            # the last digits are those of a machine
            assert printed[NUMBER.sub("#", text)] == pytest.approx(numbers(text), rel=0.01), line
