"""Compiled loops of the fast detector simulation: calorimeter cells, and cells combined with tracks.

Random numbers are drawn outside and come as arrays, so that a kernel has no state of its own.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = ("ECAL", "HCAL", "MISSED", "TRACK_ONLY", "cell_resolution", "combine", "smear")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TRACK_ONLY, ECAL, HCAL, MISSED = 0, 1, 2, 3
"""Where a particle leaves its energy."""


@kernel
def smear(mean: float, sigma: float, normal: float) -> float:
    """Log-normal number of that mean and standard deviation, from a standard normal one: never negative, never biased."""
    if mean <= 0.0 or sigma <= 0.0:
        return mean
    width2 = math.log1p((sigma / mean) ** 2)
    return mean * math.exp(math.sqrt(width2) * normal - 0.5 * width2)


@kernel
def cell_resolution(energy: float, stochastic: float, constant: float) -> float:
    """Standard deviation [GeV] of a cell's energy: stochastic sqrt(E) and constant E, in quadrature."""
    return math.sqrt(stochastic * stochastic * energy + constant * constant * energy * energy)


@kernel
def _cell_keys(eta: Floats, phi: Floats, where: Ints, sizes: Floats, eta_max: float) -> Ints:
    """Number of each particle's cell, unique over both calorimeters; -1 where it reaches none."""
    keys = np.full(eta.size, -1, np.int64)
    columns = np.array([round(2.0 * math.pi / sizes[0]), round(2.0 * math.pi / sizes[1])])
    rows = np.array([math.ceil(2.0 * eta_max / sizes[0]), math.ceil(2.0 * eta_max / sizes[1])])
    first = np.array([0, rows[0] * columns[0]])
    for i in range(eta.size):
        if where[i] == 1 or where[i] == 2:
            c = where[i] - 1
            row = int((eta[i] + eta_max) / sizes[c])
            column = int((phi[i] + math.pi) / (2.0 * math.pi) * columns[c]) % columns[c]
            keys[i] = first[c] + min(row, rows[c] - 1) * columns[c] + column
    return keys


@kernel
def _cell_place(eta: float, phi: float, size: float, eta_max: float, u: float, v: float) -> tuple[float, float]:
    """A direction drawn evenly from the cell that holds (eta, phi)."""
    columns = round(2.0 * math.pi / size)
    row = int((eta + eta_max) / size)
    column = int((phi + math.pi) / (2.0 * math.pi) * columns) % columns
    return -eta_max + (row + u) * size, -math.pi + (column + v) * 2.0 * math.pi / columns


@kernel
def _read_out(
    true: float,
    tracks: float,
    variance: float,
    resolution: Floats,
    threshold: float,
    significance: float,
    normal: float,
) -> tuple[float, float]:
    """A cell beside the tracks that point to it: energy of its neutral candidate (0: none), and the factor of its tracks."""
    cell = smear(true, cell_resolution(true, resolution[0], resolution[1]), normal)
    if cell < threshold:
        cell = 0.0
    sigma = cell_resolution(max(cell, tracks), resolution[0], resolution[1])
    excess = cell - tracks
    if excess > threshold and excess > significance * math.sqrt(sigma * sigma + variance):
        return excess, 1.0
    if tracks > 0.0 and cell > 0.0 and variance > 0.0 and sigma > 0.0:
        weight = sigma * sigma / (sigma * sigma + variance)
        return 0.0, (weight * tracks + (1.0 - weight) * cell) / tracks
    return 0.0, 1.0


@kernel
def combine(
    eta: Floats,
    phi: Floats,
    energy: Floats,
    where: Ints,
    track: Floats,
    track_sigma: Floats,
    offsets: Ints,
    normals: Floats,
    uniforms: Floats,
    sizes: Floats,
    resolution: Floats,
    thresholds: Floats,
    significance: float,
    eta_max: float,
) -> tuple[Floats, Ints]:
    """Particle-flow candidates of every event.

    In each cell the measured energy is compared with that of the tracks that point to it. A significant excess becomes a
    neutral candidate in the cell; else tracks and cell are two measurements of one energy, and the tracks are scaled to
    their weighted mean.

    Parameters
    ----------
    eta, phi, energy : (n,) of the true particles; |eta| < eta_max.
    where : (n,) `TRACK_ONLY`, `ECAL`, `HCAL` or `MISSED`.
    track, track_sigma : (n,) measured energy of the particle's track and its standard deviation; 0 where there is none.
    offsets : (events + 1,) first particle of each event.
    normals, uniforms : (n,), (n, 2) random numbers; a cell uses those of its first particle.
    sizes : (2,) cell sizes of ECAL and HCAL; resolution : (2, 2) their stochastic and constant terms; thresholds : (2,) GeV.
    significance : excess in standard deviations that makes a neutral candidate.

    Returns
    -------
    ((m, 3) energy, eta, phi of the candidates; (events + 1,) first candidate of each event).
    """
    out = np.empty((2 * eta.size, 3))
    bounds = np.zeros(offsets.size, np.int64)
    keys = _cell_keys(eta, phi, where, sizes, eta_max)
    n = 0
    for event in range(offsets.size - 1):
        first, last = offsets[event], offsets[event + 1]
        order = first + np.argsort(keys[first:last], kind="mergesort")
        i = 0
        while i < order.size:
            p = order[i]
            j, true, tracks, variance, scale = i, 0.0, 0.0, 0.0, 1.0
            while j < order.size and keys[order[j]] == keys[p]:
                q = order[j]
                true += energy[q]
                tracks += track[q]
                variance += track_sigma[q] ** 2
                j += 1
            if keys[p] >= 0:
                c = where[p] - 1
                excess, scale = _read_out(
                    true, tracks, variance, resolution[c], thresholds[c], significance, normals[p]
                )
                if excess > 0.0:
                    u, v = _cell_place(eta[p], phi[p], sizes[c], eta_max, uniforms[p, 0], uniforms[p, 1])
                    out[n] = excess, u, v
                    n += 1
            for k in range(i, j):  # the particles of a cell, or all that reach none, as their tracks
                q = order[k]
                if track[q] > 0.0:
                    out[n] = scale * track[q], eta[q], phi[q]
                    n += 1
            i = j
        bounds[event + 1] = n
    return out[:n], bounds
