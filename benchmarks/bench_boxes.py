"""Black boxes: files of background with and without a signal, searched without labels, then compared with the truth.

    python benchmarks/bench_boxes.py FOLDER [--state runs/boxes] [--boxes 24]

FOLDER holds `qcd_data.features.h5`. Four shuffles of its events are cut into six disjoint parts each: 24 boxes, of which
those of one shuffle share no event and two of different shuffles share a sixth. A third of them, drawn by lot, hold
background alone. The others hold Z' -> X Y of masses and prongs drawn by lot, in a number from 0.3 to 4 times the square
root of the background in a signal region around it. The boxes have no column of labels. What is in them goes to
`truth.json`, which is read again when every search is finished.

Each box goes through `run_search` with `CONFIG`. The criterion was written here before the first box was searched: a
signal is claimed where the global significance is above 3 (`CLAIM`); it is found where it is claimed within 5 % of its
mass (`NEAR`). Everything is a resumable unit in the state folder; the table goes to `benchmarks/results/boxes.json`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from resonaut.analysis.config import parse_config
from resonaut.analysis.rundir import Unit
from resonaut.analysis.search import run_search
from resonaut.files import atomic_path, digest, read_json, write_json
from resonaut.processors import ZPrimeXY, generate

SEED = 20260
PARTS = 6
CLAIM = 3.0  # global standard deviations
NEAR = 0.05  # of the true mass
LUMINOSITY = 170.0 / PARTS  # fb-1: that of the whole sample over the number of parts
STRENGTHS = (0.3, 4.0)  # signal events over the square root of the background in +-4 % of the mass
MASSES, DAUGHTERS = (3100.0, 4700.0), (80.0, 600.0)  # GeV
CONFIG: dict[str, Any] = {
    "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 2},
    "methods": [{"name": "cwola-trees"}],
    "selection": {"cuts": [0.1, 0.01, 0.001], "folds": 5},
    "limits": {"cuts": [1.0]},
    "luminosity": LUMINOSITY,
    "workers": 1,
}


def draw_contents(boxes: int) -> list[dict[str, Any]]:
    """What is to be in each box: nothing in every third of them, else a signal; the order is drawn by lot."""
    rng = np.random.default_rng(SEED)
    empty = -(-boxes // 3)
    strengths = np.geomspace(*STRENGTHS, boxes - empty)
    contents: list[dict[str, Any]] = [{"signal": None} for _ in range(empty)]
    for strength in strengths:
        m_x, m_y = (round(float(m)) for m in np.sort(rng.uniform(*DAUGHTERS, 2))[::-1])
        prongs = [int(p) for p in rng.integers(2, 4, 2)]
        signal = {"m_zprime": round(float(rng.uniform(*MASSES))), "m_x": m_x, "m_y": m_y}
        contents.append(
            {"signal": {**signal, "prongs_x": prongs[0], "prongs_y": prongs[1]}, "strength": float(strength)}
        )
    return [contents[k] for k in rng.permutation(boxes)]


def dijet_mass(rows: np.ndarray, names: list[str]) -> np.ndarray:
    """(n,) GeV, from the momenta and masses of the two jets."""
    columns = {name: rows[:, k].astype(float) for k, name in enumerate(names)}
    p = {x: columns[f"p{x}j1"] + columns[f"p{x}j2"] for x in "xyz"}
    energy = sum(np.sqrt(sum(columns[f"p{x}{j}"] ** 2 for x in "xyz") + columns[f"m{j}"] ** 2) for j in ("j1", "j2"))
    return np.sqrt(np.maximum(energy**2 - sum(v**2 for v in p.values()), 0.0))


def frame(path: Path) -> tuple[np.ndarray, list[str]]:
    with h5py.File(path) as file:
        return file["df/block0_values"][:], [name.decode() for name in file["df/block0_items"][:]]


def write_box(path: Path, rows: np.ndarray, names: list[str]) -> None:
    """A feature frame without labels."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"], group.attrs["nblocks"] = np.bytes_("frame"), 1
        for name in ("axis0", "block0_items"):
            group[name] = np.array([n.encode() for n in names])
        group["axis1"] = np.arange(len(rows))
        group.create_dataset("block0_values", data=rows, compression="gzip", shuffle=True)


def make_boxes(folder: Path, state: Path, boxes: int) -> None:
    """All boxes and the truth; nothing where they are there."""
    unit = Unit(state / "made", digest(SEED, boxes, PARTS, STRENGTHS, MASSES, DAUGHTERS))

    def work(out: Path) -> None:
        pool, names = frame(folder / "qcd_data.features.h5")
        kept = [k for k, name in enumerate(names) if name != "label"]
        names = [names[k] for k in kept]
        truths = []
        for number, content in enumerate(draw_contents(boxes)):
            shuffle = np.random.default_rng([SEED, number // PARTS]).permutation(len(pool))
            rows = pool[np.array_split(shuffle, PARTS)[number % PARTS]][:, kept]
            truth = {"box": number, **content, "events": 0}
            if signal := content["signal"]:
                mass = dijet_mass(rows, names)
                near = np.count_nonzero(np.abs(mass / signal["m_zprime"] - 1) < 0.04)
                truth["events"] = max(1, round(content["strength"] * float(np.sqrt(near))))
                file = state / "signals" / f"signal_{number:02d}.h5"
                file.parent.mkdir(parents=True, exist_ok=True)
                generate(ZPrimeXY(**signal), file, events=truth["events"], format="features", seed=SEED + number)
                made, columns = frame(file)
                rows = np.concatenate([rows, made[:, [columns.index(name) for name in names]]])
            rows = rows[np.random.default_rng([SEED, 1000 + number]).permutation(len(rows))]
            write_box(out / f"box_{number:02d}.h5", rows.astype(np.float32), names)
            truths.append(truth)
        write_json(out / "truth.json", truths)

    unit.make(work)


def search_box(state: Path, number: int) -> None:
    """The whole search of one box; `run_search` goes on where it was."""
    out = state / f"run_{number:02d}"
    box = state / "made" / f"box_{number:02d}.h5"
    content = {"name": f"box {number}", "seed": SEED + number, "input": {"files": [str(box)]}, **CONFIG}
    started, cpu = time.perf_counter(), time.process_time()
    run_search(parse_config(content), state, out)
    print(f"box {number:2d}: {time.perf_counter() - started:.0f} s, CPU {time.process_time() - cpu:.0f} s", flush=True)


def result_of(state: Path, number: int) -> dict[str, Any]:
    """What the search said of a box, without its truth."""
    summary = read_json(state / f"run_{number:02d}" / "summary.json")
    excess, seconds = summary["excess"], summary["timings"]
    peaks = {row["feature"]: (row["peak"], row["peak_error"]) for row in excess["properties"]}
    names = ("low", "high", "method", "cut", "local_significance", "global_p", "global_significance", "global_kind")
    return {
        **{name: excess[name] for name in (*names, "trials")},
        "peak": excess["peak"],
        "at_least": excess["cross_section"]["at_least"],
        "without_cut": excess["cross_section"]["without_cut"],
        "jets": {name: peaks.get(name) for name in ("m_h", "m_l", "tau21_h", "tau21_l", "n_h", "n_l")},
        "seconds": seconds["events"] + seconds["training"] + seconds["limits"],
    }


def outcome(truth: dict[str, Any], result: dict[str, Any]) -> str:
    """found, misplaced or missed; quiet or false alarm."""
    claimed = result["global_significance"] > CLAIM
    if truth["signal"] is None:
        return "false alarm" if claimed else "quiet"
    if not claimed:
        return "missed"
    return "found" if abs(result["peak"]["mass"] / truth["signal"]["m_zprime"] - 1) < NEAR else "misplaced"


def score_card(state: Path, boxes: int) -> dict[str, Any]:
    """All results, and only then the truth."""
    results = [result_of(state, number) for number in range(boxes)]
    truths = read_json(state / "made" / "truth.json")
    rows = [{**t, **r, "outcome": outcome(t, r)} for t, r in zip(truths, results, strict=True)]
    names = ("found", "misplaced", "missed", "quiet", "false alarm")
    return {
        "criterion": {"global_significance_above": CLAIM, "mass_within": NEAR},
        "luminosity": LUMINOSITY,
        "config": CONFIG,
        "counts": {name: sum(row["outcome"] == name for row in rows) for name in names},
        "boxes": rows,
    }


def table(card: dict[str, Any]) -> list[str]:
    """Rows of the table in docs/black-boxes.md: signals by strength, then empty boxes."""
    lines = []
    for row in sorted(card["boxes"], key=lambda r: (r["signal"] is None, r.get("strength", 0.0), r["box"])):
        truth, peak, size = row["signal"], row["peak"], row["without_cut"]
        if truth:
            shape = f"{truth['m_x']:.0f} ({truth['prongs_x']}), {truth['m_y']:.0f} ({truth['prongs_y']})"
            known = f"{truth['m_zprime']} | {shape} | {row['strength']:.1f} | {row['events'] / card['luminosity']:.1f}"
        else:
            known = "none | | |"
        half = (peak["mass_high"] - peak["mass_low"]) / 2
        jets = [
            f"{row['jets'][name][0]:.0f} ± {row['jets'][name][1]:.0f}" for name in ("m_h", "m_l") if row["jets"][name]
        ]
        claimed = row["global_significance"] > CLAIM
        found = f"{peak['mass']:.0f} ± {half:.0f} | {', '.join(jets)} | {size['fb']:.1f} ± {size['fb_error']:.1f}"
        told = found if claimed else "| |"
        lines.append(
            f"| {row['box']} | {known} | {row['local_significance']:.1f} | {row['global_significance']:.1f} | {told} | "
            f"{row['outcome']} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--state", type=Path, default=Path("runs/boxes"))
    parser.add_argument("--boxes", type=int, default=24)
    parser.add_argument("--only", type=int, nargs="*", help="search these boxes alone, and score nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "boxes.json")
    options = parser.parse_args()
    os.nice(19)
    make_boxes(options.folder, options.state, options.boxes)
    for number in range(options.boxes) if options.only is None else options.only:
        search_box(options.state, number)
    if options.only is None:
        card = score_card(options.state, options.boxes)
        write_json(options.out, card)
        print("\n".join(table(card)))
        print(card["counts"])


if __name__ == "__main__":
    main()
