"""Splines against nflows' own, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline

from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.spline import IDENTITY_DERIVATIVE, plain_spline, spline
from resonaut.models.flows.transforms import build_transform

Spline = Callable[..., tuple[torch.Tensor, torch.Tensor]]
both = pytest.mark.parametrize("function", [spline, plain_spline], ids=["dispatched", "plain"])
directions = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
BOUND = 3.0


def drawn(
    count: int, bins: int, dtype: torch.dtype, device: str, spread: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(bins)
    points = 2 * torch.randn(count, generator=generator, dtype=torch.float64)
    raw = spread * torch.randn(count, 3 * bins - 1, generator=generator, dtype=torch.float64)
    return points.to(device, dtype), raw.to(device, dtype)


def reference(
    points: torch.Tensor, raw: torch.Tensor, *, scale: float, inverse: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    bins = (raw.shape[-1] + 1) // 3
    found = unconstrained_rational_quadratic_spline(
        points,
        raw[..., :bins] * scale,
        raw[..., bins : 2 * bins] * scale,
        raw[..., 2 * bins :],
        inverse=inverse,
        tails="linear",
        tail_bound=BOUND,
    )
    return found[0], found[1]


@both
@directions
@pytest.mark.parametrize("bins", [2, 8, 13])
def test_values_slopes_and_gradients_are_those_of_nflows(
    function: Spline, inverse: bool, bins: int, device: str
) -> None:
    points, raw = drawn(3000, bins, torch.float64, device)
    outcomes = []
    for each in (lambda *a, **k: function(*a, bound=BOUND, **k), reference):
        x, r = points.clone().requires_grad_(), raw.clone().requires_grad_()
        values, slope = each(x, r, scale=0.6, inverse=inverse)
        (values.sin() + slope * values.cos()).sum().backward()
        assert x.grad is not None
        assert r.grad is not None
        outcomes.append((values.detach(), slope.detach(), x.grad, r.grad))
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)
    inside = points.abs() < BOUND
    assert 0.5 < inside.double().mean() < 0.95  # both the splines and their tails were compared
    assert float(outcomes[0][3][~inside].abs().max()) == 0


@both
@directions
def test_single_precision_is_nflows_to_1e_5(function: Spline, inverse: bool, device: str) -> None:
    points, raw = drawn(3000, 8, torch.float32, device)
    values, slope = function(points, raw, bound=BOUND, scale=0.3, inverse=inverse)
    want, want_slope = reference(points.double(), raw.double(), scale=0.3, inverse=inverse)
    assert float((values - want).abs().max()) < 1e-5
    assert float((slope - want_slope).abs().max()) < 1e-4
    assert float((slope - want_slope).abs().mean()) < 1e-6


@both
@directions
def test_gradients_by_finite_differences(function: Spline, inverse: bool, device: str) -> None:
    points, raw = drawn(30, 5, torch.float64, device)
    points, raw = points.requires_grad_(), raw.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, r: function(x, r, bound=BOUND, scale=0.7, inverse=inverse), (points, raw))


@both
@given(
    raw=st.lists(st.floats(-40, 40), min_size=11, max_size=11),
    points=st.lists(st.integers(-64, 64), min_size=2, max_size=20, unique=True),
)
def test_monotonic_and_inverted_whatever_the_parameters(function: Spline, raw: list[float], points: list[int]) -> None:
    x = torch.tensor(sorted(points), dtype=torch.float64) / 16
    parameters = torch.tensor(raw, dtype=torch.float64).expand(len(x), -1)
    y, slope = function(x, parameters, bound=BOUND)
    assert bool((y.diff() > 0).all())
    back, minus = function(y, parameters, bound=BOUND, inverse=True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6)
    assert bool(torch.isfinite(slope + minus).all())


@both
@directions
def test_no_nan_at_edges_of_bins_and_of_the_interval(function: Spline, inverse: bool, device: str) -> None:
    """Where nflows raises InputOutsideDomain or finds a negative discriminant."""
    bins = 8
    raw = torch.randn(2000, 3 * bins - 1, generator=torch.Generator().manual_seed(1)).mul(30).to(device)
    knots = torch.linspace(-BOUND, BOUND, bins + 1, device=device)
    edges = torch.cat([knots, torch.nextafter(knots, -10 * torch.ones_like(knots)), torch.nextafter(knots, knots + 1)])
    points = edges.repeat(2000 // len(edges) + 1)[:2000].clone().requires_grad_()
    equal = raw.clone()
    equal[::2, : 2 * bins] = 0.0  # bins of equal size, so that the points are at their edges
    values, slope = function(points, equal.requires_grad_(), bound=BOUND, inverse=inverse)
    (values + slope).sum().backward()
    assert points.grad is not None
    for each in (values, slope, points.grad, equal.grad):
        assert each is not None
        assert bool(torch.isfinite(each).all())
    assert float(values.detach().abs().max()) <= BOUND * (1 + 1e-6)


def test_nan_goes_through_as_nan(device: str) -> None:
    """A broken network must be noticed by the loss, not be hidden by a tail."""
    points, raw = drawn(4, 4, torch.float32, device)
    points = points.clamp(-1, 1)
    raw[1, 0], points[2] = torch.nan, torch.nan
    values, slope = spline(points, raw, bound=BOUND)
    assert torch.isnan(values).tolist() == [False, True, True, False]
    assert bool(torch.isnan(slope[1]))


@both
def test_identity(function: Spline, device: str) -> None:
    points, raw = drawn(100, 6, torch.float64, device)
    raw.zero_()
    raw[:, 12:] = IDENTITY_DERIVATIVE
    values, slope = function(points, raw, bound=BOUND)
    torch.testing.assert_close(values, points, rtol=0, atol=1e-12)
    assert float(slope.abs().max()) < 1e-12


@pytest.mark.parametrize("kind", ["autoregressive", "coupling"])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_a_flow_is_inverted_and_its_determinant_is_that_of_the_jacobian(kind: str, features: int, device: str) -> None:
    flow = build_transform(features, 2, FlowOptions(kind=kind, layers=3, hidden=16), seed=3).to(device).double()  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # away from the identity it begins at
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).to(parameter))
    x = torch.randn(6, features, generator=generator, dtype=torch.float64).to(device)
    c = torch.randn(6, 2, generator=generator, dtype=torch.float64).to(device)
    y, slope = flow(x, c)
    back, minus = flow.inverse(y, c)
    assert float((y - x).abs().max().detach()) > 0.1
    torch.testing.assert_close(back, x, rtol=0, atol=1e-7)
    torch.testing.assert_close(minus, -slope, rtol=0, atol=1e-6)
    for place in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda v, i=place: flow(v[None], c[i : i + 1])[0][0], x[place])
        np.testing.assert_allclose(float(torch.linalg.slogdet(jacobian)[1]), float(slope[place].detach()), atol=1e-9)


@pytest.mark.parametrize("kind", ["autoregressive", "coupling"])
def test_a_new_flow_is_nearly_the_identity_and_leaves_torch_alone(kind: str) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    flow = build_transform(4, 1, FlowOptions(kind=kind, layers=5), seed=1)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), expected)
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y, slope = flow(x, torch.ones(500, 1))
    assert float((y - x).abs().max()) < 0.05
    assert float(slope.abs().max()) < 0.1


@pytest.mark.parametrize("features", [1, 4])
def test_every_spline_sees_the_context_and_the_features_before_it_only(features: int) -> None:
    """In nflows' own network the first feature does not see the context."""
    layer = build_transform(features, 1, FlowOptions(layers=1, hidden=24), seed=3)._transforms[0].double()
    with torch.no_grad():
        layer.autoregressive_net.final_layer.weight.mul_(300)
    x = torch.randn(1, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    c = torch.full((1, 1), 0.3, dtype=torch.float64)
    by_feature, by_context = torch.autograd.functional.jacobian(lambda a, b: layer(a, b)[0][0], (x, c))
    assert float(by_context.abs().min()) > 1e-3
    by_feature = by_feature[:, 0]
    assert float(by_feature.triu(1).abs().max()) == 0
    assert features == 1 or float(by_feature.tril(-1).abs().max()) > 1e-3
