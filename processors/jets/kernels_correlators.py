"""Energy correlation functions in compiled loops.

    v_e_n = sum over all sets of n particles of z_1 ... z_n x the product of the v smallest dR^beta among them,

with z_i = pT_i / sum pT: Moult, Necib, Thaler, arXiv:1609.07483, eq. 3.3; v = n (n - 1) / 2 gives the correlators of
Larkoski, Salam, Thaler, arXiv:1305.0007.

Three particles cost n^3 / 6 terms. The matrix of dR^beta is made once per jet, and the innermost loop runs over the
contiguous beginnings of two of its rows, i > j > k, so that it becomes vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import summing_kernel

__all__ = ("pair_sums", "triangle_sums", "triple_sums")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@summing_kernel
def _row(i: int, rap: Floats, phi: Floats, beta: float, out: Floats) -> None:
    """dR^beta of particle `i` to all before it."""
    rap_i, phi_i = rap[i], phi[i]
    for k in range(i):
        drap, dphi = rap_i - rap[k], math.pi - abs(math.pi - abs(phi_i - phi[k]))
        out[k] = drap * drap + dphi * dphi
    if beta == 1.0:
        for k in range(i):
            out[k] = math.sqrt(out[k])
    elif beta == 0.5:
        for k in range(i):
            out[k] = math.sqrt(math.sqrt(out[k]))
    elif beta != 2.0:
        for k in range(i):
            out[k] = out[k] ** (0.5 * beta)


@summing_kernel
def _weights(pt: Floats) -> Floats:
    total = 0.0
    for i in range(pt.size):
        total += pt[i]
    return pt / total


@summing_kernel
def _widest(offsets: Ints) -> int:
    widest = 0
    for j in range(offsets.size - 1):
        widest = max(widest, offsets[j + 1] - offsets[j])
    return widest


@summing_kernel
def pair_sums(pt: Floats, towards: Floats, offsets: Ints, beta: float) -> Floats:
    """1e2 = e2 of every jet, (jets,); NaN without particles.

    Parameters
    ----------
    pt, towards, offsets : (n,) GeV, (n, 2) rapidities and angles, (jets + 1,) of the constituents.
    beta : exponent of the distance.
    """
    jets = offsets.size - 1
    out = np.full(jets, np.nan)
    rap, phi = towards[:, 0].copy(), towards[:, 1].copy()
    row = np.empty(_widest(offsets))
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        if b == a:
            continue
        z = _weights(pt[a:b])
        total = 0.0
        for i in range(b - a):
            _row(i, rap[a:b], phi[a:b], beta, row)
            part = 0.0
            for k in range(i):
                part += z[k] * row[k]
            total += z[i] * part
        out[j] = total
    return out


@summing_kernel
def _product_sum(z: Floats, angles: Floats) -> float:
    """sum_{i>j>k} z_i z_j z_k a_ij a_ik a_jk."""
    n = z.size
    total = 0.0
    weighted = np.empty((n, n))
    for i in range(n):
        for k in range(i):
            weighted[i, k] = z[k] * angles[i, k]
    for i in range(n):
        one = angles[i]
        part = 0.0
        for j in range(i):
            two = weighted[j]
            inner = 0.0
            for k in range(j):
                inner += one[k] * two[k]
            part += weighted[i, j] * inner
        total += z[i] * part
    return total


@summing_kernel
def _smallest_sums(z: Floats, angles: Floats) -> tuple[float, float]:
    """The same with the smallest and with the product of the two smallest of the three."""
    n = z.size
    one_total, two_total = 0.0, 0.0
    for i in range(n):
        row_i = angles[i]
        one_part, two_part = 0.0, 0.0
        for j in range(i):
            row_j, c = angles[j], angles[i, j]
            one, two = 0.0, 0.0
            for k in range(j):
                a, b = row_i[k], row_j[k]
                low, high = min(a, b), max(a, b)
                one += z[k] * min(low, c)
                two += z[k] * low * min(high, c)
            one_part += z[j] * one
            two_part += z[j] * two
        one_total += z[i] * one_part
        two_total += z[i] * two_part
    return one_total, two_total


@summing_kernel
def triple_sums(pt: Floats, towards: Floats, offsets: Ints, beta: float) -> Floats:
    """3e3 = e3 of every jet, (jets,); parameters of `pair_sums`."""
    jets = offsets.size - 1
    out = np.full(jets, np.nan)
    rap, phi = towards[:, 0].copy(), towards[:, 1].copy()
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        n = b - a
        if n == 0:
            continue
        angles = np.empty((n, n))
        for i in range(n):
            _row(i, rap[a:b], phi[a:b], beta, angles[i])
        out[j] = _product_sum(_weights(pt[a:b]), angles)
    return out


@summing_kernel
def triangle_sums(pt: Floats, towards: Floats, offsets: Ints, beta: float) -> Floats:
    """1e3 and 2e3 of every jet, (jets, 2); parameters of `pair_sums`."""
    jets = offsets.size - 1
    out = np.full((jets, 2), np.nan)
    rap, phi = towards[:, 0].copy(), towards[:, 1].copy()
    for j in range(jets):
        a, b = offsets[j], offsets[j + 1]
        n = b - a
        if n == 0:
            continue
        angles = np.empty((n, n))
        for i in range(n):
            _row(i, rap[a:b], phi[a:b], beta, angles[i])
        out[j, 0], out[j, 1] = _smallest_sums(_weights(pt[a:b]), angles)
    return out
