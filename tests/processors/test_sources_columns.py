"""Column maps: flat ntuples of every container, against the numbers that were written and four-vectors of `vector`."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import vector

from resonaut.errors import ConfigError, InputError
from resonaut.processors import ColumnMap, DijetFeatures, DijetProcessor, run_processor, source
from resonaut.processors.sources.branches import TreeBranches

N = 40
JET = {"pt": "a", "eta": "b", "phi": "c", "m": "d"}
JAGGED = {
    "columns": {
        "FatJet": {
            "pt": "fatjet_pt",
            "eta": "fatjet_eta",
            "phi": "fatjet_phi",
            "mass": "fatjet_m",
            "tau1": "fatjet_tau1",
        },
        "MET": {"pt": "met", "phi": "met_phi"},
        "weight": "mcweight",
    },
    "unit": "MeV",
}
LISTED = {
    "columns": {
        "FatJet": [{"pt": f"j{i}_pt", "eta": f"j{i}_eta", "phi": f"j{i}_phi", "m": f"j{i}_m", "tau2": f"j{i}_tau2"} for i in (1, 2)],
        "event": "number",
    }
}  # fmt: skip


def jagged() -> dict[str, Any]:
    """Columns of an ATLAS-like ntuple in MeV."""
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 4, N)
    size = counts.sum()
    per_jet = {
        "fatjet_pt": rng.uniform(2e5, 9e5, size),
        "fatjet_eta": rng.normal(0, 1, size),
        "fatjet_phi": rng.uniform(-3, 3, size),
        "fatjet_m": rng.uniform(2e4, 2e5, size),
        "fatjet_tau1": rng.uniform(0, 1, size),
    }
    jets = {key: ak.unflatten(values, counts) for key, values in per_jet.items()}
    per_event = {"met": rng.exponential(4e4, N), "met_phi": rng.uniform(-3, 3, N), "mcweight": rng.normal(1, 0.1, N)}
    return {**jets, **per_event, "unused": rng.normal(0, 1, N)}


def listed() -> dict[str, Any]:
    """Columns of a flat ntuple in GeV; the second jet is absent in three ways."""
    rng = np.random.default_rng(5)
    columns = {"number": np.arange(N) + 7}
    for i, scale in ((1, 800.0), (2, 700.0)):
        columns |= {f"j{i}_pt": rng.uniform(0.5, 1, N) * scale, f"j{i}_eta": rng.normal(0, 1, N)}
        columns |= {
            f"j{i}_phi": rng.uniform(-3, 3, N),
            f"j{i}_m": rng.uniform(20, 200, N),
            f"j{i}_tau2": rng.uniform(0, 1, N),
        }
    for row, value in ((3, -99.0), (4, np.nan), (5, 0.0)):
        columns["j2_pt"][row] = value
    return columns


def write(path: Path, columns: dict[str, Any], kind: str) -> str:
    """The columns in a file of that kind; jagged ones in HDF5 as arrays of variable length."""
    name = str(path / f"ntuple.{kind.rsplit('-', maxsplit=1)[-1]}")
    if kind == "tree-root":
        with uproot.recreate(name) as file:
            file.mktree(
                "nominal",
                {
                    k: ("var * float64" if v.ndim > 1 else v.dtype if isinstance(v, np.ndarray) else v.type.content)
                    for k, v in columns.items()
                },
            )
            file["nominal"].extend(columns)
            file.mktree("sumWeights", {"total": "float64"})
    elif kind == "ntuple-root":
        with uproot.recreate(name) as file:
            file.mkrntuple("nominal", {k: ak.Array(v) for k, v in columns.items()})
    elif kind == "parquet":
        pq.write_table(
            pa.table({k: ak.to_arrow(ak.Array(v), extensionarray=False) for k, v in columns.items()}),
            name,
            row_group_size=15,
        )
    else:
        with h5py.File(name, "w") as file:
            for key, values in columns.items():
                if values.ndim == 1:
                    file[key] = np.asarray(values)
                    continue
                stored = file.create_dataset(key, (len(values),), dtype=h5py.vlen_dtype(np.float64))
                for i, row in enumerate(values.to_list()):
                    stored[i] = np.array(row)
            file["sumWeights"] = np.ones(3)  # not of events
    return name  # fmt: skip


KINDS = ["tree-root", "ntuple-root", "parquet", "hdf5"]


def with_tree(given: dict[str, Any], kind: str) -> ColumnMap:
    return ColumnMap.from_dict({**given, "tree": "nominal"} if kind == "tree-root" else given)


@pytest.mark.parametrize("kind", KINDS)
def test_jagged_columns_in_mev(tmp_path: Path, kind: str) -> None:
    columns = jagged()
    path, reader = write(tmp_path, columns, kind), with_tree(JAGGED, kind)
    assert reader.recognises(path)
    assert reader.n_events(path) == N
    events = reader.read(path, 5, 30)
    part = {key: values[5:30] for key, values in columns.items()}
    for key, stored, scale in (
        ("pt", "fatjet_pt", 1e-3),
        ("eta", "fatjet_eta", 1),
        ("mass", "fatjet_m", 1e-3),
        ("tau1", "fatjet_tau1", 1),
    ):
        assert ak.num(events.FatJet[key]).to_list() == ak.num(part[stored]).to_list()
        np.testing.assert_allclose(ak.flatten(events.FatJet[key]), ak.flatten(part[stored]) * scale, rtol=1e-12)
    np.testing.assert_allclose(events.MET.pt, part["met"] / 1000)
    np.testing.assert_allclose(events.MET.phi, part["met_phi"])
    np.testing.assert_allclose(events.weight, part["mcweight"])
    assert "unused" not in events.fields
    found = DijetFeatures()(events)["mjj"]
    for i in range(25):
        jets = sorted(
            zip(*(part[f"fatjet_{x}"][i].to_list() for x in ("pt", "eta", "phi", "m")), strict=True), reverse=True
        )
        if len(jets) < 2:
            assert np.isnan(found[i])
            continue
        one, two = (vector.obj(pt=pt, eta=eta, phi=phi, mass=m) for pt, eta, phi, m in jets[:2])
        np.testing.assert_allclose(found[i], (one + two).mass / 1000)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_objects_listed_one_by_one(tmp_path: Path, kind: str) -> None:
    columns = listed()
    path = write(tmp_path, columns, kind)
    events = with_tree(LISTED, kind).read(path, 0, N)
    counts = ak.num(events.FatJet).to_numpy()
    assert counts.tolist() == [1 if i in (3, 4, 5) else 2 for i in range(N)]
    np.testing.assert_allclose(events.FatJet.pt[:, 0], columns["j1_pt"])
    both = counts == 2
    np.testing.assert_allclose(events.FatJet[both]["tau2"][:, 1], columns["j2_tau2"][both])
    assert events.event.to_list() == (np.arange(N) + 7).tolist()
    one, two = (
        vector.array(
            {k: columns[f"j{i}_{s}"][both] for k, s in (("pt", "pt"), ("eta", "eta"), ("phi", "phi"), ("mass", "m"))}
        )
        for i in (1, 2)
    )
    np.testing.assert_allclose(DijetFeatures()(events)["mjj"][both], (one + two).mass)  # fmt: skip


def test_columns_of_other_objects_are_refused(tmp_path: Path) -> None:
    """As many values in all, but of other events: they would go to the wrong jets without a word."""
    columns = jagged()
    counts = ak.num(columns["fatjet_pt"])
    columns["jet_tau1"] = ak.unflatten(ak.flatten(columns["fatjet_tau1"]), counts[::-1])
    path = write(tmp_path, columns, "parquet")
    spec = {**JAGGED["columns"]["FatJet"], "tau1": "jet_tau1"}
    events = ColumnMap({"FatJet": spec}).read(path, 0, N)
    assert ak.num(events.FatJet.pt).to_list() == counts.to_list()
    with pytest.raises(InputError, match=r"columns.FatJet.tau1 has another number of values than 'fatjet_pt'"):
        ak.to_list(events.FatJet["tau1"])
    with pytest.raises(InputError, match="of the same objects"):
        run_processor({"mine": {"files": [path], "source": ColumnMap({"FatJet": spec})}}, DijetProcessor())


def test_missing_momentum_by_any_of_its_names(tmp_path: Path) -> None:
    path = write(tmp_path, jagged(), "parquet")
    events = ColumnMap({"PuppiMET": {"PT": "met", "Phi": "met_phi"}}, unit="MeV").read(path, 0, N)
    np.testing.assert_allclose(events.PuppiMET.pt, jagged()["met"] / 1000)
    np.testing.assert_allclose(events.PuppiMET.phi, jagged()["met_phi"])


def test_frames_with_texts_give_their_numbers(tmp_path: Path, toys: Any) -> None:
    """pandas keeps a column of texts as a pickle in a block of its own, which is never opened."""
    path = tmp_path / "frame.h5"
    toys.write_frame(path, ["pt", "eta"], np.arange(8.0).reshape(4, 2))
    with h5py.File(path, "a") as file:
        group = file["df"]
        group.attrs["nblocks"] = 2
        del group["axis0"]
        group["axis0"] = [b"pt", b"process", b"eta"]
        group["block1_items"] = [b"process"]
        group.create_dataset("block1_values", (1,), h5py.vlen_dtype(np.uint8))[0] = np.arange(9, dtype=np.uint8)
    events = ColumnMap({"pt": "pt", "eta": "eta"}).read(str(path), 1, 3)
    assert (events.pt.to_list(), events.eta.to_list()) == ([2.0, 4.0], [3.0, 5.0])
    with pytest.raises(InputError, match="unknown column 'process'"):
        ColumnMap({"process": "process"}).n_events(str(path))


@pytest.mark.parametrize("given", [("px", "py", "pz", "e"), ("px", "py", "pz", "mass"), ("pt", "eta", "phi", "e")])
def test_other_coordinates(tmp_path: Path, given: tuple[str, ...]) -> None:
    rng = np.random.default_rng(6)
    truth = vector.array(
        {
            "pt": rng.uniform(50, 900, N),
            "eta": rng.normal(0, 1, N),
            "phi": rng.uniform(-3, 3, N),
            "mass": rng.uniform(1, 90, N),
        }
    )
    stored = {
        "px": truth.px,
        "py": truth.py,
        "pz": truth.pz,
        "e": truth.E,
        "mass": truth.mass,
        "pt": truth.pt,
        "eta": truth.eta,
        "phi": truth.phi,
    }
    path = write(
        tmp_path, {f"jet_{key}": stored[key] * (1000 if key not in ("eta", "phi") else 1) for key in given}, "parquet"
    )
    events = ColumnMap({"Jet": [{key: f"jet_{key}" for key in given}]}, unit="MeV").read(path, 0, N)
    for key in ("pt", "eta", "phi", "mass"):
        np.testing.assert_allclose(ak.flatten(events.Jet[key]), getattr(truth, key), rtol=1e-6)  # fmt: skip


def test_tables_of_hdf5(tmp_path: Path) -> None:
    """A compound table, a two-dimensional data set with places, and a group."""
    columns = listed()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        names = [key for key in columns if key != "number"]
        table = np.zeros(N, [(key, np.float32) for key in names])
        for key in names:
            table[key] = columns[key]
        file["results/jets"] = table
        file["kinematics/matrix"] = np.stack(
            [columns["j1_pt"], columns["j1_eta"], columns["j1_phi"], columns["j1_m"]], axis=1
        )
    spec = dict(LISTED["columns"]["FatJet"][0])
    events = ColumnMap({"FatJet": [spec]}, tree="results/jets").read(str(tmp_path / "a.h5"), 2, 9)
    np.testing.assert_allclose(ak.flatten(events.FatJet.pt), columns["j1_pt"][2:9], rtol=1e-6)
    places = {key: f"matrix[{i}]" for i, key in enumerate(("pt", "eta", "phi", "mass"))}
    events = ColumnMap({"FatJet": [places]}, tree="kinematics").read(str(tmp_path / "a.h5"), 2, 9)
    np.testing.assert_allclose(ak.flatten(events.FatJet.phi), columns["j1_phi"][2:9])
    np.testing.assert_allclose(ak.flatten(events.FatJet.mass), columns["j1_m"][2:9])


def test_a_frame_of_the_lhc_olympics_by_map_is_what_its_own_source_gives(reference_data: Path) -> None:
    path = str(reference_data / "sim" / "sig_Zp3500_X500_Y100_2prong.features.h5")
    names = {"px": "pxj", "py": "pyj", "pz": "pzj", "mass": "mj", "tau1": "tau1j", "tau2": "tau2j"}
    by_map = ColumnMap(
        {"FatJet": [{key: f"{name}{i}" for key, name in names.items()} for i in (1, 2)], "label": "label"}
    )
    mine, theirs = by_map.read(path, 10, 60), source("lhco-features").read(path, 10, 60)
    one, two = (DijetFeatures()(events) for events in (mine, theirs))
    for key in ("mjj", "pt_j1", "eta_j2", "m_h", "tau21_l"):
        np.testing.assert_allclose(one[key], two[key], rtol=1e-5)
    assert mine.label.to_list() == theirs.label.to_list()


def test_delphes_by_map_with_places_and_names_with_dots(reference_data: Path) -> None:
    path = str(reference_data / "root" / "delphes_10events.root")
    spec = {"pt": "Jet.PT", "eta": "Jet.Eta", "phi": "Jet.Phi", "mass": "Jet.Mass", "first": "Jet.FracPt[5][0]"}
    events = ColumnMap({"FatJet": spec}).read(path, 0, 10)
    with uproot.open(path) as file:
        assert events.FatJet["first"].to_list() == file["Delphes"]["Jet.FracPt[5]"].array()[:, :, 0].to_list()


def test_only_the_columns_that_are_used_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, jagged(), "tree-root")
    asked: list[str] = []
    original = TreeBranches.read

    def counted(self: TreeBranches, name: str, start: int, stop: int) -> Any:
        asked.append(name)
        return original(self, name, start, stop)

    monkeypatch.setattr(TreeBranches, "read", counted)
    events = with_tree(JAGGED, "tree-root").read(path, 0, N)
    assert asked == []
    ak.to_list(events.FatJet.eta)
    ak.to_list(events.MET.pt)
    assert sorted(set(asked)) == ["fatjet_eta", "fatjet_pt", "met"]  # of fatjet_pt the numbers of jets
    assert len(asked) == 3


@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_a_map_is_a_source_in_a_fileset(tmp_path: Path, executor: str) -> None:
    path = write(tmp_path, jagged(), "tree-root")
    by_hand = with_tree(JAGGED, "tree-root")
    plain = {**JAGGED, "tree": "nominal"}
    options = {} if executor == "iterative" else {"workers": 2}
    tables = [
        run_processor(
            {"mine": {"files": [path], "source": given}}, DijetProcessor(), executor=executor, chunksize=13, **options
        )
        for given in ((by_hand, plain, by_hand.name) if executor == "iterative" else (by_hand,))
    ]
    for each in tables:
        assert each.ledger.read == N
        np.testing.assert_array_equal(each.table()["mjj"], tables[0].table()["mjj"])
        assert json.loads(each.provenance["inputs"][0]["source"].removeprefix("columns:"))["unit"] == "MeV"
    assert pickle.loads(pickle.dumps(by_hand)) == by_hand


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"columns": {}}, "expected a mapping"),
        ({"columns": {"FatJet": {"pt": "a", "eta": "b", "phi": "c"}}}, "FatJet lacks mass"),
        ({"columns": {"FatJet": {"pt": "a", "mass": "b"}}}, "lacks eta, phi"),
        ({"columns": {"MET": {"pt": "a"}}}, "MET lacks phi"),
        ({"columns": {"weight": 3}}, "weight is 3"),
        ({"columns": {"Fat_Jet": {"pt": "a"}}}, "letters and digits"),
        ({"columns": {"weight": "w"}, "unit": "Mev"}, "unknown unit 'Mev': did you mean 'MeV'"),
        ({"columns": {"weight": "w"}, "units": "MeV"}, "unknown key of a column map 'units': did you mean 'unit'"),
        ({"columns": {"FatJet": [{"pt": 1}]}}, "expected the name of a column"),
        ({"columns": {"Jet": {**JET, "mass": "e"}}}, "names a field twice"),
        ({"columns": {"Jet": [{**JET, "tau1": "t"}, JET]}}, "that are listed have tau1, and others do not"),
    ],
)
def test_maps_that_make_no_sense(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        ColumnMap.from_dict(given)


def test_columns_that_do_not_fit_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, jagged(), "tree-root")
    spec = dict(JAGGED["columns"]["FatJet"])
    for columns, match in (
        (
            {"FatJet": {**spec, "pt": "fatjet_Pt"}},
            r"columns.FatJet.pt.*unknown column 'fatjet_Pt': did you mean 'fatjet_pt'",
        ),
        ({"FatJet": [{**spec}]}, r"'fatjet_pt' holds a list of numbers per event, expected one number per event"),
        ({"weight": "fatjet_pt"}, "columns.weight: 'fatjet_pt' holds a list"),
        ({"MET": {"pt": "fatjet_pt", "phi": "met_phi"}}, "columns.MET.pt"),
    ):
        for ask in (lambda reader: reader.n_events(path), lambda reader: reader.read(path, 0, 3)):
            with pytest.raises(InputError, match=match) as caught:
                ask(ColumnMap(columns, tree="nominal"))
            assert path in str(caught.value)
    with pytest.raises(InputError, match=r"got \['nominal', 'sumWeights'\], expected one tree"):
        ColumnMap(JAGGED["columns"]).n_events(path)
    with pytest.raises(InputError, match=r"got .*nominal.*, expected a tree 'nomina'"):
        ColumnMap(JAGGED["columns"], tree="nomina").n_events(path)
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="reads ROOT, Parquet and HDF5"):
        ColumnMap(JAGGED["columns"]).n_events(str(tmp_path / "text.csv"))
    with pytest.raises(InputError, match="one number per event, expected a list"):
        ColumnMap({"FatJet": {**spec, "tau1": "met"}}, tree="nominal").n_events(path)
