"""Figures of a benchmark about what methods have in common: scores, overlaps, and the shape of the selected spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, cut_name, style
from resonaut.analysis.plots.resonant_style import line_look, look, method_label, subtitle, values_of

__all__ = ("draw_correlations", "draw_overlaps", "draw_overlaps_scan", "draw_scores", "draw_sculpting")

_KINDS = {"background": "True background", "signal": "Signal"}
_MOST = 6  # methods in a scatter matrix


def _strength(results: Mapping[str, Any], key: str) -> str:
    rows = next(rows for name, rows in results["performance"].items() if name != "supervised")
    injected = {f"{row['s_over_b']:g}": row["injected"] for row in rows}
    return subtitle(results, float(key), injected[key])


def draw_scores(results: Mapping[str, Any], key: str, kind: str) -> Drawn:
    """Standardised scores of each method against each other's, for background or for signal, and their correlation.

    References
    ----------
    arXiv:2307.11157, figures 6, 9, 10 and 19.
    """
    found = results["agreement"][key]
    names = [name for name in found["methods"] if name != "idealised"][:_MOST]
    places = [found["methods"].index(name) for name in names]
    correlation = np.array(found[kind]["correlation"], dtype=float)
    count = len(names)
    with style():
        figure, grid = plt.subplots(
            count - 1, count - 1, figsize=(2.6 * (count - 1) + 1, 2.6 * (count - 1) + 0.6), squeeze=False,
            gridspec_kw={"hspace": 0.06, "wspace": 0.06},
        )  # fmt: skip
        for row in range(1, count):
            for column in range(count - 1):
                axes = grid[row - 1, column]
                if column >= row:
                    axes.set_axis_off()
                    continue
                x, y = (found[kind]["scatter"][names[k]] for k in (column, row))
                axes.plot(x, y, ".", color=COLOURS[1 if kind == "background" else 2], markersize=1.5, alpha=0.5)
                r = correlation[places[row], places[column]]
                axes.text(0.05, 0.95, f"r = {r:.2f}", transform=axes.transAxes, va="top", fontsize=12)
                axes.set(xlim=(-3, 4.5), ylim=(-3, 4.5))
                axes.tick_params(labelbottom=row == count - 1, labelleft=column == 0, labelsize=9)
                if row == count - 1:
                    axes.set_xlabel(method_label(names[column]), fontsize=12)
                if column == 0:
                    axes.set_ylabel(method_label(names[row]), fontsize=12)
        text = f"{_KINDS[kind]}, standardised scores\n{_strength(results, key)}"
        figure.text(0.9, 0.87, text, ha="right", va="top", fontsize=12)
    return figure, {"methods": names, "correlation": found[kind]["correlation"], "all": found["methods"]}


def draw_correlations(results: Mapping[str, Any], key: str) -> Drawn:
    """Pearson correlations of all methods' scores, of background and of signal, as two maps."""
    found = results["agreement"][key]
    names = found["methods"]
    with style():
        size = 1.8 + 0.55 * len(names)
        figure, panels = plt.subplots(1, 2, figsize=(2 * size + 1.5, size), gridspec_kw={"wspace": 0.55})
        for (kind, label), axes in zip(_KINDS.items(), panels, strict=True):
            matrix = np.array(found[kind]["correlation"], dtype=float)
            axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
            for (row, column), value in np.ndenumerate(matrix):
                colour = "white" if abs(value) > 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
            axes.set_xticks(range(len(names)), [method_label(n) for n in names], rotation=60, ha="right", fontsize=10)
            axes.set_yticks(range(len(names)), [method_label(n) for n in names], fontsize=10)
            axes.minorticks_off()
            axes.tick_params(length=0)
            axes.set_title(label, fontsize=12, loc="right")
        panels[0].set_title(_strength(results, key), fontsize=10, loc="left")
    return figure, {kind: found[kind]["correlation"] for kind in _KINDS} | {"methods": names}


def _pairs(found: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Overlaps of each pair without the reference, and of all methods."""
    every = "&".join(found["methods"])
    return {name: rows for name, rows in found[kind]["overlap"].items() if name == every or "idealised" not in name}


def _pair_look(number: int, name: str, every: str) -> dict[str, Any]:
    if name == every:
        return {"color": "black", "linestyle": "-", "linewidth": 2.2}
    lines = ("-", "--", ":", "-.")
    return {"color": COLOURS[1:][number % 6], "linestyle": lines[(number // 6) % 4], "linewidth": 1.3}


def _pair_label(name: str, every: str) -> str:
    return "All methods" if name == every else " & ".join(method_label(n) for n in name.split("&"))


def draw_overlaps(results: Mapping[str, Any], key: str) -> Drawn:
    """Part of the most anomalous events that methods share, beyond chance, against the fraction that is selected.

    References
    ----------
    arXiv:2307.11157, figures 7, 11 and 20.
    """
    found = results["agreement"][key]
    every = "&".join(found["methods"])
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(14.0, 6.0), sharey=True, gridspec_kw={"wspace": 0.06})
        for (kind, label), axes in zip(_KINDS.items(), panels, strict=True):
            for number, (name, rows) in enumerate(_pairs(found, kind).items()):
                fraction, median, low, high = (
                    np.array([row[k] for row in rows], dtype=float) for k in ("fraction", "median", "low", "high")
                )
                appearance = _pair_look(number, name, every)
                axes.plot(fraction, median, label=_pair_label(name, every), **appearance)
                axes.fill_between(fraction, low, high, color=appearance["color"], alpha=0.08, linewidth=0)
            axes.axhline(0.0, color="0.4", linewidth=0.8)
            axes.set_xscale("log")
            axes.set_xlabel("Most anomalous fraction p")
            axes.text(0.03, 0.95, label, transform=axes.transAxes, va="top", fontsize=12)
        panels[0].set_ylabel("Overlap beyond chance")
        panels[0].set_title(_strength(results, key), loc="left", fontsize=11)
        panels[1].legend(fontsize=8, ncols=1, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure, {kind: found[kind]["overlap"] for kind in _KINDS}


def draw_overlaps_scan(results: Mapping[str, Any], fraction: float = 0.05) -> Drawn:
    """The same at one fraction, against S/B.

    References
    ----------
    arXiv:2307.11157, figure 12.
    """
    agreement = results["agreement"]
    strength = [100 * float(key) for key in agreement]
    numbers: dict[str, Any] = {"fraction": fraction, "s_over_b": [float(key) for key in agreement]}
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(14.0, 6.0), sharey=True, gridspec_kw={"wspace": 0.06})
        for (kind, label), axes in zip(_KINDS.items(), panels, strict=True):
            first = next(iter(agreement.values()))
            every = "&".join(first["methods"])
            for number, name in enumerate(_pairs(first, kind)):
                rows = [
                    next((row for row in found[kind]["overlap"][name] if row["fraction"] == fraction), None)
                    for found in agreement.values()
                ]
                median = [np.nan if row is None else row["median"] for row in rows]
                axes.plot(
                    strength, median, marker=".", label=_pair_label(name, every), **_pair_look(number, name, every)
                )
                numbers.setdefault(kind, {})[name] = median
            axes.axhline(0.0, color="0.4", linewidth=0.8)
            axes.set_xlabel("Injected S/B in the signal region [%]")
            axes.text(0.03, 0.95, label, transform=axes.transAxes, va="top", fontsize=12)
        panels[0].set_ylabel(f"Overlap of the top {cut_name(fraction)} beyond chance")
        panels[0].set_title(subtitle(results), loc="left", fontsize=11)
        panels[1].legend(fontsize=8, ncols=1, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure, numbers


def draw_sculpting(results: Mapping[str, Any], key: str) -> Drawn:
    """Background efficiency of cuts set in the signal region, against the mass: flat where nothing is sculpted.

    References
    ----------
    arXiv:2210.14924 (LaCATHODE), figure 5.
    """
    found = results["sculpting"][key]
    cuts = list(next(iter(found.values())))
    window = results["protocol"]["window"]
    with style():
        figure, panels = plt.subplots(
            len(cuts), 1, figsize=(10.0, 4.6 * len(cuts)), sharex=True, squeeze=False, gridspec_kw={"hspace": 0.08}
        )
        for cut, axes in zip(cuts, panels[:, 0], strict=True):
            for name, content in found.items():
                edges, efficiency, error = values_of(content[cut], "edges", "efficiency", "error")
                centres = np.sqrt(edges[1:] * edges[:-1])
                text = f"{method_label(name)} ({content[cut]['chi2']:.0f}/{content[cut]['ndf']})"
                axes.plot(centres, efficiency, label=text, **line_look(name))
                axes.fill_between(centres, efficiency - error, efficiency + error, color=look(name)["color"], alpha=0.1)
            axes.axvspan(window["low"], window["high"], color="0.92", zorder=0)
            axes.axhline(float(cut), color="0.4", linewidth=0.8)
            axes.set_ylim(0, 4 * float(cut))
            axes.set_ylabel(f"Background efficiency, {cut_name(float(cut))} cut")
            axes.legend(
                fontsize=8,
                ncols=1,
                title=r"$\chi^2$/ndf of flat",
                title_fontsize=9,
                loc="upper left",
                bbox_to_anchor=(1, 1),
            )
        panels[-1, 0].set_xlabel(r"$m_{JJ}$ [GeV]")
        panels[0, 0].set_title(_strength(results, key), loc="left", fontsize=11)
    return figure, found
