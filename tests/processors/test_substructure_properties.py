"""What jet observables must obey: symmetries, infrared and collinear safety where it holds, analytic limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonaut.processors import OBSERVABLES, Particles, substructure
from resonaut.processors.jets.kernels_cluster import four_vectors

Array = np.ndarray[Any, Any]
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)

UNSAFE = ("n", "ptd", "charge", "ndropped")
GROOMED = ("sd_d2", "sd_tau21", "sd(beta=1,zcut=0.05)_width", "sd_e2")
MORE = (
    "tau21_kt",
    "tau32_ca",
    "tau21_wta_ca",
    "tau2_b2",
    "tau1_jet",
    "msd_b1",
    "zg_b1",
    "rg_b2_z0.05",
    "d2_b2",
    "n2_b2",
    "c2_b0.5",
    "width_jet",
    "lha_wta_ca",
    "angularity_k1_b1.5",
)
SHAPES = tuple(name for name in OBSERVABLES if name not in UNSAFE) + MORE + GROOMED
EVERYTHING = tuple(name for name in OBSERVABLES if name != "charge") + MORE + GROOMED


def random_jet(seed: int) -> Array:
    """(n, 4) of pt, eta, phi, m: three sprays within a jet, and soft particles."""
    rng = np.random.default_rng(seed)
    n = rng.integers(4, 14, 3)
    centres = rng.normal(0, 0.3, (3, 2)) + np.array([rng.uniform(-1, 1), rng.uniform(-np.pi, np.pi)])
    sprays = [
        np.stack([rng.exponential(s, m) + 0.5, *rng.normal(c, 0.08, (m, 2)).T], axis=1)
        for m, c, s in zip(n, centres, (120.0, 60.0, 25.0), strict=True)
    ]
    soft = np.stack([rng.exponential(1.0, 6) + 0.1, *rng.normal(centres[0], 0.5, (6, 2)).T], axis=1)
    jet = np.concatenate([*sprays, soft])
    return np.concatenate([jet, rng.uniform(0, 0.5, (len(jet), 1))], axis=1)


def as_jet(rows: Array) -> Particles:
    columns = [np.ascontiguousarray(column) for column in rows.T]
    return Particles(four_vectors(*columns), np.array([0, len(rows)], np.int64))


def boosted(jet: Particles, shift: float) -> Particles:
    momenta = jet.momenta.copy()
    momenta[:, 2] = np.cosh(shift) * jet.momenta[:, 2] + np.sinh(shift) * jet.momenta[:, 3]
    momenta[:, 3] = np.cosh(shift) * jet.momenta[:, 3] + np.sinh(shift) * jet.momenta[:, 2]
    return Particles(momenta, jet.offsets)


def assert_same(one: Particles, two: Particles, names: tuple[str, ...], tolerance: float) -> None:
    before, after = substructure(one, 0.8, names), substructure(two, 0.8, names)
    for name in names:
        np.testing.assert_allclose(after[name], before[name], rtol=tolerance, atol=tolerance, err_msg=name)


@quick
@given(seeds, st.floats(-1.5, 1.5), st.floats(-3, 3))
def test_boost_along_the_beam_and_rotation_change_nothing(seed: int, shift: float, angle: float) -> None:
    rows = random_jet(seed)
    turned = rows + np.array([0, 0, angle, 0])
    assert_same(as_jet(rows), boosted(as_jet(turned), shift), EVERYTHING, 1e-6)


@quick
@given(seeds)
def test_order_of_the_constituents_does_not_matter(seed: int) -> None:
    rows = random_jet(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    assert_same(as_jet(rows), as_jet(rows[order]), EVERYTHING, 1e-7)


@quick
@given(seeds, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_soft_emission_changes_only_what_is_not_safe(seed: int, eta: float, phi: float) -> None:
    rows = random_jet(seed)
    hardest = rows[np.argmax(rows[:, 0])]
    soft = np.concatenate([rows, [[1e-9, hardest[1] + eta, hardest[2] + phi, 0.0]]])
    assert_same(as_jet(rows), as_jet(soft), (*SHAPES, "ptd"), 1e-5)
    assert substructure(as_jet(soft), 0.8, ["n"])["n"] == len(rows) + 1


@quick
@given(seeds, st.floats(0.1, 0.9))
def test_a_collinear_splitting_changes_only_what_is_not_safe(seed: int, share: float) -> None:
    """The hardest particle in two parallel parts: ptd falls, as sum z^2 is not linear in the pT."""
    rows = random_jet(seed)
    hardest = int(np.argmax(rows[:, 0]))
    rows[hardest, 3] = 0.0
    split = np.concatenate([rows, rows[hardest : hardest + 1]])
    split[hardest, 0] *= share
    split[-1, 0] *= 1 - share
    assert_same(as_jet(rows), as_jet(split), SHAPES, 1e-5)
    before, after = (substructure(as_jet(x), 0.8, ["ptd", "n", "angularity_k2_b1"]) for x in (rows, split))
    z = rows[hardest, 0] / rows[:, 0].sum()
    np.testing.assert_allclose(before["ptd"] ** 2 - after["ptd"] ** 2, 2 * share * (1 - share) * z**2, rtol=1e-6)
    assert after["n"] == before["n"] + 1


@quick
@given(seeds, st.floats(0.01, 100.0))
def test_dimensionless_observables_do_not_know_the_scale(seed: int, factor: float) -> None:
    rows = random_jet(seed)
    scaled = rows * np.array([factor, 1, 1, factor])
    lengths = {"msd", "ptsd", "msd_b1"}
    assert_same(as_jet(rows), as_jet(scaled), tuple(x for x in EVERYTHING if x not in lengths), 1e-6)
    before, after = (substructure(as_jet(x), 0.8, [*lengths, "tau2_raw"]) for x in (rows, scaled))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], factor * value, rtol=1e-5, atol=1e-5 * factor, err_msg=name)


@quick
@given(seeds, st.floats(0.3, 1.5))
def test_radius_scales_what_it_normalises(seed: int, radius: float) -> None:
    jet = as_jet(random_jet(seed))
    powers = {"tau1": 1, "tau2_b2": 2, "width": 1, "thrust": 2, "lha": 0.5, "tau21": 0, "d2": 0, "thetag": 1}
    one, other = substructure(jet, 1.0, powers), substructure(jet, radius, powers)
    for name, power in powers.items():
        np.testing.assert_allclose(other[name], one[name] * radius**-power, rtol=1e-9, err_msg=name)


@quick
@given(
    st.floats(0.05, 0.95), st.floats(0.05, 0.7), st.floats(-2, 2), st.floats(-3, 3), st.sampled_from([0.5, 1.0, 2.0])
)
def test_two_particles_have_their_analytic_values(z: float, angle: float, eta: float, phi: float, beta: float) -> None:
    low = min(z, 1 - z)
    jet = as_jet(np.array([[1000 * z, eta, phi, 0.0], [1000 * (1 - z), eta, phi + angle, 0.0]]))
    raised = angle**beta
    expected = {
        f"e2_b{beta}": z * (1 - z) * raised,
        f"e3_b{beta}": 0.0,
        f"d2_b{beta}": 0.0,
        f"tau1_b{beta}": low * raised,
        f"tau2_b{beta}": 0.0,
        f"angularity(beta={beta})": low * raised,
        "ptd": np.hypot(z, 1 - z),
        "n": 2.0,
        "zg_z0.04": low,
        "rg_z0.04": angle,
        "thetag_z0.04": angle,
        "ndropped_z0.04": 0.0,
        "msd_z0.04": 1000 * np.sqrt(2 * z * (1 - z) * (1 - np.cos(angle))),
    }
    values = substructure(jet, 1.0, expected)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-6, atol=1e-9, err_msg=name)


@quick
@given(st.integers(1, 5), seeds)
def test_n_particles_have_no_tau_n(n: int, seed: int) -> None:
    jet = as_jet(random_jet(seed)[:n])
    for axes in ("wta_kt", "wta_ca", "kt", "ca"):
        values = substructure(jet, 0.8, [f"tau{i}_{axes}" for i in range(1, 7)])
        for i, value in enumerate(values.values(), 1):
            assert value == 0 if i >= n else value > 0, (i, axes)


@quick
@given(seeds)
def test_more_axes_and_minimisation_lower_tau(seed: int) -> None:
    jet = as_jet(random_jet(seed))
    for axes in ("wta_kt", "kt", "ca", "wta_ca"):
        minimised = [substructure(jet, 0.8, [f"tau{n}_{axes}_min"])[f"tau{n}_{axes}_min"][0] for n in (1, 2, 3, 4)]
        seeded = [substructure(jet, 0.8, [f"tau{n}_{axes}"])[f"tau{n}_{axes}"][0] for n in (1, 2, 3, 4)]
        assert np.all(np.array(minimised) < np.array(seeded) + 1e-4)
        if axes == "wta_kt":
            assert np.all(np.diff(seeded) <= 0)


@quick
@given(seeds)
def test_correlators_are_the_sums_of_their_definition(seed: int) -> None:
    """Every pair and triangle, one by one."""
    rows = random_jet(seed)[:15]
    jet = as_jet(rows)
    z = rows[:, 0] / rows[:, 0].sum()
    rap, phi = jet.towards.T
    for beta in (0.5, 1.0, 2.0, 3.0):
        angles = np.hypot(rap[:, None] - rap, (phi[:, None] - phi + np.pi) % (2 * np.pi) - np.pi) ** beta
        pairs, v1, v2, v3 = 0.0, 0.0, 0.0, 0.0
        for i in range(len(z)):
            for j in range(i):
                pairs += z[i] * z[j] * angles[i, j]
                for k in range(j):
                    a, b, c = sorted([angles[i, j], angles[i, k], angles[j, k]])
                    weight = z[i] * z[j] * z[k]
                    v1, v2, v3 = v1 + weight * a, v2 + weight * a * b, v3 + weight * a * b * c
        values = substructure(jet, 0.8, [f"{x}_b{beta}" for x in ("1e2", "1e3", "2e3", "3e3", "m2", "n2", "c2", "d2")])
        expected = [pairs, v1, v2, v3, v1 / pairs, v2 / pairs**2, v3 / pairs**2, v3 / pairs**3]
        np.testing.assert_allclose(np.concatenate(list(values.values())), expected, rtol=1e-9)


def prongs(number: int, seed: int) -> Array:
    """Equal hard prongs at 0.3 of each other, each a narrow spray, with a little soft radiation."""
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(number) / number + rng.uniform(0, np.pi)
    centres = 0.0 if number == 1 else 0.2 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rows = np.repeat(np.broadcast_to(centres, (number, 2)), 10, axis=0) + rng.normal(0, 0.01, (10 * number, 2))
    soft = rng.uniform(-0.5, 0.5, (10, 2))
    pt = np.concatenate([np.full(10 * number, 500.0 / (10 * number)), rng.exponential(0.5, 10)])
    return np.column_stack([pt, np.concatenate([rows, soft]), np.zeros(len(pt))])


@pytest.mark.parametrize(
    ("name", "one", "two", "three"),
    [("tau21", 2, 1, None), ("tau32", None, 2, 1), ("d2", 2, 1, None), ("n2", 2, 1, None), ("m2", 2, 1, None)],
)
def test_prongs_order_the_tagging_observables(name: str, one: int | None, two: int, three: int | None) -> None:
    """Rank 1 is the smaller: two prongs against one for tau21, D2, N2, M2; three against two for tau32."""
    medians = [
        np.median([substructure(as_jet(prongs(n, s)), 0.8, [name])[name][0] for s in range(30)]) for n in (1, 2, 3)
    ]
    ranks = {rank: value for rank, value in zip((one, two, three), medians, strict=True) if rank is not None}
    assert ranks[1] < 0.6 * ranks[2], medians


def test_nothing_and_one_particle() -> None:
    """NaN without particles; without a pair, ratios are undefined and sums are zero."""
    one = four_vectors(*(np.array([x]) for x in (50.0, 0.3, 1.0, 0.5)))
    jets = Particles(one, np.array([0, 1, 1], np.int64), np.array([1.0]))
    names = [*OBSERVABLES, *MORE, *GROOMED, "tau2_kt_min"]
    values = substructure(jets, 0.8, names)
    assert all(np.isnan(value[1]) for name, value in values.items() if name not in ("n",))
    assert values["n"].tolist() == [1.0, 0.0]
    assert values["ptd"][0] == values["charge"][0] == 1.0
    undefined = {name for name in names if np.isnan(values[name][0])}
    quotients = {name for name, x in OBSERVABLES.items() if x.quotient or name in ("c2", "d2", "n2", "m2")}
    assert undefined == quotients | {
        "tau21_kt",
        "tau32_ca",
        "tau21_wta_ca",
        "d2_b2",
        "n2_b2",
        "c2_b0.5",
        "sd_d2",
        "sd_tau21",
    }


def test_nothing_at_all() -> None:
    empty = Particles(np.empty((0, 4)), np.zeros(1, np.int64))
    assert all(value.shape == (0,) for value in substructure(empty, 0.8, EVERYTHING).values())
