"""Corrections of events and weights against values by hand, and their variations in tables."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import awkward as ak
import correctionlib.schemav2 as schema
import numpy as np
import pytest
import vector
from scipy.stats import kstest

from resonaut.errors import ConfigError, InputError
from resonaut.processors import (
    Corrections,
    DijetCuts,
    DijetProcessor,
    LibraryCorrection,
    ScaleCorrection,
    SmearingCorrection,
    WeightCorrection,
    config_hash,
    make_corrections,
    make_processor,
    normalisation,
    read_all_variations,
    read_table,
    run_processor,
    table_columns,
    table_variations,
    variation,
    write_particle_tree,
)
from resonaut.processors.events.schema import events_from_columns

Array = np.ndarray[Any, Any]
EDGES = [0.0, 10.0, 20.0, 60.0]
PILEUP = {"nominal": [0.5, 1.0, 1.5], "up": [0.4, 1.1, 1.7], "down": [0.6, 0.9, 1.3]}


def binned(name: str, values: list[float], edges: list[float]) -> Any:
    return schema.Binning(nodetype="binning", input=name, edges=edges, content=values, flow="error")


def write_set(path: Path, *corrections: schema.Correction) -> Path:
    text = schema.CorrectionSet(schema_version=2, corrections=list(corrections)).model_dump_json(exclude_unset=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def pileup(scale: float = 1.0) -> schema.Correction:
    items = [
        schema.CategoryItem(key=key, value=binned("NumTrueInteractions", [scale * v for v in values], EDGES))
        for key, values in PILEUP.items()
    ]
    return schema.Correction(
        name="Collisions_test",
        version=1,
        inputs=[
            schema.Variable(name="NumTrueInteractions", type="real"),
            schema.Variable(name="weights", type="string"),
        ],
        output=schema.Variable(name="weight", type="real"),
        data=schema.Category(nodetype="category", input="weights", content=items),
    )


def jes() -> list[schema.Correction]:
    """A factor that rises with pT and rho, and a relative uncertainty in bins of |eta|."""
    factor = schema.Correction(
        name="jec",
        version=1,
        inputs=[schema.Variable(name=name, type="real") for name in ("JetPt", "Rho")],
        output=schema.Variable(name="factor", type="real"),
        data=schema.Formula(
            nodetype="formula", expression="1+x/10000-y/1000", parser="TFormula", variables=["JetPt", "Rho"]
        ),
    )
    uncertainty = schema.Correction(
        name="unc",
        version=1,
        inputs=[schema.Variable(name="JetEta", type="real")],
        output=schema.Variable(name="relative", type="real"),
        data=binned("JetEta", [0.02, 0.01, 0.02], [-3.0, -1.0, 1.0, 3.0]),
    )
    return [factor, uncertainty]


def events_of(n: int, seed: int = 1, **fields: Any) -> Any:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, n)
    total = int(counts.sum())
    flat = {
        "pt": rng.uniform(200, 2000, total),
        "eta": rng.uniform(-2.5, 2.5, total),
        "phi": rng.uniform(-np.pi, np.pi, total),
        "mass": rng.uniform(20, 300, total),
    }
    jets = ak.zip({name: ak.unflatten(values, counts) for name, values in flat.items()})
    return ak.zip(
        {
            "FatJet": jets,
            "Pileup": ak.zip({"nTrueInt": rng.uniform(0, 60, n)}),
            "Rho": ak.zip({"all": rng.uniform(5, 30, n)}),
            "event": np.arange(n) + 17,
            "LHEScaleWeight": ak.from_regular(rng.uniform(0.8, 1.2, (n, 9))),
            "MET": ak.zip({"pt": rng.uniform(0, 100, n), "phi": rng.uniform(-np.pi, np.pi, n)}),
            **fields,
        },
        depth_limit=1,
    )


PILEUP_OPTIONS = {
    "kind": "weight", "name": "pileup", "correction": "Collisions_test", "inputs": {"NumTrueInteractions": "Pileup.nTrueInt"},
    "systematic": "weights", "nominal": "nominal", "up": "up", "down": "down",
}  # fmt: skip


@pytest.mark.parametrize("name", ["pu.json", "pu.json.gz"])
def test_pileup_weights_are_the_numbers_of_the_file(tmp_path: Path, name: str) -> None:
    write_set(tmp_path / name, pileup())
    corrections = make_corrections([{**PILEUP_OPTIONS, "file": name}], tmp_path)
    events = events_of(500)
    place = np.searchsorted(EDGES, ak.to_numpy(events.Pileup.nTrueInt), side="right") - 1
    assert corrections.weight_variations == ("pileup_up", "pileup_down")
    for direction, key in ((None, "nominal"), ("pileup_up", "up"), ("pileup_down", "down")):
        np.testing.assert_array_equal(corrections.weight(events, direction), np.array(PILEUP[key])[place])


def test_values_out_of_range_are_not_known_and_the_others_are(tmp_path: Path) -> None:
    write_set(tmp_path / "pu.json", pileup())
    corrections = make_corrections([{**PILEUP_OPTIONS, "file": "pu.json"}], tmp_path)
    given = np.linspace(1, 59, 200)
    given[[3, 77, 78, 150]] = [-5.0, 60.0, 1e9, np.nan]
    found = corrections.weight(events_of(200, Pileup=ak.zip({"nTrueInt": given})))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 77, 78, 150]


def test_a_jet_energy_scale_from_a_file(tmp_path: Path) -> None:
    write_set(tmp_path / "jec.json", *jes())
    options = {
        "kind": "scale", "name": "jes", "collection": "FatJet", "file": "jec.json", "correction": "jec", "met": "MET",
        "inputs": {"JetPt": "pt", "Rho": "event:Rho.all"},
        "uncertainty": {"file": "jec.json", "correction": "unc", "inputs": {"JetEta": "eta"}},
    }  # fmt: skip
    corrections = make_corrections([options], tmp_path)
    events = events_of(300)
    pt, rho = events.FatJet.pt, events.Rho["all"]
    for name, sign in ((None, 0.0), ("jes_up", 1.0), ("jes_down", -1.0)):
        factor = 1 + pt / 10000 - rho / 1000
        factor = factor * (1 + sign * ak.where(abs(events.FatJet.eta) < 1, 0.01, 0.02))
        found = corrections.events(events, name)
        np.testing.assert_allclose(ak.flatten(found.FatJet.pt), ak.flatten(pt * factor), rtol=1e-13)
        np.testing.assert_allclose(ak.flatten(found.FatJet.mass), ak.flatten(events.FatJet.mass * factor), rtol=1e-13)
        assert ak.all(found.FatJet.eta == events.FatJet.eta)
        # the vector sum of jets and missing momentum is what it was
        for function in (np.cos, np.sin):
            before = events.MET.pt * function(events.MET.phi) + ak.sum(pt * function(events.FatJet.phi), axis=1)
            after = found.MET.pt * function(found.MET.phi) + ak.sum(
                found.FatJet.pt * function(found.FatJet.phi), axis=1
            )
            np.testing.assert_allclose(before, after, atol=1e-9)


def test_earlier_corrections_can_be_taken_away_first(tmp_path: Path) -> None:
    write_set(tmp_path / "jec.json", *jes())
    library = LibraryCorrection(str(tmp_path / "jec.json"), "jec", {"JetPt": "pt", "Rho": 10.0})
    events = events_of(50)
    jets = ak.with_field(events.FatJet, ak.full_like(events.FatJet.pt, 0.25), "rawFactor")
    found = Corrections((ScaleCorrection("jes", "FatJet", library, raw="rawFactor"),)).events(
        ak.with_field(events, jets, "FatJet")
    )
    raw = 0.75 * events.FatJet.pt
    np.testing.assert_allclose(ak.flatten(found.FatJet.pt), ak.flatten(raw * (1 + raw / 10000 - 0.01)), rtol=1e-13)


def smeared(events: Any, **options: Any) -> Array:
    made = Corrections((SmearingCorrection("jer", "FatJet", **options),)).events(events)
    return np.asarray(ak.to_numpy(ak.flatten(made.FatJet.pt / events.FatJet.pt, axis=1)))


def test_smearing_is_normal_and_belongs_to_the_object() -> None:
    events = events_of(4000)
    ratio = smeared(events, width=0.1)
    assert kstest((ratio - 1) / 0.1, "norm").pvalue > 0.01
    assert abs(np.corrcoef(ratio[:-1], ratio[1:])[0, 1]) < 4 / np.sqrt(len(ratio))
    # order, and which events come together, do not matter
    order = np.random.default_rng(0).permutation(len(events))
    counts = ak.num(events.FatJet, axis=1)
    shuffled = ak.unflatten(smeared(events[order], width=0.1), counts[order])[np.argsort(order)]
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(shuffled)), ratio)
    parts = [smeared(events[start : start + 700], width=0.1) for start in range(0, 4000, 700)]
    np.testing.assert_array_equal(np.concatenate(parts), ratio)
    assert not np.any(smeared(events, width=0.1, seed=1) == ratio)


def test_two_smearings_are_independent() -> None:
    """A stochastic and a constant term add in quadrature; electrons and muons have fluctuations of their own."""
    events = events_of(6000)
    one, two = (SmearingCorrection(name, "FatJet", width) for name, width in (("stochastic", 0.03), ("constant", 0.04)))
    alone = [np.log(part.ratio(events)) for part in (one, two)]
    assert abs(np.corrcoef(*alone)[0, 1]) < 4 / np.sqrt(len(alone[0]))
    both = Corrections((one, two)).events(events).FatJet.pt / events.FatJet.pt
    assert np.std(ak.to_numpy(ak.flatten(both))) == pytest.approx(0.05, rel=0.03)


def test_a_scale_factor_of_the_resolution_makes_it_as_wide_as_it_says() -> None:
    events = events_of(6000)
    rng = np.random.default_rng(5)
    resolution, factor = 0.08, 1.2
    simulated = 1 + resolution * rng.standard_normal(int(ak.sum(ak.num(events.FatJet))))
    ratio = smeared(events, width=resolution, scale_factor=factor)
    assert np.std(simulated * ratio) == pytest.approx(resolution * factor, rel=0.04)
    assert np.all(smeared(events, width=resolution, scale_factor=0.9) == 1)  # what is too wide stays


def test_weights_from_lists_functions_and_numbers() -> None:
    events = events_of(100)
    corrections = Corrections(
        (
            WeightCorrection("scale", up="LHEScaleWeight[8]", down="LHEScaleWeight[0]"),
            WeightCorrection("tag", nominal=lambda events: 1 + events.Pileup.nTrueInt / 100),
            normalisation(10.0, 139.0, 5000.0),
        )
    )
    expected = (1 + ak.to_numpy(events.Pileup.nTrueInt) / 100) * 10.0 * 139.0 / 5000.0
    np.testing.assert_allclose(corrections.weight(events), expected)
    np.testing.assert_allclose(
        corrections.weight(events, "scale_up"), expected * ak.to_numpy(events.LHEScaleWeight)[:, 8]
    )
    assert corrections.names == ("scale",)


def with_file(path: Path) -> dict[str, Any]:
    return {**PILEUP_OPTIONS, "file": str(path)}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "wheight", "name": "a"}, "did you mean"),
    ({"kind": "weight", "name": "a", "nominal": 1.0, "upp": 2}, "upp"),
    ({"kind": "weight", "name": "a"}, "neither"),
    ({"kind": "weight", "name": "a", "up": 1.1}, "both or none"),
    ({"kind": "weight", "name": "a__b", "nominal": 1.0}, "single underscores"),
    ({"kind": "scale", "name": "a", "collection": "FatJet", "uncertainty": -0.1}, "at least 0"),
    ({"kind": "scale", "name": "a", "collection": "FatJet", "uncertainty": 1.02}, "0.02 for 2 %"),
    ({"kind": "scale", "name": "a"}, "collection"),
    ({"kind": "scale", "name": "a", "collection": "FatJet", "fields": ["mass"], "met": "MET"}, "leave met out"),
    ({"kind": "smearing", "name": "a", "collection": "FatJet", "fields": ["msoftdrop"], "met": "MET"}, "leave met out"),
    ({"kind": "scale", "name": "a", "collection": "FatJet", "systematic": "x"}, "no file that they are of"),
    ({"kind": "normalisation", "name": "n", "cross_section": 1, "luminosity": 1, "sum_of_weights": 0}, "positive"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_corrections([options])


LIBRARY_MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"file": "absent.json"}, InputError, "no such file"),
    ({"correction": "Collisions_tset"}, ConfigError, "did you mean"),
    ({"inputs": {}}, ConfigError, "NumTrueInteractions"),
    ({"inputs": {"NumTrueInteraction": "x"}}, ConfigError, "did you mean"),
    ({"nominal": None}, ConfigError, "nominal"),
    ({"down": None}, ConfigError, "both"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), LIBRARY_MISTAKES)
def test_mistakes_about_a_file_are_named(
    tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    options = {**with_file(write_set(tmp_path / "pu.json", pileup())), **changes}
    with pytest.raises(kind, match=message):
        make_corrections([options])


def test_a_systematic_that_the_file_does_not_know(tmp_path: Path) -> None:
    made = make_corrections([{**with_file(write_set(tmp_path / "pu.json", pileup())), "up": "upwards"}])
    with pytest.raises(ConfigError, match="knows no weights = 'upwards'"):
        made.weight(events_of(10), "pileup_up")


def test_a_text_that_the_file_does_not_know_is_no_value_out_of_range(tmp_path: Path) -> None:
    """Otherwise every event would be skipped, each for a value out of range."""
    points = schema.Correction(
        name="sf",
        version=1,
        inputs=[schema.Variable(name="WorkingPoint", type="string"), schema.Variable(name="pt", type="real")],
        output=schema.Variable(name="weight", type="real"),
        data=schema.Category(
            nodetype="category",
            input="WorkingPoint",
            content=[schema.CategoryItem(key="M", value=binned("pt", [0.9, 1.1], [0.0, 20.0, 60.0]))],
        ),
    )
    path = str(write_set(tmp_path / "sf.json", points))

    def factor(point: str) -> Array:
        library = LibraryCorrection(path, "sf", {"WorkingPoint": point, "pt": "Pileup.nTrueInt"})
        return WeightCorrection("sf", library).factor(events)

    events = events_of(40)
    np.testing.assert_array_equal(factor("M"), np.where(ak.to_numpy(events.Pileup.nTrueInt) < 20, 0.9, 1.1))
    with pytest.raises(ConfigError, match="knows no WorkingPoint = 'Medium'"):
        factor("Medium")


def test_a_file_is_found_from_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "pu.json", pileup())
    monkeypatch.chdir(tmp_path)
    made = make_corrections([{**PILEUP_OPTIONS, "file": "pu.json"}])
    (tmp_path / "worker").mkdir()
    monkeypatch.chdir(tmp_path / "worker")
    assert np.isfinite(made.weight(events_of(10))).all()
    assert made.config[0]["library"]["file"] == "pu.json"  # the folder is no part of what it is


def test_what_events_lack_is_named(tmp_path: Path) -> None:
    made = make_corrections([with_file(write_set(tmp_path / "pu.json", pileup()))])
    with pytest.raises(InputError, match="nTrueInt"):
        made.weight(events_of(10, Pileup=ak.zip({"nPU": np.ones(10)})))
    with pytest.raises(InputError, match="FatJet"):
        make_corrections([{"kind": "scale", "name": "a", "collection": "FatJets", "uncertainty": 0.1}]).events(
            events_of(10)
        )
    with pytest.raises(InputError, match="only 9 entries"):
        WeightCorrection("s", nominal="LHEScaleWeight[9]").factor(events_of(10))
    with pytest.raises(InputError, match="one number per event"):
        WeightCorrection("s", nominal=lambda events: events.FatJet.pt[:, :0]).factor(events_of(10))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as a correctionlib"):
        make_corrections([with_file(tmp_path / "broken.json")])


def test_the_cache_knows_the_content_of_the_file(tmp_path: Path) -> None:
    path = write_set(tmp_path / "pu.json", pileup())
    before = config_hash(DijetProcessor(corrections=make_corrections([with_file(path)])))
    (tmp_path / "moved").mkdir()
    moved = write_set(tmp_path / "moved" / "pu.json", pileup())
    assert config_hash(DijetProcessor(corrections=make_corrections([with_file(moved)]))) == before
    write_set(path, pileup(scale=1.1))
    assert config_hash(DijetProcessor(corrections=make_corrections([with_file(path)]))) != before
    assert config_hash(DijetProcessor()) != before


# ---- tables


SHARES = np.array([0.5, 0.15, 0.1, 0.08, 0.07, 0.05, 0.03, 0.02])  # of a jet's pT


def dijets(path: Path, n: int = 400, seed: int = 3) -> Path:
    """Particles that make two jets each, with pT around the cut of the tests."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        phi, pt = rng.uniform(-np.pi, np.pi), rng.uniform(900, 1300)
        pts = np.concatenate([pt * SHARES] * 2)
        around = rng.normal(0, 0.1, 16)
        rows.append(
            {
                "pt": pts,
                "eta": rng.normal(0, 0.1, 16),
                "phi": (np.repeat([phi, phi + np.pi], 8) + around + np.pi) % (2 * np.pi) - np.pi,
                "mass": np.zeros(16),
            }
        )
    particles = ak.Array(
        [[dict(zip(row, values, strict=True)) for values in zip(*row.values(), strict=True)] for row in rows]
    )
    write_particle_tree(path, particles)
    return path


@pytest.fixture(scope="module")
def jets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dijets(tmp_path_factory.mktemp("dijets") / "events.root")


SHIFTS = [
    {"kind": "scale", "name": "jes", "collection": "PFCand", "uncertainty": 0.05},
    {"kind": "smearing", "name": "jer", "collection": "PFCand", "width": 0.02, "uncertainty": 0.5},
    {"kind": "weight", "name": "tag", "nominal": 0.9, "up": 1.0, "down": 0.8},
]
CUTS = DijetCuts(pt_j1=1100.0)


def test_a_variation_is_what_a_run_with_it_as_nominal_gives(jets: Path, tmp_path: Path) -> None:
    """Particles scaled by hand before clustering, in a run of its own, against the parallel columns."""
    whole = run_processor({"s": [str(jets)]}, DijetProcessor(cuts=CUTS, corrections=make_corrections(SHIFTS[:1])))
    for name, factor in (("nominal", 1.0), ("jes_up", 1.05), ("jes_down", 0.95)):
        alone = Corrections((ScaleCorrection("jes", "PFCand", factor),))
        truth = run_processor({"s": [str(jets)]}, DijetProcessor(cuts=CUTS, corrections=alone)).table()
        found = whole.table(of=name)
        assert set(found) == set(truth)
        assert 50 < len(truth["mjj"]) < 390
        for column, values in truth.items():
            np.testing.assert_allclose(found[column], values, rtol=1e-9, err_msg=column)
    sizes = [len(whole.table(of=name)["mjj"]) for name in ("jes_down", "nominal", "jes_up")]
    assert sizes[0] < sizes[1] < sizes[2] == len(whole.all_variations()["mjj"])
    books = whole.output["s"]["variations"]
    assert [books[v]["cutflow"]["selected"] for v in ("jes_down", "jes_up")] == [sizes[0], sizes[2]]


@pytest.mark.parametrize("chunksize", [37, 400])
def test_tables_do_not_depend_on_chunks(jets: Path, tmp_path: Path, chunksize: int) -> None:
    processor = DijetProcessor(cuts=CUTS, corrections=make_corrections(SHIFTS))
    run_processor({"s": [str(jets)]}, processor, chunksize=chunksize, table=tmp_path / "a.parquet")
    run_processor({"s": [str(jets)]}, processor, chunksize=111, cache_dir=tmp_path, table=tmp_path / "b.parquet")
    one, two = read_all_variations(tmp_path / "a.parquet"), read_all_variations(tmp_path / "b.parquet")
    assert one.fields == two.fields
    for name in one.fields:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(two[name]), err_msg=name)


def test_readers_see_the_nominal_events_unless_they_ask(jets: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    result = run_processor({"s": [str(jets)]}, DijetProcessor(cuts=CUTS, corrections=make_corrections(SHIFTS)))
    result.write_table(path)
    plain = run_processor(
        {"s": [str(jets)]},
        DijetProcessor(cuts=CUTS, corrections=Corrections((SmearingCorrection("jer", "PFCand", 0.02),))),
    ).table()
    nominal = read_table(path)
    assert np.array_equal(nominal.mjj, plain["mjj"])
    assert table_columns(path) == nominal.fields
    assert not [name for name in nominal.fields if "__" in name]
    assert table_variations(path) == ("jes_up", "jes_down", "jer_up", "jer_down", "tag_up", "tag_down")
    assert set(np.asarray(read_table(path, ["weight"]).weight)) == {0.9}
    assert set(np.asarray(read_table(path, ["weight"], of="tag_up").weight)) == {1.0}
    assert len(read_table(path, of="tag_up")) == len(nominal)
    whole = read_all_variations(path)
    assert len(whole) > len(nominal)
    varied = {name.removesuffix("__jes_up") for name in whole.fields if name.endswith("__jes_up")}
    assert {"mjj", "pt_j1", "m_h", "dm_jj", "selected"} <= varied
    assert not varied.intersection({"tau21_j1", "eta_j1", "phi_l", "n_h", "deta_jj", "weight"})
    assert np.array_equal(variation(whole, "jer_up").mjj, read_table(path, of="jer_up").mjj)
    with pytest.raises(InputError, match="did you mean"):
        read_table(path, of="jes_upp")
    with pytest.raises(InputError, match="columns of variations"):
        read_table(path, ["mjj__jes_up"])


def measured(events: Any, row: int, factors: list[float]) -> dict[str, float] | None:
    """Features of one event whose jets are scaled, by hand: jets above 30 GeV by falling pT, and missing momentum."""
    jets, moved = [], vector.obj(pt=events.MET.pt[row], phi=events.MET.phi[row])
    for jet, factor in zip(events.Jet[row], factors, strict=True):
        before, after = (vector.obj(pt=x * jet.pt, eta=jet.eta, phi=jet.phi, mass=x * jet.mass) for x in (1.0, factor))
        jets.append(after)
        moved = vector.obj(px=moved.px + before.px - after.px, py=moved.py + before.py - after.py)
    chosen = sorted((jet for jet in jets if jet.pt >= 30), key=lambda jet: -jet.pt)
    if len(chosen) < 2 or not (chosen[0] + chosen[1]).mass >= 120:
        return None
    return {
        "m_jj": (chosen[0] + chosen[1]).mass, "pt_j1": chosen[0].pt, "eta_j1": chosen[0].eta, "m_j2": chosen[1].mass,
        "ht": sum(jet.pt for jet in chosen), "n_jets": len(chosen), "met": moved.pt,
        "dphi_j1_met": abs(chosen[0].deltaphi(vector.obj(pt=1.0, phi=moved.phi))), "event": int(events.event[row]),
    }  # fmt: skip


def test_variations_reorder_objects_and_move_events_across_cuts(tmp_path: Path) -> None:
    """An uncertainty that depends on eta, against every event by hand: order, thresholds, sums, missing momentum, cuts."""
    uncertainty = schema.Correction(
        name="unc", version=1, inputs=[schema.Variable(name="JetEta", type="real")],
        output=schema.Variable(name="u", type="real"), data=binned("JetEta", [0.3, 0.05], [-9.0, 0.0, 9.0]),
    )  # fmt: skip
    library = LibraryCorrection(str(write_set(tmp_path / "unc.json", uncertainty)), "unc", {"JetEta": "eta"})
    made = Corrections((ScaleCorrection("jes", "Jet", 1.02, uncertainty=library, met="MET"),))
    made_up = events_of(300)
    branches = {f"Jet_{x}": made_up.FatJet[x] / (20 if x in ("pt", "mass") else 1) for x in made_up.FatJet.fields}
    branches |= {"nJet": ak.num(made_up.FatJet), "event": made_up.event}
    branches |= {f"MET_{x}": made_up.MET[x] for x in ("pt", "phi")}
    events = events_from_columns(branches, 300, "memory", 0, {"dataset": "s"})
    processor = make_processor(
        resonance={"preset": "dijet-small", "where": {"Jet.pt": 30}}, corrections=made, cuts={"m_jj": {"min": 120}},
        event_features={"names": ["ht", "n_jets", "met", "dphi_j1_met"], "where": {"Jet.eta": {"abs_max": 9}}},
    )  # fmt: skip
    output = processor.process(events)["s"]
    columns = {name: column.value for name, column in output["table"].items()}
    sizes, leading = {}, {}
    for name, sign in (("nominal", 0.0), ("jes_up", 1.0), ("jes_down", -1.0)):
        factors = 1.02 * (1 + sign * ak.where(events.Jet.eta < 0, 0.3, 0.05))
        truth = [found for row in range(300) if (found := measured(events, row, factors[row].to_list()))]
        table = variation(columns, name)
        assert table["event"].tolist() == [each["event"] for each in truth]
        for key in truth[0]:
            np.testing.assert_allclose(table[key], [each[key] for each in truth], rtol=1e-9, atol=1e-9, err_msg=key)
        sizes[name] = len(truth)
        leading[name] = {each["event"]: each["eta_j1"] for each in truth}
    assert sizes["jes_down"] + 8 < sizes["nominal"] < sizes["jes_up"] - 8
    assert sum(leading["jes_up"].get(event) != eta for event, eta in leading["nominal"].items()) > 10  # another leads


def test_variations_of_small_weights_are_kept(jets: Path) -> None:
    """Weights normalised to a small cross-section are no rounding errors."""

    def by_pt(events: Any) -> Array:
        return 1e-15 * ak.to_numpy(ak.sum(events.PFCand.pt, axis=1))

    made = Corrections((ScaleCorrection("jes", "PFCand", uncertainty=0.05), WeightCorrection("norm", nominal=by_pt)))
    result = run_processor({"s": [str(jets)]}, DijetProcessor(corrections=made))
    np.testing.assert_allclose(result.table(of="jes_up")["weight"], 1.05 * result.table()["weight"], rtol=1e-9)


def test_data_are_left_as_they_are(jets: Path) -> None:
    processor = DijetProcessor(cuts=CUTS, corrections=make_corrections(SHIFTS))
    other = dijets(jets.with_name("other.root"), 50, seed=9)
    files = {"data": {"files": [str(jets)], "metadata": {"data": True}}, "simulation": [str(other)]}
    result = run_processor(files, processor)
    plain = run_processor({"data": [str(jets)]}, DijetProcessor(cuts=CUTS))
    assert "variations" not in result.output["data"]
    np.testing.assert_array_equal(result.table("data")["mjj"], plain.table()["mjj"])
    assert not [name for name in result.all_variations("data") if "__" in name]
    # together: rows of data are in every variation, as they are
    shared = len(result.table("data")["mjj"])
    for name in ("nominal", "jes_up", "tag_down"):
        found, simulated = result.table(of=name), result.table("simulation", of=name)
        np.testing.assert_array_equal(found["mjj"], np.concatenate([plain.table()["mjj"], simulated["mjj"]]))
        assert np.all(found["weight"][:shared] == 1)


def test_unknown_factors_are_skipped_and_counted(jets: Path) -> None:
    def weight(events: Any) -> Array:
        return np.where(ak.to_numpy(events.PFCand.pt[:, 0]) > 600, np.inf, 1.0)

    def up(events: Any) -> Array:
        return np.where(ak.to_numpy(events.PFCand.pt[:, 0]) > 550, np.nan, 1.1)

    made = Corrections((WeightCorrection("odd", nominal=weight, up=up, down=0.9),))
    result = run_processor({"s": [str(jets)]}, DijetProcessor(corrections=made))
    part = result.output["s"]
    leading = ak.to_numpy(
        ak.Array(run_processor({"s": [str(jets)]}, lambda e: {"s": {"pt": [e.PFCand.pt[:, 0]]}}).output["s"]["pt"][0])
    )
    lost, lost_up = int((leading > 600).sum()), int(((leading > 550) & (leading <= 600)).sum())
    assert min(lost, lost_up) > 10
    assert part["skipped"] == {"odd undefined": lost}
    assert result.ledger.used == 400 - lost
    assert part["variations"]["odd_up"]["skipped"] == {"odd_up undefined": lost_up}
    assert np.count_nonzero(result.table(of="odd_up")["weight"] == 0) == lost_up
    assert part["sum_of_weights"]["nominal"] == 400


def test_objects_without_a_correction_are_skipped_and_counted(jets: Path, tmp_path: Path) -> None:
    narrow = schema.Correction(
        name="s", version=1, inputs=[schema.Variable(name="pt", type="real")],
        output=schema.Variable(name="f", type="real"), data=binned("pt", [1.0], [0.0, 600.0]),
    )  # fmt: skip
    path = write_set(tmp_path / "s.json", narrow)
    made = make_corrections(
        [
            {
                "kind": "scale",
                "name": "s",
                "collection": "PFCand",
                "file": str(path),
                "correction": "s",
                "inputs": {"pt": "pt"},
            }
        ]
    )
    result = run_processor({"s": [str(jets)]}, DijetProcessor(corrections=made))
    assert result.output["s"]["skipped"]["s undefined"] > 10
    assert result.ledger.balanced


def test_sums_of_weights_are_those_of_all_events(jets: Path) -> None:
    made = Corrections(
        (WeightCorrection("theory", up=1.3, down=0.6, keep_sum=True), WeightCorrection("tag", nominal=0.5))
    )
    assert made.keep_sum == ("theory_up", "theory_down")
    sums = run_processor({"s": [str(jets)]}, DijetProcessor(cuts=CUTS, corrections=made), chunksize=90).output["s"][
        "sum_of_weights"
    ]
    assert sums == pytest.approx({"nominal": 400, "corrected": 200, "theory_up": 260, "theory_down": 120})


def test_nanoaod_with_jets_and_pileup(reference_data: Path, tmp_path: Path) -> None:
    """A real file: the JES moves the mass of the two leading fat jets by as much, wherever they stay the leading ones."""
    write_set(tmp_path / "pu.json", pileup())
    made = make_corrections(
        [
            {"kind": "scale", "name": "jes", "collection": "FatJet", "uncertainty": 0.04, "met": "PuppiMET"},
            {**PILEUP_OPTIONS, "file": str(tmp_path / "pu.json")},
        ]
    )
    path = str(reference_data / "root" / "nano_tt_v12.root")
    result = run_processor({"tt": [path]}, DijetProcessor(corrections=made))
    assert result.ledger.balanced
    found, up = result.table(), result.table(of="jes_up")
    np.testing.assert_allclose(up["mjj"], 1.04 * found["mjj"], rtol=1e-5)  # stored as floats
    np.testing.assert_allclose(up["tau21_j1"], found["tau21_j1"])
    ratio = result.table(of="pileup_up")["weight"] / found["weight"]
    assert set(np.round(ratio, 6)) <= {round(u / n, 6) for u, n in zip(PILEUP["up"], PILEUP["nominal"], strict=True)}


def test_corrections_from_python_and_from_plain_data_are_the_same() -> None:
    plain = make_corrections(SHIFTS)
    python = Corrections(
        (
            ScaleCorrection("jes", "PFCand", uncertainty=0.05),
            SmearingCorrection("jer", "PFCand", 0.02, uncertainty=0.5),
            WeightCorrection("tag", nominal=0.9, up=1.0, down=0.8),
        )
    )
    assert plain == python
    assert plain.config == python.config
