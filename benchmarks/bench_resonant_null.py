"""Are p-values uniform where there is nothing to find? Fits after learnt cuts, and direct estimates, method by method.

    python benchmarks/bench_resonant_null.py FOLDER --methods cwola cathode [--parts 10] [--runs 10] [--workers 2]
    python benchmarks/bench_resonant_null.py FOLDER --methods cwola --quick        # minutes, to see that it works

FOLDER holds `qcd_data.features.h5` (and `qcd_sim.features.h5` for methods that learn from simulation). Each run is the whole
search in 3300-3700 GeV on one background-only data set: cross-fitted training, cuts at 10 %, 1 % and 0.1 % fold by fold, blinded
fit of the selected spectrum, and the direct estimate of the method's template. Finished runs are kept in `--cache`.

The data sets are disjoint: each event is dealt to one of `--parts` parts at random, so the counts of a part are Poisson and the parts
are independent. Two shortcuts were not taken:

- Bootstraps draw events with replacement. The copies of one event end up in training and in test folds, and scores are out of fold
  no more: the classifier has seen the very event that it scores.
- Random halves without replacement share half of their events, and all of them share the fluctuations of the one sample they come
  from: their p-values are correlated at 50 %, and a test of uniformity that takes them as independent means nothing.

The price is size: a part has 1 / parts of the events. Simulation is the same in all runs, as it is in searches. Counts are whole
numbers and the tests of small ones are conservative: p-values may lean to large ones. What must not be is too many small ones,
which `ks_too_small` (one-sided Kolmogorov-Smirnov) tests.

A method may run with several sets of options: what follows a slash is a label of yours ("cwola", "cwola/four features"), by
which `--options` knows it. The committed result was made with `null_options.json` beside this script.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kstest

from resonaut import __version__
from resonaut.analysis.config import ExecutorConfig
from resonaut.analysis.events import make_table
from resonaut.analysis.parallel import map_unordered
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.errors import ResonautError
from resonaut.files import digest, file_digest, finite_or_none, read_json, write_json
from resonaut.models import CrossFit, OutOfFold, Sample, make_scorer, select
from resonaut.processors import read_table
from resonaut.stats import Window, local_p_value, log_edges, make_spectrum

CUTS = (0.1, 0.01, 0.001)
LOW, HIGH = 2800.0, 5200.0
WINDOW = Window(low=3300.0, high=3700.0, sb_low=3100.0, sb_high=3940.0)
EDGES = np.concatenate([log_edges(LOW, 3300, 8)[:-1], log_edges(3300, 3700, 6), log_edges(3700, HIGH, 17)[1:]])
MINIMUM_EVENTS = 40  # as in a search
_SMALL_TREES = {"classifier": "trees", "classifier_options": {"members": 2, "max_iter": 30}}
_SMALL_FLOW = {"layers": 2, "hidden": 32, "epochs": 5, "patience": 5, "batch_size": 512}
QUICK_PARTS, QUICK_RUNS = 40, 3


@dataclass(frozen=True)
class Job:
    """The search on one part with one method."""

    table: Path
    simulation: Path | None
    folder: Path
    method: str
    options: str
    part: int
    parts: int
    seed: int
    key: str

    @property
    def unit(self) -> Unit:
        return Unit(self.folder, self.key)


def scorer_of(method: str) -> str:
    """Name of the scorer, without the label of its options."""
    return method.split("/", maxsplit=1)[0]


def quick_options(method: str) -> dict[str, Any]:
    """Small trees, and a small flow where the method's template takes options of one."""
    for options in ({**_SMALL_TREES, "template": {"flow": _SMALL_FLOW}}, _SMALL_TREES):
        try:
            make_scorer(scorer_of(method), **options)
        except (ResonautError, TypeError):
            continue
        return options
    return {}


def table_of(folder: Path, name: str, cache: Path) -> Path:
    """Event table of a feature file, made once."""
    path = cache / f"{name}.parquet"
    if not path.exists():
        source, chunks = folder / f"{name}.features.h5", cache / "chunks"
        make_table([source], path, {}, {}, ExecutorConfig(chunksize=100_000), on_bad_file="raise", cache=chunks)
    return path


def sample_of(path: Path, features: tuple[str, ...]) -> Sample:
    """Events of the mass range that have all features."""
    table = read_table(path, columns=[*features, "mjj"])
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in table.fields}
    keep = (columns["mjj"] >= LOW) & (columns["mjj"] < HIGH)
    keep &= np.all([np.isfinite(columns[name]) for name in features], axis=0)
    return Sample.from_table({name: values[keep] for name, values in columns.items()}, features)


def part_of(sample: Sample, part: int, parts: int) -> Sample:
    """The events that were dealt to a part: each one to a part of its own choice, so that counts are Poisson."""
    return sample.take(np.random.default_rng(seed_for(1, "parts", parts)).integers(0, parts, len(sample)) == part)


def entries_of(sample: Sample, result: OutOfFold) -> dict[str, Any]:
    """p-values of the inclusive spectrum, and of both estimates after each cut that leaves enough events."""
    inclusive = local_p_value(make_spectrum(sample.mass, EDGES), WINDOW)
    found: dict[str, Any] = {"1": {"fit": {"p": inclusive.local_p, "z": inclusive.local_significance}}}
    cuts = [cut for cut in CUTS if cut * len(sample) >= MINIMUM_EVENTS]
    for cut, mask in select(result.scores, result.fold, cuts).items():
        fit = local_p_value(make_spectrum(sample.mass[mask], EDGES), WINDOW)
        entry: dict[str, Any] = {
            "fit": {"p": fit.local_p, "z": fit.local_significance, "observed": fit.observed, "expected": fit.expected}
            | {"expected_error": fit.expected_error, "fit_p": fit.fit.p_value, "status": fit.fit.status}
        }
        if result.held_out and inclusive.fit.ok:
            direct = result.direct_estimate(sample, cut, (inclusive.expected, inclusive.expected_error))
            entry["direct"] = {"p": direct.local_p, "z": direct.local_significance, **direct.to_dict()}
        found[f"{cut:g}"] = entry
    return found


def work(job: Job) -> Job:
    """One run, unless it is there."""

    def run(folder: Path) -> None:
        started = time.perf_counter()
        options = json.loads(job.options)
        features = tuple(options.pop("features", None) or make_scorer(scorer_of(job.method), **options).features)
        sample = part_of(sample_of(job.table, features), job.part, job.parts)
        if job.simulation is not None:
            sample = sample.with_simulation(sample_of(job.simulation, features))
        crossfit = CrossFit(scorer_of(job.method), folds=5, seed=job.seed, features=features, **options)
        entries = entries_of(sample, crossfit.fit_score(sample, WINDOW))
        seconds = time.perf_counter() - started
        write_json(folder / "result.json", finite_or_none({"events": len(sample), "seconds": seconds, "cuts": entries}))

    job.unit.make(run)
    return job


def summarise(found: list[dict[str, float]]) -> dict[str, Any]:
    """Tests of the p-values of one method, cut and estimate over independent data sets."""
    p = np.array([entry["p"] for entry in found if entry["p"] is not None])
    z = np.array([entry["z"] for entry in found if entry["p"] is not None])
    if not len(p):
        return {"runs": 0, "failed": len(found)}
    return {
        "runs": len(p), "failed": len(found) - len(p), "ks": float(kstest(p, "uniform").pvalue),
        "ks_too_small": float(kstest(p, "uniform", alternative="greater").pvalue), "mean_z": float(z.mean()),
        "width_z": float(z.std(ddof=1)) if len(z) > 1 else None, "largest_z": float(z.max()),
        "below_5_percent": int((p < 0.05).sum()), "p": sorted(p.tolist()),
    }  # fmt: skip


def tabulate(jobs: list[Job]) -> dict[str, Any]:
    """Method -> cut -> estimate -> tests, from the runs that are finished."""
    table: dict[str, Any] = {}
    for method in dict.fromkeys(job.method for job in jobs):
        results = [read_json(job.folder / "result.json") for job in jobs if job.method == method and job.unit.done]
        rows: dict[str, Any] = {
            "runs": len(results),
            "seconds": float(np.median([r["seconds"] for r in results] or [0])),
        }
        rows["events"] = float(np.mean([r["events"] for r in results] or [0]))
        for cut in ("1", *(f"{cut:g}" for cut in CUTS)):
            entries = [result["cuts"][cut] for result in results if cut in result["cuts"]]
            kinds = [kind for kind in ("fit", "direct") if any(kind in entry for entry in entries)]
            rows[cut] = {kind: summarise([e[kind] for e in entries if kind in e]) for kind in kinds}
        table[method] = rows
    return table


def jobs_of(arguments: argparse.Namespace) -> list[Job]:
    """All runs asked for."""
    given = json.loads(arguments.options.read_text()) if arguments.options else {}
    data = table_of(arguments.folder, "qcd_data", arguments.cache)
    jobs = []
    for method in arguments.methods:
        options = given.get(method, quick_options(method) if arguments.quick else {})
        needs = getattr(make_scorer(scorer_of(method), **options), "uses_simulation", False)
        simulation = table_of(arguments.folder, "qcd_sim", arguments.cache) if needs else None
        content = [file_digest(path) for path in (data, simulation) if path is not None]
        for part in range(min(arguments.runs, arguments.parts)):
            seed = seed_for(arguments.seed, method, arguments.parts, part)
            key = digest(
                __version__, content, options, arguments.parts, part, seed, EDGES.tolist(), WINDOW.to_dict(), CUTS
            )
            folder = (
                arguments.cache
                / f"{method.replace('/', '-')}-{part}of{arguments.parts}{'-quick' if arguments.quick else ''}"
            )
            text = json.dumps(options)
            jobs.append(Job(data, simulation, folder, method, text, part, arguments.parts, seed, key))
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["cwola", "cathode"])
    parser.add_argument("--parts", type=int, help="disjoint data sets that the events are dealt to  [default: 10]")
    parser.add_argument("--runs", type=int, help="how many of them are searched  [default: all]")
    parser.add_argument("--options", type=Path, help="JSON: method -> options of its scorer")
    parser.add_argument("--quick", action="store_true", help="three small data sets, small trees and flows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/resonant_null"))
    parser.add_argument("--out", type=Path, help="[default: results/resonant_null.json; with --quick in the cache]")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    arguments.parts = arguments.parts or (QUICK_PARTS if arguments.quick else 10)
    arguments.runs = arguments.runs or (QUICK_RUNS if arguments.quick else arguments.parts)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    quick_out, full_out = arguments.cache / "quick.json", Path(__file__).parent / "results" / "resonant_null.json"
    out = arguments.out or (quick_out if arguments.quick else full_out)
    jobs = jobs_of(arguments)
    settings = {"parts": arguments.parts, "seed": arguments.seed, "window": WINDOW.to_dict(), "edges": EDGES.tolist()}
    settings["options"] = {job.method: json.loads(job.options) for job in jobs}
    for job in map_unordered(work, jobs, workers=arguments.workers):
        found = read_json(job.folder / "result.json")
        print(job.method, job.part, f"{found['seconds']:.0f} s", flush=True)
        for cut, entry in found["cuts"].items():
            print(
                f"  {cut}", {kind: round(values["z"], 2) for kind, values in entry.items() if values["z"] is not None}
            )
        write_json(out, finite_or_none({**settings, "methods": tabulate(jobs)}))


if __name__ == "__main__":
    main()
