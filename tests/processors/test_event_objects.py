"""Lists of objects of every kind of file against loops over what uproot reads, event by event."""

from __future__ import annotations

import functools
import math
import re
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.processor import IterativeExecutor, Runner

from resonaut.errors import ConfigError, InputError
from resonaut.processors import (
    EventObjects,
    EventObjectsProcessor,
    ObjectCuts,
    channel_cutflow,
    collect_objects,
    recognise,
    run_processor,
    source,
)
from resonaut.processors.events.schema import ParticleSchema, events_from_columns

GUIDE = Path(__file__).parents[2] / "docs" / "event-objects.md"
EVERYTHING = ("Jet", "Electron", "Muon", "Photon", "MET")
Object = tuple[int, float, float, float, float]


def toy() -> EventObjects:
    """Three events: two jets and a muon, nothing, a b-jet."""
    return EventObjects(
        met=[100.0, 20.0, 70.0],
        met_phi=[0.1, 0.2, 0.3],
        weight=[1.0, 2.0, 3.0],
        event=[11, 12, 13],
        process=["tt", "z", "signal"],
        kind=[1, 1, 6, 2],
        e=[60.0, 45.0, 31.0, 90.0],
        pt=[50.0, 40.0, 30.0, 80.0],
        eta=[0.0, 0.1, -0.2, 0.3],
        phi=[1.0, 2.0, 3.0, -1.0],
        offsets=[0, 3, 3, 4],
    )


def listed(events: EventObjects) -> list[list[Object]]:
    """Objects of each event as tuples (kind, E, pT, eta, phi)."""
    flat = list(zip(*(getattr(events, x).tolist() for x in ("kind", "e", "pt", "eta", "phi")), strict=True))
    return [flat[events.offsets[i] : events.offsets[i + 1]] for i in range(len(events))]


def agree(found: list[Object], truth: list[Object]) -> None:
    assert [each[0] for each in found] == [each[0] for each in truth]
    assert np.allclose([each[1:] for each in found], [each[1:] for each in truth], rtol=1e-6)


def run(path: Path | str, **options: Any) -> tuple[EventObjects, dict[str, Any]]:
    result = run_processor({"mine": str(path)}, EventObjectsProcessor(**options))
    return collect_objects(result), result.output["mine"]


def test_quantities_of_events() -> None:
    events = toy()
    assert len(events) == 3
    assert events.ht.tolist() == [90.0, 0.0, 80.0]
    assert events.count("j").tolist() == [2, 0, 0]
    assert events.count("j", "b").tolist() == [2, 0, 1]
    assert events.count("j", "b", above=40.0).tolist() == [1, 0, 1]
    assert events.count().tolist() == events.counts.tolist() == [3, 0, 1]
    with pytest.raises(InputError, match="unknown kind of object 'e': did you mean"):
        events.count("e")


def test_events_are_taken_and_joined() -> None:
    events = toy()
    for chosen in ([2, 0, 2], np.array([2, 0, 2]), [-1, 0, -1]):
        taken = events.take(chosen)
        assert taken.process.tolist() == ["signal", "tt", "signal"]
        assert taken.kind.tolist() == [2, 1, 1, 6, 2]
        assert taken.offsets.tolist() == [0, 1, 4, 5]
        assert taken.ht.tolist() == [80.0, 90.0, 80.0]
    assert events.take([False, True, True]).event.tolist() == [12, 13]
    assert len(events.take([])) == len(EventObjects.concatenate([])) == 0
    both = EventObjects.concatenate([events, events.take([1]), events])
    assert both.event.tolist() == [11, 12, 13, 12, 11, 12, 13]
    assert listed(both) == [*listed(events), [], *listed(events)]
    with pytest.raises(InputError, match="mask of shape"):
        events.take([True, False])


def test_awkward_array_holds_the_same() -> None:
    array = toy().to_awkward()
    assert array.fields == ["met", "met_phi", "weight", "event", "process", "objects"]
    assert array.process.to_list() == ["tt", "z", "signal"]
    assert array.objects.fields == ["kind", "e", "pt", "eta", "phi"]
    assert array.objects.pt.to_list() == [[50.0, 40.0, 30.0], [], [80.0]]
    assert array[0].met == 100.0


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("met", [1.0], "got arrays of shapes"),
        ("pt", [1.0], "got arrays of shapes"),
        ("offsets", [0, 3, 2, 4], "do not partition"),
        ("offsets", [0, 3, 3, 5], "do not partition"),
        ("kind", [1, 0, 6, 2], "codes of objects go from 0 to 6"),
        ("kind", [1, 8, 6, 2], "codes of objects go from 1 to 8"),
        ("kind", [1, 257, 6, 2], "codes of objects go from 1 to 257"),
        ("kind", [1, 2.5, 6, 2], "expected whole numbers from 1 to 7"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, value: Any, match: str) -> None:
    columns = {key: getattr(toy(), key) for key in EventObjects.__dataclass_fields__}
    with pytest.raises(InputError, match=match):
        EventObjects(**{**columns, name: value})


def nano_truth(read: Any, entry: int, *, photons: bool, btag: str | None, cut: float) -> list[Object]:
    """Objects of one entry of NanoAOD, in plain Python; `read(branch)` gives all entries or None."""
    out: list[Object] = []
    for name in ("Jet", "Electron", "Muon", "Photon")[: 4 if photons else 3]:
        pts, etas, phis = (read(f"{name}_{x}")[entry] for x in ("pt", "eta", "phi"))
        masses = read(f"{name}_mass")
        for i, (pt, eta, phi) in enumerate(zip(pts, etas, phis, strict=True)):
            low, high = {"Jet": (20, 2.8), "Photon": (20, 2.37)}.get(name, (15, 2.7))
            if pt <= low or abs(eta) >= high:
                continue
            if name == "Jet":
                code = 2 if btag and read(f"Jet_{btag}")[entry][i] > cut else 1
            elif name == "Photon":
                code = 7
            else:
                code = (3 if name == "Electron" else 5) + (read(f"{name}_charge")[entry][i] > 0)
            mass = masses[entry][i] if masses is not None else 0.0
            out.append((code, math.hypot(pt * math.cosh(eta), mass), pt, eta, phi))
    return sorted(out, key=lambda each: (each[0], -each[2]))


@pytest.mark.parametrize(
    ("file", "met", "photons", "btag"),
    [
        ("nano_tt_v12.root", "PuppiMET", False, "btagDeepFlavB"),
        ("nano_tt_v15.root", "PuppiMET", True, "btagUParTAK4B"),
        ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "MET", True, None),
    ],
)
def test_nanoaod_agrees_with_plain_loops(
    reference_data: Path, file: str, met: str, btag: str | None, *, photons: bool
) -> None:
    path = reference_data / "root" / file
    options: dict[str, Any] = {"met": met, "without": () if photons else ("Photon",), "max_objects": None}
    if btag:
        options["btag"] = (btag, 0.3)
    events, output = run(path, **options)
    assert output["cutflow"]["all"] == 200
    assert not output["skipped"]
    assert ("no b-tags asked for or in the file: all jets are j" in output["notes"]) == (btag is None)
    with uproot.open(path) as opened:
        tree = opened["Events"]

        @functools.cache
        def read(branch: str) -> Any:
            return tree[branch].array().to_list() if branch in tree else None

        numbers = read("event")
        for i in range(0, len(events), 7):
            entry = numbers.index(events.event[i])
            agree(listed(events)[i], nano_truth(read, entry, photons=photons, btag=btag, cut=0.3))
            assert events.met[i] == pytest.approx(read(f"{met}_pt")[entry])
            assert events.met_phi[i] == pytest.approx(read(f"{met}_phi")[entry])
            assert events.weight[i] == pytest.approx(read("genWeight")[entry])
    assert {1, 4} <= set(events.kind.tolist())
    assert (2 in events.kind) == (btag is not None)
    assert (7 in events.kind) == photons


def test_a_collection_that_is_absent_is_an_error_unless_it_may_be(reference_data: Path) -> None:
    path = reference_data / "root" / "nano_tt_v12.root"
    with pytest.raises(InputError, match=r"no Photon, only .*without=\('Photon',\)"):
        run(path)
    _, output = run(path, without=("Photon",))
    assert "no Photon in the file: events have none" in output["notes"]
    with pytest.raises(InputError, match="no PFMET"):
        run(path, without=("Photon",), met="PFMET")
    with pytest.raises(InputError, match="unknown field of Jet 'btagDeepFlavourB': did you mean 'btagDeepFlavB'"):
        run(path, without=("Photon",), btag=("btagDeepFlavourB", 0.3))
    with pytest.raises(InputError, match="unknown field of Muon 'mediumID'"):
        run(path, without=("Photon",), least={"Muon.mediumID": 1})


def test_options_that_make_no_sense() -> None:
    for options, match in (
        ({"channel": "4"}, "unknown channel '4'"),
        ({"without": ("Photons",)}, "unknown collection 'Photons': did you mean 'Photon'"),
        ({"least": {"tightId": 1}}, "expected a field such as"),
        ({"least": {"Tau.id": 1}}, "expected a field such as"),
        ({"overlap": 0.0}, "overlap is 0.0"),
        ({"max_objects": 0}, "max_objects 0"),
    ):
        with pytest.raises(ConfigError, match=match):
            EventObjectsProcessor(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "tree", "dot"),
    [("PHYSLITE_example.root", "CollectionTree", "."), ("physlite_rntuple.root", "EventData", ":")],
)
def test_physlite_agrees_with_plain_loops(reference_data: Path, file: str, tree: str, dot: str) -> None:
    path = reference_data / "root" / file
    assert recognise(str(path)) == "physlite"
    events, output = run(path, max_objects=None)
    assert "missing momentum from the soft term and the kept objects" in output["notes"]
    with uproot.open(path) as opened:
        data = opened[tree]

        def get(name: str) -> Any:
            return data[name.replace(".", dot)].array()

        numbers = get("EventInfoAuxDyn.eventNumber").to_list()
        read = {
            (name, x): get(f"Analysis{name}sAuxDyn.{x}").to_list()
            for name in ("Jet", "Electron", "Muon", "Photon")
            for x in ("pt", "eta", "phi", "charge")
            if x != "charge" or name in ("Electron", "Muon")
        }
        mass = get("AnalysisJetsAuxDyn.m").to_list()
        soft = [ak.to_list(get(f"MET_Core_AnalysisMETAuxDyn.{x}")) for x in ("name", "mpx", "mpy")]
    for i in range(0, len(events), 7):
        entry = numbers.index(events.event[i])
        truth: list[Object] = []
        for (name, x), values in read.items():
            if x != "pt":
                continue
            for k, pt in enumerate(values[entry]):
                eta, phi = float(read[name, "eta"][entry][k]), float(read[name, "phi"][entry][k])
                low, high = {"Jet": (20e3, 2.8), "Photon": (20e3, 2.37)}.get(name, (15e3, 2.7))
                if pt <= low or abs(eta) >= high:
                    continue
                m = mass[entry][k] / 1e3 if name == "Jet" else 0.10566 if name == "Muon" else 0.0
                code = {"Jet": 1, "Photon": 7}.get(name) or (
                    (3 if name == "Electron" else 5) + (read[name, "charge"][entry][k] > 0)
                )
                truth.append((code, math.hypot(pt / 1e3 * math.cosh(eta), m), pt / 1e3, eta, phi))
        truth.sort(key=lambda each: (each[0], -each[2]))
        agree(listed(events)[i], truth)
        which = soft[0][entry].index("PVSoftTrkCore")
        px, py = soft[1][entry][which] / 1e3, soft[2][entry][which] / 1e3
        for code, _, pt, eta, phi in truth:
            twin = code == 1 and any(
                other in (3, 4, 7) and math.hypot(eta - y, math.remainder(phi - z, 2 * math.pi)) < 0.4
                for other, _, _, y, z in truth
            )
            if not twin:
                px, py = px - pt * math.cos(phi), py - pt * math.sin(phi)
        assert events.met[i] == pytest.approx(math.hypot(px, py), rel=1e-5)
        assert math.remainder(events.met_phi[i] - math.atan2(py, px), 2 * math.pi) == pytest.approx(0, abs=1e-5)


def test_other_atlas_files_are_not_taken_for_physlite(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "truth.root") as file:
        file["CollectionTree"] = {"TruthEventsAuxDyn.weights": np.ones(3)}
    assert not source("physlite").recognises(str(tmp_path / "truth.root"))
    with pytest.raises(InputError, match=r"no source knows this layout .ROOT with the trees CollectionTree"):
        recognise(str(tmp_path / "truth.root"))


def test_missing_momentum_of_physlite_follows_the_neutrinos(reference_data: Path) -> None:
    path = reference_data / "root" / "physlite_rntuple.root"
    events, _ = run(path, max_objects=None)
    with uproot.open(path) as opened:
        tree = opened["EventData"]
        names, px = (tree[f"MET_TruthAuxDyn:{x}"].array() for x in ("name", "mpx"))
        numbers = tree["EventInfoAuxDyn:eventNumber"].array().to_list()
        links = tree["AnalysisJetsAuxDyn:btaggingLink.m_persIndex"].array()
        probability = tree["BTagging_AntiKt4EMPFlowAuxDyn:GN2v01_pb"].array()
        pt = tree["AnalysisJetsAuxDyn:pt"].array()
    truth = np.array([px[numbers.index(n)][names[numbers.index(n)] == "NonInt"][0] / 1e3 for n in events.event])
    assert np.corrcoef(truth, events.met * np.cos(events.met_phi))[0, 1] > 0.7
    tagged, _ = run(path, max_objects=None, btag=("GN2v01_pb", 0.5), cuts=ObjectCuts(jet_eta=100.0))
    for i in (0, 20, 50):
        entry = numbers.index(tagged.event[i])
        found = [x[2] for x in listed(tagged)[i] if x[0] == 2]
        chance = probability[entry][links[entry]]
        assert np.allclose(found, sorted(pt[entry][(chance > 0.5) & (pt[entry] > 20e3)] / 1e3, reverse=True))
    assert tagged.count("b").mean() == pytest.approx(1.2, abs=0.6)


def test_delphes_sample(reference_data: Path, tmp_path: Path) -> None:
    path = reference_data / "root" / "delphes_10events.root"
    assert recognise(str(path)) == "delphes"
    with pytest.raises(InputError, match="no Electron"):
        run(path)
    events, output = run(path, without=EVERYTHING[1:])
    assert len(output["notes"]) == 4
    with uproot.open(path) as opened:
        jets = {x: opened["Delphes"][f"Jet.{x}"].array() for x in ("PT", "Eta", "Phi", "Mass", "BTag")}
    for entry in range(10):
        truth = [
            (1 + int(tag), math.hypot(pt * math.cosh(eta), mass), pt, eta, phi)
            for pt, eta, phi, mass, tag in zip(*(jets[x][entry].to_list() for x in jets), strict=True)
            if pt > 20 and abs(eta) < 2.8
        ]
        agree(listed(events)[entry], sorted(truth, key=lambda each: (each[0], -each[2])))
    assert events.count("b").sum() > 0
    (tmp_path / "short.root").write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="truncated"):
        run(tmp_path / "short.root")


def test_delphes_with_all_collections(tmp_path: Path) -> None:
    path = tmp_path / "delphes.root"
    one, two = ak.Array([[50.0, 18.0], []]), ak.Array([[0.5, -1.0], []])
    branches: dict[str, Any] = {f"{name}.PT": one for name in ("Electron", "MuonTight", "Photon")}
    branches |= {f"{name}.{x}": two for name in ("Electron", "MuonTight", "Photon") for x in ("Eta", "Phi")}
    branches |= {f"{name}.Charge": ak.Array([[-1, 1], []]) for name in ("Electron", "MuonTight")}
    branches |= {"Jet.PT": ak.Array([[100.0], [90.0]]), "Jet.BTag": ak.values_astype(ak.Array([[2], [3]]), "uint32")}
    branches |= {f"Jet.{x}": ak.Array([[0.1], [0.2]]) for x in ("Eta", "Phi", "Mass")}
    branches |= {"MissingET.MET": ak.Array([[77.0], [66.0]]), "MissingET.Phi": ak.Array([[0.1], [3.0]])}
    branches |= {"Event.Weight": ak.Array([[0.5], [2.0]]), "Event.Number": ak.Array([[8], [9]])}
    with uproot.recreate(path) as file:
        file.mktree(
            "Delphes", {name: values.type.content for name, values in branches.items()}, counter_name=lambda x: f"n_{x}"
        )
        file["Delphes"].extend(branches)
    events, output = run(path)
    assert [[x[0] for x in objects] for objects in listed(events)] == [[1, 3, 4, 5, 6, 7], [2]]
    assert [[x[2] for x in objects] for objects in listed(events)] == [[100, 50, 18, 50, 18, 50], [90]]
    assert (events.met.tolist(), events.weight.tolist(), events.event.tolist()) == ([77, 66], [0.5, 2.0], [8, 9])
    assert output["notes"] == {"missing momentum from MET"}
    assert events.e[1] == pytest.approx(50 * math.cosh(0.5), rel=1e-6)


def made_events(*, without: tuple[str, ...] = (), **changes: Any) -> Any:
    """Two events of every collection; `changes` replace columns, those of collections in `without` are left out."""
    columns: dict[str, Any] = {}
    for name, pts in {"Jet": [[100.0, 60.0], [90.0]], "Electron": [[40.0], []], "Muon": [[], [30.0]]}.items():
        pt = ak.Array(pts)
        columns |= {f"{name}_{x}": ak.zeros_like(pt) for x in ("eta", "phi", "mass")} | {f"{name}_pt": pt}
    columns |= {"Electron_charge": ak.Array([[-1], []]), "Muon_charge": ak.Array([[], [1]])}
    columns |= {"Photon_pt": ak.Array([[25.0], []]), "Photon_eta": ak.Array([[2.0], []])}
    columns |= {"Photon_phi": ak.Array([[0.0], []])}
    columns |= {"Jet_eta": ak.Array([[1.0, 0.3], [0.0]]), "MET_pt": ak.Array([80.0, 70.0])}
    columns |= {"MET_phi": ak.Array([0.0, 0.0]), "Muon_tightId": ak.Array([[], [0]])}
    columns |= changes
    columns |= {f"n{name}": ak.num(columns[f"{name}_pt"]) for name in EVERYTHING[:4]}
    columns = {key: values for key, values in columns.items() if key.split("_")[0] not in without}
    return events_from_columns(columns, 2, "made", 0, {"dataset": "made", "entrystart": 5})


def process(events: Any, **options: Any) -> tuple[EventObjects, dict[str, Any]]:
    output = EventObjectsProcessor(**options).process(events)
    return collect_objects(output, "made"), output["made"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Jet_pt": ak.Array([[100.0, math.nan], [90.0]])}, "object not finite"),
        ({"Electron_eta": ak.Array([[math.inf], []])}, "object not finite"),
        ({"Jet_pt": ak.Array([[100.0, -3.0], [90.0]])}, "object's pT not positive"),
        ({"Electron_charge": ak.Array([[0], []])}, "lepton without charge"),
        ({"MET_pt": ak.Array([math.nan, 70.0])}, "MET not finite"),
        ({"weight": ak.Array([math.nan, 1.0])}, "weight not finite"),
        ({"Jet_pt": ak.Array([[15000.0, 60.0], [90.0]])}, "energy beyond the collision energy"),
    ],
)
def test_events_that_cannot_be_judged_are_counted(changes: dict[str, Any], reason: str) -> None:
    events, output = process(made_events(**changes))
    assert output["skipped"] == {reason: 1}
    assert events.event.tolist() == [6]
    assert output["cutflow"] == {"all": 2, "at least one object": 1, "selected": 1}


def test_identification_overlap_and_limits() -> None:
    events, output = process(made_events())
    assert [[x[0] for x in objects] for objects in listed(events)] == [[1, 1, 3, 7], [1, 6]]
    assert output["cutflow_weighted"]["all"] == 2.0
    assert events.process.tolist() == ["made", "made"]
    kinds = {
        "overlap": ([[1, 3, 7], [6]], {"overlap": 0.4}),
        "narrow": ([[1, 1, 3, 7], [6]], {"overlap": 0.2}),
        "id": ([[1, 1, 3, 7], [1]], {"least": {"Muon.tightId": 1}}),
        "both": ([[1, 3, 7], [1]], {"least": {"Muon.tightId": 1}, "overlap": 0.4}),
        "cuts": ([[1, 3], [1]], {"cuts": ObjectCuts(jet_pt=60.0, lepton_pt=35.0, photon_eta=1.9)}),
    }
    for name, (expected, options) in kinds.items():
        found, _ = process(made_events(), **options)
        assert [[x[0] for x in objects] for objects in listed(found)] == expected, name
    few, output = process(made_events(), max_objects=3)
    assert (len(few), output["skipped"]) == (1, {"more than 3 objects": 1})
    hard, output = process(made_events(), cuts=ObjectCuts(95.0, 2.8, 50.0, 2.7, 50.0, 2.37))
    assert output["cutflow"]["at least one object"] == len(hard) == 1
    assert not output["skipped"]


def test_overlap_across_the_seam_of_phi() -> None:
    changes = {"Jet_phi": ak.Array([[0.0, 3.1], [0.0]]), "Electron_phi": ak.Array([[-3.1], []])}
    found, _ = process(made_events(**changes), overlap=0.4)
    assert [x[0] for x in listed(found)[0]] == [1, 3, 7]


def test_jets_on_top_of_electrons_and_photons_count_once_in_the_missing_momentum() -> None:
    soft = {"SoftTerm_px": ak.Array([7.0, 5.0]), "SoftTerm_py": ak.Array([-2.0, 0.0])}
    eta = {"Jet_eta": ak.Array([[1.0, 0.3], [0.0]])}  # 0.3 from the electron; on top of the muon
    events, output = process(made_events(without=("MET",), **soft, **eta))
    px, py = events.met * np.cos(events.met_phi), events.met * np.sin(events.met_phi)
    assert np.allclose(px, [7.0 - 100.0 - 40.0 - 25.0, 5.0 - 90.0 - 30.0])
    assert np.allclose(py, [-2.0, 0.0])
    assert "missing momentum from the soft term and the kept objects" in output["notes"]
    assert events.counts.tolist() == [4, 2]  # the jets themselves stay


def test_channel_of_a_run_has_a_cutflow() -> None:
    _, output = process(made_events(), channel="2b")
    assert output["cutflow"] == {
        "all": 2, "at least one object": 2, ">= 2 leptons, pT > 15": 0, "MET >= 50": 0, "HT >= 50": 0, "selected": 0,
    }  # fmt: skip
    events, output = process(made_events(), channel="3")
    assert list(output["cutflow"].values()) == [2, 2, 0, 0, 0]
    assert len(events) == 0


def test_cutflows_of_channels_do_not_drop_events(reference_data: Path) -> None:
    path = reference_data / "darkmachines" / "channel2b" / "sig_stlp_st1000.csv.gz"
    events, output = run(path, channels=("1", "2b", "3"))
    assert len(events) == 1809
    assert output["channels"] == {name: channel_cutflow(events, name)[1] for name in ("1", "2b", "3")}
    assert output["channels"]["2b"]["HT >= 50"] == 1809  # the file's own channel
    assert 0 < output["channels"]["1"][">= 1 jets, pT > 200"] < output["channels"]["3"]["MET >= 100"] < 1809
    with pytest.raises(ConfigError, match="unknown channel '4'"):
        EventObjectsProcessor(channels=("1", "4"))


def test_chunks_runner_and_cache_give_the_same(reference_data: Path, tmp_path: Path) -> None:
    path = str(reference_data / "root" / "nano_tt_v12.root")
    processor = EventObjectsProcessor(btag=("btagDeepFlavB", 0.3), without=("Photon",))
    whole = collect_objects(run_processor({"tt": path}, processor, cache_dir=tmp_path / "whole"))
    for cached in (0, 4):
        result = run_processor({"tt": path, "again": [path]}, processor, chunksize=100, cache_dir=tmp_path)
        assert listed(collect_objects(result, "tt")) == listed(whole)
        assert result.ledger.chunks_cached == cached
    assert result.complete
    assert len(collect_objects(result)) == 2 * len(whole)
    by_coffea = Runner(IterativeExecutor(status=False), schema=ParticleSchema)(
        {"tt": {"files": {path: "Events"}}}, processor
    )
    assert listed(collect_objects(by_coffea)) == listed(whole)
    with pytest.raises(InputError, match="no objects for dataset 'ttbar'"):
        collect_objects(result, "ttbar")


def test_chunks_of_an_rntuple_are_slices_of_the_whole(reference_data: Path) -> None:
    path = str(reference_data / "root" / "physlite_rntuple.root")
    whole, part = source("physlite").read(path, 0, 100), source("physlite").read(path, 60, 70)
    for name in ("Jet", "Electron", "Photon"):
        for field in ("pt", "eta", "phi"):
            assert part[name][field].to_list() == whole[name][field][60:70].to_list()
    assert part.event.to_list() == whole.event[60:70].to_list()


def test_lists_of_objects_have_no_such_fields(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1\n")
    with pytest.raises(InputError, match="leave btag, least and met out"):
        run(path, btag=("btag", 0.5))


def test_guide_runs_as_written(
    reference_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_page: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(reference_data / "root" / "nano_tt_v15.root", "nano.root")
    shutil.copyfile(reference_data / "darkmachines" / "channel2b" / "background_test.csv.gz", "background.csv.gz")
    run_page(GUIDE)
    printed = capsys.readouterr().out
    said = re.findall(r"^print\(.*?# (.*)$", GUIDE.read_text(), flags=re.MULTILINE)
    assert len(said) == 3
    assert all(text.rstrip(".}").rstrip(", ") in printed for text in said)
    assert "object-sets (698, 105) events that do not fit: 0" in printed
