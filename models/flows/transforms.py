"""The layers of a flow: nflows' masked-autoregressive and coupling transforms with the fused splines."""

from __future__ import annotations

from typing import cast

import torch
from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
from nflows.transforms.base import CompositeTransform, Transform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.permutations import Permutation
from torch import nn
from torch.nn import functional

from resonaut.models.flows.options import FlowOptions
from resonaut.models.flows.spline import IDENTITY_DERIVATIVE, spline

__all__ = ("AutoregressiveSplines", "CouplingSplines", "build_transform", "standard_normal")

_INITIAL = 0.01
"""Last weights of a network, relative to torch's own: layers begin near the identity, and differ from event to event."""


class AutoregressiveSplines(MaskedPiecewiseRationalQuadraticAutoregressiveTransform):  # type: ignore[misc]  # nflows has no types
    """Every feature through a spline that depends on the context and the features before it.

    Forward takes one pass of the network, the inverse one pass for each feature.
    """

    def __init__(self, features: int, context_features: int, options: FlowOptions) -> None:
        super().__init__(
            features=features,
            hidden_features=options.hidden,
            context_features=context_features or None,
            num_bins=options.bins,
            tails="linear",
            tail_bound=options.tail_bound,
            num_blocks=options.blocks,
        )
        self.features = features
        self.scale = options.hidden**-0.5
        if context_features:
            _let_context_reach_the_first(self.autoregressive_net, features)
        _start_near_identity(self.autoregressive_net.final_layer, self._output_dim_multiplier(), options.bins)

    def _elementwise(
        self, inputs: torch.Tensor, autoregressive_params: torch.Tensor, inverse: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raw = autoregressive_params.view(*inputs.shape, -1)
        values, slope = spline(inputs, raw, bound=self.tail_bound, scale=self.scale, inverse=inverse)
        return values, slope.sum(dim=-1)

    def inverse(self, inputs: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Points that `forward` maps to `inputs`, and ln |det|: only the feature that is due is computed in each pass."""
        columns: list[torch.Tensor] = []
        total = inputs.new_zeros(len(inputs))
        for place in range(self.features):
            known = [*columns, *[torch.zeros_like(inputs[:, 0])] * (self.features - place)]
            raw = self._raw_of(place, torch.stack(known, dim=1), context)
            values, slope = spline(inputs[:, place], raw, bound=self.tail_bound, scale=self.scale, inverse=True)
            columns.append(values)
            total = total + slope
        return torch.stack(columns, dim=1), total

    def _raw_of(self, place: int, known: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Raw parameters (n, 3 K - 1) of one feature's splines: the network with the last layer's rows for that feature."""
        network, last = self.autoregressive_net, self.autoregressive_net.final_layer
        hidden = network.initial_layer(known)
        if context is not None:
            hidden = hidden + network.activation(network.context_layer(context))
        for block in network.blocks:
            hidden = block(hidden, context)
        size = self._output_dim_multiplier()
        rows = slice(place * size, (place + 1) * size)
        return functional.linear(hidden, last.weight[rows] * last.mask[rows], last.bias[rows])


def _let_context_reach_the_first(network: nn.Module, features: int) -> None:
    """Hidden units of degree 0, which see the context and no feature.

    nflows begins at degree 1, so that the splines of the first feature, which may see nothing below that, do not depend on
    the context either.
    """
    linears = [network.initial_layer, *[linear for block in network.blocks for linear in block.linear_layers]]  # type: ignore[union-attr]
    before = torch.arange(1, features + 1)
    for linear in linears:
        degrees = torch.arange(linear.out_features) % features
        linear.mask, linear.degrees = (degrees[:, None] >= before).float(), degrees
        before = degrees
    last = network.final_layer
    last.mask = (last.degrees[:, None] > before).float()  # type: ignore[index, union-attr]


class CouplingSplines(PiecewiseRationalQuadraticCouplingTransform):  # type: ignore[misc]  # nflows has no types
    """The second half of the features through splines that depend on the context and the first half."""

    def __init__(self, features: int, context_features: int, options: FlowOptions) -> None:
        def network(inputs: int, outputs: int) -> nn.Module:
            return _ContextNet(inputs + context_features, outputs, options)

        mask = torch.arange(features) >= features // 2
        super().__init__(mask.int(), network, num_bins=options.bins, tails="linear", tail_bound=options.tail_bound)
        self.scale = options.hidden**-0.5
        _start_near_identity(self.transform_net.final_layer, self._transform_dim_multiplier(), options.bins)

    def _piecewise_cdf(
        self, inputs: torch.Tensor, transform_params: torch.Tensor, inverse: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return spline(inputs, transform_params, bound=self.tail_bound, scale=self.scale, inverse=inverse)


class _ContextNet(nn.Module):
    """nflows' residual network, with the context as more inputs: without the gates that double its cost."""

    def __init__(self, inputs: int, outputs: int, options: FlowOptions) -> None:
        from nflows.nn.nets.resnet import ResidualNet

        super().__init__()
        self.network = ResidualNet(inputs, outputs, options.hidden, num_blocks=options.blocks)
        self.final_layer = self.network.final_layer

    def forward(self, inputs: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self.network(torch.cat([inputs, context], dim=1)))


def _start_near_identity(last: nn.Linear, size: int, bins: int) -> None:
    """Equal widths and heights and derivatives of one, up to a little of each network's own."""
    with torch.no_grad():
        last.weight.mul_(_INITIAL)
        last.bias.zero_()
        last.bias.view(-1, size)[:, 2 * bins :] = IDENTITY_DERIVATIVE


def build_transform(features: int, context_features: int, options: FlowOptions, seed: int) -> Transform:
    """Composition of the layers, near the identity, on the CPU.

    Parameters
    ----------
    features, context_features
        Numbers of columns; without context only "autoregressive".
    options
        Kind, layers, hidden, blocks, bins and tail_bound are used.
    seed
        Of initial weights and permutations; the global generators of torch are left alone.
    """
    layer = AutoregressiveSplines if options.kind == "autoregressive" else CouplingSplines
    parts: list[Transform] = []
    order = torch.arange(features)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone, which the fork brings back
        for place in range(options.layers):
            if place:
                permutation = _permutation(features, reverse=place % 2 == 1)
                parts.append(Permutation(permutation))
                order = order[permutation]
            parts.append(layer(features, context_features, options))
    # columns as they came: a flow that begins as the identity, for maps from features to features
    parts.append(Permutation(torch.argsort(order)))
    return CompositeTransform(parts)


def _permutation(features: int, *, reverse: bool) -> torch.Tensor:
    """The reverse order, which nothing beats for two layers, in turn with a random one."""
    return torch.arange(features - 1, -1, -1) if reverse else torch.randperm(features)


def standard_normal(values: torch.Tensor) -> torch.Tensor:
    """Logarithm (n,) of the density of d independent standard normal numbers."""
    constant = 0.9189385332046727 * values.shape[1]  # d ln sqrt(2 pi)
    return -0.5 * values.square().sum(dim=1) - constant
