"""Speed of BumpHunter with its fit in every toy, against pyBumpHunter without.

Run with ``python benchmarks/bench_bumphunter.py``; writes benchmarks/results/bumphunter.json. pyBumpHunter is no dependency:
``pip install --no-deps --target /some/folder pyBumpHunter==0.5.1`` and put the folder on PYTHONPATH; without it only our
times are taken. Both see the ATLAS 37/fb spectrum (92 bins) with the published fit and the same 3105 intervals. One toy is
drawn, (fitted,) and scanned; times are the shortest of several repeats, after a first run that compiles.

Two checks that are too long for the tests are made too: the calibration of the global p-value (background-only spectra,
each with its own fit and toys), and the trials factor of a mass scan from upcrossings and from the geometry of its templates
against many toys.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from resonaut.files import write_json
from resonaut.stats import (
    asimov_trials,
    bump_hunter,
    fit_background,
    gross_vitells,
    read_spectrum,
    significance_scan,
    toy_significances,
)

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests/stats/data/atlas_37ifb_mjj.csv"
WIDEST = 46


def shortest(actions: dict[str, Callable[[], Any]], toys: dict[str, int], repeats: int) -> dict[str, dict[str, Any]]:
    """Wall and CPU microseconds for each toy; the actions take turns, so that all see the same machine."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    results = {name: action() for name, action in actions.items()}
    for _ in range(repeats):
        for name, action in actions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            results[name] = action()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: {
            "microseconds_per_toy": min(wall for wall, _ in taken) / toys[name] * 1e6,
            "cpu_microseconds_per_toy": min(cpu for _, cpu in taken) / toys[name] * 1e6,
            "toys": toys[name],
            **results[name],
        }
        for name, taken in times.items()
    }


def ours(toys: int, background: np.ndarray | None, threads: int) -> Callable[[], dict[str, Any]]:
    """Our scan, with refit where no background is given."""

    def action() -> dict[str, Any]:
        found = bump_hunter(read_spectrum(TABLE), background, max_bins=WIDEST, toys=toys, threads=threads)
        return {
            "statistic": found.statistic,
            "interval": [found.low, found.high],
            "global_p": found.global_p,
            "failed": found.failed,
            "intervals": len(found.intervals),
        }

    return action


def theirs(toys: int, background: np.ndarray, workers: int) -> Callable[[], dict[str, Any]] | None:
    """pyBumpHunter with the same histogram; None where it is not installed."""
    try:
        import pyBumpHunter
    except ImportError:
        return None
    spectrum = read_spectrum(TABLE)
    counts, edges = spectrum.values().astype(int), spectrum.axes[0].edges

    def action() -> dict[str, Any]:
        hunter = pyBumpHunter.BumpHunter1D(
            rang=[edges[0], edges[-1]], bins=edges, width_min=2, width_max=WIDEST, npe=toys, nworker=workers, seed=1
        )
        with contextlib.redirect_stdout(io.StringIO()):
            hunter.bump_scan(counts, background, is_hist=True)
        first, width = int(hunter.min_loc_ar[0]), int(hunter.min_width_ar[0])
        return {
            "statistic": float(hunter.t_ar[0]),
            "interval": [float(edges[first]), float(edges[first + width])],
            "global_p": float(hunter.global_Pval),
            "intervals": int(sum(len(values) for values in hunter.res_ar)),
        }

    return action


def calibration(spectra: int, toys: int) -> dict[str, Any]:
    """Fractions of background-only spectra with a global p-value at or below a level."""
    spectrum = read_spectrum(TABLE)
    truth, edges = fit_background(spectrum).expected, spectrum.axes[0].edges
    rng = np.random.default_rng(123)
    p = np.array([bump_hunter((rng.poisson(truth), edges), toys=toys, seed=k).global_p for k in range(spectra)])
    levels = {
        str(a): {"fraction": float((p <= a).mean()), "error": float(np.sqrt(a * (1 - a) / spectra))}
        for a in (0.5, 0.3, 0.1, 0.01)
    }
    return {"spectra": spectra, "toys_of_each": toys, "at_or_below": levels}


def trials(toys: int) -> dict[str, Any]:
    """Global p-values of a scan of 75 masses: share of toys, 50 toys with upcrossings, geometry without toys."""
    scan = significance_scan(read_spectrum(TABLE), np.geomspace(1500.0, 6500.0, 75), [0.03])
    fields = toy_significances(scan, toys=toys, seed=9)
    maxima = np.nanmax(fields[50:], axis=(1, 2))
    rows = {}
    for z in (2.0, 2.5, 3.0, 3.5):
        share, bound = float((maxima >= z).mean()), gross_vitells(fields[:50], z)
        rows[str(z)] = {
            "toys": share,
            "toys_error": float(np.sqrt(share * (1 - share) / len(maxima))),
            "gross_vitells": bound.global_p,
            "gross_vitells_error": bound.global_p_error,
            "geometry": asimov_trials(scan, z).global_p,
        }
    return {"toys": len(maxima), "hypotheses": 75, "local_significance": rows}


def main() -> None:
    """Run all and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=10_000)
    parser.add_argument("--their-toys", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--many", type=int, default=100_000, help="toys of the two results that are quoted")
    parser.add_argument("--spectra", type=int, default=1000, help="background-only spectra of the calibration")
    parser.add_argument("--scans", type=int, default=4000, help="toys of the mass scan")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/bumphunter.json")
    options = parser.parse_args()
    background = np.genfromtxt(TABLE, delimiter=",", comments="#", skip_header=3)[:, 3]
    actions: dict[str, Callable[[], Any]] = {}
    for threads in (1, 2):
        actions[f"resonaut, refit, threads {threads}"] = ours(options.toys, None, threads)
        actions[f"resonaut, fixed, threads {threads}"] = ours(options.toys, background, threads)
        other = theirs(options.their_toys, background, threads)
        if other is not None:
            actions[f"pyBumpHunter, fixed, workers {threads}"] = other
    toys = {name: options.their_toys if name.startswith("py") else options.toys for name in actions}
    before = machine("scipy", "numba", "pyBumpHunter")
    times = shortest(actions, toys, options.repeats)
    result: dict[str, Any] = {"machine": before, "spectrum": "ATLAS 37/fb, 92 bins, 3105 intervals", "times": times}
    if any(name.startswith("py") for name in times):
        result["refit_against_pybumphunter_without"] = {
            f"{threads} thread(s)": times[f"pyBumpHunter, fixed, workers {threads}"]["microseconds_per_toy"]
            / times[f"resonaut, refit, threads {threads}"]["microseconds_per_toy"]
            for threads in (1, 2)
        }
    result["many_toys"] = {
        name: {"toys": options.many, **ours(options.many, given, 2)()}
        for name, given in (("refit", None), ("fixed", background))
    }
    result["calibration"] = calibration(options.spectra, 500)
    result["trials"] = trials(options.scans)
    write_json(options.output, result)
    for name, row in times.items():
        print(f"{name}: {row['microseconds_per_toy']:.1f} us per toy, global p {row['global_p']:.4f}")
    print(result["calibration"]["at_or_below"], result["trials"]["local_significance"])
    print(result.get("refit_against_pybumphunter_without"), result["many_toys"])


if __name__ == "__main__":
    main()
