"""N-subjettiness in compiled loops: axes of exclusive clusterings, their minimisation, sums about them.

Constituents come flat, with `offsets` of each jet; every jet is independent. Axes of all N up to `MAX_AXES` come in one
array (jets, `AXES`, 2) of (rapidity, phi): those of N axes begin at `first_axis(N)`. They are NaN where a jet has fewer
than N particles.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel
from resonaut.processors.jets.kernels_cluster import BEAM, first_neighbours, merged, rapidity, settled, smallest

__all__ = ("AXES", "MAX_AXES", "exclusive_axes", "first_axis", "refined_axes", "tau_sums", "winner_axes")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERYWHERE = 1000.0  # a radius that no pair of particles exceeds: the beam never wins
MAX_AXES = 6
AXES = MAX_AXES * (MAX_AXES + 1) // 2


@kernel
def first_axis(n: int) -> int:
    """Where the axes of exactly `n` axes begin."""
    return n * (n - 1) // 2


@kernel
def _keep(left: int, axis_rap: Floats, axis_phi: Floats, out: Floats) -> None:
    """Copy the directions of the `left` first slots to where the axes of that number belong."""
    for k in range(left):
        out[first_axis(left) + k, 0] = axis_rap[k]
        out[first_axis(left) + k, 1] = axis_phi[k]


@kernel
def _winner_axes_of_jet(pt: Floats, rap: Floats, phi: Floats, power: float, out: Floats) -> None:
    n = left = pt.size
    axis_pt, axis_rap, axis_phi = pt.copy(), rap.copy(), phi.copy()
    scale = pt * pt if power == 1.0 else np.ones(n)
    far = EVERYWHERE * EVERYWHERE
    near, dist, dij, work = np.full(n, BEAM), np.full(n, far), np.empty(n), np.empty(n)
    first_neighbours(n, axis_rap, axis_phi, scale, near, dist, dij)
    a = smallest(dij, n)
    if left <= MAX_AXES:
        _keep(left, axis_rap, axis_phi, out)
    while left > 1:
        a = settled(a, left, axis_rap, axis_phi, scale, far, near, dist, dij, work)
        b = near[a]
        left -= 1
        keep, hole = min(a, b), max(a, b)
        if axis_pt[hole] > axis_pt[keep]:  # the winner gives its direction
            axis_rap[keep], axis_phi[keep] = axis_rap[hole], axis_phi[hole]
        axis_pt[keep] += axis_pt[hole]
        axis_pt[hole] = axis_pt[left]
        if power == 1.0:
            scale[keep] = axis_pt[keep] * axis_pt[keep]
        a = merged(keep, hole, left, axis_rap, axis_phi, scale, far, near, dist, dij, work)
        if left <= MAX_AXES:
            _keep(left, axis_rap, axis_phi, out)


@kernel
def winner_axes(pt: Floats, towards: Floats, offsets: Ints, power: float) -> Floats:
    """Axes of exclusive clustering with winner-take-all recombination: pT adds up, the direction is the harder one's.

    Larkoski, Neill, Thaler, arXiv:1401.2158.

    Parameters
    ----------
    pt : (n,) transverse momenta in GeV, jet after jet.
    towards : (n, 2) rapidities and angles.
    offsets : (jets + 1,) first constituent of each jet.
    power : 1 kT, 0 Cambridge/Aachen.

    Returns
    -------
    axes : (jets, `AXES`, 2).
    """
    jets = offsets.size - 1
    out = np.full((jets, AXES, 2), np.nan)
    rap, phi = towards[:, 0].copy(), towards[:, 1].copy()
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        if b > a:
            _winner_axes_of_jet(pt[a:b], rap[a:b], phi[a:b], power, out[j])
    return out


@kernel
def _direction(momentum: Floats, out: Floats) -> None:
    px, py, pz, energy = momentum
    out[0], out[1] = rapidity(px, py, pz, energy), math.atan2(py, px)


@kernel
def exclusive_axes(history: Ints, p4: Floats, offsets: Ints) -> Floats:
    """Axes of exclusive clustering with E-scheme recombination, from the jets' trees (`kernels_grooming.trees`).

    The N exclusive jets are what the last N - 1 mergers put together.

    Returns
    -------
    axes : (jets, `AXES`, 2).
    """
    jets = offsets.size - 1
    out = np.full((jets, AXES, 2), np.nan)
    for j in range(jets):
        n = offsets[j + 1] - offsets[j]
        base = 2 * offsets[j]
        for axes in range(1, min(n, MAX_AXES) + 1):
            end, at = 2 * n - axes, first_axis(axes)
            if axes == 1:
                _direction(p4[base + end - 1], out[j, at])
            for row in range(end, 2 * n - 1):
                for child in history[base + row]:
                    if child < end:
                        _direction(p4[base + child], out[j, at])
                        at += 1
    return out


@kernel
def _nearest(rap: float, phi: float, axes: Floats) -> tuple[int, float]:
    """Nearest axis of (N, 2) and the squared distance to it."""
    best, who = np.inf, 0
    for k in range(axes.shape[0]):
        drap, dphi = rap - axes[k, 0], math.pi - abs(math.pi - abs(phi - axes[k, 1]))
        d = drap * drap + dphi * dphi
        if d < best:
            best, who = d, k
    return who, best


@kernel
def _wrapped(angle: float) -> float:
    """An angle between -2 pi and 2 pi, brought to [-pi, pi]."""
    if angle > math.pi:
        return angle - 2.0 * math.pi
    if angle < -math.pi:
        return angle + 2.0 * math.pi
    return angle


@kernel
def _moved(pt: Floats, towards: Floats, axes: Floats, beta: float, accuracy: float, sums: Floats) -> float:
    """Move the axes (N, 2) one step towards the minimum; returns the largest squared step."""
    sums[:] = 0.0
    for i in range(pt.size):
        k, d = _nearest(towards[i, 0], towards[i, 1], axes)
        d += accuracy * accuracy
        weight = pt[i] if beta == 2.0 else pt[i] / math.sqrt(d) if beta == 1.0 else pt[i] * d ** (0.5 * beta - 1.0)
        sums[k, 0] += weight
        sums[k, 1] += weight * (towards[i, 0] - axes[k, 0])
        sums[k, 2] += weight * _wrapped(towards[i, 1] - axes[k, 1])
    largest = 0.0
    for k in range(axes.shape[0]):
        if sums[k, 0] > 0.0:
            drap, dphi = sums[k, 1] / sums[k, 0], sums[k, 2] / sums[k, 0]
            axes[k, 0] += drap
            axes[k, 1] = _wrapped(axes[k, 1] + dphi)
            largest = max(largest, drap * drap + dphi * dphi)
    return largest


@kernel
def refined_axes(
    pt: Floats, towards: Floats, offsets: Ints, seeds: Floats, n: int, beta: float, accuracy: float, steps: int
) -> Floats:
    """Axes of exactly `n` axes moved to the local minimum of tau_N next to the `seeds`.

    Each step gives every particle to its nearest axis and every axis the mean of its particles, weighted by
    pT dR^(beta - 2) (Lloyd's algorithm with Weiszfeld's weights; Thaler, Van Tilburg, arXiv:1108.2701, section 2.3).
    It converges for 1 <= beta < 3.

    Parameters
    ----------
    pt, towards, offsets : (n,) GeV, (n, 2) rapidities and angles, (jets + 1,) of the constituents.
    seeds : (jets, `AXES`, 2).
    n : number of axes.
    beta : exponent of the distance.
    accuracy : ends when no axis moves by more; also the distance at which the weights stop to grow.
    steps : most steps.

    Returns
    -------
    axes : (jets, `AXES`, 2), only those of `n` axes filled.
    """
    out = np.full(seeds.shape, np.nan)
    sums = np.empty((n, 3))
    at = first_axis(n)
    for j in range(offsets.size - 1):
        a, b = offsets[j], offsets[j + 1]
        out[j, at : at + n] = seeds[j, at : at + n]
        if b - a <= n:
            continue
        for _ in range(steps):
            step = _moved(pt[a:b], towards[a:b], out[j, at : at + n], beta, accuracy, sums)
            if step < accuracy * accuracy:
                break
    return out


@kernel
def tau_sums(pt: Floats, towards: Floats, offsets: Ints, axes: Floats, n: int, beta: float) -> Floats:
    """Sums over each jet's particles of pT dR^beta to the nearest of `n` axes, (jets,); 0 with no more than `n` particles.

    A jet without particles has NaN. Thaler, Van Tilburg, arXiv:1011.2268.
    """
    jets = offsets.size - 1
    out = np.zeros(jets)
    at = first_axis(n)
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        if b == a:
            out[j] = np.nan
        if b - a <= n:
            continue
        total = 0.0
        for i in range(a, b):
            best = np.inf
            for k in range(at, at + n):
                drap = towards[i, 0] - axes[j, k, 0]
                dphi = math.pi - abs(math.pi - abs(towards[i, 1] - axes[j, k, 1]))
                best = min(best, drap * drap + dphi * dphi)
            if beta == 1.0:
                total += pt[i] * math.sqrt(best)
            elif beta == 2.0:
                total += pt[i] * best
            else:
                total += pt[i] * best ** (0.5 * beta)
        out[j] = total
    return out
