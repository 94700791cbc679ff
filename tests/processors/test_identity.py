"""Results that were kept are used again by the same processor in another process, and by no other."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.models import BaseScorer, Sample, make_scorer
from resonaut.processors import (
    SOURCES,
    DijetFeatures,
    DijetProcessor,
    config_hash,
    identity,
    read_friend,
    run_processor,
    write_friends,
    write_particle_tree,
)

MODULE = """
from coffea.processor import ProcessorABC
from resonaut.processors import AnomalySelection
import cuts_of_mine


class Base(ProcessorABC):
    def postprocess(self, accumulator):
        return accumulator


class Mine(Base):
    names = {"one", "two", "three", "four"}

    def __init__(self, factor=1.0):
        self.factor = factor
        self.cut = lambda events: cuts_of_mine.passes(events)
        self.inside = frozenset(("red", "green", "blue"))

    def process(self, events):
        return {"n": int(self.cut(events) * self.factor)}


class Selecting(Base):
    anomaly = AnomalySelection("scorer", {"a": "MET.pt"}, {"all": 0.5})

    def process(self, events):
        return {"n": int((self.anomaly.score(events).scores >= 0.5).sum())}


def function(events):
    return {"n": cuts_of_mine.passes(events)}


def made(threshold):
    return lambda events: {"n": len(events) * threshold}
"""
CUTS = "def passes(events):\n    return len(events)\n"


class Code:
    """Modules of a user's own in a folder, which may be edited."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        self.write("mine_of_user", MODULE)
        self.write("cuts_of_mine", CUTS)

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text)
        for module in ("mine_of_user", "cuts_of_mine"):
            self.monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    @property
    def module(self) -> Any:
        return importlib.import_module("mine_of_user")


def save_scorer(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = Sample(rng.normal(size=(200, 1)), ("a",), rng.uniform(2000.0, 5000.0, 200))
    made: BaseScorer = make_scorer("isolation-forest", features=("a",), trees=5)
    made.fit(sample, None).save(folder)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.chdir(tmp_path)
    save_scorer(tmp_path / "scorer", 1)
    return Code(tmp_path, monkeypatch)


@pytest.fixture
def events(tmp_path: Path, toys: Any) -> dict[str, str]:
    write_particle_tree(tmp_path / "events.root", toys.make_particles(1, 20))
    return {"a": str(tmp_path / "events.root")}


def test_code_that_changed_is_not_answered_from_the_cache(code: Code, events: dict[str, str], tmp_path: Path) -> None:
    """Also where a module that the processor's own imports has changed; for classes and for functions."""
    for name in ("Mine", "function"):

        def run(name: str = name) -> Any:
            made = getattr(code.module, name)
            return run_processor(events, made() if name == "Mine" else made, cache_dir=tmp_path / "cache")

        code.write("cuts_of_mine", CUTS)
        assert run().output == {"n": 20}
        assert run().ledger.chunks_cached == 1
        code.write("cuts_of_mine", CUTS.replace("len(events)", "len(events) - 1"))
        again = run()
        assert (again.output, again.ledger.chunks_cached) == ({"n": 19}, 0)


def test_state_that_changed_is_another_processor(code: Code) -> None:
    module = code.module
    assert config_hash(module.Mine()) == config_hash(module.Mine()) != config_hash(module.Mine(2.0))
    assert config_hash(module.made(1)) == config_hash(module.made(1)) != config_hash(module.made(2))
    before = config_hash(module.Mine())
    module.Mine.names = {"one"}
    assert config_hash(module.Mine()) != before


def test_the_hash_is_the_same_in_every_process(code: Code) -> None:
    """Sets come in another order, addresses differ."""
    command = (
        "import mine_of_user\nfrom resonaut.processors import config_hash\nprint(config_hash(mine_of_user.Mine()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(code.folder)}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == config_hash(code.module.Mine())


def in_a_cell(text: str, name: str) -> Any:
    """What a cell of a notebook defines: it has no file."""
    space: dict[str, Any] = {"__name__": "a_notebook"}
    exec(text, space)  # noqa: S102
    return space[name]


def test_classes_of_a_notebook() -> None:
    """Each time that a cell is run its class is a new one, which cloudpickle gives a random id."""
    text = "class Own:\n    cut = 30\n    def process(self, events):\n        return {'n': len(events)}"
    assert config_hash(in_a_cell(text, "Own")()) == config_hash(in_a_cell(text, "Own")())
    for other in (text.replace("30", "40"), text.replace("len(events)", "len(events) + 1")):
        assert config_hash(in_a_cell(text, "Own")()) != config_hash(in_a_cell(other, "Own")())


def test_functions_of_a_notebook() -> None:
    """What they do and the globals that they use is what counts."""

    def cell(helper: str, factor: int = 1) -> str:
        text = f"def helper(n):\n    return {helper}\nfactor = {factor}\nunused = {helper!r}\n"
        return config_hash(
            in_a_cell(text + "def work(events):\n    return {'n': helper(len(events)) * factor}", "work")
        )

    assert cell("n") == cell("n")
    assert len({cell("n"), cell("n + 1"), cell("n", 2)}) == 3


def test_a_scorer_saved_again_is_another_processor(code: Code) -> None:
    before = config_hash(code.module.Selecting())
    assert config_hash(code.module.Selecting()) == before
    save_scorer(code.folder / "scorer", 2)
    assert config_hash(code.module.Selecting()) != before


def test_our_own_code_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = config_hash(DijetProcessor())
    assert config_hash(DijetProcessor()) == before != config_hash(DijetProcessor(DijetFeatures(radius=0.4)))
    monkeypatch.setattr(identity, "own_code", lambda: "of another day")
    assert config_hash(DijetProcessor()) != before


def test_a_source_that_changed_reads_anew(code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "import awkward as ak\nfrom resonaut.processors.events.schema import events_from_columns\n"
        "class Numbers:\n    name = 'numbers'\n"
        "    def recognises(self, path):\n        return path.endswith('.numbers')\n"
        "    def n_events(self, path, tree=None):\n        return 3\n"
        "    def read(self, path, start, stop, *, tree=None, metadata=None):\n"
        "        columns = {'x': ak.Array([1.0, 2.0, 3.0])[start:stop]}\n"
        "        return events_from_columns(columns, stop - start, path, start, metadata)\n"
    )
    (tmp_path / "a.numbers").touch()

    def total() -> Any:
        monkeypatch.setitem(SOURCES, "numbers", code.module.Numbers())
        fileset = {"a": {"files": str(tmp_path / "a.numbers"), "source": "numbers"}}
        return run_processor(fileset, summed, cache_dir=tmp_path / "cache")

    code.write("mine_of_user", text)
    assert total().output == {"sum": 6.0}
    assert total().ledger.chunks_cached == 1
    code.write("mine_of_user", text.replace("2.0", "4.0"))
    assert total().output == {"sum": 8.0}


def summed(events: Any) -> dict[str, float]:
    return {"sum": float(np.sum(events.x))}


FEATURES = "import numpy as np\ndef a(events):\n    return np.full(len(events), {value})\n"


def test_friends_of_changed_columns_are_made_anew(code: Code, events: dict[str, str], tmp_path: Path) -> None:
    def scores(value: float) -> Any:
        code.write("mine_of_user", FEATURES.format(value=value))
        columns = {"a": code.module.a, "mjj": code.module.a}
        report = write_friends(events.values(), {"score": tmp_path / "scorer"}, tmp_path / "friends", columns=columns)
        return len(report.written), read_friend(tmp_path / "friends" / "events.root")["score"]

    one, two, three = scores(0.0), scores(0.0), scores(4.0)
    assert [each[0] for each in (one, two, three)] == [1, 0, 1]
    np.testing.assert_array_equal(one[1], two[1])
    assert (three[1] != one[1]).all()
