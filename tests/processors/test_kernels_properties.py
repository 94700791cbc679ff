"""What jets and their substructure must obey: symmetries, infrared and collinear safety, analytic limits, edges."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import ConfigError
from resonaut.processors import ALGORITHMS, Particles, cluster, substructure
from resonaut.processors.jets.kernels_cluster import cluster_events, directions, four_vectors, momenta_to_jets, rapidity

Array = np.ndarray[Any, Any]
SHAPES = ("tau1", "tau2", "tau3", "tau4", "tau1b2", "msd")
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None)


def random_event(seed: int) -> Array:
    """(n, 4) of pt, eta, phi, m of massive particles: two sprays and soft radiation."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 25))
    centre = rng.uniform(-np.pi, np.pi)
    phi = np.concatenate([rng.normal(centre, 0.3, n), rng.normal(centre + np.pi, 0.3, n), rng.uniform(-3, 3, 10)])
    eta = np.concatenate([rng.normal(0.5, 0.3, n), rng.normal(-0.5, 0.3, n), rng.uniform(-3, 3, 10)])
    pt = np.concatenate([rng.exponential(60.0, 2 * n) + 1.0, rng.exponential(1.0, 10) + 0.1])
    return np.stack([pt, eta, phi, rng.uniform(0, 1, pt.size)], axis=1)


def as_particles(event: Array) -> Particles:
    columns = [np.ascontiguousarray(column) for column in event.T]
    return Particles(four_vectors(*columns), np.array([0, len(event)], np.int64))


def jets_of(particles: Particles, power: float = -1.0) -> tuple[Array, list[Array]]:
    jets, _, members, bounds = cluster_events(particles.momenta, particles.towards, particles.offsets, 1.0, power, 20.0)
    return jets, [members[a:b] for a, b in pairwise(bounds)]


def same_jets(one: list[Array], two: list[Array]) -> bool:
    return {tuple(jet) for jet in one} == {tuple(jet) for jet in two}


@quick
@given(seeds, st.floats(-3, 3), st.sampled_from(sorted(ALGORITHMS)))
def test_rotation_about_the_beam_changes_nothing_but_phi(seed: int, angle: float, algorithm: str) -> None:
    event = random_event(seed)
    turned = event + np.array([0, 0, angle, 0])
    before, members = jets_of(as_particles(event), ALGORITHMS[algorithm])
    after, members_after = jets_of(as_particles(turned), ALGORITHMS[algorithm])
    assert same_jets(members, members_after)
    np.testing.assert_allclose(momenta_to_jets(after)[:, [0, 1, 3]], momenta_to_jets(before)[:, [0, 1, 3]], rtol=1e-7)
    one, two = substructure(as_particles(event), 1.0), substructure(as_particles(turned), 1.0)
    for name in SHAPES:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-7, atol=1e-7)


@quick
@given(seeds, st.floats(-1.5, 1.5), st.sampled_from(sorted(ALGORITHMS)))
def test_boost_along_the_beam_changes_nothing_but_rapidity(seed: int, shift: float, algorithm: str) -> None:
    particles = as_particles(random_event(seed))
    boosted = particles.momenta.copy()
    boosted[:, 2] = np.cosh(shift) * particles.momenta[:, 2] + np.sinh(shift) * particles.momenta[:, 3]
    boosted[:, 3] = np.cosh(shift) * particles.momenta[:, 3] + np.sinh(shift) * particles.momenta[:, 2]
    moved = Particles(boosted, particles.offsets)
    before, members = jets_of(particles, ALGORITHMS[algorithm])
    after, members_after = jets_of(moved, ALGORITHMS[algorithm])
    assert same_jets(members, members_after)
    rap = [[rapidity(*jet) for jet in jets] for jets in (before, after)]
    np.testing.assert_allclose(np.subtract(rap[1], rap[0]), shift, atol=1e-6)
    one, two = substructure(particles, 1.0), substructure(moved, 1.0)
    for name in SHAPES:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-6)


@quick
@given(seeds, st.sampled_from(sorted(ALGORITHMS)))
def test_order_of_the_particles_does_not_matter(seed: int, algorithm: str) -> None:
    event = random_event(seed)
    order = np.random.default_rng(seed).permutation(len(event))
    _, members = jets_of(as_particles(event), ALGORITHMS[algorithm])
    _, shuffled = jets_of(as_particles(event[order]), ALGORITHMS[algorithm])
    assert same_jets(members, [np.sort(order[jet]) for jet in shuffled])
    one, two = substructure(as_particles(event), 1.0), substructure(as_particles(event[order]), 1.0)
    for name in SHAPES:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-9, atol=1e-7)


@quick
@given(seeds, st.floats(-2, 2), st.floats(-3, 3))
def test_a_soft_particle_changes_no_jet_and_no_shape(seed: int, eta: float, phi: float) -> None:
    """Infrared safety: 1e-9 GeV somewhere leaves the jets' other members, momenta and shapes."""
    event = random_event(seed)
    soft = np.concatenate([event, [[1e-9, eta, phi, 0.0]]])
    before, members = jets_of(as_particles(event))
    after, members_after = jets_of(as_particles(soft))
    assert same_jets(members, [jet[jet < len(event)] for jet in members_after])
    np.testing.assert_allclose(after, before, rtol=1e-7, atol=1e-6)
    one, two = substructure(as_particles(event), 1.0), substructure(as_particles(soft), 1.0)
    for name in ("tau1", "tau2", "tau3", "tau4", "tau1b2", "msd"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-6)
    assert two["n"] == one["n"] + 1  # the multiplicity is not safe, and must not pretend to be


@quick
@given(seeds, st.floats(0.05, 0.95))
def test_a_collinear_splitting_changes_no_jet_and_no_shape(seed: int, share: float) -> None:
    """Collinear safety: the hardest particle, massless, in two parallel parts."""
    event = random_event(seed)
    hardest = int(np.argmax(event[:, 0]))
    event[hardest, 3] = 0.0
    split = np.concatenate([event, event[hardest : hardest + 1]])
    split[hardest, 0] *= share
    split[-1, 0] *= 1 - share
    before, members = jets_of(as_particles(event))
    after, members_after = jets_of(as_particles(split))
    assert same_jets(members, [jet[jet < len(event)] for jet in members_after])
    np.testing.assert_allclose(after, before, rtol=1e-7, atol=1e-6)
    one, two = substructure(as_particles(event), 1.0), substructure(as_particles(split), 1.0)
    for name in SHAPES:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-6)


@quick
@given(seeds)
def test_momentum_is_conserved_and_every_particle_has_one_jet(seed: int) -> None:
    particles = as_particles(random_event(seed))
    for power in ALGORITHMS.values():
        jets, _, members, _ = cluster_events(particles.momenta, particles.towards, particles.offsets, 0.7, power, 0.0)
        np.testing.assert_allclose(jets.sum(axis=0), particles.momenta.sum(axis=0), rtol=1e-9, atol=1e-9)
        assert sorted(members) == list(range(len(particles.momenta)))
        assert np.all(np.diff(np.hypot(jets[:, 0], jets[:, 1])) <= 1e-9)


@quick
@given(st.floats(0.05, 0.95), st.floats(0.01, 0.8), st.floats(-2, 2))
def test_two_massless_prongs_have_their_analytic_shapes(share: float, angle: float, eta: float) -> None:
    """tau1 = min(z, 1 - z) dR about the harder prong, tau2 = 0; m^2 = 2 pT1 pT2 (cosh deta - cos dphi)."""
    pt = np.array([share, 1 - share]) * 1000.0
    jet = as_particles(np.array([[pt[0], eta, 0.0, 0.0], [pt[1], eta + angle, 0.0, 0.0]]))
    shapes = substructure(jet, 1.0)
    softer = min(share, 1 - share)
    np.testing.assert_allclose(shapes["tau1"], softer * angle, rtol=1e-6)
    np.testing.assert_allclose(shapes["tau1b2"], softer * angle**2, rtol=1e-6)
    assert shapes["tau2"] == shapes["tau3"] == shapes["tau4"] == 0
    mass = np.sqrt(2 * pt[0] * pt[1] * (np.cosh(angle) - 1))
    expected = mass if softer > 0.1 else 0.0
    np.testing.assert_allclose(shapes["msd"], expected, rtol=1e-5, atol=1e-2)
    if angle < 1:
        np.testing.assert_allclose(momenta_to_jets(jets_of(jet)[0])[0, 3], mass, rtol=1e-5, atol=1e-2)


def test_tau_falls_with_the_number_of_axes(toy_particles: Any) -> None:
    for seed in range(20):
        shapes = substructure(as_particles(random_event(seed)), 1.0)
        taus = [shapes[f"tau{n}"][0] for n in (1, 2, 3, 4)]
        assert taus == sorted(taus, reverse=True)
        assert taus[3] > 0


def test_events_with_no_or_one_particle() -> None:
    one = four_vectors(np.array([50.0]), np.array([0.3]), np.array([1.0]), np.array([0.0]))
    offsets = np.array([0, 0, 1, 1], np.int64)
    jets, jet_offsets, members, bounds = cluster_events(one, directions(one), offsets, 1.0, -1.0, 20.0)
    assert jet_offsets.tolist() == [0, 0, 1, 1]
    assert members.tolist() == [0]
    assert bounds.tolist() == [0, 1]
    np.testing.assert_allclose(momenta_to_jets(jets)[0, :3], [50.0, 0.3, 1.0])
    pair = cluster(Particles(one, offsets))
    assert pair.count.tolist() == [0, 1, 0]
    assert all(np.isnan(column).all() for column in pair.columns.values())


def test_jets_of_one_particle_and_without_particles() -> None:
    one = four_vectors(np.array([50.0]), np.array([0.3]), np.array([1.0]), np.array([0.5]))
    shapes = substructure(Particles(one, np.array([0, 1, 1], np.int64)), 1.0)
    for name in ("tau1", "tau2", "tau3", "tau4", "tau1b2"):
        assert shapes[name][0] == 0.0
        assert np.isnan(shapes[name][1])
    np.testing.assert_allclose(shapes["msd"][0], 0.5, rtol=1e-6)
    assert np.isnan(shapes["msd"][1])


def test_nothing_at_all() -> None:
    empty = Particles(np.empty((0, 4)), np.zeros(1, np.int64))
    pair = cluster(empty)
    assert len(pair) == 0
    assert pair.columns["tau1"].shape == (0, 2)


def test_jets_below_the_threshold_are_dropped() -> None:
    event = np.array([[100.0, 0.0, 0.0, 0.0], [30.0, 0.0, 3.0, 0.0], [19.0, 2.5, 1.5, 0.0]])
    jets, members = jets_of(as_particles(event))
    assert [jet.tolist() for jet in members] == [[0], [1]]
    np.testing.assert_allclose(np.hypot(jets[:, 0], jets[:, 1]), [100.0, 30.0])


def test_rapidity_along_the_beam_is_finite_and_ordered() -> None:
    assert rapidity(0.0, 0.0, 10.0, 10.0) > 1e5
    assert rapidity(0.0, 0.0, -10.0, 10.0) < -1e5
    np.testing.assert_allclose(rapidity(3.0, 4.0, 0.0, 5.0), 0.0)
    np.testing.assert_allclose(rapidity(0.0, 1.0, np.sinh(2.0), np.cosh(2.0)), 2.0)


def test_unknown_algorithm_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="antikt"):
        cluster(Particles(np.empty((0, 4)), np.zeros(1, np.int64)), algorithm="anti-kt")
