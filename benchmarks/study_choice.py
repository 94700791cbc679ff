"""The figures of docs/stats/functions.md and docs/stats/sliding.md: choice and validation of background functions.

    python benchmarks/study_choice.py [--reference FOLDER] [--output benchmarks/results/choice.json]

FOLDER holds spectra that do not ship (`reference/stats/cmsdijet/*.csv`); they are left out where it is absent. Takes about two
minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from resonaut.stats import (
    bump_hunter,
    choose_by_spurious_signal,
    choose_function,
    compare_with_one_fit,
    deviance,
    envelope_toys,
    f_test_toys,
    fit_background,
    gaussian_template,
    read_spectrum,
    signal_injection,
    sliding_bump_hunter,
    sliding_fit,
    sliding_toys,
    toy_goodness,
)

DATA = Path(__file__).parents[1] / "tests/stats/data"
SHIPPED = {
    "CMS 137/fb": "cms_137ifb_wide_dijet_mjj.csv",
    "ATLAS 37/fb": "atlas_37ifb_mjj.csv",
    "ATLAS 139/fb": "atlas_139ifb_inclusive_mjj.csv",
}
LOCAL = {
    "CMS 27/fb low mass": "cms_27ifb_lowmass_calo.csv",
    "CMS 36/fb high mass": "cms_36ifb_highmass.csv",
    "CMS 12.9/fb low mass": "cms_12p9ifb_lowmass_calo.csv",
}
SET = ("dijet3", "dijet4", "dijet5", "ua2", "diphoton4")


def spectra(reference: Path | None) -> dict[str, Path]:
    found = {name: DATA / file for name, file in SHIPPED.items()}
    if reference is not None:
        found |= {name: reference / "reference/stats/cmsdijet" / file for name, file in LOCAL.items()}
    return {name: path for name, path in found.items() if path.is_file()}


def f_tests(paths: dict[str, Path], toys: int) -> dict:
    rows = {}
    for name, path in paths.items():
        spectrum = read_spectrum(path)
        plain, thrown = choose_function(spectrum), choose_function(spectrum, toys=toys)
        row = {"events": int(spectrum.values().sum()), "F": plain.function, "toys": thrown.function}
        row["deviances"] = [round(d, 2) for d in plain.deviances]
        for small, large in (("dijet3", "dijet4"), ("dijet4", "dijet5")):
            test = f_test_toys(spectrum, small, large, toys=toys)
            row[f"{small}-{large}"] = {"p F": test.asymptotic_p_value, "p toys": test.p_value, "failed": test.failed}
        rows[name] = row
        print(name, row)
    return rows


def quantiles(values) -> list[float]:
    return [float(q) for q in np.quantile(values, [0.05, 0.5, 0.95, 1.0])]


def smooth_bias(spectrum, fit, toys: int) -> list[float]:
    """Bias of the stitched background of toys of one smooth function."""
    truth = fit_background(spectrum, function="dijet5").expected
    batch = fit.stitching().apply(np.random.default_rng(5).poisson(truth, size=(toys, len(truth))))
    return quantiles(np.abs(batch.expected[batch.ok].mean(axis=0) - truth) / fit.expected_error)


def sliding(toys: int) -> dict:
    rows = {}
    for name, function, edge in (("ATLAS 139/fb", "dijet4", "clip"), ("ATLAS 37/fb", "dijet3", "shift")):
        path = DATA / SHIPPED[name]
        spectrum = read_spectrum(path)
        table = np.genfromtxt(path, delimiter=",", comments="#", skip_header=3)
        published, error = table[:, 3], table[:, 4:].mean(axis=1)
        found = {"published": {"deviance": deviance(spectrum.values(), published)}}
        found["published"]["bump_p"] = bump_hunter(spectrum, published, toys=4 * toys).global_p
        for order in ("dijet3", "dijet4", "dijet5", "dijet6"):
            fit = fit_background(spectrum, function=order)
            found[order] = {
                "deviance": fit.deviance,
                "p": toy_goodness(fit, toys=4 * toys).deviance_p_value,
                "bump_p": bump_hunter(spectrum, function=order, toys=toys).global_p,
                "pull_rms": float(np.sqrt((((fit.expected - published) / error) ** 2).mean())),
            }
        start = time.perf_counter()
        fit = sliding_fit(spectrum, function=function, half_widths=[22], edge=edge)
        took = time.perf_counter() - start
        start = time.perf_counter()
        thrown = sliding_toys(fit, toys=toys)
        pulls = (fit.expected - published) / error
        found["sliding"] = {
            "options": {"function": function, "half_widths": [22], "edge": edge},
            "deviance": fit.deviance,
            "effective_parameters": fit.effective_parameters,
            "p": thrown.p_value,
            "seconds": took,
            "ms_per_toy": 1e3 * (time.perf_counter() - start) / toys,
            "spread_over_error": quantiles(thrown.spread / fit.expected_error),
            "bias_over_error_own_toys": quantiles(np.abs(thrown.mean - fit.expected) / fit.expected_error),
            "bias_over_error_toys_of_dijet5": smooth_bias(spectrum, fit, toys),
            "pull_rms": float(np.sqrt((pulls**2).mean())),
            "pull_max": float(np.abs(pulls).max()),
            "bump_p_refit": sliding_bump_hunter(fit, toys=toys).global_p,
            "bump_p_fixed": bump_hunter(spectrum, fit.expected, toys=4 * toys).global_p,
            "needed": {f: compare_with_one_fit(fit, f, toys=toys).p_value for f in ("dijet3", "dijet4", "dijet5")},
        }
        rows[name] = found
        print(name, json.dumps(found, indent=1))
    return rows


def envelopes(toys: int) -> dict:
    spectrum = read_spectrum(DATA / SHIPPED["ATLAS 139/fb"])
    rows = {}
    for truth in ("dijet4", "dijet5", "ua2"):
        fit = fit_background(spectrum, function=truth)
        signal = gaussian_template(4000.0, 200.0, fit.edges)
        for functions in (SET, ("dijet3",), ("dijet4",), ("dijet5",)):
            for strength in (0.0, 400.0):
                found = envelope_toys(
                    (fit.expected, fit.edges), signal, functions, strength=strength, toys=toys, seed=1
                )
                key = f"{truth} fitted with {'the set' if len(functions) > 1 else functions[0]}, {strength:g} events"
                rows[key] = {
                    "68": found.coverage(0.6827),
                    "95": found.coverage(0.95),
                    "pull": found.pull(),
                    "shares": found.shares(),
                    "failed": found.failed,
                }
                print(key, rows[key])
    return rows


def injections(toys: int) -> dict:
    rows = {}
    for name, truth, function in (
        ("ATLAS 37/fb", "dijet4", "dijet4"),
        ("ATLAS 139/fb", "dijet5", "dijet5"),
        ("ATLAS 139/fb", "dijet5", "dijet4"),
    ):
        fit = fit_background(read_spectrum(DATA / SHIPPED[name]), function=truth)
        signals = {m: gaussian_template(m, 0.05 * m, fit.edges) for m in (1500.0, 2500.0, 4000.0, 5500.0)}
        found = signal_injection((fit.expected, fit.edges), signals, function=function, toys=toys, seed=1)
        rows[f"{name}: {truth} fitted with {function}"] = {
            "slope": list(zip(found.slope, found.slope_error, strict=True)),
            "offset": list(found.offset / found.error),
            "pull_mean": [float(found.pull_mean.mean()), float(np.abs(found.pull_mean.mean(axis=1)).max())],
            "pull_width": [
                float(found.pull_width.mean()),
                float(found.pull_width.min()),
                float(found.pull_width.max()),
            ],
            "failed": int(found.failed.sum()),
        }
        print(name, truth, function, rows[f"{name}: {truth} fitted with {function}"])
    return rows


def spurious() -> dict:
    fit = fit_background(read_spectrum(DATA / SHIPPED["ATLAS 139/fb"]), function="dijet5")
    signals = {m: gaussian_template(m, 0.05 * m, fit.edges) for m in np.arange(1500.0, 6001.0, 250.0)}
    ranking = choose_by_spurious_signal((fit.expected, fit.edges), signals)
    print(ranking.table())
    return {"chosen": ranking.chosen, "worst": {r.function: r.worst for r in ranking.results}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/choice.json")
    parser.add_argument("--toys", type=int, default=1000)
    options = parser.parse_args()
    start = time.perf_counter()
    results = {
        "toys": options.toys,
        "f_tests": f_tests(spectra(options.reference), options.toys),
        "spurious": spurious(),
        "injection": injections(options.toys),
        "envelope": envelopes(2 * options.toys),
        "sliding": sliding(options.toys),
    }
    results["seconds"] = time.perf_counter() - start
    options.output.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
