"""`resonaut generate`: what the command line adds to the function, and that its files go into a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.processors import read_generation, recognise

pytest.importorskip("pythia8mc", reason="needs Pythia 8: pip install 'resonaut[generate]'")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["generate", *(str(a) for a in arguments)])


def test_options_reach_their_places(tmp_path: Path) -> None:
    out = tmp_path / "a.h5"
    done = run(
        "qcd",
        "--out",
        out,
        *("--events", 8, "--seed", 5, "--format", "features", "--label", 3, "--sqrts", 13600, "--tune", 21),
        *("--jet-pt", 1500, "--jet-eta", 2.0, "--radius", 0.8, "--pthat-max", 4000),
        *("--pythia", "TimeShower:alphaSvalue = 0.13", "--pythia", "SpaceShower:alphaSvalue = 0.13"),
        *("--detector", "hcal_stochastic=1.5", "--detector", "track_efficiency=0.9,0.8"),
        *("--detector", "track_resolution=0.02"),
    )
    assert done.exit_code == 0, done.output
    assert "8 of" in done.output
    assert "cross-section after the selection: " in done.output
    origin = read_generation(out)
    assert origin["process"] == {"name": "qcd", "pthat_min": 1125.0, "pthat_max": 4000.0, "bias": 0.0}
    assert origin["trigger"] == {"pt": 1500.0, "abs_eta": 2.0, "radius": 0.8, "ptmin": 20.0}
    assert origin["generator"]["sqrts"] == 13600.0
    assert origin["generator"]["tune"] == 21
    assert len(origin["generator"]["lines"]) == 2
    assert origin["detector"]["hcal_stochastic"] == 1.5
    assert origin["detector"]["track_efficiency"] == [0.9, 0.8]
    assert origin["detector"]["track_resolution"] == [0.02, 0.02]
    assert (origin["label"], origin["seed"], origin["events"]) == (3, 5, 8)


def test_a_signal_has_no_cross_section(tmp_path: Path) -> None:
    done = run(
        "zprime-xy", "--out", tmp_path / "a.root", "--events", 5, "--m-x", 300, "--prongs-y", 3, "--format", "root"
    )
    assert done.exit_code == 0, done.output
    assert "cross-section" not in done.output
    assert recognise(tmp_path / "a.root") == "particles-root"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["qcdd"], "unknown process 'qcdd': did you mean 'qcd'"),
        (["qcd", "--m-x", "300"], "--m-x is no option of the process 'qcd', expected --pthat-min"),
        (["zprime-xy", "--m-x", "4000"], "m_zprime is 3500.0, expected more than m_x"),
        (["qcd", "--pythia", "TimeShower:alphaSvlue = 1"], "did you mean timeshower:alphasvalue"),
        (["qcd", "--detector", "hcal_stocastic=1"], "did you mean 'hcal_stochastic'"),
        (["qcd", "--detector", "hcal_stochastic=high"], "expected NAME=NUMBER"),
        (["qcd", "--detector", "hcal_stochastic=1,2"], "expected one number"),
        (["qcd", "--detector", "track_efficiency=1,2,3"], "expected two numbers"),
        (["qcd", "--pythia", "Random:seed = 4"], "options of their own"),
        (["qcd", "--label", "300"], "label is 300, expected -127 to 127"),
    ],
)
def test_mistakes_end_in_one_clear_message(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, "--out", tmp_path / "a.h5", "--events", 5)
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_help_teaches() -> None:
    text = run("--help").output
    for word in (
        "zprime-xy",
        "resonaut hunt",
        "--shower vincia",
        "pip install",
        "docs/generate.md",
        "goes on where it was",
    ):
        assert word in text


def test_generated_events_go_through_a_search(tmp_path: Path) -> None:
    """The walk of docs/generate.md in a tiny form: background and signal into one event table, and a fit of its spectrum."""
    for process, events in (("qcd", 60), ("zprime-xy", 20)):
        assert run(process, "--out", tmp_path / f"{process}.h5", "--events", events).exit_code == 0
    table = tmp_path / "events.parquet"
    files = [str(tmp_path / f"{process}.h5") for process in ("qcd", "zprime-xy")]
    made = CliRunner().invoke(main, ["features", *files, "--out", str(table)])
    assert made.exit_code == 0, made.output
    assert "80 events read" in made.output
    from resonaut.processors import read_table

    found = read_table(table)
    assert sorted(set(found.label.tolist())) == [0, 1]
    assert abs(found.mjj[found.label == 1].to_numpy().mean() - 3500) < 200
