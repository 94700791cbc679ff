"""The modified Chamfer loss between the objects of an event and those that a decoder gives, many events at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ("PaddedObjects", "chamfer")


@dataclass(frozen=True)
class PaddedObjects:
    """Objects of events as a rectangle, those that are there first.

    Parameters
    ----------
    x
        (events, M, d), or (K, events, M, d) where networks standardise differently.
    kind
        (events, M) whole numbers, 0 in absent places; None where objects have no kind.
    counts
        (events,) objects of each event, at least 1.
    """

    x: torch.Tensor
    kind: torch.Tensor | None
    counts: torch.Tensor

    @property
    def absent(self) -> torch.Tensor:
        """Places (events, M) without an object."""
        return torch.arange(self.x.shape[-2], device=self.x.device) >= self.counts[:, None]


def chamfer(objects: PaddedObjects, decoded: torch.Tensor, kind_weight: torch.Tensor) -> torch.Tensor:
    """Loss (K, events): distance to the nearest, both ways, and -log of the probability of the nearest one's kind.

    Parameters
    ----------
    objects
        What went in.
    decoded
        (K, events, P, d + classes): coordinates and class logits of P objects; no logits where objects have no kind.
    kind_weight
        (K,) weight w of the class term.

    Notes
    -----
    Eq. 5 of "Deep Set Auto Encoders for Anomaly Detection in Particle Physics" (arXiv:2109.01695), with the sign that makes the
    class term a loss: it falls as the probability rises. Which pairs are nearest is decided without gradient, for all pairs at
    once; distances and classes are then computed for those pairs alone. Pairs are picked by a matrix product, whose
    gradient is summed in one order on every device.
    """
    size = objects.x.shape[-1]
    absent = objects.absent
    x = objects.x.expand(len(decoded), *objects.x.shape[-3:])
    with torch.no_grad():
        apart = _squared_distances(x, decoded[..., :size])
        nearest_out = apart.argmin(dim=3)
        nearest_in = apart.masked_fill_(absent[:, :, None], torch.inf).argmin(dim=2)
    logits = decoded[..., size:]
    outputs = decoded if objects.kind is None else torch.cat([decoded[..., :size], logits.log_softmax(dim=-1)], dim=-1)
    picked = torch.nn.functional.one_hot(nearest_out, decoded.shape[2]).to(decoded.dtype) @ outputs
    partner = torch.gather(x, 2, nearest_in[..., None].expand(*nearest_in.shape, size))
    to_output = _norm(x - picked[..., :size])
    to_input = _norm(partner - outputs[..., :size])
    if objects.kind is not None:
        w = kind_weight.to(decoded.dtype)[:, None, None]
        kind = objects.kind.expand(len(decoded), *objects.kind.shape)
        to_output = to_output - w * _at(picked[..., size:], kind)
        to_input = to_input - w * _at(outputs[..., size:], torch.gather(kind, 2, nearest_in))
    return to_output.masked_fill(absent, 0.0).sum(dim=2) + to_input.sum(dim=2)


def _squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(K, events, M, P), coordinate by coordinate: the differences of all coordinates at once would not stay in a cache."""
    total = x.new_zeros(*x.shape[:3], y.shape[2])
    for a, b in zip(x.unbind(-1), y.unbind(-1), strict=True):
        total.add_((a[..., :, None] - b[..., None, :]).square_())
    return total


def _norm(difference: torch.Tensor) -> torch.Tensor:
    """Euclidean length, with gradient 0 and not NaN where it is 0."""
    length: torch.Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return length


def _at(log_probability: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    return torch.gather(log_probability, -1, kind[..., None]).squeeze(-1)
