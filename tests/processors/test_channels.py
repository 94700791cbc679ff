"""The challenge's channels against a loop over events, and against the files that were selected by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError
from resonaut.processors import EventObjects, read_darkmachines
from resonaut.processors.objects.channels import CHANNELS, channel_cutflow, find_channel

Event = tuple[
    float, list[tuple[int, float]]
]  # missing momentum, and code and pT of each object; codes 1 ... 7 = j b e- e+ m- m+ g


def ht(event: Event) -> float:
    return sum(pt for code, pt in event[1] if code in (1, 2))


def above(event: Event, codes: tuple[int, ...], pt: float) -> int:
    return len([1 for code, value in event[1] if code in codes and value > pt])


def passes(name: str, event: Event) -> list[bool]:
    """The cuts of a channel in their order, written out."""
    met = event[0]
    jets, leptons = (1, 2), (3, 4, 5, 6)
    if name == "1":
        return [
            ht(event) >= 600,
            met >= 200,
            met >= 0.2 * ht(event),
            above(event, jets, 50) >= 4,
            above(event, jets, 200) >= 1,
        ]
    if name == "2a":
        return [above(event, leptons, 15) >= 3, met >= 50]
    if name == "2b":
        return [above(event, leptons, 15) >= 2, met >= 50, ht(event) >= 50]
    return [ht(event) >= 600, met >= 100]


def counted(name: str, events: list[Event]) -> tuple[list[bool], list[int]]:
    """Events that pass, and how many are left after each cut, the number of all before."""
    flags = [passes(name, event) for event in events]
    left = [sum(all(flag[:i]) for flag in flags) for i in range(len(flags[0]) + 1)]
    return [all(flag) for flag in flags], left


def as_lists(events: EventObjects) -> list[Event]:
    ends = events.offsets.tolist()
    objects = list(zip(events.kind.tolist(), events.pt.tolist(), strict=True))
    return [(met, objects[a:b]) for met, a, b in zip(events.met.tolist(), ends[:-1], ends[1:], strict=True)]


def made_of(rows: list[Event]) -> EventObjects:
    flat = [item for _, objects in rows for item in objects]
    zeros = np.zeros(len(flat))
    n = len(rows)
    return EventObjects(
        met=np.array([met for met, _ in rows]),
        met_phi=np.zeros(n),
        weight=np.ones(n),
        event=np.arange(n),
        process=np.array(["x"] * n),
        kind=np.array([code for code, _ in flat], int),
        e=np.array([pt for _, pt in flat]),
        pt=np.array([pt for _, pt in flat]),
        eta=zeros,
        phi=zeros,
        offsets=np.concatenate([[0], np.cumsum([len(objects) for _, objects in rows])]),
    )


@pytest.mark.parametrize("name", list(CHANNELS))
def test_a_channels_own_files_pass_it(reference_data: Path, name: str) -> None:
    """All of them: no event is so close to a cut that the six digits of the files put it on the other side."""
    files = sorted((reference_data / "darkmachines" / f"channel{name}").glob("*.csv.gz"))
    assert len(files) >= 4
    for path in files:
        events = read_darkmachines(path).events
        mask, cutflow = channel_cutflow(events, name)
        assert mask.all(), path.name
        assert set(cutflow.values()) == {len(events)}


@pytest.mark.parametrize("name", list(CHANNELS))
@pytest.mark.parametrize(
    "sample", ["channel1/background_test", "channel2b/sig_stlp_st1000", "channel3/background_test"]
)
def test_cutflows_are_those_of_a_loop(reference_data: Path, name: str, sample: str) -> None:
    events = read_darkmachines(reference_data / "darkmachines" / f"{sample}.csv.gz").events
    mask, cutflow = channel_cutflow(events, name)
    expected, left = counted(name, as_lists(events))
    assert mask.tolist() == expected
    assert list(cutflow.values()) == left
    assert list(cutflow) == ["all", *CHANNELS[name].cuts]


@pytest.mark.parametrize("name", list(CHANNELS))
def test_random_events_near_the_cuts(name: str) -> None:
    rng = np.random.default_rng(12)
    pts = np.array([14.5, 15.0, 15.5, 25.0, 50.0, 50.5, 130.0, 200.0, 200.5, 300.0])  # whose sums are exact
    rows = []
    for _ in range(3000):
        objects = [(int(rng.integers(1, 8)), float(rng.choice(pts))) for _ in range(int(rng.integers(0, 9)))]
        rows.append((float(rng.choice([0.0, 49.9, 50.0, 99.9, 100.0, 120.0, 199.9, 200.0, 250.0])), objects))
    mask, cutflow = channel_cutflow(made_of(rows), name)
    expected, left = counted(name, rows)
    assert mask.tolist() == expected
    assert list(cutflow.values()) == left
    assert 3 < left[-1] < 2900


JETS = [(1, 250.0), (2, 150.0), (1, 100.0), (2, 100.0)]  # HT = 600


@pytest.mark.parametrize(
    ("name", "met", "objects", "inside"),
    [
        ("1", 200.0, JETS, True),
        ("1", 199.999, JETS, False),
        ("1", 200.0, [(1, 249.999), *JETS[1:]], False),  # HT
        ("1", 200.0, [(1, 200.0), (2, 200.0), (1, 100.0), (2, 100.0)], False),  # leading jet
        ("1", 200.0, [(1, 450.0), (2, 60.0), (1, 60.0), (2, 50.0)], False),  # fourth jet
        ("1", 200.0, [(1, 700.0), (2, 150.0), (1, 100.0), (2, 51.0)], False),  # MET/HT
        ("1", 200.25, [(1, 700.0), (2, 150.0), (1, 100.0), (2, 51.0)], True),
        ("2a", 50.0, [(3, 20.0), (6, 16.0), (5, 15.001)], True),
        ("2a", 50.0, [(3, 20.0), (6, 16.0), (5, 15.0)], False),
        ("2a", 49.999, [(3, 20.0), (6, 16.0), (5, 20.0)], False),
        ("2a", 50.0, [(3, 20.0), (6, 16.0), (7, 90.0)], False),  # a photon is no lepton
        ("2b", 50.0, [(4, 20.0), (6, 16.0), (2, 50.0)], True),
        ("2b", 50.0, [(4, 20.0), (6, 16.0), (2, 49.999)], False),
        ("2b", 50.0, [(4, 20.0), (6, 16.0), (7, 90.0)], False),  # a photon does not count for HT
        ("3", 100.0, [(1, 600.0)], True),
        ("3", 99.999, [(1, 600.0)], False),
        ("3", 100.0, [(1, 599.0), (3, 500.0)], False),
        ("3", 100.0, [], False),
    ],
)
def test_both_sides_of_every_cut(name: str, met: float, objects: list[tuple[int, float]], inside: bool) -> None:
    events = made_of([(met, objects)])
    mask, cutflow = channel_cutflow(events, name)
    assert mask.tolist() == CHANNELS[name].select(events).tolist() == [inside]
    assert list(cutflow.values())[-1] == int(inside)


def test_no_events_and_no_such_channel() -> None:
    none: Any = EventObjects.concatenate([])
    mask, cutflow = channel_cutflow(none, "1")
    assert mask.shape == (0,)
    assert set(cutflow.values()) == {0}
    with pytest.raises(ConfigError, match=r"unknown channel '2': did you mean '2[ab]'"):
        find_channel("2")
    with pytest.raises(ConfigError, match="unknown channel 'x'"):
        channel_cutflow(none, "x")
