"""The fast detector simulation against its own formulas, solved by hand, and against conservation of energy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError
from resonaut.processors import Detector
from resonaut.processors.generation.detector import Candidates, simulate

PHOTON, KAON, PION, MUON, ELECTRON = 22, 130, 211, 13, 11
CHARGED = {PION, MUON, ELECTRON}
N = 8000


def momenta(pt: Any, eta: Any, phi: Any) -> Any:
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=1)


def alone(kind: int, energy: float, low: float, high: float, detector: Detector, seed: int = 1) -> Any:
    """Total energy seen of single particles, one an event, with |eta| from low to high."""
    rng = np.random.default_rng(seed)
    eta = rng.uniform(low, high, N) * rng.choice([-1, 1], N)
    particles = momenta(energy / np.cosh(eta), eta, rng.uniform(-np.pi, np.pi, N))
    found = simulate(particles, np.full(N, kind), np.full(N, kind in CHARGED), np.arange(N + 1), detector, rng)
    event = np.repeat(np.arange(N), np.diff(found.offsets))
    return np.bincount(event, weights=found.pt * np.cosh(found.eta), minlength=N)


def agrees(value: float, expected: float, error: float) -> bool:
    return abs(value - expected) < 4 * error


@pytest.mark.parametrize("energy", [20.0, 100.0, 1000.0])
@pytest.mark.parametrize(
    ("kind", "stochastic", "constant"), [(PHOTON, 0.10, 0.01), (KAON, 0.80, 0.05), (KAON, 1.5, 0.0)]
)
def test_calorimeter_resolution_is_the_formula(kind: int, stochastic: float, constant: float, energy: float) -> None:
    detector = Detector(
        ecal_stochastic=stochastic, ecal_constant=constant, hcal_stochastic=stochastic, hcal_constant=constant
    )
    seen = alone(kind, energy, 0.0, 2.9, detector)
    sigma = np.sqrt(stochastic**2 / energy + constant**2)
    assert agrees(seen.mean() / energy, 1.0, sigma / np.sqrt(N))
    kurtosis = 1 + 4 * sigma**2  # of a log-normal number, to leading order
    assert agrees(seen.std() / energy, sigma, sigma * kurtosis / np.sqrt(2 * N))


@pytest.mark.parametrize(("low", "high", "side"), [(0.0, 1.49, 0), (1.51, 2.49, 1)])
@pytest.mark.parametrize("pt", [2.0, 100.0, 400.0])
def test_tracks_have_their_efficiency_and_resolution(low: float, high: float, side: int, pt: float) -> None:
    """Muons leave nothing but tracks."""
    detector = Detector()
    rng = np.random.default_rng(3)
    eta = rng.uniform(low, high, N)
    particles = momenta(np.full(N, pt), eta, rng.uniform(-np.pi, np.pi, N))
    found = simulate(particles, np.full(N, MUON), np.ones(N, bool), np.arange(N + 1), detector, rng)
    share, sigma = (
        detector.track_efficiency[side],
        np.hypot(detector.track_resolution[side], detector.track_resolution_pt[side] * pt),
    )
    assert agrees(len(found.pt) / N, share, np.sqrt(share * (1 - share) / N))
    assert agrees(found.pt.mean() / pt, 1.0, sigma / np.sqrt(share * N))
    assert agrees(found.pt.std() / pt, sigma, sigma * (1 + 4 * sigma**2) / np.sqrt(2 * share * N))
    event = np.repeat(np.arange(N), np.diff(found.offsets))
    assert found.eta == pytest.approx(eta[event], abs=1e-9)


def test_track_and_cell_are_combined_to_the_best_of_both() -> None:
    """With no neutral particles allowed, the error of the weighted mean is that of two independent measurements."""
    energy, eta = 60.0, 0.5
    detector = Detector(
        track_efficiency=(1.0, 1.0), track_resolution=(0.06, 0.06), hcal_stochastic=0.5, neutral_significance=1e9
    )
    seen = alone(PION, energy, eta, eta + 0.01, detector)
    track = np.hypot(0.06, 1.5e-4 * energy / np.cosh(eta))
    cell = np.sqrt(0.5**2 / energy + 0.05**2)
    expected = 1 / np.sqrt(1 / track**2 + 1 / cell**2)
    assert expected < 0.85 * min(track, cell)
    assert seen.std() / energy == pytest.approx(expected, rel=0.06)  # the weights are of the measured energy
    assert seen.mean() / energy == pytest.approx(1.0, abs=0.01)


def test_energy_of_neutral_particles_survives_beside_tracks() -> None:
    """A photon and an electron, a neutral and a charged hadron in one cell: the excess over the track is the neutral one."""
    detector = replace(Detector.perfect(), ecal_cell=0.02, hcal_cell=0.1, neutral_significance=2.0)
    for pair in ((ELECTRON, PHOTON), (PION, KAON)):
        particles = momenta(np.array([30.0, 50.0]), np.array([0.51, 0.512]), np.array([0.101, 0.103]))
        found = simulate(
            particles,
            np.array(pair),
            np.array([True, False]),
            np.array([0, 2]),
            detector,
            np.random.default_rng(1),
        )
        energy = found.pt * np.cosh(found.eta)
        assert energy.sum() == pytest.approx(particles[:, 3].sum())
        assert sorted(energy) == pytest.approx(sorted(particles[:, 3]))


def sprays(rng: Any, events: int, detector: Detector) -> tuple[Any, Any, Candidates]:
    """Jets of 60 particles of all kinds: their true energies, events, and what is seen."""
    n = 60 * events
    energy = (rng.dirichlet(np.full(60, 0.5), events) * 1000.0).ravel()
    eta = np.repeat(rng.uniform(-1.0, 1.0, events), 60) + rng.normal(0, 0.15, n)
    phi = np.repeat(rng.uniform(-np.pi, np.pi, events), 60) + rng.normal(0, 0.15, n)
    ids = rng.choice([PION, PHOTON, KAON], n, p=[0.6, 0.25, 0.15])
    particles = momenta(energy / np.cosh(eta), eta, phi)
    offsets = np.arange(0, n + 1, 60)
    return energy, ids, simulate(particles, ids, ids == PION, offsets, detector, rng)


def test_energy_is_conserved_on_average() -> None:
    energy, _, found = sprays(np.random.default_rng(4), 400, Detector())
    seen = np.add.reduceat(found.pt * np.cosh(found.eta), found.offsets[:-1]) / energy.reshape(-1, 60).sum(axis=1)
    assert seen.mean() == pytest.approx(1.0, abs=0.02)
    assert seen.std() < 0.05


def test_candidates_are_ordered_and_in_range() -> None:
    _, _, found = sprays(np.random.default_rng(5), 50, Detector())
    for first, last in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        assert (np.diff(found.pt[first:last]) <= 0).all()
    assert found.pt.min() > 0.5
    assert np.abs(found.eta).max() < 3.0 + 0.1
    assert np.abs(found.phi).max() <= np.pi
    chosen = found.of_events(np.array([7, 3]))
    assert len(chosen) == 2
    assert np.array_equal(chosen.pt[: chosen.offsets[1]], found.pt[found.offsets[7] : found.offsets[8]])


def test_neutral_particles_keep_their_cell_and_no_more() -> None:
    rng = np.random.default_rng(6)
    eta, phi = rng.uniform(-2.9, 2.9, N), rng.uniform(-np.pi, np.pi, N)
    ids = np.full(N, KAON)
    found = simulate(
        momenta(np.full(N, 50.0), eta, phi), ids, np.zeros(N, bool), np.arange(N + 1), Detector(hcal_cell=0.1), rng
    )
    moved = np.abs((found.phi - phi + np.pi) % (2 * np.pi) - np.pi)
    assert np.abs(found.eta - eta).max() <= 0.1
    assert moved.max() <= 2 * np.pi / 63
    # both the particle and the candidate are anywhere in the cell: the difference has width size / sqrt(6)
    assert (found.eta - eta).std() == pytest.approx(0.1 / np.sqrt(6), rel=0.05)


def test_events_do_not_mix_and_one_seed_gives_one_answer() -> None:
    particles = momenta(np.array([50.0, 50.0]), np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    ids, charged = np.array([PHOTON, PHOTON]), np.zeros(2, bool)

    def run(offsets: list[int], seed: int) -> Candidates:
        return simulate(particles, ids, charged, np.array(offsets), Detector(), np.random.default_rng(seed))

    assert np.diff(run([0, 1, 2], 1).offsets).tolist() == [1, 1]
    merged = run([0, 2], 1)
    assert np.diff(merged.offsets).tolist() == [1]
    assert merged.pt[0] == pytest.approx(100.0, rel=0.1)
    assert np.diff(run([0, 0, 2, 2], 1).offsets).tolist() == [0, 1, 0]
    assert run([0, 2], 7).pt[0] == run([0, 2], 7).pt[0] != run([0, 2], 8).pt[0]


def test_a_perfect_detector_sees_what_is_there() -> None:
    energy, ids, found = sprays(np.random.default_rng(9), 20, Detector.perfect())
    seen = np.add.reduceat(found.pt * np.cosh(found.eta), found.offsets[:-1])
    assert seen == pytest.approx(energy.reshape(-1, 60).sum(axis=1), rel=1e-12)
    assert len(found.pt) > 0.95 * len(ids)  # a few share a cell


def test_what_lies_outside_is_lost() -> None:
    particles = momenta(np.full(4, 50.0), np.array([3.1, -3.1, 2.7, 2.7]), np.zeros(4))
    ids = np.array([PHOTON, PION, MUON, 2112])
    found = simulate(particles, ids, np.array([0, 1, 1, 0], bool), np.arange(5), Detector(), np.random.default_rng(1))
    assert np.diff(found.offsets).tolist() == [0, 0, 0, 1]  # muons have no track there
    beam = np.array([[0.0, 0.0, 4000.0, 4000.0]])
    none = simulate(beam, np.array([2212]), np.array([True]), np.array([0, 1]), Detector(), np.random.default_rng(1))
    assert len(none.pt) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"track_efficiency": (1.1, 0.9)}, "track_efficiency is .* at most 1"),
        ({"track_resolution": (0.1,)}, "expected two numbers: central and forward"),
        ({"hcal_stochastic": -1.0}, "hcal_stochastic is -1.0, expected numbers that are not negative"),
        ({"hcal_stochastic": float("nan")}, "hcal_stochastic is nan"),
        ({"ecal_cell": 0.0}, "expected cells of 0.005 to 1"),
    ],
)
def test_parameters_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Detector(**options)
