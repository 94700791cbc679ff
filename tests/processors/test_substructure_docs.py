"""Every code block of the guide to substructure runs, in order, and its table lists what there is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from resonaut.processors import OBSERVABLES

GUIDE = Path(__file__).parents[2] / "docs" / "substructure.md"


def test_guide_runs_as_written(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, toys: Any, run_page: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    toys.write_particle_frame(tmp_path / "events.h5", toys.make_particles(1, 60))
    shutil.copyfile(reference_data / "root" / "pfnano.root", "pfnano.root")
    shutil.copyfile(reference_data / "root" / "nano_tt_v12.root", "nano.root")
    names = run_page(GUIDE)
    printed = capsys.readouterr().out
    assert "(60, 3)" in printed
    assert "unknown observable 'tua21': did you mean 'tau21' or" in printed
    assert "collection FatJet neither stores d2 nor " in printed
    assert "(2, 30, 5) [3 1]" in printed
    assert set(names["stored"].columns) == {"pt", "eta", "phi", "m", "tau21", "sd_n2"}


def test_table_lists_every_observable_with_its_reference() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `")]
    for name, observable in OBSERVABLES.items():
        family = "tau1" if re.fullmatch(r"tau\d", name) else "tau21" if re.fullmatch(r"tau\d\d", name) else name
        row = next((line for line in rows if f"`{family}`" in line.split("|")[1]), None)
        assert row is not None, name
        number = re.search(r"\d{4}\.\d{4,5}", observable.reference)
        assert number is not None
        assert number[0] in row or "the same" in row, name


def test_both_spellings_of_the_guide_mean_the_same() -> None:
    from resonaut.processors import parse_observable

    table = GUIDE.read_text().split("| short |")[1].split("\n\n")[0]
    rows = [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    assert len(rows) >= 6
    for short, (written,) in rows:
        assert {parse_observable(name).key for name in short} == {parse_observable(written).key}
