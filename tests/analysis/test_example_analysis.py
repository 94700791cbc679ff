"""An analysis that exists, before and after: few lines change, its old results stay, and the limit is the one by hand."""

from __future__ import annotations

import difflib
import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from resonaut.analysis import demo
from resonaut.models import CrossFit, Sample, load_scorer, threshold, write_working_points
from resonaut.processors import DijetFeatures, source
from resonaut.stats import Window, gaussian_template, upper_limit

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "boosted_dijet"
MOST_CHANGED_LINES = 15
FEATURES = ("m_h", "tau21_h", "m_l", "tau21_l")


def demo_events(name: str) -> Any:
    path = str(Path(demo.__file__).parent / name)
    reader = source("lhco-features")
    return reader.read(path, 0, reader.n_events(path))


def write_nanoaod(path: Path, jets: Any) -> None:
    """A tree as NanoAOD has it: FatJet branches with their counter, event numbers, a trigger."""
    n = len(jets)
    fields = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "msoftdrop": "mass"}
    fields |= {f"tau{k}": f"tau{k}" for k in (1, 2, 3, 4)}
    zipped = ak.zip({new: ak.values_astype(jets[old], "float32") for new, old in fields.items()})
    columns = {
        "run": np.full(n, 320000, np.uint32),
        "luminosityBlock": (np.arange(n) // 1000 + 1).astype(np.uint32),
        "event": np.arange(1, n + 1, dtype=np.uint64),
        "HLT_PFHT1050": np.arange(n) % 50 != 0,
    }
    with uproot.recreate(path) as file:
        file.mktree("Events", {"FatJet": zipped.type.content, **{k: v.dtype for k, v in columns.items()}})
        file["Events"].extend({"FatJet": zipped, **columns})


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the analysis: a scorer that was trained on one half of the simulated events, the other half as its data."""
    folder = tmp_path_factory.mktemp("analysis")
    parts = [demo_events(name) for name in ("qcd_features.h5", "signal_features.h5")]
    jets = ak.concatenate(
        [
            ak.zip({x: events.FatJet[x] for x in ("pt", "eta", "phi", "mass", "tau1", "tau2", "tau3", "tau4")})
            for events in parts
        ]
    )
    columns = {name: np.concatenate([DijetFeatures()(events)[name] for events in parts]) for name in (*FEATURES, "mjj")}
    trained = np.arange(len(jets)) % 2 == 1
    good = trained & np.isfinite([columns[name] for name in FEATURES]).all(axis=0)
    sample = Sample(np.stack([columns[name][good] for name in FEATURES], axis=1), FEATURES, columns["mjj"][good])
    scorer = CrossFit("cwola-trees", folds=2, features=FEATURES, members=2)
    scorer.fit(sample, Window(3300.0, 3700.0, 3000.0, 4100.0)).save(folder / "scorer")
    write_working_points(folder / "scorer", {"0.01": threshold(scorer.score(sample), 0.01)})
    write_nanoaod(folder / "data.root", jets[~trained])
    for name in ("before.py", "after.py", "fileset.json"):
        shutil.copyfile(EXAMPLE / name, folder / name)
    return folder


def module(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def run_both(folder: Path, fileset: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.chdir(folder)
    return module(folder, "before").main(fileset), module(folder, "after").main(fileset)


def require_old_results(before: Any, after: Any) -> None:
    for dataset, old in before.items():
        new = after[dataset]
        assert new["events"] == old["events"]
        assert {region: new["counts"][region] for region in old["counts"]} == old["counts"]
        for name in ("mjj", "msd"):
            for region in old["counts"]:
                np.testing.assert_array_equal(
                    new[name][region, :].view(flow=True), old[name][region, :].view(flow=True)
                )


def test_the_scorer_and_the_limit_change_few_lines() -> None:
    old, new = ((EXAMPLE / name).read_text().splitlines() for name in ("before.py", "after.py"))
    changed = [line for line in difflib.ndiff(old, new) if line.startswith("+ ")]
    removed = [line for line in difflib.ndiff(old, new) if line.startswith("- ")]
    assert 0 < len(changed) <= MOST_CHANGED_LINES
    assert len(removed) <= 2  # the text on top; nothing of the analysis
    assert "resonaut" not in "\n".join(old[5:])


def test_old_results_stay_and_the_limit_is_the_one_by_hand(
    analysis: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    fileset = {"data": json.loads((analysis / "fileset.json").read_text())["data"]}
    before, after = run_both(analysis, fileset, monkeypatch)
    require_old_results(before, after)
    assert "visible cross-section below" in capsys.readouterr().out

    # the same by hand: uproot's columns, the scorer, numpy's histogram, the signal's template in the bins
    with uproot.open(analysis / "data.root") as file:
        tree = file["Events"].arrays()
    pt, eta, phi, mass = (ak.to_numpy(tree[f"FatJet_{x}"]).astype(np.float64) for x in ("pt", "eta", "phi", "mass"))
    energy = np.hypot(pt * np.cosh(eta), mass)
    total = [each.sum(axis=1) for each in (energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))]
    mjj = np.sqrt(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2)
    with np.errstate(invalid="ignore"):
        tau21 = ak.to_numpy(tree["FatJet_tau2"]).astype(np.float64) / ak.to_numpy(tree["FatJet_tau1"])
    heavy = np.argmax(mass, axis=1)
    rows = np.arange(len(mass))
    matrix = np.stack([mass[rows, heavy], tau21[rows, heavy], mass[rows, 1 - heavy], tau21[rows, 1 - heavy]], axis=1)
    good = np.isfinite(matrix).all(axis=1)
    scorer = load_scorer(analysis / "scorer")
    cut = json.loads((analysis / "scorer" / "card.json").read_text())["working_points"]["0.01"]
    anomalous = np.zeros(len(mass), dtype=bool)
    anomalous[good] = scorer.score(Sample(matrix[good], FEATURES, mjj[good])) >= cut
    kept = anomalous & ak.to_numpy(tree["HLT_PFHT1050"]) & (np.abs(eta[:, 0] - eta[:, 1]) < 1.3)
    kept &= ((pt > 300) & (np.abs(eta) < 2.5)).all(axis=1)
    example = module(analysis, "after")
    edges = np.array(example.MASS_EDGES, dtype=float)
    counts = np.histogram(mjj[kept], edges)[0]
    found = after["data"]["mjj"]["anomalous", :].values()
    assert counts.sum() > 200
    assert np.abs(found - counts).sum() <= 2  # the tree's floats: an event may lie on an edge or a cut
    by_hand = upper_limit(
        (found, edges),
        gaussian_template(3500.0, 110.0, edges),
        fit_range=(2895, 5058),
        luminosity=example.LUMINOSITY,
    )
    assert after["limit"].observed == pytest.approx(by_hand.observed, rel=1e-6)
    assert after["limit"].expected[2] == pytest.approx(by_hand.expected[2], rel=1e-6)


def test_the_selection_finds_the_resonance(analysis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """170 of 70,000 events are signal: invisible in the spectrum, an excess (a limit above expectation) after the cut."""
    fileset = {"data": {"files": {"data.root": "Events"}}}
    _, after = run_both(analysis, fileset, monkeypatch)
    limit, edges = after["limit"], np.array(module(analysis, "after").MASS_EDGES, dtype=float)
    assert limit.observed > limit.expected[4]  # beyond +2 sigma
    assert limit.unit == "fb"
    everything = upper_limit(
        (after["data"]["mjj"]["central", :].values(), edges),
        gaussian_template(3500.0, 110.0, edges),
        fit_range=(2895, 5058),
        luminosity=59.8,
    )
    assert limit.expected[2] < 0.25 * everything.expected[2]  # what a hundredth of the background allows


def test_on_nanoaod_of_cms(
    analysis: Path, reference_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Simulated top pairs with the data: weights, missing jets, several versions of NanoAOD."""
    files = {str(reference_data / "root" / f"nano_tt_{v}.root"): "Events" for v in ("v12", "v15")}
    fileset = {"data": {"files": {"data.root": "Events"}}, "tt": {"files": files, "metadata": {"xsec": 831_800.0}}}
    before, after = run_both(analysis, fileset, monkeypatch)
    require_old_results(before, after)
    assert after["tt"]["events"] == 400
    assert 0 < after["tt"]["counts"]["two jets"] < 400
    assert after["tt"]["counts"]["anomalous"] <= after["tt"]["counts"]["central"]
    generated = chosen = 0.0
    for path in files:
        with uproot.open(path) as file:
            tree = file["Events"].arrays(["FatJet_pt", "FatJet_eta", "genWeight"])
        two = ak.sum((tree.FatJet_pt > 300) & (abs(tree.FatJet_eta) < 2.5), axis=1) >= 2
        generated += ak.sum(tree.genWeight)
        chosen += ak.sum(tree.genWeight[two])
    expected = 59.8 * 831_800.0 * chosen / generated  # events in 59.8/fb
    assert after["tt"]["msd"]["two jets", :].sum(flow=True).value == pytest.approx(expected, rel=1e-5)
    variance = before["tt"]["mjj"]["two jets", :].variances(flow=True).sum()
    assert variance != pytest.approx(before["tt"]["counts"]["two jets"])  # the weights are the generator's
