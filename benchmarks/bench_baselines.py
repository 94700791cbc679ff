"""The unsupervised baselines beside the autoencoder, on dijets without signal in the training.

    python benchmarks/bench_baselines.py FOLDER [--seeds 3]

FOLDER holds `qcd_data.features.h5` and the `sig_Zp3500_...` files. Each scorer is fitted to 100,000 QCD events of 2.8 to 5.2 TeV, and
judged on others and on all signal in the signal region 3371-3661 GeV: AUC and significance improvement.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_autoencoder import performance
from bench_injections import SIGNALS, WINDOW, load

from resonaut.files import write_json
from resonaut.models import AE_FEATURES, Sample, make_scorer

SCORERS: dict[str, tuple[str, dict[str, Any]]] = {
    "isolation-forest": ("isolation-forest", {}),
    "knn": ("knn", {}),
    "knn, mean": ("knn", {"distance": "mean"}),
    "clusters, mixture": ("clusters", {}),
    "clusters, k-means": ("clusters", {"model": "k-means"}),
    "alad": ("alad", {}),
    "autoencoder": ("autoencoder", {"members": 10}),
}
FILES = {**SIGNALS, "X500_Y100": "sig_Zp3500_X500_Y100_2prong"}
TRAINED, JUDGED = 100_000, 30_000


def measure(kind: str, training: Sample, background: Sample, signals: dict[str, Sample], seed: int) -> dict[str, Any]:
    name, options = SCORERS[kind]
    start = time.process_time()
    scorer = make_scorer(name, seed=seed, **options).fit(training, None)
    fitted = time.process_time()
    scores = scorer.score(background)
    took = {"fit_cpu_s": fitted - start, "score_us_per_event": 1e6 * (time.process_time() - fitted) / len(background)}
    row: dict[str, Any] = {"scorer": kind, "seed": seed, **took}
    row["facts"] = dict(getattr(scorer, "learnt_facts", dict)())
    for signal, sample in signals.items():
        row[signal] = performance(scores, scorer.score(sample))
    return row


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds."""
    found = []
    for kind in dict.fromkeys(row["scorer"] for row in rows):
        own = [row for row in rows if row["scorer"] == kind]
        entry: dict[str, Any] = {"scorer": kind, "runs": len(own)}
        entry |= {k: float(np.median([r[k] for r in own])) for k in ("fit_cpu_s", "score_us_per_event")}
        for signal in FILES:
            for key in ("auc", "max_sic", "sic_at_0.1", "sic_at_0.01"):
                values = [r[signal][key] for r in own]
                entry[f"{signal} {key}"] = [float(np.mean(values)), float(np.std(values, ddof=len(values) > 1))]
        found.append(entry)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("runs/autoencoder"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "baselines.json")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    qcd = Sample.from_table(load(options.folder, "qcd_data", options.cache, AE_FEATURES), AE_FEATURES)
    signals = {}
    for name, file in FILES.items():
        sample = Sample.from_table(load(options.folder, file, options.cache, AE_FEATURES), AE_FEATURES)
        signals[name] = sample.take(WINDOW.in_signal_region(sample.mass))
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(qcd))
        training, others = qcd.take(order[:TRAINED]), qcd.take(order[TRAINED:])
        inside = np.flatnonzero(WINDOW.in_signal_region(others.mass))[:JUDGED]
        for kind in SCORERS:
            rows.append(measure(kind, training, others.take(inside), signals, seed))
            print(rows[-1], flush=True)
            settings = {"trained": TRAINED, "judged": len(inside), "features": list(AE_FEATURES)}
            write_json(options.out, {"settings": settings, "table": table(rows), "runs": rows})


if __name__ == "__main__":
    main()
