"""Classifiers: a stack of networks against a loop, and what trees and networks take and find at the sizes of a search.

    python benchmarks/bench_classifiers.py --out benchmarks/results/classifiers.json

Part 1: one epoch of the networks of five folds, ten to a fold, trained at once and one after another.
Part 2: data (background with 1 % signal) against as much background, five features, as in a search with a perfect template. One training (a
fold of a search) of each setting, to its end, in a process of its own: peak memory above that of the bare process, and what is found in
events that took no part: AUC and significance improvement at background efficiencies of 1 % and 0.1 %, signal against background. The
densities are known, so the best possible figures are too. Times are CPU seconds of one thread: other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from machine import machine

from resonaut.files import write_json
from resonaut.models import auc, efficiency_at
from resonaut.models.classifiers import NetworkClassifier, make_classifier

Array = npt.NDArray[np.float64]
CENTRE, WIDTH, SIGNAL = np.array([1.5, 1.0, 1.0, -1.0, 0.5]), 0.35, 0.01
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "trees": ("trees", {}),
    "network, paper (128, 1e-3)": ("network", {}),
    "network, 512, 1e-3": ("network", {"batch_size": 512}),
    "network, 1024, 1e-3": ("network", {"batch_size": 1024}),
    "network, fast (1024, 5e-3)": ("network", {"batch_size": 1024, "learning_rate": 5e-3}),
    "network, 4096, 1e-2": ("network", {"batch_size": 4096, "learning_rate": 1e-2}),
}


def features(z: Array) -> Array:
    """Skewed, correlated features of five normal numbers: an invertible map, which leaves density ratios as they are."""
    return np.column_stack([z[:, 0], z[:, 1] + 0.5 * z[:, 0] ** 2, np.exp(0.5 * z[:, 2]), np.sinh(z[:, 3]), z[:, 4]])


def draw(rng: np.random.Generator, background: int, signal: int) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    """Features, label, and the logarithm of the density ratio signal / background."""
    z = np.concatenate([rng.normal(size=(background, 5)), rng.normal(CENTRE, WIDTH, (signal, 5))])
    ratio = 0.5 * (z**2).sum(axis=1) - 0.5 * (((z - CENTRE) / WIDTH) ** 2).sum(axis=1)
    return features(z), np.arange(len(z)) >= background, ratio


def figures(truth: npt.NDArray[np.bool_], score: Array) -> dict[str, float]:
    found = {"auc": auc(truth, score)}
    for efficiency in (0.01, 0.001):
        found[f"sic_at_{efficiency:g}"] = float(efficiency_at(truth, score, efficiency)) / efficiency**0.5
    return found


def one_training(events: int, setting: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    name, options = SETTINGS[setting]
    rng = np.random.default_rng([seed, events])
    signal = round(SIGNAL * events / 2)
    matrix, _, _ = draw(rng, events - signal, signal)
    target = np.arange(events) >= events // 2
    test, truth, ratio = draw(rng, 200_000, 20_000)
    classifier = make_classifier(name, **options)
    warm = rng.normal(size=(400, 5))
    make_classifier(name, **{**options, **({"epochs": 1} if name == "network" else {"max_iter": 2})}).train(
        warm, warm[:, 0] > 0, np.ones(400), np.full(400, -1), [0]
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    trained = classifier.train(matrix, target, np.ones(events), np.full(events, -1), [seed])[0]
    seconds = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    start = time.process_time()
    score = trained.probability(test)
    facts = trained.facts()
    return {
        "setting": setting,
        "events": events,
        "seed": seed,
        "train_cpu_s": seconds,
        "train_mb": memory,
        "score_cpu_s_per_1e5": (time.process_time() - start) / len(test) * 1e5,
        "best_epochs": facts.get("best_epoch", facts.get("trees")),
        **figures(truth, score),
        "best_possible": figures(truth, ratio),
    }


def stack_against_loop(events: int, batch: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    matrix, fold = rng.normal(size=(events, 5)), rng.integers(0, 5, events)
    seconds = {}
    for what, size in (("stack", None), ("loop", 1)):
        classifier = NetworkClassifier(epochs=1, batch_size=batch, stack_size=size)
        start = time.process_time()
        classifier.train(matrix, np.arange(events) % 2 == 1, np.ones(events), fold, range(5))
        seconds[what] = time.process_time() - start
    return {
        "events": events,
        "batch_size": batch,
        "networks": 50,
        "loop_cpu_s_per_epoch": seconds["loop"],
        "stack_cpu_s_per_epoch": seconds["stack"],
        "loop_over_stack": seconds["loop"] / seconds["stack"],
    }


def apart(function: Any, *arguments: Any) -> dict[str, Any]:
    """Call in a fresh process, whose memory has no history."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        row: dict[str, Any] = pool.apply(function, arguments)
    print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results/classifiers.json")
    parser.add_argument("--events", type=int, nargs="+", default=[60_000, 200_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 1], help="data sets for each number of events")
    args = parser.parse_args()
    stacks = [apart(stack_against_loop, args.events[0], batch) for batch in (128, 1024)]
    rows = [
        apart(one_training, events, setting, seed)
        for events, seeds in zip(args.events, args.seeds, strict=True)
        for seed in range(seeds)
        for setting in SETTINGS
    ]
    about = machine("torch", threads=1, device="cuda" if torch.cuda.is_available() else "cpu")
    write_json(args.out, {"benchmark": "classifiers", "machine": about, "stacks": stacks, "trainings": rows})


if __name__ == "__main__":
    main()
