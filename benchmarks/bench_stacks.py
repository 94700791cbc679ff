"""Stacks against a loop: the same networks, trained one after another and at once.

    python benchmarks/bench_stacks.py --out benchmarks/results/stacks.json

Networks of CWoLa hunting (12-64-32-16-4-1, dropout, early stopping on a validation set) on random events. Seconds per network and epoch; the
smallest of several repetitions, loop and stack in turn, so that a busy machine burdens both alike. Where batches are so
large that a stack leaves the CPU's cache the scorers train fewer networks at once: `stack_size_chosen_here`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from machine import machine

from resonaut.files import write_json
from resonaut.models.cwola import CWOLA_LAYERS
from resonaut.models.networks import best_stack_size
from resonaut.models.stack import StackedMLP, choose_device
from resonaut.models.training import ClassifierData, EventSet, TrainingOptions, train_classifiers


def random_data(networks: int, events: int) -> ClassifierData:
    rng = np.random.default_rng(1)
    edge = events * 3 // 4
    training, validation = np.arange(edge), np.arange(edge, events)
    return ClassifierData(
        rng.normal(size=(events, 12)),
        rng.random(events) < 0.5,
        [EventSet(training, np.ones(len(training)))] * networks,
        [EventSet(validation, np.ones(len(validation)))] * networks,
    )


def seconds(data: ClassifierData, seeds: Sequence[int], options: TrainingOptions, device: torch.device) -> float:
    network = StackedMLP(12, CWOLA_LAYERS, seeds, device=device)
    start = time.perf_counter()
    train_classifiers(network, data, options)
    return time.perf_counter() - start


def measure(networks: int, batch: int, events: int, repeat: int, device: torch.device) -> dict[str, Any]:
    options = TrainingOptions(epochs=1, patience=1, batch_size=batch)
    data, single = random_data(networks, events), random_data(1, events)
    seconds(single, [0], options, device)  # first call: set-up of the device
    loop, stack = [], []
    for _ in range(repeat):
        loop.append(sum(seconds(single, [seed], options, device) for seed in range(networks)))
        stack.append(seconds(data, range(networks), options, device))
    row = {
        "networks": networks,
        "batch_size": batch,
        "events": events,
        "loop_s_per_network_epoch": min(loop) / networks,
        "stack_s_per_network_epoch": min(stack) / networks,
        "loop_over_stack": min(loop) / min(stack),
        "stack_size_chosen_here": best_stack_size(batch, CWOLA_LAYERS, device),
    }
    print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results/stacks.json")
    parser.add_argument("--device", default=None, help="cpu, cuda, ...; a GPU where there is one")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of torch")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--networks", type=int, nargs="+", default=[4, 20])
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 1024, 15_000])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    rows = [measure(k, batch, args.events, args.repeat, device) for batch in args.batch for k in args.networks]
    about = machine("torch", threads=torch.get_num_threads(), device=str(device))
    write_json(args.out, {"benchmark": "stacks", "machine": about, "rows": rows})


if __name__ == "__main__":
    main()
