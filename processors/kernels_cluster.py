"""Sequential recombination in compiled loops: anti-kT, Cambridge/Aachen and kT, E-scheme.

The family of generalised-kT algorithms merges the pair with the smallest

    d_ij = min(kT_i^2p, kT_j^2p) dR_ij^2 / R^2,        d_iB = kT_i^2p,

with p = -1 (anti-kT), 0 (Cambridge/Aachen) and 1 (kT), dR^2 = dy^2 + dphi^2. For the i that has the smaller kT^2p of
the closest pair, j is i's nearest neighbour in the plane (Cacciari and Salam, hep-ph/0512210), so that each particle
keeps only one neighbour: N^2 operations in all. Anti-kT: Cacciari, Salam, Soyez, arXiv:0802.1189.

Particles come flat, with `offsets` of each event (or jet); every event is independent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.processors.compiled import kernel

__all__ = (
    "all_neighbours",
    "cluster_events",
    "distance2",
    "four_vectors",
    "momenta_to_jets",
    "pair_measure",
    "rapidity",
    "recombine",
    "renew_neighbours",
    "smallest",
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TINY = 1e-300
FAR = 1e5  # rapidity of a particle along the beam, ordered by |pz|


@kernel
def rapidity(px: float, py: float, pz: float, energy: float) -> float:
    """Rapidity from the transverse mass, exact for boosted and for light particles alike."""
    kt2 = px * px + py * py
    if kt2 == 0.0 and energy == abs(pz):
        return math.copysign(FAR + abs(pz), pz)
    mass2 = max(0.0, (energy + pz) * (energy - pz) - kt2)
    along = energy + abs(pz)
    return math.copysign(0.5 * math.log(along * along / (kt2 + mass2)), pz)


@kernel
def four_vectors(pt: Floats, eta: Floats, phi: Floats, mass: Floats) -> Floats:
    """Cartesian momenta (n, 4) = (px, py, pz, E) of particles given by (pT, eta, phi, m)."""
    out = np.empty((pt.size, 4))
    for i in range(pt.size):
        out[i, 0] = pt[i] * math.cos(phi[i])
        out[i, 1] = pt[i] * math.sin(phi[i])
        out[i, 2] = pt[i] * math.sinh(eta[i])
        p = pt[i] * math.cosh(eta[i])
        out[i, 3] = math.sqrt(p * p + mass[i] * mass[i])
    return out


@kernel
def distance2(rap_a: float, phi_a: float, rap_b: float, phi_b: float) -> float:
    dphi = abs(phi_a - phi_b)
    if dphi > math.pi:
        dphi = 2.0 * math.pi - dphi
    drap = rap_a - rap_b
    return drap * drap + dphi * dphi


@kernel
def _set_direction(slot: int, p4: Floats, rap: Floats, phi: Floats, scale: Floats, power: float) -> None:
    px, py, pz, energy = p4[slot, 0], p4[slot, 1], p4[slot, 2], p4[slot, 3]
    rap[slot] = rapidity(px, py, pz, energy)
    phi[slot] = math.atan2(py, px)
    kt2 = max(px * px + py * py, TINY)
    if power == -1.0:
        scale[slot] = 1.0 / kt2
    elif power == 0.0:
        scale[slot] = 1.0
    elif power == 1.0:
        scale[slot] = kt2
    else:
        scale[slot] = kt2**power


@kernel
def _find_neighbour(i: int, n: int, rap: Floats, phi: Floats, r2: float, near: Ints, dist: Floats) -> None:
    """Nearest neighbour of `i` among the `n` first slots within radius^2 `r2`; -1 (the beam) if there is none."""
    best, who = r2, -1
    rap_i, phi_i = rap[i], phi[i]
    for j in range(n):
        d = distance2(rap_i, phi_i, rap[j], phi[j])
        if d < best and j != i:
            best, who = d, j
    near[i], dist[i] = who, best


@kernel
def all_neighbours(n: int, rap: Floats, phi: Floats, r2: float, near: Ints, dist: Floats) -> None:
    """Nearest neighbours of the `n` first slots, each pair looked at once."""
    for i in range(n):
        best, who = r2, -1
        rap_i, phi_i = rap[i], phi[i]
        for j in range(i):
            d = distance2(rap_i, phi_i, rap[j], phi[j])
            if d < best:
                best, who = d, j
            if d < dist[j]:
                dist[j], near[j] = d, i
        near[i], dist[i] = who, best


@kernel
def pair_measure(i: int, scale: Floats, near: Ints, dist: Floats) -> float:
    other = scale[i] if near[i] < 0 else scale[near[i]]
    return float(dist[i] * min(scale[i], other))


@kernel
def renew_neighbours(
    a: int, b: int, n: int, rap: Floats, phi: Floats, scale: Floats, r2: float, near: Ints, dist: Floats, dij: Floats
) -> None:
    """Bring neighbours up to date: slot `a` has changed (-1: it has gone), `b` was freed and filled from slot `n`."""
    for k in range(n):
        if near[k] == b or (a >= 0 and near[k] == a):
            _find_neighbour(k, n, rap, phi, r2, near, dist)
            dij[k] = pair_measure(k, scale, near, dist)
        elif near[k] == n:
            near[k] = b
        if a >= 0 and k != a:
            d = distance2(rap[k], phi[k], rap[a], phi[a])
            if d < dist[k]:
                dist[k], near[k] = d, a
                dij[k] = pair_measure(k, scale, near, dist)
    if a >= 0:
        _find_neighbour(a, n, rap, phi, r2, near, dist)
        dij[a] = pair_measure(a, scale, near, dist)


@kernel
def smallest(dij: Floats, n: int) -> int:
    best, who = dij[0], 0
    for k in range(1, n):
        if dij[k] < best:
            best, who = dij[k], k
    return who


@kernel
def recombine(particles: Floats, radius: float, power: float, history: Ints, p4: Floats) -> int:
    """Recombine the particles (n, 4) of one event until all have gone to the beam; returns the number of mergers.

    Fills the first 2n rows of `history` (., 2) and `p4` (., 4): rows below n are the particles (history -1, -1),
    each following row is a merger and holds its parents' rows; from the end backwards come the jets, (row, -2).
    """
    n = particles.shape[0]
    rap, phi, scale = np.empty(n), np.empty(n), np.empty(n)
    r2 = radius * radius
    dist, dij = np.full(n, r2), np.empty(n)
    near, node = np.full(n, -1), np.arange(n)
    live = particles.copy()
    for i in range(n):
        p4[i] = particles[i]
        history[i, 0] = history[i, 1] = -1
        _set_direction(i, live, rap, phi, scale, power)
    all_neighbours(n, rap, phi, r2, near, dist)
    for i in range(n):
        dij[i] = pair_measure(i, scale, near, dist)
    rows = n
    tail, left = 2 * n, n
    while left > 0:
        a = smallest(dij, left)
        b = near[a]
        left -= 1
        changed, hole = -1, a
        if b < 0:
            tail -= 1
            history[tail, 0], history[tail, 1] = node[a], -2
        else:
            history[rows, 0], history[rows, 1] = node[a], node[b]
            changed, hole = min(a, b), max(a, b)
            for x in range(4):
                live[changed, x] += live[hole, x]
                p4[rows, x] = live[changed, x]
            node[changed] = rows
            rows += 1
            _set_direction(changed, live, rap, phi, scale, power)
        rap[hole], phi[hole], scale[hole], node[hole] = rap[left], phi[left], scale[left], node[left]
        near[hole], dist[hole], dij[hole] = near[left], dist[left], dij[left]
        live[hole] = live[left]
        renew_neighbours(changed, hole, left, rap, phi, scale, r2, near, dist, dij)
    return int(rows - n)


@kernel
def _collect(root: int, n: int, history: Ints, stack: Ints, members: Ints, at: int) -> int:
    """Write the particles below row `root` from position `at` on; returns the position after the last."""
    top = 0
    stack[0] = root
    while top >= 0:
        row = stack[top]
        top -= 1
        if row < n:
            members[at] = row
            at += 1
        else:
            stack[top + 1], stack[top + 2] = history[row, 0], history[row, 1]
            top += 2
    return at


@kernel
def cluster_events(
    particles: Floats, offsets: Ints, radius: float, power: float, ptmin: float
) -> tuple[Floats, Ints, Ints, Ints]:
    """Inclusive jets of every event, ordered by falling pT.

    Parameters
    ----------
    particles : (n, 4) momenta (px, py, pz, E) in GeV, all events after one another, finite.
    offsets : (events + 1,) first particle of each event.
    radius : jet radius R.
    power : p of the generalised-kT distance: -1 anti-kT, 0 Cambridge/Aachen, 1 kT.
    ptmin : smallest jet pT in GeV.

    Returns
    -------
    jets : (jets, 4) momenta.
    jet_offsets : (events + 1,) first jet of each event.
    members : (m,) index into `particles` of the constituents, jet after jet, rising within a jet.
    member_offsets : (jets + 1,) first constituent of each jet.
    """
    total, events = particles.shape[0], offsets.size - 1
    jets, members = np.empty((total, 4)), np.empty(total, np.int64)
    jet_offsets, member_offsets = np.zeros(events + 1, np.int64), np.zeros(total + 1, np.int64)
    widest = 0
    for e in range(events):
        widest = max(widest, offsets[e + 1] - offsets[e])
    history, p4 = np.empty((2 * widest, 2), np.int64), np.empty((2 * widest, 4))
    stack, found, pt2 = np.empty(widest + 1, np.int64), np.empty(widest, np.int64), np.empty(widest)
    n_jets, n_members = 0, 0
    for e in range(events):
        first = offsets[e]
        n = offsets[e + 1] - first
        mergers = recombine(particles[first : first + n], radius, power, history, p4)
        kept = 0
        for k in range(n + mergers, 2 * n):
            row = history[k, 0]
            kt2 = p4[row, 0] ** 2 + p4[row, 1] ** 2
            if kt2 >= ptmin * ptmin:
                found[kept], pt2[kept] = row, -kt2
                kept += 1
        for k in np.argsort(pt2[:kept], kind="mergesort"):
            jets[n_jets] = p4[found[k]]
            end = _collect(found[k], n, history, stack, members, n_members)
            members[n_members:end].sort()
            members[n_members:end] += first
            n_jets, n_members = n_jets + 1, end
            member_offsets[n_jets] = end
        jet_offsets[e + 1] = n_jets
    return jets[:n_jets].copy(), jet_offsets, members[:n_members].copy(), member_offsets[: n_jets + 1].copy()


@kernel
def momenta_to_jets(momenta: Floats) -> Floats:
    """(pT, eta, phi, m) of momenta (n, 4) = (px, py, pz, E); the mass is 0 where rounding makes m^2 negative."""
    out = np.empty(momenta.shape)
    for i in range(momenta.shape[0]):
        px, py, pz, energy = momenta[i]
        pt = math.sqrt(px * px + py * py)
        out[i, 0], out[i, 2] = pt, math.atan2(py, px)
        out[i, 1] = math.asinh(pz / pt) if pt > 0.0 else math.copysign(FAR, pz)
        out[i, 3] = math.sqrt(max(0.0, (energy + pz) * (energy - pz) - pt * pt))
    return out
