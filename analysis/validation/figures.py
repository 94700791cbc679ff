"""Figures of checks: points with errors, bars, histograms; each with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import Window

__all__ = ("draw_bars", "draw_histograms", "draw_points")

Floats = npt.NDArray[np.float64]
MOST_BARS = 24


def draw_points(
    x: Floats,
    y: Floats,
    error: Floats,
    *,
    title: str,
    x_label: str,
    y_label: str,
    text: str = "",
    line: float | None = None,
    limits: tuple[float, float] | None = None,
    window: Window | None = None,
) -> Drawn:
    """Points with errors against the mass; a line at what is expected, dashed ones at what turns red, the signal region shaded."""
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 5.0), layout="constrained")
        axes.errorbar(x, y, yerr=error, fmt="o", color=COLOURS[0], markersize=5)
        if line is not None:
            axes.axhline(line, color=COLOURS[1])
        for value in limits or ():
            axes.axhline(value, color=COLOURS[2], linestyle="--")
        if window is not None:
            axes.axvspan(window.low, window.high, color="0.9", zorder=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if text:
            axes.text(0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=11)
        label_experiment(axes, title)
    numbers: dict[str, Any] = {"x": x.tolist(), "y": y.tolist(), "error": error.tolist(), "text": text}
    return figure, numbers


def draw_bars(labels: Sequence[str], values: Sequence[float], *, title: str, x_label: str, line: float) -> Drawn:
    """Horizontal bars, the largest `MOST_BARS`, with a dashed line at what turns red."""
    order = np.argsort(np.abs(values))[-MOST_BARS:]
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 1.8 + 0.3 * len(order)), layout="constrained")
        axes.barh([labels[k] for k in order], [values[k] for k in order], color=COLOURS[1], alpha=0.8)
        axes.axvline(line, color=COLOURS[2], linestyle="--")
        axes.tick_params(axis="y", labelsize=9)
        axes.set_xlabel(x_label)
        label_experiment(axes, title)
    return figure, {"labels": list(labels), "values": [float(v) for v in values], "line": line}


def draw_histograms(
    samples: Mapping[str, Floats], *, title: str, x_label: str, bins: int = 30, curve: Any = None
) -> Drawn:
    """Normalised histograms of a few samples, and the density that is expected where there is one (a function of x)."""
    everything = np.concatenate([np.asarray(values) for values in samples.values()])
    low, high = (float(v) for v in np.quantile(everything, [0.001, 0.999])) if len(everything) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    numbers: dict[str, Any] = {"edges": edges.tolist()}
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 5.0), layout="constrained")
        for (name, values), colour in zip(samples.items(), COLOURS, strict=False):
            content = np.histogram(values, edges)[0] / (max(len(values), 1) * np.diff(edges))
            axes.stairs(content, edges, color=colour, label=f"{name} ({len(values)})")
            numbers[name] = content.tolist()
        if curve is not None:
            fine = np.linspace(edges[0], edges[-1], 200)
            axes.plot(fine, curve(fine), color=COLOURS[2], linestyle="--", label="expected")
        axes.set_xlabel(x_label)
        axes.set_ylabel("density")
        axes.legend(loc="upper right")
        label_experiment(axes, title)
    return figure, numbers
