"""The benchmark of resonant methods, whole, on events whose background is known: closure, a wrong template, resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.resonant.events import divide, find_files, load_events
from resonaut.analysis.resonant.measures import agreement
from resonaut.analysis.resonant.protocol import make_protocol
from resonaut.analysis.resonant.run import make_plan, run_benchmark
from resonaut.analysis.resonant.work import Scores
from resonaut.errors import ConfigError, InputError
from resonaut.files import read_json
from resonaut.processors import write_table

METHODS = ("supervised", "idealised", "cathode", "salad", "cwola", "combined-events", "combined-scores")
ROLES = {"data": "data", "simulation": "simulation", "signal": "signal"}


def background(events: int, seed: int, *, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Falling masses; one feature drifts by half its width per TeV, one does not."""
    rng = np.random.default_rng(seed)
    mass = 2600.0 + rng.exponential(600.0, events)
    x = rng.normal(0.5 * (mass - 3500.0) / 1000.0 + shift)
    return {"mjj": mass, "x": x, "y": rng.normal(size=events), "label": np.zeros(events)}


def signal(events: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(1.5, 0.2, events), rng.normal(-1.5, 0.2, events)
    return {"mjj": rng.normal(3500.0, 60.0, events), "x": x, "y": y, "label": np.ones(events)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events")
    write_table(path / "data.parquet", background(30_000, 1), {})
    write_table(path / "simulation.parquet", background(30_000, 2, shift=0.3), {})
    write_table(path / "signal.parquet", signal(4_000, 3), {})
    return path


def plan_of(folder: Path, out: Path, **changes: Any) -> Any:
    protocol = make_protocol("quick", features=("x", "y"), s_over_b=(0.0, 0.05), device="cpu", **changes)
    return make_plan(find_files(folder, ROLES), out, protocol, METHODS)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("run")
    return out, run_benchmark(plan_of(folder, out))


@pytest.fixture(scope="module")
def results(finished: tuple[Path, Any]) -> dict[str, Any]:
    return dict(read_json(finished[1].results))


def test_templates_close(results: dict[str, Any]) -> None:
    """Interpolated and weighted templates follow the true background; simulation as it is would be 0.12 away in x."""
    for name in ("cathode", "salad", "combined-events"):
        found = results["templates"]["ks"][name]
        assert max(found["distance"].values()) < found["floor"]["upper"] + 0.03, name
    truth = results["templates"]["ks"]["idealised"]
    assert max(truth["distance"].values()) < 1.5 * truth["floor"]["upper"]


def test_signal_is_found_and_nothing_without_it(results: dict[str, Any]) -> None:
    performance = {name: {row["s_over_b"]: row for row in rows} for name, rows in results["performance"].items()}
    for name in ("idealised", "cathode", "salad", "combined-scores"):
        assert performance[name][0.05]["auc"]["median"] > 0.8, name
        assert performance[name][0.05]["max_sic_10"]["median"] > 2.0, name
        assert (
            performance["supervised"][0.05]["max_sic_10"]["median"]
            > 0.8 * performance[name][0.05]["max_sic_10"]["median"]
        )
    assert performance["idealised"][0.0]["template_auc"]["median"] == pytest.approx(0.5, abs=0.05)


def test_every_method_and_event_is_accounted_for(results: dict[str, Any]) -> None:
    assert set(results["performance"]) == set(METHODS)
    assert (results["events"]["data"], results["events"]["truth"]) == pytest.approx(
        (
            0.6 * results["events"]["background_in_signal_region"],
            0.4 * results["events"]["background_in_signal_region"],
        ),
        abs=1,
    )


def test_figures_and_table_are_written(finished: tuple[Path, Any]) -> None:
    _, report = finished
    names = {path.stem for path in report.plots.glob("*.pdf")}
    assert {"ks", "marginals", "sic_5", "strength_scan", "ratio_to_idealised", "sculpting_0"} <= names
    text = report.table.read_text()
    assert "## Maximum SIC" in text
    assert "cathode" in text


def test_a_second_run_computes_nothing(
    folder: Path, finished: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = finished
    assert report.computed > 10
    monkeypatch.setattr("resonaut.analysis.resonant.run._draw", lambda *_: None)  # the figures are there
    assert run_benchmark(plan_of(folder, out)).computed == 0


def test_a_method_overlaps_with_itself_wholly() -> None:
    """Signal above all background ties in efficiency: its order must not be that of chance."""
    rng = np.random.default_rng(5)
    size, empty = 5000, np.zeros(0)
    scores = Scores(
        rng.normal(size=size), rng.integers(0, 5, size), rng.normal(6.0, 2.0, size), rng.integers(0, 5, size),
        empty, empty, empty, empty.astype(int),
    )  # fmt: skip
    found = agreement({"one": [scores], "same": [scores]}, seed=1)
    for row in found["signal"]["overlap"]["one&same"]:
        chance = row["fraction"]
        assert row["median"] == pytest.approx(1 - chance, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": np.arange(30_000) % 3}, "labels other than 0"),
        ({"weight": np.full(30_000, 0.5)}, "weight other than 1"),
    ],
)
def test_events_that_would_be_counted_wrongly_are_refused(
    tmp_path: Path, folder: Path, change: dict[str, np.ndarray], message: str
) -> None:
    table = tmp_path / "data.parquet"
    write_table(table, {**background(30_000, 1), **change}, {})
    tables = {role: folder / f"{role}.parquet" for role in ROLES} | {"data": table}
    with pytest.raises(InputError, match=message):
        load_events(tables, make_protocol("quick", features=("x", "y"), options={}))


def test_what_is_asked_for_is_what_is_run(folder: Path, tmp_path: Path) -> None:
    found = make_protocol("cpu", classifier="network", s_over_b=(0.0, 0.004, 0.02))
    assert "max_features" not in found.classifier_options
    assert found.strengths("anode") == (0.004,)  # none of its own is among them
    files = find_files(folder, ROLES)
    named = make_plan(files, tmp_path, make_protocol("cpu", features=("x", "y"), seeds=4), ("idealised", "anode"))
    assert len(named.trainings("anode")) == 4 * len(named.protocol.s_over_b)
    arguments = ["benchmark", "resonant", str(folder), "--out", str(tmp_path), "--features", "x,y", "--dry-run"]
    roles = [x for role in ROLES for x in (f"--{role}", role)]
    result = CliRunner().invoke(main, [*arguments, *roles, "--methods", "cwola", "--s-over-b", "0.47%,0.0093"])
    assert "S/B: 0.47 %, 0.93 %" in result.output, result.output


def test_signal_at_all_masses_stands_beside_all_background(folder: Path) -> None:
    protocol = make_protocol("quick", features=("x", "y"), everywhere=True, options={})
    events = load_events({role: folder / f"{role}.parquet" for role in ROLES}, protocol)
    division = divide(events, protocol, 0.05, 0)
    inside = protocol.window.in_signal_region(events.signal.mass)
    assert inside[division.injected].sum() == round(0.05 * len(division.data))
    beside = np.count_nonzero(~inside[division.injected]) / inside[division.injected].sum()
    assert beside == pytest.approx(
        np.count_nonzero(~inside) / inside.sum() / protocol.data_fraction, rel=0.02, abs=0.02
    )


def test_a_combination_needs_members(folder: Path, tmp_path: Path) -> None:
    protocol = make_protocol("quick", features=("x", "y"))
    with pytest.raises(ConfigError, match="at least two"):
        make_plan(find_files(folder, ROLES), tmp_path, protocol, ("cathode", "combined-events"))


def test_the_command_says_what_it_would_do(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "benchmark",
        "resonant",
        str(folder),
        "--out",
        str(tmp_path),
        "--size",
        "quick",
        "--features",
        "x,y",
        "--dry-run",
    ]
    files = [x for role in ROLES for x in (f"--{role}", role)]
    found = CliRunner().invoke(main, [*arguments, *files, "--methods", "cwola,idealised"])
    assert found.exit_code == 0, found.output
    assert "methods: cwola, idealised" in found.output


def test_mistakes_are_told_before_events_are_read(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "benchmark",
        "resonant",
        str(folder),
        "--out",
        str(tmp_path / "none"),
        "--data",
        "data",
        "--signal",
        "signal",
    ]
    for more, message in (
        (["--methods", "catode"], "did you mean 'cathode'"),
        (["--methods", "salad", "--simulation", ""], "--simulation"),
        (["--shift", "-2"], "shift must be"),
    ):
        result = CliRunner().invoke(main, [*arguments, "--simulation", "simulation", *more])
        assert result.exit_code != 0
        assert message in str(result.exception) + result.output
        assert not (tmp_path / "none").exists()
