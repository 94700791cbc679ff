"""Figures of a campaign: the limits side by side, and what happens to a search as the signal grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from resonaut.analysis.injections.curves import REACH
from resonaut.analysis.plots.canvas import COLOURS, Drawn, cut_name, label_experiment, save_figure, style
from resonaut.analysis.plots.limits import ONE_SIGMA, TWO_SIGMA

__all__ = ("draw_campaign", "draw_campaign_limits", "draw_strengths")

WIDTH = 0.6
LINES, MARKERS = ("-", "--", ":", "-."), "os^D"
"""Of the cuts; a method has a colour."""
Y_LABELS = {
    "efficiency": "Acceptance × efficiency of the signal",
    "significance": "Local significance",
    "observed": "Upper limit [produced events]",
}


def _name(selection: Mapping[str, Any]) -> str:
    if selection["kind"] == "inclusive":
        return "no cut"
    return f"{selection['method']}, {cut_name(selection['cut'])}"


def draw_campaign_limits(content: Mapping[str, Any]) -> Drawn:
    """Self-consistent limits of all selections, signal by signal: observed, expected, bands of one and two standard deviations."""
    luminosity = content["luminosity"]
    scale = 1.0 / luminosity if luminosity else 1.0
    numbers: list[dict[str, Any]] = []
    bars: list[tuple[float, list[float]]] = []  # place, and the limits: observed first
    with style():
        count = sum(bool(s["limit"]) for signal in content["signals"] for s in signal["selections"])
        figure, axes = plt.subplots(figsize=(max(7.0, 1.0 + 0.9 * count), 6.0))
        place = 0.0
        for signal in content["signals"]:
            start = place
            for selection in (s for s in signal["selections"] if s["limit"]):
                values = [selection["limit"]["observed"], *selection["limit"]["expected"]]
                limits = [np.nan if v is None else v * scale for v in values]
                runs = [np.nan if v is None else v * scale for v in selection["limit"].get("observed_runs", ())]
                _bar(axes, place, limits[0], limits[1:], runs if len(runs) > 1 else ())
                bars.append((place, limits))
                about = {"signal": signal["name"], "selection": _name(selection)}
                limit = {"observed": limits[0], "observed_runs": runs, "expected": limits[1:]}
                numbers.append({**about, **limit, "status": selection["limit"]["status"]})
                place += 1
            _name_signal(axes, (start + place - 1) / 2, signal["name"])
            if signal is not content["signals"][-1]:
                axes.axvline(place - 0.25, color="grey", linewidth=0.8)
            place += 0.5
        axes.set_yscale("log")
        if known := [value for _, limits in bars for value in limits if np.isfinite(value)]:
            axes.set_ylim(min(known) / 2, max(known) * 8)
        for at, limits in bars:
            if not np.isfinite(limits).any():
                _no_limit(axes, at)
        axes.set_xticks([at for at, _ in bars], [n["selection"] for n in numbers], rotation=35, ha="right", fontsize=10)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_xlim(-0.75, place - 0.75)
        axes.set_ylabel("95 % CL upper limit [fb]" if luminosity else "95 % CL upper limit [produced events]")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.92), fontsize=10, frameon=True)
        label_experiment(axes, content["name"])
    return figure, {"limits": numbers, "unit": "fb" if luminosity else "produced events"}


def _name_signal(axes: Any, at: float, name: str) -> None:
    options = {"ha": "center", "va": "top", "fontsize": 12, "fontweight": "bold"}
    axes.text(at, 0.97, name.replace("_", " "), transform=axes.get_xaxis_transform(), **options)


def _no_limit(axes: Any, at: float) -> None:
    options = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 10, "color": "grey"}
    axes.text(at, 0.5, "no limit in the grid", transform=axes.get_xaxis_transform(), **options)


def _bar(axes: Any, at: float, observed: float, expected: list[float], runs: Sequence[float]) -> None:
    named = axes.get_legend_handles_labels()[1]

    def once(name: str) -> str | None:
        return None if name in named else name

    low2, low1, median, high1, high2 = expected
    for low, high, colour, name in ((low2, high2, TWO_SIGMA, "± 2σ"), (low1, high1, ONE_SIGMA, "± 1σ")):
        if np.isfinite([low, high]).all():
            axes.add_patch(Rectangle((at - WIDTH / 2, low), WIDTH, high - low, color=colour, label=once(name)))
    ends = (at - WIDTH / 2, at + WIDTH / 2)
    axes.plot(ends, (median, median), color="black", linestyle="--", label=once("expected"))
    axes.plot(at, observed, marker="o", color="black", linestyle="none", label=once("observed"))
    if np.isfinite(runs).any():
        place = np.full(len(runs), at + WIDTH / 3)
        axes.plot(place, runs, marker="x", color="grey", linestyle="none", label=once("observed, each run"))


def draw_strengths(content: Mapping[str, Any], signal: Mapping[str, Any], what: str) -> Drawn:
    """Efficiency, significance or limit against the number of produced signal events, a line for each selection.

    The line is the median of the runs with that strength, the area around it their central 68 %.
    """
    numbers: dict[str, Any] = {}
    methods = list(dict.fromkeys(s["method"] for s in signal["selections"]))
    cuts = sorted({s["cut"] for s in signal["selections"] if s["cut"] < 1}, reverse=True)
    with style():
        figure, axes = plt.subplots(figsize=(9.5, 6.0))
        for selection in signal["selections"]:
            values = [np.nan if v is None else v for v in selection[what]]
            if not np.isfinite(values).any():
                continue
            colour, name = COLOURS[methods.index(selection["method"]) % len(COLOURS)], _name(selection)
            rank = cuts.index(selection["cut"]) if selection["cut"] in cuts else 0
            line: dict[str, Any] = {"color": colour, "linestyle": LINES[rank % len(LINES)]}
            if selection["events"]:
                axes.plot(selection["events"], values, marker=MARKERS[rank % len(MARKERS)], label=name, **line)
                _area(axes, selection["events"], selection["spread"].get(what, ()), colour)
            else:
                axes.axhline(values[0], linewidth=1.0, label=f"{name} (truth)", **line)
            numbers[name] = {"events": selection["events"], what: values, "spread": selection["spread"].get(what)}
        strengths = sorted({e for s in signal["selections"] for e in s["events"]})
        if what == "observed" and strengths:
            diagonal = np.linspace(strengths[-1] / 100, strengths[-1], 200)
            axes.plot(diagonal, diagonal, color="grey", linestyle="--", label="limit = strength")
        if what == "significance":
            for level in REACH:
                axes.axhline(level, color="grey", linestyle=":", linewidth=1.0)
        else:
            axes.set_yscale("log")
        axes.set_xlabel("Signal events produced")
        axes.set_ylabel(Y_LABELS[what])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=10, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        label_experiment(axes, f"{content['name']}: {signal['name'].replace('_', ' ')}")
    return figure, {"signal": signal["name"], "curves": numbers}


def _area(axes: Any, events: Sequence[float], spread: Sequence[Sequence[float] | None], colour: str) -> None:
    known = [(x, *ends) for x, ends in zip(events, spread, strict=False) if ends and np.isfinite(ends).all()]
    if known:
        axes.fill_between(*zip(*known, strict=True), color=colour, alpha=0.15, linewidth=0)


def draw_campaign(content: Mapping[str, Any], folder: Path) -> None:
    """All figures into `folder`, each with its numbers beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(s["limit"] for signal in content["signals"] for s in signal["selections"]):
        save_figure(draw_campaign_limits(content), folder / "limits")
    for signal in content["signals"]:
        for what in Y_LABELS:
            save_figure(draw_strengths(content, signal, what), folder / f"{what}_{signal['name']}")
