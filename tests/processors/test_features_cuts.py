"""Cuts, builders and labels from plain data: what is understood, and what is refused with a hint."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.files import digest
from resonaut.processors import (
    RESONANCES,
    Corrections,
    Cuts,
    DijetCuts,
    DijetFeatures,
    DijetProcessor,
    FeatureBuilder,
    TableProcessor,
    WeightCorrection,
    axis_label,
    config_hash,
    make_cuts,
    make_features,
    make_processor,
    run_processor,
)
from resonaut.processors.events.schema import events_from_columns
from resonaut.processors.features.cuts import AllCuts, ColumnCuts, Range
from resonaut.processors.features.labels import html_symbol, symbol
from resonaut.processors.identity import code_digest
from resonaut.processors.running.work import _unpack


def test_cuts_on_any_column_by_hand() -> None:
    columns = {"m_mumu": np.array([4.0, 5.0, 15.9, 16.0, np.nan]), "eta_l1": np.array([-2.5, -2.0, 2.4, 0.0, 0.0])}
    masks = make_cuts({"m_mumu": [5, 16], "eta_l1": {"abs_max": 2.4, "min": -2.2}}).masks(columns)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "m_mumu in [5, 16)": [False, True, True, False, False],
        "eta_l1 >= -2.2": [False, True, True, True, True],
        "|eta_l1| < 2.4": [False, True, False, True, True],
    }
    assert list(make_cuts({"m_mumu": {"max": 5}}).masks(columns)) == ["m_mumu < 5"]


def test_dijet_cuts_keep_their_short_names() -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.uniform(-3, 3000, 200) for name in ("pt_j1", "pt_j2", "eta_j1", "eta_j2", "mjj", "deta_jj")}
    given: dict[str, Any] = {"pt_j1": 1000, "pt_j2": 200.5, "abs_eta": 2000, "deta_jj": 2500, "mjj": [500, 2500]}
    short = DijetCuts(pt_j1=1000, pt_j2=200.5, abs_eta=2000, deta_jj=2500, mjj=(500, 2500)).masks(columns)
    made = make_cuts(given).masks(columns)
    assert list(made) == list(short)
    for name, mask in short.items():
        np.testing.assert_array_equal(made[name], mask)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"m_mumu": 5}, r"the cut on m_mumu is 5, expected \{min"),
        ({"ptj1": 5}, r"did you mean 'pt_j1'"),
        ({"m_mumu": {"mim": 5}}, r"did you mean 'min'"),
        ({"m_mumu": {}}, r"m_mumu: a cut needs min, max or abs_max"),
        ({"m_mumu": [16, 5]}, r"expected min < max"),
        ({"m_mumu": {"min": "low"}}, r"has min = 'low', expected a number"),
        ({"m_mumu": [5, float("nan")]}, r"expected a number"),
        ({"m_mumu": True}, r"expected \{min"),
        ({"pt_j1": float("nan")}, r"the cut on pt_j1 is nan, expected a number"),
    ],
)
def test_cuts_that_make_no_sense_are_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        make_cuts(given)


def test_a_cut_on_a_column_that_is_not_there_names_the_nearest() -> None:
    for cuts in (make_cuts({"m_mumuu": [5, 16]}), DijetCuts(mjj=(1, 2))):
        with pytest.raises(InputError, match=r"column to cut on .*m_mumu"):
            cuts.masks({"m_mumu": np.zeros(3)})


def test_every_resonance_has_a_builder_a_variable_and_a_label() -> None:
    variables = {name: make_features(resonance=name).variable for name in RESONANCES}
    assert len(set(variables.values())) == len(variables)
    assert variables["dijet"] == "mjj"
    assert (variables["dimuon"], variables["jet-lepton"], variables["muon-met"]) == ("m_mumu", "m_jl", "mt_mu")
    for name, variable in variables.items():
        assert isinstance(make_features(resonance=name), FeatureBuilder)
        assert axis_label(variable).startswith("$m")
        assert axis_label(variable).endswith("[GeV]")
    assert symbol("m_mumu") == r"m_{\mu\mu}"
    assert axis_label("bump") == "bump [GeV]"
    assert html_symbol("m_jgamma") == "m<sub>jγ</sub>"
    assert html_symbol("<script>") == "script"


def make_processor_of(cuts: Cuts) -> TableProcessor:
    return TableProcessor(DijetFeatures(), cuts)


def test_options_reach_the_builder_and_enter_its_config() -> None:
    one = make_features(resonance={"preset": "dimuon", "where": {"Muon.pt": 8}, "exactly": False})
    assert one.config["objects"] == ("Muon", "Muon")
    assert (one.config["charge"], one.config["exactly"], one.config["where"]) == ("opposite", False, {"Muon.pt": 8})
    both = make_features(jets={"radius": 0.8}, event_features={"names": ["ht"], "where": {"Jet.pt": 50}})
    assert both.variable == "mjj"
    assert both.config["radius"] == 0.8
    assert both.config["event"]["names"] == ("ht",)
    processor = make_processor(jets={"radius": 0.8}, cuts={"pt_j1": 1200})
    assert isinstance(processor, DijetProcessor)
    assert processor.features == DijetFeatures(radius=0.8)
    configs = [
        make_processor(resonance="dimuon").config,
        make_processor(resonance="dimuon", cuts={"m_mumu": [5, 16]}).config,
        make_processor(resonance="dimuon", event_features=["n_muons"]).config,
        make_processor(resonance="dielectron").config,
    ]
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])  # results of one are not taken for another's
    orders = [make_cuts({a: [0, 9], b: [0, 9]}) for a, b in (("x", "y"), ("y", "x"))]
    one, two = (config_hash(make_processor_of(cuts)) for cuts in orders)
    assert one != two  # their cutflows differ
    assert (
        len({digest(AllCuts(tuple(ColumnCuts({"x": Range(low)}) for low in lows)).config) for lows in ((1, 2), (3, 2))})
        == 2
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"resonance": "dimuons"}, r"did you mean 'dimuon'"),
        ({"resonance": {"object": ["Muon"]}}, r"did you mean 'objects'"),
        ({"resonance": {"objects": ["Muons", "Muon"]}}, r"did you mean 'Muon'"),
        ({"resonance": {"objects": "Muon"}}, r"expected a list of names"),
        ({"resonance": {"objects": ["Muon"]}}, r"two to six objects, or of one and MET"),
        ({"resonance": {"objects": ["Muon", "Muon", "MET"]}}, r"two to six objects, or of one and MET"),
        ({"resonance": {"objects": ["Lepton", "Muon"]}}, r"electrons and muons together"),
        ({"resonance": {"objects": ["Jet", "Muon"], "charge": "opposite"}}, r"needs two charged leptons"),
        ({"resonance": {"objects": ["Muon", "Muon"], "charge": "oposite"}}, r"did you mean 'opposite'"),
        ({"resonance": {"objects": ["Muon", "Muon"], "flavour": "same"}}, r"needs two objects Lepton"),
        ({"resonance": {"objects": ["Muon", "Muon"], "closest_to": -1}}, r"expected positive"),
        ({"resonance": {"preset": "dimuon", "closest_to": "Z"}}, r"cannot be used"),
        ({"resonance": {"preset": "dimuon", "where": {"pt": 8}}}, r"expected Collection.field"),
        ({"resonance": {"preset": "dimuon", "where": {"Mun.pt": 8}}}, r"did you mean 'Muon'"),
        (
            {"resonance": {"preset": "dimuon", "where": {"Jet.pt": 8}}},
            r"cuts on Jet.pt, but the objects are Muon, Muon",
        ),
        ({"resonance": {"preset": "dimuon", "where": {"Lepton.pt": 8}}}, r"cuts on Lepton.pt, but"),
        ({"resonance": {"preset": "dimuon", "where": {"Muon.pt": float("nan")}}}, r"expected a number"),
        ({"resonance": {"preset": "dimuon", "where": {"Muon.pt": {"mn": 8}}}}, r"did you mean 'min'"),
        ({"resonance": {"preset": "dijet", "objects": ["Jet", "Jet"]}}, r"takes its options from jets"),
        ({"resonance": "dimuon", "jets": {"radius": 0.8}}, r"leave them out"),
        ({"jets": {"radus": 1}}, r"did you mean 'radius'"),
        ({"event_features": ["spherocity"]}, r"did you mean 'sphericity'"),
        ({"event_features": "ht"}, r"expected a list of names"),
        ({"event_features": ["pt_x1"]}, r"unknown event feature 'pt_x1'"),
        ({"resonance": "dijet-small", "event_features": ["m_jj"]}, r"is the resonant variable"),
    ],
)
def test_wrong_features_say_what_is_wrong(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        make_features(**given)


def test_a_column_has_one_meaning() -> None:
    columns: dict[str, Any] = {"nJet": ak.Array([2])}
    for x, values in {"pt": [90.0, 80.0], "eta": [0.0, 0.1], "phi": [0.0, 3.0], "mass": [9.0, 8.0]}.items():
        columns[f"Jet_{x}"] = ak.Array([values])
    events = events_from_columns(columns, 1, "memory", 0, {"dataset": "one"})
    with pytest.raises(ConfigError, match=r"event features \['pt_j1'\] are columns of the resonance already"):
        make_processor(resonance="dijet-small", event_features=["pt_j1", "ht"]).process(events)
    assert (
        make_processor(resonance="dijet-small", event_features=["ht"]).process(events)["one"]["cutflow"]["selected"]
        == 1
    )


BUILDER = """
import numpy as np
from resonaut.processors import EventFeatures

def weight(events):
    return np.full(len(events), {weight})

class OneNumber:
    variable = "mass"
    config = {{}}

    def build(self, events):
        return EventFeatures({{"mass": np.full(len(events), {mass})}})

    def __call__(self, events):
        return self.build(events).columns
"""


def test_results_of_code_that_has_changed_are_not_taken_from_the_cache(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.write_particle_frame(tmp_path / "events.h5", toys.make_particles(3, 10))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within a second

    def run(mass: float, weight: float) -> tuple[float, float]:
        (tmp_path / "builder_of_mine.py").write_text(BUILDER.format(mass=mass, weight=weight))
        sys.modules.pop("builder_of_mine", None)
        importlib.invalidate_caches()
        _unpack.cache_clear()  # as in a new process
        mine = importlib.import_module("builder_of_mine")
        corrections = Corrections((WeightCorrection("own", nominal=mine.weight),))
        processor = TableProcessor(mine.OneNumber(), corrections=corrections)
        result = run_processor({"s": [str(tmp_path / "events.h5")]}, processor, cache_dir=tmp_path / "cache")
        return float(result.table()["mass"][0]), float(result.table()["weight"][0])

    assert run(1000.0, 1.0) == (1000.0, 1.0)
    assert run(2000.0, 1.0) == (2000.0, 1.0)
    assert run(2000.0, 3.0) == (2000.0, 3.0)
    assert run(1000.0, 1.0) == (1000.0, 1.0)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_code_of_functions_and_what_they_enclose() -> None:
    def times(factor: float) -> Any:
        return lambda events: np.full(len(events), factor)

    one, two, again = (WeightCorrection("w", nominal=times(x)).config for x in (1.1, 1.2, 1.1))
    assert one == again
    assert one != two
    assert WeightCorrection("w", nominal=functools.partial(max, 1)) != WeightCorrection(
        "w", nominal=functools.partial(max, 2)
    )
    assert code_digest(functools.partial(times, 1.0)) != code_digest(functools.partial(times, 2.0))
    assert code_digest(DijetFeatures()) == code_digest(DijetFeatures(radius=0.4))  # options are no code
    assert code_digest(DijetFeatures()) != code_digest(DijetCuts())
