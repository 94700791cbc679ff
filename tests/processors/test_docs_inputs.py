"""Every Python block of the page on inputs runs, in order, and its YAML is a column map."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from resonaut.processors import SOURCES, ColumnMap

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "inputs.json"
GUIDE = Path(__file__).parents[2] / "docs" / "inputs.md"
SAMPLES = {
    "physlite.root": "PHYSLITE_example.root",
    "treemaker.root": "treemaker.root",
    "delphes.root": "delphes_10events.root",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_page_runs_as_written(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, run_page: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, stored in SAMPLES.items():
        shutil.copyfile(reference_data / "root" / stored, name)
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {
        f"fatjet_{x}": ak.from_regular(rng.uniform(0.1, 1, (50, 2))) for x in ("eta", "phi", "tau1")
    }
    columns |= {f"fatjet_{x}": ak.from_regular(rng.uniform(2e5, 9e5, (50, 2))) for x in ("pt", "m")}
    columns |= {x: rng.uniform(1, 2, 50) for x in ("met", "met_phi", "mcweight")}
    with uproot.recreate("ntuple.root") as file:
        file.mktree("nominal", {k: "var * float64" if v.ndim > 1 else "float64" for k, v in columns.items()})
        file["nominal"].extend(columns)
    try:
        names = run_page(GUIDE)
    finally:
        SOURCES.pop("my-ntuple", None)
    printed = capsys.readouterr().out
    assert "physlite.root physlite 100" in printed
    assert "50 of 50 events read, 50 used" in printed
    assert "('signal', 'treemaker.root', 'PreSelection'), ('background', 'delphes.root', None)" in printed
    assert {name: part["cutflow"]["two jets"] for name, part in names["result"].output.items()} == {
        "signal": 10,
        "background": 10,
        "events": 32,
    }
    np.testing.assert_allclose(names["mine"].table()["pt_j1"], 1e-3 * ak.max(columns["fatjet_pt"], axis=1))


def test_the_map_of_the_page_is_one() -> None:
    text = blocks("yaml")[0]
    found = ColumnMap.from_dict(yaml.safe_load(text))
    assert found.unit == "MeV"
    assert len(found.columns["FatJet"]) == 2


def test_the_table_of_samples_is_what_was_measured() -> None:
    """Events in, used, skipped and why: as `benchmarks/bench_inputs.py` has found them."""
    measured = {row["command"]: row for row in json.loads(RESULTS.read_text())["files"]}
    rows = re.findall(
        r"^\| `(resonaut features [^`]+)` \| ([\d,]+) \| ([\d,]+) \| (.*) \|$", GUIDE.read_text(), flags=re.MULTILINE
    )
    assert len(rows) > 15
    for command, events, used, skipped in rows:
        found = measured.pop(command)
        numbers = [int(text.replace(",", "")) for text in (events, used)]
        assert numbers == [found["expected"], found["used"]], command
        assert skipped == ", ".join(f"{count} {reason}" for reason, count in found["skipped"].items()), command
    left = [command for command, row in measured.items() if "error" not in row]
    assert all("darkmachines/" in command for command in left)  # they are summed up in a line
    total = sum(measured[command]["expected"] for command in left)
    assert f"{len(left)} files of `darkmachines/`, {total:,} events" in GUIDE.read_text()


def test_every_source_is_in_the_table() -> None:
    page = GUIDE.read_text()
    assert all(f"| `{name}` |" in page for name in SOURCES)
