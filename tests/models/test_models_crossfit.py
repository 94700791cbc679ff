"""Cross-fitting: nothing is scored by what saw it; registry and files around it."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import (
    BaseScorer,
    CrossFit,
    CWoLaTrees,
    Sample,
    Scorer,
    auc,
    available,
    load_scorer,
    make_scorer,
    register,
    save_scorer,
    scorer_class,
)
from resonaut.models import registry as registry_module
from resonaut.stats import Window

WINDOW = Window(3400.0, 3600.0, 3200.0, 3800.0)


@register("test-memoriser")
class Memoriser(BaseScorer):
    """Scores 1 for every event that it was given in training, 0 for others: a leak detector."""

    def __init__(self, features: tuple[str, ...] = ("x",), *, seed: int = 0) -> None:
        self.features = tuple(features)
        self.seed = seed
        self.seen_: np.ndarray | None = None

    @property
    def fitted(self) -> bool:
        return self.seen_ is not None

    def fit(self, sample: Sample, window: Window | None) -> Memoriser:
        self.seen_, self.window_ = sample.require(self.features)[:, 0].copy(), window
        return self

    def score(self, sample: Sample) -> np.ndarray:
        self.require_fitted()
        assert self.seen_ is not None
        return np.isin(sample.require(self.features)[:, 0], self.seen_).astype(float)

    def learnt_tensors(self) -> dict[str, np.ndarray]:
        assert self.seen_ is not None
        return {"seen": self.seen_}

    def restore(self, tensors: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        assert facts == {}
        self.seen_ = tensors["seen"]


def fold_sample(seed: int = 0, events: int = 3000) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(rng.normal(size=(events, 2)), ("x", "y"), rng.uniform(3100.0, 3900.0, events))


def test_no_event_is_scored_by_a_scorer_that_saw_it() -> None:
    sample = fold_sample()
    result = CrossFit("test-memoriser", folds=5, seed=4).fit_score(sample, WINDOW)
    assert not result.scores.any()
    seen_by = sum(scorer.score(sample) for scorer in result.scorer.scorers)
    np.testing.assert_array_equal(seen_by, 4.0)  # and each of the other four folds' scorers did see it


def test_random_targets_cannot_be_remembered() -> None:
    """Trees that overfit on purpose: in sample they separate a random signal region, out of fold they cannot."""
    sample = fold_sample(1, 5000)
    scorer = CWoLaTrees(("x", "y"), members=1, min_samples_leaf=1, max_leaf_nodes=100, max_iter=8)
    inside = WINDOW.in_signal_region(sample.mass)
    window = inside | WINDOW.in_sidebands(sample.mass)
    in_sample = scorer.clone().fit(sample, WINDOW).score(sample)
    out = CrossFit(scorer, seed=3).fit_score(sample, WINDOW).scores
    assert auc(inside[window], in_sample[window]) > 0.6
    assert abs(auc(inside[window], out[window]) - 0.5) < 0.03  # 4500 events: standard deviation 0.009


def test_progress_is_told_after_each_fold() -> None:
    calls: list[tuple[int, int]] = []
    CrossFit("test-memoriser", folds=3).fit_score(
        fold_sample(), WINDOW, lambda done, total: calls.append((done, total))
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_same_seed_same_result_whatever_the_column_order() -> None:
    sample = fold_sample()
    turned = Sample(sample.features[:, ::-1], ("y", "x"), sample.mass)
    scores = [
        CrossFit("cwola-trees", features=("x", "y"), members=1, seed=7).fit_score(each, WINDOW).scores
        for each in (sample, turned)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_folds_get_different_seeds_and_the_template_stays_unfitted() -> None:
    template = CWoLaTrees(("x", "y"), members=1)
    crossfit = CrossFit(template, folds=3, seed=1, max_iter=5).fit(fold_sample(), WINDOW)
    assert len({scorer.options["seed"] for scorer in crossfit.scorers}) == 3
    assert {scorer.options["max_iter"] for scorer in crossfit.scorers} == {5}
    assert not template.fitted


def test_saved_and_loaded_scores_are_equal(tmp_path: Path) -> None:
    sample, new = fold_sample(), fold_sample(9)
    crossfit = CrossFit("cwola-trees", features=("x", "y"), members=2, folds=3).fit(sample, WINDOW)
    save_scorer(crossfit, tmp_path / "folds")
    again = load_scorer(tmp_path / "folds")
    assert isinstance(again, CrossFit)
    assert isinstance(again, Scorer)
    np.testing.assert_array_equal(again.score(new), crossfit.score(new))
    np.testing.assert_array_equal(
        crossfit.score(new), np.mean([scorer.score(new) for scorer in crossfit.scorers], axis=0)
    )
    assert again.window_ == WINDOW
    assert again.options == crossfit.options
    assert not [path for path in (tmp_path / "folds").rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    CWoLaTrees(("x", "y"), members=1, max_iter=5).fit(fold_sample(), WINDOW).save(tmp_path / "model")
    return tmp_path / "model"


def test_loading_names_a_missing_feature_and_its_neighbours(saved: Path) -> None:
    other = fold_sample()
    with pytest.raises(InputError, match=r"unknown feature 'x': .*Available: x_1, y"):
        load_scorer(saved).score(Sample(other.features, ("x_1", "y"), other.mass))


def test_missing_folder_card_or_tensors(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing-here does not exist; give the folder that scorer\.save"):
        load_scorer(tmp_path / "nothing-here")
    (saved / "tensors.safetensors").unlink()
    with pytest.raises(ModelError, match=r"tensors\.safetensors is missing beside its card"):
        load_scorer(saved)
    (saved / "card.json").unlink()
    with pytest.raises(ModelError, match=r"has no card\.json"):
        load_scorer(saved)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_tensors(saved: Path, damage: str) -> None:
    path = saved / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content[:-8] if damage == "cut" else content)
    with pytest.raises(ModelError, match="digest differs"):
        load_scorer(saved)


def test_tampered_card(saved: Path) -> None:
    card = json.loads((saved / "card.json").read_text())
    card["features"] = ["y", "x"]
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="was changed after it was written"):
        load_scorer(saved)


def test_broken_card_and_other_format(saved: Path) -> None:
    path = saved / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "format": 2}))
    with pytest.raises(ModelError, match=r"has format 2 .*reads format 1"):
        load_scorer(saved)
    path.write_text(path.read_text()[:40])
    with pytest.raises(ModelError, match="cannot be read"):
        load_scorer(saved)


def test_loading_through_the_wrong_class(saved: Path) -> None:
    with pytest.raises(ModelError, match="holds a 'cwola-trees' scorer, expected 'test-memoriser'"):
        Memoriser.load(saved)


def test_registry_knows_and_suggests() -> None:
    assert {"cwola-trees", "cwola-nn", "autoencoder", "supervised", "idealised", "cross-fit"} <= set(available())
    with pytest.raises(ConfigError, match="unknown scorer 'cwola-tree': did you mean 'cwola-trees'"):
        make_scorer("cwola-tree")
    with pytest.raises(ConfigError, match="unknown option of scorer 'cwola-trees' 'member': did you mean 'members'"):
        make_scorer("cwola-trees", member=3)
    with pytest.raises(ConfigError, match="'cwola-trees' is taken"):
        register("cwola-trees")(Memoriser)


def test_a_package_adds_a_scorer_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("entry-point-trees", "resonaut.models.cwola_trees:CWoLaTrees", "resonaut.scorers")
    broken = EntryPoint("broken", "no_such_package:Thing", "resonaut.scorers")
    monkeypatch.setattr(
        registry_module, "entry_points", lambda group: [point, broken] if group == "resonaut.scorers" else []
    )
    assert "entry-point-trees" in available()
    with pytest.raises(ModelError, match="gives a scorer named 'cwola-trees'"):
        scorer_class("entry-point-trees")
    with pytest.raises(ConfigError, match="cannot be imported"):
        scorer_class("broken")


def test_unfitted_cannot_be_saved_or_asked(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not fitted"):
        CrossFit("test-memoriser").score(fold_sample())
    with pytest.raises(ModelError, match="not fitted"):
        CrossFit("test-memoriser").save(tmp_path / "x")
    with pytest.raises(ModelError, match="not fitted"):
        Memoriser().save(tmp_path / "x")
    assert not list(tmp_path.iterdir())
