"""Figures of what a method learned: efficiency in a plane, features before and after, importance, map of the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.analysis.plots.feature_labels import feature_label

if TYPE_CHECKING:
    from resonaut.analysis.interpretation import Importance, Plane, ScoreMap, Spread

__all__ = ("draw_efficiency_planes", "draw_importance", "draw_score_map", "draw_spreads")

_MEASURES = (
    ("excess", "Excess in SR over SB\nthat goes with it [%]", 100.0),
    ("lost", "Selected events\nthat are lost [%]", 100.0),
    ("order", "Change of order\n$1-\\rho$ (Spearman)", 1.0),
)


def draw_efficiency_planes(planes: Mapping[str, Plane], *, title: str, subtitle: str) -> Drawn:
    """Efficiency of the selection in bins of two features, side by side for each region; bins without events stay white.

    Parameters
    ----------
    planes
        Name of the region -> its plane, all with the same edges.
    title, subtitle
        Name of the search; what is drawn.
    """
    values = np.concatenate([plane.efficiency.ravel() for plane in planes.values()])
    above = values[np.isfinite(values) & (values > 0)]
    lowest = max(float(above.min()), 1e-5) if len(above) else 0.0
    norm = LogNorm(lowest, float(above.max())) if len(above) and above.max() > lowest else None
    with style():
        figure, row = plt.subplots(
            1, len(planes), figsize=(1.2 + 5.2 * len(planes), 5.4), sharey=True, squeeze=False, layout="constrained"
        )
        drawn: Any = None
        for axes, (region, plane) in zip(row[0], planes.items(), strict=True):
            axes.set_facecolor("white")
            shown = np.where(plane.total > 0, np.maximum(plane.efficiency, lowest), np.nan)
            drawn = axes.pcolormesh(*plane.edges, shown.T, norm=norm, cmap="cividis", rasterized=True)
            axes.set_xlabel(feature_label(plane.names[0]))
            axes.text(0.97, 0.95, region, transform=axes.transAxes, ha="right", va="top", fontsize=12, bbox=_BOX)
        row[0][0].set_ylabel(feature_label(next(iter(planes.values())).names[1]))
        figure.colorbar(drawn, ax=list(row[0]), label="Efficiency of the selection", pad=0.01)
        _two_lines(row[0], title, subtitle)
    return figure, {region: plane.to_dict() for region, plane in planes.items()}


_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2.5}


def _two_lines(row: Sequence[Any], title: str, subtitle: str) -> None:
    """Title above the first frame, what is drawn above the last one; one below the other where there is a single frame."""
    if len(row) == 1:
        row[0].text(
            0.0, 1.07, title, transform=row[0].transAxes, ha="left", va="bottom", fontsize=13, fontweight="bold"
        )
        row[0].text(0.0, 1.01, subtitle, transform=row[0].transAxes, ha="left", va="bottom", fontsize=11)
        return
    label_experiment(row[0], title)
    row[-1].text(1.0, 1.01, subtitle, transform=row[-1].transAxes, ha="right", va="bottom", fontsize=11)


def draw_spreads(spreads: Sequence[Spread], *, title: str, subtitle: str) -> Drawn:
    """Distribution of each feature, to unit area: signal region and sidebands, all events and the selected ones."""
    columns = min(3, len(spreads))
    rows = -(-len(spreads) // columns)
    with style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(0.6 + 4.2 * columns, 0.9 + 3.4 * rows), squeeze=False, layout="constrained"
        )
        for axes, spread in zip(grid.flat, spreads, strict=False):
            _draw_spread(axes, spread)
        for axes in grid.flat[len(spreads) :]:
            axes.set_visible(False)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 if columns < 3 else 4, fontsize=11)
        figure.suptitle(f"{title}\n{subtitle}", fontsize=12)
    return figure, {spread.name: spread.to_dict() for spread in spreads}


def _draw_spread(axes: Any, spread: Spread) -> None:
    looks: dict[str, dict[str, Any]] = {
        "signal region": {"fill": True, "color": "0.82"},
        "sidebands": {"color": "0.35", "linestyle": "--", "linewidth": 1.2},
        "sidebands, selected": {"color": COLOURS[1], "linewidth": 1.6},
    }
    width = np.diff(spread.edges)
    for name, look in looks.items():
        counts = spread.counts[name]
        if counts.sum():
            axes.stairs(counts / counts.sum() / width, spread.edges, label=name, **look)
    counts = spread.counts["signal region, selected"]
    if total := counts.sum():
        centres = (spread.edges[1:] + spread.edges[:-1]) / 2
        some = counts > 0
        scale = 1 / (total * width)
        axes.errorbar(
            centres[some], (counts * scale)[some], yerr=(np.sqrt(counts) * scale)[some], fmt="o", markersize=3.5,
            color=COLOURS[2], elinewidth=1, label="signal region, selected", zorder=4,
        )  # fmt: skip
    axes.set_xlabel(feature_label(spread.name))
    axes.set_yticks([])
    heights = [counts.max() / counts.sum() for counts in spread.counts.values() if counts.sum()]
    axes.set_ylim(0, 1.25 * max(heights, default=1.0) / float(width[0]))
    if spread.distance is not None:
        axes.text(
            0.97,
            0.95,
            f"KS {spread.distance:.2f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=10,
            bbox=_BOX,
        )


def draw_importance(rows: Sequence[Importance], *, title: str, subtitle: str) -> Drawn:
    """What is lost when a feature is exchanged between events, three measures side by side, the most important on top."""
    places = np.arange(len(rows))[::-1]
    with style():
        figure, row = plt.subplots(
            1, 3, figsize=(10.5, 2.5 + 0.42 * len(rows)), sharey=True, squeeze=False, layout="constrained"
        )
        for axes, (name, label, scale), colour in zip(
            row[0], _MEASURES, (COLOURS[2], COLOURS[1], COLOURS[3]), strict=True
        ):
            values = np.array([getattr(each, name) for each in rows]) * scale
            errors = np.array([getattr(each, f"{name}_error") for each in rows]) * scale
            axes.barh(places, np.nan_to_num(values), height=0.62, color=colour, alpha=0.75)
            axes.errorbar(values, places, xerr=np.nan_to_num(errors), fmt="none", color="black", elinewidth=1.2)
            axes.axvline(0, color="black", linewidth=0.8)
            axes.set_xlabel(label, fontsize=11, loc="center")
            axes.tick_params(axis="y", which="both", length=0)
            axes.tick_params(axis="x", labelsize=10)
            axes.locator_params(axis="x", nbins=4)
            axes.set_ylim(-0.7, len(rows) - 0.3)
        row[0][0].set_yticks(places, [feature_label(each.feature).removesuffix(" [GeV]") for each in rows])
        _two_lines(row[0], title, subtitle)
    return figure, {"importance": [each.to_dict() for each in rows]}


def draw_score_map(mapped: ScoreMap, *, title: str, subtitle: str) -> Drawn:
    """Mean rank of the score in the plane of two features: dark is ordinary, bright is anomalous."""
    with style():
        figure, axes = plt.subplots(figsize=(6.8, 5.6), layout="constrained")
        drawn = axes.pcolormesh(*mapped.edges, mapped.rank.T, vmin=0, vmax=1, cmap="cividis", rasterized=True)
        figure.colorbar(drawn, ax=axes, label="Mean rank of the score in its fold", pad=0.01)
        axes.set_xlabel(feature_label(mapped.names[0]))
        axes.set_ylabel(feature_label(mapped.names[1]))
        _two_lines([axes], title, subtitle)
    return figure, mapped.to_dict()
