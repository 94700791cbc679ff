"""The examples of the guide run as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_examples_of_the_guide_run(run_page: Any) -> None:
    assert run_page(GUIDE)["selected"]
