"""The local p-value against the mass, one line per method and cut."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from resonaut.analysis.plots.canvas import COLOURS, Drawn, cut_name, label_experiment, style
from resonaut.stats import ScanResult, SignificanceScan

__all__ = ("draw_scan", "draw_significance_scan")

_STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 4)))
_MARKERS = "os^DvPX*<>"


def _group(result: ScanResult) -> dict[tuple[str, float], list[Any]]:
    lines: dict[tuple[str, float], list[Any]] = {}
    for entry in result.entries:
        lines.setdefault((entry.method, entry.cut), []).append(entry)
    return {key: sorted(entries, key=lambda e: e.low) for key, entries in sorted(lines.items(), key=lambda i: -i[0][1])}


def draw_scan(result: ScanResult, *, title: str, x_label: str = "Mass [GeV]") -> Drawn:
    """Local p-values of all windows; horizontal lines at whole numbers of standard deviations.

    Colours are cuts, line styles and markers are methods; horizontal bars show the signal regions.
    """
    lines = _group(result)
    methods = list(dict.fromkeys(m for m, cut in lines if cut < 1))
    cuts = sorted({cut for _, cut in lines}, reverse=True)
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 5.5))
        smallest = 0.5
        for (method, cut), entries in lines.items():
            colour = COLOURS[cuts.index(cut) % len(COLOURS)]
            place = methods.index(method) if cut < 1 else 0
            look: dict[str, Any] = {
                "linestyle": _STYLES[place % len(_STYLES)],
                "marker": _MARKERS[place % len(_MARKERS)],
            }
            mass = np.array([np.sqrt(e.low * e.high) for e in entries])
            p = np.array([e.local_p for e in entries], dtype=float)
            drawn = np.maximum(p, 1e-300)
            half = np.array([(e.high - e.low) / 2 for e in entries])
            name = cut_name(cut) if cut >= 1 else f"{method}, {cut_name(cut)}"
            axes.errorbar(mass, drawn, xerr=half, fmt="none", color=colour, elinewidth=1)
            axes.plot(mass, drawn, markersize=5, color=colour, linewidth=1.2, label=name, **look)
            if np.isfinite(p).any():
                smallest = min(smallest, float(np.nanmin(drawn)))
        _p_axis(axes, smallest)
        axes.set_xlabel(x_label)
        if len(lines) > 1:  # above the frame: below it, a legend would hide the excess
            axes.legend(ncols=min(len(lines), 3), loc="lower right", bbox_to_anchor=(1.0, 1.06), borderaxespad=0.0)
        label_experiment(axes, title)
    return figure, result.to_dict()


def _p_axis(axes: Any, smallest: float) -> None:
    """Logarithmic p-value axis from 1 down to below the smallest one, with lines at whole standard deviations."""
    deepest = min(max(2.0, float(norm.isf(max(smallest, 1e-300))) + 1), 37.0)  # beyond, p is no number any more
    for z in range(1, int(deepest) + 1) if deepest < 12 else range(5, int(deepest) + 1, 5):
        axes.axhline(norm.sf(z), color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(f"{z}$\\sigma$", (1.01, norm.sf(z)), xycoords=("axes fraction", "data"), va="center", fontsize=11)
    axes.set_yscale("log")
    axes.set_ylim(norm.sf(deepest), 1.6)
    axes.set_ylabel("Local p-value")


def draw_significance_scan(result: SignificanceScan, *, title: str, x_label: str = "Mass [GeV]") -> Drawn:
    """Local p-value of a resonance against its mass, one line for each width."""
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 5.5))
        for k, width in enumerate(result.widths):
            p = np.maximum(result.local_p[:, k], 1e-300)
            axes.plot(result.masses, p, ".-", color=COLOURS[k % len(COLOURS)], label=f"width {100 * width:.3g} %")
        _p_axis(axes, float(np.nanmin(result.local_p)))
        axes.set_xlabel(x_label)
        columns = min(len(result.widths), 4)
        axes.legend(ncols=columns, loc="lower right", bbox_to_anchor=(1.0, 1.01), borderaxespad=0.0)
        label_experiment(axes, title)
    return figure, result.to_dict()
