"""Significance against S/B for CWoLa hunting and the autoencoder: figure 7 of arXiv:2104.02092 on other simulation.

    python benchmarks/bench_injections.py FOLDER [--runs cwola-trees=3 cwola-nn=3 autoencoder=3]

FOLDER holds `qcd_data.features.h5` and the two `sig_Zp3500_..._3prong.features.h5`. For each signal, S/B in the signal
region 3371-3661 GeV and run (another random subset of the signal, another seed), the whole search is done in that
window: cross-fitted training, cuts at 10 %, 1 % and 0.1 %, blinded fit, local p-value. As in the paper the autoencoder is
trained without signal and its thresholds are set in the signal region; it shapes the spectrum, so the order of its
background function is chosen by an F-test on the sidebands (the paper: a straight line in a narrower range). Each unit is kept in
`--cache`, so that an interrupted benchmark goes on; the table is written to `benchmarks/results/injections.json`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.analysis.config import ExecutorConfig
from resonaut.analysis.events import make_table
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.files import digest, read_json, write_json
from resonaut.models import CrossFit, Sample, auc, make_scorer, max_sic, select
from resonaut.processors import read_table
from resonaut.stats import Window, local_p_value, log_edges, make_spectrum

SIGNALS = {"X500_X500": "sig_Zp3500_X500_X500_3prong", "X300_X300": "sig_Zp3500_X300_X300_3prong"}
S_OVER_B = (0.0, 0.002, 0.004, 0.007)
CUTS = (0.1, 0.01, 0.001)
EDGES = log_edges(2800.0, 5200.0, 30)
WINDOW = Window(low=EDGES[9], high=EDGES[13], sb_low=EDGES[6], sb_high=EDGES[16])
OPTIONS: dict[str, dict[str, Any]] = {
    "cwola-trees": {"members": 8},
    # A reduced nested cross-validation for two cores; the paper's is the default of the scorer.
    "cwola-nn": {"initialisations": 1, "epochs": 15, "patience": 8, "batch_size": 2048, "learning_rate": 2e-3},
    "autoencoder": {"members": 10},
}


def load(folder: Path, name: str, cache: Path, features: tuple[str, ...]) -> dict[str, np.ndarray]:
    table = cache / f"{name}.parquet"
    if not table.exists():
        make_table(
            [folder / f"{name}.features.h5"],
            table,
            {},
            {},
            ExecutorConfig(chunksize=100_000),
            on_bad_file="raise",
            cache=cache / "chunks",
        )
    found = read_table(table, columns=[*features, "mjj"])
    columns = {c: np.asarray(found[c], dtype=float) for c in found.fields}
    keep = (columns["mjj"] >= EDGES[0]) & (columns["mjj"] < EDGES[-1])
    return {c: v[keep] for c, v in columns.items()}


def mixed(
    qcd: dict[str, np.ndarray], signal: dict[str, np.ndarray], s_over_b: float, seed: int
) -> dict[str, np.ndarray]:
    """QCD with a random subset of the signal that has S/B in the signal region."""
    wanted = s_over_b * WINDOW.in_signal_region(qcd["mjj"]).sum()
    inside = WINDOW.in_signal_region(signal["mjj"]).mean()
    rows = np.random.default_rng(seed).permutation(len(signal["mjj"]))[: round(wanted / inside)]
    columns = {c: np.concatenate([qcd[c], signal[c][rows]]) for c in qcd}
    columns["label"] = np.concatenate([np.zeros(len(qcd["mjj"])), np.ones(len(rows))])
    return columns


def excesses(sample: Sample, masks: dict[float, np.ndarray], *, function: str) -> dict[str, Any]:
    found = {}
    for cut, mask in {1.0: np.ones(len(sample), bool), **masks}.items():
        spectrum = make_spectrum(sample.mass[mask], EDGES)
        e = local_p_value(spectrum, WINDOW, function=function)
        inside = mask & WINDOW.in_signal_region(sample.mass)
        found[f"{cut:g}"] = {
            "signal": int(inside[sample.label == 1].sum()), "observed": e.observed, "expected": e.expected,
            "expected_error": e.expected_error, "local_p": e.local_p, "z": e.local_significance,
            "fit_p": e.fit.p_value, "status": e.fit.status,
        }  # fmt: skip
    return found


def performance(sample: Sample, scores: np.ndarray, signal: Sample, signal_scores: np.ndarray) -> dict[str, float]:
    """AUC and maximum SIC in the signal region; the signal that was not injected counts too, as in the paper."""
    background = (sample.label == 0) & WINDOW.in_signal_region(sample.mass)
    inside = WINDOW.in_signal_region(signal.mass)
    labels = np.concatenate([np.zeros(background.sum()), np.ones(inside.sum())])
    values = np.concatenate([scores[background], signal_scores[inside]])
    return {"auc": float(auc(labels, values)), "max_sic": float(max_sic(labels, values)[0])}


def search(method: str, columns: dict[str, np.ndarray], signal: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    features = make_scorer(method).features
    sample, everything = (Sample.from_table(c, features) for c in (columns, signal))
    result = CrossFit(method, folds=5, seed=seed, **OPTIONS[method]).fit_score(sample, WINDOW)
    masks = select(result.scores, result.fold, CUTS)
    content = {"cuts": excesses(sample, masks, function="dijet4")}
    content |= performance(sample, result.scores, everything, result.scorer.score(everything))
    return {**content, "seconds": time.perf_counter() - started}


def autoencoder_once(
    qcd: dict[str, np.ndarray], signals: dict[str, dict[str, np.ndarray]], cache: Path
) -> dict[str, np.ndarray]:
    """Scores of all QCD and signal events by an ensemble trained on QCD alone."""
    features = make_scorer("autoencoder").features
    path = cache / f"autoencoder-{digest(OPTIONS['autoencoder'], list(features))}.npz"
    if not path.exists():
        sample = Sample.from_table(qcd, features)
        scorer = make_scorer("autoencoder", seed=1, **OPTIONS["autoencoder"]).fit(sample, None)
        scores = {"qcd": scorer.score(sample)}
        scores |= {n: scorer.score(Sample.from_table(c, features)) for n, c in signals.items()}
        np.savez(path, **scores)
    return dict(np.load(path))


def autoencoder_search(
    qcd: Any, signal: Any, scores: dict[str, np.ndarray], name: str, s_over_b: float, seed: int
) -> dict[str, Any]:
    """Thresholds are set in the signal region, as in the paper."""
    features = make_scorer("autoencoder").features
    columns = mixed({**qcd, "score": scores["qcd"]}, {**signal, "score": scores[name]}, s_over_b, seed)
    sample = Sample.from_table(columns, features)
    masks = select(columns["score"], None, CUTS, reference=WINDOW.in_signal_region(sample.mass))
    content = {"cuts": excesses(sample, masks, function="auto")}
    return content | performance(sample, columns["score"], Sample.from_table(signal, features), scores[name])


def units(runs: dict[str, int]) -> Iterator[tuple[str, str, float, int]]:
    for method, count in runs.items():
        for name in SIGNALS:
            for s_over_b in S_OVER_B:
                if s_over_b == 0 and name != next(iter(SIGNALS)):
                    continue  # without signal there is one null run for both
                yield from ((method, name, s_over_b, run) for run in range(count))


def median_mad(values: list[float]) -> tuple[float, float]:
    array = np.array(values, dtype=float)
    return float(np.nanmedian(array)), float(np.nanmedian(np.abs(array - np.nanmedian(array))))


def tabulate(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    keys = dict.fromkeys((r["method"], r["signal"], r["s_over_b"]) for r in results)
    for method, signal, s_over_b in keys:
        group = [r for r in results if (r["method"], r["signal"], r["s_over_b"]) == (method, signal, s_over_b)]
        row: dict[str, Any] = {
            "method": method,
            "signal": signal if s_over_b else "none",
            "s_over_b": s_over_b,
            "runs": len(group),
        }
        for cut in group[0]["cuts"]:
            row[f"z at {cut}"], row[f"mad at {cut}"] = median_mad([r["cuts"][cut]["z"] for r in group])
        row["auc"], row["max_sic"] = (median_mad([r[k] for r in group])[0] for k in ("auc", "max_sic"))
        row["seconds"] = median_mad([r.get("seconds", np.nan) for r in group])[0]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--runs", nargs="+", default=["cwola-trees=3", "cwola-nn=3", "autoencoder=3"], metavar="METHOD=N"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/injections"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "injections.json")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    runs = {method: int(count) for method, count in (text.split("=") for text in options.runs)}
    needed = tuple(dict.fromkeys(f for m in OPTIONS for f in make_scorer(m).features))
    qcd = load(options.folder, "qcd_data", options.cache, needed)
    signals = {n: load(options.folder, f, options.cache, needed) for n, f in SIGNALS.items()}
    autoencoder = autoencoder_once(qcd, signals, options.cache) if "autoencoder" in runs else {}
    results = []
    for method, name, s_over_b, run in units(runs):
        seed = seed_for(1, name, s_over_b, run)
        unit = Unit(options.cache / f"{method}_{name}_{s_over_b:g}_{run}", digest(method, OPTIONS[method], seed))

        def work(folder: Path, method=method, name=name, s_over_b=s_over_b, seed=seed) -> None:
            if method == "autoencoder":
                found = autoencoder_search(qcd, signals[name], autoencoder, name, s_over_b, seed)
            else:
                found = search(method, mixed(qcd, signals[name], s_over_b, seed), signals[name], seed)
            write_json(folder / "result.json", found)

        unit.make(work)
        found = read_json(unit.folder / "result.json")
        results.append({"method": method, "signal": name, "s_over_b": s_over_b, "run": run, **found})
        print(method, name, s_over_b, run, {c: round(v["z"], 2) for c, v in found["cuts"].items()}, flush=True)
        write_json(options.out, {"options": OPTIONS, "table": tabulate(results), "runs": results})


if __name__ == "__main__":
    main()
