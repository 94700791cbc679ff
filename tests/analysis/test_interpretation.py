"""What the methods learned: against numpy, and planted features against noise."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from scipy.stats import binom, spearmanr
from sklearn.metrics import roc_auc_score

from resonaut.analysis.config import SearchConfig, parse_config
from resonaut.analysis.interpretation import (
    FoldEvents,
    efficiency_plane,
    feature_spread,
    interpretation_stage,
    permutation_importance,
    rank_in_fold,
    score_map,
)
from resonaut.analysis.interpretation.view import fold_events, view_of
from resonaut.analysis.plots.feature_labels import feature_html, feature_label
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import ScoreJob, load_scores, score_jobs, score_stage
from resonaut.errors import InputError
from resonaut.models import load_scorer
from resonaut.processors import read_table, write_table
from resonaut.stats import ScanEntry, ScanResult

Floats = npt.NDArray[np.float64]


def test_the_efficiency_plane_is_what_numpy_counts() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.exponential(100, 5000), rng.normal(300, 80, 5000)
    selected = (x > 150) & (rng.random(5000) < 0.7)
    edges = (np.linspace(0, 400, 9), np.linspace(100, 500, 5))
    plane = efficiency_plane(x, y, selected, ("m_j1", "m_j2"), edges=edges)
    for i in range(8):
        for j in range(4):
            # numpy's last bin is closed on both sides
            high_x = (x <= edges[0][i + 1]) if i == 7 else (x < edges[0][i + 1])
            high_y = (y <= edges[1][j + 1]) if j == 3 else (y < edges[1][j + 1])
            inside = (x >= edges[0][i]) & high_x & (y >= edges[1][j]) & high_y
            assert plane.total[i, j] == np.count_nonzero(inside)
            assert plane.selected[i, j] == np.count_nonzero(inside & selected)
            if inside.any():
                assert plane.efficiency[i, j] == pytest.approx(selected[inside].mean())
            else:
                assert np.isnan(plane.efficiency[i, j])
    assert plane.total.sum() + plane.outside == 5000


def test_the_interval_of_an_efficiency_covers() -> None:
    """Coverage of the 68 % interval, summed over the binomial distribution, is near 68 % for all efficiencies."""
    n, ends = 60, np.array([-1.0, 1.0])
    for truth in (0.05, 0.3, 0.8):
        covered = 0.0
        for k in range(n + 1):
            chosen = np.arange(n) < k
            plane = efficiency_plane(np.zeros(n), np.zeros(n), chosen, ("a", "b"), edges=(ends, ends))
            low, high = plane.interval
            covered += float(binom.pmf(k, n, truth)) * bool(low[0, 0] <= truth <= high[0, 0])
        assert covered == pytest.approx(0.683, abs=0.09)


def test_a_plane_without_events_is_refused() -> None:
    nothing = np.zeros(0)
    with pytest.raises(InputError, match="efficiency needs events"):
        efficiency_plane(nothing, nothing, nothing > 0, ("a", "b"))


def test_a_spread_keeps_every_event_and_tells_regions_apart() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 4000), rng.normal(6, 0.3, 60)])
    inside = np.concatenate([rng.random(4000) < 0.4, np.ones(60, dtype=bool)])
    selected = (values > 1.5) | (rng.random(4060) < 0.01)
    spread = feature_spread("a", values, inside, selected)
    assert spread.counts["signal region"].sum() == inside.sum()
    assert spread.counts["sidebands"].sum() == (~inside).sum()
    assert spread.counts["signal region, selected"].sum() == (inside & selected).sum()
    assert spread.edges[0] < -1.5 < 6 < spread.edges[-1]
    assert spread.p_value is not None
    assert spread.p_value < 1e-3
    empty = feature_spread("a", values, inside, selected & inside)
    assert empty.distance is None


def test_a_score_map_holds_the_mean_rank() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.random(4000), rng.random(4000)
    rank = (x + y) / 2
    mapped = score_map(x, y, rank, ("a", "b"), bins=8)
    for i, j in ((0, 0), (3, 5), (7, 7)):
        inside = (x >= mapped.edges[0][i]) & (x < mapped.edges[0][i + 1])
        inside &= (y >= mapped.edges[1][j]) & (y < mapped.edges[1][j + 1])
        assert mapped.events[i, j] == np.count_nonzero(inside) > 0
        assert mapped.rank[i, j] == pytest.approx(rank[inside].mean())


def _planted(seed: int = 0, folds: int = 4, n: int = 4000) -> list[FoldEvents]:
    """Events whose region shows in feature 0, whose score takes features 0 and 1, and three features of noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(folds):
        inside = rng.random(n) < 0.4
        matrix = rng.normal(size=(n, 5))
        matrix[:, 0] += 1.0 * inside

        def score(features: Floats, mass: Floats) -> Floats:
            return np.asarray(features[:, 0] + 0.5 * features[:, 1])

        values = score(matrix, np.zeros(n))
        lowest = float(np.quantile(values, 0.98))
        chosen = matrix[(values >= lowest) & inside]
        found.append(FoldEvents(score, matrix, np.zeros(n), inside, chosen, np.zeros(len(chosen)), lowest))
    return found


def test_planted_features_are_important_and_noise_is_not() -> None:
    rows = permutation_importance(_planted(), ["a", "b", "c", "d", "e"], seed=1)
    found = {row.feature: row for row in rows}
    assert rows[0].feature == "a"
    assert found["a"].separation > 10 * found["a"].separation_error > 0
    assert found["a"].lost > 0.5
    for noise in ("c", "d", "e"):
        assert [v for k, v in found[noise].to_dict().items() if k != "feature"] == pytest.approx([0.0] * 8, abs=1e-12)
    # the score listens to feature b, which says nothing of the region: no excess goes with it
    assert found["b"].order > 0.05
    assert found["b"].lost > 0.2
    assert abs(found["b"].excess) < 4 * found["b"].excess_error
    assert found["a"].excess > 10 * found["a"].excess_error


def test_importance_is_what_scipy_and_sklearn_find() -> None:
    (fold,) = _planted(folds=1)
    rows = permutation_importance([fold], ["a", "b", "c", "d", "e"], repeats=40, seed=3)
    row = next(each for each in rows if each.feature == "a")
    rng = np.random.default_rng(99)
    before = fold.score(fold.features, fold.mass)
    order, separation = [], []
    for _ in range(40):
        shuffled = fold.features.copy()
        rng.shuffle(shuffled[:, 0])
        after = fold.score(shuffled, fold.mass)
        order.append(1 - spearmanr(before, after).statistic)
        separation.append(roc_auc_score(fold.inside, before) - roc_auc_score(fold.inside, after))
    assert row.order == pytest.approx(np.mean(order), abs=4 * np.std(order) / np.sqrt(40))
    assert row.separation == pytest.approx(np.mean(separation), abs=4 * np.std(separation) / np.sqrt(40) * 1.5)


def test_importance_of_other_features_than_the_events_have_is_refused() -> None:
    with pytest.raises(InputError, match="expected a column for each"):
        permutation_importance(_planted(folds=1), ["a", "b"])


def _search(folder: Path) -> tuple[SearchConfig, RunDirectory, list[ScoreJob], Path]:
    rng = np.random.default_rng(3)
    events, bump = 12_000, 250
    u = rng.random(events)
    mass = np.concatenate([(2800.0**-5 + u * (5200.0**-5 - 2800.0**-5)) ** -0.2, rng.normal(3370, 60, bump)])
    label = np.repeat([0, 1], [events, bump])
    planted = np.where(label == 1, rng.normal(3, 0.4, len(mass)), rng.normal(0, 1, len(mass)))
    table = {
        "mjj": mass, "planted": planted, "noise": rng.normal(size=len(mass)), "more_noise": rng.normal(size=len(mass)),
        "run": np.full(len(mass), 7), "luminosityBlock": np.arange(len(mass)) // 100, "event": np.arange(len(mass)),
        "weight": np.ones(len(mass)), "label": label.astype(np.int8),
    }  # fmt: skip
    write_table(folder / "events.parquet", table)
    content = {
        "name": "toy", "seed": 5, "workers": 1, "input": {"files": ["events.parquet"]},
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3370]},
        "methods": [{"name": "cwola-trees", "features": ["planted", "noise", "more_noise"], "options": {"members": 1, "max_iter": 30}}],
        "selection": {"cuts": [0.1, 0.02], "folds": 3}, "limits": None,
    }  # fmt: skip
    config, run = parse_config(content), RunDirectory(folder / "run")
    jobs = score_jobs(config, run, folder / "events.parquet", "key")
    score_stage(jobs, workers=1)
    return config, run, jobs, folder / "events.parquet"


Toy = tuple[SearchConfig, RunDirectory, list[ScoreJob], Path]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return _search(tmp_path_factory.mktemp("toy"))


def _scan(jobs: list[ScoreJob]) -> ScanResult:
    window = jobs[0].window
    assert window is not None
    entries = [
        ScanEntry(window.low, window.high, method, cut, 10.0, 5.0, 1.0, 0.01, z, "converged", "dijet4")
        for method, cut, z in (("inclusive", 1.0, 0.5), ("cwola-trees", 0.1, 1.0), ("cwola-trees", 0.02, 5.0))
    ]
    return ScanResult(tuple(entries))


def test_a_search_learns_the_planted_feature(toy: Toy) -> None:
    config, run, jobs, table = toy
    content = interpretation_stage(config, run, jobs, _scan(jobs))
    (method,) = content["methods"]
    assert method["cut"] == 0.02
    first, *others = method["importance"]
    assert first["feature"] == "planted"
    assert first["lost"] > 0.6
    assert first["excess"] > 5 * first["excess_error"]
    assert first["separation"] > 3 * first["separation_error"]
    assert all(abs(row["excess"]) < 0.3 * first["excess"] for row in others)
    assert all(abs(row["separation"]) < 0.5 * first["separation"] for row in others)
    # the most anomalous events are those of the planted signal, and known by their numbers
    label = np.asarray(read_table(table)["label"])
    found = [event["event"] for event in method["most_anomalous"]]
    assert label[found].mean() > 0.8
    assert {event["run"] for event in method["most_anomalous"]} == {7}
    assert [e["tail"] for e in method["most_anomalous"]] == sorted(e["tail"] for e in method["most_anomalous"])
    with (run.path / method["folder"] / "most_anomalous.csv").open() as file:
        assert [int(row["event"]) for row in csv.DictReader(file)] == found


def test_numbers_stand_beside_each_figure_and_agree_with_the_selection(toy: Toy) -> None:
    config, run, jobs, _ = toy
    (method,) = interpretation_stage(config, run, jobs, _scan(jobs))["methods"]
    folder = run.path / method["folder"]
    assert set(method["figures"]) == {"efficiency_plane", "features", "importance", "score_map"}
    for name in method["figures"]:
        assert {path.suffix for path in folder.glob(f"{name}.*")} == {".png", ".pdf", ".json"}
    view = view_of(jobs[0], jobs[0].window, 0.02)  # type: ignore[arg-type]
    inside = view.window.in_signal_region(view.mass)
    plane = json.loads((folder / "efficiency_plane.json").read_text())["signal region"]
    assert plane["features"] == ["planted", "noise"]  # no masses of jets in this table: the first two features
    counts = np.histogram2d(
        view.columns["planted"][inside & view.selected], view.columns["noise"][inside & view.selected],
        bins=(plane["x_edges"], plane["y_edges"]),
    )[0]  # fmt: skip
    assert np.array_equal(counts, np.array(plane["selected"]))
    assert method["events"]["signal region, selected"] == np.count_nonzero(inside & view.selected)


def test_the_scores_are_those_of_the_search_and_out_of_fold(toy: Toy) -> None:
    _, _, jobs, _ = toy
    view = view_of(jobs[0], jobs[0].window, 0.1)  # type: ignore[arg-type]
    saved = load_scores(jobs[0])
    assert np.count_nonzero(view.selected) == pytest.approx(0.1 * len(saved.rows), rel=0.01)
    for number, fold in enumerate(fold_events(view, seed=1)):
        again = fold.score(fold.features, fold.mass)
        places = [np.flatnonzero(view.mass == m)[0] for m in fold.mass[:50]]
        assert np.allclose(again[:50], saved.scores[places])
        assert set(saved.fold[places]) == {number}
        assert (fold.score(fold.selected, fold.selected_mass) >= fold.threshold - 1e-12).all()


def test_the_work_is_not_repeated_and_that_of_other_configs_is_removed(toy: Toy) -> None:
    config, run, jobs, _ = toy
    interpretation_stage(config, run, jobs, _scan(jobs))
    unit = run.path / "interpretation/cwola-trees/unit.json"
    stamp = unit.stat().st_mtime_ns
    (run.path / "interpretation/of-another-config").mkdir()
    interpretation_stage(config, run, jobs, _scan(jobs))
    assert unit.stat().st_mtime_ns == stamp
    assert not (run.path / "interpretation/of-another-config").exists()


def test_what_is_exported_can_be_used_elsewhere(toy: Toy) -> None:
    config, run, jobs, _ = toy
    (method,) = interpretation_stage(config, run, jobs, _scan(jobs))["methods"]
    scorer = load_scorer(run.path / method["scorer"])
    assert list(method["features"]) == list(scorer.features)
    assert "0.1" in method["working_points"]
    assert method["onnx"] is True


def test_nothing_is_looked_at_where_no_window_has_a_fit(toy: Toy) -> None:
    config, _, jobs, table = toy
    other = RunDirectory(table.parent / "no-fit")
    failed = [ScanEntry(1, 2, "inclusive", 1.0, 1.0, np.nan, np.nan, np.nan, np.nan, "failed: x", "dijet4")]
    content = interpretation_stage(config, other, jobs, ScanResult(tuple(failed)))
    assert content["methods"] == []
    assert "no window" in content["status"]


def test_ranks_are_those_inside_of_a_fold() -> None:
    scores = np.array([1.0, 2.0, 3.0, 100.0, 200.0])
    assert rank_in_fold(scores, np.array([0, 0, 0, 1, 1])).tolist() == pytest.approx([1 / 6, 0.5, 5 / 6, 0.25, 0.75])


@pytest.mark.parametrize(
    ("name", "label", "html"),
    [
        ("tau21_h", r"$\tau_{21}(J_H)$", "τ<sub>21</sub>(J<sub>H</sub>)"),
        ("m_j1", "$m(J_1)$ [GeV]", "m(J<sub>1</sub>)"),
        ("n_l", "$n_{const}(J_L)$", "n<sub>const</sub>(J<sub>L</sub>)"),
        ("my_feature", "my_feature", "my_feature"),
    ],
)
def test_known_features_are_written_as_physicists_do(name: str, label: str, html: str) -> None:
    assert (feature_label(name), feature_html(name)) == (label, html)


def test_the_efficiency_is_a_hepdata_table(toy: Toy) -> None:
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    config, run, jobs, _ = toy
    (method,) = interpretation_stage(config, run, jobs, _scan(jobs))["methods"]
    folder = run.path / method["folder"]
    validator = FullSubmissionValidator()
    assert validator.validate(directory=str(folder / "hepdata")), validator.get_messages()
    document = yaml.safe_load((folder / "hepdata/efficiency_signal_region.yaml").read_text())
    plane = json.loads((folder / "efficiency_plane.json").read_text())["signal region"]
    x, y = (column["values"] for column in document["independent_variables"])
    efficiency = document["dependent_variables"][0]["values"]
    for row in (0, 17, 100, 195):
        i, j = divmod(row, 14)
        assert (x[row]["low"], y[row]["low"]) == pytest.approx((plane["x_edges"][i], plane["y_edges"][j]))
        wanted = plane["efficiency"][i][j]
        assert efficiency[row]["value"] == ("-" if wanted is None else pytest.approx(wanted))
    known = [row for row in efficiency if row["value"] != "-" and 0 < row["value"] < 1]
    assert known
    for row in known:
        error = row["errors"][0]["asymerror"]
        assert error["minus"] < 0 < error["plus"]


def test_a_method_with_one_feature_is_interpreted(toy: Toy, tmp_path: Path) -> None:
    config, _, _, table = toy
    method = config.methods[0].model_copy(
        update={"name": "isolation-forest", "features": ("planted",), "options": {"trees": 10}}
    )
    single = config.model_copy(update={"methods": (method,)})
    run = RunDirectory(tmp_path / "run")
    jobs = score_jobs(single, run, table, "key")
    score_stage(jobs, workers=1)
    window = next(e for e in _scan(toy[2]).entries)
    entries = [
        ScanEntry(window.low, window.high, "isolation-forest", 0.1, 10.0, 5.0, 1.0, 0.01, 2.0, "converged", "dijet4")
    ]
    (found,) = interpretation_stage(single, run, jobs, ScanResult(tuple(entries)))["methods"]
    assert found["status"] == "done"
    assert set(found["figures"]) == {"efficiency_plane", "features", "importance"}
    plane = json.loads((run.path / found["folder"] / "efficiency_plane.json").read_text())
    assert plane["signal region"]["features"] == ["planted", "mjj"]
