"""Features of whole events: against vector, numpy's eigenvalues, brute force over signs, and events whose answer is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import vector

from resonaut.errors import InputError
from resonaut.processors import EVENT_FEATURES, EventVariables, make_processor, source
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.features.event_shapes import (
    centrality,
    shape_of_tensor,
    thrust,
    transverse_sphericity,
    transverse_thrust,
)
from resonaut.processors.features.event_variables import parse_event_feature

Array = np.ndarray[Any, Any]
SHAPES = ("sphericity", "aplanarity", "planarity", "c_parameter", "d_parameter")


def events_of(jets: list[list[tuple[float, float, float, float]]], **columns: Any) -> Any:
    """Events with the given jets (pt, eta, phi, mass)."""
    counts = np.array([len(event) for event in jets], np.int64)
    branches: dict[str, Any] = {"nJet": ak.Array(counts)}
    flat = np.array([jet for event in jets for jet in event], np.float64).reshape(-1, 4)
    for values, x in zip(flat.T, ("pt", "eta", "phi", "mass"), strict=True):
        branches[f"Jet_{x}"] = ak.unflatten(np.ascontiguousarray(values), counts)
    branches |= {name: ak.Array(values) for name, values in columns.items()}
    return events_from_columns(branches, len(jets), "memory", 0, {"dataset": "hand"})


@pytest.fixture(scope="module")
def top_pairs(reference_data: Path) -> Any:
    path = reference_data / "root" / "nano_tt_v12.root"
    return source("nanoaod").read(str(path), 0, 200, metadata={"dataset": "tt"})


def jets_of(events: Any) -> Any:
    """Jets with pT > 30 GeV and |eta| < 2.5 by falling pT, as vectors: cut and sorted without the code under test."""
    found = ak.zip({x: ak.values_astype(events.Jet[x], np.float64) for x in ("pt", "eta", "phi", "mass")})
    found = found[(found.pt >= 30) & (abs(found.eta) < 2.5)]
    found = found[ak.argsort(found.pt, axis=1, ascending=False)]
    return vector.zip({x: found[x] for x in ("pt", "eta", "phi", "mass")})


def test_sums_masses_and_angles_agree_with_vector(top_pairs: Any) -> None:
    names = (
        "ht",
        "mht",
        "meff",
        "met",
        "n_jets",
        "m_jets",
        "centrality",
        "pt_j1",
        "pt_j3",
        "m_jj",
        "m_jjj",
        "m_j2_j3",
        "dr_j1_j2",
    )
    names += ("deta_j1_j2", "dphi_j1_j2", "dphi_j1_met", "min_dphi_jets_met", "met_significance", "mt_j1_met")
    found = EventVariables(names)(top_pairs)
    jets = jets_of(top_pairs)
    met, met_phi = (ak.to_numpy(top_pairs.MET[x]).astype(np.float64) for x in ("pt", "phi"))
    one, two, three = (ak.pad_none(jets, 3)[:, k] for k in range(3))
    everything = ak.sum(jets, axis=1)
    dphi = abs((jets.phi - met_phi + np.pi) % (2 * np.pi) - np.pi)
    expected = {
        "ht": ak.sum(jets.pt, axis=1), "mht": everything.pt, "meff": ak.sum(jets.pt, axis=1) + met, "met": met,
        "n_jets": ak.num(jets), "m_jets": everything.mass, "centrality": ak.sum(jets.pt, axis=1) / ak.sum(jets.E, axis=1),
        "pt_j1": one.pt, "pt_j3": three.pt, "m_jj": (one + two).mass, "m_jjj": (one + two + three).mass,
        "m_j2_j3": (two + three).mass, "dr_j1_j2": one.deltaR(two), "deta_j1_j2": abs(one.deltaeta(two)),
        "dphi_j1_j2": abs(one.deltaphi(two)), "dphi_j1_met": ak.firsts(dphi), "min_dphi_jets_met": ak.min(dphi[:, :4], axis=1),
        "met_significance": met / np.sqrt(ak.sum(jets.pt, axis=1)),
        "mt_j1_met": np.sqrt(2 * one.pt * met * (1 - np.cos(one.phi - met_phi))),
    }  # fmt: skip
    for name in names:
        values = ak.to_numpy(ak.fill_none(expected[name], np.nan))
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-4, err_msg=name)
    fifth = EventVariables(("pt_j5",))(top_pairs)["pt_j5"]
    np.testing.assert_array_equal(np.isfinite(fifth), ak.num(jets) >= 5)
    assert 0 < np.isfinite(fifth).sum() < 200


def brute_shapes(p: Array) -> dict[str, float]:
    """Shapes of one event from numpy's general eigenvalues and from all signs."""
    size = np.linalg.norm(p, axis=1)
    square = np.sort(np.linalg.eigvals(p.T @ p / (size**2).sum()).real)[::-1]
    linear = np.sort(np.linalg.eigvals((p.T / size) @ p / size.sum()).real)[::-1]
    flat = np.sort(np.linalg.eigvals(p[:, :2].T @ p[:, :2]).real)[::-1]
    signs = np.array(list(product((1, -1), repeat=len(p))))
    return {
        "sphericity": 1.5 * (square[1] + square[2]),
        "aplanarity": 1.5 * square[2],
        "planarity": square[1] - square[2],
        "c_parameter": 3 * (linear[0] * linear[1] + linear[0] * linear[2] + linear[1] * linear[2]),
        "d_parameter": 27 * linear.prod(),
        "transverse_sphericity": 2 * flat[1] / flat.sum(),
        "thrust": np.linalg.norm(signs @ p, axis=1).max() / size.sum(),
        "transverse_thrust": np.linalg.norm(signs @ p[:, :2], axis=1).max() / np.linalg.norm(p[:, :2], axis=1).sum(),
    }


def test_shapes_agree_with_eigenvalues_and_brute_force(top_pairs: Any) -> None:
    names = (*SHAPES, "transverse_sphericity", "thrust", "transverse_thrust")
    found = EventVariables(names)(top_pairs)
    jets = jets_of(top_pairs)
    checked = 0
    for i in range(len(top_pairs)):
        p = np.stack([ak.to_numpy(getattr(jets[i], x)) for x in ("px", "py", "pz")], axis=1)
        for name, value in brute_shapes(p).items():
            assert found[name][i] == pytest.approx(value, abs=1e-6), (name, i)
        checked += 1
    assert checked > 100


def test_shapes_whose_answer_is_known() -> None:
    square = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * 50.0
    flat = np.column_stack([square, np.zeros(4)])
    pair = np.array([[100.0, 0, 0], [-100.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    axes = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    p = np.stack([flat, pair])
    np.testing.assert_allclose(shape_of_tensor("sphericity", p), [0.75, 0], atol=1e-12)
    np.testing.assert_allclose(shape_of_tensor("aplanarity", p), [0, 0], atol=1e-12)
    np.testing.assert_allclose(transverse_sphericity(p), [1, 0], atol=1e-12)
    np.testing.assert_allclose(thrust(p), [1 / np.sqrt(2), 1], atol=1e-12)
    np.testing.assert_allclose(transverse_thrust(p), [1 / np.sqrt(2), 1], atol=1e-12)
    isotropic = axes[None]
    for name, value in (
        ("sphericity", 1),
        ("aplanarity", 0.5),
        ("planarity", 0),
        ("c_parameter", 1),
        ("d_parameter", 1),
    ):
        np.testing.assert_allclose(shape_of_tensor(name, isotropic), [value], atol=1e-12, err_msg=name)
    np.testing.assert_allclose(thrust(isotropic), [1 / np.sqrt(3)], atol=1e-12)
    mercedes = np.array([[[np.cos(a), np.sin(a), 0] for a in (0, 2 * np.pi / 3, 4 * np.pi / 3)]])
    np.testing.assert_allclose(thrust(mercedes), [2 / 3], atol=1e-12)
    # A ring of many: 2 / pi in a plane, 1/2 for a sphere, the published limits.
    ring = np.array([[[np.cos(a), np.sin(a), 0] for a in 2 * np.pi * np.arange(40) / 40]])
    np.testing.assert_allclose(transverse_thrust(ring), [2 / np.pi], rtol=2e-3)
    assert centrality(np.array([[3.0, 4.0]]), np.array([[5.0, 5.0]])) == pytest.approx(0.7)


@pytest.mark.parametrize("seed", range(3))
def test_thrust_is_exact_where_momenta_are_coplanar_or_parallel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.normal(size=(60, 6, 3))
    p[:15, :, 2] = 0  # all in one plane
    p[15:25, 1], p[15:25, 3] = -2 * p[15:25, 0], 0.5 * p[15:25, 0]  # several along one line
    p[25:35, 2:] = 0  # two of them
    p[35:45, 1:] = 0  # one
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    p[:8] = p[:8] @ rotation
    for found, flat in ((thrust(p), np.ones(3)), (transverse_thrust(p), np.array([1, 1, 0]))):
        for i in range(len(p)):
            q = (p[i] * flat)[np.linalg.norm(p[i], axis=1) > 0]
            signs = np.array(list(product((1, -1), repeat=len(q))))
            assert found[i] == pytest.approx(
                np.linalg.norm(signs @ q, axis=1).max() / np.linalg.norm(q, axis=1).sum(), abs=1e-9
            )


def test_shapes_do_not_depend_on_rotations_or_scale() -> None:
    rng = np.random.default_rng(5)
    p = rng.normal(size=(50, 5, 3))
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    for name in SHAPES:
        np.testing.assert_allclose(shape_of_tensor(name, 7 * p @ rotation), shape_of_tensor(name, p), atol=1e-9)
    np.testing.assert_allclose(thrust(7 * p @ rotation), thrust(p), atol=1e-9)
    # Linear shapes do not see a momentum split in two along its direction; the sphericity does.
    split = np.concatenate([p[:, :1] / 2, p[:, :1] / 2, p[:, 1:]], axis=1)
    np.testing.assert_allclose(shape_of_tensor("c_parameter", split), shape_of_tensor("c_parameter", p), atol=1e-9)
    np.testing.assert_allclose(thrust(split), thrust(p), atol=1e-9)
    assert np.abs(shape_of_tensor("sphericity", split) - shape_of_tensor("sphericity", p)).max() > 0.01


def test_which_jets_count() -> None:
    events = events_of([[(100, 0, 0, 5), (29, 0, 1, 5), (80, 2.6, 2, 5), (40, -2.4, 3, 5)], []])
    assert EventVariables(("ht",))(events)["ht"].tolist() == [140, 0]
    assert EventVariables(("ht",), where={"Jet.pt": 20})(events)["ht"].tolist() == [169, 0]
    assert EventVariables(("ht",), where={"Jet.eta": {"abs_max": 5}})(events)["ht"].tolist() == [220, 0]
    one = events_of([[(100, 0, 0, 5)], [(100, 0, 0, 5), (50, 1, 3, 5)]])
    for name in ("sphericity", "transverse_sphericity", "thrust", "m_jj", "dr_j1_j2"):
        assert np.isnan(EventVariables((name,))(one)[name]).tolist() == [True, False], name
    assert EventVariables(("n_jets",), where={"Jet.mass": {"max": 5}})(events)["n_jets"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "bad", [(np.nan, 0, 2, 5), (60, np.nan, 2, 5), (60, 0, np.inf, 5), (60, 0, 2, np.nan), (-60, 0, 2, 5)]
)
def test_a_jet_that_is_not_finite_makes_its_event_unknown(bad: Any) -> None:
    """No cut removes it: where its momentum is not known, neither is whether it counts, nor which jet leads."""
    names = ("ht", "n_jets", "pt_j1", "pt_j2", "m_jets", "mht", "thrust", "sphericity", "centrality", "m_jj")
    good = [(100, 0, 0, 5), (80, 0, 3, 5)]
    found = EventVariables(names)(events_of([good, [*good, bad], good]))
    for name, values in found.items():
        assert np.isnan(values).tolist() == [False, True, False], name
    np.testing.assert_allclose(found["ht"][[0, 2]], 180)


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_events_without_jets(rows: Any) -> None:
    met = {"MET_pt": np.full(len(rows), 30.0), "MET_phi": np.zeros(len(rows))}
    names = ("ht", "n_jets", "mht", "m_jets", "meff", "pt_j1", "thrust", "sphericity", "min_dphi_jets_met", "st")
    found = EventVariables(names)(events_of(rows, **met))
    expected = {"ht": 0, "n_jets": 0, "mht": 0, "m_jets": 0, "meff": 30, "st": 30}
    for name in names:
        np.testing.assert_array_equal(found[name], np.full(len(rows), expected.get(name, np.nan)), err_msg=name)


def test_an_event_without_the_objects_is_skipped_and_counted(top_pairs: Any) -> None:
    processor = make_processor(resonance="dimuon", event_features=["ht", "m_jjjj"])
    output = processor.process(top_pairs)["tt"]
    jets = ak.to_numpy(ak.num(jets_of(top_pairs)))
    table = {name: column.value for name, column in output["table"].items()}
    assert output["skipped"]["m_jjjj undefined"] > 0
    assert len(table["m_jjjj"]) == output["cutflow"]["selected"]
    pairs = processor.features.build(top_pairs).required["opposite charge"]
    assert output["cutflow"]["selected"] == np.count_nonzero(pairs & (jets >= 4))


def test_every_fixed_name_is_computed_and_says_what_it_is(top_pairs: Any) -> None:
    names = tuple(name for name in EVENT_FEATURES if name != "n_photons")  # the file has none
    found = EventVariables(names)(top_pairs)
    assert set(found) == set(names)
    for name, values in found.items():
        assert values.shape == (200,)
        assert values.dtype == np.float64
        assert np.isfinite(values).sum() > 100, name
        assert len(parse_event_feature(name).definition) > 5
    with pytest.raises(InputError, match="have no Photon"):
        EventVariables(("n_photons",))(top_pairs)
    assert np.all((found["st"] >= found["meff"]) & (found["thrust"] <= 1 + 1e-12) | np.isnan(found["thrust"]))


def test_chunks_do_not_matter(top_pairs: Any) -> None:
    builder = EventVariables(("ht", "thrust", "sphericity", "m_jjj", "mt_l1_met", "dr_l1_j1"))
    whole = builder(top_pairs)
    parts = [builder(part) for part in (top_pairs[:70], top_pairs[70:70], top_pairs[70:])]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values, err_msg=name)
