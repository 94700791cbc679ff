"""Shapes of events from the momenta of their objects: sphericity and its relatives, thrust, centrality.

All functions take momenta (events, objects) padded with zeros, which add nothing, and give (events,): NaN where an event has
fewer objects than the shape needs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.processors.features.kernels_thrust import best_sum

__all__ = (
    "centrality",
    "momentum_tensor",
    "shape_of_tensor",
    "thrust",
    "transverse_sphericity",
    "transverse_thrust",
)

Floats = npt.NDArray[np.float64]


def momentum_tensor(p: Floats, power: float = 2.0) -> Floats:
    """Normalised momentum tensor, sum of |p|^(r-2) p_a p_b over sum of |p|^r.

    Parameters
    ----------
    p : (events, objects, d) momenta in d dimensions, GeV.
    power : r = 2 of the sphericity; r = 1 is safe against soft and collinear radiation.

    Returns
    -------
    ndarray of shape (events, d, d)
        NaN for an event without momenta.
    """
    size = np.sqrt((p**2).sum(axis=2))
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(size > 0, size ** (power - 2), 0.0)
        total = (weight * size**2).sum(axis=1)
        return np.asarray(np.einsum("ij,ija,ijb->iab", weight, p, p) / total[:, None, None])


def _eigenvalues(tensor: Floats) -> Floats:
    """Eigenvalues, largest first, (events, d); NaN where the tensor is."""
    good = np.asarray(np.isfinite(tensor).all(axis=(1, 2)))
    values = np.linalg.eigvalsh(np.where(good[:, None, None], tensor, 0.0))[:, ::-1]
    return np.where(good[:, None], np.maximum(values, 0.0), np.nan)


def shape_of_tensor(name: str, p: Floats) -> Floats:
    """A shape made of the eigenvalues l1 >= l2 >= l3 of the momentum tensor.

    Parameters
    ----------
    name : "sphericity" 3 (l2 + l3) / 2, "aplanarity" 3 l3 / 2, "planarity" l2 - l3, with r = 2; "c_parameter"
        3 (l1 l2 + l1 l3 + l2 l3), "d_parameter" 27 l1 l2 l3, with r = 1.
    p : (events, objects, 3) momenta, GeV.

    References
    ----------
    Bjorken and Brodsky, Phys. Rev. D 1 (1970) 1416; Donoghue, Low and Pi, Phys. Rev. D 20 (1979) 2759 (C, D).
    """
    linear = name in ("c_parameter", "d_parameter")
    one, two, three = _eigenvalues(momentum_tensor(p, 1.0 if linear else 2.0)).T
    shapes = {
        "sphericity": 1.5 * (two + three),
        "aplanarity": 1.5 * three,
        "planarity": two - three,
        "c_parameter": 3 * (one * two + one * three + two * three),
        "d_parameter": 27 * one * two * three,
    }
    return np.asarray(shapes[name])


def transverse_sphericity(p: Floats) -> Floats:
    """2 l2 / (l1 + l2) of the momentum tensor in the transverse plane, 0 for two jets back to back, 1 for a ring.

    References
    ----------
    ATLAS, arXiv:1206.2135, equation 3.
    """
    one, two = _eigenvalues(momentum_tensor(p[:, :, :2])).T
    return np.asarray(2 * two / (one + two))


def centrality(pt: Floats, energy: Floats) -> Floats:
    """Sum of the transverse momenta over the sum of the energies: 1 for objects at right angles to the beam."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(pt.sum(axis=1) / energy.sum(axis=1))


def thrust(p: Floats) -> Floats:
    """Largest sum of |p . n| over all directions n, over the sum of |p|: exact.

    References
    ----------
    Farhi, Phys. Rev. Lett. 39 (1977) 1587; the algorithm of Brandt and Dahmen, Z. Phys. C 1 (1979) 61.
    """
    size = np.sqrt((p**2).sum(axis=2))
    total = size.sum(axis=1)
    good = np.isfinite(total) & (total > 0)
    found = np.full(len(p), np.nan)
    # Padding comes last: objects beyond the last that is not zero are not looked at.
    counts = p.shape[1] - np.argmax(size[good, ::-1] > 0, axis=1)
    found[good] = best_sum(np.ascontiguousarray(p[good]), counts.astype(np.int64)) / total[good]
    return found


def transverse_thrust(p: Floats) -> Floats:
    """Largest sum of |pT . n| over all directions n in the transverse plane, over the sum of pT: exact.

    References
    ----------
    Banfi, Salam and Zanderighi, arXiv:hep-ph/0407287, equation 3.1.
    """
    return thrust(p * np.array([1.0, 1.0, 0.0]))
