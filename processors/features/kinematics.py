"""Kinematics of many events at once: four-momenta, angles, transverse masses, the Collins-Soper angle.

All quantities in GeV and radians; NaN goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ("Momenta", "cos_theta_collins_soper", "delta_phi", "delta_r", "system", "transverse_mass")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Momenta:
    """Four-momenta, one per event (or any shape): pt, m in GeV, eta, phi in radians."""

    pt: Floats
    eta: Floats
    phi: Floats
    m: Floats

    @property
    def px(self) -> Floats:
        return self.pt * np.cos(self.phi)

    @property
    def py(self) -> Floats:
        return self.pt * np.sin(self.phi)

    @property
    def pz(self) -> Floats:
        with np.errstate(over="ignore"):
            return np.asarray(self.pt * np.sinh(self.eta))

    @property
    def energy(self) -> Floats:
        with np.errstate(over="ignore"):
            return np.asarray(np.sqrt((self.pt * np.cosh(self.eta)) ** 2 + self.m**2))


@dataclass(frozen=True)
class System:
    """Sum of four-momenta in each event: mass `m`, transverse momentum `pt`, rapidity `y`, `pz`, GeV."""

    energy: Floats
    px: Floats
    py: Floats
    pz: Floats

    @property
    def m(self) -> Floats:
        """Invariant mass; zero where rounding makes its square negative."""
        square = self.energy**2 - self.px**2 - self.py**2 - self.pz**2
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))

    @property
    def pt(self) -> Floats:
        return np.hypot(self.px, self.py)

    @property
    def y(self) -> Floats:
        """Rapidity, ln((E + pz) / (E - pz)) / 2."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.arctanh(self.pz / self.energy))


def system(parts: Sequence[Momenta]) -> System:
    """The sum of the parts' four-momenta."""
    energy, px, py, pz = (sum(getattr(p, x) for p in parts) for x in ("energy", "px", "py", "pz"))
    return System(*(np.asarray(x, dtype=np.float64) for x in (energy, px, py, pz)))


def delta_phi(a: Floats, b: Floats) -> Floats:
    """Angle between two azimuths, 0 to pi."""
    difference = np.abs(a - b) % (2 * np.pi)
    return np.asarray(np.minimum(difference, 2 * np.pi - difference))


def delta_r(a: Momenta, b: Momenta) -> Floats:
    """Distance in pseudorapidity and azimuth."""
    return np.asarray(np.hypot(a.eta - b.eta, delta_phi(a.phi, b.phi)))


def transverse_mass(visible: Momenta, met: Floats, met_phi: Floats) -> Floats:
    """sqrt(2 pT met (1 - cos dphi)): mass in the transverse plane of a massless object and missing momentum.

    References
    ----------
    Smith, van Neerven and Vermaseren, Phys. Rev. Lett. 50 (1983) 1738; PDG review of kinematics, 49.6.1.
    """
    return np.asarray(np.sqrt(2 * visible.pt * met * (1 - np.cos(visible.phi - met_phi))))


def cos_theta_collins_soper(first: Momenta, second: Momenta) -> Floats:
    """cos theta* of the first of two massless objects in the Collins-Soper frame.

    The polar axis of that frame halves the angle between one beam and the other's opposite; its direction is here that of
    the pair's longitudinal momentum, the likelier one of the quark in proton collisions. For a pair of leptons the
    first is the negative one.

    References
    ----------
    Collins and Soper, Phys. Rev. D 16 (1977) 2219; in this form CMS, arXiv:1806.00863, equation 2.
    """
    root2 = np.sqrt(2.0)
    plus1, minus1 = (first.energy + first.pz) / root2, (first.energy - first.pz) / root2
    plus2, minus2 = (second.energy + second.pz) / root2, (second.energy - second.pz) / root2
    pair = system((first, second))
    mass2 = pair.m**2
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = 2 * (plus1 * minus2 - minus1 * plus2) / np.sqrt(mass2 * (mass2 + pair.pt**2))
        return np.asarray(np.where(pair.pz < 0, -1.0, 1.0) * cosine)
