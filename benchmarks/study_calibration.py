"""Are p-values and fitted signals what they say? Pseudo-experiments of a known background, with and without a signal.

Run with ``OMP_NUM_THREADS=1 python benchmarks/study_calibration.py``; writes benchmarks/results/calibration.json (some 5
minutes of one core). The spectrum is a falling one of 30 bins, 2.8 to 5.2 TeV, a member of the fitted functions, so that
what is seen is the statistics alone and not a wrong function. Background functions are fitted again every time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import machine
from scipy import stats

from resonaut.files import write_json
from resonaut.stats import (
    Design,
    asimov_trials,
    fit_background,
    fit_batch,
    gaussian_template,
    global_p_value,
    gross_vitells,
    local_p_values,
    log_edges,
    significance_scan,
    sliding_windows,
    toy_significances,
)

FloatArray = npt.NDArray[np.float64]

ROOT = Path(__file__).parents[1]
EDGES = log_edges(2800.0, 5200.0, 30)
WINDOWS = sliding_windows(EDGES)
LEVELS = (0.3, 0.1, 0.01, 1e-3)
LOCAL_EVENTS = (1_000_000, 60_000, 6_000, 600, 60, 5)
PULL_EVENTS = (1_000_000, 60_000, 6_000, 600, 60)
MASSES = (3200.0, 3500.0, 4000.0, 4500.0)
WIDTH = 0.03  # of the resonances, relative to the mass
TRUTH, FITTED = "dijet3", "dijet4"
EDGE = 0.1  # of the expected error: below it, the error of a fit says nothing
PARTS = ("local", "global", "masses", "pulls")
PART = 50_000  # toys held at a time


def truth(events: float) -> FloatArray:
    """Expected counts of a falling spectrum that the functions describe exactly."""
    c = np.linspace(-1.0, 1.0, 30)
    shape = np.exp(-2.8 * c - 0.4 * c**2 + 0.05 * c**3)
    return np.asarray(fit_background((events * shape / shape.sum(), EDGES), function=TRUTH).expected)


def fractions(p: FloatArray, reference: int | None = None) -> list[dict[str, float]]:
    """How often p is below each level, with the binomial error (and that of the reference toys)."""
    rows = []
    for level in LEVELS:
        variance = level * (1 - level) / len(p) + (level * (1 - level) / reference if reference else 0.0)
        rows.append({"level": level, "fraction": float((p < level).mean()), "error": float(np.sqrt(variance))})
    return rows


def verdict(rows: list[dict[str, float]]) -> str:
    """Uniform: all fractions within three errors of the level. Conservative: none above."""
    away = [(row["fraction"] - row["level"]) / row["error"] for row in rows]
    if max(away) > 3:
        return "too many small p-values"
    return "uniform" if min(away) > -3 else "conservative"


def attainable(b: float) -> list[float]:
    """What the exact test of a count reaches if the background is known: the largest tail below each level."""
    tails = stats.poisson.sf(np.arange(-1, int(b + 20 * np.sqrt(b) + 50)), b)
    return [float(tails[tails < level].max()) for level in LEVELS]


def local(toys: int) -> list[dict[str, object]]:
    """p-values of one window of four bins, by both functions, from many events to few."""
    window, table = WINDOWS[6], []
    for events in LOCAL_EVENTS:
        expected = truth(events)
        b = float(expected[window.in_signal_region(EDGES[:-1] + 1.0)].sum())
        for function in (TRUTH, FITTED):
            rng, parts = np.random.default_rng(events), []
            for first in range(0, toys, PART):
                data = rng.poisson(expected, size=(min(PART, toys - first), 30))
                parts.append(local_p_values(data, EDGES, window, function=function).local_p)
            p = np.concatenate(parts)
            good = p[np.isfinite(p)]
            rows = fractions(good)
            table.append(
                {
                    "events": events,
                    "expected_in_window": b,
                    "function": function,
                    "toys": toys,
                    "failed": len(p) - len(good),
                    "fractions": rows,
                    "attainable": attainable(b) if b < 1000 else None,
                    "verdict": verdict(rows),
                }
            )
    return table


def largest(data: FloatArray) -> FloatArray:
    """Largest local significance of each spectrum over all windows, as a scan of data finds it."""
    return np.fmax.reduce([local_p_values(data, EDGES, w, function=TRUTH).local_significance for w in WINDOWS])


def global_of_scans(events: int, spectra: int, toys: int, many: int, fits: int) -> dict[str, object]:
    """Global p-values of background-only spectra, each with its own fit and its own toys; the deep tail from pooled toys."""
    expected = truth(events)
    rng = np.random.default_rng(events + 1)
    data = rng.poisson(expected, size=(spectra, 30)).astype(np.float64)
    observed = largest(data)
    p = np.empty(spectra)
    for k in range(spectra):
        fit = fit_background((data[k], EDGES), function=TRUTH)
        p[k] = global_p_value(fit, WINDOWS, float(observed[k]), toys=toys, seed=k).global_p
    rows = fractions(p)
    # toys of many fitted spectra together are the p-value of the average spectrum: it reaches levels that 400 toys cannot
    pooled = np.concatenate([_maxima(draw, many // fits, k) for k, draw in enumerate(data[:fits])])
    seen = np.concatenate([largest(rng.poisson(expected, size=(many // 10, 30))) for _ in range(10)])
    above = len(pooled) - np.searchsorted(np.sort(pooled), seen, side="left")
    deep = fractions((above + 1) / (len(pooled) + 1), len(pooled))
    return {
        "events": events,
        "windows": len(WINDOWS),
        "spectra": spectra,
        "toys_each": toys,
        "fractions": rows,
        "ks_p_value": float(stats.kstest(p, "uniform").pvalue),
        "verdict": verdict(rows),
        "pooled": {
            "spectra": len(seen),
            "fits": fits,
            "toys": len(pooled),
            "fractions": deep,
            "verdict": verdict(deep),
        },
    }


def _maxima(counts: FloatArray, toys: int, seed: int) -> FloatArray:
    return global_p_value(fit_background((counts, EDGES), function=TRUTH), WINDOWS, 0.0, toys=toys, seed=seed).maxima


def global_of_masses(events: int, spectra: int, toys: int) -> dict[str, object]:
    """Resonances of any mass: the bounds of Gross-Vitells and of the templates' geometry against brute force."""
    expected, masses = truth(events), np.geomspace(3000.0, 4900.0, 60)
    scan = significance_scan((expected, EDGES), masses, [WIDTH], function=TRUTH)
    thrown = toy_significances(scan, toys=toys, seed=3)
    largest_z = np.nanmax(thrown[:, :, 0], axis=1)
    few = thrown[:100]
    rows = []
    for level in LEVELS:
        z = float(np.quantile(largest_z, 1 - level))
        found = gross_vitells(few, z)
        rows.append(
            {
                "brute_force": level,
                "error": float(np.sqrt(level * (1 - level) / toys)),
                "local_significance": z,
                "gross_vitells": found.global_p,
                "gross_vitells_error": found.global_p_error,
                "geometry": asimov_trials(scan, z).global_p,
            }
        )
    rng, p = np.random.default_rng(events + 2), np.empty(spectra)
    for k in range(spectra):
        own = significance_scan((rng.poisson(expected), EDGES), masses, [WIDTH], function=TRUTH)
        p[k] = asimov_trials(own).global_p
    own_rows = fractions(p)
    return {
        "events": events,
        "masses": len(masses),
        "toys": toys,
        "bounds": rows,
        "own_geometry": {"spectra": spectra, "fractions": own_rows, "verdict": verdict(own_rows)},
    }


def pulls(toys: int) -> list[dict[str, object]]:
    """(fitted - injected) / error, and the signed root of the likelihood ratio at the truth, of fitted signals."""
    table = []
    for events in PULL_EVENTS:
        expected = truth(events)
        design = Design.build(FITTED, EDGES, importance=expected)
        for mass in MASSES:
            template = gaussian_template(mass, WIDTH * mass, EDGES)
            error = float(fit_batch(expected, design, signal=template).strength_error[0])
            for sigmas in (0.0, 5.0):
                true = sigmas * error
                data = np.random.default_rng([events, int(mass), int(sigmas)]).poisson(
                    expected + true * template, size=(toys, 30)
                )
                free = fit_batch(data, design, signal=template)
                held = fit_batch(data, design, signal=template, strength=true)
                q = np.maximum(held.deviance - free.deviance, 0.0)
                good = free.ok & held.ok
                # a negative signal that takes all of the expectation of an empty bin has a fitted error near zero
                edge = good & ~(np.isfinite(free.strength_error) & (free.strength_error > EDGE * error))
                usual = good & ~edge
                simple = (free.strength - true)[usual] / free.strength_error[usual]
                root = np.copysign(np.sqrt(q), free.strength - true)[good]
                table.append(
                    {
                        "events": events,
                        "mass": mass,
                        "injected_sigmas": sigmas,
                        "injected_events": true,
                        "background_under": float((expected * template).sum() / template.max()),
                        "toys": int(good.sum()),
                        "failed": int((~good).sum()),
                        "without_error": int(edge.sum()),
                        "bias_events": float((free.strength[good] - true).mean()),
                        "pull": _moments(simple),
                        "root": _moments(root),
                    }
                )
    return table


def _moments(values: FloatArray) -> dict[str, object]:
    n, mean, width = len(values), float(values.mean()), float(values.std(ddof=1))
    # width from quartiles as well: a few far pulls with a bad error are another thing than a wrong width
    core = float(np.diff(np.quantile(values, [0.1587, 0.8413]))[0] / 2)
    return {
        "mean": mean,
        "mean_error": width / np.sqrt(n),
        "width": width,
        "width_error": float(width * np.sqrt(max(stats.kurtosis(values) + 2.0, 0.0) / (4 * n))),
        "core_width": core,
        "good": abs(mean) < 0.05 and 0.97 <= width <= 1.03,
    }


def timed(name: str, action: Callable[[], object], times: dict[str, float]) -> object:
    """Result of an action, with its CPU time noted and shown."""
    start = time.process_time()
    result = action()
    times[name] = time.process_time() - start
    print(f"{name}: {times[name]:.0f} s of CPU")
    return result


def main() -> None:
    """Run all and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=200_000, help="of each local p-value")
    parser.add_argument("--spectra", type=int, default=400, help="with a global p-value of their own")
    parser.add_argument("--scan-toys", type=int, default=400, help="of each of those")
    parser.add_argument(
        "--many", type=int, default=40_000, help="spectra and pooled toys for the deep tail; 200000 for the file"
    )
    parser.add_argument("--mass-toys", type=int, default=20_000, help="of the scan of masses")
    parser.add_argument("--pull-toys", type=int, default=20_000)
    parser.add_argument(
        "--parts", nargs="+", default=list(PARTS), choices=PARTS, help="others stay as they are in the file"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/calibration.json")
    o = parser.parse_args()
    actions: dict[str, Callable[[], object]] = {
        "local": lambda: local(o.toys),
        "global": lambda: global_of_scans(20_000, o.spectra, o.scan_toys, o.many, o.many // 1000),
        "masses": lambda: global_of_masses(20_000, 5 * o.spectra, o.mass_toys),
        "pulls": lambda: pulls(o.pull_toys),
    }
    old = json.loads(o.output.read_text()) if o.output.exists() and set(o.parts) != set(PARTS) else {}
    times: dict[str, float] = dict(old.get("cpu_seconds", {}))
    result = {name: timed(name, actions[name], times) if name in o.parts else old.get(name) for name in PARTS}
    write_json(o.output, {"machine": machine("scipy"), **result, "cpu_seconds": times})


if __name__ == "__main__":
    main()
