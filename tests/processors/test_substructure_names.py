"""Names of observables, what is computed for them, and where values come from: constituents, stored columns, nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import NanoEventsFactory

from resonaut.errors import ConfigError, InputError
from resonaut.processors import (
    DEFAULT_OBSERVABLES,
    OBSERVABLES,
    DijetFeatures,
    Particles,
    cluster,
    collection_jets,
    flatten_particles,
    leading_jets,
    parse_observable,
    source,
    substructure,
)
from resonaut.processors.events.schema import ParticleSchema, events_from_columns
from resonaut.processors.jets import shared
from resonaut.processors.jets.pair import collection_pair


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("tau1b2", "tau1_b2"),
        ("tau1_b2", "tau1(beta=2)"),
        ("tau21_kt_min", "tau21(axes=kt,passes=1)"),
        ("tau21_min_kt", "tau21_kt_min"),
        ("tau2_raw_wta_ca_b0.5", "tau2( beta = 0.5, axes=wta_ca, measure=raw )"),
        ("msd_b1_z0.05", "msd(zcut=0.05,beta=1)"),
        ("angularity_k1_b0.5", "angularity(kappa=1,beta=0.5)"),
        ("charge_k0.3", "charge(kappa=0.3)"),
        ("sd_d2_b2", "sd(zcut=0.1,beta=0)_d2(beta=2)"),
        ("sd(beta=0)_n2", "sd_n2_b1"),
        ("mmdt", "msd"),
        ("3e3_b2", "e3_b2"),
        ("tau1_wta_kt", "tau1"),
    ],
)
def test_two_spellings_of_one_thing(one: str, two: str) -> None:
    assert parse_observable(one).key == parse_observable(two).key
    assert parse_observable(one).name == one


def test_different_things_are_different() -> None:
    names = [*OBSERVABLES, "tau1_b2", "tau1_kt", "tau1_min", "tau1_raw", "d2_b2", "sd_d2", "sd(beta=1)_d2", "msd_z0.2"]
    assert len({parse_observable(name).key for name in names}) == len(names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tua21", "'tau21'"),
        ("tau12", "unknown observable 'tau12'"),
        ("", "unknown observable ''"),
        ("sd_", "unknown observable 'sd_'"),
        ("widht", "did you mean 'width'"),
        ("d2(beta=2", "unknown observable"),
        ("d2_b", "cannot read the option '_b'"),
        ("tau21_kt_mim", "cannot read the option '_mim'"),
        ("d2_kt", "d2 takes beta, got axes"),
        ("n_b1", "n takes no options, got beta"),
        ("tau21_raw", "got measure"),
        ("d2(gamma=2)", "unknown option 'gamma'"),
        ("d2(beta)", "expected key=value"),
        ("d2(beta=two)", "expected a number"),
        ("tau1(axes=antikt)", "unknown axes 'antikt'"),
        ("tau1(measure=conical)", "unknown measure"),
        ("tau1(passes=3)", "expected 0 or 1"),
        ("tau2_jet", "the jet axis is only one"),
        ("tau2_b0.5_min", "1 <= beta < 3"),
        ("e2_b0", "expected a positive exponent"),
        ("e2(beta=-1)", "beta is -1"),
        ("e2(beta=nan)", "beta is nan"),
        ("angularity(kappa=-1)", "kappa is -1"),
        ("zg_z0.5", "0 <= zcut < 0.5"),
        ("sd(kappa=1)_n", "soft drop takes zcut and beta"),
        ("sd(zcut=0.9)_n", "0 <= zcut < 0.5"),
    ],
)
def test_names_that_cannot_be_understood_say_why(name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected.replace("(", r"\(")):
        parse_observable(name)


def test_a_string_is_not_a_list_of_names(toy_particles: Any) -> None:
    with pytest.raises(ConfigError, match="expected a list of names"):
        cluster(flatten_particles(toy_particles)[0], observables="tau21")


def test_every_observable_says_what_it_is() -> None:
    for name, observable in OBSERVABLES.items():
        assert observable.name == name
        assert observable.meaning
        assert observable.reference
        assert set(observable.defaults) <= {"beta", "kappa"}


def test_columns_are_called_as_they_were_asked_for(toy_particles: Any) -> None:
    particles = flatten_particles(toy_particles)[0]
    names = ("tau21_kt_min", "angularity(kappa=1,beta=0.5)", "sd_d2", "tau21_kt_min")
    table = leading_jets(particles, 3, observables=names)
    assert list(table.columns) == ["pt", "eta", "phi", "m", *names[:3]]
    assert all(column.shape == (20, 3) for column in table.columns.values())
    pair = cluster(particles, observables=names)
    two = pair.count >= 2
    for name, column in pair.columns.items():
        np.testing.assert_array_equal(column[two], table.columns[name][two][:, :2])
    assert list(cluster(particles).columns) == ["pt", "eta", "phi", "m", *DEFAULT_OBSERVABLES]


def test_only_what_is_asked_for_is_computed_and_that_once(toy_particles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the calls of every kernel."""
    calls: dict[str, int] = {}

    def counted(name: str) -> None:
        kernel = getattr(shared, name)

        def call(*arguments: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return kernel(*arguments)

        monkeypatch.setattr(shared, name, call)

    kernels = (
        "trees",
        "winner_axes",
        "exclusive_axes",
        "refined_axes",
        "tau_sums",
        "soft_drop",
        "groomed_members",
        "pair_sums",
        "triple_sums",
        "triangle_sums",
        "moments",
        "charge_sums",
        "sums",
        "jet_momenta",
    )
    for name in kernels:
        counted(name)
    jets = flatten_particles(toy_particles)[0]
    substructure(jets, 1.0, ["n"])
    assert calls == {}
    substructure(jets, 1.0, ["tau21", "tau1", "tau2", "tau32", "width"])
    assert calls == {"winner_axes": 1, "tau_sums": 3, "sums": 1, "moments": 1}
    calls.clear()
    substructure(jets, 1.0, ["msd", "zg", "rg", "msd_b1", "tau1_ca", "sd_n", "sd_ptd"])
    assert calls == {
        "trees": 1,
        "soft_drop": 2,
        "exclusive_axes": 1,
        "tau_sums": 1,
        "groomed_members": 1,
        "sums": 2,
        "jet_momenta": 1,
        "moments": 1,
    }
    calls.clear()
    substructure(jets, 1.0, ["c2", "d2", "n2", "m2", "e2", "3e3"])
    assert calls == {"pair_sums": 1, "triple_sums": 1, "triangle_sums": 1}


def events_of(path: Path, log: list[Any]) -> Any:
    return NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=ParticleSchema, access_log=log).events()


@pytest.mark.parametrize(
    ("observables", "branches"),
    [
        (("tau21",), {"tau1", "tau2"}),
        (("msd", "n"), {"msoftdrop", "nConstituents"}),
        (("sd_n2",), {"n2b1"}),
        ((), set()),
        (("tau4", "tau43"), {"tau3", "tau4"}),
    ],
)
def test_only_the_branches_that_are_needed_are_read(reference_data: Path, observables: Any, branches: set[str]) -> None:
    log: list[Any] = []
    events = events_of(reference_data / "root" / "nano_tt_v12.root", log)
    table = collection_jets(events, "FatJet", 0.8, 3, observables)
    read = {access.branch for access in log}
    kinematics = {"nFatJet", *(f"FatJet_{x}" for x in ("pt", "eta", "phi", "mass"))}
    assert read == kinematics | {f"FatJet_{x}" for x in branches}
    assert list(table.columns) == ["pt", "eta", "phi", "m", *observables]


def test_stored_quotient_is_that_of_the_stored_values(reference_data: Path) -> None:
    events = events_of(reference_data / "root" / "nano_tt_v12.root", [])
    table = collection_jets(events, "FatJet", 0.8, 2, ("tau32", "sd_n2"))
    jets = events.FatJet[:, :2]
    present = np.isfinite(table.columns["tau32"])
    assert present.sum() == ak.sum(ak.num(jets)) > 100
    np.testing.assert_allclose(table.columns["tau32"][present], ak.to_numpy(ak.flatten(jets["tau3"] / jets["tau2"])))
    np.testing.assert_allclose(table.columns["sd_n2"][present], ak.to_numpy(ak.flatten(jets["n2b1"])))


def test_what_is_neither_stored_nor_computable_is_an_error_when_asked_for(reference_data: Path) -> None:
    events = events_of(reference_data / "root" / "nano_tt_v12.root", [])
    with pytest.raises(InputError, match=r"neither stores d2, tau21_kt_min nor has constituents"):
        collection_jets(events, "FatJet", 0.8, 2, ("tau21", "d2", "tau21_kt_min"))
    assert "tau1b2" not in collection_jets(events, "FatJet", 0.8).columns


def test_options_are_not_taken_from_columns_of_other_options() -> None:
    columns = {
        "nFatJet": np.array([1]),
        **{f"FatJet_{x}": np.array([1.0]) for x in ("pt", "eta", "phi", "mass", "tau1", "tau2")},
    }
    columns = {name: ak.Array([values]) if name != "nFatJet" else values for name, values in columns.items()}
    events = events_from_columns({**columns, "FatJet_tau1b2": ak.Array([[0.25]])}, 1, "memory", 0, None)
    assert collection_jets(events, "FatJet", 0.8, 1, ["tau1_b2"]).columns["tau1_b2"].tolist() == [[0.25]]
    assert collection_jets(events, "FatJet", 0.8, 1, ["tau1_wta_kt"]).columns["tau1_wta_kt"].tolist() == [[1.0]]
    for name in ("tau21_kt", "tau2_b2", "sd_tau1"):
        with pytest.raises(InputError, match="neither stores"):
            collection_jets(events, "FatJet", 0.8, 1, [name])


def test_linked_constituents_give_any_observable_of_k_jets(reference_data: Path) -> None:
    log: list[Any] = []
    events = events_of(reference_data / "root" / "pfnano.root", log)
    names = ("d2", "tau21_kt_min", "sd_n2", "zg")
    table = collection_jets(events, "FatJet", 0.8, 4, names)
    assert not {access.branch for access in log} & {"PFCands_charge", "FatJet_tau1", "PFCands_pdgId", "PFCands_d0"}
    counts = ak.to_numpy(ak.num(events.FatJet))
    assert table.count.tolist() == counts.tolist()
    np.testing.assert_array_equal(np.isfinite(table.columns["tau21_kt_min"]).sum(axis=1), np.minimum(counts, 4))
    pair = collection_pair(events, "FatJet", 0.8, names)
    two = counts >= 2
    for name in names:
        np.testing.assert_array_equal(pair.columns[name][two], table.columns[name][two][:, :2])
        assert np.isnan(pair.columns[name][~two]).all()


def linked(index: list[list[int]], pt: list[list[float]]) -> Any:
    """Two events with a jet each, and links of jets to candidates."""
    columns: dict[str, Any] = {"FatJet_pt": ak.Array([[200.0], [300.0]])}
    columns |= {f"FatJet_{x}": ak.Array([[0.0], [0.0]]) for x in ("eta", "phi", "mass")}
    columns |= {"PFCands_pt": ak.Array(pt), "PFCands_eta": ak.Array([[0.1, -0.1, 0.0], [0.2, -0.2, 0.0]])}
    columns |= {f"PFCands_{x}": ak.Array([[0.0] * 3] * 2) for x in ("phi", "mass")}
    columns |= {"FatJetPFCands_pFCandsIdx": ak.Array(index), "FatJetPFCands_jetIdx": ak.Array([[0] * 3] * 2)}
    columns |= {f"n{name}": ak.Array([n, n]) for name, n in (("FatJet", 1), ("PFCands", 3), ("FatJetPFCands", 3))}
    return events_from_columns(columns, 2, "memory", 0, {"dataset": "links"})


def test_links_to_no_candidate_are_left_out_and_impossible_ones_refused() -> None:
    pt = [[100.0, 50.0, 10.0], [90.0, 60.0, 20.0]]
    events = linked([[0, 1, -1], [-1, 0, 1]], pt)
    found = collection_jets(events, "FatJet", 0.8, 1, ["n", "ptd"])
    assert found.columns["n"][:, 0].tolist() == [2, 2]
    expected = [np.hypot(100, 50) / 150, np.hypot(90, 60) / 150]
    np.testing.assert_allclose(found.columns["ptd"][:, 0], expected)
    with pytest.raises(InputError, match="points to candidate 3"):
        collection_jets(linked([[0, 1, 3], [0, 1, 2]], pt), "FatJet", 0.8, 1, ["n"])


def test_a_jet_with_a_constituent_that_is_not_finite_has_no_number_of_them() -> None:
    events = linked([[0, 1, 2], [0, 1, 2]], [[100.0, float("nan"), 10.0], [90.0, 60.0, 20.0]])
    found = collection_jets(events, "FatJet", 0.8, 1, ["n", "tau1"])
    assert np.isnan(found.columns["n"]).tolist() == [[True], [False]]
    assert np.isnan(found.columns["tau1"]).tolist() == [[True], [False]]


def test_charges_come_from_the_file_or_from_the_kind_of_candidate(reference_data: Path) -> None:
    events = events_of(reference_data / "root" / "pfnano.root", [])
    stored, _ = flatten_particles(events.PFCands, charges=True)
    plain = ak.zip({x: events.PFCands[x] for x in ("pt", "eta", "phi", "mass", "pdgId")})
    derived, _ = flatten_particles(plain, charges=True)
    assert stored.charges is not None
    assert derived.charges is not None
    assert set(np.unique(stored.charges)) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(derived.charges, stored.charges)


def test_charge_without_charges_is_an_error(toy_particles: Any, reference_data: Path) -> None:
    particles, _ = flatten_particles(toy_particles, charges=True)
    assert particles.charges is None
    with pytest.raises(InputError, match="no charges"):
        substructure(particles, 1.0, ["charge"])
    events = source("pfnano").read(str(reference_data / "root" / "pfnano.root"), 0, 10)
    del events["PFCands", "charge"], events["PFCands", "pdgId"]
    with pytest.raises(InputError, match=r"charge_k0.3: the constituents of FatJet have no charges"):
        collection_jets(events, "FatJet", 0.8, 2, ["n", "charge_k0.3"])


def test_dijet_features_take_any_observables(toys: Any, tmp_path: Path) -> None:
    toys.write_particle_frame(tmp_path / "events.h5", toys.make_particles(3, 10))
    events = source("lhco-particles").read(str(tmp_path / "events.h5"), 0, 10)
    columns = DijetFeatures(observables=("d2", "sd_tau21"))(events)
    assert {"d2_j1", "d2_h", "sd_tau21_l", "mjj"} <= set(columns)
    assert not {"tau1_j1", "n_j1", "msd_h"} & set(columns)
    with pytest.raises(ConfigError, match="did you mean 'd2'"):
        DijetFeatures(observables=("d2x",))
    with pytest.raises(InputError, match="no charges"):
        DijetFeatures(observables=("charge",))(events)


def test_particles_keep_their_charges_when_jets_are_chosen() -> None:
    momenta = np.array([[100.0, 0, 0, 100], [-80, 1, 0, 80.1], [20, 2, 0, 20.1]])
    particles = Particles(momenta, np.array([0, 3]), np.array([1.0, -1.0, 1.0]))
    table = leading_jets(particles, 2, observables=["charge_k0"])
    assert table.columns["charge_k0"].tolist() == [[2.0, -1.0]]
