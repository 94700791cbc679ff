"""Running: two workers against one, dask against futures, and whether memory stays flat.

    python benchmarks/bench_running.py FOLDER [--copies 8] [--pairs 2]

FOLDER holds `sim/particles_sample.h5` (22,000 events of particles), which is read as so many datasets. Every run is a process
of its own and does the same: `DijetProcessor` over all events in chunks of 2000. Times are of the whole process, start of
Python, of workers or of the cluster, and compilation from the disk's cache included. Kinds of run take turns, so that a
machine that gets busy meets all of them; the smallest of the wall times is compared, and CPU seconds (of the process and
its workers) are given beside them: `..._by_cpu` is what two free cores would give if nothing waited. Runs over one copy tell
what the start costs: `..._per_event` compares what is left. Memory: the largest of each of 20 chunks in one process, and its slope.
Results go to `benchmarks/results/running.json`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from resonaut.files import write_json
from resonaut.processors import DijetProcessor, run_processor

RESULTS = Path(__file__).parent / "results" / "running.json"
CHUNK = 2000
KINDS = {"one worker": ("futures", 1), "two workers": ("futures", 2), "dask, two workers": ("dask", 2)}


def one_run(path: str, copies: int, executor: str, workers: int) -> None:
    """What a run in a process of its own does; its result as JSON on standard output."""
    fileset = {f"copy {i}": [path] for i in range(copies)}
    result = run_processor(fileset, DijetProcessor(), executor=executor, workers=workers, chunksize=CHUNK)
    result.require_complete()
    table = result.table()
    print(
        json.dumps(
            {"read": result.ledger.read, "sum": float(np.sum(table["mjj"])), "inside": result.metrics["seconds"]}
        )
    )


def timed(path: str, copies: int, executor: str, workers: int) -> dict[str, Any]:
    """Wall and CPU seconds of such a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, __file__, path, "--copies", str(copies), "--alone", executor, str(workers)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), **found}


def memory(path: str) -> dict[str, Any]:
    """Largest memory in each of twenty chunks of one process."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "metrics.json"
        fileset = {f"copy {i}": [path] for i in range(2)}
        run_processor(fileset, DijetProcessor(), chunksize=2200, metrics=note, table=Path(folder) / "table.parquet")
        peaks = np.array([chunk["peak_memory"] for chunk in json.loads(note.read_text())["chunk_list"]]) / 1e6
    slope = np.polyfit(np.arange(2, len(peaks)), peaks[2:], 1)[0]
    return {
        "chunks": len(peaks),
        "peak_MB": [round(float(peak), 1) for peak in peaks],
        "slope_MB_per_chunk": round(float(slope), 3),
        "last_over_third": round(float(peaks[-1] / peaks[2]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        one_run(arguments.folder, arguments.copies, arguments.alone[0], int(arguments.alone[1]))
        return
    path = str(Path(arguments.folder) / "sim" / "particles_sample.h5")
    run_processor({"warm": [path]}, DijetProcessor(), chunksize=30_000)  # compiles, and reads the file once
    about = machine("coffea", "dask")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in KINDS}
    short: dict[str, list[dict[str, Any]]] = {name: [] for name in KINDS}
    for _ in range(arguments.pairs):
        for name, (executor, workers) in KINDS.items():
            runs[name].append(timed(path, arguments.copies, executor, workers))
            short[name].append(timed(path, 1, executor, workers))
    assert len({(run["read"], run["sum"]) for found in runs.values() for run in found}) == 1  # the same to the last bit
    best = {name: min(run["seconds"] for run in found) for name, found in runs.items()}
    more = {name: best[name] - min(run["seconds"] for run in short[name]) for name in KINDS}
    cpu = {name: min(run["cpu_seconds"] for run in found) for name, found in runs.items()}
    result = {
        "schema": 1,
        "events": runs["one worker"][0]["read"],
        "runs": runs,
        "runs_over_one_copy": short,
        "two_workers_over_one": round(best["one worker"] / best["two workers"], 3),
        "two_workers_over_one_per_event": round(more["one worker"] / more["two workers"], 3),
        "two_workers_over_one_by_cpu": round(2 * cpu["one worker"] / cpu["two workers"], 3),
        "dask_over_futures_seconds": round(best["dask, two workers"] / best["two workers"], 3),
        "dask_over_futures_per_event": round(more["dask, two workers"] / more["two workers"], 3),
        "dask_over_futures_cpu": round(cpu["dask, two workers"] / cpu["two workers"], 3),
        "memory": memory(path),
        "environment": about,
    }
    write_json(RESULTS, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
