"""Fixtures shared by all rooms."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run: a red run then means a change, not luck. `--hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of reference data that do not ship; tests that need it are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("RESONAUT_REFERENCE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set RESONAUT_REFERENCE_DATA to run this test")
    return folder


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that the code must run on; the GPU's turn is skipped where there is none."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return str(request.param)


BLOCK = re.compile(r"^```(python|console|yaml)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run_command(line: str) -> None:
    """A line of the command line as a shell would split it, in this process."""
    from click.testing import CliRunner

    from resonaut.analysis.cli import main

    words = [name for word in shlex.split(line, comments=True) for name in (sorted(glob(word)) or [word])]  # noqa: PTH207
    assert words[0] == "resonaut"
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.fixture(scope="session")
def run_page() -> Callable[..., dict[str, Any]]:
    """Runs the blocks of a page of the docs in order, in the current folder, and gives the names that they leave.

    Python alone, unless `commands` is set: then lines that begin with `$ resonaut`, and YAML blocks are files of their title.
    """

    def run(page: Path, *, commands: bool = False) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "page"}
        kinds = ("python", "console", "yaml") if commands else ("python",)
        blocks = [block for block in BLOCK.findall(page.read_text()) if block[0] in kinds]
        assert blocks, f"{page} has no {' or '.join(kinds)} blocks"
        for number, (kind, title, text) in enumerate(blocks):
            if kind == "python":
                exec(compile(text, f"{page.name}, block {number}", "exec", dont_inherit=True), names)  # noqa: S102 (our own pages)
            elif kind == "yaml":
                assert title, f"{page.name}, block {number}: a config needs a title, the file that it is"
                Path(title).write_text(text)
            else:
                for line in text.splitlines():
                    if line.startswith("$ "):
                        run_command(line.removeprefix("$ "))
        return names

    return run


@pytest.fixture(scope="session")
def benchmark_script() -> Callable[[str], Any]:
    """Gives a script of `benchmarks/` as a module, by its name."""

    def load(name: str) -> Any:
        path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
