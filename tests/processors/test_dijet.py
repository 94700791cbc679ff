"""The dijet processor: every event selected, cut or skipped, once; tables that agree with the features and with themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.processors import DijetCuts, DijetFeatures, DijetProcessor, source
from resonaut.processors.events.schema import events_from_columns


def as_events(particles: Any, **columns: Any) -> Any:
    branches = {f"PFCand_{x}": particles[x] for x in ("pt", "eta", "phi", "mass")}
    branches |= {"nPFCand": ak.num(particles)} | {name: ak.Array(values) for name, values in columns.items()}
    metadata = {"dataset": "toys", "entrystart": 100}
    return events_from_columns(branches, len(particles), "memory", 0, metadata)


def jets(rows: list[list[dict[str, float]]], **columns: Any) -> Any:
    """Events with the given FatJets."""
    collection = ak.Array(rows)
    branches = {f"FatJet_{x}": collection[x] for x in collection.fields}
    branches |= {"nFatJet": ak.num(collection)} | {name: ak.Array(values) for name, values in columns.items()}
    return events_from_columns(branches, len(rows), "memory", 0, {"dataset": "jets"})


def jet(pt: float, eta: float = 0.0, phi: float = 0.0, mass: float = 100.0, **more: float) -> dict[str, float]:
    return {"pt": pt, "eta": eta, "phi": phi, "mass": mass, **more}


def process(events: Any, cuts: DijetCuts | None = None, features: DijetFeatures | None = None) -> dict[str, Any]:
    output = DijetProcessor(features, cuts).process(events)
    assert len(output) == 1
    result: dict[str, Any] = next(iter(output.values()))
    return result


def test_cuts_are_applied_one_after_the_other() -> None:
    rows = [
        [jet(1300), jet(900, phi=3)],  # selected
        [jet(1100), jet(900, phi=3)],  # leading pT
        [jet(1300, eta=2.6), jet(900, phi=3)],  # eta
        [jet(900, phi=3), jet(1300)],  # selected: order in the file does not matter
        [jet(1300)],  # one jet
        [],
        [jet(1300, eta=2.0), jet(1300, eta=-2.0, phi=3)],  # mass above the range
    ]
    cuts = DijetCuts(pt_j1=1200, abs_eta=2.5, mjj=(1000, 4000))
    result = process(jets(rows), cuts)
    assert list(result["cutflow"].values()) == [7, 5, 4, 3, 2, 2]
    assert list(result["cutflow"]) == [
        "all",
        "two jets",
        "pt_j1 > 1200",
        "|eta_j1| < 2.5",
        "mjj in [1000, 4000)",
        "selected",
    ]
    assert result["skipped"] == {}
    assert result["table"]["pt_j1"].value.tolist() == [1300.0, 1300.0]
    assert result["table"]["pt_j2"].value.tolist() == [900.0, 900.0]


def test_orderings_by_pt_and_by_mass() -> None:
    rows = [[jet(500, mass=80, tau1=0.2, tau2=0.1), jet(400, phi=3, mass=300, tau1=0.4, tau2=0.1)]]
    table = {name: column.value.item() for name, column in process(jets(rows))["table"].items()}
    assert (table["m_j1"], table["m_j2"], table["m_h"], table["m_l"]) == (80, 300, 300, 80)
    assert (table["pt_h"], table["pt_l"]) == (400, 500)
    assert (table["tau21_j1"], table["tau21_h"]) == (0.5, 0.25)
    assert table["dm_jj"] == 220
    np.testing.assert_allclose(table["dr_jj"], 3.0)


def test_events_that_cannot_be_judged_are_counted_with_the_reason() -> None:
    good = jet(500, tau1=0.2, tau2=0.1)
    rows = [
        [good, jet(400, phi=3, tau1=0.4, tau2=0.1)],
        [good, jet(400, phi=3, tau1=0.0, tau2=0.0)],  # no radiation: tau21 is 0/0
        [good, jet(400, phi=3, tau1=0.4, tau2=np.nan)],
        [good, jet(400, phi=3, tau1=-1.0, tau2=-1.0)],  # NanoAOD's "not computed" must not look like tau21 = 1
        [good, jet(np.nan, phi=3, tau1=0.4, tau2=0.1)],
    ]
    result = process(jets(rows))
    assert result["cutflow"]["selected"] == 1
    assert sum(result["skipped"].values()) == 4
    assert result["skipped"]["jet not finite"] == 1
    assert all(np.isfinite(column.value).all() for column in result["table"].values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.0])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_jet_without_a_pt_may_be_the_leading_one(bad: float, place: int) -> None:
    row = [jet(900), jet(600, phi=3), jet(300, phi=1)]
    row[place] = jet(bad, phi=2)
    result = process(jets([row, [jet(900), jet(600, phi=3)]]))
    assert result["skipped"] == {"jet not finite": 1}
    assert result["table"]["pt_j1"].value.tolist() == [900.0]


def test_an_unknown_weight_does_not_spoil_the_sums() -> None:
    rows = [[jet(500), jet(400, phi=3)]] * 3
    result = process(jets(rows, weight=[2.0, np.nan, 3.0]))
    assert result["cutflow_weighted"] == {"all": 5.0, "two jets": 5.0, "selected": 5.0}
    assert result["cutflow"] == {"all": 3, "two jets": 2, "selected": 2}


@pytest.mark.parametrize("label", [0.5, 200, np.nan])
def test_labels_that_a_byte_does_not_hold_are_refused(label: float) -> None:
    with pytest.raises(InputError, match="expected whole numbers of at most 127"):
        process(jets([[jet(500), jet(400, phi=3)]], label=np.array([label])))


def test_an_angle_may_be_counted_from_zero_or_go_round_twice() -> None:
    rows = [[jet(500, phi=0.1), jet(400, phi=2 * np.pi - 0.1)], [jet(500, phi=0.1), jet(400, phi=4 * np.pi + 0.3)]]
    np.testing.assert_allclose(process(jets(rows))["table"]["dr_jj"].value, 0.2)


def test_particles_that_are_not_finite_skip_the_event_and_no_other(toy_particles: Any) -> None:
    pt = ak.to_list(toy_particles.pt)
    pt[3][0] = float("nan")
    pt[5][1] = float("inf")
    broken = ak.with_field(toy_particles, ak.Array(pt), "pt")
    result = process(as_events(broken))
    assert result["skipped"] == {"particle not finite": 2}
    whole = process(as_events(toy_particles))
    assert whole["cutflow"]["selected"] == len(toy_particles)
    others = np.delete(np.arange(len(toy_particles)), [3, 5])
    for name, column in result["table"].items():
        np.testing.assert_array_equal(column.value, whole["table"][name].value[others], err_msg=name)


def test_weights_labels_and_event_numbers_follow_their_events(toy_particles: Any) -> None:
    n = len(toy_particles)
    weight = np.linspace(1, 2, n)
    weight[4] = np.nan
    events = as_events(toy_particles, weight=weight, label=np.arange(n) % 2)
    result = process(events)
    table = {name: column.value for name, column in result["table"].items()}
    chosen = np.delete(np.arange(n), 4)
    np.testing.assert_array_equal(table["weight"], weight[chosen])
    np.testing.assert_array_equal(table["label"], chosen % 2)
    np.testing.assert_array_equal(table["event"], chosen + 100)
    assert result["skipped"] == {"weight not finite": 1}
    np.testing.assert_allclose(result["cutflow_weighted"]["selected"], weight[chosen].sum())
    assert set(result["hist"]) >= {"mjj", "m_h", "tau21_h"}
    total = result["hist"]["mjj"].sum(flow=True)
    np.testing.assert_allclose([total.value, total.variance], [weight[chosen].sum(), (weight[chosen] ** 2).sum()])


def test_generator_weight_and_dataset_weight_multiply(reference_data: Path) -> None:
    path = str(reference_data / "root" / "nano_tt_v12.root")
    events = source("nanoaod").read(path, 0, 200, metadata={"dataset": "tt", "weight": 0.5, "label": 1})
    table = DijetProcessor().process(events)["tt"]["table"]
    two = ak.num(events.FatJet) >= 2
    np.testing.assert_allclose(table["weight"].value, 0.5 * ak.to_numpy(events.genWeight[two]))
    np.testing.assert_array_equal(table["event"].value, ak.to_numpy(events.event[two]))
    assert set(table["label"].value) == {1}


def test_clustering_options_are_used(toy_particles: Any) -> None:
    events = as_events(toy_particles)
    wide, narrow = (process(events, features=DijetFeatures(radius=r))["table"] for r in (1.0, 0.4))
    assert wide["m_h"].value.mean() > narrow["m_h"].value.mean()
    assert wide["n_h"].value.mean() > narrow["n_h"].value.mean()


def test_an_empty_chunk_has_an_empty_table_of_the_same_columns(toy_particles: Any) -> None:
    events = as_events(toy_particles, label=np.ones(len(toy_particles)))
    full, empty = process(events), process(events[:0])
    assert set(full["table"]) == set(empty["table"])
    assert all(len(column.value) == 0 for column in empty["table"].values())
    assert {name: column.value.dtype for name, column in full["table"].items()} == {
        name: column.value.dtype for name, column in empty["table"].items()
    }


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="antikt"):
        DijetFeatures(algorithm="antiktt")
    with pytest.raises(ConfigError, match="radius"):
        DijetFeatures(radius=0.0)
    with pytest.raises(ConfigError, match="mjj range"):
        DijetCuts(mjj=(5000.0, 2000.0))
