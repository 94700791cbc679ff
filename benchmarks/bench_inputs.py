"""Every file of a folder of reference data through one call of `resonaut features`: events in, used, skipped and why.

    python benchmarks/bench_inputs.py FOLDER

FOLDER holds `root/`, `sim/`, `lhco/`, `opendata_upsilon/` and `darkmachines/` (docs/inputs.md shows what they are). A file whose jets are
not where they are looked for first is called twice: as anybody would, which must end with the option to give, and with it.
Seconds are those of the whole call, the start of Python included, with kernels compiled before.

Then the particle files, event by event, against feature files that other programs made of them; an event is known by its place
in the file, which is its number in the table.

Results go to `benchmarks/results/inputs.json`, and as a table to standard output.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from machine import machine

from resonaut.files import read_json, write_json
from resonaut.processors import read_table

RESULTS = Path(__file__).parent / "results" / "inputs.json"
RESONAUT = (sys.executable, "-c", "from resonaut.analysis.cli import main; main()")
PATTERNS = (
    "root/*",
    "lhco/*.h5",
    "sim/*.h5",
    "opendata_upsilon/*.root",
    "darkmachines/*/*.csv.gz",
)
OPTIONS = {  # where the events of a file are not dijets of the jets that are looked for first
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": ("--jets", "Jet"),
    "nano_dy.parquet": ("--jets", "Jet"),
    "dimuon_100k.root": ("--resonance", "dimuon"),
}
STORED = {"m": "m", "tau1": "tau1", "tau2": "tau2", "tau3": "tau3", "tau4": "tau4", "tau1b2": "tau1b2", "n": "ntrk"}
Columns = dict[str, npt.NDArray[Any]]


def call(path: Path, folder: Path, options: tuple[str, ...], work: Path) -> dict[str, Any]:
    """One call of the command line: its books, or what it says if it fails."""
    table, metrics = work / "table.parquet", work / "metrics.json"
    metrics.unlink(missing_ok=True)
    command = ["features", str(path), "--out", str(table), "--metrics", str(metrics), *options]
    started = time.perf_counter()
    done = subprocess.run([*RESONAUT, *command], capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - started, 1)
    name = str(path.relative_to(folder))
    row: dict[str, Any] = {"command": " ".join(("resonaut features", name, *options)), "seconds": seconds}
    if done.returncode:
        said = re.search(r"^\w+Error: .*", done.stderr, flags=re.MULTILINE)  # after the progress bar
        return {**row, "error": (said[0] if said else done.stderr).replace(str(path), name)}
    ledger = read_json(metrics)["ledger"]
    row |= {key: ledger[key] for key in ("expected", "used", "skipped", "lost", "duplicates", "files_failed")}
    return {**row, "selected": len(read_table(table))}


def every_file(folder: Path, work: Path) -> list[dict[str, Any]]:
    """A row for each call."""
    rows = []
    for pattern in PATTERNS:
        for path in sorted(folder.glob(pattern)):
            options = OPTIONS.get(path.name, ())
            for each in ((), options) if options else ((),):
                rows.append(call(path, folder, each, work))
                print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table of docs/inputs.md."""
    if "error" in row:
        return f"| `{row['command']}` | | | | {row['error']} |"
    why = ", ".join(f"{count} {reason}" for reason, count in row["skipped"].items())
    skipped = sum(row["skipped"].values())
    return f"| `{row['command']}` | {row['expected']} | {row['used']} | {skipped} | {why} |"


def frame(path: Path) -> Columns:
    """A feature frame of the LHC Olympics, with the columns of an event table."""
    with h5py.File(path) as file:
        names = [name.decode() for name in file["df/axis0"][:]]
        rows = dict(zip(names, file["df/block0_values"][:].T.astype(float), strict=True))
    out = {"nj": rows["nj"], "label": rows["label"]}
    momenta = []
    for j in ("j1", "j2"):
        px, py, pz, m = (rows[f"{x}{j}"] for x in ("px", "py", "pz", "m"))
        pt = np.hypot(px, py)
        momenta.append((np.sqrt(px**2 + py**2 + pz**2 + m**2), px, py, pz))
        out |= {f"pt_{j}": pt, f"eta_{j}": np.arcsinh(pz / pt), f"phi_{j}": np.arctan2(py, px)}
        out |= {f"{ours}_{j}": rows[f"{theirs}{j}"] for ours, theirs in STORED.items()}
    e, px, py, pz = (one + two for one, two in zip(*momenta, strict=True))
    return out | {"mjj": np.sqrt(e**2 - px**2 - py**2 - pz**2)}


def csv(path: Path) -> Columns:
    """Features of the first events of the native file, by another program."""
    rows = np.genfromtxt(path, delimiter=",", names=True)
    names = {"pt": "pT", "eta": "eta", "phi": "phi", "m": "m", "n": "nhadrons"}
    out = {f"{ours}_{j}": rows[f"{theirs}_{j}"] for j in ("j1", "j2") for ours, theirs in names.items()}
    return out | {"mjj": rows["m_jj"], "label": rows["label"]}


def compared(path: Path, truth: Columns, work: Path) -> dict[str, Any]:
    """Largest difference of every feature, relative (angles: absolute), over all events that both have."""
    table = work / "compared.parquet"
    subprocess.run([*RESONAUT, "features", str(path), "--out", str(table)], capture_output=True, check=True)
    ours = read_table(table)
    events = np.asarray(ours["event"])  # places in the file, where it has no numbers
    both = events < len(truth["mjj"])
    differences = {}
    for name, values in truth.items():
        mine, theirs = np.asarray(ours[name], float)[both], values[events[both]]
        scale = 1.0 if name.startswith(("eta", "phi")) else np.maximum(np.abs(theirs), 1e-6)
        differences[name] = float(np.max(np.abs(mine - theirs) / scale))
    return {"events": len(truth["mjj"]), "matched": int(both.sum()), "largest_difference": differences}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    about = machine("uproot", "awkward", "coffea")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        call(folder / "lhco" / "events_anomalydetection_tiny.h5", folder, (), work)  # compile
        lhco, sim = folder / "lhco" / "events_anomalydetection_tiny", folder / "sim" / "particles_sample"
        content = {
            "schema": 1,
            "files": every_file(folder, work),
            "against_other_programs": {
                "sim/particles_sample.h5": compared(
                    sim.with_suffix(".h5"), frame(sim.with_name("particles_sample.features.h5")), work
                ),
                "lhco/events_anomalydetection_tiny.h5": compared(
                    lhco.with_suffix(".h5"), csv(lhco.with_name(f"{lhco.name}.features.csv")), work
                ),
            },
            "environment": about,
        }
    write_json(RESULTS, content)
    print(content["against_other_programs"])


if __name__ == "__main__":
    main()
