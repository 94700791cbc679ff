"""Files of the Dark Machines challenge against a plain parse of their text, and every kind of bad line."""

from __future__ import annotations

import gzip
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resonaut.errors import ConfigError, InputError
from resonaut.processors import (
    CHANNELS,
    EventObjects,
    EventObjectsProcessor,
    channel_cutflow,
    collect_objects,
    read_darkmachines,
    recognise,
    run_processor,
    source,
    write_darkmachines,
)
from resonaut.processors.sources import darkmachines as module
from resonaut.processors.sources.darkmachines import LineReader

KINDS = ["j", "b", "e-", "e+", "m-", "m+", "g"]
GOOD = "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1;b,70000,60000,-1,-3;m+,30000,25000,0.1,0.2"

BAD = {
    "malformed line": [
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5",
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1,0",
        "7;ttbar;1;250000",
        "7;ttbar;1;250000;-1.5;;j,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1;;",
        "7;ttbar;1;250000;-1.5;j,90000,80000,zero,3.1",
        "7;ttbar;1;25e;-1.5;j,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;1.2.3;j,90000,80000,0.5,3.1",
        "7;ttbar;1;0x10;-1.5;j,90000,80000,0.5,3.1",
        "7.5;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1",
        "7;;1;250000;-1.5;j,90000,80000,0.5,3.1",
        "event ID;process ID;weight;MET;METphi;obj1,E1,pt1,eta1,phi1",
        "no line of this kind",
    ],
    "unknown object code": [
        "7;ttbar;1;250000;-1.5;t,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1;e,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;J,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;,90000,80000,0.5,3.1",
    ],
    "energy or pT not finite or not positive": [
        "7;ttbar;1;250000;-1.5;j,nan,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,90000,inf,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,90000,-80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,0,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,1e400,80000,0.5,3.1",
    ],
    "weight, MET or direction not finite or out of range": [
        "7;ttbar;nan;250000;-1.5;j,90000,80000,0.5,3.1",
        "7;ttbar;1;-250000;-1.5;j,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-inf;j,90000,80000,0.5,3.1",
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,180",
        "7;ttbar;1;250000;-1.5;j,90000,80000,nan,3.1",
    ],
    "no objects": ["7;ttbar;1;250000;-1.5", "7;ttbar;1;250000;-1.5;"],
    "more than 20 objects": ["7;ttbar;1;250000;-1.5" + 21 * ";j,90000,80000,0.5,3.1"],
    "energy below pT": [
        "7;ttbar;1;250000;-1.5;j,90000,80000,0.5,3.1;m-,70000,80000,0,3.1",
        "7;ttbar;1;250000;-1.5;j,79000,80000,0.0,3.1",
    ],
    "energy beyond the collision energy": [
        "7;ttbar;1;250000;-1.5;j,15000000,80000,0.5,3.1",
        "7;ttbar;1;25000000;-1.5;j,90000,80000,0.5,3.1",
    ],
}


def plain(line: str) -> tuple[Any, ...]:
    """One line in pure Python: event, process, weight, MET, METphi and the list of objects, in GeV."""
    event, process, weight, met, phi, *rest = line.strip().rstrip(";").split(";")
    objects = []
    for text in rest:
        code, e, pt, eta, azimuth = text.split(",")
        objects.append((code, float(e) / 1000, float(pt) / 1000, float(eta), float(azimuth)))
    return int(event), process, float(weight), float(met) / 1000, float(phi), objects


def as_rows(events: EventObjects) -> list[tuple[Any, ...]]:
    rows = []
    for i in range(len(events)):
        objects = [
            (KINDS[events.kind[k] - 1], events.e[k], events.pt[k], events.eta[k], events.phi[k])
            for k in range(events.offsets[i], events.offsets[i + 1])
        ]
        rows.append((events.event[i], events.process[i], events.weight[i], events.met[i], events.met_phi[i], objects))
    return rows


def files(folder: Path) -> list[Path]:
    return sorted((folder / "darkmachines").glob("channel*/*.csv.gz"))


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_file_is_read_as_a_plain_parse_reads_it(reference_data: Path) -> None:
    assert len(files(reference_data)) >= 20
    for path in files(reference_data):
        if path.stat().st_size > 1_000_000:
            continue  # the largest only costs time here
        found = read_darkmachines(path)
        with gzip.open(path, "rt") as file:
            truth = [plain(line) for line in file]
        assert as_rows(found.events) == truth
        assert (found.skipped, found.lines) == ({}, len(truth))


def test_all_events_of_a_channel_pass_its_selection(reference_data: Path) -> None:
    for path in files(reference_data):
        name = path.parent.name.removeprefix("channel")
        events = read_darkmachines(path).events
        mask, cutflow = channel_cutflow(events, name)
        assert mask.all(), (path, cutflow)
        assert set(cutflow.values()) == {len(events)}


def jets(*pts: float, kind: int = 1, met: float = 300.0) -> EventObjects:
    n = len(pts)
    zero = np.zeros(n)
    return EventObjects(
        met=[met], met_phi=[0.0], weight=[1.0], event=[1], process=["x"], kind=np.full(n, kind), e=np.array(pts) + 1,
        pt=pts, eta=zero, phi=zero, offsets=[0, n],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("events", "name", "passes"),
    [
        (jets(250, 150, 140, 60), "1", True),  # HT exactly 600
        (jets(250, 150, 139, 60), "1", False),
        (jets(250, 150, 149, 51, met=200.0), "1", True),
        (jets(250, 150, 149, 51, met=199.0), "1", False),
        (jets(500, 300, 249, 52, met=220.0), "1", False),  # MET / HT = 0.1998
        (jets(500, 300, 249, 50), "1", False),  # pT must be above 50
        (jets(200, 200, 200, 60), "1", False),  # none above 200
        (jets(250, 150, 140, 60, kind=2), "1", True),  # b-jets are jets
        (jets(250, 150, 140, 60, kind=7), "1", False),
        (jets(30, 20, 16, kind=4, met=50.0), "2a", True),
        (jets(30, 20, 15, kind=4, met=50.0), "2a", False),
        (jets(30, 20, 16, kind=7, met=50.0), "2a", False),
        (jets(30, 20, 16, kind=6, met=49.0), "2a", False),
        (EventObjects([60.0], [0.0], [1.0], [1], ["x"], [3, 6, 1], [40, 40, 60], [30, 30, 50], [0] * 3, [0] * 3, [0, 3]),  # type: ignore[arg-type]
         "2b", True),
        (jets(40, 30, kind=3, met=60.0), "2b", False),  # no HT
        (jets(400, 200, met=100.0), "3", True),
        (jets(400, 199, met=100.0), "3", False),
        (jets(400, 200, met=99.0), "3", False),
    ],
)  # fmt: skip
def test_edges_of_the_channels(events: EventObjects, name: str, *, passes: bool) -> None:
    mask, cutflow = channel_cutflow(events, name)
    assert mask.tolist() == [passes]
    assert list(cutflow)[1:] == list(CHANNELS[name].cuts)
    assert list(cutflow.values())[-1] == passes
    assert CHANNELS[name].select(events).tolist() == [passes]


def test_unknown_channel() -> None:
    with pytest.raises(ConfigError, match="did you mean '2"):
        channel_cutflow(jets(1.0), "2c")


@pytest.mark.parametrize(("reason", "line"), [(reason, line) for reason, lines in BAD.items() for line in lines])
def test_every_bad_line_is_counted_with_its_reason(tmp_path: Path, reason: str, line: str) -> None:
    path = write(tmp_path / "events.csv", GOOD, "", line, GOOD)
    found = read_darkmachines(path)
    assert found.skipped == {reason: 1}
    assert found.examples == {reason: f"line 3: {line[:80]}"}
    assert as_rows(found.events) == [plain(GOOD)] * 2
    with pytest.raises(InputError, match=r"events\.csv, 'line 3: ") as caught:
        read_darkmachines(path, on_bad_line="raise")
    assert reason in str(caught.value)


def test_reasons_are_counted_apart_and_the_first_line_is_the_example(tmp_path: Path) -> None:
    lines = [line for some in BAD.values() for line in some]
    random.Random(3).shuffle(lines)
    path = write(tmp_path / "events.csv", *(x for line in lines for x in (GOOD, line)))
    found = read_darkmachines(path)
    assert found.skipped == {reason: len(some) for reason, some in BAD.items()}
    assert found.lines == 2 * len(lines)
    for reason, some in BAD.items():
        first = min(lines.index(line) for line in some)
        assert found.examples[reason].startswith(f"line {2 * first + 2}: {lines[first][:40]}")
    with pytest.raises(InputError, match="'line 2: "):
        read_darkmachines(path, on_bad_line="raise")


def test_limits_of_the_number_of_objects(tmp_path: Path) -> None:
    twenty = "7;ttbar;1;250000;-1.5" + 20 * ";j,90000,80000,0.5,3.1"
    path = write(tmp_path / "events.csv", GOOD, twenty, twenty + ";g,90000,80000,0.5,3.1")
    assert read_darkmachines(path).events.counts.tolist() == [3, 20]
    assert read_darkmachines(path, max_objects=None).events.counts.tolist() == [3, 20, 21]
    found = read_darkmachines(path, max_objects=3)
    assert (found.events.counts.tolist(), found.skipped) == ([3], {"more than 3 objects": 2})
    with pytest.raises(ConfigError, match="max_objects"):
        read_darkmachines(path, max_objects=0)


def test_forms_of_good_lines(tmp_path: Path) -> None:
    forms = [
        GOOD,
        GOOD + ";",
        GOOD + "\r",
        GOOD + ";\r",
        "  " + GOOD.replace(";", " ; ").replace(",", ", ") + " ",
        GOOD.replace("90000", "9.0e+04").replace("250000", "+2.5E5").replace("-1.5", "-1.50"),
        GOOD.replace("7;", "7.0;", 1),
    ]
    path = tmp_path / "events.csv"
    path.write_bytes(("\n\n \r\n" + "\n".join(forms)).encode())  # no end of the last line
    assert as_rows(read_darkmachines(path).events) == [plain(GOOD)] * len(forms)
    assert read_darkmachines(write(path, GOOD.replace("7", "1e+06", 1))).events.event.tolist() == [1_000_000]
    assert read_darkmachines(write(path, GOOD.replace("7", str(2**53 + 1), 1))).events.event.tolist() == [2**53 + 1]


def test_numbers_are_those_that_python_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.uniform(-6, 6, 300), rng.uniform(-1, 1, 300) * 10.0 ** rng.integers(-12, 0, 300)])
    forms = ("{:.6g}", "{:.3f}", "{:.10e}", "{!r}", "{:.25f}", "{:+.14g}")
    texts = [form.format(float(value)) for value in values for form in forms]
    path = write(tmp_path / "events.csv", *(GOOD.replace("0.5,3.1", f"{text},3.1") for text in texts))
    events = read_darkmachines(path).events
    found, truth = events.eta[events.offsets[:-1]], np.array([float(text) for text in texts])
    digits = np.array([len(text.lstrip("-+0.").split("e")[0].replace(".", "")) for text in texts])
    exact = (digits <= 15) & (np.abs(truth) > 1e-6)  # what IEEE arithmetic can round correctly in one step
    assert exact.sum() > 1500
    assert np.array_equal(found[exact], truth[exact])
    assert np.all(np.abs(found - truth) <= 2 * np.spacing(np.abs(truth)))


def test_energies_in_another_unit_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for scale, match in ((1e-3, "look like GeV, expected MeV"), (1e3, "look like keV"), (1e6, "look like keV")):
        lines = [
            f"{i};p;1;{scale * 2e5:g};0.1;j,{scale * pt * 1.5:g},{scale * pt:g},0.1,0.2"
            for i, pt in enumerate(rng.uniform(2e4, 3e6, 50))
        ]
        path = write(tmp_path / "events.csv", *lines)
        for mode in ("skip", "raise"):
            with pytest.raises(InputError, match=match):
                read_darkmachines(path, on_bad_line=mode)
        with pytest.raises(InputError, match=match):
            source("darkmachines").n_events(str(path))
        with path.open("a") as file:  # one line in the right unit does not hide it
            file.write(GOOD + "\n")
        with pytest.raises(InputError, match=match):
            read_darkmachines(path)


@pytest.mark.parametrize("mode", ["skip", "raise"])
@pytest.mark.parametrize("order", [(1, 0, 2, 3), (1, 2, 3, 0), (3, 2, 1, 0)])
def test_fields_in_another_order_are_refused(
    reference_data: Path, tmp_path: Path, order: tuple[int, ...], mode: str
) -> None:
    with gzip.open(reference_data / "darkmachines" / "channel2b" / "background_test.csv.gz", "rt") as file:
        parts = [line.strip().split(";") for line in file][:500]
    lines = []
    for part in parts:
        objects = [text.split(",") for text in part[5:]]
        lines.append(";".join(part[:5] + [",".join([x[0], *(x[1 + i] for i in order)]) for x in objects]))
    with pytest.raises(InputError, match=r"xpected .*obj1,E1,pt1,eta1,phi1"):
        read_darkmachines(write(tmp_path / "events.csv", *lines), on_bad_line=mode)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(random.Random(1).choices([GOOD, GOOD.replace("9", "8")], k=4000)).encode())
    (tmp_path / "short.csv.gz").write_bytes(whole[:-500])
    (tmp_path / "flipped.csv.gz").write_bytes(whole[:300] + bytes([whole[300] ^ 255]) + whole[301:])
    (tmp_path / "empty.csv").write_text("\n\n")
    write(tmp_path / "lhco.csv", "# typ,eta,phi,pt", *(f"{i},4,0.4,1.2,75.2,6.8,12,0" for i in range(9)))
    cases = {
        "short.csv.gz": "truncated or corrupt gzip file, copy it again",
        "flipped.csv.gz": "truncated or corrupt gzip file",
        "empty.csv": "holds no lines",
        "lhco.csv": "not one of 10 lines can be read: malformed line",
        "nothing.csv": "cannot be read",
    }
    for name, match in cases.items():
        with pytest.raises(InputError, match=match) as caught:
            read_darkmachines(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(InputError, match="no source knows this layout"):
        recognise(str(tmp_path / "lhco.csv"))
    with pytest.raises(InputError, match="truncated"):
        run_processor({"x": str(tmp_path / "short.csv.gz")}, EventObjectsProcessor())
    with pytest.raises(ConfigError, match="on_bad_line"):
        read_darkmachines(tmp_path / "lhco.csv", on_bad_line="ignore")


def test_a_binary_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 1000)
    (tmp_path / "noise.csv").write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="a line of more than 1000 bytes"):
        read_darkmachines(tmp_path / "noise.csv")


@pytest.mark.parametrize("block", [100, 150, 1000])
def test_small_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    lines = [GOOD, "", BAD["no objects"][0], GOOD.replace("7", "8", 1), BAD["malformed line"][0]] * 30
    path = write(tmp_path / "events.csv", *lines)
    whole = read_darkmachines(path)
    monkeypatch.setattr(module, "BLOCK", block)
    found = read_darkmachines(path)
    assert as_rows(found.events) == as_rows(whole.events)
    assert (found.skipped, found.examples) == (whole.skipped, whole.examples)
    with LineReader(str(path)) as reader:
        sizes = [len(part) for part in reader.blocks()]
    assert len(sizes) > 5
    assert sum(sizes) == path.stat().st_size


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(2)
    n, counts = 300, rng.integers(1, 21, 300)
    total = int(counts.sum())
    pt = rng.uniform(15, 2000, total)
    eta = rng.uniform(-2, 2, total)
    events = EventObjects(
        met=rng.uniform(0, 500, n), met_phi=rng.uniform(-3, 3, n), weight=rng.normal(1, 2, n), event=np.arange(n) * 10**12,
        process=rng.choice(["ttbar", "gluino_1000.0_neutralino_1.0"], n), kind=rng.integers(1, 8, total),
        e=pt * np.cosh(eta), pt=pt, eta=eta, phi=rng.uniform(-3, 3, total), offsets=np.concatenate([[0], np.cumsum(counts)]),
    )  # fmt: skip
    path = tmp_path / name
    write_darkmachines(path, events)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")
    found = read_darkmachines(path).events
    for field in ("event", "process", "kind", "offsets"):
        assert np.array_equal(getattr(found, field), getattr(events, field))
    for field in ("met", "met_phi", "weight", "e", "pt", "eta", "phi"):
        assert np.allclose(getattr(found, field), getattr(events, field), rtol=1e-11, atol=0)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for bad, match in ((jets(math.nan), "e holds values"), (jets(1.0, met=math.inf), "met holds values")):
        with pytest.raises(InputError, match=match):
            write_darkmachines(tmp_path / "events.csv", bad)
    for process in ("a;b", "", "a\nb", "tt̄"):
        event = jets(50.0)
        object.__setattr__(event, "process", np.array([process]))
        with pytest.raises(InputError, match="cannot be written"):
            write_darkmachines(tmp_path / "events.csv", event)
    assert not list(tmp_path.iterdir())


def test_a_run_keeps_books_of_bad_lines(tmp_path: Path) -> None:
    lines = [GOOD.replace("7;ttbar", f"{i};p{i % 3}", 1) for i in range(60)]
    lines[10], lines[11], lines[40] = BAD["no objects"][0], "", BAD["unknown object code"][0]
    lines[55] = BAD["more than 20 objects"][0]
    path = str(write(tmp_path / "events.csv", *lines))
    assert recognise(path) == "darkmachines"
    fileset = {"mine": {"files": [path], "metadata": {"weight": 0.5}}}
    result = run_processor(fileset, EventObjectsProcessor(max_objects=20), chunksize=7)
    assert (result.ledger.expected, result.ledger.used, result.complete) == (59, 56, True)
    assert result.ledger.skipped == {"no objects": 1, "unknown object code": 1, "more than 20 objects": 1}
    direct, found = read_darkmachines(path).events, collect_objects(result)
    assert [row[:2] + row[3:] for row in as_rows(found)] == [row[:2] + row[3:] for row in as_rows(direct)]
    assert found.weight.tolist() == [0.5] * 56


def test_rows_may_be_read_in_any_order(tmp_path: Path) -> None:
    lines = [GOOD.replace("7", str(i), 1) for i in range(50)]
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress("\n".join(x for line in lines for x in ("", line)).encode()))
    reader = source("darkmachines")
    assert reader.n_events(str(path)) == 50
    for start, stop in ((0, 10), (10, 20), (35, 50), (5, 6), (5, 6), (6, 6), (48, 60)):
        events = reader.read(str(path), start, stop)
        assert events.event.to_list() == list(range(start, min(stop, 50)))
    path.write_bytes(gzip.compress("\n".join(lines[::-1]).encode()))  # another file of that name
    assert reader.read(str(path), 5, 7).event.to_list() == [44, 43]
