"""Sources: every layout gives events of one shape, and says clearly what it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import hdf5plugin
import numpy as np
import pytest
import uproot

from resonaut.errors import InputError
from resonaut.processors import SOURCES, DijetFeatures, recognise, source, write_particle_tree
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.jets.pair import collection_pair, constituents_of, linked_constituents

FRAME_COLUMNS = [f"{x}{j}" for j in ("j1", "j2") for x in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")]


@pytest.mark.parametrize(
    ("file", "name", "events"),
    [
        ("sim/particles_sample.h5", "lhco-particles", 22_000),
        ("sim/qcd_data.features.h5", "lhco-features", 650_000),
        ("lhco/events_anomalydetection_tiny.h5", "lhco-particles", 1_000),
        ("root/pfnano.root", "pfnano", 10),
        pytest.param("root/nano_tt_v15.root", "pfnano", 200, marks=pytest.mark.slow),
        ("root/nano_tt_v12.root", "nanoaod", 200),
        ("root/scouting_nano.root", "nanoaod", 40),
    ],
)
def test_files_are_recognised_by_their_content(reference_data: Path, file: str, name: str, events: int) -> None:
    path = str(reference_data / file)
    assert recognise(path) == name
    assert source(name).n_events(path) == events


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True}, hdf5plugin.Blosc("zlib")])
def test_particle_frame_gives_back_what_was_written(
    tmp_path: Path, toy_particles: Any, options: Any, toys: Any
) -> None:
    path = tmp_path / "events.h5"
    label = np.arange(len(toy_particles)) % 2
    toys.write_particle_frame(path, toy_particles, label, **dict(options))
    assert recognise(path) == "lhco-particles"
    events = source("lhco-particles").read(str(path), 3, 11, metadata={"dataset": "toys"})
    assert events.metadata["dataset"] == "toys"
    assert ak.num(events.PFCand).to_list() == ak.num(toy_particles[3:11]).to_list()
    for name in ("pt", "eta", "phi"):
        expected = ak.values_astype(toy_particles[3:11][name], "float32")
        assert ak.all(events.PFCand[name] == expected)
    assert ak.all(events.PFCand.mass == 0)
    assert events.label.to_list() == label[3:11].tolist()


def test_both_precisions_and_no_label(tmp_path: Path, toy_particles: Any, toys: Any) -> None:
    toys.write_particle_frame(tmp_path / "single.h5", toy_particles)
    with h5py.File(tmp_path / "single.h5") as file:
        values = file["df/block0_values"][:].astype(np.float64)
    names = [str(i) for i in range(values.shape[1])]
    toys.write_frame(tmp_path / "double.h5", names, values, integer_names=True)
    read = [source("lhco-particles").read(str(tmp_path / f"{x}.h5"), 0, 20) for x in ("single", "double")]
    assert ak.all(read[0].PFCand.pt == read[1].PFCand.pt)
    assert "label" not in read[0].fields


def test_rows_of_padding_alone_are_events_without_particles(tmp_path: Path, toys: Any) -> None:
    path = tmp_path / "padding.h5"
    toys.write_frame(path, [str(i) for i in range(30)], np.zeros((4, 30), np.float32), integer_names=True)
    events = source("lhco-particles").read(str(path), 0, 4)
    assert ak.num(events.PFCand).to_list() == [0, 0, 0, 0]
    columns = DijetFeatures()(events)
    assert np.isnan(columns["mjj"]).all()
    assert columns["nj"].tolist() == [0.0] * 4


def frame_row(**values: float) -> list[float]:
    return [values.get(name, 0.0) for name in FRAME_COLUMNS]


def test_feature_frame_gives_jets_and_invents_nothing(tmp_path: Path, toys: Any) -> None:
    """Two back-to-back jets of 1 TeV and mass 100 GeV: mJJ = 2 sqrt(1 TeV^2 + 100 GeV^2)."""
    path = tmp_path / "features.h5"
    row = frame_row(pxj1=1000.0, pxj2=-1000.0, mj1=100.0, mj2=100.0, tau1j1=0.2, tau2j1=0.1, tau1j2=0.4, tau2j2=0.1)
    toys.write_frame(path, FRAME_COLUMNS, np.array([row]))
    assert recognise(path) == "lhco-features"
    events = source("lhco-features").read(str(path), 0, 1)
    columns = DijetFeatures()(events)
    np.testing.assert_allclose(columns["mjj"], 2 * np.sqrt(1000.0**2 + 100.0**2))
    np.testing.assert_allclose(columns["dr_jj"], np.pi)
    np.testing.assert_allclose([columns["tau21_j1"], columns["tau21_j2"]], [[0.5], [0.25]])
    assert not {"nj", "n_j1", "tau4_j1", "tau43_h", "tau1b2_ratio_h", "msd_j1"} & set(columns)
    assert "label" not in events.fields


def test_feature_frame_reads_the_extended_columns(reference_data: Path) -> None:
    path = reference_data / "sim" / "qcd_sim.features.h5"
    events = source("lhco-features").read(str(path), 1000, 1100)
    with h5py.File(path) as file:
        names = [name.decode() for name in file["df/axis0"][:]]
        rows = dict(zip(names, file["df/block0_values"][1000:1100].T.astype(float), strict=True))
    columns = DijetFeatures()(events)
    np.testing.assert_allclose(columns["nj"], rows["nj"])
    np.testing.assert_allclose(columns["n_j2"], rows["ntrkj2"])
    np.testing.assert_allclose(columns["tau43_j1"], rows["tau4j1"] / rows["tau3j1"])
    np.testing.assert_allclose(columns["tau1b2_ratio_j2"], np.sqrt(rows["tau1b2j2"]) / rows["tau1j2"])
    np.testing.assert_allclose(columns["m_h"], np.maximum(rows["mj1"], rows["mj2"]))
    np.testing.assert_allclose(columns["dm_jj"], np.abs(rows["mj1"] - rows["mj2"]))
    np.testing.assert_allclose(np.cosh(columns["eta_j1"]) ** 2 - np.sinh(columns["eta_j1"]) ** 2, 1.0)


def test_particle_tree_gives_back_what_was_written(tmp_path: Path, toy_particles: Any) -> None:
    path = tmp_path / "events.root"
    weight = np.linspace(0.5, 1.5, len(toy_particles))
    write_particle_tree(path, toy_particles, label=np.ones(len(toy_particles), np.int8), weight=weight)
    assert recognise(path) == "particles-root"
    events = source("particles-root").read(str(path), 5, 15)
    assert ak.num(events.PFCand).to_list() == ak.num(toy_particles[5:15]).to_list()
    for name in ("pt", "eta", "phi", "mass"):
        assert ak.all(events.PFCand[name] == ak.values_astype(toy_particles[5:15][name], "float32"))
    np.testing.assert_array_equal(events.weight, weight[5:15])
    assert ak.all(events.PFCand.px == events.PFCand.pt * np.cos(events.PFCand.phi))  # they are four-vectors


def test_same_events_from_hdf5_and_root_give_the_same_features(tmp_path: Path, toy_particles: Any, toys: Any) -> None:
    massless = ak.with_field(toy_particles, ak.zeros_like(toy_particles.pt), "mass")
    write_particle_tree(tmp_path / "events.root", massless)
    toys.write_particle_frame(tmp_path / "events.h5", massless)
    one, two = (
        DijetFeatures()(source(recognise(path)).read(str(path), 0, 20))
        for path in (tmp_path / "events.root", tmp_path / "events.h5")
    )
    assert set(one) == set(two)
    for name, column in one.items():
        np.testing.assert_array_equal(column, two[name])


def truncate(path: Path, target: Path, fraction: float = 0.6) -> str:
    content = path.read_bytes()
    target.write_bytes(content[: int(fraction * len(content))])
    return str(target)


@pytest.mark.parametrize("suffix", ["h5", "root"])
def test_truncated_files_are_named_with_the_reason(tmp_path: Path, toy_particles: Any, suffix: str, toys: Any) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "h5":
        toys.write_particle_frame(whole, toy_particles)
    else:
        write_particle_tree(whole, toy_particles)
    broken = truncate(whole, tmp_path / f"broken.{suffix}")
    with pytest.raises(InputError, match=rf"broken\.{suffix}.*truncated"):
        recognise(broken)


def test_corrupt_block_is_found_when_its_rows_are_read(tmp_path: Path, toy_particles: Any, toys: Any) -> None:
    """A flipped byte in one compressed HDF5 chunk: other rows are readable, its rows are an error, not zeros."""
    path = tmp_path / "events.h5"
    toys.write_particle_frame(path, toy_particles, chunks=(4, 450), compression="gzip", fletcher32=True)
    with h5py.File(path) as file:
        chunk = file["df/block0_values"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(content)
    reader = source("lhco-particles")
    assert len(reader.read(str(path), 0, 8)) == 8
    with pytest.raises(InputError, match="corrupt"):
        reader.read(str(path), 8, 12)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with uproot.recreate(tmp_path / "tracks.root") as file:
        file.mktree("Events", {"Track_pt": "float64"})
        file["Events"].extend({"Track_pt": np.ones(3)})
    with uproot.recreate(tmp_path / "other.root") as file:
        file.mktree("ntuple", {"x": "float64"})
    for name, message in {
        "text.h5": "no source knows",
        "plain.h5": "no source knows this layout .HDF5 with the columns numbers",
        "tracks.root": "no source knows",
        "other.root": "no source knows this layout .ROOT with the trees ntuple.*column map",
        "absent.root": "cannot be opened",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            recognise(tmp_path / name)
        assert name in str(caught.value)


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(InputError, match="lhco-particles"):
        source("lhco-particle")
    assert all(name == each.name for name, each in SOURCES.items())


@pytest.mark.parametrize("file", ["pfnano.root", pytest.param("nano_tt_v15.root", marks=pytest.mark.slow)])
def test_constituents_give_the_jets_that_point_to_them(reference_data: Path, file: str) -> None:
    """PUPPI-weighted constituents add up to the jet before its energy correction, (1 - rawFactor) pT, are as many as CMS
    counted, and give CMS's own tau_N to a few per cent (their axes are minimised once more)."""
    path = str(reference_data / "root" / file)
    events = source("pfnano").read(path, 0, source("pfnano").n_events(path))
    events = events[ak.num(events.FatJet) >= 2]
    order = ak.argsort(events.FatJet.pt, axis=1, ascending=False)[:, :2]
    jets = events.FatJet[order]
    links = linked_constituents(events)
    assert links is not None
    constituents = constituents_of(links, order)
    sums = np.add.reduceat(constituents.momenta, constituents.offsets[:-1], axis=0)
    raw = ak.to_numpy(ak.flatten(jets.pt * (1 - jets.rawFactor)))
    np.testing.assert_allclose(np.hypot(sums[:, 0], sums[:, 1]), raw, rtol=0.003)
    pair = collection_pair(events, "FatJet", 0.8)
    for n in (1, 2, 3, 4):
        ratio = pair.columns[f"tau{n}"] / ak.to_numpy(jets[f"tau{n}"])
        assert np.median(np.abs(ratio - 1)) < 0.03, n
    if "nConstituents" in jets.fields:
        np.testing.assert_array_equal(pair.columns["n"], ak.to_numpy(jets.nConstituents))


def test_stored_substructure_is_taken_where_there_are_no_constituents(reference_data: Path) -> None:
    events = source("nanoaod").read(str(reference_data / "root" / "nano_tt_v12.root"), 0, 200)
    columns = DijetFeatures()(events)
    two = ak.num(events.FatJet) >= 2
    assert 0 < ak.sum(two) < 200
    leading = events.FatJet[two][
        :, 0
    ]  # NanoAOD is ordered by pT; .tau2 would be the four-vector's own, its mass squared
    chosen = ak.to_numpy(two)
    np.testing.assert_allclose(columns["tau21_j1"][chosen], ak.to_numpy(leading["tau2"] / leading["tau1"]), rtol=1e-5)
    np.testing.assert_allclose(columns["msd_j1"][chosen], ak.to_numpy(leading.msoftdrop), rtol=1e-5)
    mass = (events.FatJet[two][:, 0] + events.FatJet[two][:, 1]).mass  # coffea's own four-vectors
    np.testing.assert_allclose(columns["mjj"][chosen], ak.to_numpy(mass), rtol=1e-4)
    assert np.isnan(columns["mjj"][~chosen]).all()
    assert not {"tau1b2_j1", "tau1b2_ratio_h"} & set(columns)


def test_jets_without_kinematics_are_refused() -> None:
    events = events_from_columns({"nFatJet": ak.Array([2]), "FatJet_pt": ak.Array([[1.0, 2.0]])}, 1, "memory", 0, None)
    with pytest.raises(InputError, match="pt, eta, phi, mass"):
        DijetFeatures()(events)
    with pytest.raises(InputError, match="FatJet"):
        DijetFeatures(collection="FatJets")(events)
    with pytest.raises(InputError, match="expected jets"):
        DijetFeatures()(events_from_columns({"run": ak.Array([1])}, 1, "memory", 0, None))
