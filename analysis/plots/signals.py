"""Limits on simulated signals, as points beside the line of a generic resonance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn
from resonaut.stats import LimitResult

__all__ = ("with_signals",)

MARKERS = "sD^vPX"


def with_signals(drawn: Drawn, signals: Mapping[str, LimitResult], *, scale: float = 1.0) -> Drawn:
    """The figure of `draw_limits` with a point for each signal: filled the observed limit, open the expected one.

    Parameters
    ----------
    drawn
        Figure and numbers.
    signals
        Limits by name, in the unit of the limits that the figure was made of; those that failed are left out.
    scale
        Factor to the unit that is drawn.
    """
    figure, numbers = drawn
    axes = figure.axes[0]
    usable = {name: limit.scaled(scale, limit.unit) for name, limit in signals.items() if limit.ok}
    span = np.ptp(axes.get_xlim())
    for k, (name, limit) in enumerate(usable.items()):
        marker, colour = MARKERS[k % len(MARKERS)], COLOURS[(k + 1) % len(COLOURS)]
        same = [other for other, each in usable.items() if each.mass == limit.mass]
        x = limit.mass + 0.015 * span * (same.index(name) - (len(same) - 1) / 2)  # side by side, to be seen
        _, low1, median, high1, _ = limit.expected
        error = [[median - low1], [high1 - median]]
        given: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 7}
        axes.errorbar(x, median, yerr=error, markerfacecolor="white", capsize=3, zorder=7, **given)
        axes.plot(x, limit.observed, linestyle="none", label=f"{name} (open: expected)", zorder=8, **given)
    if usable:
        low, high = axes.get_ylim()
        values = np.array([[each.observed, each.expected[1], each.expected[3]] for each in usable.values()])
        axes.set_ylim(min(low, values.min() / 2), high * max(1.0, values.max() / np.sqrt(low * high)))
        left, right = axes.get_xlim()
        masses = [each.mass for each in usable.values()]
        axes.set_xlim(min(left, min(masses) * 0.99), max(right, max(masses) * 1.01))
        legend = axes.get_legend()
        title = legend.get_title().get_text() if legend else ""
        axes.legend(title=title or None, loc="upper right", title_fontsize=11)
    numbers["signals"] = {name: limit.to_dict() for name, limit in usable.items()}
    return figure, numbers
