"""The autoencoder of "Comparing Weak- and Unsupervised Methods" (arXiv:2104.02092) on dijets of other simulation.

    python benchmarks/bench_autoencoder.py FOLDER [--members 10] [--seeds 3] [--plots docs/models/figures]

FOLDER holds `qcd_data.features.h5` and the two `sig_Zp3500_..._3prong.features.h5`. The ensemble is trained on all masses, as in the
paper, scores everything, and is looked at in the signal region 3371-3661 GeV:

- `sic`: trained with signal injected at several S/B: AUC and significance improvement of all signal, which should not depend on it;
- `significances`: trained without signal (the paper's choice), signal injected afterwards, several random subsets: local significance
  after cuts, from the paper's straight line in narrow sidebands and from dijet4 in all; the same with the score decorrelated by `ddt`;
- `trained_on`: the same for members that see fewer or more events;
- `by_feature`: which features are badly reconstructed, and what the score is worth without them;
- `null`: the same fits of QCD alone, of all of it and of four disjoint parts, whose excesses would be sculpted ones.

Each training is kept in `--cache`, so that an interrupted benchmark goes on. About 40 minutes on one free core with ten members.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_injections import EDGES, SIGNALS, WINDOW, median_mad, mixed
from publish_resonant import rounded

from resonaut.analysis.config import ExecutorConfig
from resonaut.analysis.events import make_table
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.files import digest, finite_or_none, read_json, write_json
from resonaut.models import AE_FEATURES, Autoencoder, Sample, auc, select, sic_curve
from resonaut.models.ddt import EfficiencyMap
from resonaut.processors import read_table
from resonaut.stats import local_p_value, make_spectrum

Columns = dict[str, np.ndarray]

TRAINED_AT = (0.0, 5e-4, 2.4e-3, 4e-3, 1e-2)
S_OVER_B = (0.0, 5e-4, 1e-3, 2.4e-3, 4e-3, 7e-3, 1e-2)
CUTS = (0.1, 0.01, 0.001)
NARROW = (3000.0, 4000.0)
WIDER = (2800.0, 4400.0)  # of the paper's line after its cut at 0.1 %
FITS = ("linear", "dijet4")
PARTS = 4
EVENTS, SHORT = 50_000, 10_000  # of one epoch of one member: the paper's, and a fifth
TRAINED_ON = (5_000, SHORT, 20_000, EVENTS, 100_000)


def events(folder: Path, name: str, cache: Path) -> Columns:
    """Features and mass of all events, whatever their mass."""
    table = cache / f"{name}.parquet"
    if not table.exists():
        executor = ExecutorConfig(chunksize=100_000)
        source = [folder / f"{name}.features.h5"]
        make_table(source, table, {}, {}, executor, on_bad_file="raise", cache=cache / "chunks")
    found = read_table(table, columns=[*AE_FEATURES, "mjj"])
    return {c: np.asarray(found[c], dtype=float) for c in found.fields}


def performance(background: np.ndarray, signal: np.ndarray) -> dict[str, Any]:
    """AUC and significance improvement of scores of the signal region."""
    labels = np.repeat([0, 1], [len(background), len(signal)])
    scores = np.concatenate([background, signal])
    curve = sic_curve(labels, scores, min_background=100)
    best = int(np.argmax(curve.sic))
    found: dict[str, Any] = {"auc": float(auc(labels, scores)), "max_sic": float(curve.sic[best])}
    found |= {"max_sic_error": float(curve.error[best]), "es": float(curve.es[best]), "eb": float(curve.eb[best])}
    for cut in CUTS:
        passed = (signal >= np.quantile(background, 1 - cut)).mean()
        found[f"sic_at_{cut:g}"] = float(passed / cut**0.5)
    return found


def inside(columns: Columns) -> np.ndarray:
    return WINDOW.in_signal_region(columns["mjj"])


def in_range(columns: Columns) -> Columns:
    """Events of the fitted masses."""
    keep = (columns["mjj"] >= EDGES[0]) & (columns["mjj"] < EDGES[-1])
    return {c: v[keep] for c, v in columns.items()}


def sample_of(columns: Columns) -> Sample:
    return Sample.from_table(columns, AE_FEATURES)


class Bench:
    """Data, trainings and where they are kept."""

    def __init__(self, folder: Path, cache: Path, members: int) -> None:
        self.cache, self.members = cache, members
        everything = events(folder, "qcd_data", cache)
        self.training = sample_of(everything)
        self.qcd = in_range(everything)
        self.signals = {name: in_range(events(folder, file, cache)) for name, file in SIGNALS.items()}

    def _unit(self, *what: Any) -> Unit:
        name = "_".join(f"{part:g}" if isinstance(part, float) else str(part) for part in what)
        return Unit(self.cache / name, digest("autoencoder", self.members, *what))

    def _fit(self, seed: int, signal: Sample | None = None, events: int = EVENTS) -> Autoencoder:
        sample = self.training
        if signal is not None:
            features, mass = (
                np.concatenate([getattr(s, what) for s in (sample, signal)]) for what in ("features", "mass")
            )
            sample = Sample(features, AE_FEATURES, mass)
        options = {"members": self.members, "events": events}
        return Autoencoder(**options, seed=seed_for(1, "autoencoder", "all", seed)).fit(sample)

    def null(self, seed: int, events: int = EVENTS) -> dict[str, np.ndarray]:
        """Scores of all events of the fitted masses by an ensemble trained on QCD alone, of all masses."""

        def work(folder: Path) -> None:
            scorer = self._fit(seed, events=events)
            scores = {"qcd": scorer.score(sample_of(self.qcd))}
            scores |= {name: scorer.score(sample_of(signal)) for name, signal in self.signals.items()}
            np.savez(folder / "scores.npz", fvu=scorer.fvu_, **scores)

        unit = self._unit("null", seed, *([] if events == EVENTS else [events]))
        unit.make(work)
        return dict(np.load(unit.folder / "scores.npz"))

    def injected(self, name: str, s_over_b: float, seed: int) -> dict[str, Any]:
        """Performance in the signal region of an ensemble trained with this signal among the QCD."""
        if s_over_b == 0:
            scores = self.null(seed)
            return performance(scores["qcd"][inside(self.qcd)], scores[name][inside(self.signals[name])])

        def work(folder: Path) -> None:
            signal = self.signals[name]
            columns = mixed(self.qcd, signal, s_over_b, seed)
            scorer = self._fit(seed, sample_of({c: v[columns["label"] == 1] for c, v in columns.items()}))
            scores = [scorer.score(sample_of(c).take(inside(c))) for c in (self.qcd, signal)]
            write_json(folder / "result.json", performance(*scores))

        unit = self._unit("injected", name, s_over_b, seed)
        unit.make(work)
        return dict(read_json(unit.folder / "result.json"))

    def trained_on(self, events: int, seed: int) -> dict[str, dict[str, Any]]:
        """Performance for both signals of members that see so many events."""

        def work(folder: Path) -> None:
            scorer = self._fit(seed, events=events)
            scores = {
                n: scorer.score(sample_of(c).take(inside(c))) for n, c in {"qcd": self.qcd, **self.signals}.items()
            }
            found = {name: performance(scores["qcd"], scores[name]) for name in self.signals}
            write_json(folder / "result.json", {n: {**r, "fvu": float(scorer.fvu_.mean())} for n, r in found.items()})

        if events in (EVENTS, SHORT):
            scores, qcd = self.null(seed, events), inside(self.qcd)
            pairs = {name: (scores["qcd"][qcd], scores[name][inside(c)]) for name, c in self.signals.items()}
            fvu = float(scores["fvu"].mean())
            return {name: {**performance(*pair), "fvu": fvu} for name, pair in pairs.items()}
        unit = self._unit("trained_on", events, seed)
        unit.make(work)
        return dict(read_json(unit.folder / "result.json"))

    def by_feature(self, seed: int) -> dict[str, Any]:
        """Mean squared errors of each feature in the signal region, and the SIC at 1 % without those of one observable."""

        def work(folder: Path) -> None:
            network = self._fit(seed).network_
            errors = {name: reconstruction_errors(network, c) for name, c in {"qcd": self.qcd, **self.signals}.items()}
            found: dict[str, Any] = {
                n: dict(zip(AE_FEATURES, e.mean(0).tolist(), strict=True)) for n, e in errors.items()
            }
            for left_out in (None, "m", "tau21", "tau32", "n", "pt"):
                kept = [name.rsplit("_", 1)[0] != left_out for name in AE_FEATURES]
                scores = {name: e[:, kept].mean(axis=1) for name, e in errors.items()}
                sic = {n: performance(scores["qcd"], scores[n])["sic_at_0.01"] for n in self.signals}
                found[f"sic_at_0.01 without {left_out or 'nothing'}"] = sic
            write_json(folder / "result.json", found)

        unit = self._unit("by_feature", seed)
        unit.make(work)
        return dict(read_json(unit.folder / "result.json"))


@torch.inference_mode()
def reconstruction_errors(network: Any, columns: Columns) -> np.ndarray:
    """Squared errors (n, d) of the events in the signal region, mean over the members."""
    points = torch.as_tensor(sample_of(columns).features[inside(columns)], dtype=torch.float32)
    parts = [(network(x) - network.standardise(x)).square().mean(dim=0) for x in points.to(network.device).split(2048)]
    return torch.cat(parts).cpu().numpy()


def excess(mass: np.ndarray, function: str, narrow: tuple[float, float]) -> dict[str, Any]:
    """Excess in the signal region over one background function."""
    fit_range = narrow if function == "linear" else None
    found = local_p_value(make_spectrum(mass, EDGES), WINDOW, function=function, fit_range=fit_range)
    return {
        "z": found.local_significance, "observed": found.observed, "expected": found.expected,
        "expected_error": found.expected_error, "fit_p": found.fit.p_value, "status": found.fit.status,
    }  # fmt: skip


def decorrelated(mass: np.ndarray, score: np.ndarray) -> np.ndarray:
    """What `ddt` makes of a score: its map is learnt from all events outside the signal region."""
    outside = ~WINDOW.in_signal_region(mass)
    learnt = EfficiencyMap.fit(score[outside], mass[outside], np.ones(outside.sum()), degree=3, min_events=100)
    return learnt.log_survival(score, mass)


def searched(columns: Columns, best: float | None) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(variant, cut, function, excess) of one data set; thresholds are set in the signal region, as in the paper.

    `best` is the score where the significance improvement was largest, of the plain score alone.
    """
    mass, score = columns["mjj"], columns["score"]
    region = WINDOW.in_signal_region(mass)
    yield "none", "1", "dijet4", excess(mass, "dijet4", NARROW)
    for variant, values in (("autoencoder", score), ("ddt", decorrelated(mass, score))):
        masks = {f"{cut:g}": mask for cut, mask in select(values, None, CUTS, reference=region).items()}
        if variant == "autoencoder" and best is not None:
            masks["sic"] = values >= best
        for cut, mask in masks.items():
            for function in FITS:
                yield variant, cut, function, excess(mass[mask], function, WIDER if cut == "0.001" else NARROW)


def significances(bench: Bench, seeds: int, draws: int, events: int) -> Iterator[dict[str, Any]]:
    for seed in range(seeds):
        scores = bench.null(seed, events)
        for name, signal in bench.signals.items():
            background, all_signal = scores["qcd"][inside(bench.qcd)], scores[name][inside(signal)]
            best = float(np.quantile(background, 1 - performance(background, all_signal)["eb"]))
            parts = ({**bench.qcd, "score": scores["qcd"]}, {**signal, "score": scores[name]})
            for s_over_b in S_OVER_B:
                for draw in range(draws if s_over_b else 1):
                    columns = mixed(*parts, s_over_b, seed_for(2, name, s_over_b, draw))
                    for variant, cut, function, found in searched(columns, best):
                        yield {
                            "events": events, "signal": name, "s_over_b": s_over_b, "seed": seed, "draw": draw,
                            "variant": variant, "cut": cut, "function": function, **found,
                        }  # fmt: skip
            print("significances", events, seed, name, flush=True)


def nulls(bench: Bench, seeds: int) -> Iterator[dict[str, Any]]:
    """Excesses of disjoint parts of the QCD, after cuts of each part."""
    part = np.random.default_rng(3).integers(PARTS, size=len(bench.qcd["mjj"]))
    for seed in range(seeds):
        columns = {"mjj": bench.qcd["mjj"], "score": bench.null(seed)["qcd"]}
        for number in range(PARTS):
            few = {c: v[part == number] for c, v in columns.items()}
            for variant, cut, function, found in searched(few, None):
                yield {"seed": seed, "part": number, "variant": variant, "cut": cut, "function": function, **found}


def grouped(rows: list[dict[str, Any]], *keys: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        yield dict(zip(keys, values, strict=True)), [r for r in rows if tuple(r[k] for k in keys) == values]


def table(rows: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Median and median absolute deviation of the significance over runs, as in the paper, and what the fits are like."""
    found = []
    for group, members in grouped(rows, *keys):
        z, mad = median_mad([m["z"] for m in members])
        others = {
            k: median_mad([m[k] for m in members])[0] for k in ("observed", "expected", "expected_error", "fit_p")
        }
        usable = [m["z"] for m in members if np.isfinite(m["z"])]
        spread = {"mean": float(np.mean(usable)), "std": float(np.std(usable)), "largest": float(np.max(usable))}
        failed = len(members) - len(usable)
        found.append({**group, "runs": len(members), "failed": failed, "z": z, "mad": mad, **spread, **others})
    return found


def sic_table(rows: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds."""
    found = []
    numbers = ("auc", "max_sic", "max_sic_error", "es", "eb", "fvu", *(f"sic_at_{cut:g}" for cut in CUTS))
    for group, members in grouped(rows, *keys):
        entry: dict[str, Any] = {**group, "runs": len(members)}
        for key in (key for key in numbers if key in members[0]):
            values = [m[key] for m in members]
            entry |= {key: float(np.mean(values)), f"{key}_std": float(np.std(values, ddof=len(values) > 1))}
        found.append(entry)
    return found


def trained_on(bench: Bench, seeds: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for seed, events in product(range(seeds), sizes):
        for name, found in bench.trained_on(events, seed).items():
            rows.append({"signal": name, "events": events, **found})
        print("trained on", events, seed, flush=True)
    return sic_table(rows, "signal", "events")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=3, help="random subsets of the signal")
    parser.add_argument("--trained-at", type=float, nargs="+", default=TRAINED_AT, metavar="S/B")
    parser.add_argument("--trained-on", type=int, nargs="+", default=TRAINED_ON, metavar="EVENTS")
    parser.add_argument("--cache", type=Path, default=Path("runs/autoencoder"))
    parser.add_argument("--plots", type=Path, help="folder for the figures")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "autoencoder.json")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.folder, options.cache, options.members)
    settings = {"members": options.members, "seeds": options.seeds, "draws": options.draws}
    settings |= {"features": list(AE_FEATURES), "signal_region": [WINDOW.low, WINDOW.high], "parts": PARTS}
    settings |= {"qcd": len(bench.training), "qcd_in_range": len(bench.qcd["mjj"])}
    settings |= {"qcd_in_signal_region": int(inside(bench.qcd).sum())}
    found: dict[str, Any] = {"settings": settings}
    found["by_feature"] = bench.by_feature(0)
    several = [events for events in (EVENTS, SHORT) if events in options.trained_on]
    rows = [row for events in several for row in significances(bench, options.seeds, options.draws, events)]
    found["significances"] = table(rows, "events", "signal", "s_over_b", "variant", "cut", "function")
    found["null"] = table(list(nulls(bench, options.seeds)), "variant", "cut", "function")
    found["trained_on"] = trained_on(bench, options.seeds, options.trained_on)
    rows = []
    for seed, name, s_over_b in product(range(options.seeds), SIGNALS, options.trained_at):
        rows.append({"signal": name, "s_over_b": s_over_b, "seed": seed, **bench.injected(name, s_over_b, seed)})
        print(rows[-1], flush=True)
        found["sic"] = sic_table(rows, "signal", "s_over_b")
        write_json(options.out, rounded(finite_or_none(found)))
    if options.plots:
        from plot_autoencoder import draw

        draw(found, bench, options.plots)


if __name__ == "__main__":
    main()
