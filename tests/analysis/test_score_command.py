"""`resonaut score` and `resonaut export` on a run directory: what they write, what they say, how they fail."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.files import file_digest
from resonaut.models import CrossFit, Sample, load_scorer, make_scorer, read_onnx_card
from resonaut.processors import (
    DijetFeatures,
    read_friend,
    read_friend_provenance,
    read_table,
    source,
    write_particle_tree,
    write_table,
)
from resonaut.stats import Window

FEATURES = ("m_h", "tau21_h")
WINDOWS = {"3300-3700": Window(3300, 3700, 2700, 4300), "3000-3300": Window(3000, 3300, 2600, 3800)}


def pseudo_data() -> Sample:
    rng = np.random.default_rng(8)
    mass = rng.uniform(2500.0, 4500.0, 2000)
    m_h = rng.exponential(80.0, 2000) + 20.0
    return Sample(np.stack([m_h, rng.uniform(0.1, 0.9, 2000)], axis=1), FEATURES, mass)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a search leaves: config, event table, scorers with their working points."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    sample = pseudo_data()
    for name, window in WINDOWS.items():
        unit = folder / "scores" / "cwola-trees" / name
        CrossFit("cwola-trees", folds=2, features=FEATURES, members=1, max_iter=5).fit(sample, window).save(
            unit / "scorer"
        )
        (unit / "facts.json").write_text('{"skipped": null, "working_points": {"0.1": 0.02}}')
    unit = folder / "scores" / "knn" / "all"
    make_scorer("knn", features=FEATURES).fit(sample, None).save(unit / "scorer")
    config = {
        "name": "first",
        "input": {"files": ["x.h5"], "jets": {"radius": 0.6}},
        "scan": {"low": 2500, "high": 4500},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "methods": [{"name": "cwola-trees"}]}))
    columns = {"m_h": sample.features[:, 0], "tau21_h": sample.features[:, 1], "mjj": sample.mass}
    write_table(folder / "events" / "events.parquet", columns)
    return folder


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Two jets of a few particles in each event, but for every fourth."""
    import awkward as ak

    rng = np.random.default_rng(1)
    rows = []
    for number in range(24):
        sides = (0.0,) if number % 4 == 3 else (0.0, np.pi)
        parts = [
            [rng.uniform(50, 400), rng.normal(0, 0.3), phi + rng.normal(0, 0.3)] for phi in sides for _ in range(12)
        ]
        rows.append(np.array(parts))
    pt, eta, phi = np.concatenate(rows).T
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    flat = ak.zip({"pt": pt, "eta": eta, "phi": phi, "mass": 0.1396 * np.ones(len(pt))})
    write_particle_tree(tmp_path / "particles.root", ak.unflatten(flat, [len(row) for row in rows]))
    return tmp_path / "particles.root"


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def directly(path: Path, scorer: Path, radius: float) -> Any:
    data = source("particles-root").read(str(path), 0, 24)
    columns = DijetFeatures(radius=radius)(data)
    matrix = np.stack([columns[name] for name in FEATURES], axis=1)
    good = np.isfinite(matrix).all(axis=1) & np.isfinite(columns["mjj"])
    scores = np.full(24, np.nan)
    scores[good] = load_scorer(scorer).score(Sample(matrix[good], FEATURES, columns["mjj"][good]))
    return scores


def test_a_run_scores_files_with_its_own_features(run: Path, events: Path, tmp_path: Path) -> None:
    result = call("score", run, events, "--out", tmp_path / "friends")
    assert result.exit_code == 0, result.output
    friend = read_friend(tmp_path / "friends" / "particles.root")
    assert list(friend) == ["event", "cwola_trees_3000_3300", "cwola_trees_3300_3700", "knn_all"]
    scorer = run / "scores" / "knn" / "all" / "scorer"
    np.testing.assert_array_equal(friend["knn_all"], directly(events, scorer, 0.6))  # the radius of the run's config
    assert not np.array_equal(friend["knn_all"], directly(events, scorer, 1.0), equal_nan=True)
    np.testing.assert_array_equal(friend["event"], np.arange(24))
    assert "24 events in 1 friends; 0 were there already" in result.output
    assert f"knn_all: {np.isnan(friend['knn_all']).sum()} without a score" in result.output
    again = call("score", run, events, "--out", tmp_path / "friends")
    assert "0 events in 0 friends; 1 were there already" in again.output


def test_scores_of_events_that_were_trained_on_are_told(run: Path, events: Path, tmp_path: Path) -> None:
    mine = tmp_path / "run"
    shutil.copytree(run, mine)
    assert "not out of fold" not in call("score", mine, events, "--out", tmp_path / "f").output
    table = read_table(mine / "events" / "events.parquet")
    origin = {"inputs": [{"file": "moved/elsewhere.root", "digest": file_digest(events)}]}
    write_table(mine / "events" / "events.parquet", {name: table[name] for name in table.fields}, origin)
    result = call("score", mine, events, "--out", tmp_path / "g")
    assert result.exit_code == 0
    assert "note: 1 of the files were in the search that trained this (particles.root)" in result.output


def test_one_scorer_with_a_name_as_parquet(run: Path, events: Path, tmp_path: Path) -> None:
    scorer = run / "scores" / "knn" / "all" / "scorer"
    result = call(
        "score",
        scorer,
        events,
        "--out",
        tmp_path,
        "--name",
        "odd",
        "--format",
        "parquet",
        "--radius",
        "1.0",
        "--chunksize",
        5,
    )
    assert result.exit_code == 0, result.output
    friend = read_friend(tmp_path / "particles.parquet")
    np.testing.assert_array_equal(friend["odd"], directly(events, scorer, 1.0))
    assert read_friend_provenance(tmp_path / "particles.parquet")["scorers"]["odd"]["scorer"] == "knn"


def test_some_scores_of_a_run(run: Path, events: Path, tmp_path: Path) -> None:
    assert call("score", run, events, "--out", tmp_path / "f", "--only", "cwola_trees").exit_code == 0
    assert list(read_friend(tmp_path / "f" / "particles.root"))[1:] == [
        "cwola_trees_3000_3300",
        "cwola_trees_3300_3700",
    ]
    result = call("score", run, events, "--out", tmp_path / "g", "--only", "cwola_tree_", "--only", "knn")
    assert result.exit_code == 1
    assert "did you mean 'cwola_trees" in result.output
    result = call("score", run, events, "--out", tmp_path / "g", "--name", "x")
    assert result.exit_code == 1
    assert "--name is for a single scorer" in result.output


def test_a_bad_file_is_told_and_makes_the_exit_code(run: Path, events: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(events.read_bytes()[:700])
    assert call("score", run, events, bad, "--out", tmp_path / "friends").exit_code == 1
    result = call("score", run, events, bad, "--out", tmp_path / "friends", "--skip-bad-files")
    assert result.exit_code == 1
    assert "INCOMPLETE: no friend of" in result.output
    assert (tmp_path / "friends" / "particles.root").is_file()
    assert call("score", tmp_path, events, "--out", tmp_path / "friends").exit_code == 1  # no scorer there


def test_export_checks_on_the_events_of_the_run(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    scorer = run / "scores" / "cwola-trees" / "3300-3700" / "scorer"
    result = call("export", scorer, "--onnx", tmp_path / "scorer.onnx")
    assert result.exit_code == 0, result.output
    assert "4000 random events" in result.output
    assert "2000 real events" in result.output
    card = read_onnx_card(tmp_path / "scorer.onnx")
    assert card["working_points"] == {"0.1": 0.02}
    assert card["agreement"]["real"]["events"] == 2000
    assert card["agreement"]["real"]["difference"] < 1e-9


def test_what_cannot_be_exported_is_told(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    result = call("export", run / "scores" / "knn" / "all" / "scorer", "--onnx", tmp_path / "scorer.onnx")
    assert result.exit_code == 1
    assert "cannot be exported" in result.output
    assert "cwola-trees" in result.output
    several = call("export", run, "--onnx", tmp_path / "scorer.onnx")
    assert several.exit_code == 1
    assert "scorers and a file holds one: give its folder, such as" in several.output
    assert not (tmp_path / "scorer.onnx").exists()
