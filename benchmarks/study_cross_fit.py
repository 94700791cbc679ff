"""How far counts after a learnt cut scatter on background: `python benchmarks/study_cross_fit.py [--workers 1]`.

Events of a toy have features that do not depend on the mass, and there is no signal: after a cut on an out-of-fold score
the fraction of events in the signal region is the same as before it. z = (selected in the region - fraction * selected)
over its binomial error would have width 1 if the cut were fixed. With a cut that is learnt from the other folds, its
width is measured here: for a linear discriminant, where it can be calculated (docs/stats/learnt-cuts.md), and for the
trees of `cwola-trees`; with all other folds to learn from, with the earlier ones alone, and in one half with the other.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from resonaut.files import write_json
from resonaut.models import Sample, make_scorer, select
from resonaut.stats import Window

FloatArray = npt.NDArray[np.float64]
WINDOW = Window(1.0, 2.0, 0.0, 3.0)  # a "mass" that is uniform in 0-3
FRACTION = 1.0 / 3.0  # of the events in the signal region
CUTS = (0.5, 0.1, 0.01)
FOLDS = (2, 5)
SEED = 11


def fisher(x: FloatArray, inside: npt.NDArray[np.bool_], _mass: FloatArray, _seed: int) -> Callable[..., FloatArray]:
    """Linear discriminant of signal region against sidebands; the features are independent, of width 1."""
    direction = x[inside].mean(axis=0) - x[~inside].mean(axis=0)
    return lambda new, _mass: new @ direction


def trees(x: FloatArray, _inside: npt.NDArray[np.bool_], mass: FloatArray, seed: int) -> Callable[..., FloatArray]:
    """`cwola-trees` with one member."""
    names = [f"x{k}" for k in range(x.shape[1])]
    scorer = make_scorer("cwola-trees", features=names, members=1, seed=seed)
    scorer.fit(Sample(x, names, mass), WINDOW)
    return lambda new, new_mass: scorer.score(Sample(new, names, new_mass))


LEARNERS: dict[str, Callable[..., Any]] = {"linear": fisher, "trees": trees}


def scores_of(
    learner: str, x: FloatArray, mass: FloatArray, fold: npt.NDArray[np.int64], *, earlier: bool, seed: int
) -> FloatArray:
    """Out-of-fold scores; NaN for the first fold where only earlier ones are learnt from."""
    inside = WINDOW.in_signal_region(mass)
    scores = np.full(len(mass), np.nan)
    for k in range(fold.max() + 1):
        given = fold < k if earlier else fold != k
        if given.any():
            fitted = LEARNERS[learner](x[given], inside[given], mass[given], seed + k)
            scores[fold == k] = fitted(x[fold == k], mass[fold == k])
    return scores


def one_toy(task: tuple[str, int, int, int]) -> list[dict[str, Any]]:
    """z of each scheme and cut in one toy."""
    learner, number, events, dimensions = task
    os.environ["OMP_NUM_THREADS"] = "1"
    rng = np.random.default_rng([SEED, number])
    x, mass = rng.normal(size=(events, dimensions)), 3.0 * rng.random(events)
    found = []
    for folds in FOLDS:
        fold = rng.permutation(events) % folds
        for earlier in (False, True):
            scores = scores_of(learner, x, mass, fold, earlier=earlier, seed=100 * number)
            kept = np.isfinite(scores)
            inside = WINDOW.in_signal_region(mass[kept])
            for cut, mask in select(scores[kept], fold[kept], list(CUTS)).items():
                n, seen = np.count_nonzero(mask), np.count_nonzero(mask & inside)
                z = (seen - FRACTION * n) / np.sqrt(n * FRACTION * (1 - FRACTION))
                found.append({"folds": folds, "earlier": earlier, "cut": cut, "z": float(z)})
    return found


def summarise(toys: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Mean, width and tail of z for each scheme and cut, with the errors of the first two."""
    rows = []
    for each in zip(*toys, strict=True):
        z = np.array([entry["z"] for entry in each])
        width, kurtosis = z.std(ddof=1), np.mean((z - z.mean()) ** 4) / z.var() ** 2
        rows.append({
            **{name: each[0][name] for name in ("folds", "earlier", "cut")},
            "toys": len(z), "mean": float(z.mean()), "mean_error": float(width / np.sqrt(len(z))),
            "width": float(width), "width_error": float(width * np.sqrt(max(kurtosis - 1, 0.0) / (4 * len(z)))),
            "above_2": float(np.mean(z > 2)), "above_3": float(np.mean(z > 3)),
        })  # fmt: skip
    return rows


def table(result: dict[str, Any]) -> list[str]:
    """Rows of the table in docs/stats/learnt-cuts.md."""
    lines = []
    for learner in LEARNERS:
        for row in result[learner]:
            calculated = 1.0 if row["earlier"] else np.sqrt(1 + norm.pdf(norm.isf(row["cut"])) ** 2 / row["cut"])
            expected = f"{calculated:.2f}" if learner == "linear" or row["earlier"] else ""
            given = "earlier folds" if row["earlier"] else "all others"
            lines.append(
                f"| {learner} | {row['folds']} | {given} | {100 * row['cut']:g} % | {expected} | "
                f"{row['width']:.3f} ± {row['width_error']:.3f} | {row['mean']:+.3f} ± {row['mean_error']:.3f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--linear", type=int, default=4000, help="toys of the linear discriminant")
    parser.add_argument("--trees", type=int, default=300, help="toys of the trees")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cross_fit.json")
    options = parser.parse_args()
    result: dict[str, Any] = {"events": options.events, "dimensions": options.dimensions, "fraction": FRACTION}
    with ProcessPoolExecutor(options.workers) as pool:
        for learner, toys in (("linear", options.linear), ("trees", options.trees)):
            tasks = [(learner, number, options.events, options.dimensions) for number in range(toys)]
            result[learner] = summarise(list(pool.map(one_toy, tasks, chunksize=4)))
            for row in result[learner]:
                print(learner, {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    write_json(options.out, result)
    print("\n".join(table(result)))


if __name__ == "__main__":
    main()
