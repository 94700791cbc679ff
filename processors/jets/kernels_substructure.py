"""Substructure of jets in compiled loops: N-subjettiness, soft drop, mass.

Constituents come flat, with `offsets` of each jet; every jet is independent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.processors.jets.kernels_cluster import BEAM, first_neighbours, merged, recombine, settled, smallest

__all__ = ("jet_masses", "n_subjettiness", "soft_drop_masses")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERYWHERE = 1000.0  # a radius that no pair of particles exceeds: the beam never wins
MAX_AXES = 4


@kernel
def invariant_mass(px: float, py: float, pz: float, energy: float) -> float:
    """Invariant mass, 0 where rounding makes m^2 negative."""
    return math.sqrt(max(0.0, (energy + pz) * (energy - pz) - px * px - py * py))


@kernel
def _tau(
    pt: Floats, rap: Floats, phi: Floats, axis_rap: Floats, axis_phi: Floats, axes: int, r2: float
) -> tuple[float, float]:
    """tau_N with beta = 1 and beta = 2 for the given axes."""
    one, two, norm = 0.0, 0.0, 0.0
    for i in range(pt.size):
        best = np.inf
        for k in range(axes):
            drap, dphi = rap[i] - axis_rap[k], math.pi - abs(math.pi - abs(phi[i] - axis_phi[k]))
            best = min(best, drap * drap + dphi * dphi)
        one += pt[i] * math.sqrt(best)
        two += pt[i] * best
        norm += pt[i]
    return one / (norm * math.sqrt(r2)), two / (norm * r2)


@kernel
def _taus_of_jet(pt: Floats, rap: Floats, phi: Floats, r2: float, out: Floats) -> None:
    """Fill `out` = tau1, tau2, tau3, tau4 (beta = 1), tau1 (beta = 2) of one jet; 0 with no more particles than axes."""
    out[:] = 0.0
    n = left = pt.size
    axis_pt, axis_rap, axis_phi, scale = pt.copy(), rap.copy(), phi.copy(), pt * pt
    far = EVERYWHERE * EVERYWHERE
    near, dist, dij, work = np.full(n, BEAM), np.full(n, far), np.empty(n), np.empty(n)
    first_neighbours(n, axis_rap, axis_phi, scale, near, dist, dij)
    a = smallest(dij, n)
    while left > 1:
        a = settled(a, left, axis_rap, axis_phi, scale, far, near, dist, dij, work)
        b = near[a]
        left -= 1
        keep, hole = min(a, b), max(a, b)
        if axis_pt[hole] > axis_pt[keep]:  # the winner gives its direction
            axis_rap[keep], axis_phi[keep] = axis_rap[hole], axis_phi[hole]
        axis_pt[keep] += axis_pt[hole]
        axis_pt[hole] = axis_pt[left]
        scale[keep] = axis_pt[keep] * axis_pt[keep]
        a = merged(keep, hole, left, axis_rap, axis_phi, scale, far, near, dist, dij, work)
        if left <= MAX_AXES:
            one, two = _tau(pt, rap, phi, axis_rap, axis_phi, left, r2)
            out[left - 1] = one
            if left == 1:
                out[MAX_AXES] = two


@kernel
def n_subjettiness(particles: Floats, towards: Floats, offsets: Ints, radius: float) -> Floats:
    """N-subjettiness of every jet: (jets, 5) = tau1, tau2, tau3, tau4 with beta = 1 and tau1 with beta = 2.

    Normalised measure, tau_N = sum_i pT_i min_k dR_ik^beta / sum_i pT_i R^beta (Thaler, Van Tilburg, arXiv:1011.2268),
    about the axes of exclusive kT clustering with winner-take-all recombination (pT adds up, the direction is the
    harder one's; Larkoski, Neill, Thaler, arXiv:1401.2158), without minimisation. A jet with no more than N
    particles has tau_N = 0, one without particles has NaN.

    Parameters
    ----------
    particles : (n, 4) constituents (px, py, pz, E) in GeV, jet after jet.
    towards : (n, 2) their rapidities and angles.
    offsets : (jets + 1,) first constituent of each jet.
    radius : R0 of the measure.
    """
    jets = offsets.size - 1
    out = np.full((jets, MAX_AXES + 1), np.nan)
    pt = np.sqrt(particles[:, 0] ** 2 + particles[:, 1] ** 2)
    rap, phi = towards[:, 0].copy(), towards[:, 1].copy()
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        if b > a:
            _taus_of_jet(pt[a:b], rap[a:b], phi[a:b], radius * radius, out[j])
    return out


@kernel
def _groomed_row(root: int, n: int, history: Ints, p4: Floats, zcut: float) -> int:
    """Follow the harder branch until both prongs share the pT; -1 if no splitting does."""
    row = root
    while row >= n:
        one, two = history[row, 0], history[row, 1]
        pt_one = math.sqrt(p4[one, 0] ** 2 + p4[one, 1] ** 2)
        pt_two = math.sqrt(p4[two, 0] ** 2 + p4[two, 1] ** 2)
        if min(pt_one, pt_two) > zcut * (pt_one + pt_two):
            return row
        row = one if pt_one > pt_two else two
    return row


@kernel
def soft_drop_masses(particles: Floats, towards: Floats, offsets: Ints, zcut: float) -> Floats:
    """Soft-drop mass of every jet with beta = 0 (the modified mass-drop tagger), in GeV.

    The jet is reclustered with Cambridge/Aachen and the softer branch is dropped until
    min(pT_1, pT_2) > zcut (pT_1 + pT_2) (Larkoski, Marzani, Soyez, Thaler, arXiv:1402.2657, eq. 1.1).
    A jet groomed down to one particle has that particle's mass, one without particles has NaN.

    Parameters
    ----------
    particles : (n, 4) constituents (px, py, pz, E) in GeV, jet after jet.
    towards : (n, 2) their rapidities and angles.
    offsets : (jets + 1,) first constituent of each jet.
    zcut : smallest momentum fraction of the softer prong.
    """
    jets = offsets.size - 1
    widest = 0
    for j in range(jets):
        widest = max(widest, offsets[j + 1] - offsets[j])
    history, p4 = np.empty((2 * widest, 2), np.int64), np.empty((2 * widest, 4))
    out = np.full(jets, np.nan)
    for j in range(jets):
        n = offsets[j + 1] - offsets[j]
        if n == 0:
            continue
        a, b = offsets[j], offsets[j + 1]
        mergers = recombine(particles[a:b], towards[a:b], EVERYWHERE, 0.0, history, p4)
        row = _groomed_row(n + mergers - 1, n, history, p4, zcut)
        out[j] = invariant_mass(p4[row, 0], p4[row, 1], p4[row, 2], p4[row, 3])
    return out


@kernel
def jet_masses(jets: Floats) -> Floats:
    """Invariant masses in GeV of momenta (n, 4) = (px, py, pz, E)."""
    out = np.empty(jets.shape[0])
    for j in range(jets.shape[0]):
        out[j] = invariant_mass(jets[j, 0], jets[j, 1], jets[j, 2], jets[j, 3])
    return out
