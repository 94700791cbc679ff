"""Supervised and idealised references on the real LHC Olympics R&D events, against the published figures.

    python benchmarks/bench_lhco_references.py --data ../shared/data/lhco --out benchmarks/results/lhco_references.json

Signal region 3.3-3.7 TeV, features mJ1, dmJJ, tau21 of both jets (arXiv:2109.00546). Two samples of 60,000 events (395 and 369
signal) and 27,263 more signal events are available. Published, with 272k more background events: maximum SIC 17.65 (supervised)
and 15.08 (idealised).

Supervised: trained on the background of one sample and half of the extra signal, tested on the other sample's background and the
other half; then the roles change, which makes 119,236 test background events.
Idealised: one sample is the data (labels unread), the background of the other the template; five folds, so that each
background event is scored by a detector that did not see it; the extra signal is never trained on. Both roles.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.files import write_json
from resonaut.models import Idealised, Sample, Supervised, assign_folds, auc, sic_curve
from resonaut.models.sample import FloatArray

FEATURES = ("mj_min", "dm_jj", "tau21_l", "tau21_h")
PUBLISHED = {"supervised": 17.65, "idealised": 15.08}
FLOORS = (10, 30, 100)
OPTIONS: dict[str, Any] = {"members": 20, "max_iter": 300, "max_features": 0.5}


def read(path: Path) -> Sample:
    rows = np.load(path)
    return Sample(rows[:, 1:5], FEATURES, rows[:, 0] * 1000.0, label=rows[:, 5].astype(np.int8))


def joined(first: Sample, second: Sample) -> Sample:
    parts = [(getattr(first, name), getattr(second, name)) for name in ("features", "mass", "weight")]
    features, mass, weight = (np.concatenate(pair) for pair in parts)
    return Sample(features, FEATURES, mass, weight, np.concatenate([first.truth(), second.truth()]))


def supervised(samples: tuple[Sample, Sample], signal: Sample, seed: int) -> tuple[FloatArray, FloatArray]:
    labels, scores = [], []
    parity = np.arange(len(signal)) % 2
    for role in (0, 1):
        background, other = (each.take(each.truth() == 0) for each in (samples[role], samples[1 - role]))
        training = joined(background, signal.take(parity == role))
        test = joined(other, signal.take(parity != role))
        scorer = Supervised(FEATURES, seed=2 * seed + role, **OPTIONS).fit(training, None)
        labels.append(test.truth())
        scores.append(scorer.score(test))
    return np.concatenate(labels), np.concatenate(scores)


def idealised(
    samples: tuple[Sample, Sample], signal: Sample, seed: int, role: int, folds: int = 5
) -> tuple[FloatArray, FloatArray]:
    data, other = samples[role], samples[1 - role]
    template = other.take(other.truth() == 0)
    fold = [assign_folds(each.mass, folds, seed + place) for place, each in enumerate((data, template, signal))]
    labels, scores = [], []
    for number in range(folds):
        scorer = Idealised(FEATURES, seed=folds * seed + number, **OPTIONS)
        scorer.fit_against(data.take(fold[0] != number), template.take(fold[1] != number))
        held_out = joined(data.take((fold[0] == number) & (data.truth() == 0)), template.take(fold[1] == number))
        test = joined(held_out, signal.take(fold[2] == number))
        labels.append(test.truth())
        scores.append(scorer.score(test))
    return np.concatenate(labels), np.concatenate(scores)


def figures(labels: FloatArray, scores: FloatArray) -> dict[str, Any]:
    row: dict[str, Any] = {"auc": auc(labels, scores), "max_sic": {}}
    for floor in FLOORS:
        value, error = sic_curve(labels, scores, min_background=floor).best
        row["max_sic"][f"background>={floor}"] = {"value": value, "error": error}
    print(row, flush=True)
    return row


def summary(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    maxima = {key: [row["max_sic"][key]["value"] for row in rows] for key in rows[0]["max_sic"]}
    return {
        "published_max_sic": PUBLISHED[name],
        "median_max_sic": {key: float(np.median(values)) for key, values in maxima.items()},
        "median_auc": float(np.median([row["auc"] for row in rows])),
        "runs": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/lhco"))
    parser.add_argument("--out", default="benchmarks/results/lhco_references.json")
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    samples = read(args.data / "innerdata_train.npy"), read(args.data / "innerdata_val.npy")
    signal = read(args.data / "innerdata_extrasig_train.npy")
    start = time.perf_counter()
    runs = {
        "supervised": [figures(*supervised(samples, signal, seed)) for seed in range(args.seeds)],
        "idealised": [
            figures(*idealised(samples, signal, seed, role)) for seed in range(args.seeds) for role in (0, 1)
        ],
    }
    content = {
        "benchmark": "lhco references",
        "options": OPTIONS,
        "seconds": time.perf_counter() - start,
        **{name: summary(rows, name) for name, rows in runs.items()},
    }
    write_json(args.out, content)


if __name__ == "__main__":
    main()
