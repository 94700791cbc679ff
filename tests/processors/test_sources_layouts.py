"""Layouts with sources of their own, against plain reads by uproot and pyarrow, other programs and other branches of the file."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
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
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.sources.branches import Rows, TreeBranches, simple_form
from resonaut.processors.sources.delphes import Delphes
from resonaut.processors.sources.root_files import names_of
from resonaut.processors.sources.treemaker import TreeMaker

TREES = {
    "delphes_10events.root": "Delphes",
    "PHYSLITE_example.root": "CollectionTree",
    "physlite_rntuple.root": "EventData",
    "treemaker.root": "PreSelection",
}


@functools.cache
def layout(path: Path) -> tuple[str, int]:
    """Name of the source that recognises a file, and the number of its events."""
    name = recognise(path)
    return name, source(name).n_events(str(path))


def part(path: Path, start: int = 0, stop: int | None = None) -> Any:
    """Events of a file, read anew."""
    name, events = layout(path)
    return source(name).read(str(path), start, events if stop is None else stop)


@functools.cache
def read(path: Path) -> Any:
    """All events of a file, read once for all tests: to parse a tree of thousands of branches takes a second."""
    return part(path)


def same(found: Any, truth: Any, rtol: float = 1e-6) -> None:
    """Equal numbers of objects in every event, and equal values."""
    assert ak.num(found).to_list() == ak.num(truth).to_list()
    np.testing.assert_allclose(ak.to_numpy(ak.flatten(found)), ak.to_numpy(ak.flatten(truth)), rtol=rtol)


class Table:
    """Branches of a file that is only in memory."""

    def __init__(self, **branches: Any) -> None:
        self.path, self.columns = "memory", {key.replace("__", "."): ak.Array(v) for key, v in branches.items()}
        self.names = frozenset(self.columns)
        self.entries = len(next(iter(self.columns.values())))
        self.asked: list[str] = []

    def empty(self, name: str) -> Any:
        return self.columns[name][:0]

    def read(self, name: str, start: int, stop: int) -> Any:
        self.asked.append(name)
        return self.columns[name][start:stop]


def test_columns_whose_offsets_begin_later_stay_with_their_events() -> None:
    """A slice of a jagged array keeps the contents before it; its fields used to be those of other events."""
    pt = ak.Array([[9.0, 8.0, 7.0], [1.0, 2.0], [], [3.0]])[1:]
    assert pt.layout.to_ListOffsetArray64(False).offsets[0] != 0  # the case in question
    eta = ak.Array([[0.1, 0.2], [], [0.3]])
    columns = {"nJet": ak.num(eta), "Jet_pt": pt, "Jet_eta": eta, "Jet_phi": eta, "Jet_mass": ak.Array(pt.layout)}
    events = events_from_columns(columns, 3, "memory", 0, None)
    assert events.Jet.pt.to_list() == events.Jet.mass.to_list() == [[1.0, 2.0], [], [3.0]]
    assert events.Jet.eta.to_list() == eta.to_list()


@pytest.mark.parametrize("file", TREES)
def test_a_branch_is_read_when_it_is_used_and_not_before(
    reference_data: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = TreeBranches.read

    def counted(self: TreeBranches, name: str, start: int, stop: int) -> Any:
        asked.append(name)
        return original(self, name, start, stop)

    monkeypatch.setattr(TreeBranches, "read", counted)
    events = part(reference_data / "root" / file)
    looked = len(asked)
    assert looked <= 2  # Delphes: whether the substructure of its jets was computed
    for _ in range(2):  # once, not again
        assert ak.sum(events.Jet.pt) > 0
        assert ak.sum(abs(events.Jet.eta)) > 0
        assert len(asked) - looked == 2, asked


@pytest.mark.parametrize("file", TREES)
def test_parts_of_a_file_are_its_events(reference_data: Path, file: str) -> None:
    path = reference_data / "root" / file
    whole = read(path)
    for bounds in ((3, 8), (9, 10), (4, 4)):
        some = part(path, *bounds)
        assert len(some) == bounds[1] - bounds[0]
        for name in ("Jet", "FatJet", "Muon", "PFCand"):
            for key in whole[name].fields if name in whole.fields else ():
                truth = whole[name][key][slice(*bounds)]
                assert ak.array_equal(some[name][key], truth, equal_nan=True), (name, key)
        assert some.event.to_list() == whole.event.to_list()[slice(*bounds)]


# --- Delphes ------------------------------------------------------------------------------------------------------------


def test_delphes_particles_are_those_that_delphes_has_clustered(reference_data: Path) -> None:
    """Clustered again with the card's anti-kT R = 0.5 they give its own jets, but for its correction of the energy scale,
    sqrt((2.5 - 0.15 |eta|)^2 / pT + 1): 60 jets, axes and momenta to 1e-6, and the same numbers of constituents."""
    events = read(reference_data / "root" / "delphes_10events.root")
    assert "FatJet" not in events.fields
    particles, broken = flatten_particles(events.PFCand)
    assert not broken.any()
    jets = leading_jets(particles, 14, radius=0.5, ptmin=10.0, observables=("n",)).columns
    compared = 0
    for e in range(len(events)):
        stored = {key: events.Jet[key][e].to_numpy() for key in ("pt", "eta", "phi", "mass", "nConstituents")}
        distance = np.hypot(
            stored["eta"][:, None] - jets["eta"][e],
            (stored["phi"][:, None] - jets["phi"][e] + np.pi) % (2 * np.pi) - np.pi,
        )
        mine = np.nanargmin(distance, axis=1)
        assert np.nanmin(distance, axis=1).max() < 1e-6
        scale = np.sqrt((2.5 - 0.15 * np.abs(stored["eta"])) ** 2 / jets["pt"][e][mine] + 1)
        np.testing.assert_allclose(stored["pt"], jets["pt"][e][mine] * scale, rtol=1e-6)
        several = stored["nConstituents"] > 1
        np.testing.assert_allclose(stored["mass"][several], (jets["m"][e][mine] * scale)[several], rtol=1e-4)
        np.testing.assert_array_equal(stored["nConstituents"], jets["n"][e][mine])
        compared += len(mine)
    assert compared == 60


def momenta(mass: float) -> dict[str, Any]:
    """A TLorentzVector at rest of that mass, as uproot gives it."""
    return {"fP": {"fX": 3.0, "fY": 4.0, "fZ": 12.0}, "fE": float(np.sqrt(169.0 + mass**2))}


def fat_delphes(name: str, *, computed: bool = True) -> dict[str, Any]:
    """Branches of two events with one and two jets of large radius."""
    per_jet = [[300.0], [500.0, 400.0]]
    taus = [[[0.5, 0.4, 0.3, 0.2, 0.1]] * len(jets) if computed else [[0.0] * 5] * len(jets) for jets in per_jet]
    groomed = [[[momenta(80.0 if computed else 0.0)] * 5] * len(jets) for jets in per_jet]
    if not computed:
        groomed = [[[{"fP": dict.fromkeys(("fX", "fY", "fZ"), 0.0), "fE": 0.0}] * 5] * len(jets) for jets in per_jet]
    return {
        f"{name}.PT": per_jet,
        f"{name}.Eta": [[0.1], [0.2, -0.3]],
        f"{name}.Phi": [[1.0], [2.0, -1.1]],
        f"{name}.Mass": [[90.0], [95.0, 20.0]],
        f"{name}.BTag": ak.values_astype(ak.Array([[2], [1, 3]]), np.uint32),
        f"{name}.Tau[5]": ak.to_regular(ak.Array(taus), axis=2),
        f"{name}.SoftDroppedP4[5]": ak.to_regular(ak.Array(groomed), axis=2),
        "Event.Weight": [[0.5], [2.0]],
    }


@pytest.mark.parametrize("name", ["FatJet", "ParticleFlowJet08", "ParticleFlowJet10", "JetAK8", "AK8Jet", "PFJet15"])
def test_delphes_jets_of_large_radius_by_whatever_name(name: str) -> None:
    small = {f"Jet.{key}": [[50.0], []] for key in ("PT", "Eta", "Phi", "Mass")}
    others = {"GenParticleFlowJet10.PT": [[1.0], []], "ParticleFlowJet04.PT": [[1.0], []]}
    table = Table(**fat_delphes(name), **small, **others)
    events = events_from_columns(Delphes().columns(Rows(table, 0, 2)), 2, "memory", 0, None)
    assert events.FatJet.pt.to_list() == [[300.0], [500.0, 400.0]]
    assert events.FatJet.btag.to_list() == [[False], [True, True]]
    assert events.FatJet["tau2"].to_list() == [[0.4], [0.4, 0.4]]
    assert events.FatJet["tau5"].to_list() == [[0.1], [0.1, 0.1]]
    np.testing.assert_allclose(ak.flatten(events.FatJet.msoftdrop), 80.0)
    assert events.Jet.pt.to_list() == [[50.0], []]
    assert events.weight.to_list() == [0.5, 2.0]
    columns = DijetFeatures()(events)
    pair = vector.obj(pt=500.0, eta=0.2, phi=2.0, mass=95.0) + vector.obj(pt=400.0, eta=-0.3, phi=-1.1, mass=20.0)
    np.testing.assert_allclose(columns["mjj"], [np.nan, pair.mass])
    np.testing.assert_allclose(columns["tau21_j1"], [np.nan, 0.8])


def test_delphes_substructure_that_was_not_asked_for_is_absent_and_not_zero() -> None:
    table = Table(**fat_delphes("FatJet", computed=False))
    events = events_from_columns(Delphes().columns(Rows(table, 0, 2)), 2, "memory", 0, None)
    assert not {"tau1", "tau5", "msoftdrop"} & set(events.FatJet.fields)
    assert np.isfinite(DijetFeatures()(events)["mjj"]).tolist() == [False, True]


def test_delphes_tracks_have_the_mass_that_is_stored() -> None:
    table = Table(
        **{
            "EFlowTrack.PT": [[1.0], [2.0, 3.0]], "EFlowTrack.Eta": [[0.1], [0.2, 0.3]], "EFlowTrack.Phi": [[1.0], [2.0, 3.0]],
            "EFlowTrack.Mass": [[0.14], [0.94, 0.49]], "EFlowTrack.Charge": [[1], [-1, 1]],
            "EFlowPhoton.ET": [[4.0], []], "EFlowPhoton.Eta": [[-1.0], []], "EFlowPhoton.Phi": [[-2.0], []],
        }
    )  # fmt: skip
    events = events_from_columns(Delphes().columns(Rows(table, 0, 2)), 2, "memory", 0, None)
    assert events.PFCand.pt.to_list() == [[1.0, 4.0], [2.0, 3.0]]
    np.testing.assert_allclose(ak.flatten(events.PFCand.mass), [0.14, 0.0, 0.94, 0.49], rtol=1e-6)
    assert events.PFCand.charge.to_list() == [[1, 0], [-1, 1]]


def test_delphes_towers_that_are_in_others_are_not_counted_twice() -> None:
    stores = ("EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron", "EFlowTower")
    energy = {store: "PT" if store == "EFlowTrack" else "ET" for store in stores}
    branches = {f"{s}.{key}": [[float(i)]] for i, s in enumerate(stores, 1) for key in (energy[s], "Eta", "Phi")}
    for kept, pts in ((stores, [[1.0, 2.0, 3.0]]), (("EFlowTrack", "EFlowTower"), [[1.0, 4.0]])):
        table = Table(**{name: values for name, values in branches.items() if name.split(".")[0] in kept})
        events = events_from_columns(Delphes().columns(Rows(table, 0, 1)), 1, "memory", 0, None)
        assert events.PFCand.pt.to_list() == pts


# --- PHYSLITE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "dot", "jets"), [("PHYSLITE_example.root", ".", 97), ("physlite_rntuple.root", ":", 103)]
)
def test_physlite_large_jets_in_gev(reference_data: Path, file: str, dot: str, jets: int) -> None:
    path = reference_data / "root" / file
    events = read(path)
    with uproot.open(path) as opened:
        store = f"AnalysisLargeRJetsAuxDyn{dot}"
        tree = opened[TREES[file]]
        raw = {
            key: tree[store + key].array()
            for key in ("pt", "eta", "phi", "m", "D2", "C2", "ECF1", "ECF2", "ECF3", "Tau1_wta", "Tau2_wta", "Split12")
        }
    assert ak.count(raw["pt"]) == jets
    assert 30e3 < ak.mean(raw["pt"]) < 1000e3  # MeV in the file
    found = events.FatJet
    for key, stored, scale in (("pt", "pt", 1e-3), ("mass", "m", 1e-3), ("eta", "eta", 1), ("phi", "phi", 1)):
        same(found[key], raw[stored] * scale)
    for key, stored in (("tau1", "Tau1_wta"), ("tau2", "Tau2_wta"), ("d2", "D2"), ("c2", "C2")):
        same(found[key], raw[stored])
    same(found["split12"], raw["Split12"] / 1000)
    two = ak.flatten(found["ecf2"]) > 0  # with two constituents and more; the units of the sums must fit together:
    e1, e2, e3, c2, d2 = (ak.to_numpy(ak.flatten(found[key]))[two] for key in ("ecf1", "ecf2", "ecf3", "c2", "d2"))
    np.testing.assert_allclose(d2, e3 * e1**3 / e2**3, rtol=1e-3)
    np.testing.assert_allclose(c2, e3 * e1 / e2**2, rtol=1e-3)
    assert 0.5 < np.median(e1 / ak.to_numpy(ak.flatten(found.pt))[two]) < 1.2  # GeV: the sum of the constituents' pT


@pytest.mark.parametrize("file", ["PHYSLITE_example.root", "physlite_rntuple.root"])
def test_physlite_dijets_agree_with_vector(reference_data: Path, file: str) -> None:
    path = reference_data / "root" / file
    with uproot.open(path) as opened:
        tree = opened[TREES[file]]
        dot = ":" if "rntuple" in file else "."
        jets = {key: tree[f"AnalysisLargeRJetsAuxDyn{dot}{key}"].array() for key in ("pt", "eta", "phi", "m")}
    columns = DijetFeatures()(read(path))
    two = ak.to_numpy(ak.num(jets["pt"]) >= 2)
    order = ak.argsort(jets["pt"], ascending=False)[two]
    one, other = (
        vector.array({x: ak.to_numpy(v[two][order][:, i]).astype(float) for x, v in zip(("pt", "eta", "phi", "mass"), jets.values(), strict=True)})
        for i in (0, 1)
    )  # fmt: skip
    np.testing.assert_allclose(columns["mjj"][two], (one + other).mass / 1000, rtol=1e-5)
    assert np.isnan(columns["mjj"][~two]).all()


# --- TreeMaker ----------------------------------------------------------------------------------------------------------


def test_treemaker_jets_agree_with_the_numbers_that_it_has_computed_itself(reference_data: Path) -> None:
    """TreeMaker stores the invariant mass and the angles of its own leading AK8 jets, and the numbers of its objects."""
    path = reference_data / "root" / "treemaker.root"
    events = read(path)
    with uproot.open(path) as opened:
        tree = opened["PreSelection"]
        raw = {
            key: tree[key].array()
            for key in ("MJJ_AK8", "MET", "EvtNum", "NJets", "NMuons", "Weight", "JetsAK8_softDropMass")
        }
        raw["tau1"], raw["tau2"] = (tree[f"JetsAK8_NsubjettinessTau{i}"].array() for i in (1, 2))
    columns = DijetFeatures()(events)
    np.testing.assert_allclose(columns["mjj"], raw["MJJ_AK8"], rtol=1e-6)
    np.testing.assert_allclose(columns["tau21_j1"], raw["tau2"][:, 0] / raw["tau1"][:, 0], rtol=1e-6)
    np.testing.assert_allclose(columns["msd_j2"], raw["JetsAK8_softDropMass"][:, 1], rtol=1e-6)
    good = (events.Jet.pt > 30) & (abs(events.Jet.eta) < 2.4)  # TreeMaker's definition of NJets
    assert ak.all(ak.sum(good, axis=1) >= raw["NJets"])
    assert ak.all(ak.num(events.Muon) >= raw["NMuons"])
    np.testing.assert_array_equal(events.event, raw["EvtNum"])
    np.testing.assert_allclose(events.MET.pt, raw["MET"])
    np.testing.assert_allclose(events.weight, raw["Weight"])


def test_treemaker_of_before_legacy_with_tlorentzvectors() -> None:
    p = {"fP": {"fX": 30.0, "fY": -40.0, "fZ": 12.0}, "fE": 60.0}
    table = Table(JetsAK8=[[p], []], JetsAK8_softDropMass=[[21.0], []], MET=[1.0, 2.0], EvtNum=[1, 2])
    events = events_from_columns(TreeMaker().columns(Rows(table, 0, 2)), 2, "memory", 0, None)
    truth = vector.obj(px=30.0, py=-40.0, pz=12.0, E=60.0)
    for key in ("pt", "eta", "phi", "mass"):
        np.testing.assert_allclose(ak.flatten(events.FatJet[key]), getattr(truth, key))
    assert events.FatJet.msoftdrop.to_list() == [[21.0], []]


# --- NanoAOD in other containers ------------------------------------------------------------------------------------------


def test_rntuple_and_ttree_of_the_same_events_agree(reference_data: Path) -> None:
    tree, ntuple = (read(reference_data / "root" / f"pfnano{x}.root") for x in ("", "_rntuple"))
    assert set(tree.fields) == set(ntuple.fields)
    assert tree.event.to_list() == ntuple.event.to_list()
    for name in ("FatJet", "Jet", "Muon", "PFCands", "FatJetPFCands", "SubJet", "MET"):
        assert set(tree[name].fields) == set(ntuple[name].fields), name
        for key in [key for key in tree[name].fields if not key.endswith("IdxG")][:12]:
            one, two = (ak.to_numpy(ak.flatten(events[name][key], axis=None)) for events in (tree, ntuple))
            np.testing.assert_array_equal(one, two, err_msg=f"{name}.{key}")
    one, two = (DijetFeatures()(events) for events in (tree, ntuple))
    for key, column in one.items():
        np.testing.assert_array_equal(column, two[key])


@pytest.mark.parametrize("file", ["nano_tt_v12.root", "delphes_10events.root"])
def test_a_local_file_is_opened_twice_whatever_is_asked_of_it(
    reference_data: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the names of its trees, once for its branches; parsing a tree of thousands of branches takes a second."""
    path = tmp_path / file  # not in the cache yet
    shutil.copyfile(reference_data / "root" / file, path)
    opened: list[str] = []
    original = uproot.open
    monkeypatch.setattr(uproot, "open", lambda path, **options: opened.append(path) or original(path, **options))
    result = run_processor({"a": str(path)}, DijetProcessor(), chunksize=70)
    assert result.ledger.read > 0
    assert opened == [str(path)] * 2


def test_branches_that_end_alike_keep_their_whole_name() -> None:
    tree = SimpleNamespace(keys=lambda: ["pt", "jets", "jets/pt", "jets/jets.eta", "muons", "muons/pt"])
    names = {name: name for name in ("pt", "jets", "jets/pt", "muons", "muons/pt")}
    assert names_of(tree) == {**names, "jets.eta": "jets/jets.eta"}


def test_forms_by_the_name_of_a_type_are_those_of_uproot(reference_data: Path) -> None:
    """One column of every type that the file has."""
    with uproot.open(reference_data / "root" / "pfnano_rntuple.root") as opened:
        columns = {field.typename: field for field in opened["Events"].fields if field.typename}
        assert len(columns) > 8
        for name, field in columns.items():
            form = simple_form(name)
            assert form is not None, name
            assert form.type == field.array(entry_stop=1).layout.form.type, name


def test_parquet_gives_what_pyarrow_reads(reference_data: Path) -> None:
    path = reference_data / "root" / "nano_dy.parquet"
    assert recognise(path) == "nanoaod-parquet"
    events = read(path)
    assert len(events) == pq.ParquetFile(path).metadata.num_rows == 40
    raw = pq.read_table(
        path, columns=["Jet_pt", "Jet_eta", "Muon_pt", "MET_pt", "run", "nFatJet", "FatJet_tau1"]
    ).to_pydict()
    assert events.Jet.pt.to_list() == raw["Jet_pt"]
    assert events.Jet.eta.to_list() == raw["Jet_eta"]
    assert events.Muon.pt.to_list() == raw["Muon_pt"]
    assert events.MET.pt.to_list() == raw["MET_pt"]
    assert events.run.to_list() == raw["run"]
    assert ak.num(events.FatJet).to_list() == raw["nFatJet"]
    assert events.FatJet["tau1"].to_list() == raw["FatJet_tau1"]
    assert ak.all(events.Jet.px == events.Jet.pt * np.cos(events.Jet.phi))  # four-vectors
    columns = DijetFeatures(collection="Jet")(events)
    e = int(np.flatnonzero(np.isfinite(columns["mjj"]))[0])
    table = pq.read_table(path, columns=[f"Jet_{x}" for x in ("pt", "eta", "phi", "mass")]).slice(e, 1).to_pydict()
    one, two = (vector.obj(**{x: table[f"Jet_{x}"][0][i] for x in ("pt", "eta", "phi", "mass")}) for i in (0, 1))
    np.testing.assert_allclose(columns["mjj"][e], (one + two).mass, rtol=1e-5)


def test_parquet_in_row_groups_and_of_records(tmp_path: Path) -> None:
    """As `ak.to_parquet` writes skims: one column of records per collection, no number of jets, several row groups."""
    counts = [2, 0, 3, 1, 2, 0, 1]
    pt = ak.unflatten(np.arange(9.0) + 100, counts)
    jets = ak.zip({"ptRaw": pt * 2, "pt": pt, "eta": pt / 100, "phi": pt * 0 - 1.0, "mass": pt / 10})
    ak.to_parquet(
        ak.zip({"FatJet": jets, "met": np.arange(7.0)}, depth_limit=1), tmp_path / "skim.parquet", row_group_size=3
    )
    assert pq.ParquetFile(tmp_path / "skim.parquet").metadata.num_row_groups == 3
    assert recognise(tmp_path / "skim.parquet") == "nanoaod-parquet"
    events = part(tmp_path / "skim.parquet", 2, 6)
    assert events.FatJet.pt.to_list() == pt[2:6].to_list()
    assert events.FatJet.mass.to_list() == (pt / 10)[2:6].to_list()
    assert events.FatJet.ptRaw.to_list() == (2 * pt)[2:6].to_list()
    assert events.met.to_list() == [2.0, 3.0, 4.0, 5.0]
    assert part(tmp_path / "skim.parquet", 3, 3).FatJet.pt.to_list() == []


def test_parquet_reads_the_columns_that_are_used(reference_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = pq.ParquetFile.read_row_groups

    def counted(self: Any, groups: Any, columns: Any = None, **options: Any) -> pa.Table:
        asked.append(columns)
        return original(self, groups, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    events = part(reference_data / "root" / "nano_dy.parquet")
    assert asked == []
    ak.to_list(events.Muon.pt)
    assert asked == [["nMuon"], ["Muon_pt"]]


def test_scouting_and_open_data_give_the_jets_that_uproot_reads(reference_data: Path) -> None:
    for file, name in (("scouting_nano.root", "ScoutingFatJet"), ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Jet")):
        path = reference_data / "root" / file
        events = read(path)
        with uproot.open(path) as opened:
            same(events[name].pt, opened["Events"][f"{name}_pt"].array())
            same(events[name].mass, opened["Events"][f"{name}_mass"].array())


def test_files_with_neither_large_jets_nor_particles_give_dijets_of_small_ones() -> None:
    assert DijetFeatures().jets_from(["Jet", "Muon"]) == "Jet"
    assert DijetFeatures().jets_from(["Jet", "PFCand"]) == "PFCand"
    assert DijetFeatures().jets_from(["Jet", "PFCand", "FatJet"]) == "FatJet"
    with pytest.raises(InputError, match="expected jets"):
        DijetFeatures().jets_from(["Muon"])


# --- PFNano: constituents against what CMS has stored -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "jets", "tolerance"),
    [("pfnano.root", 20, 0.03), ("pfnano_rntuple.root", 20, 0.03), pytest.param("nano_tt_v15.root", 40, 0.03, marks=pytest.mark.slow)],
)  # fmt: skip
def test_substructure_of_constituents_is_what_cms_has_stored(
    reference_data: Path, file: str, jets: int, tolerance: float
) -> None:
    """tau1 to tau3 of half of the jets within 3 % (CMS minimises the axes once more); the soft-drop mass of nine jets of ten within 1 %
    of that of their two stored subjets before the correction of their energies."""
    events = read(reference_data / "root" / file)
    events = events[ak.num(events.FatJet) >= 2]
    columns = DijetFeatures()(events)
    order = ak.argsort(events.FatJet.pt, axis=1, ascending=False)[:, :2]
    stored = events.FatJet[order]
    compared = 0
    for i, j in ((0, "j1"), (1, "j2")):
        for n in (1, 2, 3):
            truth = ak.to_numpy(stored[f"tau{n}"][:, i])
            assert np.median(np.abs(columns[f"tau{n}_{j}"] / truth - 1)) < tolerance, (n, j)
        places = [ak.singletons(stored[f"subJetIdx{k}"][:, i]) for k in (1, 2)]
        both = ak.to_numpy((ak.firsts(places[0]) >= 0) & (ak.firsts(places[1]) >= 0))
        one, two = (ak.firsts(events[both].SubJet[place[both]]) for place in places)
        groomed = one * (1 - one.rawFactor) + two * (1 - two.rawFactor)
        truth = ak.to_numpy(groomed.mass)
        agree = np.abs(columns[f"msd_{j}"][both] / truth - 1)[truth > 5] < 0.01
        assert np.mean(agree) > 0.9  # a candidate at the edge of two subjets, stored with 10 bits, may go to the other
        compared += both.sum()
    assert compared > 0.8 * jets


# --- files that break ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["treemaker.root", "delphes_10events.root", "physlite_rntuple.root"])
def test_truncated_files_are_named_with_the_reason(reference_data: Path, tmp_path: Path, file: str) -> None:
    content = (reference_data / "root" / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"{file}.*truncated"):
        recognise(tmp_path / file)


def test_a_branch_that_breaks_while_it_is_used_is_a_bad_file_and_counted(reference_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "treemaker.root"
    shutil.copyfile(reference_data / "root" / "treemaker.root", path)
    with uproot.open(path) as file:
        branch = file["PreSelection/JetsAK8/JetsAK8.fCoordinates.fPt"]
        place = int(branch.member("fBasketSeek")[0])
    content = bytearray(path.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    whole = str(reference_data / "root" / "treemaker.root")
    with pytest.raises(InputError, match=r"treemaker\.root: cannot be read"):
        run_processor({"a": [str(path)]}, DijetProcessor())
    result = run_processor({"a": [str(path)], "b": [whole]}, DijetProcessor(), on_bad_file="skip")
    assert (result.complete, result.ledger.lost, result.ledger.read) == (False, 10, 10)
    assert "cannot be read" in result.ledger.files_failed[str(path)]


def test_a_file_that_changes_on_disk_is_read_anew(reference_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    shutil.copyfile(reference_data / "root" / "treemaker.root", path)
    assert source("treemaker").n_events(str(path)) == 10
    shutil.copyfile(reference_data / "root" / "delphes_10events.root", path)
    assert recognise(path) == "delphes"
    assert source("delphes").n_events(str(path)) == 10
