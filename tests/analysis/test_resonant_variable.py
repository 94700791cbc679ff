"""The resonant variable is a choice of the config: tables, spectra, windows, figures and reports follow it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from click.testing import CliRunner

from resonaut.analysis.auto import hunt_config
from resonaut.analysis.cli import main
from resonaut.analysis.config import load_config, parse_config
from resonaut.analysis.describe import describe_search
from resonaut.analysis.search import run_search
from resonaut.analysis.searches import available_searches, ready_search
from resonaut.errors import ConfigError, InputError
from resonaut.processors import read_table, write_table

FAST = {"members": 1, "max_iter": 10}
SCAN = {"low": 5.0, "high": 16.0, "bins": 24, "sr_bins": 4, "sb_bins": 4, "step": 4}


def write_dimuons(path: Path, *, events: int = 12_000, bump: int = 220, seed: int = 2) -> Path:
    """A tree of muon pairs: falling masses and a narrow resonance at 9.5 GeV whose pairs have larger pT."""
    rng = np.random.default_rng(seed)
    mass = np.concatenate([4.0 + rng.exponential(4.0, events), rng.normal(9.5, 0.1, bump)])
    pt = np.concatenate([rng.exponential(8.0, events), 25 + rng.exponential(8.0, bump)])
    n = len(mass)
    # Two massless muons in the pair's frame, boosted along x: mass and pT are what was drawn.
    cosine, phi = rng.uniform(-0.9, 0.9, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    unit = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine])
    columns: dict[str, Any] = {}
    gamma, beta = np.sqrt(1 + (pt / mass) ** 2), pt / np.hypot(pt, mass)
    parts = []
    for sign in (1, -1):
        energy, px = mass / 2 * np.ones(n), sign * mass / 2 * unit[0]
        boosted = gamma * (px + beta * energy)
        py, pz = (sign * mass / 2 * unit[k] for k in (1, 2))
        flat = np.hypot(boosted, py)
        parts.append((flat, np.arcsinh(pz / flat), np.arctan2(py, boosted)))
    for k, name in enumerate(("pt", "eta", "phi")):
        columns[f"Muon_{name}"] = np.stack([p[k] for p in parts], axis=1)
    columns["Muon_mass"] = np.zeros((n, 2))
    columns["Muon_charge"] = np.tile(np.array([1, -1], dtype=np.int32), (n, 1))
    columns |= {"run": np.ones(n, np.int64), "luminosityBlock": np.arange(n) // 100, "event": np.arange(n)}
    order = rng.permutation(n)
    flat = {k: v[order] for k, v in columns.items() if "_" not in k}
    muons = ak.zip(
        {k.removeprefix("Muon_"): ak.from_regular(ak.Array(v[order])) for k, v in columns.items() if "_" in k}
    )
    with uproot.recreate(path) as file:
        file.mktree("Events", {"Muon": muons.type.content, **{k: v.dtype for k, v in flat.items()}})
        file["Events"].extend({"Muon": muons, **flat})
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dimuons(tmp_path_factory.mktemp("dimuons") / "dimuons.root")


def config(files: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "name": "toy dimuons", "workers": 1, "input": {"files": files, "resonance": "dimuon"}, "scan": SCAN,
        "methods": [{"name": "cwola-trees", "features": ["pt_mumu", "cos_theta_cs"], "options": FAST}],
        "selection": {"cuts": [0.1], "folds": 3}, "fit": {"function": "dijet4"}, "limits": {"cuts": [1.0]}, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def finished(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_search(parse_config(config([tree.name])), tree.parent, out)
    return out


def test_a_search_in_dimuons_finds_its_resonance(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["variable"] == "m_mumu"
    best = summary["best"]
    assert best["low"] < 9.5 < best["high"]
    assert best["local_significance"] > 5
    inclusive = next(w for w in summary["windows"] if w["cut"] == 1 and w["low"] == best["low"])
    assert best["observed"] / best["expected"] > 2 * inclusive["observed"] / inclusive["expected"]
    table = read_table(finished / "events" / "events.parquet")
    assert {"m_mumu", "run", "luminosityBlock", "event"} <= set(table.fields)
    assert "mjj" not in table.fields


def test_windows_figures_and_report_speak_of_gev_with_decimals(finished: Path) -> None:
    folders = sorted(path.name for path in (finished / "scores" / "cwola-trees").iterdir())
    assert len(set(folders)) == len(folders) == 4
    assert all("." in name for name in folders)
    report = (finished / "report.html").read_text()
    assert "a resonance in m<sub>μμ</sub> between 5 and 16 GeV" in report
    best = json.loads((finished / "summary.json").read_text())["best"]
    assert f"{best['low']:.1f}-{best['high']:.1f} GeV" in report
    assert report.count('alt="spectrum_') == 4
    assert "m<sub>JJ</sub>" not in report


def test_axes_carry_the_variable(finished: Path, monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    from resonaut.analysis import outputs

    labels = []
    save = outputs.save_figure

    def note(drawn: Any, path: Path) -> None:
        labels.append(drawn[0].axes[-1].get_xlabel())
        save(drawn, path)

    monkeypatch.setattr(outputs, "save_figure", note)
    run_search(parse_config(config([tree.name])), tree.parent, finished)
    assert len(labels) >= 6
    assert set(labels) == {r"$m_{\mu\mu}$ [GeV]"}


def test_a_column_of_ones_own_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = {"bump": 5.0 * np.exp(rng.exponential(0.4, 4000)), "a": rng.normal(size=4000), "b": rng.normal(size=4000)}
    write_table(tmp_path / "own.parquet", table)
    content = config(["own.parquet"], input={"files": ["own.parquet"]})
    content["methods"] = [{"name": "cwola-trees", "features": ["a", "b"], "options": FAST}]
    with pytest.raises(InputError, match=r"needs a column mjj .* it has bump, a, b. Name the column .* scan.variable"):
        run_search(parse_config(content), tmp_path, tmp_path / "one")
    content["scan"] = {**SCAN, "variable": "bump", "only": [9.5]}
    content["limits"] = None
    run_search(parse_config(content), tmp_path, tmp_path / "two")
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["variable"] == "bump"
    content["methods"][0]["features"] = ["a", "bump"]
    with pytest.raises(ConfigError, match="bump cannot be a feature of cwola-trees: it is the mass"):
        parse_config(content)


def test_cuts_apply_to_any_column_of_events_and_tables(tree: Path, tmp_path: Path) -> None:
    rows = {}
    for name, files in (("events", [str(tree)]), ("tables", [str(tmp_path / "events.parquet")])):
        given = {"files": files, "resonance": "dimuon", "cuts": {"m_mumu": [6, 12], "pt_mumu": {"min": 5}}}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(given))
        cuts = [] if name == "events" else ["--config", str(tmp_path / "tables.yaml")]
        if name == "events":
            done = CliRunner().invoke(
                main,
                ["features", *files, "--resonance", "dimuon", "--out", files[0].replace("dimuons.root", "all.parquet")],
            )
            assert done.exit_code == 0, done.output
            (tmp_path / "events.parquet").write_bytes(
                Path(files[0].replace("dimuons.root", "all.parquet")).read_bytes()
            )
            cuts = ["--config", str(tmp_path / "events.yaml")]
        done = CliRunner().invoke(main, ["features", *files, *cuts, "--out", str(tmp_path / f"{name}-cut.parquet")])
        assert done.exit_code == 0, done.output
        rows[name] = read_table(tmp_path / f"{name}-cut.parquet")
    mass, pt = (np.asarray(rows["events"][x]) for x in ("m_mumu", "pt_mumu"))
    assert 0 < len(mass) < 12_000
    assert mass.min() >= 6
    assert mass.max() < 12
    assert pt.min() >= 5
    np.testing.assert_array_equal(np.sort(mass), np.sort(np.asarray(rows["tables"]["m_mumu"])))


def test_the_features_command_says_what_is_wrong(tree: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "t.parquet")]
    for arguments, expected in (
        (["--resonance", "dimuons"], "did you mean 'dimuon'"),
        (["--resonance", "dimuon", "--event-features", "h"], "unknown event feature 'h'"),
        (["--resonance", "dimuon", "--event-features", "ht"], "the events have no Jet"),
        (["--resonance", "dimuon", "--radius", "0.8"], "leave them out"),
    ):
        done = CliRunner().invoke(main, ["features", str(tree), *arguments, *out])
        assert done.exit_code != 0
        assert expected in str(done.exception) + done.output, arguments
    (tmp_path / "f.yaml").write_text("resonanse: dimuon\n")
    done = CliRunner().invoke(main, ["features", str(tree), "--config", str(tmp_path / "f.yaml"), *out])
    assert "did you mean 'resonance'" in str(done.exception) + done.output


def test_hunt_in_a_column_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    mass = 2500.0 * (1 - rng.random(40_000)) ** (-1 / 6)
    write_table(tmp_path / "own.parquet", {"m_jl": mass, "a": rng.normal(size=40_000), "b": rng.normal(size=40_000)})
    own = str(tmp_path / "own.parquet")
    with pytest.raises(InputError, match="needs a column mjj"):
        hunt_config((str(tmp_path / "own.parquet"),), tmp_path / "a", name="a", seed=1, workers=1)
    made = hunt_config((str(tmp_path / "own.parquet"),), tmp_path / "b", name="b", seed=1, workers=1, variable="m_jl")
    assert made.variable == "m_jl"
    assert made.methods[0].features == "auto"
    named = hunt_config((own,), tmp_path / "b", name="b", seed=1, workers=1, variable="m_jl", features=("a", "b"))
    assert named.methods[0].features == ("a", "b")
    for wrong, expected in (
        ({"resonance": "dimuons"}, "did you mean 'dimuon'"),
        ({"variable": "m_jl", "features": ("a", "m_jl")}, "m_jl cannot be a feature"),
    ):
        with pytest.raises(ConfigError, match=expected):
            hunt_config((own,), tmp_path / "c", name="c", seed=1, workers=1, **wrong)
    assert 2500 < made.scan.low < made.scan.high


def test_ready_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "dimuon" in available_searches()
    for name in available_searches():
        load_config(ready_search(name))
    search = load_config(ready_search("dimuon"))
    assert search.variable == "m_mumu"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dimuon_100k.root").write_bytes(b"root")
    assert "9 signal regions" in describe_search(search, tmp_path)
    done = CliRunner().invoke(main, ["run", "dimuon", "--dry-run"])
    assert "9 signal regions" in done.output
    assert "dimuon_100k.root: cannot be read" in done.output  # the first events are looked at
    with pytest.raises(InputError, match="did you mean 'dimuon'"):
        ready_search("dimuons")
