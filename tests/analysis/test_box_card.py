"""The score card of the black boxes in the docs is that of the kept results, and these follow from the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resonaut.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench(benchmark_script: Any) -> Any:
    return benchmark_script("bench_boxes")


@pytest.fixture(scope="module")
def card() -> Any:
    return read_json(ROOT / "benchmarks" / "results" / "boxes.json")


def test_the_table_of_the_page_is_that_of_the_results(bench: Any, card: Any) -> None:
    lines = (ROOT / "docs" / "black-boxes.md").read_text().splitlines()
    shown = [line for line in lines if line.startswith("| ") and line.split("|")[1].strip().isdigit()]
    assert shown == bench.table(card)
    assert len(shown) >= 20


def test_outcomes_follow_from_mass_and_significance(card: Any) -> None:
    """Said again in other words than those of the script."""
    for row in card["boxes"]:
        loud = row["global_significance"] > 3
        if row["signal"] is None:
            assert row["outcome"] == ("false alarm" if loud else "quiet")
            continue
        mass = row["signal"]["m_zprime"]
        right = 0.95 * mass < row["peak"]["mass"] < 1.05 * mass
        assert row["outcome"] == {(True, True): "found", (True, False): "misplaced"}.get((loud, right), "missed")


def test_boxes_hold_what_was_drawn(bench: Any, card: Any) -> None:
    """The lot is drawn again: truth was not edited after a look."""
    drawn = bench.draw_contents(len(card["boxes"]))
    assert [row["signal"] for row in card["boxes"]] == [content["signal"] for content in drawn]
    assert card["config"]["methods"] == bench.CONFIG["methods"]
