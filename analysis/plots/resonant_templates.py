"""Figures of a benchmark about the templates alone: marginals, KS distances, log posteriors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import Drawn, style
from resonaut.analysis.plots.resonant_style import FEATURE_LABELS, line_look, look, method_label, subtitle, values_of

__all__ = ("draw_ks", "draw_marginals", "draw_posterior")

_RATIO = (0.8, 1.2)


def draw_marginals(results: Mapping[str, Any]) -> Drawn:
    """Each feature of each template over that of true background.

    References
    ----------
    arXiv:2307.11157, figure 4.
    """
    found, methods = results["templates"]["marginals"], results["templates"]["methods"]
    columns = 3
    rows = -(-len(found) // columns)
    with style():
        figure = plt.figure(figsize=(5.6 * columns, 5.4 * rows))
        outer = figure.add_gridspec(rows, columns, hspace=0.22, wspace=0.3)
        for place, (name, content) in enumerate(found.items()):
            inner = outer[divmod(place, columns)].subgridspec(2, 1, height_ratios=[3.0, 1.3], hspace=0.06)
            upper, lower = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
            _draw_marginal(upper, lower, content, methods)
            lower.set_xlabel(FEATURE_LABELS.get(name, name))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=min(len(labels), 6), loc="lower left", bbox_to_anchor=(0.12, 0.885))
        figure.text(0.9, 0.895, subtitle(results), fontsize=12, ha="right")
    return figure, {"marginals": found, "methods": methods}


def _draw_marginal(upper: Any, lower: Any, content: Mapping[str, Any], methods: list[str]) -> None:
    (edges,) = values_of(content, "edges")
    truth, error = values_of(content["truth"], "content", "error")
    upper.stairs(truth, edges, color="0.75", fill=True, label="True background")
    with np.errstate(invalid="ignore", divide="ignore"):
        lower.stairs(1 + error / truth, edges, baseline=1 - error / truth, color="0.8", fill=True)
        for name in methods:
            values, _ = values_of(content[name], "content", "error")
            upper.stairs(values, edges, label=method_label(name), baseline=None, linewidth=1.4, **line_look(name))
            lower.stairs(values / truth, edges, baseline=None, linewidth=1.3, **line_look(name))
    for axes in (upper, lower):
        axes.set_xlim(edges[0], edges[-1])
    lower.set_ylim(*_RATIO)
    lower.axhline(1.0, color="black", linewidth=0.7)
    upper.set_ylabel("Fraction")
    upper.set_ylim(0, 1.15 * float(truth.max()))
    upper.tick_params(labelbottom=False)
    lower.set_ylabel("Ratio")


def draw_ks(results: Mapping[str, Any]) -> Drawn:
    """KS distances of all features, with the distance that statistics alone makes and published values (open symbols).

    References
    ----------
    arXiv:2307.11157, table 3.
    """
    found, published = results["templates"]["ks"], results["published"]["ks"]
    names = list(next(iter(found.values()))["distance"])
    with style():
        figure, axes = plt.subplots(figsize=(1.5 + 1.8 * len(names), 5.8))
        width = 0.8 / len(found)
        for place, (method, row) in enumerate(found.items()):
            at = np.arange(len(names)) - 0.4 + width * (place + 0.5)
            appearance = {**look(method), "linestyle": "none"}
            axes.plot(at, [row["distance"][n] for n in names], markersize=8, label=method_label(method), **appearance)
            floor = row["floor"]
            for x in at:
                axes.fill_between(
                    [x - width / 2, x + width / 2], floor["low"], floor["upper"], color="0.85", linewidth=0, zorder=0
                )
            values = dict(zip(published["features"], published["values"].get(method, []), strict=False))
            shown = [(x, values[n]) for x, n in zip(at, names, strict=True) if n in values]
            if shown:
                axes.plot(*zip(*shown, strict=True), markersize=8, markerfacecolor="none", **appearance)
        axes.fill_between([], [], color="0.85", label="Truth against truth (16-95 %)")
        axes.plot([], [], "o", markerfacecolor="none", color="0.3", label="Published (LHC Olympics)")
        axes.set_xticks(range(len(names)), [FEATURE_LABELS.get(n, n).replace(" [GeV]", "") for n in names], fontsize=10)
        axes.minorticks_off()
        axes.set_yscale("log")
        axes.set_ylabel("KS distance to true background")
        axes.legend(ncols=3, fontsize=10, loc="lower left", bbox_to_anchor=(0.0, 1.05))
        axes.set_title(subtitle(results), loc="left", fontsize=12)
    return figure, {"found": found, "published": published}


def draw_posterior(results: Mapping[str, Any]) -> Drawn:
    """Average log posterior of each model for events of each model (columns) and for true background (last column).

    References
    ----------
    arXiv:2307.11157, figure 8 and eq. 3.1.
    """
    found = results["posterior"]
    samples, models = list(found), list(next(iter(found.values())))
    with style():
        figure, axes = plt.subplots(figsize=(2.5 + 1.5 * len(samples), 5.8))
        for place, model in enumerate(models):
            for column, sample in enumerate(samples):
                value = found[sample][model]
                x = column + 0.6 * ((place + 0.5) / len(models) - 0.5)
                error = [[value["median"] - value["low"]], [value["high"] - value["median"]]]
                shape = {"color": look(model)["color"], "marker": "o" if sample == model else "x", "markersize": 8}
                axes.errorbar(x, value["median"], yerr=error, capsize=2, linestyle="none", **shape)
            axes.plot([], [], "s", color=look(model)["color"], label=method_label(model))
        axes.axhline(-np.log(len(models)), color="0.4", linestyle=":", label=r"$-\ln K$: not to be told apart")
        axes.set_xticks(range(len(samples)), ["Truth" if s == "truth" else method_label(s) for s in samples])
        axes.minorticks_off()
        axes.set_xlim(-0.5, len(samples) - 0.5)
        axes.set_xlabel("Samples j")
        axes.set_ylabel(r"Log posterior $\langle$LP(model i | samples j)$\rangle$")
        axes.legend(ncols=3, fontsize=10, loc="lower left", bbox_to_anchor=(0.0, 1.01))
    return figure, found
