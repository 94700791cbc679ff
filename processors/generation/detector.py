"""A fast detector simulation: tracks, calorimeter cells, and both combined into candidates as particle flow does.

It has the few properties that shape large-radius jets (who is seen, how well, how finely) and nothing else: no magnetic
field, no material, no pile-up. Each number is a parameter of `Detector`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError
from resonaut.processors.generation.kernels_detector import ECAL, HCAL, MISSED, TRACK_ONLY, combine
from resonaut.processors.jets.pair import Particles

__all__ = ("Candidates", "Detector", "simulate")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ELECTRON, MUON, PHOTON = 11, 13, 22


@dataclass(frozen=True)
class Detector:
    """Parameters of the fast detector simulation; lengths in eta and radians, energies in GeV.

    Central and forward values of the tracker hold below and above |eta| = 1.5. All smearing is log-normal with the true
    value as its mean, so that nothing becomes negative and nothing is biased.

    Parameters
    ----------
    eta_max : edge of the calorimeters; what lies beyond is lost.
    track_eta_max, track_pt_min : reach of the tracker.
    track_efficiency : of charged particles, central and forward.
    track_resolution : a of sigma(pT)/pT = a + b pT, added in quadrature, central and forward.
    track_resolution_pt : b [1/GeV], central and forward.
    ecal_cell, hcal_cell : edge of a cell. Electrons and photons leave their energy in the ECAL, hadrons in the HCAL.
    ecal_stochastic, ecal_constant : s and c of sigma(E)/E = s/sqrt(E) + c, added in quadrature.
    hcal_stochastic, hcal_constant : the same of the HCAL.
    ecal_threshold, hcal_threshold : smallest energy of a cell, and of an excess over its tracks.
    neutral_significance : excess of a cell over its tracks, in standard deviations, that is taken for a neutral particle.
    pt_min : smallest pT of a candidate.
    """

    eta_max: float = 3.0
    track_eta_max: float = 2.5
    track_pt_min: float = 0.5
    track_efficiency: tuple[float, float] = (0.95, 0.90)
    track_resolution: tuple[float, float] = (0.01, 0.02)
    track_resolution_pt: tuple[float, float] = (1.5e-4, 3e-4)
    ecal_cell: float = 0.02
    hcal_cell: float = 0.1
    ecal_stochastic: float = 0.10
    ecal_constant: float = 0.01
    hcal_stochastic: float = 0.80
    hcal_constant: float = 0.05
    ecal_threshold: float = 0.5
    hcal_threshold: float = 1.0
    neutral_significance: float = 2.0
    pt_min: float = 0.5

    def __post_init__(self) -> None:
        for name, value in self.config.items():
            values = value if isinstance(value, (tuple, list)) else (value,)
            if isinstance(value, (tuple, list)) and len(value) != 2:
                msg = f"{name} is {value}, expected two numbers: central and forward"
                raise ConfigError(msg)
            if not all(isinstance(x, (int, float)) and np.isfinite(x) and x >= 0 for x in values):
                msg = f"{name} is {value}, expected numbers that are not negative"
                raise ConfigError(msg)
        if max(self.track_efficiency) > 1:
            msg = f"track_efficiency is {self.track_efficiency}, expected at most 1"
            raise ConfigError(msg)
        if not (0.005 <= self.ecal_cell <= 1 and 0.005 <= self.hcal_cell <= 1 and 0 < self.eta_max <= 10):
            msg = (
                f"ecal_cell, hcal_cell, eta_max are {self.ecal_cell}, {self.hcal_cell}, {self.eta_max}, "
                "expected cells of 0.005 to 1 and eta_max of 0 to 10"
            )
            raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Parameters as plain data."""
        return asdict(self)

    @classmethod
    def perfect(cls) -> Detector:
        """A detector that sees every particle within |eta| < 3 as it is, up to the size of its cells.

        Examples
        --------
        >>> Detector.perfect().track_efficiency
        (1.0, 1.0)
        """
        nothing = {f.name: 0.0 for f in fields(cls) if f.name.endswith(("stochastic", "constant", "threshold"))}
        return cls(
            track_eta_max=3.0,
            track_pt_min=0.0,
            track_efficiency=(1.0, 1.0),
            track_resolution=(0.0, 0.0),
            track_resolution_pt=(0.0, 0.0),
            ecal_cell=0.005,
            hcal_cell=0.005,
            pt_min=0.0,
            neutral_significance=0.0,
            **nothing,
        )


@dataclass(frozen=True)
class Candidates:
    """Candidates of many events, massless, by falling pT in each: pt, eta, phi (m,) and offsets (events + 1,)."""

    pt: Floats
    eta: Floats
    phi: Floats
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def particles(self) -> Particles:
        """Their momenta."""
        momenta = np.stack(
            [
                self.pt * np.cos(self.phi),
                self.pt * np.sin(self.phi),
                self.pt * np.sinh(self.eta),
                self.pt * np.cosh(self.eta),
            ],
            axis=1,
        )
        return Particles(momenta, self.offsets)

    def of_events(self, chosen: Ints) -> Candidates:
        """Candidates of the chosen events, in that order."""
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], counts)
        return Candidates(self.pt[rows], self.eta[rows], self.phi[rows], offsets)


def _directions(momenta: Floats) -> tuple[Floats, Floats, Floats]:
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    with np.errstate(divide="ignore"):
        eta = np.arcsinh(momenta[:, 2] / np.where(pt > 0, pt, 1e-12))
    return pt, eta, np.arctan2(momenta[:, 1], momenta[:, 0])


def _where(ids: Ints, charged: npt.NDArray[np.bool_]) -> Ints:
    """The calorimeter that takes a particle's energy."""
    kind = np.abs(ids)
    where = np.full(len(ids), HCAL, np.int64)
    where[(kind == ELECTRON) | (kind == PHOTON)] = ECAL
    where[kind == MUON] = np.where(charged[kind == MUON], TRACK_ONLY, MISSED)
    return where


def simulate(
    momenta: Floats,
    ids: Ints,
    charged: npt.NDArray[np.bool_],
    offsets: Ints,
    detector: Detector,
    rng: np.random.Generator,
) -> Candidates:
    """What the detector sees of stable, visible particles.

    Parameters
    ----------
    momenta : (n, 4) = (px, py, pz, E) in GeV.
    ids : (n,) numbers of the Particle Data Group.
    charged : (n,) whether a particle has electric charge.
    offsets : (events + 1,) first particle of each event.
    detector : its parameters.
    rng : source of all random numbers; five are drawn for each particle, whatever it is.

    Examples
    --------
    >>> momenta = np.array([[100.0, 0.0, 0.0, 100.0]])
    >>> photon = simulate(momenta, np.array([22]), np.array([False]), np.array([0, 1]), Detector.perfect(), np.random.default_rng(1))
    >>> photon.pt.round(2), bool(abs(photon.phi[0]) < 0.005)
    (array([100.]), True)
    """
    n = len(momenta)
    luck, normals, uniforms = rng.random(n), rng.standard_normal((n, 2)), rng.random((n, 2))
    pt, eta, phi = _directions(momenta)
    forward = (np.abs(eta) > 1.5).astype(np.int64)
    sigma = np.hypot(
        np.array(detector.track_resolution)[forward] * pt, np.array(detector.track_resolution_pt)[forward] * pt**2
    )
    found = charged & (np.abs(eta) < detector.track_eta_max) & (pt >= detector.track_pt_min)
    found &= luck < np.array(detector.track_efficiency)[forward]
    width2 = np.log1p((sigma / np.where(pt > 0, pt, 1.0)) ** 2)
    measured = pt * np.exp(np.sqrt(width2) * normals[:, 0] - 0.5 * width2)
    cosh = np.cosh(np.clip(eta, -20, 20))
    where = np.where(np.abs(eta) < detector.eta_max, _where(ids, charged), MISSED)
    track = np.where(found & (where != MISSED), measured * cosh, 0.0)
    candidates, bounds = combine(
        eta,
        phi,
        momenta[:, 3].copy(),
        where,
        track,
        np.where(track > 0, sigma * cosh, 0.0),
        offsets.astype(np.int64),
        normals[:, 1].copy(),
        uniforms,
        np.array([detector.ecal_cell, detector.hcal_cell]),
        np.array(
            [[detector.ecal_stochastic, detector.ecal_constant], [detector.hcal_stochastic, detector.hcal_constant]]
        ),
        np.array([detector.ecal_threshold, detector.hcal_threshold]),
        detector.neutral_significance,
        detector.eta_max,
    )
    return _ordered(candidates, bounds, detector.pt_min)


def _ordered(candidates: Floats, bounds: Ints, pt_min: float) -> Candidates:
    """Candidates above the threshold, by falling pT in each event."""
    pt = candidates[:, 0] / np.cosh(candidates[:, 1])
    event = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    keep = np.flatnonzero(pt > pt_min) if pt_min > 0 else np.flatnonzero(pt > 0)
    order = keep[np.lexsort((-pt[keep], event[keep]))]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(event[keep], minlength=len(bounds) - 1))])
    phi = (candidates[order, 2] + np.pi) % (2 * np.pi) - np.pi
    return Candidates(pt[order], candidates[order, 1], phi, offsets.astype(np.int64))
