"""Ranks of objects inside their events and distances between them, compiled."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = ("close_to_others", "ranks_in_groups")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@kernel
def ranks_in_groups(offsets: Ints, group: Ints, pt: Floats) -> Ints:
    """Place of each object by falling pT among those of its event and group, from 0; equal pT in their order.

    Objects of a negative group get -1. Events have few objects, so that comparing all pairs beats a sort.
    """
    out = np.full(pt.size, -1, np.int64)
    for event in range(offsets.size - 1):
        for i in range(offsets[event], offsets[event + 1]):
            if group[i] < 0:
                continue
            rank = 0
            for k in range(offsets[event], offsets[event + 1]):
                if group[k] == group[i] and (pt[k] > pt[i] or (pt[k] == pt[i] and k < i)):
                    rank += 1
            out[i] = rank
    return out


@kernel
def close_to_others(offsets: Ints, group: Ints, eta: Floats, phi: Floats, radius: float) -> Bools:
    """Which objects of group 0 have one of group 1 in their event nearer than `radius` in eta and phi."""
    out = np.zeros(eta.size, np.bool_)
    for event in range(offsets.size - 1):
        for i in range(offsets[event], offsets[event + 1]):
            if group[i] != 0:
                continue
            for k in range(offsets[event], offsets[event + 1]):
                if group[k] == 1:
                    deta = eta[i] - eta[k]
                    dphi = (phi[i] - phi[k] + math.pi) % (2.0 * math.pi) - math.pi
                    if deta * deta + dphi * dphi < radius * radius:
                        out[i] = True
    return out
