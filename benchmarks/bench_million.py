"""A million events from particles to the p-value scan on two cores: time of each stage, and the memory of all processes.

    python benchmarks/bench_million.py FOLDER WORK [--events 1000000] [--workers 2] [--memory-limit 4GB]

FOLDER holds `sim/particles_sample.h5`. Its events are replicated into WORK, each replica turned by a random angle about
the beam, which changes no jet but every number in the files. Then, as a user would:

    resonaut features WORK/replicas/*.root --out WORK/events.parquet --executor futures --workers 2 --memory-limit 4GB
    resonaut run WORK/search.yaml --out WORK/run --workers 2

Memory is the largest sum of the proportional set sizes (pages that processes share count once) of the command and all its
children, looked at four times a second. Results go to `benchmarks/results/million.json`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import psutil
import yaml
from machine import machine

from resonaut.files import read_json, write_json
from resonaut.processors import read_provenance, source, table_columns, write_particle_tree

RESULTS = Path(__file__).parent / "results" / "million.json"
SEARCH = {
    "name": "a million events",
    "seed": 1,
    "input": {"files": ["events.parquet"]},
    "scan": {"low": 2800, "high": 5200, "bins": 30, "step": 2, "only": [3500]},
    "methods": [{"name": "cwola-trees"}],
    "selection": {"cuts": [0.1, 0.01, 0.001], "folds": 5},
    "fit": {"function": "dijet4", "sqrts": 13000},
    "limits": {"width": 0.035},
}


def replicate(sample: str, folder: Path, events: int) -> list[Path]:
    """Files of the sample's particles, each event turned by an angle of its own, until there are enough."""
    reader = source("lhco-particles")
    rows = reader.n_events(sample)
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for i, first in enumerate(range(0, events, rows)):
        path = folder / f"replica_{i:03d}.root"
        files.append(path)
        if path.exists():
            continue
        found = reader.read(sample, 0, min(rows, events - first))
        turned = found.PFCand.phi + np.random.default_rng(i).uniform(-np.pi, np.pi, len(found))
        particles = ak.zip(
            {
                "pt": found.PFCand.pt,
                "eta": found.PFCand.eta,
                "phi": (turned + np.pi) % (2 * np.pi) - np.pi,
                "mass": found.PFCand.mass,
            }
        )
        temporary = path.with_suffix(".part")
        write_particle_tree(temporary, particles, label=ak.to_numpy(found.label))
        temporary.rename(path)
    return files


def memory(process: psutil.Process) -> float:
    """Proportional set size of a process and its children, in bytes."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_full_info().pss
        except psutil.Error:  # it ended while we looked
            continue
    return total


def watched(command: list[str]) -> dict[str, Any]:
    """Run a command; its seconds and the peak memory."""
    started, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(0.25)
    if running.returncode:
        sys.exit(f"{' '.join(command[:3])} ... failed with exit code {running.returncode}")
    return {"seconds": round(time.perf_counter() - started, 1), "peak_memory_GB": round(peak / 1e9, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--memory-limit", default="4GB")
    arguments = parser.parse_args()
    work = arguments.work
    files = replicate(str(arguments.folder / "sim" / "particles_sample.h5"), work / "replicas", arguments.events)
    table = work / "events.parquet"
    table.unlink(missing_ok=True)
    shutil.rmtree(work / "run", ignore_errors=True)
    resonaut = [sys.executable, "-m", "resonaut"]
    options = ["--executor", "futures", "--workers", arguments.workers, "--memory-limit", arguments.memory_limit]
    features = watched([*resonaut, "features", *map(str, files), "--out", str(table), *options])
    (work / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    search = watched([*resonaut, "run", str(work / "search.yaml"), "--out", str(work / "run"), "--workers", "2"])
    summary = read_json(work / "run" / "summary.json")
    ledger = read_provenance(table)["ledger"]
    result = {
        "schema": 1,
        "events": {name: ledger[name] for name in ("expected", "read", "used", "skipped", "complete")},
        "columns": len(table_columns(table)),
        "bytes": {"replicas": sum(path.stat().st_size for path in files), "table": table.stat().st_size},
        "features": {**features, "events_per_second": round(ledger["read"] / features["seconds"])},
        "search": {**search, "stages": summary["timings"]},
        "environment": machine("uproot", "awkward", "coffea"),
    }
    write_json(RESULTS, result)
    print(result)


if __name__ == "__main__":
    main()
