"""Do limits at 95 % CLs cover, and from how many events on are the asymptotic ones right?

Run with ``OMP_NUM_THREADS=1 python benchmarks/bench_coverage.py``; writes benchmarks/results/coverage.json (some 3
minutes). The spectrum is a falling one of 30 bins, 2.8 to 5.2 TeV, the signal a Gaussian of 120 GeV at 3.5 TeV, and the
background function is fitted again in every pseudo-experiment. A limit covers where CLs at the true signal is at least
0.05, so that CLs at the truth is all that has to be found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import machine

from resonaut.errors import ResonautError
from resonaut.files import write_json
from resonaut.stats import Channel, fit_background, gaussian_template, log_edges, upper_limit
from resonaut.stats.limits.channels import signal_model
from resonaut.stats.limits.hypotests import Hypotests
from resonaut.stats.limits.toy_limits import ToyTests

ROOT = Path(__file__).parents[1]
EDGES = log_edges(2800.0, 5200.0, 30)
TEMPLATE = gaussian_template(3500.0, 120.0, EDGES)
TEMPLATE /= TEMPLATE.sum()
FUNCTION = "dijet3"


def spectrum(background: float) -> np.ndarray:
    """Expected events of a falling spectrum with so many of them under the signal."""
    c = np.linspace(-1.0, 1.0, 30)
    shape = np.exp(-2.8 * c - 0.4 * c**2 + 0.05 * c**3)
    return shape * background / ((shape * TEMPLATE).sum() / TEMPLATE.max())


def cls_at(counts: np.ndarray, strength: float, toys: int, seed: int) -> float:
    """CLs of a spectrum at a true signal, asymptotic (no toys) or from toys."""
    channel = Channel.build("", fit_background((counts, EDGES), function=FUNCTION), TEMPLATE)
    model = signal_model([channel])
    if not toys:
        return float(Hypotests(model, channel.counts)(np.array([strength]))[5, 0])
    return float(ToyTests(model, channel.counts, toys=toys, seed=seed).tails(strength).cls[5])


def coverage(background: float, strength: float, experiments: int, toys: int) -> dict[str, float]:
    """Fraction of pseudo-experiments whose limit is not below the true signal."""
    rng = np.random.default_rng(int(1000 * background + 10 * strength))
    covered, failed = [], 0
    for k in range(experiments):
        counts = rng.poisson(spectrum(background) + strength * TEMPLATE)
        try:
            cls = cls_at(counts, strength, toys, k)
        except ResonautError:
            failed += 1
            continue
        if np.isfinite(cls):
            covered.append(cls >= 0.05)
        else:
            failed += 1
    rate = float(np.mean(covered))
    error = float(np.sqrt(max(rate * (1 - rate), 1.0 / len(covered)) / len(covered)))
    return {"coverage": rate, "error": error, "experiments": len(covered), "failed": failed}


def asimov_limits(background: float, toys: int) -> dict[str, object]:
    """Limits where the observation is what is expected, by both methods."""
    data = (np.round(spectrum(background)) if background >= 20 else spectrum(background), EDGES)
    options = {"function": FUNCTION, "check": False}
    formula = upper_limit(data, TEMPLATE, method="asymptotic", **options)
    thrown = upper_limit(data, TEMPLATE, method="toys", toys=toys, **options)
    return {
        "background": background,
        "background_under": formula.background,
        "asymptotic": formula.to_dict()["expected"],
        "toys": thrown.to_dict()["expected"],
        "median_ratio": formula.expected[2] / thrown.expected[2],
        "toys_error": thrown.error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400, help="of the asymptotic limits, at each point")
    parser.add_argument("--toy-experiments", type=int, default=80)
    parser.add_argument("--toys", type=int, default=300, help="in each of those")
    parser.add_argument("--limit-toys", type=int, default=2000, help="of the limits themselves")
    options = parser.parse_args()
    limits = [asimov_limits(b, options.limit_toys) for b in (0.1, 0.5, 2.0, 5.0, 30.0)]
    for row in limits:
        print(
            f"{row['background']:6g} ({row['background_under']:.3g}) events: asymptotic / toys = {row['median_ratio']:.3f}"
        )
    table = []
    for row in limits:
        background, median = float(row["background"]), float(row["toys"][2])
        for multiple in (1.0, 2.0, 3.0):
            point = {"background": background, "expected_limits": multiple, "signal": multiple * median}
            point["asymptotic"] = coverage(background, multiple * median, options.experiments, 0)
            if background in (0.1, 0.5, 2.0):
                point["toys"] = coverage(background, multiple * median, options.toy_experiments, options.toys)
            table.append(point)
            print(point)
    content = {
        "machine": machine("scipy"),
        "function": FUNCTION,
        "limits": limits,
        "coverage": table,
    }
    write_json(ROOT / "benchmarks/results/coverage.json", content)


if __name__ == "__main__":
    main()
