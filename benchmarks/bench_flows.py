"""Training of flows: nflows as it is used in published code against `ConditionalFlow`, at the same network and at the defaults.

    python benchmarks/bench_flows.py FOLDER [--quick] [--device cpu] [--out benchmarks/results/flows.json]

FOLDER holds `qcd_data.features.h5`. Five features given mJJ, sidebands 2.5-3.3 and 3.7-5.5 TeV, one fifth of the events for validation.
(a) nflows' own masked-autoregressive spline transforms, a DataLoader, Adam at 1e-3 and batches of 1024; (b) ours with the same layers,
hidden units, bins, batches, learning rate and epochs; (c) ours with the defaults. Seconds are of this process (CPU time) on a CPU, so that a
busy machine counts little, and of the clock on a GPU; they hold training and validation. Losses are on the same events in the same
coordinates, nats per event.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
from nflows.transforms.base import CompositeTransform
from nflows.transforms.permutations import ReversePermutation
from torch.utils.data import DataLoader, TensorDataset

from resonaut.analysis.config import ExecutorConfig
from resonaut.analysis.events import make_table
from resonaut.files import write_json
from resonaut.models.flows import ConditionalFlow, FlowOptions
from resonaut.models.flows.preprocessing import Preprocessing, Standardised
from resonaut.models.flows.training import split
from resonaut.models.stack import choose_device
from resonaut.processors import read_table

FEATURES = ("m_l", "dm_jj", "tau21_l", "tau21_h", "dr_jj")
SAME = FlowOptions(batch_size=1024, learning_rate=1e-3, schedule="constant")  # layers, units and bins of the defaults
SEED = 1
Curve = list[tuple[float, float]]


def sidebands(folder: Path, cache: Path, events: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 5) and mJJ (n, 1), GeV."""
    table = cache / "qcd_data.parquet"
    if not table.exists():
        reading = ExecutorConfig(chunksize=100_000)
        make_table(
            [folder / "qcd_data.features.h5"], table, {}, {}, reading, on_bad_file="raise", cache=cache / "chunks"
        )
    found = read_table(table, columns=[*FEATURES, "mjj"])
    columns = np.stack([np.asarray(found[name], dtype=float) for name in (*FEATURES, "mjj")], axis=1)
    mass = columns[:, -1]
    used = columns[(mass > 2500) & (mass < 5500) & ~((mass >= 3300) & (mass < 3700))][:events]
    return used[:, :-1], used[:, -1:]


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds of this process on a CPU, of the clock on a GPU."""
    if device.type == "cpu":
        return time.process_time
    return lambda: (torch.cuda.synchronize(), time.perf_counter())[1]


def plain_nflows(x: np.ndarray, mass: np.ndarray, epochs: int, device: torch.device) -> Curve:
    """(seconds, validation loss) after each epoch."""
    rows, held_out = split(len(x), SAME, np.random.SeedSequence(SEED).spawn(3)[0])
    z = torch.tensor(Preprocessing.learn(x, SAME).to(x)[0], dtype=torch.float32, device=device)
    c = torch.tensor(Standardised.learn("context", mass).to(mass), dtype=torch.float32, device=device)
    torch.manual_seed(SEED)
    layers: list[Any] = []
    for _ in range(SAME.layers):
        layers.append(
            MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                5, SAME.hidden, 1, SAME.bins, "linear", SAME.tail_bound, num_blocks=SAME.blocks
            )
        )
        layers.append(ReversePermutation(5))
    flow = Flow(CompositeTransform(layers), StandardNormal([5])).to(device)
    optimiser = torch.optim.Adam(flow.parameters(), lr=SAME.learning_rate)
    loader = DataLoader(TensorDataset(z[rows], c[rows]), batch_size=SAME.batch_size, shuffle=True)
    now, curve = clock(device), []
    start = now()
    for _ in range(epochs):
        for inputs, context in loader:
            optimiser.zero_grad()
            loss = -flow.log_prob(inputs, context=context).mean()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            parts = [
                -flow.log_prob(z[part], context=c[part]).double().sum()
                for part in torch.tensor(held_out, device=device).split(16384)
            ]
        curve.append((now() - start, float(torch.stack(parts).sum()) / len(held_out)))
    return curve


def ours(x: np.ndarray, mass: np.ndarray, options: FlowOptions, device: torch.device) -> Curve:
    now, seconds = clock(device), []
    start = now()
    flow = ConditionalFlow(options, seed=SEED, device=str(device))
    flow.fit(x, mass, progress=lambda *_: seconds.append(now() - start))
    return [(each, validation) for each, (_, validation) in zip(seconds, flow.history_, strict=True)]


def row(name: str, curve: Curve, events: int) -> dict[str, Any]:
    seconds = curve[-1][0]
    result = {
        "what": name,
        "epochs": len(curve),
        "seconds": seconds,
        "training_events_per_second": events * (1 - SAME.validation) * len(curve) / seconds,
        "best_validation_loss": min(loss for _, loss in curve),
        "seconds_after_each_epoch": [each for each, _ in curve],
        "validation_losses": [loss for _, loss in curve],
    }
    print(
        f"{name}: {len(curve)} epochs, {seconds:.1f} s, {result['training_events_per_second']:.0f} events/s, ", end=""
    )
    print(f"validation loss {result['best_validation_loss']:.4f}", flush=True)
    return result


def seconds_to(curve: Curve, loss: float) -> float | None:
    """When a validation loss was first reached, if ever."""
    return next((seconds for seconds, each in curve if each <= loss), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", default="benchmarks/results/flows.json")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench_flows"))
    parser.add_argument("--device", default=None, help="cpu, cuda, ...; a GPU where there is one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--epochs", type=int, default=6, help="of (a) and (b)")
    parser.add_argument("--quick", action="store_true", help="20,000 events, two epochs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    epochs = 2 if args.quick else args.epochs
    x, mass = sidebands(args.folder, args.cache, 20_000 if args.quick else None)
    ours(x[:2000], mass[:2000], FlowOptions(epochs=1), device)  # kernels are compiled, the device is set up
    defaults = FlowOptions(epochs=epochs) if args.quick else FlowOptions()
    same = FlowOptions(**{**SAME.to_dict(), "epochs": epochs, "patience": epochs})
    curves = {
        "nflows": plain_nflows(x, mass, epochs, device),
        "same network": ours(x, mass, same, device),
        "defaults": ours(x, mass, defaults, device),
    }
    goal = min(loss for _, loss in curves["nflows"])
    reached = seconds_to(curves["defaults"], goal)
    rows = [row(name, curve, len(x)) for name, curve in curves.items()]
    speed = [each["training_events_per_second"] for each in rows]
    ratios = {
        "same_network_over_nflows": speed[1] / speed[0],
        "defaults_over_nflows": speed[2] / speed[0],
        "nflows_seconds_over_defaults_to_its_loss": None
        if reached is None
        else seconds_to(curves["nflows"], goal) / reached,  # type: ignore[operator]
        "same_network_minus_nflows_nats": rows[1]["best_validation_loss"] - goal,
        "defaults_minus_nflows_nats": rows[2]["best_validation_loss"] - goal,
    }
    print(ratios)
    about = machine("torch", "nflows", threads=torch.get_num_threads(), device=str(device))
    options = {"same network": same.to_dict(), "defaults": defaults.to_dict()}
    result = {
        "benchmark": "flows",
        "machine": about,
        "events": len(x),
        "ratios": ratios,
        "rows": rows,
        "options": options,
    }
    write_json(args.out, result)


if __name__ == "__main__":
    main()
