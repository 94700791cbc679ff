"""The layout of the repository against pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("analysis", "models", "processors", "stats")


def test_every_folder_with_code_is_a_listed_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {"resonaut"}
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            relative = init.parent.relative_to(ROOT)
            if relative.parts[:2] != ("analysis", "_root"):
                folders.add("resonaut." + ".".join(relative.parts))
    assert folders == set(setuptools["packages"])


def test_every_module_lies_in_a_package() -> None:
    stray = [
        path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not (path.parent / "__init__.py").exists() and "searches" not in path.parts
    ]
    assert stray == []


def test_pinned_set_covers_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {n.split(">=")[0].lower().replace("_", "-") for n in needed}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names <= pinned


def test_reported_versions_are_of_dependencies() -> None:
    from resonaut.analysis.summary import versions

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {n.split(">=")[0] for n in project["dependencies"]} | {"python", "resonaut"}
    assert set(versions()) <= needed
