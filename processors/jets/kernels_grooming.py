"""Reclustered jets in compiled loops: the tree of a jet, soft drop on it, the constituents that are left.

Constituents come flat, with `offsets` of each jet; every jet is independent. Trees of all jets lie in two arrays of 2n
rows: those of jet j begin at row 2 offsets[j] and are numbered from there, its particles first, then its mergers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.processors.jets.kernels_axes import EVERYWHERE
from resonaut.processors.jets.kernels_cluster import collect, rapidity, recombine

__all__ = ("GROOMED", "groomed_members", "soft_drop", "splitting", "trees")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GROOMED = ("row", "m", "pt", "zg", "rg", "dropped")
"""Columns of `soft_drop`."""


@kernel
def trees(particles: Floats, towards: Floats, offsets: Ints, power: float) -> tuple[Ints, Floats]:
    """Recluster each jet into one: (2n, 2) parents of each row and (2n, 4) momenta.

    `power` is that of the generalised-kT distance: 0 Cambridge/Aachen, 1 kT.
    """
    total = 2 * particles.shape[0]
    history, p4 = np.empty((total, 2), np.int64), np.empty((total, 4))
    for j in range(offsets.size - 1):
        a, b = offsets[j], offsets[j + 1]
        if b > a:
            rows = slice(2 * a, 2 * b)
            recombine(particles[a:b], towards[a:b], EVERYWHERE, power, history[rows], p4[rows])
    return history, p4


@kernel
def splitting(one: Floats, two: Floats) -> tuple[float, float, float]:
    """pT of the two branches and their distance in (rapidity, phi)."""
    pt_one, pt_two = math.sqrt(one[0] ** 2 + one[1] ** 2), math.sqrt(two[0] ** 2 + two[1] ** 2)
    drap = rapidity(one[0], one[1], one[2], one[3]) - rapidity(two[0], two[1], two[2], two[3])
    dphi = math.pi - abs(math.pi - abs(math.atan2(one[1], one[0]) - math.atan2(two[1], two[0])))
    return pt_one, pt_two, math.sqrt(drap * drap + dphi * dphi)


@kernel
def _groom(n: int, history: Ints, p4: Floats, zcut: float, beta: float, radius: float, out: Floats) -> None:
    """Follow the harder branch of one jet's tree until a splitting passes."""
    row, dropped = 2 * n - 2, 0
    out[3] = out[4] = 0.0
    while row >= n:
        one, two = history[row, 0], history[row, 1]
        pt_one = math.sqrt(p4[one, 0] ** 2 + p4[one, 1] ** 2)
        pt_two = math.sqrt(p4[two, 0] ** 2 + p4[two, 1] ** 2)
        cut = zcut
        if beta != 0.0:
            cut *= (splitting(p4[one], p4[two])[2] / radius) ** beta
        if min(pt_one, pt_two) > cut * (pt_one + pt_two):
            out[3] = min(pt_one, pt_two) / (pt_one + pt_two)
            out[4] = splitting(p4[one], p4[two])[2]
            break
        row = one if pt_one > pt_two else two
        dropped += 1
    px, py, pz, energy = p4[row]
    out[0], out[5] = row, dropped
    out[1] = math.sqrt(max(0.0, (energy + pz) * (energy - pz) - px * px - py * py))
    out[2] = math.sqrt(px * px + py * py)


@kernel
def soft_drop(history: Ints, p4: Floats, offsets: Ints, zcut: float, beta: float, radius: float) -> Floats:
    """Soft drop on Cambridge/Aachen trees: (jets, 6) in the order of `GROOMED`.

    The softer branch is dropped until min(pT1, pT2) > zcut (dR12 / R)^beta (pT1 + pT2) (Larkoski, Marzani, Soyez,
    Thaler, arXiv:1402.2657, eq. 1.1); with beta = 0 this is the modified mass-drop tagger without a mass condition
    (Dasgupta, Fregoso, Marzani, Salam, arXiv:1307.0007). A jet groomed down to one particle has zg = rg = 0 and that
    particle's mass; one without particles has NaN.

    Parameters
    ----------
    history, p4, offsets : of `trees`.
    zcut, beta : soft threshold and angular exponent.
    radius : R of the condition.
    """
    jets = offsets.size - 1
    out = np.full((jets, 6), np.nan)
    for j in range(jets):
        n, rows = offsets[j + 1] - offsets[j], slice(2 * offsets[j], 2 * offsets[j + 1])
        if n > 0:
            _groom(n, history[rows], p4[rows], zcut, beta, radius, out[j])
    return out


@kernel
def groomed_members(history: Ints, offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Particles below one row of each jet's tree, rising, and their offsets; `rows` < 0 gives none."""
    jets, total = offsets.size - 1, offsets[-1]
    members, bounds = np.empty(total, np.int64), np.zeros(jets + 1, np.int64)
    stack = np.empty(total + 1, np.int64)
    end = 0
    for j in range(jets):
        start, first = end, offsets[j]
        n = offsets[j + 1] - first
        if n > 0 and rows[j] >= 0:
            end = collect(rows[j], n, history[2 * first : 2 * (first + n)], stack, members, start)
            members[start:end].sort()
            members[start:end] += first
        bounds[j + 1] = end
    return members[:end].copy(), bounds
