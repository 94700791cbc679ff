"""Cuts, builders and labels from plain data: what is understood, and what is refused with a hint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.processors import (
    RESONANCES,
    DijetCuts,
    DijetFeatures,
    DijetProcessor,
    FeatureBuilder,
    axis_label,
    make_cuts,
    make_features,
    make_processor,
)
from resonaut.processors.features.labels import html_symbol, symbol


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
