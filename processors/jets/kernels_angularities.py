"""Sums over constituents about one axis in compiled loops: angularities, jet charge, momenta of jets.

Constituents come flat, with `offsets` of each jet; every jet is independent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from resonaut.compiled import kernel

__all__ = ("charge_sums", "jet_momenta", "moments", "sums")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@kernel
def _power(x: float, exponent: float) -> float:
    """x^exponent of x >= 0, with 0^0 = 1."""
    if exponent == 0.0:
        return 1.0
    if exponent == 1.0:
        return x
    if exponent == 2.0:
        return x * x
    if exponent == 0.5:
        return math.sqrt(x)
    return float(x**exponent)


@kernel
def sums(values: Floats, offsets: Ints) -> Floats:
    """Sum of the values of each jet, (jets,); NaN without particles."""
    out = np.full(offsets.size - 1, np.nan)
    for j in range(out.size):
        if offsets[j + 1] > offsets[j]:
            total = 0.0
            for i in range(offsets[j], offsets[j + 1]):
                total += values[i]
            out[j] = total
    return out


@kernel
def jet_momenta(particles: Floats, offsets: Ints) -> Floats:
    """Summed momenta (jets, 4); NaN without particles."""
    out = np.full((offsets.size - 1, 4), np.nan)
    for j in range(out.shape[0]):
        if offsets[j + 1] > offsets[j]:
            out[j] = 0.0
            for i in range(offsets[j], offsets[j + 1]):
                for x in range(4):
                    out[j, x] += particles[i, x]
    return out


@kernel
def moments(pt: Floats, towards: Floats, offsets: Ints, axis: Floats, kappa: float, beta: float) -> Floats:
    """Sum over each jet's particles of pT^kappa dR^beta to its axis, (jets,); NaN without particles.

    Parameters
    ----------
    pt, towards, offsets : (n,) GeV, (n, 2) rapidities and angles, (jets + 1,) of the constituents.
    axis : (jets, 2) rapidity and angle of each jet's axis.
    kappa, beta : exponents, >= 0.
    """
    out = np.full(offsets.size - 1, np.nan)
    for j in range(out.size):
        if offsets[j + 1] > offsets[j]:
            total = 0.0
            for i in range(offsets[j], offsets[j + 1]):
                drap = towards[i, 0] - axis[j, 0]
                dphi = math.pi - abs(math.pi - abs(towards[i, 1] - axis[j, 1]))
                total += _power(pt[i], kappa) * _power(drap * drap + dphi * dphi, 0.5 * beta)
            out[j] = total
    return out


@kernel
def charge_sums(pt: Floats, charges: Floats, offsets: Ints, kappa: float) -> Floats:
    """Sum over each jet's particles of charge x pT^kappa, (jets,); NaN without particles."""
    out = np.full(offsets.size - 1, np.nan)
    for j in range(out.size):
        if offsets[j + 1] > offsets[j]:
            total = 0.0
            for i in range(offsets[j], offsets[j + 1]):
                if charges[i] != 0.0:
                    total += charges[i] * _power(pt[i], kappa)
            out[j] = total
    return out
