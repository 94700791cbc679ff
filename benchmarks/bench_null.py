"""The search where there is nothing to find: `python benchmarks/bench_null.py FOLDER [--parts 3] [--workers 2]`.

FOLDER holds `qcd_data.features.h5`. The events between 2.8 and 5.2 TeV are split into disjoint parts, and the demo's search is done on
each: eleven windows, all cuts. If neither the training nor the fit makes bumps, the local significances scatter around zero
with a width of one; those of neighbouring windows and nested cuts are correlated. Units are kept in `--cache`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from resonaut.analysis.config import ExecutorConfig, SearchConfig
from resonaut.analysis.demo import demo_config
from resonaut.analysis.events import make_table
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import score_jobs, score_stage
from resonaut.analysis.spectra import scan_of, selections_of
from resonaut.files import file_digest, write_json
from resonaut.processors import read_table, write_table


def split(folder: Path, parts: int, cache: Path, config: SearchConfig) -> list[Path]:
    """Event tables of the disjoint parts."""
    everything = cache / "qcd_data.parquet"
    if not everything.exists():
        source, chunks = folder / "qcd_data.features.h5", cache / "chunks"
        make_table([source], everything, {}, {}, ExecutorConfig(chunksize=100_000), on_bad_file="raise", cache=chunks)
    table = read_table(everything)
    mass = np.asarray(table["mjj"])
    rows = np.flatnonzero((mass >= config.scan.low) & (mass < config.scan.high))
    shuffled = np.random.default_rng(config.seed).permutation(rows)
    paths = []
    for number, chosen in enumerate(np.array_split(shuffled, parts)):
        paths.append(cache / f"part{number}of{parts}.parquet")
        if not paths[-1].exists():
            write_table(paths[-1], {name: np.asarray(table[name])[chosen] for name in table.fields})
    return paths


def summarise(z: np.ndarray) -> dict[str, float | int]:
    """Moments of local significances; the error of the mean would be width / sqrt(entries) if they were independent."""
    return {
        "entries": len(z), "mean": float(z.mean()), "width": float(z.std(ddof=1)), "largest": float(z.max()),
        "above_2": int((z > 2).sum()), "above_3": int((z > 3).sum()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("runs/null"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "null.json")
    options = parser.parse_args()
    config, _ = demo_config(signal=False)
    options.cache.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, table in enumerate(split(options.folder, options.parts, options.cache, config)):
        jobs = score_jobs(config, RunDirectory(options.cache / f"run{number}"), table, file_digest(table))
        score_stage(jobs, workers=options.workers)
        for entry in scan_of(config, selections_of(config, jobs, table)).entries:
            entries.append({"part": number, "low": entry.low, "cut": entry.cut, "z": entry.local_significance})
    cuts = sorted({e["cut"] for e in entries}, reverse=True)
    table_of_cuts = {f"{cut:g}": summarise(np.array([e["z"] for e in entries if e["cut"] == cut])) for cut in cuts}
    write_json(options.out, {"methods": [m.name for m in config.methods], "cuts": table_of_cuts, "entries": entries})
    for cut, row in table_of_cuts.items():
        print(cut, row)


if __name__ == "__main__":
    main()
