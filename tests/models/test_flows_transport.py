"""Maps against maps that are known."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from scipy import stats

from resonaut.errors import InputError, ModelError
from resonaut.models.flows import ConditionalFlow, FlowOptions, TransportFlow
from resonaut.models.sample import FloatArray

QUICK = FlowOptions.small(epochs=8, learning_rate=5e-3, margin=0.05)


def mean(m: FloatArray) -> FloatArray:
    return np.hstack([0.8 * m, -0.3 * m])


def width(m: FloatArray) -> FloatArray:
    return np.hstack([0.2 * m, 0.5 + 0 * m])


def draw(events: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gaussians whose means and widths drift with the mass; masses; masses to go to."""
    rng = np.random.default_rng(seed)
    m = rng.uniform(3, 5, (events, 1))
    return mean(m) + width(m) * rng.standard_normal((events, 2)), m, rng.permutation(m)


def moved(x: FloatArray, m: FloatArray, to: FloatArray) -> FloatArray:
    """The increasing map of each feature's density at one mass to that at another."""
    return mean(to) + width(to) * (x - mean(m)) / width(m)


@pytest.fixture(scope="module")
def base() -> ConditionalFlow:
    x, m, _ = draw(15_000, seed=1)
    return ConditionalFlow(QUICK, seed=1, device="cpu").fit(x, m)


@pytest.fixture(scope="module", params=["autoregressive", "coupling"])
def flow(base: ConditionalFlow, request: pytest.FixtureRequest) -> TransportFlow:
    x, m, to = draw(15_000, seed=2)
    options = FlowOptions(**{**QUICK.to_dict(), "kind": request.param})
    return TransportFlow(base, options, seed=2).fit(x, m, to)


def test_drift_of_mean_and_width_is_undone(flow: TransportFlow) -> None:
    x, m, to = draw(5000, seed=3)
    found, want = flow.transport(x, m, to), moved(x, m, to)
    middle = (np.abs(x - mean(m)) < 2 * width(m)).all(axis=1)
    error = np.abs(found - want)[middle] / width(to)[middle]
    assert np.median(error) < 0.06
    assert np.quantile(error, 0.95) < 0.25
    unmoved = np.abs(x - want)[middle] / width(to)[middle]
    assert np.median(unmoved) > 0.4  # what it would be without the map


def test_moved_events_follow_the_known_density_at_the_target(flow: TransportFlow) -> None:
    x, m, _ = draw(8000, seed=4)
    to = np.full_like(m, 4.7)
    pulls = (flow.transport(x, m, to) - mean(to)) / width(to)
    for column in pulls.T:
        assert stats.kstest(column, "norm").statistic < 0.03
    assert stats.kstest((x - mean(to))[:, 0] / width(to)[:, 0], "norm").statistic > 0.1
    assert np.abs(np.corrcoef(np.column_stack([pulls, m]), rowvar=False) - np.eye(3)).max() < 0.06


def test_inverse(flow: TransportFlow) -> None:
    x, m, to = draw(2000, seed=5)
    np.testing.assert_allclose(flow.inverse(flow.transport(x, m, to), m, to), x, rtol=0, atol=2e-3)


def test_the_base_is_not_changed(base: ConditionalFlow, flow: TransportFlow) -> None:
    x, m, _ = draw(15_000, seed=1)
    again = ConditionalFlow(QUICK, seed=1, device="cpu").fit(x, m)
    tensors = flow.base.tensors()
    assert flow.base is base
    assert all(np.array_equal(tensors[name], array) for name, array in again.tensors().items())


def test_restored_map_is_the_same_to_the_bit(flow: TransportFlow) -> None:
    x, m, to = draw(500, seed=5)
    again = TransportFlow.restore(flow.tensors(), json.loads(json.dumps(flow.facts())), device="cpu")
    assert np.array_equal(again.transport(x, m, to), flow.transport(x, m, to))
    assert np.array_equal(again.inverse(x, m, to), flow.inverse(x, m, to))
    assert np.array_equal(again.base.log_prob(x, m), flow.base.log_prob(x, m))
    with pytest.raises(ModelError, match="cannot be rebuilt"):
        TransportFlow.restore(flow.tensors(), flow.base.facts())


def test_an_untrained_map_is_nearly_the_identity_and_stays_so_without_need(device: str) -> None:
    """Events that follow the base already, at equal masses: nothing is to be moved."""
    x, m, _ = draw(4000, seed=6)
    quick = FlowOptions.small(epochs=4, learning_rate=5e-3, kind="coupling", margin=0.05)
    base = ConditionalFlow(quick, seed=1, device=device).fit(x, m)
    once = TransportFlow(base, FlowOptions.small(epochs=1, learning_rate=1e-9, kind="coupling"), seed=1).fit(x, m, m)
    assert np.median(np.abs(once.transport(x, m, m) - x)) < 0.03
    flow = TransportFlow(base, quick, seed=1).fit(x, m, m)
    assert np.median(np.abs(flow.transport(x, m, m) - x)) < 0.15


def test_seeds_and_average(base: ConditionalFlow) -> None:
    x, m, to = draw(500, seed=1)
    options = FlowOptions.small(epochs=3, kind="coupling", average_epochs=2)
    before = torch.random.get_rng_state()
    flows = [TransportFlow(base, options, seed=seed).fit(x, m, to) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (flow.transport(x, m, to) for flow in flows)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert len(flows[0].members_) == len(flows[0].best_epochs_) == 1


def test_events_beyond_the_range_of_the_base(flow: TransportFlow, caplog: pytest.LogCaptureFixture) -> None:
    x, m, to = draw(50, seed=1)
    x[0], x[1, 0] = 1e4, -1e4
    flow.clipped_, flow._warned = 0, False
    with caplog.at_level(logging.WARNING):
        there = flow.transport(x, m, to)
    assert flow.clipped_ == 2
    assert "2 of 50 events" in caplog.text
    assert np.isfinite(flow.base.log_prob(there, to)).all()


def test_refused(base: ConditionalFlow) -> None:
    x, m, to = draw(100, seed=1)
    with pytest.raises(ModelError, match="not fitted"):
        TransportFlow(ConditionalFlow(device="cpu"))
    flow = TransportFlow(base, FlowOptions.small(epochs=1))
    with pytest.raises(ModelError, match="not fitted"):
        flow.transport(x, m, to)
    with pytest.raises(InputError, match="target must have shape"):
        flow.fit(x, m, to[:50])
    with pytest.raises(InputError, match="features must have shape"):
        flow.fit(x[:, :1], m, to)
    with pytest.raises(InputError, match="few"):
        flow.fit(x[:10], m[:10], to[:10])
