"""Calibration of p-values and of fitted signals, as benchmarks/study_calibration.py measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style

__all__ = ("draw_calibration",)

MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def draw_calibration(results: Mapping[str, Any], *, title: str, function: str = "dijet4") -> Drawn:
    """How often p-values are below a level, over the level; mean and width of the pulls against the background.

    Parameters
    ----------
    results
        Content of ``benchmarks/results/calibration.json``.
    title
        Text above the frame.
    function
        Fitted function of the local p-values.
    """
    with style():
        figure, (ratio, mean, width) = plt.subplots(1, 3, figsize=(14.5, 4.8), layout="constrained")
        rows = [row for row in results["local"] if row["function"] == function]
        samples = [(f"local, {_events(row['expected_in_window'])} expected", row["fractions"]) for row in rows]
        samples.append(("global, 21 windows", results["global"]["pooled"]["fractions"]))
        _fractions(ratio, samples)
        for axes, name, wanted in ((mean, "mean", (-0.05, 0.05)), (width, "width", (0.97, 1.03))):
            _pulls(axes, results["pulls"], name, wanted)
        mean.set_ylim(-0.4, 0.3)
        width.set_ylim(0.9, 1.5)
        label_experiment(ratio, title)
    return figure, dict(results)


def _events(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{float(f'{number:.2g}'):.0f}"


def _fractions(axes: Any, samples: Sequence[tuple[str, Sequence[Mapping[str, float]]]]) -> None:
    axes.axhline(1, color="0.5", linewidth=1)
    shifts = np.linspace(0.82, 1.22, len(samples))
    for k, (label, rows) in enumerate(samples):
        level = np.array([row["level"] for row in rows])
        fraction, error = (np.array([row[key] for row in rows]) / level for key in ("fraction", "error"))
        axes.errorbar(
            level * shifts[k], fraction, error, fmt=MARKERS[k % 7], color=COLOURS[k % 7], markersize=6, label=label
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 2.2)
    axes.set_xlabel("Level $a$")
    axes.set_ylabel("Fraction of toys with $p < a$, over $a$")
    axes.legend(loc="upper right", ncols=2, fontsize=10, title="Background alone", title_fontsize=11)


def _pulls(axes: Any, rows: Sequence[Mapping[str, Any]], name: str, wanted: tuple[float, float]) -> None:
    axes.axhspan(*wanted, color="0.88", label="wanted")
    styles = [("pull", "(fitted - true) / error", 1, "o"), ("root", "signed root of $q$", 2, "s")]
    for key, label, colour, marker in styles:
        for sigmas, face in ((0.0, "none"), (5.0, COLOURS[colour])):
            some = [row for row in rows if row["injected_sigmas"] == sigmas]
            axes.errorbar(
                [row["background_under"] for row in some],
                [row[key][name] for row in some],
                [row[key][f"{name}_error"] for row in some],
                fmt=marker,
                color=COLOURS[colour],
                markerfacecolor=face,
                markersize=6,
                label=f"{label}, {sigmas:.0f}$\\sigma$",
            )
    axes.set_xscale("log")
    axes.set_xlabel("Background events under the signal")
    axes.set_ylabel(f"{name.capitalize()} of the pulls")
    axes.legend(loc="upper right", fontsize=10)
