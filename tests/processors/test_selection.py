"""AnomalySelection: the scores are the scorer's, undefined events are never selected, one load per process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import loky
import numpy as np
import pytest
from coffea.analysis_tools import PackedSelection

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import BaseScorer, Sample, register
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


@pytest.mark.slow
def test_scores_in_worker_processes(tmp_path: Path) -> None:
    """With a scorer of resonaut's own, which workers find by its name."""
    from resonaut.models import make_scorer

    rng = np.random.default_rng(2)
    mass = rng.uniform(2000, 5000, 2000)
    sample = Sample(rng.normal(size=(2000, 2)) + MOST.in_signal_region(mass)[:, None], ("a", "b"), mass)
    make_scorer("cwola-trees", features=("a", "b"), members=2).fit(sample, MOST).save(tmp_path / "trees")
    anomaly = AnomalySelection(tmp_path / "trees", {"a": "a", "b": "Lead.b"}, {"all": 0.5})
    events, _ = flat_events()
    with loky.ProcessPoolExecutor(max_workers=1) as pool:
        there = pool.submit(_score_there, cloudpickle.dumps(anomaly)).result()
    np.testing.assert_array_equal(there, anomaly.score(events).scores)


def _score_there(pickled: bytes) -> Any:
    return cloudpickle.loads(pickled).score(flat_events()[0]).scores


def test_mistakes_are_named(saved: Path, tmp_path: Path) -> None:
    events, _ = flat_events()
    with pytest.raises(ModelError, match="no saved scorer"):
        AnomalySelection(tmp_path / "absent", {}, {"all": 0.0})
    for points in ({}, {"all": float("nan")}):
        with pytest.raises(ConfigError, match="working points"):
            AnomalySelection(saved, {}, points)
    for columns, message in (
        ({"a": "a"}, "'b'"),
        ({"a": "a", "b": "Lead.c"}, "'c'"),
        ({"a": "a", "b": lambda _: np.zeros(3)}, r"shape \(3,\)"),
    ):
        with pytest.raises(InputError, match=message):
            AnomalySelection(saved, columns, {"all": 0.0}).score(events)
    with pytest.raises(InputError, match="no mass 'm_jj'"):
        AnomalySelection(saved, {"a": "a", "b": "Lead.b"}, {"all": 0.0}, mass="m_jj").score(events)
