"""The way of features to a flow's coordinates: Jacobian against autograd, guards, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resonaut.errors import ConfigError, InputError
from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.preprocessing import Preprocessing, Standardised, as_matrix


@pytest.fixture
def events() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([rng.beta(2, 3, 2000), rng.exponential(100.0, 2000), 3 + rng.normal(size=2000)], axis=1)


def test_jacobian_is_that_of_autograd(events: np.ndarray) -> None:
    learnt = Preprocessing.learn(events, FlowOptions(margin=0.01))
    low, high = (torch.tensor(each) for each in (learnt.low, learnt.high))
    shift, scale = (torch.tensor(each) for each in (learnt.standard.shift, learnt.standard.scale))

    def forward(x: torch.Tensor) -> torch.Tensor:
        return (torch.log((x - low) / (high - x)) - shift) / scale

    found, slope = learnt.to(events[:20])
    np.testing.assert_allclose(found, forward(torch.tensor(events[:20])).numpy(), rtol=1e-10, atol=1e-12)
    for place in range(20):
        jacobian = torch.autograd.functional.jacobian(forward, torch.tensor(events[place]))
        assert slope[place] == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-9)


@pytest.mark.parametrize("preprocessing", ["logit", "standard"])
def test_there_and_back(events: np.ndarray, preprocessing: str) -> None:
    learnt = Preprocessing.learn(events, FlowOptions(preprocessing=preprocessing))  # type: ignore[arg-type]
    found, slope = learnt.to(events)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(learnt.back(found), events, rtol=1e-9)
    assert np.isfinite(slope).all()
    again = Preprocessing.restore(learnt.tensors())
    assert np.array_equal(again.to(events)[0], found)


def test_what_comes_back_has_a_density_however_far_out(events: np.ndarray) -> None:
    learnt = Preprocessing.learn(events, FlowOptions())
    back = learnt.back(np.array([[-1e3, 1e3, 40.0], [1e6, -1e6, -60.0]]))
    assert not learnt.outside(back).any()
    found, slope = learnt.to(back)
    assert np.isfinite(found).all()
    assert np.isfinite(slope).all()


def test_events_beyond_the_range_are_put_at_the_outermost_training_value(events: np.ndarray) -> None:
    learnt = Preprocessing.learn(events, FlowOptions(margin=0.01))
    least, most = events.min(axis=0), events.max(axis=0)
    width = most - least
    beside = np.stack([least - 0.005 * width, least - 0.02 * width, most + 0.02 * width, events[0]])
    assert learnt.outside(beside).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(learnt.clip(beside), [beside[0], least, most, events[0]])


def test_a_spike_at_the_edge_stays_finite() -> None:
    values = np.random.default_rng(1).random((1000, 1))
    values[:400] = 0.0
    learnt = Preprocessing.learn(values, FlowOptions())
    found, slope = learnt.to(values)
    assert np.isfinite(found).all()
    assert np.isfinite(slope).all()
    assert np.abs(found).max() < 10


def test_refused(events: np.ndarray) -> None:
    constant = events.copy()
    constant[:, 1] = 4.2
    with pytest.raises(InputError, match=r"columns \[1\] are constant"):
        Preprocessing.learn(constant, FlowOptions())
    with pytest.raises(InputError, match=r"context: columns \[0\] are constant"):
        Standardised.learn("context", np.full((10, 1), 0.1))
    broken = events.copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match=r"features: 1 of 2000 rows .* columns \[2\]"):
        as_matrix("features", broken)
    with pytest.raises(InputError, match=r"shape \(n, 2\)"):
        as_matrix("features", events, columns=2)
    with pytest.raises(InputError, match=r"shape \(10, columns\)"):
        as_matrix("context", events, rows=10)
    with pytest.raises(InputError, match="shape"):
        as_matrix("features", np.zeros((2, 2, 2)))
    assert as_matrix("context", [1.0, 2.0]).shape == (2, 1)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "affine"}, {"layers": 0}, {"bins": 1}, {"margin": 0.0}, {"learning_rate": -1.0}, {"validation": 1.0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"option '{next(iter(wrong))}'"):
        FlowOptions(**wrong)  # type: ignore[arg-type]
    assert FlowOptions(**FlowOptions.paper(layers=9).to_dict()) == FlowOptions.paper(layers=9)
