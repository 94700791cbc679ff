"""The page on dimuons: its numbers are those of the benchmark's results, its code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dimuon.md").read_text()
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "dimuon.json").read_text())


def upsilon(windows: list[dict[str, Any]]) -> dict[float, dict[str, Any]]:
    return {w["cut"]: w for w in windows if w["low"] == pytest.approx(9.0) and w["high"] == pytest.approx(10.6)}


def test_the_table_of_the_search_is_that_of_the_results() -> None:
    ours, null = (upsilon(RESULTS[key]["windows"]) for key in ("search", "same_sign_search"))
    for cut, w in ours.items():
        name, n = "no cut" if cut == 1 else f"{100 * cut:g} %", null[cut]
        row = (
            f"| {name} | {w['observed']:.0f} | {w['expected']:.0f} ± {w['expected_error']:.0f} | "
            f"{w['observed'] / w['expected'] - 1:.2f} | {w['local_significance']:.1f} | {n['observed']:.0f} | "
            f"{n['expected']:.0f} ± {n['expected_error']:.0f} | {n['local_significance']:.1f} |"
        )
        assert row in PAGE
    null_z = [w["local_significance"] for w in RESULTS["same_sign_search"]["windows"]]
    assert f"all {len(null_z)} entries lie between {min(null_z):.1f} and {max(null_z):.1f}σ" in PAGE
    deepest = min(w["local_significance"] for w in RESULTS["search"]["windows"])
    assert f"have deficits ({-deepest:.1f}σ in 7.6-9.0 GeV)" in PAGE


def test_the_tables_of_the_spectra_are_those_of_the_results() -> None:
    for row, null in zip(RESULTS["published"], RESULTS["published_same_sign"], strict=True):
        text = (
            f"| {100 * row['background_fraction']:g} % | {row['events']:,} | {row['observed']:.0f} | "
            f"{row['expected']:.1f} ± {row['expected_error']:.1f} | {row['significance']:.2f} | {row['stored_significance']:.2f} | "
            f"{null['significance']:.2f} | {null['stored_significance']:.2f} |"
        )
        assert text in PAGE
    for name, found in RESULTS["table"]["resonances"].items():
        if any(symbol in name for symbol in ("J/", "Upsilon", "Z")):
            assert f"{found['mass']} ± {found['half_width']} | {found['inside']} | {found['beside']} |" in PAGE
    assert all(f"{count}" in PAGE for count in RESULTS["table"]["cutflow"].values())


def test_the_code_of_the_page_runs(reference_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    folder = reference_data / "opendata_upsilon"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    exec(compile(block, "dimuon.md", "exec"), {"__name__": "page"})  # noqa: S102 (our own page)
    assert capsys.readouterr().out == "275 seen, 163.7 expected, 5.13 sigma\n"
