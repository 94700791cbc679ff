"""Jet observables: time of each, differences to fjcontrib, and the whole chain against fastjet in Python and in C++.

    python benchmarks/bench_substructure.py FOLDER [--events 2000] [--fastjet-events 200]

FOLDER holds `sim/particles_sample.h5`. Times are CPU seconds of one process with one thread, the best of three runs,
compilation excluded unless said. The C++ program is `substructure.cc` beside this file: fastjet's own clustering, linked
from the libraries in fastjet's wheel, and plain loops, compiled here with g++ -O3 -march=native; it reads the same momenta
and its columns are compared with ours. Results go to `benchmarks/results/substructure.json`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
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
    DEFAULT_OBSERVABLES,
    OBSERVABLES,
    Particles,
    constituent_sets,
    flatten_particles,
    jet_images,
    leading_jets,
    lund_plane,
    source,
    substructure,
)
from resonaut.processors.jets.kernels_cluster import cluster_events
from resonaut.processors.jets.particles import chosen_jets

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "substructure.json"
FULL = (*DEFAULT_OBSERVABLES, "zg", "rg", "e2", "c2", "d2", "n2", "m2", "lha", "ptd")  # the order of substructure.cc
VARIANTS = (
    "tau21_kt",
    "tau21_ca",
    "tau21_wta_ca",
    "tau21_min",
    "tau21_kt_min",
    "tau1_b0.5",
    "msd_b1",
    "d2_b2",
    "d2_b0.5",
    "d2_b1.5",
    "n2_b2",
    "sd_d2",
    "sd_tau21",
)
FIRST_USE = """
import time, numpy as np
from resonaut.processors import Particles, leading_jets
rng = np.random.default_rng(1)
p = rng.normal(0, 30, (200, 3))
particles = Particles(np.column_stack([p, np.linalg.norm(p, axis=1)]), np.array([0, 200]))
start = time.process_time()
leading_jets(particles, observables={names})
print(time.process_time() - start)
"""


def cpu(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Best CPU time of some runs, and the result."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        out = function()
        best = min(best, time.process_time() - start)
    return best, out


def read(path: str, events: int) -> Particles:
    return flatten_particles(source("lhco-particles").read(path, 0, events).PFCand)[0]


def leading(particles: Particles) -> Particles:
    """Constituents of the two leading jets of events that have two."""
    _, offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, 1.0, -1.0, 20.0
    )
    first = offsets[:-1][np.diff(offsets) >= 2]
    chosen = (first[:, None] + np.arange(2)).ravel()
    return chosen_jets(particles, members, bounds[chosen], bounds[chosen + 1])


def as_momenta(particles: Particles) -> Any:
    flat = ak.zip({k: particles.momenta[:, i] for i, k in enumerate(("px", "py", "pz", "E"))}, with_name="Momentum4D")
    return ak.unflatten(flat, np.diff(particles.offsets))


def njettiness(sequence: Any, axes: str, number: list[int], beta: float = 1.0) -> Any:
    found = sequence.njettiness("NormalizedMeasure", axes, number, beta, 1.0)
    return ak.to_numpy(found)


def correlator(sequence: Any, function: str, beta: float = 1.0) -> Any:
    return ak.to_numpy(sequence.exclusive_jets_energy_correlator(njets=1, beta=beta, func=function))


def dropped(sequence: Any, column: str, beta: float = 0.0) -> Any:
    found = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=0.1, R0=1.0)
    return ak.to_numpy(found[column])


def wrapped(sequence: Any) -> dict[str, Callable[[], Any]]:
    """Observables that fastjet's awkward interface has, each as one call on reclustered jets."""

    def quotient(axes: str) -> Callable[[], Any]:
        def call() -> Any:
            taus = njettiness(sequence, axes, [1, 2])
            return taus[:, 1] / taus[:, 0]

        return call

    calls: dict[str, Callable[[], Any]] = {
        f"tau{n}": lambda n=n: njettiness(sequence, "WTA_KT_Axes", [n])[:, 0] for n in (1, 2, 3, 4)
    }
    calls["tau1b2"] = lambda: njettiness(sequence, "WTA_KT_Axes", [1], 2.0)[:, 0]
    calls["tau1_b0.5"] = lambda: njettiness(sequence, "WTA_KT_Axes", [1], 0.5)[:, 0]
    axes = {
        "": "WTA_KT",
        "_kt": "KT",
        "_ca": "CA",
        "_wta_ca": "WTA_CA",
        "_min": "OnePass_WTA_KT",
        "_kt_min": "OnePass_KT",
    }
    calls |= {f"tau21{ours}": quotient(f"{theirs}_Axes") for ours, theirs in axes.items()}
    columns = {"msd": "msoftdrop", "ptsd": "ptsoftdrop", "zg": "symmetrysoftdrop", "rg": "deltaRsoftdrop"}
    calls |= {ours: lambda x=theirs: dropped(sequence, x) for ours, theirs in columns.items()}
    calls["msd_b1"] = lambda: dropped(sequence, "msoftdrop", 1.0)
    calls["e2"] = lambda: correlator(sequence, "c1")
    calls |= {name: lambda name=name: correlator(sequence, name) for name in ("c2", "d2", "n2", "m2")}
    calls |= {f"d2_b{b}": lambda b=b: correlator(sequence, "d2", b) for b in (2, 0.5, 1.5)}
    calls["n2_b2"] = lambda: correlator(sequence, "n2", 2.0)
    return calls


def difference(ours: Any, theirs: Any) -> dict[str, float]:
    """Largest difference where both are defined; marks of fjcontrib for "no splitting" count as 0."""
    theirs = np.where(theirs == -1, 0.0, theirs)
    good = np.isfinite(ours) & np.isfinite(theirs)
    off = np.abs(ours - theirs)[good]
    return {
        "largest": float(off.max()),
        "median": float(np.median(off)),
        "scale": float(np.median(np.abs(theirs[good]))),
    }


def each_observable(jets: Particles, few: Particles) -> dict[str, Any]:
    """Microseconds per jet of every observable alone, ours and by fastjet's wrapper (on fewer jets), and differences."""
    count, few_count = len(jets.offsets) - 1, len(few.offsets) - 1
    widest = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    recluster, sequence = cpu(lambda: fastjet.ClusterSequence(as_momenta(few), widest), 1)
    calls = wrapped(sequence)
    out: dict[str, Any] = {}
    for name in [*(x for x in OBSERVABLES if x != "charge" and not x.startswith(("tau5", "tau6"))), *VARIANTS]:
        substructure(few, 1.0, (name,))
        seconds, _ = cpu(lambda n=name: substructure(jets, 1.0, (n,)))
        out[name] = {"microseconds_per_jet": round(1e6 * seconds / count, 2)}
        if name in calls:
            theirs, values = cpu(calls[name], 1)
            out[name]["fastjet_microseconds_per_jet"] = round(1e6 * theirs / few_count, 2)
            out[name]["difference"] = difference(substructure(few, 1.0, (name,))[name], values)
    lund_plane(few), jet_images(few), constituent_sets(few, 30)
    for name, call in (
        ("Lund plane", lambda: lund_plane(jets)),
        ("image 40 x 40", lambda: jet_images(jets)),
        ("set of 30 constituents", lambda: constituent_sets(jets, 30)),
    ):
        out[name] = {"microseconds_per_jet": round(1e6 * cpu(call)[0] / count, 2)}
    theirs, _ = cpu(lambda: sequence.exclusive_jets_lund_declusterings(1), 1)
    out["Lund plane"]["fastjet_microseconds_per_jet"] = round(1e6 * theirs / few_count, 2)
    return {"observables": out, "fastjet_reclustering_microseconds_per_jet": round(1e6 * recluster / few_count, 2)}


def by_wrappers(path: str, events: int) -> dict[str, float]:
    """Microseconds per event by coffea and fastjet's awkward interface: reading, clustering, all of `FULL`."""
    times: dict[str, float] = {}
    times["read"], particles = cpu(lambda: read(path, events), 1)
    array = as_momenta(particles)
    antikt = fastjet.JetDefinition(fastjet.antikt_algorithm, 1.0)

    def clustering() -> Any:
        sequence = fastjet.ClusterSequence(array, antikt)
        jets, found = sequence.inclusive_jets(20.0), sequence.constituents(20.0)
        order = ak.argsort(np.hypot(jets.px, jets.py), ascending=False)[:, :2]
        return ak.flatten(found[order], axis=1)

    times["clustering"], constituents = cpu(clustering, 1)
    widest = fastjet.JetDefinition(fastjet.cambridge_algorithm, fastjet.JetDefinition.max_allowable_R)
    times["reclustering"], sequence = cpu(lambda: fastjet.ClusterSequence(constituents, widest), 1)
    times["n_subjettiness"], _ = cpu(
        lambda: (
            njettiness(sequence, "WTA_KT_Axes", [1, 2, 3, 4]),
            njettiness(sequence, "WTA_KT_Axes", [1], 2.0),
        ),
        1,
    )
    times["lha"], _ = cpu(lambda: njettiness(sequence, "WTA_KT_Axes", [1], 0.5), 1)  # the same number
    times["soft_drop"], _ = cpu(lambda: dropped(sequence, "msoftdrop"), 1)
    times["correlators"], _ = cpu(lambda: [correlator(sequence, x) for x in ("c1", "c2", "d2", "n2", "m2")], 1)
    return {name: 1e6 * seconds / events for name, seconds in times.items()}


def by_cpp(particles: Particles, ours: dict[str, Any]) -> dict[str, Any]:
    """Compile and run the C++ program on the same momenta; microseconds per event and largest differences."""
    home = Path(fastjet.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        program, data, result = (Path(folder) / name for name in ("substructure", "events.bin", "result.bin"))
        flags = ["-O3", "-march=native", f"-I{home / 'include'}", f"-L{home / 'lib64'}", f"-Wl,-rpath,{home / 'lib64'}"]
        subprocess.run(
            ["g++", str(HERE / "substructure.cc"), "-o", str(program), *flags, "-lfastjet"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        with data.open("wb") as file:
            np.int64(len(particles.offsets) - 1).tofile(file)
            particles.offsets.tofile(file)
            particles.momenta.tofile(file)
        printed = subprocess.run([program, data, result, "3"], check=True, capture_output=True, text=True).stdout
        values = np.fromfile(result).reshape(-1, len(FULL))
    default, full = (1e6 * float(x) for x in printed.split())
    two = np.isfinite(ours["pt"][:, 1])
    differences = {name: difference(ours[name][two].ravel(), values[:, i]) for i, name in enumerate(FULL)}
    return {
        "compiler": subprocess.run(["g++", "--version"], check=True, capture_output=True, text=True).stdout.split("\n")[
            0
        ],
        "flags": "-O3 -march=native",
        "microseconds_per_event": {"default": round(default, 1), "full": round(full, 1)},
        "differences": differences,
    }


def first_use(names: tuple[str, ...]) -> float:
    """CPU seconds of the first call in a new process with nothing compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", FIRST_USE.format(names=names)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def whole_chain(path: str, events: int, fastjet_events: int) -> dict[str, Any]:
    """Reading, clustering and observables of two jets: ours, the wrappers', the C++ program's."""
    read(path, 10)
    seconds, particles = cpu(lambda: read(path, events))
    ours = {"read": 1e6 * seconds / events}
    for name, names in (("default", DEFAULT_OBSERVABLES), ("full", FULL)):
        leading_jets(particles, observables=names)
        # new Particles: rapidities and transverse momenta are part of the work
        seconds, table = cpu(
            lambda n=names: leading_jets(Particles(particles.momenta, particles.offsets), observables=n)
        )
        ours[name] = 1e6 * seconds / events
    wrappers = by_wrappers(path, fastjet_events)
    cpp = by_cpp(particles, table.columns)
    total = sum(wrappers.values())
    default = total - wrappers["correlators"] - wrappers["lha"]
    return {
        "events": events,
        "fastjet_events": fastjet_events,
        "full_set": FULL,
        "resonaut_microseconds_per_event": {k: round(v, 1) for k, v in ours.items()},
        "wrappers_microseconds_per_event": {k: round(v, 1) for k, v in wrappers.items()},
        "wrappers_over_resonaut": {
            "default": round(default / (ours["read"] + ours["default"]), 1),
            "full": round(total / (ours["read"] + ours["full"]), 1),
        },
        "cpp": cpp,
        "resonaut_over_cpp": {x: round(ours[x] / cpp["microseconds_per_event"][x], 2) for x in ("default", "full")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--fastjet-events", type=int, default=200)
    arguments = parser.parse_args()
    path = str(arguments.folder / "sim" / "particles_sample.h5")
    particles = read(path, arguments.events)
    jets = leading(particles)
    few = leading(read(path, arguments.fastjet_events))
    jets.towards, jets.pt, few.towards  # noqa: B018 (cached: not part of any observable's time)
    result = {
        "schema": 1,
        "what": "observables of the two leading anti-kT R=1 jets of simulated QCD events, one thread",
        "jets": {"number": len(jets.offsets) - 1, "constituents": round(float(np.diff(jets.offsets).mean()), 1)},
        **each_observable(jets, few),
        "whole": whole_chain(path, arguments.events, arguments.fastjet_events),
        "first_use_seconds": {"default": round(first_use(DEFAULT_OBSERVABLES), 1), "full": round(first_use(FULL), 1)},
        "environment": machine("numba", "fastjet"),
    }
    write_json(RESULTS, result)
    for name, entry in result["observables"].items():
        print(
            f"{name:28s}",
            {k: v for k, v in entry.items() if k != "difference"},
            entry.get("difference", {}).get("largest"),
        )
    print({k: v for k, v in result["whole"].items() if k != "cpp"})
    print(result["whole"]["cpp"])
    print(result["first_use_seconds"], result["environment"])


if __name__ == "__main__":
    main()
