"""Dimuons of CMS Open Data: the table, a search, and published spectra fitted again.

Run with ``python benchmarks/bench_dimuon.py FOLDER``; FOLDER holds dimuon_100k.root and the histograms published with
arXiv:2502.14036 (upsilon_OS_histogram_data_quintic_12.npz, upsilon_OS_histogram_data_alt_quintic_12.npz, converted from that
paper's repository). Writes benchmarks/results/dimuon.json and the figures of docs/dimuon.md to docs/figures.

1. The table of opposite-sign pairs, its speed, and the resonances in it.
2. The ready search `dimuon`, on pairs of opposite sign and, where no resonance is, on those of same sign.
3. The dimuon masses of the paper after each cut on its score, fitted with a polynomial of degree 5.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from machine import machine
from PIL import Image

from resonaut.analysis.config import SearchConfig, load_config
from resonaut.analysis.plots.canvas import COLOURS, style
from resonaut.analysis.search import run_search
from resonaut.analysis.searches import ready_search
from resonaut.files import read_json, write_json
from resonaut.processors import axis_label, make_processor, run_processor
from resonaut.stats import Polynomial, Window, local_p_value, register_function

ROOT = Path(__file__).parents[1]
CUTS = ("1", "0.25", "0.1", "0.05", "0.01", "0.005")
WIDTH = 1.6 / 11
EDGES = 9.0 + WIDTH * np.arange(-27, 49)
UPSILON = Window(9.0, 10.6, float(EDGES[0]), float(EDGES[-1]))
RESONANCES = {  # name: (mass, half width of the window), GeV
    r"$\rho,\omega$": (0.78, 0.05), r"$\phi$": (1.02, 0.03), r"$J/\psi$": (3.097, 0.1), r"$\psi'$": (3.686, 0.1),
    r"$\Upsilon$": (9.8, 0.8), "$Z$": (91.2, 6.0),
}  # fmt: skip


def pairs(path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """The event table: how many pairs, how fast, and what stands out beside its neighbours; and the masses, GeV."""
    processor = make_processor(resonance="dimuon")
    run_processor({"warm": [str(path)]}, processor, chunksize=200_000)
    started = time.process_time()
    result = run_processor({"data": [str(path)]}, processor, chunksize=200_000)
    seconds = time.process_time() - started
    mass = result.require_complete().table()["m_mumu"]
    found = {}
    for name, (centre, half) in RESONANCES.items():
        distance = np.abs(mass - centre)
        inside = int((distance < half).sum())
        beside = int(((distance >= half) & (distance < 2 * half)).sum())
        found[name] = {"mass": centre, "half_width": half, "inside": inside, "beside": beside}
    books = {"cutflow": result.output["data"]["cutflow"], "events_per_cpu_second": result.ledger.read / seconds}
    return {**books, "resonances": found}, mass


def search(config: SearchConfig, base: Path, out: Path) -> dict[str, Any]:
    """The ready search: every window, method and cut."""
    run_search(config, base, out)
    summary = read_json(out / "summary.json")
    keys = ("low", "high", "method", "cut", "observed", "expected", "expected_error", "local_significance")
    return {
        "used": summary["events"]["cutflow"]["selected"],
        "windows": [{key: entry[key] for key in keys} for entry in summary["windows"]],
        "training_seconds": summary["timings"]["training"],
    }


def published(path: Path, function: str) -> list[dict[str, Any]]:
    """Each cut of the paper, fitted here: what was counted, expected, and the significance beside the stored one."""
    stored = np.load(path)
    rows = []
    for cut in CUTS:
        counts = np.histogram(stored[f"masses_fpr_{cut}"], EDGES)[0].astype(float)
        found = local_p_value((counts, EDGES), UPSILON, function=function)
        rows.append(
            {
                "background_fraction": float(cut),
                "events": int(stored[f"masses_fpr_{cut}"].size),
                "observed": found.observed,
                "expected": found.expected,
                "expected_error": found.expected_error,
                "fit_p_value": found.fit.p_value,
                "significance": found.local_significance,
                "stored_significance": float(stored[f"significances_fpr_{cut}"]),
                "counts": counts.tolist(),
                "fit": found.fit.expected.tolist(),
            }
        )
    return rows


def save(figure: Any, name: str) -> None:
    """A figure of the documentation, in few colours so that it stays small."""
    path = ROOT / "docs" / "figures" / f"{name}.png"
    with style():  # fonts are looked up when the figure is drawn
        figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


def draw_masses(mass: np.ndarray[Any, Any]) -> None:
    """The whole spectrum of opposite-sign pairs."""
    edges = np.geomspace(0.25, 200, 300)
    with style():
        figure, axes = plt.subplots(figsize=(8, 5))
        counts = np.histogram(mass, edges)[0]
        axes.stairs(counts / np.diff(edges), edges, color=COLOURS[1], fill=True, alpha=0.8)
        for name, (centre, half) in RESONANCES.items():
            inside = np.abs(edges[:-1] - centre) < 2 * half
            top = float((counts / np.diff(edges))[inside].max())
            left = "right" if centre < 1 else "left" if centre < 2 else "center"
            axes.annotate(name, (centre, 1.6 * top), ha=left, fontsize=13)
        axes.set(xscale="log", yscale="log", xlabel=axis_label("m_mumu"), ylabel="Pairs / GeV", xlim=(0.25, 200))
        axes.set_ylim(0.3, axes.get_ylim()[1] * 4)
        axes.set_title("CMS Open Data, two muons of opposite charge", loc="left", fontsize=13)
    save(figure, "dimuon_masses")


def draw_published(rows: list[dict[str, Any]]) -> None:
    """The published spectra with their fits."""
    with style():
        figure, axes = plt.subplots(figsize=(8, 6))
        centres = 0.5 * (EDGES[1:] + EDGES[:-1])
        for row, colour in zip(rows, COLOURS, strict=False):
            counts, fit = np.array(row["counts"]), np.array(row["fit"])
            seen = counts > 0
            label = f"{100 * row['background_fraction']:g} %: {row['significance']:.1f}$\\sigma$"
            axes.errorbar(
                centres[seen], counts[seen], np.sqrt(counts[seen]), fmt="o", ms=3.5, color=colour, label=label
            )
            axes.stairs(fit, EDGES, baseline=None, color=colour)
        axes.axvspan(9.0, 10.6, color="0.9", zorder=0)
        axes.set(yscale="log", ylim=(0.5, 6e3), xlabel=axis_label("m_mumu"), ylabel=f"Pairs / {WIDTH:.3f} GeV")
        axes.legend(ncols=3, title="background that passes: significance", fontsize=11)
        axes.set_title("masses of arXiv:2502.14036, our fits of degree 5", loc="left", fontsize=13)
    save(figure, "dimuon_published")


def draw_search(windows: list[dict[str, Any]]) -> None:
    """Ratio of what was seen to what was expected in each window, after each cut."""
    with style():
        figure, axes = plt.subplots(figsize=(8, 4.5))
        cuts = sorted({w["cut"] for w in windows}, reverse=True)
        for k, cut in enumerate(cuts):
            own = sorted((w for w in windows if w["cut"] == cut), key=lambda w: w["low"])
            x = np.array([np.sqrt(w["low"] * w["high"]) for w in own]) * (1 + 0.006 * (k - 1.5))
            ratio = np.array([w["observed"] / w["expected"] for w in own])
            error = np.array(
                [
                    np.hypot(np.sqrt(w["observed"]), w["observed"] * w["expected_error"] / w["expected"])
                    / w["expected"]
                    for w in own
                ]
            )
            label = "no cut" if cut >= 1 else f"{100 * cut:g} %"
            axes.errorbar(x, ratio, error, fmt="o", color=COLOURS[k], label=label)
        axes.axhline(1, color="0.5", linewidth=0.8)
        axes.axvspan(9.0, 10.6, color="0.9", zorder=0)
        axes.set(xlabel=axis_label("m_mumu"), ylabel="Observed / expected")
        axes.legend(title="most anomalous")
        axes.set_title("the search `dimuon`, a point for each window", loc="left", fontsize=13)
    save(figure, "dimuon_search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    content: dict[str, Any] = {"machine": machine("scipy", "scikit-learn", "coffea")}
    content["table"], mass = pairs(folder / "dimuon_100k.root")
    draw_masses(mass)
    config = load_config(ready_search("dimuon")).model_copy(update={"workers": 1})
    same = config.input.model_copy(update={"resonance": {"preset": "dimuon", "charge": "same"}})
    with tempfile.TemporaryDirectory() as scratch:
        content["search"] = search(config, folder, Path(scratch) / "opposite")
        content["same_sign_search"] = search(config.model_copy(update={"input": same}), folder, Path(scratch) / "same")
    draw_search(content["search"]["windows"])
    function = register_function(Polynomial(5, float(EDGES[0]), float(EDGES[-1]))).name
    content["published"] = published(folder / "upsilon_OS_histogram_data_quintic_12.npz", function)
    content["published_same_sign"] = published(folder / "upsilon_OS_histogram_data_alt_quintic_12.npz", function)
    draw_published(content["published"])
    for rows in (content["published"], content["published_same_sign"]):
        for row in rows:
            del row["counts"], row["fit"]
            print({key: round(value, 3) for key, value in row.items()})
    write_json(ROOT / "benchmarks" / "results" / "dimuon.json", content)


if __name__ == "__main__":
    main()
