"""Uniform scores and their combinations, against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, rankdata

from resonaut.errors import ConfigError, InputError
from resonaut.models import COMBINATIONS, Sample, ScoreScale, combine_tails, load_scorer, make_scorer, save_scorer

DEFINITIONS = {
    "and": lambda u: u.min(axis=0),
    "or": lambda u: u.max(axis=0),
    "prod": lambda u: u.prod(axis=0),
    "avg": lambda u: u.mean(axis=0),
}


def test_scores_of_events_like_the_reference_are_uniform() -> None:
    rng = np.random.default_rng(1)
    scale = ScoreScale.learn(rng.exponential(size=20_000) ** 3)
    assert kstest(scale.uniform(rng.exponential(size=20_000) ** 3), "uniform").pvalue > 0.01


def test_weights_count_as_copies_of_events() -> None:
    rng = np.random.default_rng(2)
    scores, copies = rng.normal(size=500), rng.integers(1, 5, 500)
    weighted = ScoreScale.learn(scores, copies.astype(float))
    repeated = ScoreScale.learn(np.repeat(scores, copies))
    at = np.linspace(-2, 2, 50)
    assert weighted.uniform(at) == pytest.approx(repeated.uniform(at), abs=0.005)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_combinations_order_events_as_their_definitions_do(combine: str) -> None:
    u = np.random.default_rng(3).random((4, 1000))
    score = combine_tails(-np.log1p(-u), combine)  # type: ignore[arg-type]
    assert -np.expm1(-score) == pytest.approx(DEFINITIONS[combine](u), abs=1e-12)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_events_beyond_all_training_events_do_not_tie(combine: str) -> None:
    scale = ScoreScale.learn(np.random.default_rng(4).normal(size=1000))
    far = np.geomspace(5, 1e5, 40)  # u rounds to one from about 20 on
    score = combine_tails(np.stack([scale.tail(far), scale.tail(far + 1)]), combine)  # type: ignore[arg-type]
    assert np.array_equal(rankdata(score), np.arange(1, 41))


def test_what_has_no_distribution_is_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        ScoreScale.learn(np.array([1.0, np.inf]))
    with pytest.raises(InputError, match="nothing to compare"):
        ScoreScale.learn(np.ones(3), np.zeros(3))
    with pytest.raises(ConfigError, match="combination"):
        combine_tails(np.ones((2, 3)), "xor")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="uniform"):
        make_scorer("score-combination", members=["knn", "isolation-forest"], scale="tail", combine="or")


def test_constant_scores_are_mapped_without_a_division_by_zero() -> None:
    scale = ScoreScale.learn(np.full(10, 2.0))
    assert np.isfinite(scale.tail([1.0, 2.0, 3.0])).all()


def test_rare_and_different_combines_any_scorers_fitted_to_the_same_events(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = ["a", "b", "c"]
    sample = Sample(rng.normal(size=(2000, 3)), names, np.ones(2000))
    new = Sample(rng.normal(size=(500, 3)) * 2, names, np.ones(500))
    members = [
        {"name": "isolation-forest", "options": {"features": names}},
        {"name": "knn", "options": {"features": names}},
    ]
    fitted = make_scorer("rare-and-different", members=members, combine="or", seed=3).fit(sample, None)
    alone = [
        make_scorer(each["name"], **member.options).fit(sample, None)
        for each, member in zip(members, fitted.members_, strict=True)
    ]  # type: ignore[arg-type, attr-defined]
    uniform = [ScoreScale.learn(each.score(sample)).uniform(each.score(new)) for each in alone]
    inside = np.max(uniform, axis=0) < 0.999
    assert -np.expm1(-fitted.score(new)[inside]) == pytest.approx(np.max(uniform, axis=0)[inside], abs=1e-9)
    save_scorer(fitted, tmp_path / "scorer")
    assert np.array_equal(load_scorer(tmp_path / "scorer").score(new), fitted.score(new))
