"""What variational autoencoders share: noise that belongs to a network, the reparametrised draw and the divergence."""

from __future__ import annotations

import torch

from resonaut.models.counter import hashed

__all__ = ("draw", "kl_to_normal", "standard_normal")

_LARGEST = {torch.float32: 80.0, torch.float64: 700.0}  # exp of it is still a number


def standard_normal(key: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Normal numbers (K, rows, columns), float32, that depend on key and position alone.

    Parameters
    ----------
    key
        (K,) from `resonaut.models.counter.keys`, one per network.
    rows, columns
        Size. Row i holds the same values however many rows there are.

    Notes
    -----
    The inverse of the normal distribution at the upper 53 bits of a hash, in double precision: no value beyond 8.3.
    """
    bits = (hashed(key, rows * columns) >> 11) & ((1 << 53) - 1)
    uniform = (bits.double() + 0.5) / 2.0**53
    normal: torch.Tensor = torch.special.ndtri(uniform)
    return normal.float().view(len(key), rows, columns)


def draw(mu: torch.Tensor, log_variance: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    """mu + exp(log_variance / 2) * noise (Kingma, Welling, arXiv:1312.6114); mu where there is no noise."""
    return mu if noise is None else torch.addcmul(mu, torch.exp(log_variance / 2), noise)


def kl_to_normal(mu: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Divergence of N(mu, exp(log_variance)) from N(0, 1), summed over the last axis, in nats.

    Written with expm1: near the prior, where the divergence of a trained encoder lies, the plain form loses its digits. The
    exponential is cut off where it would overflow, so that a far-off event has a large score and not an infinite one.
    """
    limit = _LARGEST.get(log_variance.dtype, 80.0)
    excess = torch.expm1(log_variance.clamp(max=limit)) - log_variance
    return (mu.square() + excess).sum(dim=-1) / 2
