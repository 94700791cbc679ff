"""ONNX files give the scorers' own scores when onnxruntime, which shares no code with us, evaluates them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.errors import InputError, MissingDependencyError, ModelError
from resonaut.models import (
    CrossFit,
    Sample,
    ScoreScale,
    combine_tails,
    exportable,
    make_scorer,
    read_card,
    read_onnx_card,
    to_onnx,
    write_working_points,
)
from resonaut.models.export.check import check_onnx
from resonaut.models.export.files import random_events, unit_of
from resonaut.models.export.graph import Graph
from resonaut.models.export.parts import combined_tails, place_of, tail_of
from resonaut.stats import Window

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

FEATURES = ("m_h", "tau21_h", "m_l", "pt_j1")
WINDOW = Window(3300.0, 3700.0, 3000.0, 4100.0)
SVDD = {"dimensions": [5, 8], "targets": [0, 3], "hidden": [32, 16], "epochs": 3}

# name, options; one of each kind, and of each way through a kind
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "trees": ("cwola-trees", {"members": 2, "max_iter": 20}),
    "network": ("cwola-nn", {"initialisations": 1, "epochs": 2, "batch_size": 512, "scaled_by_mass": ["m_h", "m_l"]}),
    "autoencoder": ("autoencoder", {"members": 3, "hidden": 32}),
    "svdd average": ("deep-svdd", SVDD),
    "svdd product": ("deep-svdd", {**SVDD, "combine": "prod"}),
    "svdd minimum": ("deep-svdd", {**SVDD, "combine": "and"}),
    "svdd maximum": ("deep-svdd", {**SVDD, "combine": "or"}),
    "vae error": ("vae", {"members": 2, "epochs": 2, "hidden": [16]}),
    "vae divergence": ("vae", {"members": 2, "epochs": 2, "hidden": [16], "beta": 0.05, "score_as": "kl"}),
    "vae loss": ("vae", {"members": 2, "epochs": 2, "hidden": [16], "beta": 0.05, "score_as": "loss"}),
    "isolation forest": ("isolation-forest", {"trees": 20}),
    "mixture": ("clusters", {"clusters": 3}),
    "k-means": ("clusters", {"clusters": 3, "model": "k-means"}),
    "ddt": ("ddt", {"wrapped": "cwola-trees", "wrapped_options": {"members": 1, "max_iter": 10}}),
    "ddt flat": ("ddt", {"wrapped": "cwola-trees", "wrapped_options": {"members": 1, "max_iter": 10}, "degree": 0}),
    "template, trees": ("cwola", {"classifier_options": {"members": 1, "max_iter": 10}}),
    "template, network": ("cwola", {"classifier": "network", "classifier_options": {"members": 2, "epochs": 1}}),
    "combination of tails": (
        "score-combination",
        {
            "members": [
                {"name": "cwola-trees", "options": {"members": 1, "max_iter": 10}},
                {"name": "autoencoder", "options": {"members": 2, "hidden": 16}},
            ],
            "scale": "tail",
        },
    ),
    "rare and different": (
        "rare-and-different",
        {"members": [{"name": "deep-svdd", "options": SVDD}, {"name": "isolation-forest", "options": {"trees": 10}}]},
    ),
}


@pytest.fixture(scope="module")
def sample() -> Sample:
    rng = np.random.default_rng(4)
    mass = 2800.0 + rng.exponential(600.0, 3000)
    signal = (np.abs(mass - 3500.0) < 100.0) & (rng.random(3000) < 0.3)
    columns = (
        np.where(signal, rng.normal(300, 20, 3000), rng.exponential(100, 3000) + 20),
        rng.uniform(0.05, 0.9, 3000),
        rng.exponential(60, 3000) + 10,
        0.45 * mass + rng.normal(0, 100, 3000),
    )
    return Sample(np.stack(columns, axis=1), FEATURES, mass)


def evaluated(path: Path, features: Any, mass: Any) -> Any:
    """What a user's few lines of onnxruntime give."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {"features": features, "mass": mass[:, None]}
    return session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})[0]


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_gives_the_scorers_own_scores(case: str, sample: Sample, tmp_path: Path) -> None:
    name, options = CASES[case]
    scorer = make_scorer(name, features=FEATURES, **options).fit(sample.take(np.arange(1500)), WINDOW)
    report = to_onnx(scorer, tmp_path / "scorer.onnx", events=sample.take(np.arange(1500)))
    unseen = sample.take(np.arange(1500, 3000))
    found = evaluated(tmp_path / "scorer.onnx", unseen.require(scorer.features), unseen.mass)
    own = scorer.score(unseen)
    assert found.dtype == np.float64
    assert found.shape == (1500,)
    through_tails = "svdd" in case or case in ("combination of tails", "rare and different")
    np.testing.assert_allclose(found, own, rtol=1e-2 if through_tails else 1e-5, atol=1e-5 * own.std())
    assert np.mean(np.abs(found - own)) < 1e-5 * own.std()
    order = np.argsort(found, kind="stable")
    assert np.all(np.maximum.accumulate(own[order]) - own[order] < 1e-4 * own.std())  # ranking, but for rounding
    columns, near = unseen.require(scorer.features), {"rtol": 1e-5, "atol": 1e-5 * own.std()}
    for row in (0, 7):  # alone
        one = evaluated(tmp_path / "scorer.onnx", columns[row : row + 1], unseen.mass[row : row + 1])
        np.testing.assert_allclose(one, found[row : row + 1], **near)
    for place, bad in zip(range(columns.shape[1]), (np.nan, np.inf, -np.inf, np.nan), strict=False):
        lacking = columns[:50].copy()
        lacking[3, place] = bad
        holed = evaluated(tmp_path / "scorer.onnx", lacking, unseen.mass[:50])
        assert np.flatnonzero(np.isnan(holed)).tolist() == [3], (place, bad)  # no score, and the others keep theirs
        np.testing.assert_allclose(np.delete(holed, 3), np.delete(found[:50], 3), **near)
    assert report.random.events == 4000
    assert report.real is not None
    assert np.ptp(own) > 0.0


def test_trees_agree_to_the_last_digits_also_on_their_cuts(sample: Sample, tmp_path: Path) -> None:
    """Features that lie on a cut go the same way: thresholds and inputs are double."""
    scorer = make_scorer("cwola-trees", features=FEATURES, members=2, max_iter=30).fit(sample, WINDOW)
    to_onnx(scorer, tmp_path / "trees.onnx")
    # the training events: every cut is one of their values
    found = evaluated(tmp_path / "trees.onnx", sample.features, sample.mass)
    np.testing.assert_allclose(found, scorer.score(sample), rtol=1e-12, atol=1e-14)
    moved = np.nextafter(sample.features, np.inf)
    found = evaluated(tmp_path / "trees.onnx", moved, sample.mass)
    np.testing.assert_allclose(found, scorer.score(Sample(moved, FEATURES, sample.mass)), rtol=1e-12, atol=1e-14)


def test_a_saved_cross_fit_with_working_points(sample: Sample, tmp_path: Path) -> None:
    crossfit = CrossFit("cwola-nn", folds=2, features=FEATURES, initialisations=1, epochs=1, batch_size=512)
    crossfit.fit(sample, WINDOW).save(tmp_path / "scorer")
    threshold = float(np.quantile(crossfit.score(sample), 0.99))
    write_working_points(tmp_path / "scorer", {"0.01": threshold})
    to_onnx(tmp_path / "scorer", tmp_path / "scorer.onnx")
    card = read_onnx_card(tmp_path / "scorer.onnx")
    assert card["features"] == list(FEATURES)
    assert card["units"] == ["GeV", "1", "GeV", "GeV"]
    assert card["mass"] == "not needed"
    assert card["scorer"] == "cross-fit(cwola-nn)"
    assert card["card_digest"] == read_card(tmp_path / "scorer")["digest"]
    assert card["working_points"] == {"0.01": threshold}
    assert card["window"] == WINDOW.to_dict()
    found = evaluated(tmp_path / "scorer.onnx", sample.features, sample.mass)
    assert np.array_equal(found >= card["working_points"]["0.01"], crossfit.score(sample) >= threshold)
    # as C++ reads them: strings
    raw = runtime.InferenceSession(str(tmp_path / "scorer.onnx")).get_modelmeta().custom_metadata_map
    assert json.loads(raw["features"]) == list(FEATURES)


def test_the_mass_is_an_input_where_the_scorer_reads_it(sample: Sample, tmp_path: Path) -> None:
    scorer = make_scorer("cwola-trees", features=FEATURES, members=1, max_iter=10).fit(sample, WINDOW)
    to_onnx(scorer, tmp_path / "scaled.onnx")
    assert read_onnx_card(tmp_path / "scaled.onnx")["mass"] == "GeV"
    doubled = Sample(sample.features, FEATURES, 2 * sample.mass)
    found = evaluated(tmp_path / "scaled.onnx", sample.features, 2 * sample.mass)
    np.testing.assert_allclose(found, scorer.score(doubled), rtol=1e-12, atol=1e-14)
    assert not np.allclose(found, scorer.score(sample))
    empty = evaluated(tmp_path / "scaled.onnx", sample.features[:0], sample.mass[:0])
    assert empty.shape == (0,)
    unknown = evaluated(tmp_path / "scaled.onnx", sample.features[:2], np.array([np.nan, 3000.0]))
    assert np.isnan(unknown).tolist() == [True, False]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_command(
    package: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = make_scorer("cwola-trees", features=FEATURES, members=1, max_iter=3).fit(sample, WINDOW)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'resonaut\[onnx\]'"):
        to_onnx(scorer, tmp_path / "scorer.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_gives_other_scores_is_not_written(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is real: with scores off by 1e-4 of themselves, nothing appears."""
    scorer = make_scorer("cwola-trees", features=FEATURES, members=1, max_iter=10).fit(sample, WINDOW)
    from resonaut.models.export import files

    original = files.convert

    def wrong(graph: Graph, fitted: Any) -> str:
        return graph.op("Mul", original(graph, fitted), np.float64(1.0001))

    monkeypatch.setattr(files, "convert", wrong)
    with pytest.raises(ModelError, match="nothing was written"):
        to_onnx(scorer, tmp_path / "scorer.onnx")
    assert not list(tmp_path.iterdir())


def test_the_check_sees_exchanged_ranks(sample: Sample, tmp_path: Path) -> None:
    one, two = (make_scorer("isolation-forest", features=FEATURES, trees=10, seed=seed) for seed in (1, 2))
    to_onnx(one.fit(sample, None), tmp_path / "one.onnx")
    same = check_onnx(tmp_path / "one.onnx", one, sample)
    other = check_onnx(tmp_path / "one.onnx", two.fit(sample, None), sample)
    assert same.within(1e-12)
    assert same.exchanged_by < 1e-12
    assert not other.within(1e-5)
    assert other.exchanged_by > 0.1


def test_a_scorer_without_translation_is_told_with_those_that_have_one(sample: Sample, tmp_path: Path) -> None:
    flow = make_scorer("flow", features=FEATURES, epochs=1, layers=1, hidden=8).fit(sample, None)
    with pytest.raises(ModelError, match=r"'flow' cannot be exported.*cwola-nn, cwola-trees.*resonaut score"):
        to_onnx(flow, tmp_path / "flow.onnx")
    nearest = make_scorer("knn", features=FEATURES).fit(sample, None)
    with pytest.raises(ModelError, match="'knn' cannot be exported"):
        to_onnx(nearest, tmp_path / "knn.onnx")
    assert "flow" not in exportable()
    assert {"cwola-nn", "cwola-trees", "autoencoder", "deep-svdd", "cross-fit", "rare-and-different"} <= set(
        exportable()
    )
    with pytest.raises(ModelError, match="not fitted"):
        to_onnx(make_scorer("cwola-trees", features=FEATURES), tmp_path / "unfitted.onnx")


def graph_value(build: Any, values: Any) -> Any:
    """Value of a graph of one input (n, d)."""
    graph = Graph(tuple(f"x{k}" for k in range(values.shape[1])))
    columns = [graph.op("Gather", "features", np.int64(k), axis=1) for k in range(values.shape[1])]
    from resonaut.models.export.files import _model

    model = _model(graph, build(graph, columns))
    return runtime.InferenceSession(model.SerializeToString()).run(None, {"features": values})[0]


@pytest.mark.parametrize("combine", ["and", "or", "avg", "prod"])
def test_combinations_over_the_whole_range_of_tails(combine: Any) -> None:
    """From where the uniform score is 1e-12 to where 1 - u underflows: the stable forms of numpy, written for ONNX."""
    rng = np.random.default_rng(1)
    tails = np.exp(rng.uniform(np.log(1e-12), np.log(600.0), (5000, 3)))
    tails[100:200] = np.abs(tails[100:200, :1])  # equal ones
    found = graph_value(lambda graph, columns: combined_tails(graph, columns, combine), tails)
    np.testing.assert_allclose(found, combine_tails(tails.T, combine), rtol=1e-9, atol=1e-14)


def test_a_scale_as_a_tree_of_its_points() -> None:
    reference = np.sort(np.random.default_rng(2).lognormal(0, 2, 5000))
    reference[1000:1500] = reference[1000]  # a step
    scale = ScoreScale.learn(reference)
    values = np.concatenate(
        [reference, scale.points[0], [-1.0, 0.0, 1e9], np.random.default_rng(3).lognormal(0, 3, 4000)]
    )
    found = graph_value(lambda graph, columns: tail_of(graph, scale, columns[0]), values[:, None])
    np.testing.assert_allclose(found, scale.tail(values), rtol=1e-9, atol=1e-12)
    single = ScoreScale.learn(np.array([2.0]))
    found = graph_value(lambda graph, columns: tail_of(graph, single, columns[0]), np.array([[1.0], [2.0], [3.5]]))
    np.testing.assert_allclose(found, single.tail([1.0, 2.0, 3.5]))


def test_places_among_edges_are_those_of_searchsorted() -> None:
    edges = np.array([-1.0, 0.0, 0.5, 7.0])
    values = np.concatenate([edges, np.nextafter(edges, -9), np.nextafter(edges, 9), [-5.0, 100.0]])

    def build(graph: Graph, columns: list[str]) -> str:
        return graph.double(place_of(graph, edges, columns[0]))

    found = graph_value(build, values[:, None])
    np.testing.assert_array_equal(found, np.searchsorted(edges, values, side="right"))


def test_random_events_cover_what_the_scorer_knows(sample: Sample) -> None:
    from resonaut.models.export.convert import convert

    scorer = make_scorer("cwola-trees", features=FEATURES, members=1, max_iter=10).fit(sample, WINDOW)
    graph = Graph(FEATURES)
    convert(graph, scorer)
    made = random_events(graph, {"window": WINDOW.to_dict()}, FEATURES)
    assert WINDOW.sb_low <= made.mass.min() < made.mass.max() <= WINDOW.sb_high
    # jet masses are cut relative to the event's: random ones must reach both sides of the cuts again
    assert len(np.unique(scorer.score(made))) > 100


def test_units() -> None:
    assert [unit_of(name) for name in ("m_h", "msd_j1", "mjj", "dm_jj", "tau21_l", "n_h", "dr_jj")] == [
        *["GeV"] * 4,
        *["1"] * 3,
    ]


def test_a_foreign_or_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no onnx")
    with pytest.raises(InputError, match="cannot be read as ONNX"):
        read_onnx_card(tmp_path / "broken.onnx")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", 1, ["n"])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("y", 1, ["n"])])
    onnx.save(helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(InputError, match="not one that resonaut wrote"):
        read_onnx_card(tmp_path / "other.onnx")


def test_older_runtimes_can_read_the_file(sample: Sample, tmp_path: Path) -> None:
    """What the documentation promises: operator sets 17 and ai.onnx.ml 5, format 10 (onnxruntime 1.20)."""
    scorer = make_scorer("cwola-trees", features=FEATURES, members=1, max_iter=3).fit(sample, WINDOW)
    to_onnx(scorer, tmp_path / "trees.onnx")
    model = onnx.load(tmp_path / "trees.onnx")
    assert model.ir_version == 10
    assert {each.domain: each.version for each in model.opset_import} == {"": 17, "ai.onnx.ml": 5}
    onnx.checker.check_model(model, full_check=True)
