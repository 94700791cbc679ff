"""Jet observables against fjcontrib (through fastjet's Python interfaces), stored values, and formulas from the papers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import fastjet
import fastjet._swig as swig
import numpy as np
import pytest
from scipy.optimize import minimize

from resonaut.processors import Particles, collection_jets, flatten_particles, leading_jets, source, substructure
from resonaut.processors.jets.kernels_cluster import cluster_events
from resonaut.processors.jets.particles import chosen_jets, constituents_of, linked_constituents

Array = np.ndarray[Any, Any]
RADIUS = 0.8
BETAS = (0.5, 1.0, 1.7, 2.0)


def leading_constituents(particles: Particles) -> Particles:
    _, offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, 1.0, -1.0, 20.0
    )
    present = np.arange(2) < np.diff(offsets)[:, None]
    chosen = (offsets[:-1, None] + np.arange(2))[present]
    return chosen_jets(particles, members, bounds[chosen], bounds[chosen + 1])


def toy_jets(request: pytest.FixtureRequest) -> Particles:
    return leading_constituents(flatten_particles(request.getfixturevalue("toy_particles"))[0])


def simulated_jets(request: pytest.FixtureRequest) -> Particles:
    """Leading jets of 80 simulated QCD and signal events."""
    path = str(request.getfixturevalue("reference_data") / "sim" / "particles_sample.h5")
    events = [source("lhco-particles").read(path, start, start + 40).PFCand for start in (0, 20_500)]
    return leading_constituents(flatten_particles(ak.concatenate(events))[0])


def pfnano_jets(request: pytest.FixtureRequest) -> Particles:
    """Fat jets of CMS with 40 to 200 weighted candidates."""
    path = str(request.getfixturevalue("reference_data") / "root" / "pfnano.root")
    events = source("pfnano").read(path, 0, 10)
    links = linked_constituents(events)
    assert links is not None
    return constituents_of(links, ak.argsort(events.FatJet.pt, axis=1, ascending=False), charges=True)


SAMPLES = {"toys": toy_jets, "simulation": simulated_jets, "pfnano": pfnano_jets}


@pytest.fixture(scope="module", params=SAMPLES)
def jets(request: pytest.FixtureRequest) -> Particles:
    return SAMPLES[request.param](request)


def reclustered(jets: Particles) -> Any:
    """fastjet's own Cambridge/Aachen jets."""
    flat = ak.zip({k: jets.momenta[:, i] for i, k in enumerate(("px", "py", "pz", "E"))}, with_name="Momentum4D")
    widest = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    return fastjet.ClusterSequence(ak.unflatten(flat, np.diff(jets.offsets)), widest)


@pytest.fixture(scope="module")
def sequence(jets: Particles) -> Any:
    return reclustered(jets)


@pytest.mark.parametrize("axes", ["wta_kt", "wta_ca", "kt", "ca"])
@pytest.mark.parametrize("measure", ["normalised", "raw"])
def test_n_subjettiness_of_all_axes_and_betas(jets: Particles, sequence: Any, axes: str, measure: str) -> None:
    contrib = f"{axes.upper()}_Axes"
    for beta in BETAS:
        names = [f"tau{n}(beta={beta},axes={axes},measure={measure})" for n in range(1, 6)]
        ours = np.stack(list(substructure(jets, RADIUS, names).values()), axis=1)
        theirs = sequence.njettiness(
            measure_definition="NormalizedMeasure" if measure == "normalised" else "UnnormalizedMeasure",
            axes_definition=contrib,
            njets=[1, 2, 3, 4, 5],
            beta=beta,
            R0=RADIUS,
        )
        scale = 1.0 if measure == "normalised" else 1000.0
        # exponents below 1 magnify the rounding of a particle's distance to an axis that lies on it
        precision = 1e-9 if beta >= 1 else 1e-6
        enough = np.diff(jets.offsets)[:, None] > np.arange(1, 6)
        np.testing.assert_allclose(ours[enough], ak.to_numpy(theirs)[enough], rtol=1e-8, atol=precision * scale)


@pytest.mark.parametrize("axes", ["wta_kt", "kt", "ca"])
def test_minimised_axes_reach_the_minimum_of_fjcontrib(jets: Particles, sequence: Any, axes: str) -> None:
    """One axis: the same number. More: never above fjcontrib's value, which sometimes ends before its minimum."""
    for beta in (1.0, 2.0):
        names = [f"tau{n}(beta={beta},axes={axes},passes=1)" for n in (1, 2, 3)]
        ours = np.stack(list(substructure(jets, RADIUS, names).values()), axis=1)
        contrib = f"OnePass_{axes.upper()}_Axes"
        options = {"measure_definition": "NormalizedMeasure", "axes_definition": contrib, "beta": beta, "R0": RADIUS}
        theirs = ak.to_numpy(sequence.njettiness(**options, njets=[1, 2, 3]))
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-9, atol=1e-12)
        assert np.max(ours - theirs) < 1e-4
        assert np.median(np.abs(ours - theirs)) < 1e-5
        seeds = [f"tau{n}(beta={beta},axes={axes})" for n in (1, 2, 3)]
        gain = np.stack(list(substructure(jets, RADIUS, seeds).values()), axis=1) - ours
        assert gain.min() > -1e-4
        assert gain.max() > 1e-3


def test_minimised_axis_is_the_minimum_that_a_general_minimiser_finds(jets: Particles) -> None:
    """tau1 with beta = 1 is convex: scipy's simplex finds the minimum, and the iteration ends just above it.

    It ends when an axis moves by less than 1e-4, as in fjcontrib; from a seed on a hard particle steps are small.
    """

    def formula(pt: Array, rap: Array, phi: Array) -> float:
        phi = (phi - phi[np.argmax(pt)] + np.pi) % (2 * np.pi) - np.pi
        start = [np.average(rap, weights=pt), np.average(phi, weights=pt)]
        found = minimize(lambda x: pt @ np.hypot(rap - x[0], phi - x[1]), start, method="Nelder-Mead", tol=1e-10)
        return float(found.fun / pt.sum() / RADIUS)

    truth = by_hand(jets, formula)
    for values in substructure(jets, RADIUS, ["tau1_min", "tau1_kt_min"]).values():
        assert np.min(values - truth) > -1e-9
        assert np.max(values - truth) < 5e-3  # 0.003 in one jet of 160
        assert np.median(values - truth) < 1e-4


def test_soft_drop_of_any_beta_and_cut(jets: Particles, sequence: Any) -> None:
    for beta, zcut in itertools.product((0.0, 1.0, 2.0), (0.05, 0.1, 0.2)):
        options = f"(beta={beta},zcut={zcut})"
        ours = substructure(jets, RADIUS, [f"{x}{options}" for x in ("msd", "ptsd", "zg", "rg")])
        found = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=zcut, R0=RADIUS)
        kept = Particles(jets.momenta, jets.offsets)
        groomed = substructure(kept, RADIUS, [f"sd{options}_n"])[f"sd{options}_n"]
        np.testing.assert_array_equal(groomed, ak.to_numpy(ak.num(found.constituents)))
        msd, ptsd, zg, rg = ours.values()
        np.testing.assert_allclose(ptsd, ak.to_numpy(found.ptsoftdrop), rtol=1e-9)
        np.testing.assert_allclose(msd, np.maximum(ak.to_numpy(found.msoftdrop), 0), rtol=1e-5, atol=0.02)
        split = groomed > 1
        np.testing.assert_allclose(zg[split], ak.to_numpy(found.symmetrysoftdrop)[split], rtol=1e-9)
        np.testing.assert_allclose(rg[split], ak.to_numpy(found.deltaRsoftdrop)[split], rtol=1e-7, atol=1e-9)
        assert np.all(zg[~split] == 0)
        assert np.all(rg[~split] == 0)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 1.3])
def test_energy_correlators(jets: Particles, sequence: Any, beta: float) -> None:
    calls = {
        "e2": {"func": "c1"},
        "c2": {"func": "c2"},
        "d2": {"func": "d2"},
        "n2": {"func": "n2"},
        "m2": {"func": "m2"},
        "1e3": {"func": "generalized", "npoint": 3, "angles": 1},
        "2e3": {"func": "generalized", "npoint": 3, "angles": 2},
        "3e3": {"func": "generalized", "npoint": 3, "angles": 3},
    }
    ours = substructure(jets, RADIUS, [f"{name}_b{beta}" for name in calls])
    for (name, call), values in zip(calls.items(), ours.values(), strict=True):
        theirs = ak.to_numpy(sequence.exclusive_jets_energy_correlator(njets=1, beta=beta, **call))
        defined = np.isfinite(values)
        assert defined.sum() > 0.9 * len(values)
        np.testing.assert_allclose(values[defined], theirs[defined], rtol=1e-8, atol=1e-14, err_msg=name)


def test_groomed_observables_are_those_of_fjcontribs_groomed_constituents(jets: Particles, sequence: Any) -> None:
    found = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=1.0, symmetry_cut=0.05, R0=RADIUS).constituents
    momenta = np.stack([ak.to_numpy(ak.flatten(found[x])) for x in ("px", "py", "pz", "E")], axis=1)
    offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(found)))]).astype(np.int64)
    names = ("tau21", "d2", "width", "lha", "ptd", "e2_b2", "n")
    direct = substructure(Particles(momenta, offsets), RADIUS, names)
    ours = substructure(jets, RADIUS, [f"sd(beta=1,zcut=0.05)_{x}" for x in names])
    for name in names:
        np.testing.assert_allclose(ours[f"sd(beta=1,zcut=0.05)_{name}"], direct[name], rtol=1e-7, atol=1e-9)


def by_hand(jets: Particles, function: Callable[[Array, Array, Array], float]) -> Array:
    """A formula of (pT, rapidity, phi) evaluated jet by jet; rapidity and angle as fastjet's PseudoJet gives them."""
    out = []
    for a, b in itertools.pairwise(jets.offsets):
        found = [swig.PseudoJet(*map(float, row)) for row in jets.momenta[a:b]]
        out.append(function(*(np.array([getattr(p, x)() for p in found]) for x in ("pt", "rap", "phi"))))
    return np.array(out)


def distances(rap: Array, phi: Array, axis: Any) -> Array:
    return np.array([axis.delta_R(point(*x)) for x in zip(rap, phi, strict=True)])


def point(rap: float, phi: float) -> Any:
    return swig.PtYPhiM(1.0, float(rap), float(phi), 0.0)


def winner(jets: Particles, algorithm: int) -> list[Any]:
    """fastjet's winner-take-all axes."""
    definition = swig.JetDefinition(algorithm, 1000.0, swig.WTA_pt_scheme)
    axes = []
    for a, b in itertools.pairwise(jets.offsets):
        found = swig.ClusterSequence([swig.PseudoJet(*map(float, row)) for row in jets.momenta[a:b]], definition)
        axis = found.exclusive_jets_up_to(1)[0]
        axes.append(point(axis.rap(), axis.phi()))
    return axes


@pytest.mark.parametrize(("kappa", "beta"), [(1.0, 0.5), (1.0, 1.0), (1.0, 2.0), (2.0, 0.0), (1.5, 0.7), (0.0, 0.0)])
def test_angularities_about_every_axis(jets: Particles, kappa: float, beta: float) -> None:
    summed = [
        sum((swig.PseudoJet(*map(float, row)) for row in jets.momenta[a:b]), swig.PseudoJet())
        for a, b in itertools.pairwise(jets.offsets)
    ]
    axes = {
        "wta_kt": winner(jets, swig.kt_algorithm),
        "wta_ca": winner(jets, swig.cambridge_algorithm),
        "jet": [point(jet.rap(), jet.phi()) for jet in summed],
    }
    for name, directions in axes.items():
        one = iter(directions)

        def formula(pt: Array, rap: Array, phi: Array, one: Any = one) -> float:
            return float(np.sum((pt / pt.sum()) ** kappa * (distances(rap, phi, next(one)) / RADIUS) ** beta))

        ours = substructure(jets, RADIUS, [f"angularity(kappa={kappa},beta={beta},axes={name})"])
        expected = by_hand(jets, formula)
        np.testing.assert_allclose(next(iter(ours.values())), expected, rtol=1e-6, atol=1e-6)


def test_named_angularities_are_special_cases(jets: Particles) -> None:
    pairs = {
        "lha": "angularity_k1_b0.5",
        "width": "angularity_k1_b1",
        "thrust": "angularity_k1_b2",
        "n": "angularity_k0_b0",
        "tau1": "width",
        "tau1b2": "thrust",
    }
    values = substructure(jets, RADIUS, [*pairs, *pairs.values(), "ptd"])
    for one, two in pairs.items():
        np.testing.assert_allclose(values[one], values[two], rtol=1e-12)
    expected = by_hand(jets, lambda pt, *_: float(np.sqrt(np.sum(pt**2)) / pt.sum()))
    np.testing.assert_allclose(values["ptd"], expected, rtol=1e-12)


def test_jet_charge_is_the_weighted_sum(reference_data: Path) -> None:
    events = source("pfnano").read(str(reference_data / "root" / "pfnano.root"), 0, 10)
    table = collection_jets(events, "FatJet", 0.8, 3, ("charge", "charge_k1", "n"))
    links, jets = events.FatJetPFCands, events.FatJet
    for event in range(10):
        order = np.argsort(-ak.to_numpy(jets[event].pt), kind="stable")[:3]
        for rank, jet in enumerate(order):
            mine = events.PFCands[event][links[event].pFCandsIdx[links[event].jetIdx == jet]]
            mine = mine[mine.pt * mine.puppiWeight > 0]
            pt, q = ak.to_numpy(mine.pt * mine.puppiWeight).astype(float), ak.to_numpy(mine.charge)
            total = np.hypot(np.sum(pt * np.cos(mine.phi)), np.sum(pt * np.sin(mine.phi)))
            assert table.columns["n"][event, rank] == len(pt)
            for name, kappa in (("charge", 0.5), ("charge_k1", 1.0)):
                np.testing.assert_allclose(
                    table.columns[name][event, rank], np.sum(q * pt**kappa) / total**kappa, rtol=1e-5
                )


def test_pfnano_values_that_cms_stored(reference_data: Path) -> None:
    """N2 of groomed and N-subjettiness of one-pass kT axes as CMS computed them, to the precision of stored candidates."""
    events = source("pfnano").read(str(reference_data / "root" / "pfnano.root"), 0, 10)
    order = ak.argsort(events.FatJet.pt, axis=1, ascending=False, stable=True)
    jets = ak.flatten(events.FatJet[order])
    links = linked_constituents(events)
    assert links is not None
    ours = substructure(constituents_of(links, order), 0.8, ["sd_n2", *(f"tau{n}_kt_min" for n in (1, 2, 3, 4))])
    stored = ak.to_numpy(jets["n2b1"])
    groomed = stored > 0
    assert groomed.sum() > 15
    assert np.median(np.abs(ours["sd_n2"] / stored - 1)[groomed]) < 0.02
    for n in (1, 2, 3, 4):
        assert np.median(np.abs(ours[f"tau{n}_kt_min"] / ak.to_numpy(jets[f"tau{n}"]) - 1)) < 0.01, n


def test_default_columns_of_any_number_of_jets_are_the_same(toy_particles: Any) -> None:
    """The k leading jets are the same jets for every k."""
    particles = flatten_particles(toy_particles)[0]
    four, one = leading_jets(particles, 4), leading_jets(particles, 1)
    for name, column in one.columns.items():
        np.testing.assert_array_equal(column, four.columns[name][:, :1])
    count = four.count
    assert {min(4, int(x)) for x in count} == {int(x) for x in np.isfinite(four.columns["tau1"]).sum(axis=1)}
