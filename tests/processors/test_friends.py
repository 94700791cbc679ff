"""Friend files: one row per input event, the scorer's own scores, whole or not at all; read back by uproot and pyarrow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from coffea.processor import IterativeExecutor

from resonaut.errors import ConfigError, InputError, ModelError
from resonaut.models import CrossFit, Sample, Scorer, load_scorer, make_scorer
from resonaut.processors import (
    DijetFeatures,
    find_scorers,
    make_corrections,
    read_friend,
    read_friend_provenance,
    run_processor,
    source,
    write_friends,
    write_table,
)
from resonaut.processors.friends import UNSCORED, FriendProcessor
from resonaut.stats import Window

FEATURES = ("m_h", "tau21_h")
WINDOWS = {"3300-3700": Window(3300, 3700, 2700, 4300), "3000-3300": Window(3000, 3300, 2600, 3800)}


def pseudo_data(seed: int = 8) -> Sample:
    rng = np.random.default_rng(seed)
    mass = rng.uniform(2500.0, 4500.0, 3000)
    signal = (np.abs(mass - 3500.0) < 150.0) & (rng.random(3000) < 0.5)
    m_h = np.where(signal, rng.normal(170.0, 20.0, 3000), rng.exponential(80.0, 3000) + 20.0)
    tau21 = np.where(signal, rng.uniform(0.1, 0.4, 3000), rng.uniform(0.2, 0.9, 3000))
    return Sample(np.stack([m_h, tau21], axis=1), FEATURES, mass)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as a search leaves it: two windows of a cross-fitted method, and one of another."""
    folder = tmp_path_factory.mktemp("run")
    for name, window in WINDOWS.items():
        scorer: Scorer = CrossFit("cwola-trees", folds=2, features=FEATURES, members=1, max_iter=5)
        scorer.fit(pseudo_data(), window).save(folder / "scores" / "cwola-trees" / name / "scorer")
    forest = make_scorer("isolation-forest", features=FEATURES, trees=10)
    forest.fit(pseudo_data(), None).save(folder / "scores" / "forest" / "all" / "scorer")
    return folder


def fat_jets(path: Path, jets: int = 2, n: int = 40, seed: int = 3, first_event: int = 0) -> dict[str, Any]:
    """A small NanoAOD-like file; every fifth event has one jet fewer."""
    rng = np.random.default_rng(seed)
    counts = np.where(np.arange(n) % 5 == 4, max(jets - 1, 0), jets)
    total = int(counts.sum())
    content = {
        "pt": rng.uniform(1000, 2000, total),
        "eta": rng.normal(0, 1, total),
        "phi": rng.uniform(-3, 3, total),
        "mass": rng.uniform(20, 300, total),
        "tau1": rng.uniform(0.1, 0.5, total),
        "tau2": rng.uniform(0.05, 0.3, total),
    }
    ids = {
        "run": np.full(n, 3, np.uint32),
        "luminosityBlock": np.arange(n, dtype=np.uint32) // 10,
        "event": (first_event + rng.permutation(n)).astype(np.uint64),
    }
    # as a jagged record array per collection: uproot writes the counter nFatJet itself
    jagged = ak.unflatten(ak.zip({k: v.astype(np.float32) for k, v in content.items()}), counts)
    with uproot.recreate(path) as file:
        file.mktree("Events", {"FatJet": jagged.type.content, **{k: v.dtype for k, v in ids.items()}})
        if n:
            file["Events"].extend({"FatJet": jagged, **ids})
    return ids


def directly(path: Path, scorer: Scorer, name: str = "nanoaod") -> Any:
    """Scores of all events of a file without anything of friends: the features, then scorer.score, NaN for the others."""
    reader = source(name)
    events = reader.read(str(path), 0, reader.n_events(str(path)))
    columns = DijetFeatures()(events)
    matrix = np.stack([columns[each] for each in FEATURES], axis=1)
    good = np.isfinite(matrix).all(axis=1) & np.isfinite(columns["mjj"])
    scores = np.full(len(events), np.nan)
    scores[good] = scorer.score(Sample(matrix[good], FEATURES, columns["mjj"][good]))
    return scores


def test_a_friend_is_aligned_and_holds_the_scorers_own_scores(run: Path, tmp_path: Path) -> None:
    ids = fat_jets(tmp_path / "data.root")
    folder = run / "scores" / "cwola-trees" / "3300-3700" / "scorer"
    report = write_friends([tmp_path / "data.root"], folder, tmp_path / "friends", chunksize=7)
    with uproot.open(tmp_path / "friends" / "data.root") as file, uproot.open(tmp_path / "data.root") as data:
        friend = file["Friends"].arrays(library="np")
        assert file["Friends"].num_entries == data["Events"].num_entries == 40
        events = data["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
    for name, values in ids.items():
        np.testing.assert_array_equal(friend[name], values)
        np.testing.assert_array_equal(friend[name], events[name])
    expected = directly(tmp_path / "data.root", load_scorer(folder))
    np.testing.assert_array_equal(friend["cwola_trees_3300_3700"], expected)
    assert np.flatnonzero(np.isnan(expected)).tolist() == [4, 9, 14, 19, 24, 29, 34, 39]
    assert report.unscored == {"cwola_trees_3300_3700": 8}
    assert report.events == 40
    assert report.complete


def test_all_windows_of_a_run_are_branches(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "data.root")
    write_friends([tmp_path / "data.root"], run, tmp_path / "friends")
    friend = read_friend(tmp_path / "friends" / "data.root")
    names = ["cwola_trees_3000_3300", "cwola_trees_3300_3700", "forest_all"]
    assert list(friend) == ["run", "luminosityBlock", "event", *names]
    for branch, folder in find_scorers(run).items():
        np.testing.assert_array_equal(friend[branch], directly(tmp_path / "data.root", load_scorer(folder)))
    assert not np.array_equal(friend[names[0]], friend[names[1]], equal_nan=True)
    origin = read_friend_provenance(tmp_path / "friends" / "data.root")
    card = json.loads((run / "scores" / "forest" / "all" / "scorer" / "card.json").read_text())
    assert origin["scorers"]["forest_all"]["digest"] == card["digest"]
    assert origin["scorers"][names[1]]["window"] == WINDOWS["3300-3700"].to_dict()
    assert origin["unscored"] == dict.fromkeys(names, 8)


def test_parquet_friends_join_by_event_numbers(run: Path, tmp_path: Path) -> None:
    """With pyarrow's join, from a skim in another order: each event gets its own score."""
    ids = fat_jets(tmp_path / "data.root")
    scorer = run / "scores" / "forest" / "all" / "scorer"
    write_friends([tmp_path / "data.root"], {"score": scorer}, tmp_path / "friends", format="parquet")
    friend = pq.read_table(tmp_path / "friends" / "data.parquet")
    rows = np.random.default_rng(1).permutation(40)[:15]
    skim = friend.select(["run", "luminosityBlock", "event"]).take(rows)
    joined = skim.join(friend, keys=["run", "luminosityBlock", "event"], join_type="left outer").sort_by("event")
    expected = directly(tmp_path / "data.root", load_scorer(scorer))[rows]
    order = np.argsort(ids["event"][rows])
    np.testing.assert_array_equal(joined["score"].to_numpy(), expected[order])


def test_files_without_two_jets_and_without_events(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "single.root", jets=1)
    fat_jets(tmp_path / "empty.root", n=0)
    scorer = run / "scores" / "forest" / "all" / "scorer"
    report = write_friends([tmp_path / "single.root", tmp_path / "empty.root"], {"score": scorer}, tmp_path / "friends")
    single, empty = (read_friend(tmp_path / "friends" / name) for name in ("single.root", "empty.root"))
    assert np.isnan(single["score"]).all()
    assert len(single["score"]) == 40
    assert len(empty["score"]) == 0
    assert report.unscored == {"score": 40}


def test_event_tables_are_scored_from_their_columns(run: Path, tmp_path: Path) -> None:
    sample = pseudo_data(5)
    table = {"m_h": sample.features[:, 0].copy(), "tau21_h": sample.features[:, 1], "mjj": sample.mass}
    table["m_h"][[3, 700]] = np.nan
    table["event"] = np.arange(len(sample))[::-1].copy()
    write_table(tmp_path / "events.parquet", table)
    folder = run / "scores" / "cwola-trees" / "3300-3700" / "scorer"
    report = write_friends(
        [tmp_path / "events.parquet"], {"score": folder}, tmp_path / "friends", format="parquet", chunksize=999
    )
    friend = read_friend(tmp_path / "friends" / "events.parquet")
    expected = load_scorer(folder).score(sample)
    expected[[3, 700]] = np.nan
    np.testing.assert_array_equal(friend["score"], expected)
    np.testing.assert_array_equal(friend["event"], table["event"])
    assert report.unscored == {"score": 2}


def test_parallel_columns_of_a_table_give_parallel_scores(run: Path, tmp_path: Path) -> None:
    """A simulated table with variations of its events: each score in each variation that changes what it depends on."""
    sample = pseudo_data(5)
    m_h, tau21 = sample.features.T
    table = {"m_h": m_h, "tau21_h": tau21, "mjj": sample.mass, "weight": np.ones(len(m_h))}
    table |= {"selected__nominal": m_h > 25, "selected__jes_up": m_h > 24.5, "m_h__jes_up": 1.02 * m_h}
    table |= {"mjj__jes_up": 1.02 * sample.mass, "weight__pileup_up": np.full(len(m_h), 1.1)}
    write_table(tmp_path / "simulated.parquet", table)
    folder = run / "scores" / "cwola-trees" / "3300-3700" / "scorer"
    report = write_friends([tmp_path / "simulated.parquet"], {"score": folder}, tmp_path / "friends")
    friend = read_friend(tmp_path / "friends" / "simulated.root")
    assert list(friend) == ["event", "score", "score__jes_up"]  # weights change no score
    scorer = load_scorer(folder)
    up = Sample(np.stack([1.02 * m_h, tau21], axis=1), FEATURES, 1.02 * sample.mass)
    np.testing.assert_array_equal(friend["score"], scorer.score(sample))
    np.testing.assert_array_equal(friend["score__jes_up"], scorer.score(up))
    assert report.unscored == {"score": 0, "score__jes_up": 0}


def test_corrections_of_events_give_parallel_scores(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "simulated.root")
    corrections = make_corrections([{"kind": "scale", "name": "jes", "collection": "FatJet", "uncertainty": 0.05}])
    scorer = {"score": run / "scores" / "forest" / "all" / "scorer"}
    write_friends([tmp_path / "simulated.root"], scorer, tmp_path / "friends", corrections=corrections, chunksize=17)
    friend = read_friend(tmp_path / "friends" / "simulated.root")
    assert list(friend)[3:] == ["score", "score__jes_up", "score__jes_down"]
    np.testing.assert_array_equal(friend["score"], directly(tmp_path / "simulated.root", load_scorer(scorer["score"])))
    # by hand: another file whose jets are 5 % heavier and harder
    with uproot.open(tmp_path / "simulated.root") as file:
        content = file["Events"].arrays()
    jets = {x: content[f"FatJet_{x}"] for x in ("pt", "eta", "phi", "mass", "tau1", "tau2")}
    jets |= {x: ak.values_astype(jets[x] * np.float32(1.05), "float32") for x in ("pt", "mass")}
    zipped = ak.zip(jets)
    with uproot.recreate(tmp_path / "harder.root") as file:
        file.mktree("Events", {"FatJet": zipped.type.content})
        file["Events"].extend({"FatJet": zipped})
    expected = directly(tmp_path / "harder.root", load_scorer(scorer["score"]))
    np.testing.assert_array_equal(np.isnan(friend["score__jes_up"]), np.isnan(expected))
    good = np.isfinite(expected)
    assert np.mean(np.isclose(friend["score__jes_up"][good], expected[good])) > 0.9  # a jet may lie on a cut of a tree
    assert not np.allclose(friend["score__jes_up"][good], friend["score"][good])


def test_a_second_call_finds_what_is_there(run: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    for seed, path in enumerate(paths):
        fat_jets(path, seed=seed)
    first = run / "scores" / "forest" / "all" / "scorer"
    write_friends(paths[:1], {"score": first}, tmp_path / "friends")
    before = (tmp_path / "friends" / "a.root").stat().st_mtime_ns
    report = write_friends(paths, {"score": first}, tmp_path / "friends")
    assert list(report.kept) == [str(paths[0])]
    assert list(report.written) == [str(paths[1])]
    assert (tmp_path / "friends" / "a.root").stat().st_mtime_ns == before
    # another scorer, a changed input or a damaged friend: made again
    second = run / "scores" / "cwola-trees" / "3000-3300" / "scorer"
    assert len(write_friends(paths, {"score": second}, tmp_path / "friends").written) == 2
    fat_jets(paths[0], seed=77)
    friend = tmp_path / "friends" / "b.root"
    friend.write_bytes(friend.read_bytes()[:500])
    report = write_friends(paths, {"score": second}, tmp_path / "friends")
    assert len(report.written) == 2
    np.testing.assert_array_equal(read_friend(friend)["score"], directly(paths[1], load_scorer(second)))
    assert sorted(p.name for p in (tmp_path / "friends").iterdir()) == ["a.root", "b.root"]  # no chunks, no parts


def test_a_broken_file_gets_no_friend_and_is_told(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "good.root")
    (tmp_path / "bad.root").write_bytes((tmp_path / "good.root").read_bytes()[:900])
    files = [tmp_path / "good.root", tmp_path / "bad.root"]
    scorer = {"score": run / "scores" / "forest" / "all" / "scorer"}
    with pytest.raises(InputError, match=r"bad\.root"):
        write_friends(files, scorer, tmp_path / "friends")
    assert not list(tmp_path.glob("friends/*"))
    report = write_friends(files, scorer, tmp_path / "friends", on_bad_file="skip")
    assert list(report.failed) == [str(tmp_path / "bad.root")]
    assert [p.name for p in (tmp_path / "friends").glob("*.root")] == ["good.root"]
    with pytest.raises(Exception, match="1 files have no friend"):
        report.require_complete()


def test_files_of_one_name_keep_their_folders(run: Path, tmp_path: Path) -> None:
    for k, folder in enumerate(("2017", "2018")):
        (tmp_path / folder).mkdir()
        fat_jets(tmp_path / folder / "data.root", seed=k)
    scorer = {"score": run / "scores" / "forest" / "all" / "scorer"}
    files = [tmp_path / folder / "data.root" for folder in ("2017", "2018")]
    report = write_friends(files, scorer, tmp_path / "friends")
    assert [str(p.relative_to(tmp_path / "friends")) for p in report.written.values()] == [
        "2017/data.root",
        "2018/data.root",
    ]
    np.testing.assert_array_equal(
        read_friend(tmp_path / "friends" / "2018" / "data.root")["score"],
        directly(files[1], load_scorer(scorer["score"])),
    )


def test_the_books_count_events_without_any_score(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "data.root")
    result = run_processor({"mine": [tmp_path / "data.root"]}, FriendProcessor(find_scorers(run)), chunksize=11)
    assert result.ledger.skipped == {UNSCORED: 8}
    assert result.ledger.used == 32


def test_the_friend_of_a_real_nanoaod_file(reference_data: Path, run: Path, tmp_path: Path) -> None:
    path = reference_data / "root" / "nano_tt_v12.root"
    folder = run / "scores" / "cwola-trees" / "3300-3700" / "scorer"
    report = write_friends([path], {"score": folder}, tmp_path / "friends")
    friend = read_friend(tmp_path / "friends" / "nano_tt_v12.root")
    with uproot.open(path) as file:
        numbers = file["Events"]["event"].array(library="np")
        two = file["Events"]["nFatJet"].array(library="np") >= 2
    np.testing.assert_array_equal(friend["event"], numbers)
    np.testing.assert_array_equal(np.isfinite(friend["score"]), two)
    np.testing.assert_array_equal(friend["score"], directly(path, load_scorer(folder)))
    assert report.unscored["score"] == int((~two).sum()) == 167


class Backwards(IterativeExecutor):  # type: ignore[misc] # coffea is untyped
    """Ends the last chunk first, as workers may."""

    def __call__(self, items: Any, function: Any, accumulator: Any) -> Any:
        return super().__call__(list(items)[::-1], function, accumulator)


def test_rows_keep_their_order_whoever_ends_first(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "data.root", n=60)
    for name, executor in (("iterative", "iterative"), ("backwards", Backwards(status=False))):
        write_friends([tmp_path / "data.root"], run, tmp_path / name, executor=executor, chunksize=9)
    ours, theirs = (read_friend(tmp_path / name / "data.root") for name in ("iterative", "backwards"))
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_names_of_scores(run: Path, tmp_path: Path) -> None:
    one = run / "scores" / "cwola-trees" / "3300-3700"
    assert list(find_scorers(one / "scorer")) == ["cwola_trees_3300_3700"]
    shutil.copytree(one / "scorer", tmp_path / "scorer")
    assert list(find_scorers(tmp_path / "scorer")) == ["cwola_trees"]
    shutil.copytree(one / "scorer", tmp_path / "2017 best")
    assert list(find_scorers(tmp_path / "2017 best")) == ["score_2017_best"]


def test_mistakes_are_named(run: Path, tmp_path: Path) -> None:
    fat_jets(tmp_path / "data.root")
    files = [tmp_path / "data.root"]
    with pytest.raises(ModelError, match="no saved scorer in or below"):
        write_friends(files, tmp_path / "nothing", tmp_path / "friends")
    with pytest.raises(ConfigError, match="format is 'csv'"):
        write_friends(files, run, tmp_path / "friends", format="csv")
    with pytest.raises(ConfigError, match="columns of scores"):
        write_friends(files, {"event": next(iter(find_scorers(run).values()))}, tmp_path / "friends")
    with pytest.raises(InputError, match="would overwrite it"):
        write_friends(files, run, tmp_path)
    with pytest.raises(InputError, match="none twice"):
        write_friends(files * 2, run, tmp_path / "friends")
    wrong = make_scorer("isolation-forest", features=("m_h", "tau21_q"), trees=5)
    sample = pseudo_data()
    wrong.fit(Sample(sample.features, ("m_h", "tau21_q"), sample.mass), None).save(tmp_path / "wrong")
    with pytest.raises(InputError, match="'tau21_q'"):
        write_friends(files, tmp_path / "wrong", tmp_path / "friends")
    assert not (tmp_path / "friends" / "data.root").exists()
    with pytest.raises(InputError, match="no scores that resonaut wrote"):
        read_friend_provenance(files[0])
