"""Kernels against independent software, jet by jet: fastjet, fjcontrib through it, and published feature files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import awkward as ak
import fastjet
import h5py
import numpy as np
import pytest

from resonaut.processors import ALGORITHMS, Particles, cluster, flatten_particles, source, substructure
from resonaut.processors.jets.kernels_cluster import cluster_events

FASTJET = {
    "antikt": fastjet.antikt_algorithm,
    "cambridge": fastjet.cambridge_algorithm,
    "kt": fastjet.kt_algorithm,
}
PTMIN = 5.0


def as_momenta(particles: Particles) -> Any:
    flat = ak.zip({k: particles.momenta[:, i] for i, k in enumerate(("px", "py", "pz", "E"))}, with_name="Momentum4D")
    return ak.unflatten(flat, np.diff(particles.offsets))


def sorted_fastjet(particles: Particles, algorithm: str, radius: float) -> tuple[Any, Any]:
    """fastjet's inclusive jets and constituent indices, ordered by falling pT."""
    definition = fastjet.JetDefinition(FASTJET[algorithm], radius)
    sequence = fastjet.ClusterSequence(as_momenta(particles), definition)
    jets = sequence.inclusive_jets(PTMIN)
    order = ak.argsort(np.hypot(jets.px, jets.py), ascending=False)
    return jets[order], sequence.constituent_index(PTMIN)[order]


@pytest.fixture(scope="module")
def real_particles(reference_data: Path) -> Particles:
    """160 simulated QCD and signal events."""
    path = str(reference_data / "sim" / "particles_sample.h5")
    events = [source("lhco-particles").read(path, start, start + 80).PFCand for start in (0, 20_500)]
    return flatten_particles(ak.concatenate(events))[0]


def check_against_fastjet(particles: Particles, algorithm: str, radius: float) -> None:
    power = ALGORITHMS[algorithm]
    jets, jet_offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, radius, power, PTMIN
    )
    truth, truth_members = sorted_fastjet(particles, algorithm, radius)
    assert np.diff(jet_offsets).tolist() == ak.num(truth).to_list()
    for i, name in enumerate(("px", "py", "pz", "E")):
        np.testing.assert_allclose(jets[:, i], ak.to_numpy(ak.flatten(truth[name])), rtol=1e-9, atol=1e-7)
    local = members - np.repeat(
        np.repeat(particles.offsets[:-1], np.diff(jet_offsets)), np.diff(bounds)
    )  # fastjet counts within the event
    expected = ak.sort(ak.flatten(truth_members, axis=1), axis=1)
    assert np.diff(bounds).tolist() == ak.num(expected).to_list()
    np.testing.assert_array_equal(local, ak.to_numpy(ak.flatten(expected)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("radius", [0.4, 1.0])
def test_clustering_agrees_with_fastjet_on_toys(toy_particles: Any, algorithm: str, radius: float) -> None:
    check_against_fastjet(flatten_particles(toy_particles)[0], algorithm, radius)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_clustering_agrees_with_fastjet_on_events(real_particles: Particles, algorithm: str) -> None:
    check_against_fastjet(real_particles, algorithm, 1.0)


def leading_constituents(particles: Particles) -> Particles:
    """Constituents of the two leading anti-kT jets of each event, found by fastjet."""
    _, members = sorted_fastjet(particles, "antikt", 1.0)
    chosen = ak.flatten(members[:, :2], axis=1)
    event = np.repeat(particles.offsets[:-1], ak.to_numpy(ak.num(members[:, :2])))
    rows = ak.to_numpy(ak.flatten(chosen + event))
    offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(chosen)))]).astype(np.int64)
    return Particles(particles.momenta[rows], offsets)


def check_substructure(jets: Particles, radius: float) -> None:
    ours = substructure(jets, radius)
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    sequence = fastjet.ClusterSequence(as_momenta(jets), definition)
    options = {"measure_definition": "NormalizedMeasure", "axes_definition": "WTA_KT_Axes", "R0": radius}
    taus = ak.to_numpy(sequence.njettiness(**options, njets=[1, 2, 3, 4], beta=1.0))
    for i in range(4):
        np.testing.assert_allclose(ours[f"tau{i + 1}"], taus[:, i], rtol=1e-9, atol=1e-12)
    squared = ak.to_numpy(sequence.njettiness(**options, njets=[1], beta=2.0))[:, 0]
    np.testing.assert_allclose(ours["tau1b2"], squared, rtol=1e-9, atol=1e-12)
    groomed = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=radius)
    # the mass of a light jet is a small difference of large squares: its square is known to 1e-12 of E^2
    np.testing.assert_allclose(ours["msd"], np.maximum(ak.to_numpy(groomed.msoftdrop), 0), rtol=1e-5, atol=0.02)


@pytest.mark.parametrize("radius", [0.8, 1.0])
def test_substructure_agrees_with_fjcontrib_on_toys(toy_particles: Any, radius: float) -> None:
    check_substructure(leading_constituents(flatten_particles(toy_particles)[0]), radius)


def test_substructure_agrees_with_fjcontrib_on_events(real_particles: Particles) -> None:
    check_substructure(leading_constituents(real_particles), 1.0)


def test_particle_sample_gives_its_feature_file(reference_data: Path) -> None:
    """Every feature of 600 events as an independent program (Pythia, fastjet, fjcontrib in C++) stored it in float32."""
    folder = reference_data / "sim"
    events = source("lhco-particles").read(str(folder / "particles_sample.h5"), 19_700, 20_300)
    pair = cluster(flatten_particles(events.PFCand)[0])
    with h5py.File(folder / "particles_sample.features.h5") as file:
        names = [name.decode() for name in file["df/axis0"][:]]
        rows = dict(zip(names, file["df/block0_values"][19_700:20_300].T.astype(float), strict=True))
    assert 0 < rows["label"].sum() < 600  # both kinds
    np.testing.assert_array_equal(pair.count, rows["nj"])
    stored = {"m": "m", "tau1": "tau1", "tau2": "tau2", "tau3": "tau3", "tau4": "tau4", "tau1b2": "tau1b2", "n": "ntrk"}
    for j in range(2):
        pt = np.hypot(rows[f"pxj{j + 1}"], rows[f"pyj{j + 1}"])
        np.testing.assert_allclose(pair.columns["pt"][:, j], pt, rtol=1e-6)
        for ours, theirs in stored.items():
            np.testing.assert_allclose(
                pair.columns[ours][:, j],
                rows[f"{theirs}j{j + 1}"],
                rtol=1e-6,
                atol=1e-8,
                err_msg=f"{ours} of jet {j + 1}",
            )


def test_lhc_olympics_file_gives_independent_features(reference_data: Path) -> None:
    """The first 200 events of the published format against somebody else's clustering of them."""
    folder = reference_data / "lhco"
    events = source("lhco-particles").read(str(folder / "events_anomalydetection_tiny.h5"), 0, 200)
    with (folder / "events_anomalydetection_tiny.features.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    pair = cluster(flatten_particles(events.PFCand)[0])
    for j in range(2):
        for ours, theirs in (("pt", "pT"), ("m", "m"), ("eta", "eta"), ("phi", "phi"), ("n", "nhadrons")):
            np.testing.assert_allclose(
                pair.columns[ours][:, j], columns[f"{theirs}_j{j + 1}"], rtol=1e-6, atol=1e-6, err_msg=theirs
            )
