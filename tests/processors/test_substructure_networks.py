"""Lund planes, images and constituent sets: against fastjet, by hand, and what they must not depend on."""

from __future__ import annotations

import itertools
from typing import Any

import awkward as ak
import fastjet
import fastjet._swig as swig
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.errors import ConfigError
from resonaut.processors import Particles, constituent_sets, flatten_particles, jet_images, lund_plane, substructure
from resonaut.processors.jets.images import ORIENTATIONS, image_coordinates
from resonaut.processors.jets.kernels_cluster import cluster_events, four_vectors
from resonaut.processors.jets.lund import LUND_COORDINATES
from resonaut.processors.jets.particles import chosen_jets
from resonaut.processors.jets.sets import CONSTITUENT_FEATURES

Array = np.ndarray[Any, Any]
quick = settings(max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def jets(toy_particles: Any) -> Particles:
    particles = flatten_particles(toy_particles)[0]
    _, offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, 1.0, -1.0, 20.0
    )
    chosen = np.sort(np.concatenate([offsets[:-1], offsets[:-1] + 1]))
    return chosen_jets(particles, members, bounds[chosen], bounds[chosen + 1])


def jet_of(pt: Any, rap: Any, phi: Any) -> Particles:
    columns = [np.asarray(x, dtype=float) for x in (pt, rap, phi)]
    return Particles(four_vectors(*columns, np.zeros(len(columns[0]))), np.array([0, len(columns[0])]))


def test_lund_plane_agrees_with_fastjet(jets: Particles) -> None:
    flat = ak.zip({k: jets.momenta[:, i] for i, k in enumerate(("px", "py", "pz", "E"))}, with_name="Momentum4D")
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    sequence = fastjet.ClusterSequence(ak.unflatten(flat, np.diff(jets.offsets)), definition)
    theirs = sequence.exclusive_jets_lund_declusterings(1)[:, 0]
    ours = lund_plane(jets).jagged()
    assert ak.num(ours).to_list() == ak.num(theirs).to_list()
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(ours.delta)), ak.to_numpy(ak.flatten(theirs.Delta)), rtol=1e-7)
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(ours.kt)), ak.to_numpy(ak.flatten(theirs.kt)), rtol=1e-7)


def declustered(momenta: Array) -> Array:
    """z, psi, m of each splitting by walking fastjet's own history."""
    definition = swig.JetDefinition(swig.cambridge_algorithm, 1000.0)
    sequence = swig.ClusterSequence([swig.PseudoJet(*map(float, row)) for row in momenta], definition)
    jet, rows = sequence.exclusive_jets(1)[0], []
    while True:
        one, two = swig.PseudoJet(), swig.PseudoJet()
        if not jet.has_parents(one, two):
            return np.array(rows).reshape(-1, 3)
        harder, softer = (one, two) if one.pt() > two.pt() else (two, one)
        psi = np.arctan2(softer.rap() - harder.rap(), harder.delta_phi_to(softer))
        rows.append([softer.pt() / (softer.pt() + harder.pt()), psi, (harder + softer).m()])
        jet = harder


def test_other_lund_values_agree_with_a_walk_through_fastjets_history(jets: Particles) -> None:
    plane = lund_plane(jets)
    expected = np.concatenate([declustered(jets.momenta[a:b]) for a, b in itertools.pairwise(jets.offsets)])
    np.testing.assert_allclose(plane.values["z"], expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(plane.values["psi"], expected[:, 1], atol=1e-7)
    np.testing.assert_allclose(plane.values["m"], expected[:, 2], rtol=1e-5, atol=0.02)


@quick
@given(st.floats(0.05, 0.45), st.floats(0.05, 0.7), st.floats(-3, 3), st.floats(-np.pi, np.pi))
def test_lund_plane_of_two_particles(z: float, angle: float, phi: float, psi: float) -> None:
    rap = [0.4, 0.4 + angle * np.sin(psi)]
    jet = jet_of([1000 * (1 - z), 1000 * z], rap, [phi, phi + angle * np.cos(psi)])
    plane = lund_plane(jet)
    values = [float(plane.coordinate(name)[0]) for name in ("delta", "kt", "z", "psi", "ln_inverse_delta", "ln_kt")]
    expected = [angle, 1000 * z * angle, z, psi, np.log(1 / angle), np.log(1000 * z * angle)]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)


def test_padded_lund_planes_hold_the_first_splittings(jets: Particles) -> None:
    plane = lund_plane(jets)
    values, present = plane.padded(5)
    assert values.shape == (len(jets.offsets) - 1, 5, len(LUND_COORDINATES))
    jagged = plane.jagged()
    np.testing.assert_array_equal(present.sum(axis=1), np.minimum(ak.to_numpy(ak.num(jagged)), 5))
    for i, name in enumerate(LUND_COORDINATES):
        np.testing.assert_array_equal(values[present, i], ak.to_numpy(ak.flatten(jagged[name][:, :5])))
    assert np.all(values[~present] == 0)
    with pytest.raises(ConfigError, match="did you mean 'ln_kt'"):
        plane.coordinate("lnkt")


def test_soft_drop_is_the_first_lund_splitting_above_the_cut(jets: Particles) -> None:
    jagged = lund_plane(jets).jagged()
    for zcut, beta in ((0.1, 0.0), (0.05, 1.0), (0.2, 2.0)):
        first = ak.firsts(jagged[jagged.z > zcut * jagged.delta**beta])
        ours = substructure(jets, 1.0, [f"{x}(zcut={zcut},beta={beta})" for x in ("zg", "rg", "msd")])
        for values, name in zip(ours.values(), ("z", "delta"), strict=False):
            np.testing.assert_allclose(values, ak.to_numpy(ak.fill_none(first[name], 0.0)), rtol=1e-9)


def image_by_hand(jet: Particles, pixels: int, width: float) -> Array:
    """Centred image of one jet, particle after particle."""
    pt = np.hypot(jet.momenta[:, 0], jet.momenta[:, 1])
    rap, phi = jet.towards.T
    phi = (phi - phi[np.argmax(pt)] + np.pi) % (2 * np.pi) - np.pi
    x, y = rap - np.average(rap, weights=pt), phi - np.average(phi, weights=pt)
    image, *_ = np.histogram2d(y, x, bins=pixels, range=[[-width / 2, width / 2]] * 2, weights=pt)
    return image / image.sum()


def test_centred_images_are_histograms(jets: Particles) -> None:
    images = jet_images(jets, 21, 1.6, orientation="none")
    assert images.dtype == np.float32
    for i, (a, b) in enumerate(itertools.pairwise(jets.offsets)):
        jet = Particles(jets.momenta[a:b], np.array([0, b - a]))
        np.testing.assert_allclose(images[i], image_by_hand(jet, 21, 1.6), atol=1e-6)


def test_images_hold_all_pt_that_falls_inside(jets: Particles) -> None:
    for orientation in ORIENTATIONS:
        np.testing.assert_allclose(jet_images(jets, orientation=orientation).sum(axis=(1, 2)), 1.0, rtol=1e-6)
    assert np.count_nonzero(jet_images(jets, 1)) == len(jets.offsets) - 1
    empty = Particles(np.empty((0, 4)), np.zeros(2, np.int64))
    assert jet_images(empty, 5).shape == (1, 5, 5)
    assert not jet_images(empty, 5).any()


@quick
@given(st.integers(0, 2**32 - 1), st.floats(0, 2 * np.pi), st.booleans(), st.booleans())
def test_oriented_coordinates_forget_rotation_reflection_and_place(
    seed: int, turn: float, mirrored: bool, shifted: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, y, pt = rng.normal(0, 0.2, 15), rng.normal(0, 0.1, 15), rng.exponential(50.0, 15) + 1
    u = (x * np.cos(turn) - y * np.sin(turn)) * (-1 if mirrored else 1)
    v = x * np.sin(turn) + y * np.cos(turn)
    place = (1.1, 3.0) if shifted else (0.0, 0.0)
    _, a, b = image_coordinates(jet_of(pt, x, y))
    _, c, d = image_coordinates(jet_of(pt, u + place[0], v + place[1]))
    np.testing.assert_allclose(c, a, atol=1e-6)
    np.testing.assert_allclose(d, b, atol=1e-6)
    z = pt / pt.sum()
    assert z @ b**2 >= z @ a**2  # upright
    assert abs(z @ (a * b)) < 1e-9
    assert z @ np.sign(a) >= 0
    assert z @ np.sign(b) >= 0


def test_images_refuse_what_they_cannot_draw(jets: Particles) -> None:
    with pytest.raises(ConfigError, match="orientation is 'upright'"):
        jet_images(jets, orientation="upright")
    with pytest.raises(ConfigError, match="0 pixels"):
        jet_images(jets, 0)


def test_constituent_sets_are_the_hardest_particles(jets: Particles) -> None:
    particles = Particles(jets.momenta, jets.offsets, np.sign(jets.momenta[:, 2]))
    sets = constituent_sets(particles, 8, CONSTITUENT_FEATURES)
    assert sets.values.shape == (len(jets.offsets) - 1, 8, len(CONSTITUENT_FEATURES))
    for i, (a, b) in enumerate(itertools.pairwise(jets.offsets)):
        found = [swig.PseudoJet(*map(float, row)) for row in jets.momenta[a:b]]
        total = sum(found, swig.PseudoJet())
        found = sorted(found, key=lambda p: -p.pt())[:8]
        assert sets.mask[i].sum() == len(found)
        for row, p in zip(sets.values[i], found, strict=False):
            dphi = total.delta_phi_to(p)
            expected = {
                "z": p.pt() / total.pt(),
                "deta": p.eta() - total.eta(),
                "dphi": dphi,
                "dr": np.hypot(p.eta() - total.eta(), dphi),
                "log_pt": np.log(p.pt()),
                "log_e": np.log(p.E()),
                "log_z": np.log(p.pt() / total.pt()),
                "log_e_fraction": np.log(p.E() / total.E()),
                "charge": np.sign(p.pz()),
            }
            np.testing.assert_allclose(row, [expected[x] for x in CONSTITUENT_FEATURES], rtol=1e-7, atol=1e-7)
        assert np.all(sets.values[i, len(found) :] == 0)


def test_constituent_sets_say_what_they_lack(jets: Particles) -> None:
    with pytest.raises(ConfigError, match="did you mean 'log_pt'"):
        constituent_sets(jets, 5, ("logpt",))
    with pytest.raises(ConfigError, match="have no charges"):
        constituent_sets(jets, 5, ("z", "charge"))
    assert constituent_sets(jets, 5, ("z",)).values.shape[2] == 1
