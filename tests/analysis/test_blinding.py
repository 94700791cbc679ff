"""A blinded run: nothing that was observed in a signal region is in any file of results, and who opened it is on record."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from resonaut.analysis.blinding import blind_state, config_hash
from resonaut.analysis.cli import main
from resonaut.analysis.commands.told import tell_search
from resonaut.analysis.config import parse_config
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.search import run_search
from resonaut.analysis.validation import current_validation, run_validation
from resonaut.analysis.validation.stage import _files_hash
from resonaut.errors import ConfigError
from resonaut.files import finite_or_none, read_json, write_json
from resonaut.processors import read_table, write_table
from resonaut.stats import Signal, gaussian_template, log_edges, upper_limit

LOW, HIGH, EVENTS, BUMP = 2800.0, 5200.0, 12_000, 400
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CHECKS = {"pseudo_experiments": 0, "windows": 1, "seeds": 0, "folds": [], "leave_out": False}


def config_of(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "toy", "seed": 5, "workers": 1, "input": {"files": ["events.parquet"]},
        "scan": {"low": LOW, "high": HIGH, "bins": 30, "step": 10, "only": [3100, 3800]},
        "methods": [{"name": "cwola-trees", "features": ["a", "b"], "options": {"members": 1, "max_iter": 10}}],
        "selection": {"cuts": [0.1], "folds": 2}, "limits": {"cuts": [1.0]}, "blind": True,
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Background, and a resonance that a search cannot miss, in a run that is blind."""
    made = tmp_path_factory.mktemp("blind")
    rng = np.random.default_rng(4)
    u, ends = rng.random(EVENTS), (LOW**-5, HIGH**-5)
    mass = np.concatenate([(ends[0] + u * (ends[1] - ends[0])) ** -0.2, rng.normal(3100, 40, BUMP)])
    a = np.concatenate([rng.normal(0, 1, EVENTS), rng.normal(3, 0.4, BUMP)])
    table = {"mjj": mass, "a": a, "b": rng.normal(size=len(mass)), "weight": np.ones(len(mass))}
    write_table(made / "events.parquet", table)
    run_search(parse_config(config_of()), made, made / "run")
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / "run", tmp_path / "run")
    return tmp_path / "run"


def numbers_of_figures(drawn: Any, stem: Path) -> None:
    """Figures take longer than the rest: those of one run are drawn, of the others their numbers are written."""
    figure, content = drawn
    plt.close(figure)
    write_json(stem.with_name(f"{stem.name}.json"), finite_or_none(content))
    stem.with_name(f"{stem.name}.png").write_bytes(PIXEL)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("outputs", "validation.stage"):
        monkeypatch.setattr(f"resonaut.analysis.{stage}.save_figure", numbers_of_figures)
    monkeypatch.setattr("resonaut.analysis.search.interpretation_stage", lambda *_: None)
    monkeypatch.setattr("resonaut.analysis.report.write_plots_pdf", lambda _: None)


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, Any]:
    """The same search in the open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resonaut.analysis.outputs.save_figure", numbers_of_figures)
        patch.setattr("resonaut.analysis.search.interpretation_stage", lambda *_: None)
        patch.setattr("resonaut.analysis.report.write_plots_pdf", lambda _: None)
        run_search(parse_config(config_of(blind=False)), folder, folder / "open")
    content: dict[str, Any] = read_json(folder / "open/summary.json")
    return content


def numbers(content: Any) -> set[float]:
    """All numbers of a JSON file that no other means gives: those with decimals, and counts of three digits and more."""
    if isinstance(content, dict):
        return set().union(*map(numbers, content.values())) if content else set()
    if isinstance(content, list):
        return set().union(*map(numbers, content)) if content else set()
    return {float(content)} if isinstance(content, (int, float)) and not isinstance(content, bool) else set()


def test_the_summary_shows_predictions_alone(folder: Path, truth: dict[str, Any]) -> None:
    summary = read_json(folder / "run/summary.json")
    assert summary["blind"] is True
    assert summary["best"] is summary["best_trials_corrected_p"] is summary["unblinding"] is None
    assert len(summary["windows"]) == len(truth["windows"]) > 0
    for hidden, shown in zip(summary["windows"], truth["windows"], strict=True):
        assert hidden["observed"] is hidden["local_p"] is hidden["local_significance"] is None
        assert hidden["fit_status"] == "blinded"
        assert hidden["expected"] == pytest.approx(shown["expected"])
    assert all(limit["observed"] is None for limit in summary["limits"])
    assert all(None not in limit["expected"] for limit in summary["limits"])
    assert truth["best"]["local_significance"] > 5  # what there was to hide


def test_the_expected_limits_do_not_know_the_data_of_the_signal_region(folder: Path) -> None:
    """They are those of the background alone, whose events we know; with the bump in the fit they are others."""
    limits = read_json(folder / "run/summary.json")["limits"]
    limit = min(limits, key=lambda each: abs(each["mass"] - 3100))
    mass = np.asarray(read_table(folder / "events.parquet")["mjj"])
    edges = log_edges(LOW, HIGH, 30)
    expected = []
    for end in (EVENTS, EVENTS + BUMP):
        counts = np.histogram(mass[:end], edges)[0]
        template = gaussian_template(limit["mass"], 0.035 * limit["mass"], edges)
        expected.append(upper_limit((counts, edges), Signal(template), mass=limit["mass"]).expected[2])
    assert limit["expected"][2] == pytest.approx(expected[0], rel=0.04)
    assert abs(limit["expected"][2] - expected[0]) < abs(limit["expected"][2] - expected[1])


def test_no_file_of_results_holds_what_was_observed(folder: Path, truth: dict[str, Any]) -> None:
    """Counts of signal regions, p-values and limits of the open run, in no JSON, CSV or page of the blind one."""
    secret = {entry[key] for entry in truth["windows"] for key in ("observed", "local_p", "local_significance")}
    secret |= {limit["observed"] for limit in truth["limits"]}
    fits = read_json(folder / "open/results/fits.json")
    run = folder / "run"
    for path in [
        *run.glob("results/*.json"),
        *run.glob("plots/*.json"),
        *run.glob("limits/**/*.json"),
        run / "summary.json",
    ]:
        found = numbers(read_json(path))
        assert not {value for value in secret if value > 50 or value % 1}.intersection(found), path
    for each in read_json(run / "results/fits.json"):
        fit = each["excess"]["fit"]
        covered = [b for b in range(30) if any(e["excess"]["fit"]["blinded"][b] for e in fits)]
        assert all(fit["counts"][b] is None for b in covered)
    assert len(covered) == 8  # two signal regions of four bins
    assert not list(run.glob("results/*.root"))
    assert not (run / "results/hepdata").exists()
    assert not list(run.glob("plots/pvalue_scan*"))
    page = (run / "report.html").read_text()
    assert "blinded" in page
    for entry in truth["windows"]:
        assert f"{entry['local_significance']:+.2f}" not in page


@pytest.mark.usefixtures("no_figures")
def test_unblinding_is_recorded_and_gives_what_an_open_run_gives(
    run: Path, truth: dict[str, Any], folder: Path
) -> None:
    shutil.copy(folder / "events.parquet", run.parent)
    given = ["unblind", str(run), "--reason", "a test", "--force", "--workers", "1"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    (record,) = read_json(run / "unblinding.json")["unblindings"]
    assert record["reason"] == "a test"
    assert record["forced"] is True
    assert record["validation"] is None
    assert record["who"].count("@") == 1
    assert record["when"].startswith("20")
    summary = read_json(run / "summary.json")
    assert summary["blind"] is False
    assert summary["unblinding"] == record
    assert "largest excess:" in result.output
    assert "'a test'; there was no validation then, and it was forced" in " ".join(summary["warnings"])
    assert "unblinded by" in (run / "report.html").read_text()
    assert summary["windows"] == truth["windows"]
    assert summary["limits"] == truth["limits"]
    # the same config again stays open; another one is blind again, and the reader is told
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["fit"]["function"] = "dijet3"
    run_search(parse_config(content), run, run)
    changed = read_json(run / "summary.json")
    assert changed["blind"] is True
    assert changed["best"] is None
    assert any("unblinded once with another config" in warning for warning in changed["warnings"])


@pytest.mark.usefixtures("no_figures")
def test_a_validation_that_is_red_asks_for_force(run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**content, "validation": CHECKS}))
    path = run_validation(parse_config({**content, "validation": CHECKS}), run, run)
    write_json(path, {**read_json(path), "verdict": "red", "diagnosis": "a fault", "counts": {"red": 1}})
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", "a test"])
    assert result.exit_code == 1
    assert "the validation of this search is red: a fault" in result.output
    assert "--force" in result.output
    assert not (run / "unblinding.json").exists()
    assert read_json(run / "summary.json")["blind"] is True
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", "a test", "--force"])
    assert result.exit_code == 0, result.output
    (record,) = read_json(run / "unblinding.json")["unblindings"]
    assert record["validation"] == {"verdict": "red", "diagnosis": "a fault", "counts": {"red": 1}}
    assert record["forced"] is True


def test_a_blind_run_says_so_on_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell_search(run / "report.html")
    shown = capsys.readouterr().out
    assert f"resonaut unblind {run}" in shown
    assert "largest excess" not in shown


@pytest.mark.usefixtures("no_figures")
def test_a_missing_validation_is_made_first(run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**content, "validation": CHECKS}))
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", "a test"])
    verdict = read_json(run / "validation/validation.json")["verdict"]
    assert (result.exit_code == 0) == (verdict != "red"), result.output
    assert (run / "unblinding.json").exists() == (verdict != "red")


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_unblinding_needs_a_reason(run: Path, reason: str) -> None:
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", reason, "--force"])
    assert result.exit_code == 1
    assert "needs a reason" in result.output


def test_a_run_that_is_open_cannot_be_unblinded(folder: Path, truth: dict[str, Any]) -> None:
    from resonaut.analysis.search import unblind_search

    config = parse_config(yaml.safe_load((folder / "open/config.yaml").read_text()))
    with pytest.raises(ConfigError, match="not a blinded run"):
        unblind_search(config, folder / "open", reason="a test")


def test_a_damaged_record_is_told(run: Path) -> None:
    (run / "unblinding.json").write_text(json.dumps({"schema": "other"}))
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", "a test", "--force"])
    assert result.exit_code == 1
    assert "is not a record of unblindings" in result.output


@pytest.mark.usefixtures("no_figures")
def test_a_run_validates_itself_before_it_looks(folder: Path, tmp_path: Path) -> None:
    """And keeps the verdict in its summary; a second run takes it as it is."""
    config = parse_config(config_of(validation=CHECKS, limits=None))
    run_search(config, folder, tmp_path / "run")
    path = tmp_path / "run/validation/validation.json"
    content, written = read_json(path), path.stat().st_mtime_ns
    summary = read_json(tmp_path / "run/summary.json")
    assert summary["validation"]["verdict"] == content["verdict"]
    assert summary["validation"]["config_hash"] == content["config_hash"]
    assert content["diagnosis"].split("'")[0] in (tmp_path / "run/report.html").read_text().replace("&#39;", "'")
    run_search(config, folder, tmp_path / "run")
    assert path.stat().st_mtime_ns == written


def test_a_blind_run_directory_is_not_opened_by_a_config_that_is_not_blind(folder: Path, tmp_path: Path) -> None:
    config = parse_config(config_of())
    assert blind_state(config, folder, tmp_path, "events").hidden
    for other in (config_of(blind=False), config_of(blind=False, seed=6)):
        with pytest.raises(ConfigError, match=r"holds a blinded search.*resonaut unblind"):
            blind_state(parse_config(other), folder, tmp_path, "events")
    assert blind_state(config, folder, tmp_path, "events").hidden


def test_an_unblinding_and_a_validation_end_with_the_content_of_their_files(tmp_path: Path) -> None:
    """Events of another content in a file of the same name: of the simulation they are another search, of the rest another validation."""
    names = ("events", "simulation", "background", "signal")
    for name in names:
        write_table(tmp_path / f"{name}.parquet", {"mjj": np.arange(3.0), "weight": np.ones(3)})
    given: dict[str, Any] = {
        "input": {"files": ["events.parquet"], "simulation": ["simulation.parquet"]},
        "validation": {**CHECKS, "background": ["background.parquet"]},
        "signals": [{"name": "signal", "files": ["signal.parquet"], "mass": 3100.0, "generated": 3.0}],
    }
    config, run = parse_config(config_of(**given)), RunDirectory(tmp_path / "run")
    (run.path / "validation").mkdir()
    for name in names[1:]:
        own, files = config_hash(config, tmp_path, "events"), _files_hash(config, tmp_path)
        content = {"config_hash": own, "files_hash": files, "verdict": "green"}
        write_json(run.path / "validation/validation.json", content)
        assert current_validation(config, tmp_path, run, "events") == content
        write_table(tmp_path / f"{name}.parquet", {"mjj": np.arange(4.0), "weight": np.ones(4)})
        assert current_validation(config, tmp_path, run, "events") is None
        assert (config_hash(config, tmp_path, "events") == own) == (name != "simulation")


@pytest.mark.usefixtures("no_figures")
def test_a_quick_validation_does_not_open_a_run(run: Path) -> None:
    """One with other settings than the config's is made anew; forced, it is recorded as such."""
    content = {**yaml.safe_load((run / "config.yaml").read_text()), "validation": CHECKS}
    (run / "config.yaml").write_text(yaml.safe_dump({**content, "validation": {**CHECKS, "windows": 2}}))
    path = run_validation(parse_config(content), run, run)
    write_json(path, {**read_json(path), "verdict": "green", "diagnosis": "no check found a fault"})
    shutil.copytree(run, run.parent / "other")
    result = CliRunner().invoke(main, ["unblind", str(run), "--reason", "a test"])
    made = read_json(path)
    assert made["config"]["windows"] == 2
    assert (result.exit_code == 0) == (made["verdict"] != "red"), result.output
    result = CliRunner().invoke(main, ["unblind", str(run.parent / "other"), "--reason", "a test", "--force"])
    assert result.exit_code == 0, result.output
    assert read_json(run.parent / "other/unblinding.json")["unblindings"][0]["forced"] is True


@pytest.mark.usefixtures("no_figures")
def test_a_config_that_is_not_blind_leaves_a_blind_run_as_it_is(folder: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="holds a blinded search"):
        run_search(parse_config(config_of(blind=False)), folder, run)
    assert read_json(run / "summary.json")["blind"] is True
    assert yaml.safe_load((run / "config.yaml").read_text())["blind"] is True
