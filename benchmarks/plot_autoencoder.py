"""The figure of docs/models/autoencoder-dijets.md, from the results and the scores that `bench_autoencoder.py` keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from bench_injections import EDGES, WINDOW, mixed
from PIL import Image

from resonaut.analysis.plots.canvas import COLOURS, save_figure, style
from resonaut.models import select
from resonaut.stats import local_p_value, make_spectrum

if TYPE_CHECKING:
    from bench_autoencoder import Bench

SHORT = {"X500_X500": "500 GeV", "X300_X300": "300 GeV"}
LINES = (
    (50_000, "none", "1", "dijet4", "no cut, dijet4", ":"),
    (50_000, "autoencoder", "0.01", "linear", "1 %, line", "--"),
    (50_000, "autoencoder", "0.01", "dijet4", "1 %, dijet4", "-"),
    (50_000, "ddt", "0.01", "dijet4", "1 %, DDT, dijet4", "-."),
    (10_000, "autoencoder", "0.01", "dijet4", "1 %, dijet4, 10,000 events", "-"),
)
SHOWN = 4e-3


def _sic(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Maximum SIC against the S/B trained at; nothing injected stands at the left."""
    for colour, (name, label) in zip(COLOURS[1:], SHORT.items(), strict=False):
        own = [r for r in rows if r["signal"] == name]
        x = [100 * max(r["s_over_b"], 2e-4) for r in own]
        axes.errorbar(
            x, [r["max_sic"] for r in own], [r["max_sic_std"] for r in own], fmt="o-", color=colour, label=label
        )
    axes.set(xscale="log", ylim=(0, 2.6), xlabel="S/B trained with [%] (left: none)", ylabel="Maximum SIC")
    axes.legend(title="jet masses")


def _training(axes: Any, rows: list[dict[str, Any]]) -> None:
    """SIC of a 1 % cut against the events that a member is trained on."""
    for colour, (name, label) in zip(COLOURS[1:], SHORT.items(), strict=False):
        own = [r for r in rows if r["signal"] == name]
        values = [[r[key] for r in own] for key in ("events", "sic_at_0.01", "sic_at_0.01_std")]
        axes.errorbar(*values, fmt="o-", color=colour, label=label)
    axes.axvline(50_000, color="0.6", linestyle=":", label="the paper's")
    axes.set(xscale="log", ylim=(0, 3.5), xlabel="Events that each member sees", ylabel="SIC of a 1 % cut")
    axes.legend(title="jet masses")


def _significances(axes: Any, rows: list[dict[str, Any]], name: str) -> None:
    for colour, (*wanted, label, line) in zip(COLOURS, LINES, strict=False):
        keys = ("events", "variant", "cut", "function")
        own = [r for r in rows if r["signal"] == name and [r[key] for key in keys] == wanted]
        x, z, mad = (np.array([r[k] for r in own]) for k in ("s_over_b", "z", "mad"))
        axes.plot(100 * x, z, line, color=colour, label=label)
        axes.fill_between(100 * x, z - mad, z + mad, color=colour, alpha=0.15)
    axes.axhline(0, color="0.6", linewidth=1)
    axes.set(ylim=(-2.5, 8), xlabel="S/B [%]", ylabel="Local significance")
    axes.legend(title=f"signal of {SHORT[name]}", fontsize=9, title_fontsize=10, loc="upper left")


def _spectrum(axes: Any, bench: Bench) -> None:
    """What the 1 % cut selects, with both fits: figure 6 of the paper."""
    from bench_autoencoder import decorrelated

    scores = bench.null(0)
    signal = {**bench.signals["X500_X500"], "score": scores["X500_X500"]}
    columns = mixed({**bench.qcd, "score": scores["qcd"]}, signal, SHOWN, 1)
    region = WINDOW.in_signal_region(columns["mjj"])
    mask = select(columns["score"], None, (0.01,), reference=region)[0.01]
    counts = np.histogram(columns["mjj"][mask], EDGES)[0]
    centres = np.sqrt(EDGES[1:] * EDGES[:-1])
    axes.errorbar(centres, counts, np.sqrt(counts), fmt="o", color="black", markersize=4, label="selected")
    injected = np.histogram(columns["mjj"][mask & (columns["label"] == 1)], EDGES)[0]
    axes.stairs(injected, EDGES, color=COLOURS[3], fill=True, alpha=0.6, label="signal among them")
    for colour, function, fit_range in ((COLOURS[1], "linear", (3000.0, 4000.0)), (COLOURS[2], "dijet4", None)):
        found = local_p_value(
            make_spectrum(columns["mjj"][mask], EDGES), WINDOW, function=function, fit_range=fit_range
        )
        shown = found.fit.mask | found.fit.blinded
        label = f"{'line' if function == 'linear' else function}: {found.local_significance:+.1f}$\\sigma$"
        axes.plot(centres[shown], found.fit.expected[shown], color=colour, label=label)
    flat = decorrelated(columns["mjj"], columns["score"])
    after = np.histogram(columns["mjj"][select(flat, None, (0.01,), reference=region)[0.01]], EDGES)[0]
    axes.plot(centres, after, "o", color="0.55", markerfacecolor="white", markersize=4, label="selected after DDT")
    axes.axvspan(WINDOW.low, WINDOW.high, color="0.92", zorder=0)
    axes.set(xlabel=r"$m_{JJ}$ [GeV]", ylabel="Events / bin", ylim=(0, 330))
    axes.legend(title=f"1 %, S/B {100 * SHOWN:g} %, 500 GeV", fontsize=9, title_fontsize=10)


def _efficiency(figure: Any, axes: Any, bench: Bench) -> None:
    """Share of the QCD of each pair of jet masses that passes the 1 % cut: figure 10 of the paper."""
    region = WINDOW.in_signal_region(bench.qcd["mjj"])
    score = bench.null(0)["qcd"][region]
    passed = score >= np.quantile(score, 0.99)
    heavy, light = bench.qcd["m_h"][region], bench.qcd["m_l"][region]
    bins = [np.arange(0, 751, 50.0), np.arange(0, 651, 50.0)]
    total, some = np.histogram2d(heavy, light, bins)[0], np.histogram2d(heavy[passed], light[passed], bins)[0]
    share = np.where(total >= 5, some / np.maximum(total, 1), np.nan)
    drawn = axes.pcolormesh(*bins, share.T, vmin=0, vmax=0.2, cmap="Greys")
    figure.colorbar(drawn, ax=axes, label="QCD that passes 1 %")
    for name, colour in (("X500_X500", COLOURS[1]), ("X300_X300", COLOURS[2])):
        axes.plot(*(np.median(bench.signals[name][m]) for m in ("m_h", "m_l")), "x", color=colour, markersize=11, mew=3)
    axes.set(xlabel="Mass of the heavier jet [GeV]", ylabel="of the lighter jet [GeV]")


def draw(found: dict[str, Any], bench: Bench, folder: Path) -> None:
    """Write `autoencoder-dijets.png` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        plt.rcParams.update({"font.size": 10, "axes.labelsize": 12, "xtick.labelsize": 10, "ytick.labelsize": 10})
        figure, axes = plt.subplots(2, 3, figsize=(15, 8.6), layout="constrained")
        _sic(axes[0, 0], found["sic"])
        _training(axes[0, 1], found["trained_on"])
        _efficiency(figure, axes[0, 2], bench)
        for place, name in zip(axes[1], SHORT, strict=False):
            _significances(place, found["significances"], name)
        _spectrum(axes[1, 2], bench)
    save_figure((figure, {}), folder / "autoencoder-dijets")
    for suffix in ("pdf", "json"):
        (folder / f"autoencoder-dijets.{suffix}").unlink()
    name = folder / "autoencoder-dijets.png"
    with Image.open(name) as image:
        plain = image.convert("RGB")
    plain.thumbnail((1500, 1500), Image.Resampling.LANCZOS)
    plain.quantize(200, dither=Image.Dither.NONE).save(name, optimize=True)
