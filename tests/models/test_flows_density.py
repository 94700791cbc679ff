"""Conditional densities against densities that are known."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from resonaut.errors import InputError, ModelError
from resonaut.models.flows import ConditionalFlow, FlowOptions
from resonaut.models.flows.training import FlowData, train_flow
from resonaut.models.sample import FloatArray

QUICK = FlowOptions.small(epochs=12, batch_size=512, learning_rate=5e-3, margin=0.05)


class Mixture:
    """Two correlated Gaussians in the plane, whose means and shares depend on the context."""

    shapes = (np.array([[1.0, 0.6], [0.6, 0.8]]), np.array([[0.5, -0.3], [-0.3, 0.6]]))

    @staticmethod
    def share(c: FloatArray) -> FloatArray:
        return 0.3 + 0.4 * c[:, 0]

    @staticmethod
    def means(c: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.hstack([1.5 * c, -c]), np.hstack([-1.5 + 0 * c, 2 * c])

    def draw(self, events: int, seed: int) -> tuple[FloatArray, FloatArray]:
        rng = np.random.default_rng(seed)
        c = rng.random((events, 1))
        noise = [rng.standard_normal((events, 2)) @ np.linalg.cholesky(shape).T for shape in self.shapes]
        first = rng.random(events) < self.share(c)
        both = [mean + each for mean, each in zip(self.means(c), noise, strict=True)]
        return np.where(first[:, None], both[0], both[1]), c

    def log_prob(self, x: FloatArray, c: FloatArray) -> FloatArray:
        share = self.share(c)
        parts = [
            stats.multivariate_normal(np.zeros(2), shape).pdf(x - mean)
            for mean, shape in zip(self.means(c), self.shapes, strict=True)
        ]
        return np.asarray(np.log(share * parts[0] + (1 - share) * parts[1]))

    def cdf(self, x: FloatArray, c: FloatArray, direction: FloatArray) -> FloatArray:
        """Of x projected on a direction: uniform for events of the mixture."""
        share, means = self.share(c), self.means(c)
        parts = [
            stats.norm(mean @ direction, np.sqrt(direction @ shape @ direction)).cdf(x @ direction)
            for mean, shape in zip(means, self.shapes, strict=True)
        ]
        return np.asarray(share * parts[0] + (1 - share) * parts[1])


TRUTH = Mixture()


@pytest.fixture(scope="module", params=["autoregressive", "coupling"])
def flow(request: pytest.FixtureRequest) -> ConditionalFlow:
    x, c = TRUTH.draw(20_000, seed=1)
    options = FlowOptions(**{**QUICK.to_dict(), "kind": request.param, "layers": 3})
    return ConditionalFlow(options, seed=1, device="cpu").fit(x, c)


def test_likelihood_of_a_known_density(flow: ConditionalFlow) -> None:
    x, c = TRUTH.draw(20_000, seed=2)
    found, want = flow.log_prob(x, c), TRUTH.log_prob(x, c)
    inside = np.isfinite(found)
    assert inside.mean() > 0.999
    divergence = (want - found)[inside].mean()
    assert -0.002 < divergence < 0.02
    without_context = stats.gaussian_kde(x[:3000].T).logpdf(x[:3000].T)
    assert (want[:3000] - without_context).mean() > 0.1  # what is missed by a density that ignores the context


@pytest.mark.parametrize("context", [0.1, 0.8])
def test_density_integrates_to_one(flow: ConditionalFlow, context: float) -> None:
    low, high = flow.preprocessing_.low, flow.preprocessing_.high
    steps = 300
    axes = [np.linspace(a, b, steps, endpoint=False) + (b - a) / steps / 2 for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    found = np.exp(flow.log_prob(points, np.full((len(points), 1), context)))
    assert found.sum() * np.prod((high - low) / steps) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, -1.0)])
def test_draws_follow_the_known_density(flow: ConditionalFlow, direction: tuple[float, float]) -> None:
    context = np.random.default_rng(3).random((10_000, 1))
    drawn = flow.sample(context, seed=4)
    uniform = TRUTH.cdf(drawn, context, np.array(direction))
    assert stats.kstest(uniform, "uniform").statistic < 0.025  # 99.9 % of true samples: below 0.0195
    assert not flow.preprocessing_.outside(drawn).any()


def test_draws_are_those_that_the_density_describes(flow: ConditionalFlow) -> None:
    """Not a second truth but the same flow twice: drawing and density are different code paths."""
    context = np.full((20_000, 1), 0.4)
    drawn = flow.sample(context, seed=5)
    edges = [np.quantile(drawn[:, i], [0.02, 0.25, 0.5, 0.75, 0.98]) for i in range(2)]
    for i in range(4):
        for j in range(4):
            box = [np.linspace(edges[k][p], edges[k][p + 1], 24, endpoint=False) for k, p in ((0, i), (1, j))]
            sizes = [b[1] - b[0] for b in box]
            points = np.stack(np.meshgrid(*[b + s / 2 for b, s in zip(box, sizes, strict=True)]), axis=-1).reshape(
                -1, 2
            )
            expected = np.exp(flow.log_prob(points, np.full((len(points), 1), 0.4))).sum() * np.prod(sizes) * len(drawn)
            low, high = np.array([edges[0][i], edges[1][j]]), np.array([edges[0][i + 1], edges[1][j + 1]])
            inside = ((drawn >= low) & (drawn < high)).all(axis=1)
            assert abs(inside.sum() - expected) < 4.5 * np.sqrt(expected) + 5


def test_latent_coordinates_are_standard_normal_at_every_context(flow: ConditionalFlow) -> None:
    x, c = TRUTH.draw(10_000, seed=6)
    latent = flow.latent(x, c)
    assert latent.shape == x.shape
    for column in latent.T:
        assert stats.kstest(column, "norm").statistic < 0.025
    bulk = latent.clip(-3, 3)  # a few events far out would make the correlations
    correlation = np.corrcoef(np.column_stack([bulk, bulk**2, c, c**2]), rowvar=False)
    between_features = correlation[np.ix_([0, 2], [1, 3])]
    with_context = correlation[np.ix_([0, 1, 2, 3], [4, 5])]
    assert np.abs(between_features).max() < 0.045
    assert np.abs(with_context).max() < 0.045


@pytest.mark.parametrize("kind", ["autoregressive", "coupling"])
def test_a_single_feature_follows_the_context(kind: str) -> None:
    rng = np.random.default_rng(1)
    c = rng.random((6000, 1))
    x = 3 * c + rng.standard_normal((6000, 1))
    options = FlowOptions.small(epochs=10, learning_rate=1e-2, margin=0.05, kind=kind)  # type: ignore[arg-type]
    flow = ConditionalFlow(options, seed=1, device="cpu").fit(x, c)
    drawn = flow.sample(c, seed=1)
    assert stats.kstest((drawn - 3 * c)[:, 0], "norm").statistic < 0.03


def test_bounded_features(device: str) -> None:
    """A beta distribution that depends on the context, and a uniform one with edges."""
    rng = np.random.default_rng(1)
    c = rng.random((20_000, 1))
    x = np.hstack([rng.beta(2 + 2 * c, 3), rng.random((20_000, 1))])
    options = FlowOptions.small(epochs=10, learning_rate=5e-3, margin=1e-3)
    flow = ConditionalFlow(options, seed=1, device=device).fit(x[:15_000], c[:15_000])
    tests = slice(15_000, None)
    found = flow.log_prob(x[tests], c[tests])
    want = stats.beta(2 + 2 * c[tests, 0], 3).logpdf(x[tests, 0])
    inside = np.isfinite(found)
    assert inside.mean() > 0.998
    assert -0.005 < (want - found)[inside].mean() < 0.03
    drawn = flow.sample(c, seed=1)
    assert drawn[:, 1].min() > -0.002
    assert drawn[:, 1].max() < 1.002
    assert stats.kstest(drawn[:, 1], "uniform").statistic < 0.02


def test_standardised_only_has_no_edges(device: str) -> None:
    x, c = TRUTH.draw(5000, seed=1)
    options = FlowOptions.small(epochs=10, learning_rate=1e-2, preprocessing="standard", kind="coupling")
    flow = ConditionalFlow(options, seed=1, device=device).fit(x, c)
    far = np.array([[1e3, 1e3]])
    assert np.isfinite(flow.log_prob(far, [[0.5]])).all()
    tests, contexts = TRUTH.draw(5000, seed=2)
    assert (TRUTH.log_prob(tests, contexts) - flow.log_prob(tests, contexts)).mean() < 0.06


def test_weights_change_the_density(device: str) -> None:
    """Uniform events with weights 2 x have the density 2 x, and a drawn mean of 2/3."""
    rng = np.random.default_rng(1)
    x, c = rng.random((20_000, 1)), rng.random((20_000, 1))
    flow = ConditionalFlow(FlowOptions.small(epochs=6, layers=1), seed=1, device=device).fit(x, c, 2 * x[:, 0])
    middle = np.linspace(0.2, 0.9, 8)[:, None]
    np.testing.assert_allclose(flow.log_prob(middle, np.full((8, 1), 0.5)), np.log(2 * middle[:, 0]), atol=0.12)
    assert flow.sample(c, seed=1).mean() == pytest.approx(2 / 3, abs=0.012)


def test_a_spike_does_no_harm(device: str) -> None:
    rng = np.random.default_rng(1)
    x, c = rng.random((4000, 2)), rng.random((4000, 1))
    x[:1500, 0] = 0.0
    flow = ConditionalFlow(FlowOptions.small(epochs=4), seed=1, device=device).fit(x, c)
    assert np.isfinite(flow.history_).all()
    assert np.isfinite(flow.log_prob(x, c)).all()
    drawn = flow.sample(c, seed=2)
    assert np.mean(drawn[:, 0] < 0.02) == pytest.approx(0.375 + 0.625 * 0.02, abs=0.05)


@pytest.fixture(scope="module")
def averaged() -> ConditionalFlow:
    x, c = TRUTH.draw(3000, seed=1)
    options = FlowOptions.small(epochs=5, average_epochs=3, kind="coupling", schedule="constant", margin=0.05)
    return ConditionalFlow(options, seed=1, device="cpu").fit(x, c)


def test_mean_of_the_best_epochs(averaged: ConditionalFlow) -> None:
    x, c = TRUTH.draw(500, seed=2)
    losses = [validation for _, validation in averaged.history_]
    assert averaged.best_epochs_ == np.argsort(losses)[:3].tolist()
    members, each = averaged.members_, []
    for member in members:
        averaged.members_ = [member]
        each.append(np.exp(averaged.log_prob(x, c)))
    averaged.members_ = members
    assert np.abs(each[0] - each[2]).max() > 1e-3
    np.testing.assert_allclose(np.exp(averaged.log_prob(x, c)), np.mean(each, axis=0), rtol=1e-4, atol=1e-7)


def test_restored_flow_is_the_same_to_the_bit(averaged: ConditionalFlow) -> None:
    x, c = TRUTH.draw(500, seed=2)
    facts = json.loads(json.dumps(averaged.facts()))
    again = ConditionalFlow.restore(averaged.tensors(), facts, device="cpu")
    assert np.array_equal(again.log_prob(x, c), averaged.log_prob(x, c))
    assert np.array_equal(again.sample(c, 1), averaged.sample(c, 1))
    assert np.array_equal(again.latent(x, c), averaged.latent(x, c))
    assert again.history_ == averaged.history_
    with pytest.raises(ModelError, match="cannot be rebuilt"):
        ConditionalFlow.restore({}, facts)


def test_seeds(device: str) -> None:
    x, c = TRUTH.draw(1000, seed=1)
    before = torch.random.get_rng_state()
    flows = [
        ConditionalFlow(FlowOptions.small(epochs=2, kind="coupling"), seed=seed, device=device).fit(x, c)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (flow.tensors() for flow in flows)
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first if name.startswith("member"))
    assert np.array_equal(flows[0].sample(c, 3), flows[1].sample(c, 3))
    assert not np.array_equal(flows[0].sample(c, 3), flows[0].sample(c, 4))


def test_events_beyond_the_range(averaged: ConditionalFlow, caplog: pytest.LogCaptureFixture) -> None:
    x, c = TRUTH.draw(10, seed=2)
    x[0], x[1, 1] = 100.0, -100.0
    assert np.isneginf(averaged.log_prob(x, c)).tolist() == [True, True] + [False] * 8
    averaged.clipped_ = 0
    with caplog.at_level(logging.WARNING):
        latent = averaged.latent(x, c)
        averaged.latent(x, c)
    assert averaged.clipped_ == 4
    assert len(caplog.records) == 1
    assert "2 of 10 events" in caplog.text
    assert np.isfinite(latent).all()
    assert np.abs(latent).max() < 8


def test_progress_and_early_stopping() -> None:
    x, c = TRUTH.draw(300, seed=1)
    calls: list[tuple[int, int]] = []
    options = FlowOptions.small(epochs=60, patience=2, batch_size=64, learning_rate=2e-2, schedule="constant")
    flow = ConditionalFlow(options, seed=1, device="cpu").fit(x, c, progress=lambda *args: calls.append(args))
    losses = [validation for _, validation in flow.history_]
    assert len(losses) < 60
    assert np.argmin(losses) == len(losses) - 3
    assert flow.best_epochs_ == [len(losses) - 3]
    assert calls == [(epoch + 1, 60) for epoch in range(len(losses))]


def _break_at(steps: set[int]) -> Any:
    """Loss of a line through the origin that is not finite at some calls, its module, and data."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    calls = iter(range(10_000))

    def loss(x: torch.Tensor) -> torch.Tensor:
        value = (module(x) - x).square().sum(dim=1)
        return value * torch.nan if next(calls) in steps else value

    data = FlowData((torch.linspace(-1, 1, 64)[:, None],), torch.ones(64))
    return loss, module, data


def test_a_loss_that_is_not_finite_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    loss, module, data = _break_at({7, 30})
    options = FlowOptions(epochs=30, batch_size=16, learning_rate=0.3, patience=30)
    with caplog.at_level(logging.WARNING):
        result = train_flow(module, loss, data, data, options, seed=1)
    assert caplog.text.count("not finite") == 2
    assert len(result.history) == 30
    assert np.isfinite(result.history).all()
    assert float(module.weight.detach()) == pytest.approx(1, abs=0.05)


def test_a_loss_that_stays_infinite_is_an_error() -> None:
    loss, module, data = _break_at(set(range(10_000)))
    with pytest.raises(ModelError, match="not finite after 0 epochs"):
        train_flow(module, loss, data, data, FlowOptions.small(), seed=1)


def test_whole_numbers_are_drawn_as_such_with_their_probabilities() -> None:
    """A Poisson count whose mean follows the context, beside a Gaussian: draws, probabilities, latent coordinates."""
    rng = np.random.default_rng(21)
    c = rng.random((20_000, 1))
    x = np.column_stack([rng.poisson(3.0 + 3.0 * c[:, 0]), rng.normal(c[:, 0])]).astype(float)
    flow = ConditionalFlow(QUICK, seed=22, device="cpu").fit(x, c)
    at = np.full((20_000, 1), 0.5)
    drawn = flow.sample(at, 23)
    np.testing.assert_array_equal(drawn[:, 0], np.rint(drawn[:, 0]))
    expected = stats.poisson(4.5)
    for count in range(1, 9):
        assert np.mean(drawn[:, 0] == count) == pytest.approx(expected.pmf(count), abs=0.02)
    points = np.column_stack([np.arange(2.0, 8.0), np.full(6, 0.5)])
    found = np.exp(flow.log_prob(points, at[:6]))
    np.testing.assert_allclose(found, expected.pmf(points[:, 0]) * stats.norm.pdf(0.0), rtol=0.15)
    latent = flow.latent(x, c)
    assert stats.kstest(latent[:, 0], "norm").statistic < 0.03
    np.testing.assert_array_equal(flow.latent(x[::-1], c[::-1])[::-1], latent)  # noise belongs to the event
    again = ConditionalFlow.restore(flow.tensors(), flow.facts(), "cpu")
    np.testing.assert_array_equal(again.latent(x, c), latent)
    np.testing.assert_array_equal(again.sample(at, 23), drawn)


def test_few_other_values_are_told(caplog: pytest.LogCaptureFixture) -> None:
    x, c = TRUTH.draw(2000, seed=24)
    with caplog.at_level(logging.WARNING):
        ConditionalFlow(FlowOptions.small(epochs=1), device="cpu").fit(np.round(2 * x) / 2, c)
    assert "values in 2000 events" in caplog.text


def test_refused() -> None:
    x, c = TRUTH.draw(200, seed=1)
    flow = ConditionalFlow(FlowOptions.small(epochs=1), device="cpu")
    with pytest.raises(ModelError, match="not fitted"):
        flow.sample(c, 1)
    with pytest.raises(ModelError, match="not fitted"):
        flow.tensors()
    broken = x.copy()
    broken[0, 1] = np.inf
    with pytest.raises(InputError, match="not finite"):
        flow.fit(broken, c)
    with pytest.raises(InputError, match="few"):
        flow.fit(x[:10], c[:10])
    with pytest.raises(InputError, match="weight"):
        flow.fit(x, c, -np.ones(200))
    with pytest.raises(InputError, match="weight"):
        flow.fit(x, c, np.ones(100))
    with pytest.raises(InputError, match=r"columns \[0\] are constant"):
        flow.fit(np.column_stack([np.ones(200), x]), c)
    with pytest.raises(InputError, match="context"):
        flow.fit(x, c[:100])
    flow.fit(x, c)
    with pytest.raises(InputError, match="features must have shape"):
        flow.log_prob(x[:, :1], c)
    assert flow.log_prob(x[:0], c[:0]).shape == (0,)
    assert flow.sample(c[:0], 1).shape == (0, 2)
