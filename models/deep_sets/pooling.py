"""Featurewise sort pooling: a set of objects of any size becomes a vector, whatever the order of the objects."""

from __future__ import annotations

import torch

__all__ = ("fspool", "position_basis")


def position_basis(largest: int, pieces: int, *, device: torch.device | str = "cpu") -> torch.Tensor:
    """Hat functions of the relative position in a set, for sets of every size.

    Parameters
    ----------
    largest
        Size of the largest set, at least 1.
    pieces
        Straight pieces of the weight as a function of the position.
    device
        Where the table lives.

    Returns
    -------
    torch.Tensor
        (largest + 1, largest, pieces + 1): entry [n, j, k] is max(0, 1 - \\|pieces * j / (n - 1) - k\\|), the share of knot k in
        the weight of the j-th largest (from 0) of n values; 0 for j >= n. A single value has position 0.
    """
    size = torch.arange(largest + 1, device=device)[:, None]
    place = torch.arange(largest, device=device)[None, :]
    position = place / (size - 1).clamp(min=1)
    knots = torch.arange(pieces + 1, device=device)
    hats = (1 - (pieces * position[..., None] - knots).abs()).clamp(min=0)
    return hats * (place < size)[..., None]


def fspool(values: torch.Tensor, counts: torch.Tensor, weights: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sort each feature along the set and sum it with learnt weights that depend on the relative position.

    Parameters
    ----------
    values
        (K, events, M, C) features of up to M objects; what stands in absent places (from `counts` on) is not read.
    counts
        (events,) objects of each event.
    weights
        (K, C, pieces + 1) value of each feature's weight at the knots, linear in between.
    basis
        `position_basis` for at least M objects.

    Returns
    -------
    torch.Tensor
        (K, events, C).

    References
    ----------
    Zhang, Hare, Prugel-Bennett, "FSPool: Learning Set Representations with Featurewise Sort Pooling", arXiv:1906.02795,
    section 3 (weights as a piecewise linear function for sets of any size).
    """
    networks, events, places, channels = values.shape
    absent = torch.arange(places, device=values.device) >= counts[:, None]
    columns = values.transpose(2, 3).masked_fill(absent[:, None, :], -torch.inf)
    ordered = columns.contiguous().sort(dim=-1, descending=True).values.masked_fill(absent[:, None, :], 0.0)
    shares = basis[counts, :places].to(values.dtype)  # (events, M, pieces + 1), the same for all networks
    shared = torch.matmul(ordered.view(networks, events, channels, places), shares)
    return (shared * weights[:, None].to(values.dtype)).sum(dim=-1)
