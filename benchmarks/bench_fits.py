"""Speed and depth of background fits: the batched engine against loops over iminuit.

Run with ``OMP_NUM_THREADS=1 python benchmarks/bench_fits.py``; writes benchmarks/results/fits.json.
Every fitter sees the same toys of one four-parameter spectrum, with the same bin integrals, so that times and minima
compare. Times are CPU times of one thread. "excess" is how far a fitter stops above the lowest -2 ln L that any of them found.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from iminuit import Minuit
from iminuit.cost import ExtendedBinnedNLL
from machine import machine
from scipy.special import kl_div

from resonaut.files import write_json
from resonaut.stats import (
    Design,
    background_function,
    fit_background,
    fit_batch,
    gaussian_template,
    global_p_value,
    limit_scan,
    local_p_values,
    log_edges,
    read_spectrum,
    sliding_windows,
)

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests/stats/data/cms_137ifb_wide_dijet_mjj.csv"


def best_time(action: Callable[[], object], repeats: int) -> float:
    """Shortest of several CPU times (s): one thread works, and other jobs on the machine do not count."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def minuit_loop(
    costs: list[Callable[[np.ndarray], float]], start: np.ndarray, errors: np.ndarray
) -> tuple[float, np.ndarray, int]:
    """Time per fit (s), minima, and how many Minuit called valid."""
    minima, valid = [], 0
    begin = time.process_time()
    for cost in costs:
        m = Minuit(cost, *start) if isinstance(cost, ExtendedBinnedNLL) else Minuit(cost, start)
        m.errordef = Minuit.LEAST_SQUARES
        m.errors = errors
        m.migrad()
        minima.append(m.fval)
        valid += m.valid
    return (time.process_time() - begin) / len(costs), np.array(minima), valid


def against_minuit(toys: int, loops: int, repeats: int) -> dict[str, object]:
    """The batched engine, Minuit in the orthonormal basis, Minuit in the physical p0..p3."""
    fit = fit_background(read_spectrum(TABLE))
    data = np.random.default_rng(1).poisson(fit.expected, size=(toys, len(fit.expected))).astype(float)
    design = Design.build("dijet4", fit.edges, importance=fit.expected)
    batch = fit_batch(data, design)
    seconds = best_time(lambda: fit_batch(data, design), repeats) / toys
    flat, weights = design.basis.reshape(-1, 4), design.weights
    theta = fit_batch(fit.expected, design).theta[0]
    raw = background_function("dijet4").basis(_nodes(fit.edges))

    def orthonormal(n: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda t: float(2 * kl_div(n, (np.exp(flat @ t).reshape(weights.shape) * weights).sum(axis=1)).sum())

    def physical(n: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda p: float(2 * kl_div(n, (p[0] * np.exp(raw[..., 1:] @ p[1:]) * weights).sum(axis=1)).sum())

    some = data[:loops]
    time_o, minima_o, valid_o = minuit_loop([orthonormal(n) for n in some], theta, np.full(4, 1e-3))
    start = np.array(list(fit.parameters.values()))
    time_p, minima_p, valid_p = minuit_loop([physical(n) for n in some], start, np.abs(start) * 0.01)
    cost = [ExtendedBinnedNLL(n, fit.edges, _cumulative(raw, weights)) for n in some]
    time_b, minima_b, valid_b = minuit_loop(cost, start, np.abs(start) * 0.01)
    lowest = np.minimum.reduce([batch.deviance[:loops], minima_o, minima_p, minima_b])
    return {
        "spectrum": "CMS 137/fb binning, 42 bins, 6.6 million events, 4 parameters",
        "toys_batched": toys,
        "toys_minuit": loops,
        "batched": {
            "microseconds_per_fit": seconds * 1e6,
            "failed": batch.n_failed,
            **_excess(batch.deviance[:loops] - lowest),
        },
        "minuit_orthonormal": {
            "microseconds_per_fit": time_o * 1e6,
            "invalid": loops - valid_o,
            **_excess(minima_o - lowest),
        },
        "minuit_physical": {
            "microseconds_per_fit": time_p * 1e6,
            "invalid": loops - valid_p,
            **_excess(minima_p - lowest),
        },
        "minuit_extended_binned_nll": {
            "microseconds_per_fit": time_b * 1e6,
            "invalid": loops - valid_b,
            **_excess(minima_b - lowest),
        },
        "ratio_to_minuit_orthonormal": time_o / seconds,
        "ratio_to_minuit_physical": time_p / seconds,
        "ratio_to_extended_binned_nll": time_b / seconds,
        "max_delta_2nll_to_minuit_orthonormal": float(np.abs(batch.deviance[:loops] - minima_o).max()),
    }


def _cumulative(raw: np.ndarray, weights: np.ndarray) -> Callable[..., np.ndarray]:
    """Scaled cumulative of the same bin integrals, as iminuit's built-in cost wants it."""

    def scaled_cdf(_edges: np.ndarray, p0: float, p1: float, p2: float, p3: float) -> np.ndarray:
        bins = (p0 * np.exp(raw[..., 1:] @ np.array([p1, p2, p3])) * weights).sum(axis=1)
        return np.concatenate([[0.0], np.cumsum(bins)])

    return scaled_cdf


def signal_fits(toys: int, repeats: int) -> dict[str, float]:
    """Background and signal together, of free and of positive strength."""
    fit = fit_background(read_spectrum(TABLE))
    data = np.random.default_rng(2).poisson(fit.expected, size=(toys, len(fit.expected))).astype(float)
    design = Design.build("dijet4", fit.edges, importance=fit.expected)
    template = gaussian_template(3000.0, 100.0, fit.edges)
    modes: dict[str, dict[str, bool]] = {"free": {}, "positive": {"positive": True}}
    return {
        f"{name}_microseconds": best_time(lambda mode=mode: fit_batch(data, design, signal=template, **mode), repeats)
        / toys
        * 1e6
        for name, mode in modes.items()
    }


def whole_scan(toys: int) -> dict[str, float]:
    """Wall time of the global p-value: every toy through 21 blinded windows, two fits in each, on all cores."""
    edges = log_edges(2800.0, 5200.0, 30)
    fit = fit_background((1e5 * np.exp(-0.2 * np.arange(30)) * 0.18, edges))
    windows = sliding_windows(edges)
    os.environ["OMP_NUM_THREADS"] = str(os.cpu_count())
    global_p_value(fit, windows, 2.5, toys=100)
    start = time.perf_counter()
    found = global_p_value(fit, windows, 2.5, toys=toys)
    seconds = time.perf_counter() - start
    os.environ["OMP_NUM_THREADS"] = "1"
    return {
        "toys": toys,
        "windows": len(windows),
        "seconds": seconds,
        "global_p": found.global_p,
        "failed": found.failed,
    }


def torch_backend(toys: int) -> dict[str, object]:
    """The torch backend on the device that it picks, against the compiled one on one thread."""
    import torch

    fit = fit_background(read_spectrum(TABLE))
    data = np.random.default_rng(3).poisson(fit.expected, size=(toys, len(fit.expected))).astype(float)
    design = Design.build("dijet4", fit.edges, importance=fit.expected)
    fit_batch(data[:100], design, backend="torch")
    start = time.perf_counter()
    other = fit_batch(data, design, backend="torch")
    seconds = time.perf_counter() - start
    ours = fit_batch(data, design)
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "toys": toys,
        "microseconds_per_fit": seconds / toys * 1e6,
        "max_delta_2nll_to_numpy": float(np.abs(ours.deviance - other.deviance).max()),
    }


def _nodes(edges: np.ndarray) -> np.ndarray:
    point = np.polynomial.legendre.leggauss(4)[0]
    half = 0.5 * np.diff(edges)[:, None]
    return 0.5 * (edges[1:] + edges[:-1])[:, None] + half * point


def _excess(values: np.ndarray) -> dict[str, float]:
    return {
        "excess_2nll_max": float(values.max()),
        "fraction_above_0.1": float((values > 0.1).mean()),
    }


def p_values(toys: int, repeats: int) -> list[dict[str, object]]:
    """Time of a local p-value (two fits) against the number of events."""
    edges = log_edges(2800.0, 5200.0, 30)
    window = sliding_windows(edges)[6]
    shape = np.exp(-0.2 * np.arange(30))
    rows: list[dict[str, object]] = []
    for events in (20, 200, 2000, 200000):
        data = np.random.default_rng(events).poisson(events * shape / shape.sum(), size=(toys, 30))
        for function in ("dijet3", "dijet4", "auto"):
            failed = local_p_values(data, edges, window, function=function).n_failed

            def action(data: np.ndarray = data, function: str = function) -> object:
                return local_p_values(data, edges, window, function=function)

            seconds = best_time(action, repeats)
            rows.append(
                {"events": events, "function": function, "microseconds": seconds / toys * 1e6, "failed": failed}
            )
    return rows


def limits() -> dict[str, float]:
    """CPU time of a scan of 20 masses, with and without the check of every limit by pyhf."""
    spectrum = read_spectrum(TABLE)
    masses = np.linspace(2000.0, 7000.0, 20)

    def scan(check: bool) -> object:
        return limit_scan(
            spectrum,
            masses,
            lambda mass, edges: gaussian_template(mass, 0.05 * mass, edges),
            signal_uncertainty=0.1,
            check=check,
        )

    return {
        "masses": 20,
        "seconds": best_time(lambda: scan(False), 2),
        "seconds_with_pyhf_check": best_time(lambda: scan(True), 1),
    }


def main() -> None:
    """Run all and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=5000)
    parser.add_argument("--loops", type=int, default=300, help="toys for the loops over Minuit")
    parser.add_argument("--scan-toys", type=int, default=100_000, help="toys of the whole scan")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/fits.json")
    options = parser.parse_args()
    result = {
        "machine": machine(
            "scipy", "iminuit", "pyhf", threads=int(os.environ.get("OMP_NUM_THREADS", "0")) or "default"
        ),
        "fits": against_minuit(options.toys, options.loops, options.repeats),
        "local_p_values": p_values(options.toys // 2, options.repeats),
        "signal_fits": signal_fits(options.toys, options.repeats),
        "whole_scan": whole_scan(options.scan_toys),
        "torch": torch_backend(options.toys),
        "limits": limits(),
    }
    write_json(options.output, result)
    fits = result["fits"]
    for name in fits:  # type: ignore[attr-defined]
        print(name, fits[name])  # type: ignore[index]
    for name in ("signal_fits", "whole_scan", "torch", "limits"):
        print(name, result[name])


if __name__ == "__main__":
    main()
