"""Densities of mixed columns against analytic ones, and the scorer made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import FlowDensity, Sample, auc, load_scorer, make_scorer, save_scorer
from resonaut.models.flows import FlowOptions, MixedFlow
from resonaut.models.flows.mixed import Columns

P_KIND = np.array([0.5, 0.3, 0.2])
P_THERE = np.array([0.3, 0.7, 0.9])
MEAN, SPREAD = np.array([20.0, 50.0, 80.0]), np.array([5.0, 10.0, 3.0])
OPTIONS = FlowOptions(
    preprocessing="standard", layers=3, hidden=64, bins=24, epochs=25, patience=25, batch_size=512, learning_rate=5e-3, validation=0.1
)  # fmt: skip


def draw(n: int, seed: int) -> np.ndarray:
    """A kind, a momentum that is zero where there is no object, and a two-peaked number that depends on it."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=P_KIND)
    there = rng.random(n) < P_THERE[kind]
    pt = np.where(there, rng.normal(MEAN[kind], SPREAD[kind]), 0.0)
    return np.column_stack([kind, pt, rng.normal(0.02 * pt, 1.0) + np.where(rng.random(n) < 0.5, 3.0, -3.0)])


def truth(x: np.ndarray) -> np.ndarray:
    kind = x[:, 0].astype(int)
    there = np.log(P_THERE[kind]) + norm.logpdf(x[:, 1], MEAN[kind], SPREAD[kind])
    pt = np.where(x[:, 1] == 0, np.log(1 - P_THERE[kind]), there)
    peaks = 0.5 * norm.pdf(x[:, 2] - 0.02 * x[:, 1], 3, 1) + 0.5 * norm.pdf(x[:, 2] - 0.02 * x[:, 1], -3, 1)
    return np.log(P_KIND[kind]) + pt + np.log(peaks)


@pytest.fixture(scope="module")
def fitted() -> MixedFlow:
    return MixedFlow(OPTIONS, seed=1, device="cpu").fit(draw(20_000, 1))


@pytest.mark.slow
def test_the_density_of_discrete_and_continuous_columns_is_recovered(fitted: MixedFlow) -> None:
    new = draw(20_000, 2)
    lost = truth(new) - fitted.log_prob(new, draws=8)  # its mean is the divergence from the truth
    assert abs(lost.mean()) < 0.02
    for kind in range(3):
        for there in (True, False):
            chosen = (new[:, 0] == kind) & ((new[:, 1] != 0) == there)
            assert abs(lost[chosen].mean()) < 0.1


@pytest.mark.slow
def test_the_density_sums_and_integrates_to_one(fitted: MixedFlow) -> None:
    """Over kinds, and over the presence and the values of the momentum, with the third number drawn from a wide normal."""
    rng = np.random.default_rng(3)
    total, squares, per_cell = 0.0, 0.0, 20_000
    third = rng.normal(0.0, 5.0, per_cell)
    for kind in range(3):
        for there in (False, True):
            pt = rng.normal(MEAN[kind], 2 * SPREAD[kind], per_cell) if there else np.zeros(per_cell)
            proposal = norm.logpdf(third, 0.0, 5.0) + (norm.logpdf(pt, MEAN[kind], 2 * SPREAD[kind]) if there else 0.0)
            density = np.exp(fitted.log_prob(np.column_stack([np.full(per_cell, kind), pt, third]), draws=8) - proposal)
            total += density.mean()
            squares += density.var() / per_cell
    assert abs(total - 1) < 0.01 + 2 * squares**0.5


@pytest.mark.slow
def test_a_gaussian_mixture_is_recovered() -> None:
    rng = np.random.default_rng(4)

    def mixture(n: int) -> np.ndarray:
        first = rng.random(n) < 0.4
        return np.where(first[:, None], rng.normal([0, 0], [1, 0.5], (n, 2)), rng.normal([3, 2], [0.5, 1], (n, 2)))

    def density(x: np.ndarray) -> np.ndarray:
        one = norm.pdf(x, [0, 0], [1, 0.5]).prod(axis=1)
        return np.log(0.4 * one + 0.6 * norm.pdf(x, [3, 2], [0.5, 1]).prod(axis=1))

    flow = MixedFlow(OPTIONS, seed=2, device="cpu").fit(mixture(20_000))
    new = mixture(20_000)
    assert abs((density(new) - flow.log_prob(new)).mean()) < 0.02
    edges = np.linspace(-5, 8, 200)
    grid = np.stack(np.meshgrid(edges, edges, indexing="ij"), axis=-1).reshape(-1, 2)
    assert np.exp(flow.log_prob(grid)).sum() * (edges[1] - edges[0]) ** 2 == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
def test_draws_look_like_the_events(fitted: MixedFlow) -> None:
    drawn, real = fitted.sample(20_000, seed=5), draw(20_000, 6)
    for kind in range(3):
        assert (drawn[:, 0] == kind).mean() == pytest.approx(P_KIND[kind], abs=0.02)
    assert (drawn[:, 1] == 0).mean() == pytest.approx((real[:, 1] == 0).mean(), abs=0.02)
    assert np.array_equal(drawn, fitted.sample(20_000, seed=5))


def test_columns_are_told_apart() -> None:
    x = draw(3000, 7)
    flags = np.column_stack([x, x[:, 1] * 2, x[:, 1] != 0, np.full(3000, 4.0)])
    columns = Columns.learn(flags)
    assert columns.discrete.tolist() == [True, False, False, False, True, False]
    assert np.isnan(columns.atom).tolist() == [True, False, True, False, True, True]
    assert columns.constant[5] == 4.0
    assert columns.told.tolist() == []  # the flag in column 4 tells it
    assert Columns.learn(x).told.tolist() == [1]  # nothing else does


def test_an_event_that_differs_in_a_constant_column_is_less_likely_by_one_in_the_sample_size() -> None:
    rng = np.random.default_rng(8)
    x = np.column_stack([rng.normal(size=500), np.zeros(500)])
    flow = MixedFlow(FlowOptions.small(preprocessing="standard", epochs=2), seed=1, device="cpu").fit(x)
    odd = x[:5].copy()
    odd[:, 1] = 1.0
    # its noise differs with the content of the row, but no column has any
    assert flow.log_prob(x[:5]) - flow.log_prob(odd) == pytest.approx(np.full(5, np.log(501)))


def test_values_that_few_events_share_are_no_spikes() -> None:
    """An object that is absent in 0.8 % of the events is rare, and must not score as the most normal of all."""
    rng = np.random.default_rng(14)
    there = rng.random(4000) > 0.008
    x = np.column_stack(
        [there, np.where(there, rng.normal(3.0, 0.3, 4000), 0.0), np.where(there, rng.normal(size=4000), 0.0)]
    )
    flow = MixedFlow(FlowOptions.small(preprocessing="standard", epochs=20), seed=1, device="cpu").fit(x)
    found = flow.log_prob(x, draws=4)
    assert found[~there].mean() == pytest.approx(np.log(0.008), abs=0.7)
    assert found[there].mean() == pytest.approx(-norm(0, 0.3).entropy() - norm(0, 1).entropy(), abs=0.15)


def test_a_slot_that_three_events_fill_costs_what_an_unknown_one_does() -> None:
    rng = np.random.default_rng(15)
    x = np.column_stack([rng.normal(size=3000), np.zeros(3000), np.zeros(3000)])
    x[:3, 1] = [2.13, 2.14, 2.2]
    x[:3, 2] = 1.0
    flow = MixedFlow(FlowOptions.small(preprocessing="standard", epochs=2), seed=1, device="cpu").fit(x)
    new = x[10:12].copy()
    new[1, 1:] = [1.8, 1.0]
    lost = flow.log_prob(x[10:12]) - flow.log_prob(new)
    assert lost == pytest.approx([0.0, 2 * np.log(3001)])


def test_an_atom_that_contradicts_the_column_that_tells_of_it_is_a_surprise() -> None:
    x = draw(3000, 16)
    x = np.column_stack([x[:, 1] != 0, x[:, 1]])
    columns = Columns.learn(x)
    assert columns.partner.tolist() == [-1, 0]
    assert columns.surprises(np.array([[0.0, 0.0], [1.0, 50.0], [0.0, 50.0], [1.0, 0.0]])).tolist() == [0, 0, 1, 1]


def test_equal_events_get_equal_scores_in_any_order() -> None:
    x = draw(600, 9)
    flow = MixedFlow(FlowOptions.small(preprocessing="standard", epochs=1), seed=1, device="cpu").fit(x)
    order = np.random.default_rng(1).permutation(600)
    assert flow.log_prob(x[order]) == pytest.approx(flow.log_prob(x)[order], abs=1e-4)


def test_events_far_from_all_others_have_a_finite_and_small_density(device: str) -> None:
    sample = Sample(draw(1500, 10), ["kind", "pt", "z"], np.ones(1500))
    scorer = FlowDensity(["kind", "pt", "z"], layers=1, hidden=32, bins=8, epochs=5, device=device).fit(sample)
    far = Sample([[0.0, 500.0, 0.0], [7.0, 20.0, 3.0]], sample.names, np.ones(2))
    scores = scorer.score(far)
    assert np.isfinite(scores).all()
    assert scores.min() > np.quantile(scorer.score(sample), 0.99)


def test_rare_events_score_high_and_the_scorer_survives_the_disk(tmp_path: Path) -> None:
    names = ["kind", "pt", "z"]
    scorer = FlowDensity(names, layers=2, hidden=32, epochs=8, seed=3, device="cpu").fit(
        Sample(draw(4000, 11), names, np.ones(4000))
    )
    normal = Sample(draw(1000, 12), names, np.ones(1000))
    rng = np.random.default_rng(13)
    odd = Sample(
        np.column_stack([rng.integers(0, 3, 1000), rng.uniform(0, 100, 1000), rng.uniform(-6, 6, 1000)]),
        names,
        np.ones(1000),
    )
    assert auc(np.repeat([0, 1], 1000), np.concatenate([scorer.score(normal), scorer.score(odd)])) > 0.85
    save_scorer(scorer, tmp_path / "scorer")
    assert np.array_equal(load_scorer(tmp_path / "scorer").score(odd), scorer.score(odd))


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ConfigError, match="autoregressive"):
        MixedFlow(FlowOptions(kind="coupling", preprocessing="standard"))
    with pytest.raises(ConfigError, match="standard"):
        MixedFlow(FlowOptions())
    with pytest.raises(InputError, match="constant"):
        MixedFlow(OPTIONS, device="cpu").fit(np.ones((100, 2)))
    with pytest.raises(ConfigError, match="draws"):
        make_scorer("flow", draws=0)
    with pytest.raises(ModelError, match="not fitted"):
        MixedFlow(OPTIONS).log_prob(np.ones((3, 2)))
