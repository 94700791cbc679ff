"""The page of the campaigns shows the numbers of the kept campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resonaut.files import read_json

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "campaigns.md").read_text()


@pytest.fixture(scope="module")
def campaign() -> Any:
    return read_json(ROOT / "benchmarks" / "results" / "zprime_limits.json")


def told(events: float | None, luminosity: float) -> str:
    return "–" if events is None else f"{events / luminosity:.2f}"


def rows(campaign: Any, of: Any) -> list[str]:
    """Rows of a table whose cells of each signal are made by `of`."""
    x500, x300 = ({(s["method"], s["cut"]): s for s in signal["selections"]} for signal in campaign["signals"])
    found = []
    for (method, cut), selection in x500.items():
        if selection["limit"] is not None:
            name = "no cut" if cut == 1 else f"{method}, {100 * cut:g} %"
            cells = [of(each[method, cut], campaign["luminosity"]) for each in (x500, x300)]
            found.append(f"| {name} | {' | '.join(cells)} |")
    return found


def limit_cells(selection: Any, luminosity: float) -> str:
    limit = selection["limit"]
    low, middle, high = (told(limit["expected"][k], luminosity) for k in (1, 2, 3))
    return f"{told(limit['observed'], luminosity)} | {middle} ({low} to {high})"


def reach_cells(selection: Any, luminosity: float) -> str:
    return " | ".join(told(selection["reach"][level], luminosity) for level in ("3", "5"))


def test_limits(campaign: Any) -> None:
    for row in rows(campaign, limit_cells):
        assert row in PAGE


def test_reach(campaign: Any) -> None:
    for row in rows(campaign, reach_cells):
        if not row.startswith("| supervised"):
            assert row in PAGE


def test_units_and_trainings(campaign: Any) -> None:
    assert f"{campaign['units']} units, {campaign['trainings']} trainings" in PAGE
