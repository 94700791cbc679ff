"""A bump hunt: the spectrum with its most significant interval, the p-value of every interval, and the toys."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.ticker import NullFormatter, ScalarFormatter
from scipy.stats import norm

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import BumpHunterResult, poisson_significance

__all__ = ("draw_bumps",)

_MARK = COLOURS[2]


def _mark(axes: Any, result: BumpHunterResult) -> None:
    if np.isfinite(result.low):
        for edge in (result.low, result.high):
            axes.axvline(edge, color=_MARK, linewidth=1.2, linestyle="--", zorder=1)


def _draw_spectrum(axes: Any, result: BumpHunterResult) -> None:
    edges, counts = np.asarray(result.edges), np.asarray(result.counts)
    centres, shown = 0.5 * (edges[1:] + edges[:-1]), counts > 0
    name = "Background, given" if result.function == "given" else f"Fit, {result.function}"
    axes.stairs(result.background, edges, baseline=None, color=COLOURS[1], linewidth=1.5, label=name)
    error = np.sqrt(counts[shown])
    axes.errorbar(
        centres[shown], counts[shown], yerr=[np.minimum(error, counts[shown] * 0.999), error], fmt="o", markersize=3.5,
        color="black", elinewidth=0.9, label="Data",
    )  # fmt: skip
    if np.isfinite(result.low):
        axes.plot([], [], color=_MARK, linestyle="--", linewidth=1.2, label=f"{result.low:g} to {result.high:g} GeV")
    axes.set_yscale("log")
    axes.set_ylim(max(0.2, 0.5 * float(counts[shown].min(initial=1.0))), 8.0 * max(float(counts.max()), 1.0))
    axes.set_ylabel("Events / bin")
    axes.legend(loc="upper right")


def _draw_significance(axes: Any, result: BumpHunterResult) -> None:
    z = poisson_significance(result.counts, result.background)
    axes.stairs(z, result.edges, fill=True, color=COLOURS[0], alpha=0.55)
    axes.axhline(0.0, color="black", linewidth=0.8)
    top = max(3.5, 1.15 * float(np.abs(z[np.isfinite(z)]).max(initial=0.0)))
    axes.set_ylim(-top, top)
    axes.set_ylabel("Significance")


def _draw_tomography(axes: Any, result: BumpHunterResult) -> None:
    p = np.maximum(result.interval_p, 1e-300)
    seen = np.flatnonzero(result.interval_statistics > 0)
    ends = np.asarray(result.edges)[result.intervals[seen]]
    lines = [((low, value), (high, value)) for (low, high), value in zip(ends, p[seen], strict=True)]
    # thousands of intervals have p near one half: they are drawn faint
    strength = np.clip(0.25 * result.interval_statistics[seen], 0.03, 0.8)
    colours = [to_rgba(COLOURS[1], alpha) for alpha in strength]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.8, rasterized=True))
    if np.isfinite(result.low):
        axes.plot([result.low, result.high], [max(result.local_p, 1e-300)] * 2, color=_MARK, linewidth=2.5)
    smallest = min(0.5, max(result.local_p, 1e-300)) if np.isfinite(result.low) else 0.5
    deepest = min(max(2.0, float(norm.isf(smallest)) + 1), 37.0)
    for sigma in range(1, int(deepest) + 1):
        axes.axhline(norm.sf(sigma), color="0.7", linewidth=0.7, linestyle=":", zorder=0)
    axes.set_yscale("log")
    axes.set_ylim(norm.sf(deepest), 0.7)
    axes.set_ylabel("p of interval")


def _draw_toys(axes: Any, result: BumpHunterResult) -> None:
    toys = np.asarray(result.toy_statistics)
    axes.set_xlabel(r"$t = -\ln\,p_\mathrm{min}$")
    axes.set_ylabel("Toys")
    if len(toys):
        number = int(np.clip(2 * np.sqrt(len(toys)), 8, 50))
        bins = np.linspace(0.0, 1.05 * max(float(toys.max()), min(result.statistic, 3.0 * toys.max()), 1.0), number)
        axes.hist(
            toys,
            bins=bins,
            color=COLOURS[6],
            alpha=0.7,
            label=f"{result.toys} toys{', refitted' if result.refit else ''}",
        )
        axes.set_yscale("log")
        axes.set_ylim(0.5, 60.0 * max(np.histogram(toys, bins=bins)[0].max(), 1))
    axes.axvline(result.statistic, color=_MARK, linewidth=2.0, label=f"Data, t = {result.statistic:.2f}")
    axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")


def _text(result: BumpHunterResult) -> str:
    if not np.isfinite(result.low):
        return f"no interval has {'fewer' if result.deficits else 'more'}\nevents than expected"
    kind = "deficit" if result.deficits else "excess"
    text = (
        f"most significant {kind}\n{result.low:g} to {result.high:g} GeV\n"
        f"{result.observed:.0f} seen, {result.expected:.1f} expected\n"
        f"local p = {result.local_p:.2g} ({result.local_significance:.1f}$\\sigma$)\n"
    )
    if result.toys:
        text += f"global p = {result.global_p:.3g} $\\pm$ {result.global_p_error:.1g}"
    if result.failed:
        text += f"\n{result.failed} toys without a fit"
    if result.excluded is not None:
        text += f"\nfit without {result.excluded[0]:g} to {result.excluded[1]:g} GeV"
    return text


def draw_bumps(result: BumpHunterResult, *, title: str, x_label: str = "Mass [GeV]") -> Drawn:
    """Spectrum and significance of its bins, p-value of every interval against mass, statistic of the toys.

    Parameters
    ----------
    result : BumpHunterResult
    title : str
        Name of the search.
    x_label : str
        Label of the mass axis.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    with style():
        figure = plt.figure(figsize=(11.5, 7.0))
        grid = figure.add_gridspec(3, 2, height_ratios=[3, 1.2, 1.8], width_ratios=[1.9, 1], hspace=0.09, wspace=0.28)
        main = figure.add_subplot(grid[0, 0])
        pulls, tomography = (figure.add_subplot(grid[row, 0], sharex=main) for row in (1, 2))
        _draw_spectrum(main, result)
        _draw_significance(pulls, result)
        _draw_tomography(tomography, result)
        for axes in (main, pulls, tomography):
            _mark(axes, result)
        tomography.set_xlabel(x_label)
        _scale_mass(tomography, np.asarray(result.edges))
        for axes in (main, pulls):
            axes.tick_params(labelbottom=False)
        if len(result.toy_statistics):
            _draw_toys(figure.add_subplot(grid[:2, 1]), result)
        words = figure.add_subplot(grid[2, 1] if len(result.toy_statistics) else grid[0, 1])
        words.axis("off")
        words.text(0.0, 0.62, _text(result), va="top", fontsize=12, linespacing=1.5, transform=words.transAxes)
        label_experiment(main, title)
    return figure, result.to_dict()


def _scale_mass(axes: Any, edges: Any) -> None:
    """A logarithmic axis for ranges of more than a factor of four, labelled in plain numbers."""
    axes.set_xlim(edges[0], edges[-1])
    if edges[0] > 0 and edges[-1] > 4.0 * edges[0]:
        axes.set_xscale("log")
        steps = np.array([1, 2, 3, 4, 5, 6, 8, 10, 15, 20]) * 10.0 ** np.floor(np.log10(edges[0]))
        axes.set_xticks([step for step in steps if edges[0] <= step <= edges[-1]])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
