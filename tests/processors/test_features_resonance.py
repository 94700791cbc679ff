"""The resonant variable of any objects: against vector, brute force over all sets, a boost by hand, and published pairs."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

from resonaut.errors import InputError
from resonaut.processors import RESONANCES, ResonanceFeatures, TableProcessor, make_features, run_processor, source
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.features.kinematics import Momenta, cos_theta_collins_soper, transverse_mass

KINDS = {"Muon": 0.10566, "Electron": 0.000511, "Photon": 0.0}


def toy_events(seed: int = 1, n: int = 150) -> Any:
    """Events with jets, muons, electrons, photons in any order and number, missing momentum, and an isolation."""
    rng = np.random.default_rng(seed)
    branches: dict[str, Any] = {}
    for name, mean in (("Jet", 2.0), ("Muon", 2.0), ("Electron", 1.2), ("Photon", 1.5)):
        counts = rng.poisson(mean, n)
        total = int(counts.sum())
        columns = {
            "pt": rng.exponential(40.0, total) + 5,
            "eta": rng.normal(0, 1.5, total),
            "phi": rng.uniform(-np.pi, np.pi, total),
        }
        if name == "Jet":
            columns["mass"] = rng.exponential(10.0, total)
        if name in ("Muon", "Electron"):
            columns["mass"] = np.full(total, KINDS[name])
        if name == "Muon":
            columns["pfRelIso04_all"] = rng.exponential(0.2, total)
        if name in ("Muon", "Electron"):
            columns["charge"] = rng.choice([-1, 1], total)
            columns["tightId"] = rng.random(total) < 0.7
        branches[f"n{name}"] = ak.Array(counts)
        branches |= {f"{name}_{x}": ak.unflatten(values, counts) for x, values in columns.items()}
    branches |= {"MET_pt": ak.Array(rng.exponential(40, n)), "MET_phi": ak.Array(rng.uniform(-np.pi, np.pi, n))}
    branches |= {"run": ak.Array(np.full(n, 7)), "luminosityBlock": ak.Array(np.arange(n) // 9)}
    branches["event"] = ak.Array(np.arange(n) + 1000)
    return events_from_columns(branches, n, f"memory-{seed}", 0, {"dataset": "toys"})


@pytest.fixture(scope="module")
def events() -> Any:
    return toy_events()


def as_vectors(events: Any, i: int, name: str) -> list[Any]:
    """Objects of an event as vectors with charge and place, by falling pT."""
    found = {x: events[name][x][i].to_list() for x in ("pt", "eta", "phi")}
    mass = [KINDS[name]] * len(found["pt"]) if name in KINDS else events[name].mass[i].to_list()
    charge = events[name].charge[i].to_list() if name in ("Muon", "Electron") else [0] * len(mass)
    rows = sorted(zip(*found.values(), mass, charge, strict=True), key=lambda row: -row[0])
    return [(vector.obj(pt=p, eta=e, phi=f, mass=m), q) for p, e, f, m, q in rows]


def brute_force(events: Any, kinds: tuple[str, ...], good: Any, closest_to: float | None) -> list[float]:
    """Mass of the chosen set of each event, from loops over all sets; NaN where there is none."""
    masses = []
    for i in range(len(events)):
        groups = [list(combinations(as_vectors(events, i, kind), kinds.count(kind))) for kind in dict.fromkeys(kinds)]
        sets = [sum(parts, ()) for parts in product(*groups)]
        sets = [one for one in sets if good(one)]
        found = [float(sum((v for v, _ in one[1:]), one[0][0]).mass) for one in sets]
        if closest_to is not None:
            found = sorted(found, key=lambda m: abs(m - closest_to))
        masses.append(found[0] if found else np.nan)
    return masses


def anything(one: Any) -> bool:
    return True


def opposite(one: Any) -> bool:
    return bool(one[0][1] * one[1][1] < 0)


def apart(one: Any) -> bool:
    return bool(one[0][0].deltaR(one[1][0]) > 0.8)


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({"objects": ("Muon", "Muon"), "charge": "opposite"}, opposite),
        ({"objects": ("Muon", "Muon"), "charge": "same"}, lambda one: one[0][1] * one[1][1] > 0),
        ({"objects": ("Muon", "Muon"), "charge": "opposite", "closest_to": 91.2}, opposite),
        ({"objects": ("Electron", "Muon"), "charge": "opposite"}, opposite),
        ({"objects": ("Photon", "Photon")}, anything),
        ({"objects": ("Jet", "Jet", "Jet")}, anything),
        ({"objects": ("Jet", "Muon"), "separation": 0.8}, apart),
        ({"objects": ("Jet", "Photon"), "closest_to": 150.0}, anything),
        ({"objects": ("Jet", "Jet", "Muon", "Muon"), "closest_to": 300.0}, anything),
    ],
)
def test_masses_agree_with_loops_over_all_sets(events: Any, options: dict[str, Any], good: Any) -> None:
    found = ResonanceFeatures(**options).build(events)
    kinds = options["objects"]
    expected = brute_force(events, kinds, good, options.get("closest_to"))
    name = ResonanceFeatures(**options).variable
    np.testing.assert_allclose(found.columns[name], expected, rtol=1e-9, atol=1e-6)
    judged = np.all(list(found.required.values()), axis=0)
    np.testing.assert_array_equal(judged, np.isfinite(expected))
    assert 10 < judged.sum() < len(events)


def test_leptons_of_any_flavour(events: Any) -> None:
    same = ResonanceFeatures(("Lepton", "Lepton"), charge="opposite", flavour="same", closest_to=91.2)(events)["m_ll"]
    ee, mumu = (np.array(brute_force(events, (kind, kind), opposite, 91.2)) for kind in ("Electron", "Muon"))
    both = np.where(np.isnan(mumu) | (np.abs(ee - 91.2) < np.abs(mumu - 91.2)), ee, mumu)
    np.testing.assert_allclose(same, both, rtol=1e-9, atol=1e-6)
    mixed = ResonanceFeatures(("Lepton", "Lepton"), charge="opposite", flavour="different", closest_to=91.2)(events)
    np.testing.assert_allclose(
        mixed["m_ll"], brute_force(events, ("Electron", "Muon"), opposite, 91.2), rtol=1e-9, atol=1e-6
    )


def test_features_of_the_pair_agree_with_vector(events: Any) -> None:
    columns = ResonanceFeatures(("Muon", "Muon"), charge="opposite", fields=("pfRelIso04_all",))(events)
    there = np.isfinite(columns["m_mumu"])
    one, two = (
        vector.array(
            {x: columns[f"{x}_l{k}"][there] for x in ("pt", "eta", "phi")} | {"mass": np.full(there.sum(), 0.10566)}
        )
        for k in (1, 2)
    )
    pair = one + two
    expected = {
        "pt_mumu": pair.pt, "y_mumu": pair.rapidity, "dr_mumu": one.deltaR(two), "dphi_mumu": np.abs(one.deltaphi(two)),
        "deta_mumu": np.abs(one.deltaeta(two)), "dpt_mumu": one.pt - two.pt,
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name][there], values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert np.all(one.pt >= two.pt)
    isolation = {(round(m.pt, 9), round(m.pfRelIso04_all, 9)) for event in events.Muon for m in event}
    assert {
        (round(a, 9), round(b, 9))
        for a, b in zip(columns["pt_l2"][there], columns["pfRelIso04_all_l2"][there], strict=True)
    } <= isolation


def by_boost(first: Any, second: Any) -> float:
    """cos theta* from its definition: the angle to the axis between the beams, seen from the pair's rest frame."""
    pair = first + second
    beams = [vector.obj(px=0, py=0, pz=sign * 6500.0, E=6500.0).boostCM_of(pair) for sign in (1, -1)]
    units = [np.array([b.px, b.py, b.pz]) / b.mag for b in beams]
    axis = units[0] - units[1]
    negative = first.boostCM_of(pair)
    direction = np.array([negative.px, negative.py, negative.pz]) / negative.mag
    return float(np.sign(pair.pz) * direction @ axis / np.linalg.norm(axis))


def test_the_collins_soper_angle_agrees_with_a_boost() -> None:
    rng = np.random.default_rng(4)
    n = 200
    one, two = (
        Momenta(rng.exponential(40, n) + 1, rng.normal(0, 1.5, n), rng.uniform(-np.pi, np.pi, n), np.zeros(n))
        for _ in range(2)
    )
    found = cos_theta_collins_soper(one, two)
    for i in range(n):
        pair = [vector.obj(pt=m.pt[i], eta=m.eta[i], phi=m.phi[i], mass=0.0) for m in (one, two)]
        assert found[i] == pytest.approx(by_boost(*pair), abs=1e-7)
    np.testing.assert_allclose(cos_theta_collins_soper(two, one), -found, atol=1e-12)


def test_the_angle_is_that_of_the_negative_lepton(events: Any) -> None:
    columns = ResonanceFeatures(("Muon", "Muon"), charge="opposite", exactly=True)(events)
    assert not np.isfinite(columns["m_mumu"])[ak.to_numpy(ak.num(events.Muon)) != 2].any()
    for i in np.flatnonzero(np.isfinite(columns["m_mumu"]))[:40]:
        negative, positive = (v for v, _ in sorted(as_vectors(events, int(i), "Muon"), key=lambda row: row[1]))
        massless = [vector.obj(pt=v.pt, eta=v.eta, phi=v.phi, mass=0.0) for v in (negative, positive)]
        assert columns["cos_theta_cs"][i] == pytest.approx(by_boost(*massless), abs=0.01)  # muons of 0.1 GeV


def test_the_transverse_mass_has_its_edge_and_its_formula(events: Any) -> None:
    columns = ResonanceFeatures(("Muon", "MET"))(events)
    there = np.isfinite(columns["mt_mu"])
    pt, met, dphi = (columns[x][there] for x in ("pt_l1", "met", "dphi_l1_met"))
    np.testing.assert_allclose(
        columns["mt_mu"][there] ** 2, (pt + met) ** 2 - (pt**2 + met**2 + 2 * pt * met * np.cos(dphi)), rtol=1e-9
    )
    # W at rest in the transverse plane: the transverse mass is M sin(theta), never above M.
    theta = np.linspace(0.01, np.pi - 0.01, 50)
    half = 80.4 / 2
    lepton = Momenta(half * np.sin(theta), np.arctanh(np.cos(theta)), np.zeros(50), np.zeros(50))
    np.testing.assert_allclose(transverse_mass(lepton, lepton.pt, np.full(50, np.pi)), 80.4 * np.sin(theta))


def test_cuts_on_objects_are_made_before_sets(events: Any) -> None:
    options: dict[str, Any] = {
        "charge": "opposite",
        "where": {"Muon.pt": 20, "Muon.tightId": 1, "Muon.eta": {"abs_max": 2}},
    }
    muons = events.Muon[(events.Muon.pt >= 20) & events.Muon.tightId & (abs(events.Muon.eta) < 2)]
    loose = ResonanceFeatures(("Muon", "Muon"), **options).build(events)
    np.testing.assert_array_equal(loose.required["two muons"], ak.num(muons) >= 2)
    strict = ResonanceFeatures(("Muon", "Muon"), exactly=True, **options).build(events)
    np.testing.assert_array_equal(strict.required["exactly two muons"], ak.num(muons) == 2)
    leptons = ResonanceFeatures(("Lepton", "Lepton"), where={"Lepton.pt": 20, "Muon.tightId": True}).build(events)
    number = ak.num(events.Muon[(events.Muon.pt >= 20) & events.Muon.tightId]) + ak.num(
        events.Electron[events.Electron.pt >= 20]
    )
    np.testing.assert_array_equal(leptons.required["two leptons"], number >= 2)


def test_the_table_has_every_event_once_and_its_numbers(events: Any) -> None:
    processor = TableProcessor(ResonanceFeatures(("Muon", "Muon"), charge="opposite"))
    output = processor.process(events)["toys"]
    assert list(output["cutflow"]) == ["all", "two muons", "opposite charge", "selected"]
    table = {name: column.value for name, column in output["table"].items()}
    assert next(iter(table)) == "m_mumu"
    assert set(table) >= {"run", "luminosityBlock", "event", "weight"}
    np.testing.assert_array_equal(table["luminosityBlock"], (table["event"] - 1000) // 9)
    assert len(set(table["event"].tolist())) == output["cutflow"]["selected"] == len(table["m_mumu"])


def muons(rows: list[list[tuple[float, float, float]]]) -> Any:
    """Events with muons (pt, eta, charge)."""
    counts = np.array([len(row) for row in rows], np.int64)
    branches: dict[str, Any] = {"nMuon": ak.Array(counts)}
    flat = np.array([(*one, 3.0 * k, 0.10566) for row in rows for k, one in enumerate(row)]).reshape(-1, 5)
    for values, x in zip(flat.T, ("pt", "eta", "charge", "phi", "mass"), strict=True):
        branches[f"Muon_{x}"] = ak.unflatten(np.ascontiguousarray(values), counts)
    return events_from_columns(branches, len(rows), "memory", 0, {"dataset": "toys"})


@pytest.mark.parametrize(
    "broken",
    [
        [(np.nan, 0.0, 1), (40.0, 0.5, -1)],
        [(50.0, np.inf, 1), (40.0, 0.5, -1)],
        [(50.0, 0.0, 1), (40.0, 0.5, -1), (np.nan, 0.0, 1)],  # a third, which may be the leading one
        [(50.0, 0.0, 1), (40.0, 0.5, -1), (-6.0, 0.0, 1)],
        [(50.0, 0.0, 1), (np.nan, 0.5, -1)],  # whether there are two above the cut is not known
    ],
)
@pytest.mark.parametrize("where", [{}, {"Muon.pt": 20, "Muon.eta": {"abs_max": 2.4}}])
def test_objects_that_are_not_finite_skip_the_event(broken: Any, where: dict[str, Any]) -> None:
    good = [(50.0, 0.0, 1), (40.0, 0.5, -1)]
    builder = ResonanceFeatures(("Muon", "Muon"), charge="opposite", where=where)
    output = TableProcessor(builder).process(muons([good, broken, [], good[:1], good]))["toys"]
    assert output["skipped"] == {"objects not finite": 1}
    assert output["cutflow"] == {"all": 5, "two muons": 2, "opposite charge": 2, "selected": 2}
    assert output["table"]["pt_l1"].value.tolist() == [50.0, 50.0]
    leptons = ResonanceFeatures(("Lepton", "Lepton"))
    events = muons([good, broken])
    events = ak.Array({"Muon": ak.Array(ak.to_layout(events.Muon)), "Electron": events.Muon[events.Muon.pt > 1000]})
    assert leptons.build(events).broken["objects not finite"].tolist() == [False, True]


def test_chunks_without_events_or_objects() -> None:
    for rows in ([], [[]], [[], []]):
        output = TableProcessor(ResonanceFeatures(("Muon", "Muon"), charge="opposite")).process(muons(rows))["toys"]
        assert output["cutflow"]["all"] == len(rows)
        assert output["cutflow"]["selected"] == len(output["table"]["m_mumu"].value) == 0
        assert not output["skipped"]


def test_a_charge_that_a_file_does_not_have_is_not_zero() -> None:
    found = muons([[(50.0, 0.0, 1), (40.0, 0.0, 1)]]).Muon
    plain = ak.Array({"Muon": ak.zip({x: found[x] for x in ("pt", "eta", "phi", "mass")})})
    with pytest.raises(InputError, match="needs the field charge of Muon, which has pt, eta, phi, mass"):
        ResonanceFeatures(("Muon", "Muon"), charge="same")(plain)
    assert ResonanceFeatures(("Muon", "Muon"))(plain)["m_mumu"][0] > 50
    branches = {f"Muon_{x}": found[x] for x in ("pt", "eta", "phi", "mass")} | {"nMuon": ak.num(found)}
    with pytest.raises(InputError, match="Muon lacks what such objects have: MuonArray requires the 'charge' field"):
        ResonanceFeatures(("Muon", "Muon"))(events_from_columns(branches, 1, "memory", 0, {}))


def test_chunks_do_not_matter_and_empty_ones_have_the_columns(events: Any) -> None:
    for name in RESONANCES:
        if name == "dijet":
            continue
        builder = make_features(resonance=name)
        whole = builder(events)
        parts = [builder(events[:60]), builder(events[60:60]), builder(events[60:])]
        for column, values in whole.items():
            np.testing.assert_array_equal(
                np.concatenate([p[column] for p in parts]), values, err_msg=f"{name}: {column}"
            )


def test_what_a_file_lacks_is_said(events: Any) -> None:
    with pytest.raises(InputError, match=r"have no FatJet; of the collections of objects they have Jet, Electron"):
        ResonanceFeatures(("FatJet", "FatJet"))(events)
    with pytest.raises(InputError, match="did you mean 'pfRelIso04_all'"):
        ResonanceFeatures(("Muon", "Muon"), fields=("pfRelIso03_all",))(events)
    with pytest.raises(InputError, match="did you mean 'tightId'"):
        ResonanceFeatures(("Muon", "Muon"), where={"Muon.tigtId": 1})(events)
    with pytest.raises(InputError, match="no missing momentum PuppiMET"):
        ResonanceFeatures(("Muon", "PuppiMET"))(events)
    auto = ResonanceFeatures(("Electron", "Muon"), fields="auto")(events)
    assert "pfRelIso04_all_l2" in auto
    assert "pfRelIso04_all_l1" not in auto


@pytest.fixture(scope="module")
def open_data(reference_data: Path) -> Path:
    path = reference_data / "opendata_upsilon" / "dimuon_100k.root"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def test_open_data_dimuons_are_those_of_a_direct_computation(open_data: Path) -> None:
    result = run_processor({"data": [str(open_data)]}, TableProcessor(make_features(resonance="dimuon")))
    table = result.require_complete().table()
    raw = uproot.open(f"{open_data}:Events").arrays()
    two = raw[raw.nMuon == 2]
    pairs = two[two.Muon_charge[:, 0] != two.Muon_charge[:, 1]]
    pt, eta, phi = (ak.to_numpy(pairs[f"Muon_{x}"]).astype(np.float64) for x in ("pt", "eta", "phi"))
    # Massless muons: right to m_mu^2 / m^2.
    massless = np.sqrt(2 * pt[:, 0] * pt[:, 1] * (np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])))
    assert len(table["m_mumu"]) == len(pairs) == 37183  # published count of opposite-sign pairs
    heavy = massless > 5
    np.testing.assert_allclose(table["m_mumu"][heavy], massless[heavy], rtol=0.02)
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + ak.to_numpy(pairs.Muon_mass).astype(np.float64) ** 2).sum(axis=1)
    px, py, pz = ((pt * f).sum(axis=1) for f in (np.cos(phi), np.sin(phi), np.sinh(eta)))
    np.testing.assert_allclose(table["m_mumu"] ** 2, energy**2 - px**2 - py**2 - pz**2, rtol=1e-6, atol=1e-3)
    for mass, width, least in ((3.097, 0.06, 2000), (9.46, 0.15, 200), (90.8, 3.0, 1000)):  # J/psi, Upsilon, Z
        near = np.count_nonzero(np.abs(table["m_mumu"] - mass) < width)
        beside = np.count_nonzero(np.abs(np.abs(table["m_mumu"] - mass) - 3 * width) < width) / 2
        assert near > least
        assert near > 1.5 * beside


def test_real_files_of_every_kind_give_finite_tables(reference_data: Path) -> None:
    path = reference_data / "root" / "nano_tt_v12.root"
    events = source("nanoaod").read(str(path), 0, 200, metadata={"dataset": "tt"})
    for name in ("dimuon", "electron-muon", "jet-lepton", "trijet", "muon-met"):
        output = TableProcessor(make_features(resonance=name)).process(events)["tt"]
        assert output["cutflow"]["selected"] > 5
        assert all(np.isfinite(column.value).all() for column in output["table"].values())
