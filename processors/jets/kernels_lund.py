"""The primary Lund plane in compiled loops: the splittings along the harder branch of a jet's tree."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.processors.jets.kernels_cluster import rapidity

__all__ = ("SPLITTING", "primary_splittings")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPLITTING = ("delta", "kt", "z", "psi", "m")
"""Columns of `primary_splittings`."""


@kernel
def _fill(harder: Floats, softer: Floats, pt_harder: float, pt_softer: float, out: Floats) -> None:
    """Coordinates of one splitting."""
    drap = rapidity(softer[0], softer[1], softer[2], softer[3]) - rapidity(harder[0], harder[1], harder[2], harder[3])
    dphi = math.atan2(softer[1], softer[0]) - math.atan2(harder[1], harder[0])
    if dphi > math.pi:
        dphi -= 2.0 * math.pi
    elif dphi < -math.pi:
        dphi += 2.0 * math.pi
    px, py, pz, energy = harder[0] + softer[0], harder[1] + softer[1], harder[2] + softer[2], harder[3] + softer[3]
    out[0] = math.sqrt(drap * drap + dphi * dphi)
    out[1] = pt_softer * out[0]
    out[2] = pt_softer / (pt_softer + pt_harder)
    out[3] = math.atan2(drap, dphi)
    out[4] = math.sqrt(max(0.0, (energy + pz) * (energy - pz) - px * px - py * py))


@kernel
def primary_splittings(history: Ints, p4: Floats, offsets: Ints) -> tuple[Floats, Ints]:
    """Splittings of every jet, the widest (last merger) first, and their offsets.

    Parameters
    ----------
    history, p4, offsets : Cambridge/Aachen trees of `kernels_grooming.trees`.

    Returns
    -------
    values : (splittings, 5) in the order of `SPLITTING`.
    bounds : (jets + 1,) first splitting of each jet.
    """
    jets = offsets.size - 1
    values, bounds = np.empty((offsets[-1], 5)), np.zeros(jets + 1, np.int64)
    at = 0
    for j in range(jets):
        n, base = offsets[j + 1] - offsets[j], 2 * offsets[j]
        row = 2 * n - 2
        while row >= n:
            harder, softer = history[base + row, 0], history[base + row, 1]
            one, two = p4[base + harder], p4[base + softer]
            pt_one, pt_two = math.sqrt(one[0] ** 2 + one[1] ** 2), math.sqrt(two[0] ** 2 + two[1] ** 2)
            if pt_two > pt_one:
                harder = softer
                _fill(two, one, pt_two, pt_one, values[at])
            else:
                _fill(one, two, pt_one, pt_two, values[at])
            row = harder
            at += 1
        bounds[j + 1] = at
    return values[:at].copy(), bounds
