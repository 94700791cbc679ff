"""Event generation: rate per core, and how the samples compare with others that are known.

    python benchmarks/bench_generate.py FOLDER [--events 10000] [--out FOLDER]

FOLDER holds reference samples `sim/*.features.h5`: QCD and three signals, made with Pythia 8 and another fast detector
simulation. Compared are the peaks of the signals' jet masses and dijet masses, means, and the Kolmogorov-Smirnov distance
of each feature. The loss by the generator's pTHat threshold is measured on a biased sample that begins far below it.
Rates are CPU seconds of one process, start of Pythia included, compilation excluded. Results go to
`benchmarks/results/generate.json`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from machine import machine
from scipy.stats import ks_2samp

from resonaut.files import write_json
from resonaut.processors import QCD, WZ, Generator, TTbar, ZPrimeXY, generate, source
from resonaut.processors.features.dijet import DijetFeatures
from resonaut.processors.generation.pythia import pythia_version

RESULTS = Path(__file__).parent / "results" / "generate.json"
FEATURES = ("mjj", "m_h", "m_l", "tau21_h", "tau21_l", "tau32_h", "n_h", "n_l", "nj")
NOT_INTERLEAVED = Generator(lines=("TimeShower:interleave = off",))
SAMPLES: dict[str, tuple[Any, Generator, str]] = {
    "qcd": (QCD(1075.0), Generator(), "qcd_data"),
    "qcd, shower not interleaved": (QCD(1075.0), NOT_INTERLEAVED, "qcd_data"),
    "qcd, vincia": (QCD(1075.0), Generator(shower="vincia"), "qcd_sim"),
    "X(500) Y(100)": (ZPrimeXY(), Generator(), "sig_Zp3500_X500_Y100_2prong"),
    "X(500) X(500), 3 prongs": (
        ZPrimeXY(m_y=500.0, prongs_x=3, prongs_y=3),
        Generator(),
        "sig_Zp3500_X500_X500_3prong",
    ),
    "X(300) X(300), 3 prongs": (
        ZPrimeXY(m_x=300.0, m_y=300.0, prongs_x=3, prongs_y=3),
        Generator(),
        "sig_Zp3500_X300_X300_3prong",
    ),
    "ttbar": (TTbar(), Generator(), ""),
    "wz": (WZ(), Generator(), ""),
}
SLOW = {"qcd, vincia": 0.2, "ttbar": 0.2, "wz": 0.2}  # of the events


def features(path: Path, events: int) -> dict[str, Any]:
    """Features of the events above 2.8 TeV, where the reference samples are free of their turn-on."""
    reader = source("lhco-features")
    columns = DijetFeatures()(reader.read(str(path), 0, min(events, reader.n_events(str(path)))))
    high = columns["mjj"] > 2800.0
    return {name: column[high & np.isfinite(column)] for name, column in columns.items() if name in FEATURES}


def peak(values: Any, width: float) -> float:
    """Place of the highest bin of a histogram, by the mean of what lies around it."""
    counts, edges = np.histogram(values, np.arange(0, 6000, width))
    centre = edges[counts.argmax()] + width / 2
    return float(values[np.abs(values - centre) < 1.5 * width].mean())


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Means, spreads and distances of each feature."""
    return {
        name: {
            "mean": round(float(ours[name].mean()), 4),
            "reference": round(float(theirs[name].mean()), 4),
            "ks": round(float(ks_2samp(ours[name], theirs[name]).statistic), 4),
        }
        for name in FEATURES
    }


def one(name: str, events: int, folder: Path, reference: Path) -> dict[str, Any]:
    """A sample, its rate, and its distances from the reference."""
    process, generator, known = SAMPLES[name]
    out = folder / f"{name.replace(' ', '_')}.h5"
    begun = time.process_time()
    sample = generate(process, out, events, format="features", generator=generator, seed=11)
    seconds = time.process_time() - begun
    result: dict[str, Any] = {
        "events": events,
        "efficiency": round(sample.provenance["efficiency"], 4),
        "failed": sample.ledger.failed,
        "events_per_second_per_core": round(events / seconds, 1),
        "tries_per_second_per_core": round(sample.ledger.tried / seconds, 1),
    }
    if process.has_rate:
        result["cross_section_pb"] = [sample.cross_section, sample.cross_section_error]
    if known:
        ours, theirs = features(out, events), features(reference / f"{known}.features.h5", 40_000)
        result["against"], result["features"] = known, compare(ours, theirs)
        if process.label:
            result["peaks_gev"] = {
                column: [round(peak(ours[column], width), 1), round(peak(theirs[column], width), 1)]
                for column, width in (("m_h", 10.0), ("m_l", 10.0), ("mjj", 100.0))
            }
    return result


def pthat_loss(events: int, folder: Path) -> dict[str, Any]:
    """Share of the selected events, by weight, that a threshold on pTHat loses."""
    out = folder / "biased.h5"
    sample = generate(QCD(700.0, bias=4.0), out, events, format="features", seed=12)
    reader = source("lhco-features")
    mjj = DijetFeatures()(reader.read(str(out), 0, events))["mjj"]
    with h5py.File(out, "r") as file:
        pthat, weight = file["truth/pthat"][:], file["truth/weight"][:]
    losses = {}
    for low, high in ((0, 2800), (2800, 13000), (3300, 3700)):
        inside = (mjj > low) & (mjj < high)
        total = weight[inside].sum()
        losses[f"mjj {low}-{high} GeV"] = {
            f"pTHat > {cut:.0f} GeV": [
                round(float(weight[inside & (pthat < cut)].sum() / total), 4),
                round(float(np.sqrt((weight[inside & (pthat < cut)] ** 2).sum()) / total), 4),
            ]
            for cut in (800, 900, 1000, 1075)
        }
    return {"events": events, "cross_section_pb": [sample.cross_section, sample.cross_section_error], "lost": losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="keep the samples here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        generate(QCD(1075.0), Path(temporary) / "warm.h5", 50, format="features")  # compile
        samples = {}
        for name in SAMPLES:
            events = round(arguments.events * SLOW.get(name, 1.0))
            samples[name] = one(name, events, folder, arguments.folder / "sim")
            print(name, samples[name], flush=True)
        loss = pthat_loss(2 * arguments.events, folder)
        print(loss, flush=True)
    write_json(
        RESULTS,
        {
            "schema": 1,
            "what": "generation with the fast detector simulation, jets with R=1, all substructure, features written",
            "samples": samples,
            "pthat_threshold": loss,
            "environment": machine(pythia=pythia_version()),
        },
    )


if __name__ == "__main__":
    main()
