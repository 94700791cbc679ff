"""HDF5 files of CASE and of its autoencoders, against the numbers that were written and four-vectors of `vector`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import vector

from resonaut.errors import InputError
from resonaut.processors import (
    DijetFeatures,
    DijetProcessor,
    flatten_particles,
    leading_jets,
    recognise,
    run_processor,
    source,
)

N, MOST = 30, 100


def dijets(seed: int = 3) -> dict[str, Any]:
    """Two jets of each event, j1 heavier, with constituents that add up to them."""
    rng = np.random.default_rng(seed)
    constituents = []
    for side in (1, -1):
        count = rng.integers(5, 40, N)
        axis_eta, axis_phi = rng.normal(0, 0.5, N), rng.uniform(-1, 1, N) + (np.pi if side < 0 else 0)
        pt = np.where(np.arange(MOST) < count[:, None], rng.exponential(1, (N, MOST)) + 0.05, 0.0)
        pt *= (rng.uniform(600, 900, N) / pt.sum(axis=1))[:, None]
        eta = axis_eta[:, None] + rng.normal(0, 0.15, (N, MOST))
        phi = (axis_phi[:, None] + rng.normal(0, 0.15, (N, MOST)) + np.pi) % (2 * np.pi) - np.pi
        constituents.append(vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": np.zeros_like(pt)}))
    jets = [sum_of(each) for each in constituents]
    swap = jets[0].mass < jets[1].mass
    order = [(1, 0) if s else (0, 1) for s in swap]
    pick = lambda items, i: [items[order[e][i]][e] for e in range(N)]
    return {"jets": [pick(jets, i) for i in (0, 1)], "constituents": [pick(constituents, i) for i in (0, 1)]}


def sum_of(parts: Any) -> Any:
    px, py, pz, e = (getattr(parts, x).sum(axis=1) for x in ("px", "py", "pz", "E"))
    return vector.array({"px": px, "py": py, "pz": pz, "E": e})


def write_case(path: Path, truth: dict[str, Any], *, third: bool = True, columns: int = 8) -> None:
    """A file of the layout of CASE's H5 maker, with its types."""
    one, two = truth["jets"]
    four = lambda j: [j.pt, j.eta, j.phi, j.mass]
    rows = []
    for a, b in zip(one, two, strict=True):
        rows.append(
            [
                (a + b).mass,
                abs(a.eta - b.eta),
                *four(a),
                *four(b),
                *([0.0] * 4 if len(rows) % 2 else [310.0, 1.0, 0.5, 30.0]),
            ]
        )
    kinematics = np.array(rows, np.float32)
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["jet_kinematics"] = kinematics if third else kinematics[:, :10]
        for i, parts in enumerate(truth["constituents"], 1):
            file[f"jet{i}_extraInfo"] = rng.uniform(0.1, 0.9, (N, 7)).astype(np.float32)
            stored = np.array([np.stack([p.px, p.py, p.pz, p.E], axis=1) for p in parts])
            file.create_dataset(f"jet{i}_PFCands", data=stored.astype(np.float16), compression="gzip")
        info = np.stack([np.arange(N) + 100, *rng.uniform(1, 2, (7, N))], axis=1).astype(np.float32)
        info[:, 7] = 3
        file["event_info"] = info[:, :columns]
        file["truth_label"] = np.where(np.arange(N) % 3 == 0, 1, np.where(np.arange(N) % 3 == 1, 0, -2)).astype(
            np.int8
        )[:, None]
        file["preselection_eff"] = np.array([0.3])  # fmt: skip


def test_case_files_give_their_own_mass_and_substructure(tmp_path: Path) -> None:
    path, truth = tmp_path / "case.h5", dijets()
    write_case(path, truth)
    assert recognise(path) == "case"
    assert source("case").n_events(str(path)) == N
    events = source("case").read(str(path), 4, 24)
    with h5py.File(path) as file:
        kinematics, extra, info, label = (
            file[key][4:24] for key in ("jet_kinematics", "jet1_extraInfo", "event_info", "truth_label")
        )
    columns = DijetFeatures()(events)
    np.testing.assert_allclose(columns["mjj"], kinematics[:, 0], rtol=1e-5)
    np.testing.assert_allclose(columns["deta_jj"], kinematics[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(columns["m_h"], kinematics[:, 5], rtol=1e-6)  # j1 is the heavier
    np.testing.assert_allclose(columns["tau21_h"], extra[:, 1] / extra[:, 0], rtol=1e-6)
    np.testing.assert_allclose(columns["nj"], info[:, 7])
    assert ak.num(events.FatJet).to_list() == [3 if (i + 4) % 2 == 0 else 2 for i in range(20)]
    assert events.event.to_list() == list(range(104, 124))
    np.testing.assert_allclose(events.MET.pt, info[:, 1])
    assert events.label.to_list() == (label[:, 0] > 0).astype(int).tolist()
    assert events.process.to_list() == label[:, 0].tolist()  # fmt: skip


def test_a_jet_that_is_not_finite_is_counted_and_not_one_jet_less(tmp_path: Path) -> None:
    path = tmp_path / "case.h5"
    write_case(path, dijets())
    with h5py.File(path, "a") as file:
        file["jet_kinematics"][0, 2] = np.nan  # pT of j1, in an event with a third jet
        file["jet_kinematics"][1, 6] = np.nan  # of j2, in one without
    result = run_processor({"case": str(path)}, DijetProcessor())
    assert result.ledger.skipped == {"jet not finite": 2}
    assert result.ledger.used == N - 2


def test_case_constituents_add_up_to_their_jets(tmp_path: Path) -> None:
    """To half precision, in which the file keeps them."""
    path, truth = tmp_path / "case.h5", dijets()
    write_case(path, truth)
    events = source("case").read(str(path), 0, N)
    for which in (0, 1):
        mine = events.PFCand[events.PFCand.jet == which]
        assert ak.num(mine).to_list() == [int((p.E > 0).sum()) for p in truth["constituents"][which]]
        total = np.hypot(ak.sum(mine.px, axis=1), ak.sum(mine.py, axis=1))
        np.testing.assert_allclose(total, [j.pt for j in truth["jets"][which]], rtol=2e-3)
    particles, broken = flatten_particles(events.PFCand)
    assert not broken.any()
    clustered = leading_jets(particles, 2, radius=1.2).columns["pt"]
    assert np.median(clustered.max(axis=1) / [max(a.pt, b.pt) for a, b in zip(*truth["jets"], strict=True)]) == pytest.approx(1, abs=0.02)  # fmt: skip


def test_case_files_of_the_first_version(tmp_path: Path) -> None:
    """Without a third jet, with five columns of the event: nothing is invented for what is not there."""
    path = tmp_path / "case.h5"
    write_case(path, dijets(), third=False, columns=5)
    events = source(recognise(path)).read(str(path), 0, N)
    assert ak.num(events.FatJet).to_list() == [2] * N
    assert not {"run", "nj", "year"} & set(events.fields)
    assert "nj" not in DijetFeatures()(events)
    result = run_processor({"case": str(path)}, DijetProcessor(), chunksize=7)
    assert result.ledger.read == result.ledger.used == N


def test_case_files_that_are_not_whole(tmp_path: Path) -> None:
    write_case(tmp_path / "a.h5", dijets())
    with h5py.File(tmp_path / "a.h5", "a") as file:
        rows = file["event_info"][: N - 2]
        del file["event_info"]
        file["event_info"] = rows
    with pytest.raises(InputError, match="expected equal numbers"):
        source("case").n_events(str(tmp_path / "a.h5"))
    write_case(tmp_path / "b.h5", dijets())
    with h5py.File(tmp_path / "b.h5", "a") as file:
        del file["jet_kinematics"]
        file["jet_kinematics"] = np.ones((N, 3))
    with pytest.raises(InputError, match="expected 14 numbers"):
        source("case").read(str(tmp_path / "b.h5"), 0, 3)


NAMES = ["mJJ", "j1Pt", "j1Eta", "j1Phi", "j1M", "j1E", "j2Pt", "j2M", "j2E", "DeltaEtaJJ", "DeltaPhiJJ", "j1RecoLoss"]


def write_features(path: Path, truth: dict[str, Any], names: list[str] = NAMES) -> None:
    """A file with named features and constituents relative to the axes of their jets."""
    one, two = truth["jets"]
    rows = [
        [(a + b).mass, a.pt, a.eta, a.phi, a.mass, a.E, b.pt, b.mass, b.E, a.eta - b.eta, a.deltaphi(b), 0.25]
        for a, b in zip(one, two, strict=True)
    ]
    relative = np.zeros((N, 2, MOST, 3))
    for i in (0, 1):
        for e, (jet, parts) in enumerate(zip(truth["jets"][i], truth["constituents"][i], strict=True)):
            relative[e, i] = np.stack(
                [parts.eta - jet.eta, (parts.phi - jet.phi + np.pi) % (2 * np.pi) - np.pi, parts.pt], axis=1
            )
            relative[e, i][parts.pt == 0] = 0
    with h5py.File(path, "w") as file:
        file["eventFeatures"] = np.array(rows)
        file["eventFeatureNames"] = np.array([name.encode() for name in names])
        file["jetConstituentsList"] = relative
        file["particleFeatureNames"] = np.array([b"pEta", b"pPhi", b"pPt"])  # fmt: skip


def test_named_features_give_jets_and_their_constituents(tmp_path: Path) -> None:
    path, truth = tmp_path / "vae.h5", dijets()
    write_features(path, truth)
    assert recognise(path) == "case-features"
    events = source("case-features").read(str(path), 3, 20)
    columns = DijetFeatures()(events)
    one, two = (truth["jets"][i][3:20] for i in (0, 1))
    np.testing.assert_allclose(columns["mjj"], [(a + b).mass for a, b in zip(one, two, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(columns["m_h"], [a.mass for a in one], rtol=1e-6)
    np.testing.assert_allclose(events.FatJet.phi[:, 1], [b.phi for b in two], atol=1e-6)
    assert events.j1RecoLoss.to_list() == [0.25] * 17
    for which, jets in enumerate((one, two)):
        mine = events.PFCand[events.PFCand.jet == which]
        np.testing.assert_allclose(ak.sum(mine.px, axis=1), [j.px for j in jets], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ak.sum(mine.pz, axis=1), [j.pz for j in jets], rtol=1e-6, atol=1e-6)


def test_names_in_another_order_than_the_features_are_found(tmp_path: Path) -> None:
    """The converter of one group wrote eta, phi, pT under the names pT, eta, phi."""
    names = [*NAMES]
    names[1:4] = ["j1Eta", "j1Phi", "j1Pt"]
    write_features(tmp_path / "swapped.h5", dijets(), names)
    with pytest.raises(InputError, match="j1E is not the energy"):
        source("case-features").read(str(tmp_path / "swapped.h5"), 0, 5)


def test_constituents_that_are_not_relative_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "absolute.h5", dijets())
    with h5py.File(tmp_path / "absolute.h5", "a") as file:
        file["jetConstituentsList"][:, 1, 0, 0:2] = [2.0, 1.0]
        file["jetConstituentsList"][:, 1, 0, 2] = 5.0
    with pytest.raises(InputError, match=r"up to 2.24 from their jet's axis, expected eta and phi relative"):
        source("case-features").read(str(tmp_path / "absolute.h5"), 0, 5)
