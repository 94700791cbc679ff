"""Whole searches, small: what comes out, what survives a kill, what bad input does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml

from resonaut.analysis import demo
from resonaut.analysis.config import parse_config
from resonaut.analysis.search import run_search
from resonaut.errors import InputError
from resonaut.processors import read_table, write_table

FAST = {"members": 1, "max_iter": 20}
SMALL = {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3100, 3500, 4300]}


def toy_table(path: Path, *, events: int = 20_000, bump: int = 250, seed: int = 3) -> Path:
    """A falling spectrum with two noise features, and a narrow resonance that stands apart in one of them."""
    rng = np.random.default_rng(seed)
    low, high, slope = 2800.0, 5200.0, -6.0
    u = rng.random(events)
    mass = (low ** (slope + 1) + u * (high ** (slope + 1) - low ** (slope + 1))) ** (1 / (slope + 1))
    mass = np.concatenate([mass, rng.normal(3500, 60, bump)])
    signal_like = np.concatenate([rng.normal(0, 1, events), rng.normal(3, 0.4, bump)])
    table = {"mjj": mass, "a": signal_like, "b": rng.normal(0, 1, len(mass)), "weight": np.ones(len(mass))}
    table["label"] = np.repeat([0, 1], [events, bump]).astype(np.int8)
    order = rng.permutation(len(mass))
    write_table(path, {name: values[order] for name, values in table.items()})
    return path


def config_of(files: list[str], **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "toy", "seed": 5, "workers": 1, "input": {"files": files},
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4},
        "methods": [{"name": "cwola-trees", "features": ["a", "b"], "options": FAST}],
        "selection": {"cuts": [0.1, 0.01], "folds": 3}, "limits": {"cuts": [1.0]},
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    toy_table(folder / "events.parquet")
    run_search(parse_config(config_of(["events.parquet"])), folder, folder / "run")
    return folder / "run"


def test_the_injected_bump_is_the_largest_excess(toy_run: Path) -> None:
    summary = json.loads((toy_run / "summary.json").read_text())
    best = summary["best"]
    assert best["low"] < 3500 < best["high"]
    assert best["local_significance"] > 5
    inclusive = [w["local_significance"] for w in summary["windows"] if w["cut"] == 1]
    assert max(inclusive) < best["local_significance"]
    # Away from the bump nothing stands out: training on noise makes no signal.
    away = [w for w in summary["windows"] if w["high"] < 3200 or w["low"] > 3800]
    assert max(w["local_significance"] for w in away) < 4


def test_the_summary_keeps_its_schema(toy_run: Path) -> None:
    summary = json.loads((toy_run / "summary.json").read_text())
    documented = re.findall(
        r"^\| `(\w+)` \|", (Path(__file__).parents[2] / "docs/summary.md").read_text(), flags=re.MULTILINE
    )
    assert set(summary) == set(documented) - {"method", "cut", "observed", "fit_status"}
    assert summary["uses_labels"] is False
    assert summary["schema"] == "resonaut.summary/1"
    assert {"read", "used", "skipped"} <= set(summary["events"])
    entry = {"low", "high", "method", "cut", "observed", "expected", "expected_error", "local_p", "local_significance"}
    assert all(entry <= set(w) for w in summary["windows"])
    assert len(summary["limits"]) == len({(w["low"], w["high"]) for w in summary["windows"]})
    for limit in summary["limits"]:
        assert {"signal", "mass", "observed", "expected"} <= set(limit)
        assert limit["expected"] == sorted(limit["expected"])
        assert len(limit["expected"]) == 5
    assert summary["events"]["read"] == 20_250


def test_the_limit_is_weakest_where_the_bump_is(toy_run: Path) -> None:
    limits = json.loads((toy_run / "summary.json").read_text())["limits"]
    ratio = {limit["mass"]: limit["observed"] / limit["expected"][2] for limit in limits}
    assert abs(max(ratio, key=lambda mass: ratio[mass]) - 3500) < 250


def test_the_report_is_self_contained(toy_run: Path) -> None:
    html = (toy_run / "report.html").read_text()
    assert "http://" not in html
    assert "https://" not in html
    assert html.count("data:image/png;base64,") >= 5
    plots = {p.suffix for p in (toy_run / "plots").iterdir()}
    assert plots == {".png", ".pdf", ".json"}


def run_without_figures(config: dict[str, Any], base: Path, out: Path) -> Path:
    """A search whose numbers alone are looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resonaut.analysis.outputs.save_figure", lambda drawn, _: plt.close(drawn[0]))
        patch.setattr("resonaut.analysis.search.interpretation_stage", lambda *_: None)
        patch.setattr("resonaut.analysis.search.write_report", lambda path: path)
        run_search(parse_config(config), base, out)
    return out


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three windows of few events, for searches that are made again as a whole."""
    folder = tmp_path_factory.mktemp("small")
    toy_table(folder / "events.parquet", events=10_000, bump=150)
    return run_without_figures(config_of(["events.parquet"], scan=SMALL), folder, folder / "run")


def test_two_workers_give_what_one_gives(small_run: Path, tmp_path: Path) -> None:
    content = config_of(["events.parquet"], scan=SMALL, workers=2)
    run_without_figures(content, small_run.parent, tmp_path / "run")
    ours, reference = (json.loads((p / "summary.json").read_text()) for p in (tmp_path / "run", small_run))
    assert ours["windows"] == reference["windows"]
    assert ours["limits"] == reference["limits"]


def test_another_config_in_the_same_folder_leaves_nothing_of_the_old_one(toy_run: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_run, tmp_path / "run")
    scan = {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [4200]}
    config = parse_config(config_of(["events.parquet"], scan=scan, limits=None))
    run_search(config, toy_run.parent, tmp_path / "run")
    drawn = {p.stem for p in (tmp_path / "run/plots").glob("*.png")}
    assert drawn == {"pvalue_scan", "spectrum_cwola-trees_3816-4144", "spectrum_cwola-trees_4144-4501", "sic"} & drawn
    assert "pvalue_scan" in drawn
    assert not any(stem.startswith("limits") or "3371" in stem for stem in drawn)


def test_the_config_of_a_run_runs_again_from_anywhere(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resonaut.analysis.config import load_config

    monkeypatch.chdir(tmp_path)
    again = load_config(toy_run / "config.yaml")
    assert again.resolved_files(tmp_path) == (toy_run.parent / "events.parquet",)


def test_a_run_directory_is_for_one_run_at_a_time(toy_run: Path) -> None:
    from resonaut.analysis.rundir import RunDirectory

    with RunDirectory(toy_run).lock(), pytest.raises(InputError, match="another run is at work"):
        run_search(parse_config(config_of(["events.parquet"])), toy_run.parent, toy_run)


def test_windows_in_tev_do_not_share_folders(tmp_path: Path) -> None:
    from resonaut.analysis.rundir import RunDirectory
    from resonaut.analysis.scoring import score_jobs

    table = tmp_path / "events.parquet"
    mass = np.linspace(2.8, 5.2, 100)
    write_table(table, {"mjj": mass, "a": mass, "b": mass, "weight": np.ones(100)})
    config = parse_config(config_of(["x"], scan={"low": 2.8, "high": 5.2, "step": 1}, fit={"sqrts": 13.0}))
    jobs = score_jobs(config, RunDirectory(tmp_path / "run"), table, "key")
    assert len({job.folder for job in jobs}) == len(jobs) == 21


def test_weighted_events_are_refused_before_the_training(tmp_path: Path) -> None:
    table = {"mjj": np.linspace(3000, 5000, 500), "a": np.ones(500), "b": np.ones(500), "weight": np.full(500, 0.5)}
    write_table(tmp_path / "events.parquet", table)
    with pytest.raises(InputError, match="500 of 500 events have a weight other than 1"):
        run_search(parse_config(config_of(["events.parquet"])), tmp_path, tmp_path / "run")


def test_the_same_events_do_not_enter_twice(tmp_path: Path) -> None:
    toy_table(tmp_path / "events.parquet", events=3000)
    shutil.copy(tmp_path / "events.parquet", tmp_path / "copy.parquet")
    with pytest.raises(InputError, match="would count twice"):
        run_search(parse_config(config_of(["events.parquet", "copy.parquet"])), tmp_path, tmp_path / "run")


def test_masses_that_are_nan_are_skipped_and_counted(tmp_path: Path) -> None:
    from resonaut.analysis.events import event_stage
    from resonaut.analysis.rundir import RunDirectory

    mass = np.linspace(3000, 5000, 500)
    mass[:3] = np.nan
    write_table(tmp_path / "events.parquet", {"mjj": mass, "pt_j1": mass / 2})
    files = ["events.parquet"]
    config = parse_config(config_of(files, input={"files": files, "cuts": {"pt_j1": 2000}}))
    stage = event_stage(config, tmp_path, RunDirectory(tmp_path / "run"))
    assert (stage.summary["read"], stage.summary["used"], stage.summary["skipped"]) == (500, 497, 3)
    assert stage.summary["reasons"] == {"mjj not finite": 3}
    assert len(read_table(stage.table)) == np.count_nonzero(mass / 2 > 2000)


def test_a_second_run_repeats_nothing_and_changes_nothing(toy_run: Path) -> None:
    before = json.loads((toy_run / "summary.json").read_text())
    stamps = {p: p.stat().st_mtime_ns for p in toy_run.rglob("unit.json")}
    assert len(stamps) > 10
    folder = toy_run.parent
    run_search(parse_config(config_of(["events.parquet"])), folder, toy_run)
    after = json.loads((toy_run / "summary.json").read_text())
    assert {p: p.stat().st_mtime_ns for p in toy_run.rglob("unit.json")} == stamps
    for summary in (before, after):
        summary.pop("timings")
    assert before == after


@pytest.mark.slow
def test_a_killed_run_continues_and_gives_identical_results(small_run: Path, tmp_path: Path) -> None:
    shutil.copy(small_run.parent / "events.parquet", tmp_path)
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config_of(["events.parquet"], scan=SMALL)))
    command = [sys.executable, "-m", "resonaut", "run", str(tmp_path / "search.yaml"), "--out", str(tmp_path / "run")]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("run/scores/*/*/unit.json"))) < 2 and time.monotonic() < deadline:
        assert first.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/**/unit.json")}
    assert done
    assert not (tmp_path / "run/summary.json").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    ours, reference = (json.loads((p / "summary.json").read_text()) for p in (tmp_path / "run", small_run))
    assert ours["windows"] == reference["windows"]
    assert ours["limits"] == reference["limits"]


def test_events_without_a_feature_are_counted_and_reported(tmp_path: Path) -> None:
    table = read_table(toy_table(tmp_path / "good.parquet", events=8000, bump=0))
    columns = {name: np.array(table[name]) for name in table.fields}
    columns["a"][:7] = np.nan
    write_table(tmp_path / "events.parquet", columns)
    content = config_of(["events.parquet"], limits=None, scan={"low": 2800, "high": 5200, "bins": 30, "only": [3500]})
    run_search(parse_config(content), tmp_path, tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert any("7 events lack a feature" in warning for warning in summary["warnings"])


def test_an_empty_window_is_skipped_and_reported(tmp_path: Path) -> None:
    table = read_table(toy_table(tmp_path / "all.parquet", events=9000, bump=0))
    columns = {name: np.array(table[name]) for name in table.fields}
    hole = (columns["mjj"] > 3370) & (columns["mjj"] < 3665)
    write_table(tmp_path / "events.parquet", {name: values[~hole] for name, values in columns.items()})
    scan = {"low": 2800, "high": 5200, "bins": 30, "step": 3, "only": [3500, 4200]}
    run_search(parse_config(config_of(["events.parquet"], limits=None, scan=scan)), tmp_path, tmp_path / "run")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    skipped = [
        w for w in summary["warnings"] if "a window was skipped: the signal region of 3371-3661 GeV has 0 events" in w
    ]
    assert len(skipped) == 1
    trained = {(round(w["low"]), w["method"]) for w in summary["windows"] if w["cut"] < 1}
    assert trained == {(4059, "cwola-trees")}


def test_an_empty_mass_range_is_a_clear_error(tmp_path: Path) -> None:
    toy_table(tmp_path / "events.parquet", events=3000)
    content = config_of(["events.parquet"], scan={"low": 9000, "high": 12000})
    with pytest.raises(InputError, match=r"9000.*12000"):
        run_search(parse_config(content), tmp_path, tmp_path / "run")


def test_a_missing_feature_is_named(tmp_path: Path) -> None:
    toy_table(tmp_path / "events.parquet", events=3000)
    method = {"name": "cwola-trees", "features": ["a", "c"], "options": FAST}
    with pytest.raises(InputError, match="has no c"):
        run_search(parse_config(config_of(["events.parquet"], methods=[method])), tmp_path, tmp_path / "run")


def test_a_truncated_file_stops_the_run_or_is_reported(tmp_path: Path) -> None:
    source = Path(demo.__file__).parent
    shutil.copy(source / "signal_features.h5", tmp_path / "good.h5")
    for name in ("signal_features.h5", "qcd_particles.root"):
        content = (source / name).read_bytes()
        (tmp_path / f"bad_{name}").write_bytes(content[: len(content) // 2])
    files = ["good.h5", "bad_signal_features.h5", "bad_qcd_particles.root"]
    from resonaut.analysis.events import event_stage
    from resonaut.analysis.rundir import RunDirectory

    with pytest.raises(InputError, match="bad_"):
        event_stage(parse_config(config_of(files)), tmp_path, RunDirectory(tmp_path / "strict"))
    skipping = parse_config(config_of(files, input={"files": files, "on_bad_file": "skip"}))
    stage = event_stage(skipping, tmp_path, RunDirectory(tmp_path / "skip"))
    assert not stage.summary["complete"]
    assert stage.summary["used"] == 340
    assert sum("INCOMPLETE" in warning for warning in stage.warnings) == 2
