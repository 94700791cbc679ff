"""The Dark Machines challenge: files, divisions, measures, and a whole run on events made here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from resonaut.analysis.cli import main
from resonaut.analysis.darkmachines.data import Division, load_channel
from resonaut.analysis.darkmachines.files import ChannelFiles, find_challenge
from resonaut.analysis.darkmachines.findings import findings
from resonaut.analysis.darkmachines.protocol import ENTRIES, make_protocol
from resonaut.analysis.darkmachines.summary import _measure, significance_improvement, total_improvements
from resonaut.analysis.darkmachines.units import ScoresUnit
from resonaut.errors import ConfigError, InputError
from resonaut.processors import EventObjects, write_darkmachines


def make_events(
    n: int, seed: int, *, process: str = "njets", scale: float = 150.0, leptons: int = 0, siblings: int = 1
) -> EventObjects:
    """Events of channel 3: some jets with a falling spectrum above HT = 600 GeV, missing momentum above 100 GeV."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 7, n) + leptons
    offsets = np.concatenate([[0], np.cumsum(counts)])
    total = int(offsets[-1])
    place = np.arange(total) - np.repeat(offsets[:-1], counts)
    lepton = place >= np.repeat(counts - leptons, counts)
    kind = np.where(lepton, rng.integers(3, 7, total), np.where(rng.random(total) < 0.15, 2, 1))
    pt = np.where(lepton, 20.0, 200.0) + rng.exponential(scale, total)
    eta = rng.normal(0.0, 1.0, total).clip(-2.5, 2.5)
    return EventObjects(
        met=100.0 + rng.exponential(60.0, n), met_phi=rng.uniform(-3.1, 3.1, n), weight=np.ones(n),
        event=np.arange(n) // siblings * 100 + np.arange(n) % siblings, process=np.full(n, process),
        kind=kind.astype(np.int8), e=pt * np.cosh(eta), pt=pt, eta=eta, phi=rng.uniform(-3.1, 3.1, total), offsets=offsets,
    )  # fmt: skip


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("challenge")
    (folder / "channel3").mkdir()
    write_darkmachines(folder / "channel3" / "background_train.csv", make_events(900, 1))
    write_darkmachines(folder / "channel3" / "background_test.csv", make_events(600, 2))
    write_darkmachines(
        folder / "channel3" / "sig_heavy.csv", make_events(300, 3, process="heavy", scale=600.0, leptons=2)
    )
    write_darkmachines(folder / "channel3" / "sig_like.csv", make_events(300, 4, process="like"))
    hidden = EventObjects.concatenate(
        [make_events(200, 5), make_events(150, 6, process="hidden", scale=500.0, leptons=3)]
    )
    write_darkmachines(folder / "channel3" / "secret.csv", hidden)
    return folder


@pytest.fixture(scope="module")
def finished(challenge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    names = "deep-svdd,flow,deep-sets,deep-sets-b0.001-w10,isolation-forest"
    ran = CliRunner().invoke(
        main,
        [
            "benchmark",
            "darkmachines",
            str(challenge),
            "--out",
            str(out),
            "--size",
            "quick",
            "--device",
            "cpu",
            "--entries",
            names,
        ],
    )
    assert ran.exit_code == 0, ran.output
    return out


@pytest.mark.slow
def test_numbers_of_a_run_are_those_of_its_scores(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    with np.load(finished / "scores" / "3" / "flow" / "scores.npz") as archive:
        test, signal = archive["|test"], archive["|signal/heavy"]
    found = results["scores"]["flow"]["3"]["signal/heavy"]
    expected = roc_auc_score(np.repeat([0, 1], [len(test), len(signal)]), np.concatenate([test, signal]))
    assert found["auc"] == pytest.approx(expected, abs=1e-4)
    assert list(found["es"]) == ["0.01"]  # 600 test events cannot measure less
    strict, loose = (np.mean(signal > np.sort(test)[-place]) for place in (6, 8))
    assert min(strict, loose) - 1e-6 <= found["es"]["0.01"] <= max(strict, loose) + 1e-6
    assert found["si"] == pytest.approx(found["es"]["0.01"] * 10, abs=1e-3)
    assert results["improvements_signal"]["flow"]["max"] == pytest.approx(max(
        each["si"] for role, each in results["scores"]["flow"]["3"].items() if role.startswith("signal/")
    ))  # fmt: skip


@pytest.mark.slow
def test_a_clear_signal_is_found_and_one_like_the_background_is_not(finished: Path) -> None:
    scores = json.loads((finished / "results.json").read_text())["scores"]
    for name, least in {"flow": 0.8, "deep-svdd+flow avg": 0.65, "isolation-forest": 0.65}.items():
        assert scores[name]["3"]["signal/heavy"]["auc"] > least, name
        assert scores[name]["3"]["secret/hidden"]["auc"] > least, name
        assert abs(scores[name]["3"]["signal/like"]["auc"] - 0.5) < 0.1, name


@pytest.mark.slow
def test_a_run_has_table_figures_and_findings_and_goes_on_where_it_was(finished: Path, challenge: Path) -> None:
    table = (finished / "results.md").read_text()
    assert "Total improvement over secret signals" in table
    assert "Flow-Efficient_Likelihood" in table
    assert "other data" in table
    plots = {path.name for path in (finished / "plots").glob("*.png")}
    assert plots == {
        "scores_channel3.png", "correlations_channel3.png", "total_improvements.png", "significance_improvements.png", "hackathon_secret.png"
    }  # fmt: skip
    assert len(json.loads((finished / "results.json").read_text())["findings"]) >= 5
    again = CliRunner().invoke(
        main, ["benchmark", "darkmachines", str(challenge), "--out", str(finished), "--size", "quick", "--device", "cpu",
               "--entries", "flow,isolation-forest"],
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert "0 trainings computed" in again.output


@pytest.mark.slow
def test_the_saved_scorer_gives_the_scores_again(finished: Path, challenge: Path) -> None:
    from resonaut.models import load_scorer

    events = load_channel("3", find_challenge(challenge)["3"], Division())
    samples, _ = events.samples("leading-objects")
    scorer = load_scorer(finished / "scores" / "3" / "flow" / "scorer")
    with np.load(finished / "scores" / "3" / "flow" / "scores.npz") as archive:
        assert scorer.score(samples["signal/heavy"]) == pytest.approx(archive["|signal/heavy"], rel=1e-5)


def test_files_are_found_by_either_naming(tmp_path: Path) -> None:
    names = (
        "channel1/background_train.csv.gz", "channel1/background_test.csv.gz", "channel1/sig_glgl1400_neutralino1100.csv.gz",
        "background_chan2a_309.6.csv", "chaneut_cha200_neut50_chan2a.csv", "channel3/secret_data_chan3.csv",
        "channel3/background_chan3_8.02.csv", "channel3/stlp_st1000_chan3.csv", "notes.txt", "channel2b/background_train.csv",
    )  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_challenge(tmp_path)
    assert list(found) == ["1", "2a", "3"]  # 2b has no signal
    assert list(found["1"].signals) == ["glgl1400_neutralino1100"]
    assert len(found["1"].test) == 1
    assert list(found["2a"].signals) == ["chaneut_cha200_neut50"]
    assert found["2a"].training[0].name == "background_chan2a_309.6.csv"
    assert found["3"].secret[0].name == "secret_data_chan3.csv"
    with pytest.raises(InputError, match="no channel with background"):
        find_challenge(tmp_path / "channel2b")


def test_siblings_stay_on_one_side(tmp_path: Path) -> None:
    path = tmp_path / "background_chan3.csv"
    write_darkmachines(path, make_events(1200, 7, siblings=4))
    files = ChannelFiles([path], [], {"x": path})
    found = load_channel("3", files, Division(test_fraction=0.4, siblings=100, seed=1))
    assert len(found.training) + len(found.test) == 1200
    assert not set(found.training.event // 100) & set(found.test.event // 100)
    assert len(found.test) / 1200 == pytest.approx(0.4, abs=0.1)
    with pytest.raises(ConfigError, match="test fraction too"):
        Division(siblings=100)
    plain = load_channel("3", files, Division())
    assert len(plain.test) == 120  # the last tenth
    assert plain.test.event.min() > plain.training.event.max() - 4
    assert len(load_channel("3", files, Division(max_training=500)).training) == 500


def test_the_last_tenth_is_that_of_every_file(tmp_path: Path) -> None:
    for name, events in (("a", make_events(2000, 11)), ("b", make_events(600, 12, process="zjets"))):
        write_darkmachines(tmp_path / f"background_{name}_chan3.csv", events)
    write_darkmachines(tmp_path / "x_chan3.csv", make_events(50, 13))
    found = load_channel("3", find_challenge(tmp_path)["3"], Division())
    assert dict(zip(*np.unique(found.test.process, return_counts=True), strict=True)) == {"njets": 200, "zjets": 60}


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for name in ("background_chan3.csv", "x_chan3.csv", "x_chan3.csv.gz"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="compressed too"):
        find_challenge(tmp_path)
    (tmp_path / "x_chan3.csv.gz").rename(tmp_path / "sig_x_chan3.csv.gz")
    with pytest.raises(InputError, match="both signal 'x'"):
        find_challenge(tmp_path)


def test_units_know_the_roles_of_their_files(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        write_darkmachines(tmp_path / name, make_events(5, number))
    one, two, three = (tmp_path / name for name in "abc")
    protocol = make_protocol("quick", ("knn",), Division())
    keys = {
        ScoresUnit(tmp_path, "3", files, protocol, "knn").unit.key
        for files in (
            ChannelFiles([one], [two], {"x": three}),
            ChannelFiles([one, two], [], {"x": three}),
            ChannelFiles([one], [two], {"y": three}),
            ChannelFiles([one], [two], {}, [three]),
        )
    }
    assert len(keys) == 4


def test_weights_count_in_every_measure() -> None:
    rng = np.random.default_rng(14)
    scores = {"training": rng.normal(size=400), "test": rng.normal(size=400), "signal/x": rng.normal(1, 1, 300)}
    copies = {role: rng.integers(1, 4, len(each)) for role, each in scores.items()}
    weighted = _measure(scores, {role: each.astype(float) for role, each in copies.items()})["signal/x"]
    repeated = {role: np.repeat(each, copies[role]) for role, each in scores.items()}
    expected = _measure(repeated, {role: np.ones(len(each)) for role, each in repeated.items()})["signal/x"]
    assert weighted["auc"] == pytest.approx(expected["auc"], abs=1e-4)
    assert weighted["es"]["0.01"] == pytest.approx(expected["es"]["0.01"], abs=1e-4)


def test_events_of_another_channel_and_broken_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "background_chan3.csv"
    write_darkmachines(good, make_events(1200, 8))
    with pytest.raises(InputError, match="fail the cuts of channel 2a"):
        load_channel("2a", ChannelFiles([good], [], {"x": good}), Division())
    few = tmp_path / "few_chan3.csv"
    write_darkmachines(few, make_events(40, 9))
    with pytest.raises(InputError, match="at least 100"):
        load_channel("3", ChannelFiles([few], [], {"x": good}), Division())
    cut = tmp_path / "cut_chan3.csv.gz"
    whole = gzip.compress(good.read_bytes())
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut_chan3"):
        load_channel("3", ChannelFiles([good], [], {"x": cut}), Division())


def test_bad_lines_are_counted_in_the_ledger(tmp_path: Path) -> None:
    good = tmp_path / "background_chan3.csv"
    write_darkmachines(good, make_events(1200, 10))
    bad = tmp_path / "sig_x_chan3.csv"
    lines = good.read_text().splitlines()[:50]
    lines[3] = lines[3].replace(";j,", ";quark,", 1)
    bad.write_text("\n".join(lines) + "\n")
    ledger = load_channel("3", ChannelFiles([good], [], {"x": bad}), Division()).ledger
    (entry,) = [each for name, each in ledger.items() if "sig_x" in name]
    assert entry["read"] == 49
    assert sum(entry["skipped"].values()) == 1


def test_improvements_are_the_largest_over_cuts_and_channels() -> None:
    assert significance_improvement({"0.01": 0.1, "0.0001": 0.05}) == pytest.approx(5.0)
    assert np.isnan(significance_improvement({}))
    channels: dict[str, Any] = {
        "1": {"signal/a": {"si": 2.0}, "signal/b": {"si": float("nan")}},
        "3": {"signal/a": {"si": 3.0}, "signal/b": {"si": 0.5}, "secret/c": {"si": 9.0}},
    }
    found = total_improvements(channels)
    assert found["signals"] == {"a": 3.0, "b": 0.5}
    assert (found["min"], found["median"], found["max"]) == (0.5, 1.75, 3.0)
    assert total_improvements(channels, "secret")["signals"] == {"c": 9.0}


def test_findings_say_what_was_not_reproduced() -> None:
    def improvement(middle: float, most: float) -> dict[str, Any]:
        return {"signals": {"a": middle}, "min": 0.1, "median": middle, "max": most}

    names = ["deep-svdd avg", "flow"]
    content = {
        "improvements_signal": {
            "deep-svdd avg": improvement(1.0, 2.0), "flow": improvement(3.0, 9.0), "deep-svdd+flow or": improvement(2.0, 8.0),
            "deep-sets": improvement(5.0, 5.0), "deep-sets-b0.001-w1": improvement(1.0, 1.0), "deep-sets-b0.001-w10": improvement(1.1, 1.0),
        },
        "correlations": {"3": {"names": names, "pearson": [[1.0, 0.1], [0.1, 1.0]]}},
    }  # fmt: skip
    found = {each["statement"][:20]: each["reproduced"] for each in findings(content)}
    assert found == {
        "Ensemble of Deep SVD": True, "A combination has th": False, "The flow has the hig": True,
        "The Deep Set VAE wit": True, "The weight w of the ": True,
    }  # fmt: skip


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="deep-svdd"):
        make_protocol("quick", ("deep-sdd",), Division())
    with pytest.raises(ConfigError, match="test fraction"):
        Division(test_fraction=1.5)
    assert set(make_protocol("gpu", None, Division()).entries) == set(ENTRIES)
