"""The networks of the Deep Set VAE: one function for every object, sort pooling, and a decoder that gives a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from resonaut.models.counter import keys
from resonaut.models.deep_sets.chamfer import chamfer
from resonaut.models.deep_sets.pooling import fspool, position_basis
from resonaut.models.deep_sets.sets import ObjectBatch
from resonaut.models.gaussian import draw, kl_to_normal, standard_normal
from resonaut.models.stack import Layer, StackedMLP, StackGroup

__all__ = ("DeepSetNetwork", "SetDesign")

_NOISE_STREAM = 1 << 19
_VALIDATION_STEP = -1


@dataclass(frozen=True)
class SetDesign:
    """Shape of the networks.

    Parameters
    ----------
    continuous, kinds
        Columns of an object beside its kind, and the number of kinds (0: objects have none).
    hidden, latent, pieces
        Widths inside Phi, latent dimensions, and straight pieces of the pooling weights.
    decoder_hidden, outputs
        Widths inside the decoder, and objects that it gives.
    one_hot
        Give Phi each kind as an input of its own, and not as one number.
    raw_distance
        Measure distances in the units of the columns, and not in their standard deviations.
    """

    continuous: int
    kinds: int
    hidden: tuple[int, ...]
    latent: int
    pieces: int
    decoder_hidden: tuple[int, ...]
    outputs: int
    one_hot: bool
    raw_distance: bool

    @property
    def inputs(self) -> int:
        """Inputs of Phi."""
        return self.continuous + (0 if not self.kinds else self.kinds if self.one_hot else 1)

    @property
    def phi_layers(self) -> tuple[Layer, ...]:
        """Phi, up to mu and log-variance of each object."""
        return (*(Layer(width, "relu") for width in self.hidden), Layer(2 * self.latent))

    @property
    def decoder_layers(self) -> tuple[Layer, ...]:
        """Decoder: the coordinates and class logits of all objects come from one last hidden layer."""
        classes = self.kinds + 1 if self.kinds else 0
        width = self.outputs * (self.continuous + classes)
        return (*(Layer(each, "relu") for each in self.decoder_hidden), Layer(width))


class DeepSetNetwork(StackGroup):
    """K Deep Set VAEs of one shape.

    Parameters
    ----------
    design
        Their shape.
    seeds
        One per network.
    beta, kind_weight
        (K) weight of the divergence in the loss, and w of the class term. If beta is 1 for all there is no decoder.
    device
        Where they live.
    """

    def __init__(
        self,
        design: SetDesign,
        seeds: Sequence[int],
        beta: Sequence[float],
        kind_weight: Sequence[float],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.design = design
        parts = [np.random.SeedSequence(int(seed) % 2**64).generate_state(3, np.uint64) for seed in seeds]
        first, second, third = (column.tolist() for column in np.stack(parts, axis=1))
        self.phi = StackedMLP(design.inputs, design.phi_layers, first, init="torch")
        shape = (2 * design.latent, design.pieces + 1)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in second]
        self.pool = nn.Parameter(torch.stack(drawn))
        needed = any(each < 1 for each in beta)
        self.decoder = StackedMLP(design.latent, design.decoder_layers, third, init="torch") if needed else None
        self.register_buffer("seeds", torch.tensor([_signed(seed) for seed in first], dtype=torch.int64))
        self.register_buffer("beta", torch.tensor(list(beta), dtype=torch.float64))
        self.register_buffer("kind_weight", torch.tensor(list(kind_weight), dtype=torch.float64))
        self._bases: dict[int, torch.Tensor] = {}
        self.to(device)

    @torch.no_grad()
    def standardise_by(self, mean: torch.Tensor, spread: torch.Tensor) -> None:
        """Set the standardisation of Phi's inputs, (inputs,) each; distances are measured in it too."""
        self.phi.get_buffer("shift").copy_(mean)
        self.phi.get_buffer("scale").copy_(spread)

    def inputs_of(self, batch: ObjectBatch) -> torch.Tensor:
        """Phi's inputs (N, inputs)."""
        if batch.kind is None:
            return batch.x
        if not self.design.one_hot:
            return torch.cat([batch.x, batch.kind[:, None].to(batch.x.dtype)], dim=1)
        kinds = functional.one_hot(batch.kind - 1, self.design.kinds)
        return torch.cat([batch.x, kinds.to(batch.x.dtype)], dim=1)

    def encode(self, batch: ObjectBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance (K, events, latent); in double precision in evaluation, where they may be tiny."""
        values = self.phi(self.inputs_of(batch))
        pooled = fspool(
            batch.rectangle(values if self.training else values.double()),
            batch.counts,
            self.pool,
            self._basis(batch.largest),
        )
        return pooled[..., : self.design.latent], pooled[..., self.design.latent :]

    def losses(self, batch: ObjectBatch, step: int | None) -> torch.Tensor:
        """beta * KL + (1 - beta) * Chamfer (K, events).

        Parameters
        ----------
        batch
            Events.
        step
            Number of the noise of z; None takes z = mu.
        """
        mu, log_variance = self.encode(batch)
        kl = kl_to_normal(mu, log_variance)
        beta = self.get_buffer("beta")[:, None].to(kl.dtype)
        if self.decoder is None:
            return beta * kl
        noise = None
        if step is not None:
            key = keys(self.get_buffer("seeds"), _NOISE_STREAM, _VALIDATION_STEP if step < 0 else step)
            noise = standard_normal(key, mu.shape[1], self.design.latent).to(mu.dtype)
        decoded = self.decode(draw(mu, log_variance, noise).float())
        return beta * kl + (1 - beta) * self._chamfer(batch, decoded).to(kl.dtype)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Objects (K, events, outputs, coordinates + class logits) of latent points (K, events, latent)."""
        assert self.decoder is not None
        flat: torch.Tensor = self.decoder(z)
        return flat.view(len(self), z.shape[1], self.design.outputs, -1)

    def _chamfer(self, batch: ObjectBatch, decoded: torch.Tensor) -> torch.Tensor:
        size = self.design.continuous
        shift, scale = self.phi.get_buffer("shift")[..., :size], self.phi.get_buffer("scale")[..., :size]
        x = (batch.x - shift) / scale
        if self.design.raw_distance:
            x = x * scale
            decoded = torch.cat([decoded[..., :size] * scale[:, None], decoded[..., size:]], dim=-1)
        return chamfer(batch.padded(x), decoded, self.get_buffer("kind_weight"))

    def _basis(self, largest: int) -> torch.Tensor:
        """Table of pooling weights, for the largest event met so far."""
        known = max(self._bases, default=0)
        if largest > known:
            self._bases = {largest: position_basis(largest, self.design.pieces, device=self.device)}
            known = largest
        return self._bases[known]


def _signed(seed: int) -> int:
    return (int(seed) + 2**63) % 2**64 - 2**63
