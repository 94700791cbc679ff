"""Ready searches: each is what its page says, and runs in a reduced form on small toy events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.cli import main
from resonaut.analysis.config import load_config, parse_config
from resonaut.analysis.scoring import search_windows
from resonaut.analysis.search import run_search
from resonaut.analysis.searches import available_searches, ready_search
from resonaut.files import read_json
from resonaut.processors import write_table

PAGE = Path(__file__).parents[2] / "docs" / "searches.md"
FILES = {  # a name that the globs of each search find
    "cwola_atlas": ["data.root"],
    "dimuon": ["dimuon_100k.root"],
    "interplay": ["qcd_data.features.h5", "qcd_sim.features.h5"],
    "lhco_black_box": ["events_LHCO2020_BlackBox1.h5"],
    "lhco_rd": ["events_anomalydetection_v2.h5"],
}
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and the report are most of the time of a small search, and not what is tested here."""
    for name in ("draw_all", "interpretation_stage", "write_report"):
        monkeypatch.setattr(f"resonaut.analysis.search.{name}", lambda *_, **__: None)


def masses(rng: np.random.Generator, low: float, high: float, background: int, peak: float, signal: int) -> Array:
    ends = (low**-5, high**-5)
    falling = (ends[0] + rng.random(background) * (ends[1] - ends[0])) ** -0.2
    return np.concatenate([falling, rng.normal(peak, 0.025 * peak, signal)])


def jets(rng: np.random.Generator, background: int, signal: int) -> dict[str, Array]:
    """Masses and substructure of two jets; those of the signal are 400 and 200 GeV heavy, with two prongs."""
    n = background + signal
    is_signal = np.arange(n) >= background
    heavy = np.where(is_signal, rng.normal(400.0, 15.0, n), 40.0 + rng.exponential(90.0, n))
    light = np.where(is_signal, rng.normal(200.0, 10.0, n), 35.0 + rng.exponential(60.0, n))
    pair = np.sort(np.stack([light, heavy]), axis=0)
    first = rng.random(n) < 0.5
    columns = {"m_l": pair[0], "m_h": pair[1], "dm_jj": pair[1] - pair[0], "dr_jj": rng.normal(3.2, 0.2, n)}
    columns |= {"m_j1": np.where(first, pair[0], pair[1]), "m_j2": np.where(first, pair[1], pair[0])}
    for jet in "hl":
        columns[f"tau21_{jet}"] = np.clip(rng.normal(np.where(is_signal, 0.2, 0.6), 0.1), 0.01, 1.0)
        columns[f"tau32_{jet}"] = np.clip(rng.normal(0.6, 0.1, n), 0.01, 1.0)
    columns |= {"pt_j1": rng.uniform(600.0, 2500.0, n), "pt_j2": rng.uniform(300.0, 600.0, n)}
    return columns | {"deta_jj": rng.uniform(0.0, 2.4, n), "weight": np.ones(n)}


def toy(
    path: Path, seed: int, *, low: float, high: float, background: int, peak: float = 3500.0, signal: int = 0
) -> None:
    rng = np.random.default_rng(seed)
    columns = {"mjj": masses(rng, low, high, background, peak, signal), **jets(rng, background, signal)}
    order = rng.permutation(background + signal)
    write_table(path, {name: values[order] for name, values in columns.items()})


def frame(path: Path, seed: int, *, background: int, peak: float, signal: int) -> None:
    """A feature frame of the LHC Olympics without labels: two jets back to back whose mass is that of the pair."""
    rng = np.random.default_rng(seed)
    mass, found = masses(rng, 2800.0, 5200.0, background, peak, signal), jets(rng, background, signal)
    columns: dict[str, Array] = {}
    phi = rng.uniform(-np.pi, np.pi, len(mass))
    m1, m2 = found["m_j1"], found["m_j2"]
    momentum = np.sqrt((mass**2 - (m1 + m2) ** 2) * (mass**2 - (m1 - m2) ** 2)) / (2 * mass)
    heavy = m1 > m2
    for sign, jet, m in ((1, "j1", m1), (-1, "j2", m2)):
        columns |= {f"px{jet}": sign * momentum * np.cos(phi), f"py{jet}": sign * momentum * np.sin(phi)}
        columns |= {f"pz{jet}": np.zeros(len(mass)), f"m{jet}": m, f"tau1{jet}": np.full(len(mass), 0.1)}
        mine = heavy if jet == "j1" else ~heavy
        for high, low in (("2", "1"), ("3", "2")):
            ratio = np.where(mine, found[f"tau{high}{low}_h"], found[f"tau{high}{low}_l"])
            columns[f"tau{high}{jet}"] = columns[f"tau{low}{jet}"] * ratio
    order = rng.permutation(len(mass))
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"], group.attrs["nblocks"] = np.bytes_("frame"), 1
        names = np.array([name.encode() for name in columns])
        group["axis0"], group["block0_items"], group["axis1"] = names, names, np.arange(len(mass))
        group["block0_values"] = np.stack(list(columns.values()), axis=1)[order].astype(np.float32)


def reduced(name: str, options: dict[str, dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """The content of a ready search with smaller methods, one process, two folds; `changes` are of whole sections."""
    content: dict[str, Any] = yaml.safe_load(ready_search(name).read_text())
    methods = [m | {"options": options[m["name"]]} for m in content["methods"] if m["name"] in options]
    content |= {"workers": 1, "methods": methods, "limits": None}
    content["selection"] |= {"folds": 2, "minimum_events": 20}
    content["input"] |= {"executor": {"name": "iterative"}}
    for section, change in changes.items():
        content[section] |= change
    return content


def entries(run: Path) -> dict[tuple[str, float], dict[str, Any]]:
    """Windows of a run by method and cut, of the signal region around 3.5 TeV."""
    return {
        (w["method"], w["cut"]): w for w in read_json(run / "summary.json")["windows"] if w["low"] < 3500 < w["high"]
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_dry_run_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in FILES[name]:
        (tmp_path / file).write_bytes(b"nothing yet")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", name, "--dry-run"])  # says what it would do, then looks at the files
    assert done.exit_code == 1
    assert "InputError" in done.output
    assert "signal regions" in done.output
    assert FILES[name][0] in done.output


def test_searches_are_listed_with_what_they_are() -> None:
    done = CliRunner().invoke(main, ["searches"])
    assert done.exit_code == 0, done.output
    for name in available_searches():
        assert re.search(rf"^{name}\s+\S+", done.output, flags=re.MULTILINE)
        assert f"`{name}`" in PAGE.read_text()
    shown = CliRunner().invoke(main, ["searches", "dimuon"])
    assert shown.output == ready_search("dimuon").read_text()
    wrong = CliRunner().invoke(main, ["searches", "dimuons"])
    assert wrong.exit_code == 1
    assert "did you mean 'dimuon'" in wrong.output


def test_signal_regions_are_those_of_the_papers() -> None:
    """Regions of equal relative width of 20 %, side by side; 3.3-3.7 TeV of the interplay paper with 2.7-4.5 TeV about it."""
    atlas = search_windows(load_config(ready_search("cwola_atlas")))
    assert [round(w.high / w.low, 3) for w in atlas] == [1.2] * 6
    assert [w.high for w in atlas[:-1]] == pytest.approx([w.low for w in atlas[1:]])
    assert (atlas[0].sb_low, atlas[0].low, atlas[-1].sb_high) == pytest.approx((1900.0, 2280.0, 8170.0), rel=1e-5)
    (interplay,) = search_windows(load_config(ready_search("interplay")))
    assert (interplay.low, interplay.high) == pytest.approx((3300.0, 3700.0), abs=1.0)
    assert 2700 < interplay.sb_low < 2850
    assert 4300 < interplay.sb_high < 4500
    olympics = search_windows(load_config(ready_search("lhco_rd")))
    assert [3371, 3661] in [[int(x) for x in (w.low, w.high)] for w in olympics]


def test_cwola_in_two_jet_masses(tmp_path: Path) -> None:
    toy(tmp_path / "data.parquet", 1, low=1900.0, high=8170.0, background=30_000, signal=250)
    network = {
        "cwola-nn": {"initialisations": 1, "epochs": 15, "patience": 8, "batch_size": 1024, "learning_rate": 5e-3}
    }
    content = reduced("cwola_atlas", network, scan={"only": [3500]}, input={"files": ["data.parquet"]})
    run_search(parse_config(content), tmp_path, tmp_path / "run")
    books = read_json(tmp_path / "run" / "summary.json")["events"]
    assert books["read"] == 30_250
    found = entries(tmp_path / "run")
    assert found["inclusive", 1.0]["observed"] < 0.6 * 30_250 * 0.5  # half of the jets are too far apart in eta
    assert found["cwola-nn", 0.1]["local_significance"] > 4
    assert {w["method"] for w in read_json(tmp_path / "run" / "summary.json")["windows"]} == {"inclusive", "cwola-nn"}


@pytest.mark.parametrize("name", ["lhco_rd", "lhco_black_box"])
def test_olympics(name: str, tmp_path: Path) -> None:
    peak = 3375.0  # the centre of the signal region: trees that read jet masses over mJJ prefer signal there
    frame(tmp_path / "events.h5", 2, background=15_000, peak=peak, signal=200)
    small = {"cwola-trees": {"members": 1, "max_iter": 20}, "autoencoder": {"members": 1}}
    content = reduced(name, small, scan={"only": [3500], "step": 4}, input={"files": ["events.h5"]})
    run_search(parse_config(content), tmp_path, tmp_path / "run")
    excess = read_json(tmp_path / "run" / "summary.json")["excess"]
    assert excess["method"] == "cwola-trees"
    assert excess["global_significance"] > 3
    error = (excess["peak"]["mass_high"] - excess["peak"]["mass_low"]) / 2
    assert excess["peak"]["mass"] == pytest.approx(peak, abs=3 * error)
    assert error < 60
    light = {row["feature"]: row for row in excess["properties"]}["m_l"]
    assert light["peak"] == pytest.approx(200.0, abs=15.0)


def test_interplay(tmp_path: Path) -> None:
    for seed, name in ((3, "data"), (4, "sim")):
        signal = 200 if name == "data" else 0
        toy(tmp_path / f"{name}.parquet", seed, low=2779.3, high=5367.2, background=6_000, signal=signal)
    flow = {"layers": 1, "hidden": 8, "epochs": 1, "batch_size": 1024}
    trees = {"classifier": "trees", "classifier_options": {"members": 1, "max_iter": 10}}
    flows = {"flow": flow, "transport": flow}
    templates: dict[str, dict[str, Any]] = {
        "salad": {"classifier": "trees", "classifier_options": {"members": 1, "max_iter": 10}},
        "cathode": {"flow": flow},
        "curtains": flows,
        "feta": flows,
    }
    mixed = [{"name": name, "options": templates[name]} for name in ("cathode", "curtains", "feta")]
    options = {name: {"template": template, **trees} for name, template in templates.items()}
    averaged = [{"name": m["name"], "options": options[m["name"]]} for m in mixed]
    options |= {"combination": {"template": {"members": mixed}, **trees}, "score-combination": {"members": averaged}}
    files = {"files": ["data.parquet"], "simulation": ["sim.parquet"]}
    run_search(parse_config(reduced("interplay", options, input=files)), tmp_path, tmp_path / "run")
    found = entries(tmp_path / "run")
    assert {method for method, _ in found} == {"inclusive", *options}
    assert found["salad", 0.1]["local_significance"] > 4  # its template is the right one here, weights apart
    summary = read_json(tmp_path / "run" / "summary.json")
    assert not [w for w in summary["warnings"] if "skipped" in w]
    assert {d["method"] for d in summary["direct"]} >= {"salad", "cathode", "curtains", "feta", "combination"}
