"""Monotonic rational-quadratic splines with linear tails, for tensors on any device, differentiable in everything."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from resonaut.models.flows.kernels import MIN_DERIVATIVE, MIN_SIZE, STATE, spline_backward, spline_forward

__all__ = ("IDENTITY_DERIVATIVE", "plain_spline", "spline")

_MOST_RAW = 60.0
IDENTITY_DERIVATIVE = math.log(math.expm1(1 - MIN_DERIVATIVE))
"""Raw derivative that is 1 after softplus: with equal widths and heights the spline is then the identity."""


def spline(
    values: torch.Tensor, raw: torch.Tensor, *, bound: float, scale: float = 1.0, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values of splines and the logarithms of their slopes.

    Compiled on a CPU, plain tensor operations elsewhere: both give the same to rounding.

    Parameters
    ----------
    values
        (...) points, one for each spline.
    raw
        (..., 3 K - 1) raw parameters of each spline: K widths and K heights (softmax of `scale` times them, floored), K - 1
        derivatives at the inner knots (softplus, floored).
    bound
        The spline maps [-bound, bound] onto itself and is the identity outside.
    scale
        Factor on raw widths and heights.
    inverse
        Whether the inverse is wanted.

    Returns
    -------
    values, slope
        Both (...): the values, and ln |d value / d point|.

    Examples
    --------
    >>> x = torch.tensor([-5.0, -1.0, 0.5])
    >>> raw = torch.randn(3, 23, generator=torch.Generator().manual_seed(1))
    >>> y, slope = spline(x, raw, bound=4.0)
    >>> back, minus = spline(y, raw, bound=4.0, inverse=True)
    >>> bool((back - x).abs().max() < 1e-5), bool((slope + minus).abs().max() < 1e-5)
    (True, True)

    References
    ----------
    Durkan et al., arXiv:1906.04032.
    """
    if values.device.type != "cpu":
        return plain_spline(values, raw, bound=bound, scale=scale, inverse=inverse)
    found = _Compiled.apply(values, raw, bound, scale, inverse)  # type: ignore[no-untyped-call]
    return cast("tuple[torch.Tensor, torch.Tensor]", found)


class _Compiled(torch.autograd.Function):
    """The compiled kernels as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, raw: torch.Tensor, bound: float, scale: float, inverse: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        bins = (raw.shape[-1] + 1) // 3
        points = values.detach().reshape(-1).contiguous()
        # exponentials by torch, which takes many at once; limits far beyond any use keep them and their sums finite
        scales = raw.new_full((raw.shape[-1],), scale)
        scales[2 * bins :] = 1
        powers = (
            torch.mul(raw.detach().reshape(-1, raw.shape[-1]).contiguous(), scales).clamp_(-_MOST_RAW, _MOST_RAW).exp_()
        )
        out, slope, state = torch.empty_like(points), torch.empty_like(points), points.new_empty(len(points), STATE)
        spline_forward(points.numpy(), powers.numpy(), bound, inverse, out.numpy(), slope.numpy(), state.numpy())
        ctx.save_for_backward(powers, state, scales)
        ctx.settings = bound, inverse, values.shape, raw.shape
        return out.view(values.shape), slope.view(values.shape)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_out: torch.Tensor, by_slope: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        powers, state, scales = ctx.saved_tensors
        bound, inverse, points_shape, raw_shape = ctx.settings
        to_values, to_raw = powers.new_empty(len(powers)), torch.empty_like(powers)
        by_out, by_slope = by_out.reshape(-1).contiguous(), by_slope.reshape(-1).contiguous()
        spline_backward(
            powers.numpy(),
            bound,
            inverse,
            state.numpy(),
            by_out.numpy(),
            by_slope.numpy(),
            to_values.numpy(),
            to_raw.numpy(),
        )
        return to_values.view(points_shape), to_raw.mul_(scales).view(raw_shape), None, None, None


def plain_spline(
    values: torch.Tensor, raw: torch.Tensor, *, bound: float, scale: float = 1.0, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """`spline` by tensor operations, without branches: for a GPU."""
    bins = (raw.shape[-1] + 1) // 3
    widths, heights = _sizes(raw[..., :bins], scale), _sizes(raw[..., bins : 2 * bins], scale)
    ones = torch.ones_like(raw[..., :1])
    derivatives = torch.cat([ones, MIN_DERIVATIVE + functional.softplus(raw[..., 2 * bins :]), ones], dim=-1)
    inside = (values > -bound) & (values < bound)
    # points outside are replaced before, not masked after: no gradient can become 0 * infinity
    where = torch.where(inside, (values + bound) / (2 * bound), torch.full_like(values, 0.5)).unsqueeze(-1)
    xs, ys = _knots(widths), _knots(heights)
    inner = (ys if inverse else xs)[..., 1:-1].contiguous()
    k = torch.searchsorted(inner.detach(), where.detach().contiguous(), right=True)
    x, width, y, height, left, right = (
        part.gather(-1, place).squeeze(-1)
        for part, place in ((xs, k), (widths, k), (ys, k), (heights, k), (derivatives, k), (derivatives, k + 1))
    )
    where = where.squeeze(-1)
    s = height / width
    bend = left + right - 2 * s
    if inverse:
        rise = where - y
        a, b, c = rise * bend + height * (s - left), height * left - rise * bend, -s * rise
        t = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=1e-30).sqrt())
    else:
        t = (where - x) / width
    t = t.clamp(0.0, 1.0)
    u = 1 - t
    low = s + bend * t * u
    slope = torch.log(s * s * (right * t * t + 2 * s * t * u + left * u * u) / (low * low))
    found = x + t * width if inverse else y + height * t * (s * t + left * u) / low
    found = (2 * found - 1) * bound
    nothing = torch.zeros_like(slope)
    return torch.where(inside, found, values), torch.where(inside, -slope if inverse else slope, nothing)


def _sizes(raw: torch.Tensor, scale: float) -> torch.Tensor:
    return MIN_SIZE + (1 - raw.shape[-1] * MIN_SIZE) * torch.softmax(raw * scale, dim=-1)


def _knots(sizes: torch.Tensor) -> torch.Tensor:
    """Edges (..., K + 1) of bins; by a product with a triangle of ones, which unlike a GPU's `cumsum` gives the same bits again."""
    inner = sizes.shape[-1] - 1
    ends = sizes[..., :-1] @ torch.ones(inner, inner, dtype=sizes.dtype, device=sizes.device).triu()
    return torch.cat([torch.zeros_like(sizes[..., :1]), ends, torch.ones_like(sizes[..., :1])], dim=-1)
