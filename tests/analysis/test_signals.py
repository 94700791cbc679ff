"""Simulated signals in a search: from event files with systematic variations to the limit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from resonaut.analysis.config import parse_config
from resonaut.analysis.describe import describe_search
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.search import run_search
from resonaut.analysis.signal_tables import read_signal_tables
from resonaut.analysis.signals import signal_samples
from resonaut.analysis.systematics import SignalSpectra, fold_shares
from resonaut.errors import ConfigError, InputError
from resonaut.files import read_json
from resonaut.models import CrossFit, Sample, load_scorer
from resonaut.models.cuts import fold_thresholds
from resonaut.processors import read_all_variations, read_table, write_table
from resonaut.processors.features.cuts import AllCuts
from resonaut.stats import (
    LimitResult,
    Signal,
    log_edges,
    pyhf_cls,
    read_workspace,
)

JES = 0.03
COLUMNS = ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
Array = np.ndarray[Any, Any]


def write_events(path: Path, mass: Array, tau21: Array, rng: np.random.Generator) -> None:
    """Two jets back to back with an invariant mass, as the feature frame of the LHC Olympics."""
    n = len(mass)
    jet = rng.uniform(80.0, 120.0, n)
    momentum = np.sqrt((mass / 2) ** 2 - jet**2)
    columns: dict[str, Array] = {}
    for number, sign in (("j1", 1.0), ("j2", -1.0)):
        # the second jet is lighter in a part of ten million, so that heavy and light are defined
        made = {"px": sign * momentum, "py": np.zeros(n), "pz": np.zeros(n), "m": jet * (1 if sign > 0 else 1 - 1e-7)}
        tau1 = rng.uniform(0.2, 0.4, n)
        made |= {"tau1": tau1, "tau2": tau1 * np.clip(tau21 + rng.normal(0, 0.05, n), 0.01, 0.99), "tau3": tau1 / 10}
        columns |= {f"{name}{number}": values for name, values in made.items()}
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["nblocks"] = 1
        for key in ("axis0", "block0_items"):
            group.create_dataset(key, data=np.array([name.encode() for name in columns]))
        group.create_dataset("axis1", data=np.arange(n))
        group.create_dataset("block0_values", data=np.stack(list(columns.values()), axis=1))


def falling(rng: np.random.Generator, n: int) -> Array:
    low, high, slope = 2800.0, 5200.0, -6.0
    u = rng.random(n)
    return np.asarray((low ** (slope + 1) + u * (high ** (slope + 1) - low ** (slope + 1))) ** (1 / (slope + 1)))


CORRECTIONS: list[dict[str, Any]] = [
    {"kind": "scale", "name": "jes", "collection": "FatJet", "uncertainty": JES},
    {"kind": "weight", "name": "tagging", "nominal": 0.9, "up": 0.99, "down": 0.81},
]


def config_of(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "toy", "seed": 5, "workers": 1, "input": {"files": ["data.h5"]}, "luminosity": 100.0,
        "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 4, "only": [3550]},
        "methods": [
            {"name": "cwola-trees", "features": ["tau21_h", "tau21_l"], "options": {"members": 1, "max_iter": 20}}
        ],
        "selection": {"cuts": [0.1, 0.01], "folds": 3}, "limits": {"cuts": [1.0, 0.1]},
        "signals": [{
            "name": "Zprime3500", "files": ["signal.h5"], "mass": 3500, "cross_section": 10.0, "generated": 8000,
            "corrections": CORRECTIONS, "uncertainties": {"luminosity": 0.017},
        }],
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("signals")
    rng = np.random.default_rng(2)
    bump = 600
    mass = np.concatenate([falling(rng, 15_000), rng.normal(3500, 100, bump)])
    tau21 = np.concatenate([rng.uniform(0.3, 0.9, 15_000), rng.uniform(0.1, 0.3, bump)])
    order = rng.permutation(len(mass))
    write_events(made / "data.h5", mass[order], tau21[order], rng)
    signal = rng.normal(3500, 100, 4000)
    np.save(made / "masses.npy", signal)
    write_events(made / "signal.h5", signal, rng.uniform(0.1, 0.3, 4000), rng)
    run_search(parse_config(config_of()), made, made / "run")
    return made


def entries(run: Path) -> dict[tuple[str, float], dict[str, Any]]:
    return {(e["method"], e["cut"]): e for e in json.loads((run / "summary.json").read_text())["signals"]}


def spectra(run: Path, method: str, cut: str) -> SignalSpectra:
    path = run / "signals" / "Zprime3500" / "templates" / method / "templates.json"
    return SignalSpectra.from_dict(read_json(path)["cuts"][cut])


def mean(counts: Array) -> float:
    edges = log_edges(2800, 5200, 30)
    return float(np.average(np.sqrt(edges[1:] * edges[:-1]), weights=counts))


def test_a_jet_energy_scale_moves_the_mass_peak_by_as_much_through_the_whole_chain(folder: Path) -> None:
    for method, cut in (("inclusive", "1"), ("cwola-trees", "0.1")):
        found = spectra(folder / "run", method, cut).spectra
        for name, expected in (("jes_up", 1 + JES), ("jes_down", 1 - JES)):
            assert mean(found[name]) / mean(found["nominal"]) == pytest.approx(expected, abs=1e-3)
            # the features do not depend on the scale, and the cut is the same: no event is gained or lost
            assert found[name].sum() == pytest.approx(found["nominal"].sum(), rel=1e-12)


def test_templates_are_the_masses_that_were_generated(folder: Path) -> None:
    mass = np.load(folder / "masses.npy")
    found = spectra(folder / "run", "inclusive", "1").spectra
    factors = {"nominal": (1.0, 0.9), "jes_up": (1 + JES, 0.9), "jes_down": (1 - JES, 0.9)}
    factors |= {"tagging_up": (1.0, 0.99), "tagging_down": (1.0, 0.81)}
    assert set(found) == set(factors)
    for name, (scale, weight) in factors.items():
        truth = weight * np.histogram(scale * mass, log_edges(2800, 5200, 30))[0] / 8000
        # a mass at the edge of a bin may fall on either side of it
        np.testing.assert_allclose(found[name], truth, atol=2.1 * weight / 8000)
        assert found[name].sum() == pytest.approx(truth.sum(), rel=1e-12)


def test_the_efficiency_is_that_of_events_put_into_the_data(folder: Path) -> None:
    """Signal events are dealt out to the folds at random and cut as the data are, a hundred times over."""
    run = folder / "run"
    table = read_table(run / "signals/Zprime3500/events/events.parquet")
    scores_folder = next((run / "scores/cwola-trees").iterdir())
    scorer = load_scorer(scores_folder / "scorer")
    assert isinstance(scorer, CrossFit)
    from safetensors.numpy import load_file

    out_of_fold = load_file(scores_folder / "scores.safetensors")
    lowest = fold_thresholds(out_of_fold["scores"], out_of_fold["fold"], 0.1)
    sample = Sample.from_table(table, ("tau21_h", "tau21_l"))
    each = np.stack([one.score(sample) >= lowest[k] for k, one in enumerate(scorer.scorers)])
    rng = np.random.default_rng(4)
    selected = [each[rng.integers(0, 3, len(sample)), np.arange(len(sample))].mean() for _ in range(100)]
    found = entries(run)["cwola-trees", 0.1]
    # 4000 of 8000 generated events are in the file, each with the weight 0.9
    assert found["efficiency"] == pytest.approx(0.9 * np.mean(selected) / 2, abs=4 * 0.45 * np.std(selected) / 10)
    assert 0.1 < found["efficiency"] < 0.45
    # binomial, but for the weight and for the shares of folds, which make it smaller
    n, part = 8000, found["efficiency"] / 0.9
    assert 0.7 < found["efficiency_error"] / (0.9 * np.sqrt(part * (1 - part) / n)) < 1.1


def test_yields_and_uncertainties_are_in_the_summary(folder: Path) -> None:
    found = entries(folder / "run")
    assert set(found) == {("inclusive", 1.0), ("cwola-trees", 0.1), ("cwola-trees", 0.01)}
    uncut = found["inclusive", 1.0]
    assert uncut["efficiency"] == pytest.approx(0.45, abs=1e-12)
    assert uncut["efficiency_error"] == pytest.approx(np.sqrt(4000 * 0.81 * 0.55) / 8000)
    assert uncut["expected_events"] == pytest.approx(10.0 * 100.0 * 0.45)
    assert uncut["observed_fb"] == pytest.approx(uncut["observed"] / (100.0 * 0.45))
    assert uncut["observed_strength"] == pytest.approx(uncut["observed_fb"] / 10.0)
    assert uncut["uncertainties"]["tagging"] == pytest.approx([-0.1, 0.1])
    assert uncut["uncertainties"]["luminosity"] == pytest.approx([-0.017, 0.017])
    assert uncut["uncertainties"]["jes"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert found["cwola-trees", 0.01]["observed"] is None
    assert "no limit was asked for" in found["cwola-trees", 0.01]["status"]
    # what is left out of the selected spectrum makes a better limit
    assert found["cwola-trees", 0.1]["expected_fb"][2] < uncut["expected_fb"][2]


def test_pyhf_finds_the_limit_in_the_workspace_that_was_written(folder: Path) -> None:
    paths = sorted((folder / "run/signals/Zprime3500/limits").glob("*/workspace.json"))
    assert len(paths) == 2
    for path in paths:
        workspace = read_workspace(path)
        text = path.read_text()
        assert all(f'"{name}"' in text for name in ("jes", "tagging", "luminosity"))
        assert '"statistics_Zprime3500_bin0' in text
        assert pyhf_cls(workspace, 1.0)[0] == pytest.approx(0.05, abs=5e-4)


def test_a_second_run_repeats_nothing(folder: Path) -> None:
    run = folder / "run"
    before = json.loads((run / "summary.json").read_text())
    stamps = {p: p.stat().st_mtime_ns for p in run.rglob("unit.json")}
    assert sum("signals" in str(p.relative_to(run)) for p in stamps) == 5  # events, templates of two, limits of two
    run_search(parse_config(config_of()), folder, run)
    assert {p: p.stat().st_mtime_ns for p in run.rglob("unit.json")} == stamps
    after = json.loads((run / "summary.json").read_text())
    assert before["signals"] == after["signals"]


@pytest.fixture(scope="module")
def others(folder: Path) -> Path:
    """A run in a copy of the first, with other signals: less certain, from a table, too heavy, too few."""
    rng = np.random.default_rng(3)
    n = 2000
    table = {"mjj": rng.normal(3500, 100, n), "tau21_h": rng.uniform(0.1, 0.3, n), "tau21_l": rng.uniform(0.1, 0.3, n)}
    table |= {"weight": np.ones(n), "pu": np.where(rng.random(n) < 0.5, 0.8, 1.2)}
    write_table(folder / "signal.parquet", table)
    write_events(folder / "few.h5", rng.normal(3500, 100, 6), rng.uniform(0.1, 0.3, 6), rng)
    first = config_of()["signals"][0]
    weights = [{"kind": "weight", "name": "pu", "nominal": "pu", "up": 1.05, "down": 0.95}]
    signals = [
        {**first, "uncertainties": {"luminosity": 0.3}},
        {"name": "table", "files": ["signal.parquet"], "mass": 3500, "corrections": weights},
        {**first, "name": "heavy", "mass": 9000},
        {**first, "name": "few", "files": ["few.h5"]},
    ]
    shutil.copytree(folder / "run", folder / "others")
    run_search(parse_config(config_of(signals=signals)), folder, folder / "others")
    return folder / "others"


def of(run: Path, name: str, method: str = "inclusive", cut: float = 1.0) -> list[dict[str, Any]]:
    found = json.loads((run / "summary.json").read_text())["signals"]
    return [each for each in found if (each["name"], each["method"], each["cut"]) == (name, method, cut)]


def test_another_uncertainty_makes_new_limits_from_the_same_templates(folder: Path, others: Path) -> None:
    for path in (folder / "run/signals/Zprime3500").glob("[et]*/**/unit.json"):
        assert (others / path.relative_to(folder / "run")).read_bytes() == path.read_bytes()
    (loose,), (tight,) = of(others, "Zprime3500"), of(folder / "run", "Zprime3500")
    assert loose["observed_fb"] > tight["observed_fb"]
    assert loose["expected_fb"][2] > tight["expected_fb"][2]


def test_signals_come_as_tables_too(folder: Path, others: Path) -> None:
    pu = np.asarray(read_table(folder / "signal.parquet").pu)
    (found,) = of(others, "table")
    assert found["efficiency"] == pytest.approx(pu.mean())
    assert found["uncertainties"]["pu"] == pytest.approx([0.95 / pu.mean() - 1, 1.05 / pu.mean() - 1])
    warnings = json.loads((others / "summary.json").read_text())["warnings"]
    assert any("table: its efficiencies are relative to the events of its table" in warning for warning in warnings)


def test_objects_of_tables_cannot_be_corrected(folder: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "signal.parquet", {"mjj": np.full(9, 3500.0)})
    scale = [{"kind": "scale", "name": "jes", "collection": "FatJet", "uncertainty": 0.1}]
    signal = {"name": "T", "files": [str(tmp_path / "signal.parquet")], "mass": 3500, "corrections": scale}
    with pytest.raises(InputError, match="objects of event tables cannot be corrected"):
        run_search(parse_config(config_of(signals=[signal])), folder, tmp_path / "run")


def test_a_mass_outside_of_all_windows_is_reported(others: Path) -> None:
    assert of(others, "heavy") == []
    warnings = json.loads((others / "summary.json").read_text())["warnings"]
    assert any("heavy: 9000 GeV lies in no window" in warning for warning in warnings)


def test_too_few_simulated_events_make_no_limit(others: Path) -> None:
    (found,) = of(others, "few")
    assert "too few for a template" in found["status"]
    assert found["observed"] is None


def test_the_report_and_the_figures_show_the_signal(folder: Path) -> None:
    run = folder / "run"
    html = (run / "report.html").read_text()
    assert "Simulated signals" in html
    assert "Zprime3500" in html
    numbers = [read_json(path) for path in sorted((run / "plots").glob("limits_*.json"))]
    limits = [each["signals"]["Zprime3500"]["observed"] for each in numbers]
    found = entries(run)
    visible = [found[key]["observed"] / 100.0 for key in (("inclusive", 1.0), ("cwola-trees", 0.1))]
    assert sorted(limits) == pytest.approx(sorted(visible))


def test_the_table_of_the_signal_keeps_to_the_nominal_events(folder: Path) -> None:
    path = folder / "run/signals/Zprime3500/events/events.parquet"
    whole, nominal = read_all_variations(path), read_table(path)
    assert not any("__" in name for name in nominal.fields)
    assert "mjj__jes_up" in whole.fields
    assert "tau21_h__jes_up" not in whole.fields


def test_the_dry_run_names_the_signals_and_their_mistakes(folder: Path) -> None:
    text = describe_search(parse_config(config_of()), folder)
    assert "signal    Zprime3500, 1 files, 3500 GeV, in 3" in text
    assert "uncertainties: jes, tagging, luminosity" in text
    bad = [{"kind": "weight", "name": "pileup", "file": "absent.json", "correction": "pu", "inputs": {}}]
    with pytest.raises(InputError, match=r"absent\.json"):
        describe_search(parse_config(config_of(signals=[{**config_of()["signals"][0], "corrections": bad}])), folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uncertainties": {"luminosity": 1.017}}, "expected a relative one"),
        ({"uncertainties": {"background_0": 0.1}}, "has a meaning already"),
        ({"uncertainties": {"jes": 0.1}}, "is a correction and an uncertainty"),
        ({"mas": 3500}, "mass"),
        ({"generated": -1}, "greater than 0"),
        ({"corrections": [{"kind": "normalisation", "name": "n"}]}, "cross_section and luminosity"),
    ],
)
def test_mistakes_in_a_signal_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(config_of(signals=[{**config_of()["signals"][0], **changes}]))


def test_the_config_of_a_run_runs_again_from_anywhere(folder: Path, tmp_path: Path) -> None:
    from resonaut.analysis.config import load_config

    again = load_config(folder / "run" / "config.yaml")
    assert "Zprime3500, 1 files" in describe_search(again, tmp_path)


def test_lists_and_filesets_of_files_are_followed(folder: Path, tmp_path: Path) -> None:
    """Two datasets with weights, as for two masses of generated samples: they add up to one signal."""
    (tmp_path / "list.txt").write_text(f"{folder / 'signal.h5'}\n")
    rng = np.random.default_rng(8)
    write_events(tmp_path / "more.h5", rng.normal(3500, 100, 1000), rng.uniform(0.1, 0.3, 1000), rng)
    fileset = {
        "one": {"files": [str(folder / "signal.h5")]},
        "two": {"files": [str(tmp_path / "more.h5")], "metadata": {"weight": 3.0}},
    }
    (tmp_path / "signal.json").write_text(json.dumps(fileset))
    first = {**config_of()["signals"][0], "generated": None}
    signals = [{**first, "name": "list", "files": [str(tmp_path / "list.txt")]}]
    signals += [{**first, "name": "set", "files": [str(tmp_path / "signal.json")]}]
    listed, both = signal_samples(parse_config(config_of(signals=signals)), folder, RunDirectory(tmp_path / "run"))
    assert (listed.generated, both.generated) == (4000, 7000)
    assert set(np.round(np.asarray(read_table(both.table).weight), 6)) == {0.9, 2.7}


def test_a_signal_of_flat_ntuples_is_read_by_the_map_of_the_data(tmp_path: Path) -> None:
    jets = [{name: f"{name}_{j}" for name in ("px", "py", "pz", "mass")} for j in (1, 2)]
    rng = np.random.default_rng(1)
    mass = {"data": falling(rng, 300), "signal": rng.normal(3500, 100, 200)}
    for name, m in mass.items():
        columns: dict[str, Array] = {}
        for j, sign in ((1, 1.0), (2, -1.0)):
            columns |= {f"px_{j}": sign * np.sqrt((m / 2) ** 2 - 100**2), f"py_{j}": 0 * m, f"pz_{j}": 0 * m}
            columns |= {f"mass_{j}": np.full(len(m), 100.0) if j == 1 else np.full(len(m), 99.0)}
        write_table(tmp_path / f"{name}.parquet", columns)
    given = {"files": ["data.parquet"], "columns": {"columns": {"FatJet": jets}}}
    content = config_of(input=given, signals=[{"name": "Z", "files": ["signal.parquet"], "mass": 3500}])
    (sample,) = signal_samples(parse_config(content), tmp_path, RunDirectory(tmp_path / "run"))
    assert np.sort(np.asarray(read_table(sample.table).mjj)) == pytest.approx(np.sort(mass["signal"]), rel=1e-3)
    # another map of the same files is another signal
    swapped = {"FatJet": [{**jets[0], "mass": "mass_2"}, {**jets[1], "mass": "mass_1"}]}
    other = config_of(input={**given, "columns": {"columns": swapped}}, signals=content["signals"])
    assert signal_samples(parse_config(other), tmp_path, RunDirectory(tmp_path / "run"))[0].key != sample.key


@pytest.mark.parametrize("corrections", [[], CORRECTIONS[1:]])
def test_an_efficiency_is_of_all_events_also_of_those_that_are_cut_or_skipped(
    corrections: list[dict[str, Any]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(6)
    write_events(tmp_path / "data.h5", falling(rng, 500), rng.uniform(0.3, 0.9, 500), rng)
    mass = rng.normal(3500, 100, 1000)
    write_events(tmp_path / "signal.h5", mass, rng.uniform(0.1, 0.3, 1000), rng)
    with h5py.File(tmp_path / "signal.h5", "r+") as file:
        rows = file["df/block0_values"]
        column = [name.decode() for name in file["df/block0_items"][:]].index("mj1")
        rows[:40, column] = np.nan  # forty events that cannot be judged
    cuts = {"mjj": {"min": 3500}}
    signal = {"name": "Z", "files": ["signal.h5"], "mass": 3500, "corrections": corrections}
    config = parse_config(config_of(input={"files": ["data.h5"], "cuts": cuts}, signals=[signal]))
    (sample,) = signal_samples(config, tmp_path, RunDirectory(tmp_path / "run"))
    assert sample.generated == 1000
    assert len(read_table(sample.table)) == np.count_nonzero(mass[40:] >= 3500)
    assert any("40 with" in warning for warning in sample.warnings)


def test_events_that_count_twice_or_are_called_data_are_refused(folder: Path, tmp_path: Path) -> None:
    def samples(**changes: Any) -> Any:
        content = config_of(signals=[{**config_of()["signals"][0], **changes}])
        return signal_samples(parse_config(content), folder, RunDirectory(tmp_path / "run"))

    write_table(tmp_path / "one.parquet", {"mjj": np.full(9, 3500.0)})
    for name in ("signal.h5", str(tmp_path / "one.parquet")):
        copy = tmp_path / f"copy{Path(name).suffix}"
        shutil.copy(folder / name, copy)
        with pytest.raises(InputError, match=r"would count twice|same (bytes|content)"):
            samples(files=[name, str(copy)], corrections=[])
    fileset = {"one": {"files": [str(folder / "signal.h5")], "metadata": {"data": True}}}
    (tmp_path / "fileset.json").write_text(json.dumps(fileset))
    with pytest.raises(InputError, match="in a dataset of data"):
        samples(files=[str(tmp_path / "fileset.json")])


def test_tables_keep_what_is_not_known(tmp_path: Path) -> None:
    """An unknown weight counts nothing; an unknown feature stays unknown, whatever its name begins with."""
    table = {"mjj": np.full(4, 3500.0), "weighted_tau": np.array([0.1, np.nan, 0.3, 0.4])}
    table |= {"weight": np.array([0.1, 0.2, 0.3, 0.4]), "w_up": np.array([1.1, 1.1, np.nan, 1.1])}
    write_table(tmp_path / "signal.parquet", table)
    weights = [{"kind": "weight", "name": "w", "nominal": 1.0, "up": "w_up", "down": 0.9}]
    corrections = parse_config(config_of()).signals[0].model_copy(update={"corrections": tuple(weights)})
    columns, books = read_signal_tables(
        [tmp_path / "signal.parquet"], AllCuts(), corrections.make_corrections(tmp_path), variable="mjj"
    )
    assert np.isnan(columns["weighted_tau"]).tolist() == [False, True, False, False]
    assert columns["weight__w_up"] == pytest.approx([0.11, 0.22, 0.0, 0.44])
    assert books["sum_of_weights"]["nominal"] == pytest.approx(1.0)


def test_all_events_of_a_table_may_be_selected(folder: Path, tmp_path: Path) -> None:
    """An efficiency of one, to the last digits of a sum of weights."""
    rng = np.random.default_rng(5)
    table = {"mjj": rng.uniform(3400, 3600, 3000), "weight": rng.uniform(0.0, 1.0, 3000)}
    write_table(tmp_path / "signal.parquet", table | {name: rng.random(3000) for name in ("tau21_h", "tau21_l")})
    config = parse_config(
        config_of(signals=[{"name": "all", "files": [str(tmp_path / "signal.parquet")], "mass": 3500}])
    )
    shutil.copytree(folder / "run", tmp_path / "run")
    run_search(config, folder, tmp_path / "run")
    (found,) = of(tmp_path / "run", "all")
    assert found["efficiency"] == pytest.approx(1.0)
    assert found["observed_fb"] == pytest.approx(found["observed"] / 100.0)


def test_the_data_cannot_be_the_signal(folder: Path, tmp_path: Path) -> None:
    signal = {**config_of()["signals"][0], "files": ["data.h5"]}
    with pytest.raises(InputError, match="which the search reads as data"):
        run_search(parse_config(config_of(signals=[signal])), folder, tmp_path / "run")


def test_shares_of_folds_by_hand() -> None:
    class One:
        def __init__(self, sign: float) -> None:
            self.sign = sign

        def score(self, sample: Sample) -> Array:
            return np.asarray(self.sign * sample.features[:, 0])

    scorer = CrossFit(folds=2)
    scorer.scorers = [One(1.0), One(-1.0)]  # type: ignore[list-item] # all that is asked of a scorer here
    sample = Sample(np.array([[1.0], [-1.0], [0.0]]), ("x",), np.full(3, 3500.0))
    found = fold_shares(scorer, sample, {0.1: {0: 0.5, 1: 0.5}, 0.5: {0: 0.0, 1: 0.5}})
    assert found[0.1].tolist() == [0.5, 0.5, 0.0]
    assert found[0.5].tolist() == [0.5, 0.5, 0.5]


def test_limits_hold_what_they_were_made_of(folder: Path) -> None:
    path = folder / "run/signals/Zprime3500/limits"
    for unit in path.iterdir():
        signal = Signal.from_dict(read_json(unit / "signal.json"))
        limit = LimitResult.from_dict(read_json(unit / "limit.json"))
        assert {name for name in signal.names if "bin" not in name} == {"jes", "luminosity", "tagging"}
        assert limit.unit == "events"
