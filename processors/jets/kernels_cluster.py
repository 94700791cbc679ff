"""Sequential recombination in compiled loops: anti-kT, Cambridge/Aachen and kT, E-scheme.

The family of generalised-kT algorithms merges the pair with the smallest

    d_ij = min(kT_i^2p, kT_j^2p) dR_ij^2 / R^2,        d_iB = kT_i^2p,

with p = -1 (anti-kT), 0 (Cambridge/Aachen) and 1 (kT), dR^2 = dy^2 + dphi^2. For the i that has the smaller kT^2p of
the closest pair, j is i's nearest neighbour in the plane (Cacciari and Salam, hep-ph/0512210), so that each particle
keeps only one neighbour: N^2 operations in all. As d_ij is met from the side of the i with the smaller kT^2p, each
slot's own dR^2 kT^2p is enough to find the smallest. When a neighbour goes, the known distance stays a lower bound:
the new one is only looked for if that bound comes first. Anti-kT: Cacciari, Salam, Soyez, arXiv:0802.1189.

Particles come flat, with `offsets` of each event (or jet); every event is independent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = (
    "cluster_events",
    "collect",
    "directions",
    "first_neighbours",
    "four_vectors",
    "merged",
    "momenta_to_jets",
    "rapidity",
    "recombine",
    "settled",
    "smallest",
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TINY = 1e-300
FAR = 1e5  # rapidity of a particle along the beam, ordered by |pz|
BEAM, LOST = -1, -2  # in place of a neighbour: none within the radius; not known any more


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
def directions(momenta: Floats) -> Floats:
    """(rapidity, phi) of momenta (n, 4) = (px, py, pz, E)."""
    out = np.empty((momenta.shape[0], 2))
    for i in range(momenta.shape[0]):
        px, py, pz, energy = momenta[i]
        out[i, 0] = rapidity(px, py, pz, energy)
        out[i, 1] = math.atan2(py, px)
    return out


@kernel
def _scale(momentum: Floats, power: float) -> float:
    """kT^2p."""
    kt2 = max(momentum[0] * momentum[0] + momentum[1] * momentum[1], TINY)
    if power == -1.0:
        return float(1.0 / kt2)
    if power == 0.0:
        return 1.0
    if power == 1.0:
        return float(kt2)
    return float(kt2**power)


@kernel
def first_neighbours(n: int, rap: Floats, phi: Floats, scale: Floats, near: Ints, dist: Floats, dij: Floats) -> None:
    """Nearest neighbours of the `n` first slots; `dist` must come filled with the squared radius, `near` with BEAM."""
    for i in range(n):
        best, who = dist[i], near[i]
        rap_i, phi_i = rap[i], phi[i]
        for j in range(i):
            drap, dphi = rap_i - rap[j], math.pi - abs(math.pi - abs(phi_i - phi[j]))
            d = drap * drap + dphi * dphi
            if d < best:
                best, who = d, j
            if d < dist[j]:
                dist[j], near[j] = d, i
        near[i], dist[i] = who, best
    for i in range(n):
        dij[i] = dist[i] * scale[i]


@kernel
def _distances(a: int, n: int, rap: Floats, phi: Floats, out: Floats) -> None:
    """Squared distances of the `n` first slots to slot `a`; no branches, so that it becomes vector instructions."""
    rap_a, phi_a = rap[a], phi[a]
    for k in range(n):
        drap, dphi = rap_a - rap[k], math.pi - abs(math.pi - abs(phi_a - phi[k]))
        out[k] = drap * drap + dphi * dphi


@kernel
def smallest(dij: Floats, n: int) -> int:
    """Slot with the smallest value among the `n` first."""
    best, who = dij[0], 0
    for k in range(1, n):
        if dij[k] < best:
            best, who = dij[k], k
    return who


@kernel
def settled(
    guess: int,
    n: int,
    rap: Floats,
    phi: Floats,
    scale: Floats,
    r2: float,
    near: Ints,
    dist: Floats,
    dij: Floats,
    work: Floats,
) -> int:
    """Slot with the smallest distance, starting from the `guess` by known bounds, once its neighbour is known too."""
    a = guess
    while near[a] == LOST:
        _distances(a, n, rap, phi, work)
        work[a] = np.inf
        nearest, who = r2, BEAM
        for k in range(n):
            if work[k] < nearest:
                nearest, who = work[k], k
        near[a], dist[a], dij[a] = who, nearest, nearest * scale[a]
        a = smallest(dij, n)
    return a


@kernel
def drop(hole: int, n: int, rap: Floats, phi: Floats, scale: Floats, near: Ints, dist: Floats, dij: Floats) -> int:
    """Free slot `hole`, move the last one, `n`, there, and return the slot with the smallest distance."""
    rap[hole], phi[hole], scale[hole] = rap[n], phi[n], scale[n]
    near[hole], dist[hole], dij[hole] = near[n], dist[n], dij[n]
    for k in range(n):
        if near[k] == hole:
            near[k] = LOST
        elif near[k] == n:
            near[k] = hole
    return smallest(dij, n)


@kernel
def merged(
    a: int,
    hole: int,
    n: int,
    rap: Floats,
    phi: Floats,
    scale: Floats,
    r2: float,
    near: Ints,
    dist: Floats,
    dij: Floats,
    work: Floats,
) -> int:
    """Free slot `hole`, merged into `a`, which has its new direction, and return the slot with the smallest distance."""
    rap[hole], phi[hole], scale[hole] = rap[n], phi[n], scale[n]
    near[hole], dist[hole], dij[hole] = near[n], dist[n], dij[n]
    _distances(a, n, rap, phi, work)
    work[a] = np.inf
    dij[a] = np.inf
    nearest, neighbour = r2, BEAM
    best, first = np.inf, a
    for k in range(n):
        d = work[k]
        if d < nearest:
            nearest, neighbour = d, k
        if d <= dist[k] and d < r2:
            near[k], dist[k], dij[k] = a, d, d * scale[k]
        elif near[k] in (a, hole):
            near[k] = LOST
        elif near[k] == n:
            near[k] = hole
        if dij[k] < best:
            best, first = dij[k], k
    near[a], dist[a], dij[a] = neighbour, nearest, nearest * scale[a]
    return a if dij[a] < best else first


@kernel
def recombine(particles: Floats, towards: Floats, radius: float, power: float, history: Ints, p4: Floats) -> int:
    """Recombine the particles (n, 4) of one event until all have gone to the beam; returns the number of mergers.

    `towards` (n, 2) are their rapidities and angles. Fills the first 2n rows of `history` (., 2) and `p4` (., 4): rows
    below n are the particles (history -1, -1), each following row is a merger and holds its parents' rows; from the
    end backwards come the jets, (row, -2).
    """
    n = particles.shape[0]
    rap, phi, scale, dij, work = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    r2 = radius * radius
    dist, near, node = np.full(n, r2), np.full(n, BEAM), np.arange(n)
    for i in range(n):
        history[i, 0] = history[i, 1] = -1
        rap[i], phi[i], scale[i] = towards[i, 0], towards[i, 1], _scale(particles[i], power)
        for x in range(4):
            p4[i, x] = particles[i, x]
    first_neighbours(n, rap, phi, scale, near, dist, dij)
    rows = n
    tail, left = 2 * n, n
    a = smallest(dij, n) if n else 0
    while left > 0:
        a = settled(a, left, rap, phi, scale, r2, near, dist, dij, work)
        b = near[a]
        left -= 1
        if b == BEAM:
            tail -= 1
            history[tail, 0], history[tail, 1] = node[a], -2
            node[a] = node[left]
            a = drop(a, left, rap, phi, scale, near, dist, dij)
            continue
        keep, hole = min(a, b), max(a, b)
        history[rows, 0], history[rows, 1] = node[a], node[b]
        for x in range(4):
            p4[rows, x] = p4[node[a], x] + p4[node[b], x]
        node[hole] = node[left]
        node[keep] = rows
        rap[keep] = rapidity(p4[rows, 0], p4[rows, 1], p4[rows, 2], p4[rows, 3])
        phi[keep] = math.atan2(p4[rows, 1], p4[rows, 0])
        scale[keep] = _scale(p4[rows], power)
        rows += 1
        a = merged(keep, hole, left, rap, phi, scale, r2, near, dist, dij, work)
    return int(rows - n)


@kernel
def collect(root: int, n: int, history: Ints, stack: Ints, members: Ints, at: int) -> int:
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
    particles: Floats, towards: Floats, offsets: Ints, radius: float, power: float, ptmin: float
) -> tuple[Floats, Ints, Ints, Ints]:
    """Inclusive jets of every event, ordered by falling pT.

    Parameters
    ----------
    particles, towards : (n, 4) finite momenta (px, py, pz, E) in GeV, event after event, and their `directions`.
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
        mergers = recombine(particles[first : first + n], towards[first : first + n], radius, power, history, p4)
        kept = 0
        for k in range(n + mergers, 2 * n):
            row = history[k, 0]
            kt2 = p4[row, 0] ** 2 + p4[row, 1] ** 2
            if kt2 >= ptmin * ptmin:
                found[kept], pt2[kept] = row, -kt2
                kept += 1
        for k in np.argsort(pt2[:kept], kind="mergesort"):
            jets[n_jets] = p4[found[k]]
            end = collect(found[k], n, history, stack, members, n_members)
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
