"""An ensemble of 63 Deep SVDDs as stacks against a loop over plain torch modules.

    python benchmarks/bench_svdd.py --out benchmarks/results/svdd.json

The published networks (512-256-128, ELU) on simulated events of zero-padded objects: `--events` rows of 127 columns. Two questions:

- equal steps: seconds per network and epoch of loop and stack, at the published batch of 10,000 events and at smaller ones;
- equal loss: how long the stack takes, with batches of its own, until every member has the validation loss that the published
  training (batches of 10,000) reached after `--epochs` epochs in the loop.

The loop is timed for `--timed` members, spread over the grid, and scaled to 63. Loop and stack run in turn, the smallest of several
repetitions counts.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from machine import machine
from torch import nn

from resonaut.files import write_json
from resonaut.models.group_training import GroupTraining
from resonaut.models.stack import Layer, choose_device
from resonaut.models.svdd import SVDD_DIMENSIONS, SVDD_TARGETS
from resonaut.models.targets import Aims, TargetData, stack_of, train_to_targets

HIDDEN = (512, 256, 128)
MEMBERS = [(d, n) for d in SVDD_DIMENSIONS for n in SVDD_TARGETS]
COLUMNS = 127


def events_of_objects(events: int) -> np.ndarray:
    """25 slots with a flag and four numbers that depend on a few common ones, and two numbers more; slots are often empty."""
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(events, 6))
    there = rng.random((events, 25)) < np.linspace(0.95, 0.02, 25)
    values = np.tanh(hidden @ rng.normal(size=(6, 100)) / 2).reshape(events, 25, 4) + 0.2 * rng.normal(
        size=(events, 25, 4)
    )
    return np.hstack([there, hidden[:, :2], (values * there[:, :, None]).reshape(events, -1)])


def plain(dimension: int) -> nn.Sequential:
    widths = [COLUMNS, *HIDDEN, dimension]
    layers: list[nn.Module] = []
    for place, (a, b) in enumerate(itertools.pairwise(widths)):
        linear = nn.Linear(a, b)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ELU()] if place < len(HIDDEN) else [linear]
    return nn.Sequential(*layers)


def loop_member(data: TargetData, member: tuple[int, float], batch: int, epochs: int) -> tuple[float, list[float]]:
    """Seconds of the training, and the validation loss after each epoch (not timed)."""
    torch.manual_seed(0)
    module, target = plain(member[0]).to(data.device), float(member[1])
    adam = torch.optim.Adam(module.parameters(), 1e-3)
    known, held_out = data.features[: data.training], data.features[data.training :]
    losses, spent = [], 0.0
    for _ in range(epochs):
        finish(data.device)
        start = time.perf_counter()
        order = torch.randperm(data.training, device=data.device)
        for rows in torch.tensor_split(order, -(-data.training // batch)):
            adam.zero_grad()
            (module(known[rows]) - target).square().mean().backward()
            adam.step()
        finish(data.device)
        spent += time.perf_counter() - start
        with torch.no_grad():
            losses.append(float((module(held_out) - target).square().mean()))
    return spent, losses


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def stack_training(
    data: TargetData, members: Sequence[tuple[int, float]], batch: int, epochs: int, goals: np.ndarray | None = None
) -> tuple[float, int]:
    """Seconds and epochs of one stack, until all goals are reached where there are some; its validation is timed too."""
    aims = Aims.of(members, data.device)
    network = stack_of(COLUMNS, [Layer(w, "elu") for w in HIDDEN], members, range(len(members)), data.device)
    reached = [epochs]

    class Done(Exception):
        pass

    def watch(epoch: int, losses: np.ndarray) -> None:
        if goals is not None and bool((losses <= goals).all()):
            reached[0] = epoch
            raise Done

    finish(data.device)
    start = time.perf_counter()
    with contextlib.suppress(Done):
        train_to_targets(network, aims, data, GroupTraining(epochs, epochs, epochs, batch, 1e-3, 1), watch)
    finish(data.device)
    return time.perf_counter() - start, reached[0]


def groups(device: torch.device) -> list[list[tuple[int, float]]]:
    """Members that `DeepSVDD` trains together: all on a GPU, those of one dimension on a CPU."""
    if device.type != "cpu":
        return [MEMBERS]
    return [[(d, n) for n in SVDD_TARGETS] for d in SVDD_DIMENSIONS]


def equal_steps(data: TargetData, batch: int, timed: int, repeat: int) -> dict[str, Any]:
    chosen = MEMBERS[:: max(1, len(MEMBERS) // timed)][:timed]
    stacks = groups(data.device)
    stacks = stacks if data.device.type != "cpu" else stacks[:: max(1, len(stacks) // 2)][:2]
    loops, together = [], []
    for _ in range(repeat):
        loops.append(sum(loop_member(data, member, batch, 1)[0] for member in chosen) / len(chosen))
        together.append(sum(stack_training(data, each, batch, 1)[0] for each in stacks) / sum(map(len, stacks)))
    row = {
        "batch_size": batch, "loop_s_per_network_epoch": min(loops), "stack_s_per_network_epoch": min(together),
        "loop_over_stack": min(loops) / min(together),
    }  # fmt: skip
    print("equal steps ", row, flush=True)
    return row


def equal_loss(data: TargetData, batch: int, epochs: int, timed: int) -> dict[str, Any]:
    chosen = MEMBERS[:: max(1, len(MEMBERS) // timed)][:timed]
    spent, goals = [], {}
    for member in chosen:
        seconds, losses = loop_member(data, member, 10_000, epochs)
        spent.append(seconds)
        goals[member] = min(losses)
    loop = float(np.mean(spent)) * len(MEMBERS)
    stack, used, trained = 0.0, [], 0
    for group in groups(data.device):
        # members whose loss was not measured in the loop have no goal; they train as long as the slowest that has one
        aim = np.array([goals.get(member, np.inf) for member in group])
        if np.isfinite(aim).any():
            seconds, reached = stack_training(data, group, batch, 4 * epochs, aim)
            stack += seconds
            trained += len(group)
            used.append(reached)
    stack *= len(MEMBERS) / trained
    row = {
        "published_batch": 10_000, "published_epochs": epochs, "loop_s_for_63": loop, "members_timed": len(chosen),
        "stack_batch": batch, "stack_epochs": used, "stack_s_for_63": stack, "loop_over_stack": loop / stack,
        "goal_reached": bool(max(used) < 4 * epochs),
    }  # fmt: skip
    print("equal loss  ", row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="benchmarks/results/svdd.json")
    parser.add_argument("--device", default=None, help="cpu, cuda, ...; a GPU where there is one")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of torch")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[10_000, 512])
    parser.add_argument("--own-batch", type=int, default=512, help="Of the stack in the comparison at equal loss.")
    parser.add_argument(
        "--epochs", type=int, default=50, help="Of the published training in the comparison at equal loss."
    )
    parser.add_argument("--timed", type=int, default=9, help="Members timed in the loop.")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    matrix = events_of_objects(args.events)
    data = TargetData.make(matrix, np.ones(len(matrix)), 0.1, np.random.SeedSequence(1), device)
    equal_steps(data, args.batch[0], 1, 1)  # set-up of the device
    rows = [equal_steps(data, batch, args.timed, args.repeat) for batch in args.batch]
    losses = equal_loss(data, args.own_batch, args.epochs, args.timed)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    about = machine("torch", threads=torch.get_num_threads(), device=name)
    write_json(
        args.out,
        {"benchmark": "svdd", "machine": about, "events": args.events, "equal_steps": rows, "equal_loss": losses},
    )


if __name__ == "__main__":
    main()
