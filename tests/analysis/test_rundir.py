"""Units of work: whole or not at all, never twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from resonaut.analysis.rundir import RunDirectory
from resonaut.errors import InputError


def _count(calls: list[int]):  # type: ignore[no-untyped-def]
    def work(folder: Path) -> None:
        calls.append(1)
        (folder / "result.txt").write_text(str(len(calls)))

    return work


def test_finished_work_is_not_repeated_and_changed_input_is_redone(tmp_path: Path) -> None:
    run, calls = RunDirectory(tmp_path / "run"), []
    assert run.unit("a/b", "key-1").make(_count(calls))
    assert not run.unit("a/b", "key-1").make(_count(calls))
    assert len(calls) == 1
    assert run.unit("a/b", "key-2").make(_count(calls))
    assert (tmp_path / "run/a/b/result.txt").read_text() == "2"


def test_work_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    unit = RunDirectory(tmp_path).unit("a", "key")

    def fails(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        msg = "lost power"
        raise OSError(msg)

    with pytest.raises(OSError, match="lost power"):
        unit.make(fails)
    assert not unit.done
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "run")


def test_a_unit_that_lost_a_file_or_has_a_damaged_card_is_made_again(tmp_path: Path) -> None:
    calls: list[int] = []
    unit = RunDirectory(tmp_path).unit("a", "key")
    unit.make(_count(calls))
    (tmp_path / "a/result.txt").unlink()
    assert unit.make(_count(calls))
    for damaged in ("[]", "{", ""):
        (tmp_path / "a/unit.json").write_text(damaged)
        assert unit.make(_count(calls))
    assert len(calls) == 5


def test_units_of_an_earlier_config_go_and_others_stay(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for name in ("limits/a_cut1", "limits/a_cut10", "signals/Z/limits/a_cut1", "signals/Z/events"):
        run.unit(name, "key").make(lambda folder: (folder / "x").write_text("x"))
    (tmp_path / "limits" / "notes").mkdir()  # not ours
    run.remove_others("limits/*", [tmp_path / "limits" / "a_cut10"])
    assert sorted(p.name for p in (tmp_path / "limits").iterdir()) == ["a_cut10", "notes"]
    assert (tmp_path / "signals/Z/limits/a_cut1/x").exists()
    run.remove_others("signals/*/limits/*", [])
    assert not (tmp_path / "signals/Z/limits/a_cut1").exists()
    assert run.unit("signals/Z/events", "key").done
