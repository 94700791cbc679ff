"""`resonaut features` on one file of every layout, against numbers that uproot, h5py, pyarrow and numpy give directly."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.config import parse_config
from resonaut.analysis.events import event_stage
from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import ConfigError
from resonaut.processors import read_table

JETS = ("pt", "eta", "phi", "mass")


def tree(name: str, *branches: str, scale: float = 1.0) -> Callable[[Path], Any]:
    """pT, eta, phi and mass of jets by uproot alone."""

    def read(path: Path) -> Any:
        with uproot.open(path) as file:
            values = [file[name][branch].array() for branch in branches]
        units = (scale, 1.0, 1.0, scale)
        return ak.zip({x: ak.values_astype(v, np.float64) * u for x, v, u in zip(JETS, values, units, strict=True)})

    return read


def treemaker(path: Path) -> Any:
    with uproot.open(path) as file:
        pt, eta, phi, e = (
            file["PreSelection"][f"JetsAK8/JetsAK8.fCoordinates.{x}"].array() for x in ("fPt", "fEta", "fPhi", "fE")
        )
    return ak.zip({"pt": pt, "eta": eta, "phi": phi, "mass": np.sqrt(e**2 - (pt * np.cosh(eta)) ** 2)})


def parquet(path: Path) -> Any:
    table = pq.read_table(path, columns=[f"Jet_{x}" for x in JETS]).to_pydict()
    return ak.zip({x: ak.Array(table[f"Jet_{x}"]) for x in JETS})


def frame(path: Path) -> Any:
    """Jets of a feature frame of the LHC Olympics."""
    with h5py.File(path) as file:
        names = [name.decode() for name in file["df/axis0"][:]]
        rows = dict(zip(names, file["df/block0_values"][:].T.astype(float), strict=True))
    px, py, pz, mass = (np.stack([rows[f"{x}j1"], rows[f"{x}j2"]], axis=1) for x in ("px", "py", "pz", "m"))
    pt = np.hypot(px, py)
    return ak.zip(
        {
            "pt": ak.Array(pt.tolist()),
            "eta": np.arcsinh(pz / pt).tolist(),
            "phi": np.arctan2(py, px).tolist(),
            "mass": mass.tolist(),
        }
    )


def darkmachines(path: Path) -> Any:
    """Jets of the challenge's lines, taken apart by hand; MeV."""
    jets = []
    for line in gzip.decompress(path.read_bytes()).decode().split():
        parts = [each.split(",") for each in line.rstrip(";").split(";")[5:]]
        jets.append([tuple(map(float, part[1:])) for part in parts if part[0] in "jb"])
    e, pt, eta, phi = (ak.Array([[jet[i] for jet in event] for event in jets]) for i in range(4))
    mass = np.sqrt(np.maximum((e / 1000) ** 2 - (pt / 1000 * np.cosh(eta)) ** 2, 0))
    return ak.zip({"pt": pt / 1000, "eta": eta, "phi": phi, "mass": mass})


def nano(collection: str) -> Callable[[Path], Any]:
    return tree("Events", *(f"{collection}_{x}" for x in JETS))


def physlite(name: str, dot: str) -> Callable[[Path], Any]:
    return tree(name, *(f"AnalysisLargeRJetsAuxDyn{dot}{x}" for x in ("pt", "eta", "phi", "m")), scale=1e-3)


@dataclass(frozen=True)
class Case:
    """A file, the events that it has, what is said of its jets, and these jets by other means."""

    file: str
    events: int
    jets: str
    truth: Callable[[Path], Any] | None
    options: tuple[str, ...] = ()


CASES = [
    Case("root/PHYSLITE_example.root", 100, "physlite: FatJet", physlite("CollectionTree", ".")),
    Case("root/physlite_rntuple.root", 100, "physlite: FatJet", physlite("EventData", ":")),
    Case("root/delphes_10events.root", 10, "delphes: clustered from PFCand", None),
    Case("root/delphes_10events.root", 10, "delphes: Jet", tree("Delphes", "Jet.PT", "Jet.Eta", "Jet.Phi", "Jet.Mass"), ("--jets", "Jet")),
    Case("root/nanoAOD_2015_CMS_Open_Data_ttbar.root", 200, "nanoaod: Jet", nano("Jet"), ("--jets", "Jet")),
    Case("root/nano_dimuon.root", 40, "nanoaod: FatJet", nano("FatJet")),
    Case("root/nano_dy.parquet", 40, "nanoaod-parquet: Jet", parquet, ("--jets", "Jet")),
    Case("root/nano_tt_v12.root", 200, "nanoaod: FatJet", nano("FatJet")),
    pytest.param(Case("root/nano_tt_v15.root", 200, "pfnano: FatJet", nano("FatJet")), marks=pytest.mark.slow),
    Case("root/pfnano.root", 10, "pfnano: FatJet", nano("FatJet")),
    Case("root/pfnano_rntuple.root", 10, "pfnano: FatJet", nano("FatJet")),
    Case("root/scouting_nano.root", 40, "nanoaod: ScoutingFatJet", nano("ScoutingFatJet")),
    Case("root/treemaker.root", 10, "treemaker: FatJet", treemaker),
    Case("lhco/events_anomalydetection_tiny.h5", 1000, "lhco-particles: clustered from PFCand", None),
    Case("darkmachines/channel1/sig_monojet_Zp2000_inv.csv.gz", 289, "darkmachines: Jet", darkmachines),
    Case("sim/sig_Zp3500_X500_Y100_2prong.features.h5", 20298, "lhco-features: FatJet", frame),
]  # fmt: skip


def features(out: Path, *arguments: str) -> str:
    """Standard output of a call that must succeed."""
    result = CliRunner().invoke(main, ["features", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result.output


def counted(output: str) -> tuple[int, int, int, int]:
    """Events read, used, skipped and selected, as they are printed."""
    books = re.search(r"(\d+) events read, (\d+) used, (\d+) skipped, 0 lost", output)
    selected = re.search(r"^ +selected +(\d+)$", output, flags=re.MULTILINE)
    assert books
    assert selected
    return (*map(int, books.groups()), int(selected[1]))  # type: ignore[return-value]


def mass_of_two(jets: Any) -> Any:
    """Invariant mass of the two leading jets of every event that has two, by hand."""
    lead = jets[ak.argsort(jets.pt, axis=1, ascending=False)][:, :2]
    px, py, pz = lead.pt * np.cos(lead.phi), lead.pt * np.sin(lead.phi), lead.pt * np.sinh(lead.eta)
    e = np.sqrt((lead.pt * np.cosh(lead.eta)) ** 2 + lead.mass**2)
    total = [ak.to_numpy(ak.sum(x, axis=1)).astype(float) for x in (e, px, py, pz)]
    return np.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{Path(case.file).name}{'-'.join(('', *case.options))}")
def test_features_of_a_file_of_every_layout(reference_data: Path, tmp_path: Path, case: Case) -> None:
    path = reference_data / case.file
    output = features(tmp_path / "table.parquet", str(path), *case.options)
    read, used, skipped, selected = counted(output)
    assert read == case.events
    assert used + skipped == read
    assert f"jets of {case.jets}\n" in output
    table = read_table(tmp_path / "table.parquet")
    assert len(table) == selected > 0
    if case.truth is None:
        return
    jets = case.truth(path)
    assert len(jets) == case.events
    two = ak.to_numpy(ak.num(jets.pt) >= 2)
    assert re.search(rf"^ +two jets +{two.sum()}$", output, flags=re.MULTILINE)
    lead, mass = ak.to_numpy(ak.max(jets[two].pt, axis=1)), mass_of_two(jets[two])
    if skipped == 0:
        assert selected == two.sum()
        np.testing.assert_allclose(table["pt_j1"], lead, rtol=1e-5)
        np.testing.assert_allclose(table["mjj"], mass, rtol=1e-4)
    else:  # events with an undefined ratio are left out: the others are among those that uproot gives
        places = [int(np.argmin(np.abs(mass - each))) for each in table["mjj"]]
        assert len(set(places)) == selected == two.sum() - skipped
        np.testing.assert_allclose(table["pt_j1"], lead[places], rtol=1e-5)
        np.testing.assert_allclose(table["mjj"], mass[places], rtol=1e-4)


def some_rows(source: Path, target: Path, start: int, stop: int) -> Path:
    """A frame of some rows of another."""
    with h5py.File(source) as file, h5py.File(target, "w") as cut:
        file.copy("df", cut, without_attrs=False)
        for key in ("axis1", "block0_values"):
            rows = file["df"][key][start:stop]
            del cut["df"][key]
            cut["df"][key] = rows
    return target


def test_clustered_lhc_olympics_jets_are_those_of_another_program(reference_data: Path, tmp_path: Path) -> None:
    """The first 200 events were clustered independently (R = 1); none of them has an undefined feature."""
    folder = reference_data / "lhco"
    cut = some_rows(folder / "events_anomalydetection_tiny.h5", tmp_path / "200.h5", 0, 200)
    features(tmp_path / "table.parquet", str(cut))
    truth = np.genfromtxt(folder / "events_anomalydetection_tiny.features.csv", delimiter=",", names=True)
    table = read_table(tmp_path / "table.parquet")
    assert table["event"].to_list() == list(range(200)) == list(range(len(truth)))
    names = {"pt": "pT", "eta": "eta", "phi": "phi", "m": "m", "n": "nhadrons"}
    pairs = {f"{mine}_{j}": f"{theirs}_{j}" for j in ("j1", "j2") for mine, theirs in names.items()}
    for mine, theirs in (pairs | {"mjj": "m_jj", "label": "label"}).items():
        np.testing.assert_allclose(table[mine], truth[theirs], rtol=1e-6, atol=1e-6, err_msg=mine)


def test_particles_through_features_are_the_feature_file_of_another_program(
    reference_data: Path, tmp_path: Path
) -> None:
    """600 events of both kinds, each beside its own row: what Pythia, fastjet and fjcontrib in C++ stored in float32."""
    folder, (start, stop) = reference_data / "sim", (19_700, 20_300)
    for name in ("particles_sample.h5", "particles_sample.features.h5"):
        some_rows(folder / name, tmp_path / name, start, stop)
        features(tmp_path / f"{name}.parquet", str(tmp_path / name))
    ours, stored = (
        read_table(tmp_path / f"{name}.parquet") for name in ("particles_sample.h5", "particles_sample.features.h5")
    )
    assert ours["event"].to_list() == stored["event"].to_list() == list(range(stop - start))
    assert 0 < np.sum(ours["label"]) < len(ours)
    assert set(stored.fields) <= set(ours.fields)
    for name in stored.fields:
        atol = 2e-5 if name == "dm_jj" else 1e-6  # a difference of masses of 100 GeV in float32
        np.testing.assert_allclose(ours[name], stored[name], rtol=1e-5, atol=atol, err_msg=name)


@pytest.mark.parametrize("file", ["nano_dy.parquet", "nanoAOD_2015_CMS_Open_Data_ttbar.root"])
def test_events_without_two_large_jets_name_the_option_to_give(reference_data: Path, tmp_path: Path, file: str) -> None:
    path = str(reference_data / "root" / file)
    result = CliRunner().invoke(main, ["features", path, "--out", str(tmp_path / "t.parquet")])
    assert result.exit_code == 1
    said = re.search(
        r"left of (\d+) read.*jets were taken from FatJet: try (--jets Jet) \((\d+) of \d+ events of (.*) have two\)",
        result.output,
    )
    assert said, result.output
    assert said[4] == file
    output = features(tmp_path / "t.parquet", path, *said[2].split())
    assert re.search(rf"^ +two jets +{said[3]}$", output, flags=re.MULTILINE)


def test_a_file_without_jets_names_the_resonance_to_ask_for(reference_data: Path, tmp_path: Path) -> None:
    path = str(reference_data / "opendata_upsilon" / "dimuon_100k.root")
    result = CliRunner().invoke(main, ["features", path, "--out", str(tmp_path / "t.parquet")])
    assert result.exit_code == 1
    assert "expected jets" in result.output
    assert "without them there is --resonance dimuon (" in result.output


def test_what_became_of_the_events_is_printed_with_the_reasons(reference_data: Path, tmp_path: Path) -> None:
    """Ratios of PHYSLITE's large jets whose denominator is zero, counted by uproot; a whole file, and one that is truncated."""
    folder = reference_data / "root"
    physlite, short = folder / "PHYSLITE_example.root", tmp_path / "short.root"
    short.write_bytes((folder / "delphes_10events.root").read_bytes()[:9999])
    with uproot.open(physlite) as file:
        jets = file["CollectionTree"].arrays([f"AnalysisLargeRJetsAuxDyn.{x}" for x in ("pt", "Tau1_wta", "Tau2_wta")])
    pt, tau1, tau2 = (jets[name][ak.num(jets[jets.fields[0]]) >= 2] for name in jets.fields)
    order = ak.argsort(pt, ascending=False)[:, :2]
    no_tau1, no_tau2 = (ak.to_numpy(ak.any(tau[order] <= 0, axis=1)) for tau in (tau1, tau2))
    first, then = int(no_tau1.sum()), int((no_tau2 & ~no_tau1).sum())
    names = [str(physlite), str(folder / "treemaker.root"), str(short)]
    result = CliRunner().invoke(main, ["features", *names, "--out", str(tmp_path / "t.parquet"), "--skip-bad-files"])
    assert result.exit_code == 1  # incomplete
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    start = lines.index("events in used skipped lost duplicates")
    reasons = [f"tau21 undefined {first}", f"tau32 undefined {then}"]
    assert first > 0 < then
    bad = first + then
    assert lines[start + 1 : start + 7] == [
        f"all files 110 {110 - bad} {bad} 0 0", *reasons,
        f"PHYSLITE_example.root 100 {100 - bad} {bad} 0 0", *reasons,
    ]  # fmt: skip
    assert re.search(rf"INCOMPLETE: {short} was skipped: {short}: .*truncated", result.output)


def test_globs_lists_filesets_and_maps_give_the_same_table(reference_data: Path, tmp_path: Path) -> None:
    path = reference_data / "root" / "treemaker.root"
    whole = tmp_path / "whole.parquet"
    features(whole, str(path))
    (tmp_path / "files.txt").write_text(f"{path}\n")
    (tmp_path / "fileset.json").write_text(
        json.dumps({"tt": {"files": {str(path): "PreSelection"}, "metadata": {"weight": 2.0}}})
    )
    parts = {x: f"JetsAK8.fCoordinates.{y}" for x, y in (("pt", "fPt"), ("eta", "fEta"), ("phi", "fPhi"), ("e", "fE"))}
    extra = {"tau1": "JetsAK8_NsubjettinessTau1", "tau2": "JetsAK8_NsubjettinessTau2"}
    (tmp_path / "map.yaml").write_text(
        yaml.safe_dump({"tree": "PreSelection", "columns": {"FatJet": {**parts, **extra}}})
    )
    calls = {
        "glob": [str(path.parent / "treem*.root")],
        "list": [f"@{tmp_path / 'files.txt'}"],
        "fileset": [str(tmp_path / "fileset.json")],
        "map": [str(path), "--columns", str(tmp_path / "map.yaml")],
    }
    truth = read_table(whole)
    for name, arguments in calls.items():
        output = features(tmp_path / f"{name}.parquet", *arguments)
        found = read_table(tmp_path / f"{name}.parquet")
        np.testing.assert_allclose(found["mjj"], truth["mjj"], rtol=1e-6)
        np.testing.assert_allclose(found["tau21_j1"], truth["tau21_j1"], rtol=1e-6)
        if name == "fileset":
            np.testing.assert_allclose(found["weight"], 2 * truth["weight"])
        assert f"jets of {'columns' if name == 'map' else 'treemaker'}: FatJet" in output


def test_a_search_takes_lists_filesets_and_maps(reference_data: Path, tmp_path: Path) -> None:
    path = reference_data / "root" / "treemaker.root"
    parts = {x: f"JetsAK8.fCoordinates.{y}" for x, y in (("pt", "fPt"), ("eta", "fEta"), ("phi", "fPhi"), ("e", "fE"))}
    (tmp_path / "files.txt").write_text(f"{path}\n")
    (tmp_path / "fileset.json").write_text(json.dumps({"tt": {str(path): "PreSelection"}}))
    content = {"name": "x", "seed": 1, "scan": {"low": 500, "high": 2000}, "methods": [{"name": "cwola-trees"}]}
    truth = mass_of_two(treemaker(path))
    for i, given in enumerate(
        (
            {"files": ["files.txt"]},
            {"files": ["fileset.json"]},
            {"files": [str(path)], "columns": {"tree": "PreSelection", "columns": {"FatJet": parts}}},
        )
    ):
        config = parse_config({**content, "input": given})
        stage = event_stage(config, tmp_path, RunDirectory(tmp_path / f"run{i}"))
        np.testing.assert_allclose(read_table(stage.table)["mjj"], truth, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"FatJet lacks phi"):
        parse_config(
            {
                **content,
                "input": {"files": ["a"], "columns": {"columns": {"FatJet": {"pt": "a", "eta": "b", "e": "c"}}}},
            }
        )


def test_arguments_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("columns: {FatJet: {pt: a}}\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "x.root").write_bytes(b"")
    for arguments, match in (
        (["absent.root"], "'absent.root' matches no file"),
        ([str(tmp_path)], "is a folder"),
        ([str(tmp_path / "x.root"), "--columns", str(tmp_path / "map.yaml")], "FatJet lacks eta, phi"),
        ([str(tmp_path / "x.root"), "--columns", str(tmp_path / "list.yaml")], "expected keys columns, tree and unit"),
        ([str(tmp_path / "x.root"), str(tmp_path / "*.root")], "is named twice"),
    ):
        result = CliRunner().invoke(main, ["features", *arguments, "--out", str(tmp_path / "t.parquet")])
        assert result.exit_code == 1, result.output
        assert re.search(match, result.output.replace("\n", " ")), result.output
