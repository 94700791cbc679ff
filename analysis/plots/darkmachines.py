"""Figures of the Dark Machines challenge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.darkmachines.published import PUBLISHED
from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, save_figure, style

__all__ = ("draw_challenge",)

Results = Mapping[str, Any]
_MAIN = ("deep-svdd avg", "flow", "deep-sets", "deep-svdd+flow or", "deep-svdd+flow avg", "deep-svdd+flow and")
_FEW = ("deep-svdd avg", "flow", "deep-svdd+flow or", "deep-sets")
_OTHER = "published, challenge data"
_LOWEST = 0.01  # where figures on a logarithmic axis put what is smaller, zero included
_NAMED = {
    "Combined-OR-DeepSVDD-Flow": (-8, -3),
    "DeepSetVAE_weight_1.0": (-8, 4),
    "Flow-Efficient_Likelihood": (0, -14),
}


def draw_challenge(results: Results, folder: Path) -> None:
    """All figures of a run into a folder, as PNG, PDF and JSON."""
    with style():
        for channel in results["channels"]:
            save_figure(_scores(results, channel), folder / f"scores_channel{channel}")
            save_figure(_matrix(results, channel), folder / f"correlations_channel{channel}")
        save_figure(_improvements(results), folder / "total_improvements")
        save_figure(_signals(results), folder / "significance_improvements")
        save_figure(_hackathon_and_secret(results), folder / "hackathon_secret")


def _scores(results: Results, channel: str) -> Drawn:
    """Histograms of the scores of background and of the signals: those with the largest, a middling and the smallest SI."""
    histograms = {name: found for name, found in results["histograms"][channel].items() if name in _FEW}
    figure, axes = plt.subplots(1, max(len(histograms), 1), figsize=(4.2 * max(len(histograms), 1), 4), squeeze=False)
    for axis, (name, found) in zip(axes[0], histograms.items(), strict=False):
        edges = np.array(found["edges"])
        middle = 0.5 * (edges[1:] + edges[:-1])
        measured = results["scores"][name][channel]
        order = sorted(measured, key=lambda role: measured[role]["si"] or 0.0)
        chosen = list(dict.fromkeys([order[-1], order[len(order) // 2], order[0]])) if order else []
        background = np.array(found["counts"]["test"], dtype=float)
        axis.stairs(background / max(background.sum(), 1), edges, fill=True, color="#bbbbbb", label="background (test)")
        for colour, role in zip(COLOURS[1:], chosen, strict=False):
            counts = np.array(found["counts"][role], dtype=float)
            axis.step(middle, counts / max(counts.sum(), 1), where="mid", color=colour, label=role.partition("/")[2])
        axis.set_yscale("log")
        axis.set_ylim(top=axis.get_ylim()[1] * 30)
        axis.set_title(name, fontsize=12)
        axis.set_xlabel(r"$-\ln(1-u)$")
        axis.legend(fontsize=8, loc="upper right")
    axes[0][0].set_ylabel("fraction of events")
    figure.suptitle(f"Channel {channel}: scores $u$ uniform on the training background", fontsize=12, y=1.02)
    return figure, {"channel": channel, "histograms": histograms}


def _improvements(results: Results) -> Drawn:
    """Boxes of TI over signals for each entry; beside them the published submissions, on other data."""
    found = {
        name: sorted(each["signals"].values())
        for name, each in results["improvements_signal"].items()
        if each["signals"] and "member" not in name
    }
    members = [each for name, each in results["improvements_signal"].items() if "member" in name and each["signals"]]
    if members:
        found["deep-svdd members: medians"] = sorted(each["median"] for each in members)
    names = list(found)[::-1]
    published = PUBLISHED["submissions"]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(14, 0.32 * max(len(names), len(published)) + 1.6), sharex=True, gridspec_kw={"wspace": 0.75}
    )
    left.boxplot(
        [np.maximum(found[name], _LOWEST) for name in names], orientation="horizontal", whis=(0, 100), widths=0.6
    )
    left.set_yticks(range(1, len(names) + 1), names, fontsize=9)
    order = list(published)[::-1]
    for place, name in enumerate(order, start=1):
        low, middle, high = (max(x, _LOWEST) for x in published[name]["hackathon"])
        right.plot([low, high], [place, place], color="#888888", lw=1.4)
        right.plot(middle, place, "o", color="#D55E00", ms=5)
    right.set_yticks(range(1, len(order) + 1), order, fontsize=8)
    right.set_ylim(0, len(order) + 1)
    for axis in (left, right):
        axis.set_xscale("log")
        axis.axvline(1.0, color="black", ls=":", lw=1)
        axis.set_xlabel(f"total improvement over signals (from {_LOWEST:g} on)")
        axis.minorticks_on()
        axis.tick_params(axis="y", which="minor", left=False, right=False)
    label_experiment(left, "this run")
    label_experiment(right, _OTHER)
    return figure, {"here": found, "published": {name: published[name]["hackathon"] for name in order}}


def _signals(results: Results) -> Drawn:
    """SI of every signal in every channel for the main entries."""
    names = [name for name in _MAIN if name in results["scores"]]
    signals = sorted({role for name in names for roles in results["scores"][name].values() for role in roles})
    signals = [role for role in signals if role.startswith("signal/")]
    markers = dict(zip(results["channels"], "osD^", strict=False))
    figure, axis = plt.subplots(figsize=(11, 0.6 * len(signals) + 1.8))
    for shift, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        for channel, marker in markers.items():
            measured = results["scores"][name].get(channel, {})
            points = [(measured[role]["si"], row) for row, role in enumerate(signals) if role in measured]
            if points:
                x, y = np.array([(max(si or 0.0, _LOWEST), row) for si, row in points]).T
                height = y + 0.12 * (shift - len(names) / 2)
                axis.plot(x, height, marker, color=colour, ms=5, ls="", mfc=colour if channel == "3" else "none")
                lower = x <= _LOWEST
                axis.plot(x[lower] / 1.15, height[lower], "<", color=colour, ms=4, ls="")
    for name, colour in zip(names, COLOURS, strict=False):
        axis.plot([], [], "s", color=colour, label=name)
    for channel, marker in markers.items():
        axis.plot([], [], marker, color="grey", mfc="none", ls="", label=f"channel {channel}")
    axis.set_yticks(range(len(signals)), [role.partition("/")[2] for role in signals], fontsize=10)
    axis.set_xscale("log")
    axis.axvline(1.0, color="black", ls=":", lw=1)
    axis.set_xlabel(f"significance improvement (arrow: below {_LOWEST:g})")
    axis.tick_params(axis="y", which="minor", left=False, right=False)
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure, {"signals": signals, "entries": names}


def _matrix(results: Results, channel: str) -> Drawn:
    """Pearson coefficients between entries."""
    found = results["correlations"][channel]
    names, matrix = found["names"], np.array(found["pearson"], dtype=float)  # None becomes NaN
    size = 0.55 * len(names) + 2.5
    figure, axis = plt.subplots(figsize=(size + 1, size))
    picture = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
    for row, column in np.ndindex(matrix.shape):
        dark = abs(matrix[row, column]) > 0.6
        axis.text(
            column,
            row,
            f"{matrix[row, column]:.2f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=9)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.minorticks_off()
    axis.tick_params(which="both", top=False, right=False)
    figure.colorbar(picture, label="correlation of uniform scores, background")
    label_experiment(axis, f"channel {channel}")
    return figure, {"channel": channel, **found}


def _hackathon_and_secret(results: Results) -> Drawn:
    """Median over the hackathon's signals against that over the secret ones: published, and ours where there are secret events."""
    figure, axis = plt.subplots(figsize=(7.5, 6))
    published = {name: each for name, each in PUBLISHED["submissions"].items() if each["secret"]}
    x = [max(each["hackathon"][1], 0.05) for each in published.values()]
    y = [max(each["secret"][1], 0.05) for each in published.values()]
    axis.plot(x, y, "o", color="#999999", mfc="none", label=_OTHER)
    for name, at in _NAMED.items():
        point = (published[name]["hackathon"][1], published[name]["secret"][1])
        axis.annotate(name, point, fontsize=8, xytext=at, textcoords="offset points", ha="right")
    ours = {}
    for name, colour in zip([n for n in _MAIN if n in results["scores"]], COLOURS, strict=False):
        here, hidden = results["improvements_signal"][name], results["improvements_secret"][name]
        if not here["signals"]:
            continue
        ours[name] = [here["median"], hidden.get("median")]
        if hidden["signals"]:
            axis.plot(here["median"], hidden["median"], "D", color=colour, label=f"{name}, this run")
        else:
            axis.axvline(
                max(here["median"], 0.05), color=colour, ls="--", lw=1.2, label=f"{name}, this run (no secret events)"
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("median TI, hackathon signals")
    axis.set_ylabel("median SI, secret signals")
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure, {
        "published": {name: [each["hackathon"][1], each["secret"][1]] for name, each in published.items()},
        "here": ours,
    }
