"""AnomalySelection: the scores are the scorer's, undefined events are never selected, one load per process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import pytest
from coffea.analysis_tools import PackedSelection

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import (
    BaseScorer,
    Sample,
    make_scorer,
    read_card,
    read_working_points,
    register,
    write_working_points,
)
from resonaut.processors import AnomalySelection, DijetFeatures, source
from resonaut.processors import selection as selection_module
from resonaut.processors.events.schema import events_from_columns
from resonaut.stats import Window

MOST = Window(3000.0, 4000.0, 2000.0, 5000.0)


@register("test-direction")
class Direction(BaseScorer):
    """Projection on the difference of the means inside and outside the window."""

    def __init__(self, features: tuple[str, ...] = ("a", "b")) -> None:
        self.features = tuple(features)
        self.direction_: Any = None

    def fit(self, sample: Sample, window: Window | None) -> Direction:
        inside = self.require_window(window).in_signal_region(sample.mass)
        features = sample.require(self.features)
        self.direction_ = features[inside].mean(axis=0) - features[~inside].mean(axis=0)
        return self

    @property
    def fitted(self) -> bool:
        return self.direction_ is not None

    def learnt_tensors(self) -> dict[str, Any]:
        return {"direction": self.direction_}

    def restore(self, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        del facts
        self.direction_ = tensors["direction"]

    def score(self, sample: Sample) -> Any:
        return sample.require(self.features) @ self.direction_


def fit(features: tuple[str, ...], seed: int = 3) -> Direction:
    rng = np.random.default_rng(seed)
    mass = rng.uniform(2000, 5000, 500)
    columns = rng.normal(size=(500, len(features))) + MOST.in_signal_region(mass)[:, None]
    return Direction(features).fit(Sample(columns, features, mass), MOST)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    fit(("a", "b")).save(tmp_path / "scorer")
    return tmp_path / "scorer"


def flat_events(n: int = 50) -> tuple[Any, dict[str, Any]]:
    rng = np.random.default_rng(5)
    columns = {"a": rng.normal(size=n), "Lead_b": rng.normal(size=n), "mjj": rng.uniform(2000, 5000, n)}
    return events_from_columns({k: ak.Array(v) for k, v in columns.items()}, n, "memory", 0, None), columns


def test_scores_are_the_scorers_own(saved: Path) -> None:
    events, columns = flat_events()
    scores = AnomalySelection(saved, {"a": lambda e: e.a, "b": "Lead.b"}, {"loose": 0.0}).score(events)
    by_hand = np.stack([columns["a"], columns["Lead_b"]], axis=1) @ fit(("a", "b")).direction_
    np.testing.assert_allclose(scores.scores, by_hand)
    assert scores.skipped == 0


def test_working_points_become_selections(saved: Path) -> None:
    events, _ = flat_events()
    anomaly = AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"loose": -0.5, "tight": 1.0})
    packed = PackedSelection()
    packed.add("heavy", ak.to_numpy(events.mjj > 3000))
    found = anomaly.add_to(packed, events)
    assert packed.names == ["heavy", "loose", "tight"]
    np.testing.assert_array_equal(packed.all("tight"), found.scores >= 1.0)
    np.testing.assert_array_equal(packed.all("heavy", "loose"), (found.scores >= -0.5) & (events.mjj > 3000))
    assert 0 < packed.all("tight").sum() < packed.all("loose").sum() < 50


def test_undefined_features_are_never_selected_and_are_counted(saved: Path) -> None:
    events, columns = flat_events()
    values = ak.mask(ak.Array(columns["a"]), np.arange(50) != 7)
    broken = np.where(np.arange(50) == 9, np.nan, columns["Lead_b"])
    broken[11] = np.inf
    anomaly = AnomalySelection(saved, {"a": lambda _: values, "b": lambda _: broken}, {"all": -1e9})
    packed = PackedSelection()
    found = anomaly.add_to(packed, events)
    assert found.skipped == 3
    assert np.flatnonzero(~packed.all("all")).tolist() == [7, 9, 11]
    assert np.flatnonzero(np.isnan(found.scores)).tolist() == [7, 9, 11]


def test_no_events_and_no_good_events(saved: Path) -> None:
    events, _ = flat_events()
    anomaly = AnomalySelection(saved, {"a": "a", "b": lambda e: np.full(len(e), np.nan)}, {"all": -1e9})
    assert anomaly.score(events).skipped == 50
    packed = PackedSelection()
    assert anomaly.add_to(packed, events[:0]).skipped == 0
    assert len(packed.all("all")) == 0


def test_dijet_features_feed_a_scorer_on_nanoaod(reference_data: Path, tmp_path: Path) -> None:
    features = ("m_h", "tau21_l")
    scorer = fit(features)
    scorer.save(tmp_path / "scorer")
    events = source("nanoaod").read(str(reference_data / "root" / "nano_tt_v12.root"), 0, 200)
    found = AnomalySelection(tmp_path / "scorer", DijetFeatures(), {"all": -1e9}).score(events)
    two = ak.to_numpy(ak.num(events.FatJet) >= 2)
    assert found.skipped == (~two).sum()
    columns = DijetFeatures()(events)
    by_hand = np.stack([columns[name] for name in features], axis=1)[two] @ scorer.direction_
    np.testing.assert_allclose(found.scores[two], by_hand)


def test_one_load_per_process_however_many_copies(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resonaut.models

    loads = []
    original = resonaut.models.load_scorer
    monkeypatch.setattr(resonaut.models, "load_scorer", lambda folder: loads.append(folder) or original(folder))
    selection_module._load.cache_clear()
    events, _ = flat_events()
    first = AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"all": 0.0})
    copies = [cloudpickle.loads(cloudpickle.dumps(first)) for _ in range(3)]
    results = [each.score(events).scores for each in (first, *copies)]
    assert len(loads) == 1
    assert all(np.array_equal(result, results[0]) for result in results)
    other = fit(("a", "b"), seed=4)
    other.save(saved)  # a scorer saved again in the same place is another scorer
    os.utime(saved / "card.json", ns=(1, 1))
    assert not np.array_equal(first.score(events).scores, results[0])
    assert len(loads) == 2


def test_a_scorer_that_is_saved_again_while_work_goes_on_is_told(saved: Path) -> None:
    """A worker that began with one scorer never goes on with another."""
    events, _ = flat_events()
    there = cloudpickle.loads(cloudpickle.dumps(AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"all": 0.0})))
    before = there.score(events).scores
    os.utime(saved / "card.json", ns=(1, 1))  # touched alone
    np.testing.assert_array_equal(there.score(events).scores, before)
    fit(("a", "b"), seed=4).save(saved)
    with pytest.raises(ModelError, match="has changed since the work began"):
        there.score(events)


def test_working_points_of_the_card(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no working points"):
        AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, "card")
    write_working_points(saved, {"0.1": 0.5, "0.01": 1.5})
    events, columns = flat_events()
    packed = PackedSelection()
    anomaly = AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, "card")
    anomaly.add_to(packed, events)
    by_hand = np.stack([columns["a"], columns["Lead_b"]], axis=1) @ fit(("a", "b")).direction_
    assert anomaly.names == ("0.1", "0.01") == tuple(packed.names)
    np.testing.assert_array_equal(packed.all("0.01"), by_hand >= 1.5)
    assert read_card(saved)["working_points"] == {"0.1": 0.5, "0.01": 1.5}  # and its digest is right again


def test_working_points_that_a_search_wrote_beside_the_scorer(tmp_path: Path) -> None:
    fit(("a", "b")).save(tmp_path / "unit" / "scorer")
    (tmp_path / "unit" / "facts.json").write_text(json.dumps({"skipped": None, "working_points": {"0.05": 0.25}}))
    assert read_working_points(tmp_path / "unit" / "scorer") == {"0.05": 0.25}
    assert AnomalySelection(tmp_path / "unit" / "scorer", {}, "card").working_points == {"0.05": 0.25}


def test_several_scorers_share_features_and_name_their_entries(saved: Path, tmp_path: Path) -> None:
    fit(("a", "b"), seed=9).save(tmp_path / "other")
    events, columns = flat_events()
    calls = []

    def features(events: Any) -> dict[str, Any]:
        calls.append(len(events))
        return {"a": columns["a"], "b": columns["Lead_b"]}

    one = AnomalySelection(saved, features, {"tight": 0.5}, label="one")
    two = AnomalySelection(tmp_path / "other", features, {"tight": 0.5}, label="two")
    packed = PackedSelection()
    shared = features(events)
    for anomaly in (one, two):
        anomaly.add_to(packed, events, shared)
    assert packed.names == ["one tight", "two tight"]
    assert calls == [50]
    np.testing.assert_array_equal(packed.all("two tight"), two.score(events).scores >= 0.5)
    assert not np.array_equal(packed.all("one tight"), packed.all("two tight"))


def test_variations_of_the_events_have_entries_of_their_own(saved: Path) -> None:
    """As a processor does it for a shift of the jet energies: the same selection, other events, another suffix."""
    events, columns = flat_events()
    anomaly = AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"tight": 0.5})
    packed = PackedSelection()
    anomaly.add_to(packed, events)
    shifted = ak.with_field(events, events.a + 0.3, "a")
    anomaly.add_to(packed, shifted, suffix="_shiftUp")
    assert packed.names == ["tight", "tight_shiftUp"]
    by_hand = np.stack([columns["a"] + 0.3, columns["Lead_b"]], axis=1) @ fit(("a", "b")).direction_
    np.testing.assert_array_equal(packed.all("tight_shiftUp"), by_hand >= 0.5)


def test_each_event_has_its_own_mass(tmp_path: Path) -> None:
    """A scorer that reads its features relative to the mass: the mass comes from the events, or from the columns."""
    rng = np.random.default_rng(2)
    mass = rng.uniform(2000, 5000, 2000)
    sample = Sample(rng.normal(size=(2000, 1)) + 500 * MOST.in_signal_region(mass)[:, None], ("m_h",), mass)
    scorer = make_scorer("cwola-trees", features=("m_h",), members=1, max_iter=5).fit(sample, MOST)
    scorer.save(tmp_path / "trees")
    events, columns = flat_events()
    m_h = rng.uniform(0, 600, 50)
    for given in (
        AnomalySelection(tmp_path / "trees", {"m_h": m_h}, {"all": 0.0}, mass=lambda e: 2 * e.mjj),
        AnomalySelection(tmp_path / "trees", {"m_h": m_h, "twice": 2 * columns["mjj"]}, {"all": 0.0}, mass="twice"),
    ):
        by_hand = scorer.score(Sample(m_h[:, None], ("m_h",), 2 * columns["mjj"]))
        np.testing.assert_array_equal(given.score(events).scores, by_hand)
    at_mjj = AnomalySelection(tmp_path / "trees", {"m_h": m_h}, {"all": 0.0}).score(events).scores
    assert not np.array_equal(at_mjj, by_hand)


def test_the_mass_is_the_builders_own_variable(saved: Path) -> None:
    class Builder:
        variable = "m_bb"

        def __call__(self, events: Any) -> dict[str, Any]:
            return {"a": events.a, "b": events.Lead.b, "m_bb": np.where(events.a > 0, 90.0, np.nan)}

    events, columns = flat_events()
    found = AnomalySelection(saved, Builder(), {"all": -1e9}).score(events)
    np.testing.assert_array_equal(np.isnan(found.scores), columns["a"] <= 0)


def test_mistakes_are_named(saved: Path, tmp_path: Path) -> None:
    events, _ = flat_events()
    with pytest.raises(ModelError, match="no saved scorer"):
        AnomalySelection(tmp_path / "absent", {}, {"all": 0.0})
    for points in ({}, {"all": float("nan")}):
        with pytest.raises(ConfigError, match="working points"):
            AnomalySelection(saved, {}, points)
    with pytest.raises(ConfigError, match="'cards'"):
        AnomalySelection(saved, {}, "cards")  # type: ignore[arg-type]
    for columns, message in (
        ({"a": "a"}, "'b'"),
        ({"a": "a", "b": "Lead.c"}, "'c'"),
        ({"a": "a", "b": lambda _: np.zeros(3)}, r"shape \(3,\)"),
    ):
        with pytest.raises(InputError, match=message):
            AnomalySelection(saved, columns, {"all": 0.0}).score(events)
    with pytest.raises(InputError, match="no mass 'm_jj'"):
        AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"all": 0.0}, mass="m_jj").score(events)
