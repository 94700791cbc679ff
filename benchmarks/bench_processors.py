"""Throughput at particle level: reading, clustering and substructure per core, against fastjet's awkward interface.

    python benchmarks/bench_processors.py FOLDER [--events 10000] [--fastjet-events 500]

FOLDER holds `sim/particles_sample.h5` and `lhco/events_anomalydetection_tiny.h5`. All times are CPU seconds of one
process with one thread, of one run, compilation excluded. The whole processor (`DijetProcessor` under `run_processor`)
is timed too: reading, jets, cuts, histograms, table. Results go to `benchmarks/results/processors.json`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import fastjet
import numpy as np
from machine import machine

from resonaut.files import write_json
from resonaut.processors import (
    DijetProcessor,
    Particles,
    cluster,
    flatten_particles,
    run_processor,
    source,
    substructure,
)
from resonaut.processors.jets.kernels_cluster import cluster_events

RESULTS = Path(__file__).parent / "results" / "processors.json"
CHUNK = 2000
TAUS = ("tau1", "tau2", "tau3", "tau4", "tau1b2")


def cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    out = function()
    return time.process_time() - start, out


def leading(particles: Particles) -> Particles:
    """Constituents of the two leading jets of events that have two."""
    _, offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, 1.0, -1.0, 20.0
    )
    first = offsets[:-1][np.diff(offsets) >= 2]
    chosen = (first[:, None] + np.arange(2)).ravel()
    rows = np.concatenate([members[bounds[j] : bounds[j + 1]] for j in chosen])
    counts = bounds[chosen + 1] - bounds[chosen]
    return Particles(particles.momenta[rows], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def ours(path: str, events: int) -> dict[str, float]:
    """CPU seconds of each part for `events` events, in chunks."""
    reader = source("lhco-particles")
    times = dict.fromkeys(("read", "clustering", "n_subjettiness", "soft_drop"), 0.0)
    for start in range(0, events, CHUNK):
        stop = min(start + CHUNK, events)
        seconds, (particles, _) = cpu(lambda a=start, b=stop: flatten_particles(reader.read(path, a, b).PFCand))
        times["read"] += seconds
        times["clustering"] += cpu(
            lambda p=particles: cluster_events(p.momenta, p.towards, p.offsets, 1.0, -1.0, 20.0),
        )[0]
        jets = leading(particles)
        times["n_subjettiness"] += cpu(lambda j=jets: substructure(j, 1.0, TAUS))[0]
        times["soft_drop"] += cpu(lambda j=jets: substructure(j, 1.0, ("msd",)))[0]
    return times


def theirs(path: str, events: int) -> tuple[dict[str, float], dict[str, float]]:
    """The same by fastjet's awkward interface, and the largest difference of each observable."""
    times = {}
    reader = source("lhco-particles")
    times["read"], (particles, _) = cpu(lambda: flatten_particles(reader.read(path, 0, events).PFCand))

    def momenta(p: Particles) -> Any:
        flat = ak.zip({k: p.momenta[:, i] for i, k in enumerate(("px", "py", "pz", "E"))}, with_name="Momentum4D")
        return ak.unflatten(flat, np.diff(p.offsets))

    particle_array, jet_array = momenta(particles), momenta(leading(particles))
    antikt = fastjet.JetDefinition(fastjet.antikt_algorithm, 1.0)

    def clustering() -> Any:
        sequence = fastjet.ClusterSequence(particle_array, antikt)
        return sequence.inclusive_jets(20.0), sequence.constituents(20.0)

    times["clustering"], _ = cpu(clustering)
    widest = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    recluster, sub = cpu(lambda: fastjet.ClusterSequence(jet_array, widest))
    options = {"measure_definition": "NormalizedMeasure", "axes_definition": "WTA_KT_Axes", "R0": 1.0}
    times["n_subjettiness"], taus = cpu(
        lambda: (
            ak.to_numpy(sub.njettiness(**options, njets=[1, 2, 3, 4], beta=1.0)),
            ak.to_numpy(sub.njettiness(**options, njets=[1], beta=2.0)),
        )
    )
    seconds, groomed = cpu(
        lambda: sub.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=1.0).msoftdrop
    )
    times["soft_drop"] = recluster + seconds
    pair = cluster(particles)
    two = pair.count >= 2
    own = {name: column[two].ravel() for name, column in pair.columns.items()}
    differences = {f"tau{i + 1}": float(np.abs(taus[0][:, i] - own[f"tau{i + 1}"]).max()) for i in range(4)}
    differences["tau1b2"] = float(np.abs(taus[1][:, 0] - own["tau1b2"]).max())
    differences["msd [GeV]"] = float(np.abs(np.maximum(ak.to_numpy(groomed), 0) - own["msd"]).max())
    return times, differences


def summary(times: dict[str, float], events: int) -> dict[str, Any]:
    total = sum(times.values())
    split = {name: round(1e6 * seconds / events, 1) for name, seconds in times.items()}
    return {"events": events, "microseconds_per_event": split, "events_per_second_per_core": round(events / total)}


def whole_processor(path: str) -> dict[str, Any]:
    """Everything that a user waits for: digest of the file, plan, reading, features, histograms, table."""
    seconds, result = cpu(lambda: run_processor({"a": path}, DijetProcessor(), chunksize=CHUNK))
    read = result.require_complete().ledger.read
    return {"events": read, "events_per_second_per_core": round(read / seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--fastjet-events", type=int, default=500)
    arguments = parser.parse_args()
    sample = str(arguments.folder / "sim" / "particles_sample.h5")
    native = str(arguments.folder / "lhco" / "events_anomalydetection_tiny.h5")
    ours(sample, 50)  # compile
    theirs(sample, 10)
    theirs_times, differences = theirs(sample, arguments.fastjet_events)
    ours_times = ours(sample, arguments.events)
    result = {
        "schema": 1,
        "what": "anti-kT R=1 clustering of 700 x 3 particle frames; tau1..tau4, tau1 (beta=2), soft-drop mass of two jets",
        "resonaut": summary(ours_times, arguments.events),
        "fastjet": summary(theirs_times, arguments.fastjet_events),
        "largest_difference": differences,
        "whole_processor": whole_processor(sample),
        "native_file": {**summary(ours(native, 1000), 1000), "whole_processor": whole_processor(native)},
        "environment": machine("numba", "fastjet"),
    }
    write_json(RESULTS, result)
    for name in ("resonaut", "fastjet", "whole_processor", "native_file", "largest_difference"):
        print(name, result[name])


if __name__ == "__main__":
    main()
