"""Encodings against one event written out by hand, and against plain loops over simulated events."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.processors.events.objects import OBJECT_KINDS, EventObjects
from resonaut.processors.objects.encodings import LeadingObjects, ObjectSets, TypeSlots, encoding_from_dict

OBJECTS = [
    ("b", 120.0, 100.0, 0.5, 0.1),
    ("j", 90.0, 80.0, -1.0, 2.0),
    ("j", 300.0, 150.0, 1.5, -2.0),
    ("m+", 40.0, 30.0, 0.2, 1.0),
    ("e-", 60.0, 50.0, -0.3, 0.5),
    ("g", 26.0, 25.0, 0.1, -0.4),
]
NONE: list[tuple[str, float, float, float, float]] = []


def build(events: list[list[tuple[str, float, float, float, float]]], met: float = 200.0) -> EventObjects:
    flat = [each for event in events for each in event]
    columns = list(zip(*flat, strict=True)) if flat else [()] * 5
    n = len(events)
    kind, *momenta = columns
    names = ("e", "pt", "eta", "phi")
    return EventObjects(
        met=np.full(n, met), met_phi=np.full(n, 0.7), weight=np.ones(n), event=np.arange(n), process=np.full(n, "x"),
        kind=np.array([OBJECT_KINDS.index(each) + 1 for each in kind], np.int8),
        **{name: np.array(values, float) for name, values in zip(names, momenta, strict=True)},
        offsets=np.cumsum([0, *map(len, events)]),
    )  # fmt: skip


def simulated(n: int, seed: int) -> EventObjects:
    rng = np.random.default_rng(seed)
    events = [
        [
            (
                str(rng.choice(OBJECT_KINDS)),
                *(float(x) for x in rng.uniform(20, 500, 2)),
                float(rng.normal()),
                float(rng.normal()),
            )
            for _ in range(rng.integers(0, 12))
        ]
        for _ in range(n)
    ]
    return build(events)


def row(encoding: TypeSlots | LeadingObjects | ObjectSets, events: EventObjects, which: int = 0) -> dict[str, float]:
    matrix = encoding.encode(events)
    assert matrix.shape == (len(events), len(encoding.names))
    assert len(set(encoding.names)) == len(encoding.names)
    return dict(zip(encoding.names, matrix[which].tolist(), strict=True))


def test_slots_hold_what_was_written_by_hand() -> None:
    events = build([OBJECTS, NONE])
    encoding = TypeSlots.learn(events)
    assert encoding.slots == (2, 1, 1, 0, 0, 1, 1)
    found = row(encoding, events)
    assert found["met"] == 200.0
    assert found["met_phi"] == 0.7
    assert [found[f"j1_{part}"] for part in ("e", "pt", "eta", "phi")] == [300.0, 150.0, 1.5, -2.0]
    assert [found[f"j2_{part}"] for part in ("e", "pt", "eta", "phi")] == [90.0, 80.0, -1.0, 2.0]
    assert [found[f"b1_{part}"] for part in ("e", "pt", "eta", "phi")] == [120.0, 100.0, 0.5, 0.1]
    assert found["mp1_pt"] == 30.0
    assert found["em1_phi"] == 0.5
    assert all(value == 1.0 for name, value in found.items() if name.startswith("has_"))
    empty = row(encoding, events, 1)
    assert [name for name, value in empty.items() if value] == ["met", "met_phi"]
    logs = row(TypeSlots.learn(events, log=True), events)
    assert logs["j1_pt"] == pytest.approx(math.log10(150.0))
    assert logs["met"] == pytest.approx(math.log10(200.0))
    assert logs["j1_eta"] == 1.5


def test_slots_are_learnt_from_training_events_and_the_rest_is_counted() -> None:
    encoding = TypeSlots.learn(build([[("j", 90.0, 80.0, 0.0, 0.0)]]))
    events = build([OBJECTS, [("j", 50.0, 40.0, 0.0, 0.0)], NONE])
    assert encoding.slots == (1, 0, 0, 0, 0, 0, 0)
    assert encoding.overflow(events) == 1
    assert encoding.encode(events)[:, encoding.names.index("j1_pt")].tolist() == [150.0, 40.0, 0.0]
    with pytest.raises(InputError, match="no training events"):
        TypeSlots.learn(build([]))


def test_leading_objects_hold_what_was_written_by_hand() -> None:
    found = row(LeadingObjects(log=False), build([OBJECTS, NONE]))
    assert [found[f"jet{place}_kind"] for place in range(1, 8)] == [1, 2, 1, 0, 0, 0, 0]
    assert [found[f"jet{place}_pt"] for place in range(1, 5)] == [150.0, 100.0, 80.0, 0.0]
    assert [found[f"lep{place}_kind"] for place in range(1, 5)] == [1, 4, 0, 0]
    assert [found[f"lep{place}_e"] for place in range(1, 4)] == [60.0, 40.0, 0.0]
    assert [found[name] for name in ("n_j", "n_b", "n_g", "n_em", "n_ep", "n_mm", "n_mp")] == [2, 1, 1, 1, 0, 0, 1]
    logs = row(LeadingObjects(log=True), build([OBJECTS]))
    assert logs["jet2_e"] == pytest.approx(math.log10(120.0))
    assert logs["jet4_e"] == 0.0


def test_sets_hold_every_object_and_the_missing_momentum() -> None:
    encoding = ObjectSets(most=5)
    events = build([OBJECTS, NONE])
    found = row(encoding, events)
    assert encoding.overflow(events) == 1  # the photon is the softest of six
    assert [found[f"obj{place}_kind"] for place in range(1, 6)] == [1, 2, 1, 3, 6]
    assert found["obj1_log_pt"] == pytest.approx(math.log10(150.0))
    assert [found[f"met_{part}"] for part in ("kind", "log_e", "eta", "phi")] == [8, 0.0, 0.0, 0.7]
    assert found["met_log_pt"] == pytest.approx(math.log10(200.0))
    assert sum(row(encoding, events, 1).values()) == pytest.approx(8 + math.log10(200.0) + 0.7)
    assert encoding.names == tuple(name for each in encoding.objects for name in each)


def test_encodings_agree_with_plain_loops() -> None:
    events = simulated(200, seed=3)
    slots, leading, sets = TypeSlots.learn(events), LeadingObjects(log=False), ObjectSets(most=20)
    matrices = [each.encode(events) for each in (slots, leading, sets)]
    for number in range(len(events)):
        own = slice(events.offsets[number], events.offsets[number + 1])
        objects = sorted(zip(events.pt[own], events.kind[own], events.e[own], strict=True), reverse=True)
        for code, name in enumerate(("j", "b", "em", "ep", "mm", "mp", "g"), start=1):
            pts = [pt for pt, kind, _ in objects if kind == code]
            columns = [slots.names.index(f"{name}{place + 1}_pt") for place in range(slots.slots[code - 1])]
            assert matrices[0][number, columns].tolist() == pts + [0.0] * (len(columns) - len(pts))
        jets = [e for _, kind, e in objects if kind <= 2][:7]
        columns = [leading.names.index(f"jet{place + 1}_e") for place in range(7)]
        assert matrices[1][number, columns].tolist() == jets + [0.0] * (7 - len(jets))
        kinds = [kind for _, kind, _ in objects]
        assert matrices[2][number].reshape(21, 5)[:-1, 0].tolist() == kinds + [0] * (20 - len(kinds))


def test_the_order_in_the_file_does_not_matter() -> None:
    one, other = build([OBJECTS]), build([OBJECTS[::-1]])
    for encoding in (TypeSlots.learn(one), LeadingObjects(), ObjectSets()):
        assert np.array_equal(encoding.encode(one), encoding.encode(other))


def test_encodings_come_back_from_json() -> None:
    for encoding in (TypeSlots((2, 1, 0, 0, 1, 1, 0), log=True), LeadingObjects(3, 2, log=False), ObjectSets(7)):
        assert encoding_from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="slots"):
        TypeSlots((1, 2))
    with pytest.raises(ConfigError, match="at least 0"):
        LeadingObjects(jets=-1)
    with pytest.raises(ConfigError, match="at least 1"):
        ObjectSets(most=0)
    with pytest.raises(ConfigError, match="unknown encoding"):
        encoding_from_dict({"name": "pictures"})
    with pytest.raises(ConfigError, match="expected name"):
        encoding_from_dict({"name": "object-sets", "least": 3})
