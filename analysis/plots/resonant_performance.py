"""Performance figures of a benchmark: SIC against signal efficiency, and its summaries against S/B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import Drawn, style
from resonaut.analysis.plots.resonant_style import line_look, look, method_label, subtitle, values_of

__all__ = ("draw_auc_spread", "draw_ratios", "draw_sic_bands", "draw_strength_scan")

_PANELS = {"max_sic_10": "Maximum SIC", "sic_at_rejection": "SIC at background rejection 1000"}


def draw_sic_bands(results: Mapping[str, Any], row: int) -> Drawn:
    """SIC against signal efficiency at one S/B (row of the list), medians and 68 % bands.

    References
    ----------
    arXiv:2307.11157, figures 2 and 14a.
    """
    found = {name: rows[row] for name, rows in results["performance"].items()}
    with style():
        figure, axes = plt.subplots(figsize=(9.0, 6.5))
        top = 1.0
        for name, content in found.items():
            es, median, low, high = values_of(content["sic"], "es", "median", "low", "high")
            if not np.isfinite(median).any():
                continue
            axes.plot(es, median, label=method_label(name), **line_look(name))
            if content["runs"] > 1:
                axes.fill_between(es, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
            top = max(top, float(np.nanmax(median)))
        grid = np.linspace(0.0, 1.0, 200)
        axes.plot(grid, np.sqrt(grid), color="0.5", linestyle=(0, (1, 3)), label="Random")
        axes.set(xlim=(0, 1), ylim=(0, 1.25 * top))
        axes.set_xlabel(r"Signal efficiency $\epsilon_S$")
        axes.set_ylabel(r"SIC = $\epsilon_S / \sqrt{\epsilon_B}$")
        axes.legend(ncols=3, loc="upper right", fontsize=10)
        injected = max([content["injected"] for name, content in found.items() if name != "supervised"], default=0)
        axes.set_title(subtitle(results, results["protocol"]["s_over_b"][row], injected), loc="left", fontsize=12)
    return figure, {name: content["sic"] for name, content in found.items()}


def draw_strength_scan(results: Mapping[str, Any]) -> Drawn:
    """Maximum SIC, and SIC at rejection 1000, against S/B; published medians (LHC Olympics) as dashed lines.

    References
    ----------
    arXiv:2307.11157, figure 13.
    """
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(14.0, 6.0))
        for (key, label), axes in zip(_PANELS.items(), panels, strict=True):
            for name, rows in results["performance"].items():
                _draw_scan(axes, name, rows, key)
            axes.set_xlabel("Injected S/B in the signal region [%]")
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        published = results["published"]["max_sic"]
        for name, content in published["values"].items():
            if name in results["performance"]:
                strength = 100 * published["s_over_b_of_one"] * np.array(content["n_sig"])
                panels[0].plot(strength, content["max_sic"], color=look(name)["color"], linestyle="--", linewidth=1.0)
        panels[0].plot([], [], color="0.3", linestyle="--", linewidth=1.0, label="published")
        found = [row["max_sic_10"]["median"] for rows in results["performance"].values() for row in rows]
        panels[0].set_ylim(top=1.1 * max([value for value in found if value is not None], default=1.0))
        panels[0].set_xlim(right=1.03 * 100 * max(results["protocol"]["s_over_b"]))
        handles, labels = panels[0].get_legend_handles_labels()
        panels[1].legend(handles, labels, fontsize=10, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        panels[0].set_title(subtitle(results), loc="left", fontsize=12)
    numbers = {
        name: [{k: row[k] for k in ("s_over_b", *_PANELS)} for row in rows]
        for name, rows in results["performance"].items()
    }
    return figure, {"found": numbers, "published": published}


def _draw_scan(axes: Any, name: str, rows: list[dict[str, Any]], key: str) -> None:
    strength = 100 * np.array([row["s_over_b"] for row in rows])
    median, low, high = (np.array([row[key][k] for row in rows], dtype=float) for k in ("median", "low", "high"))
    if not np.isfinite(median).any():
        return
    axes.plot(strength, median, markersize=6, label=method_label(name), **look(name))
    if max(row["runs"] for row in rows) > 1:
        axes.fill_between(strength, low, high, color=look(name)["color"], alpha=0.12, linewidth=0)


def draw_ratios(results: Mapping[str, Any]) -> Drawn:
    """Maximum SIC over the idealised detector's of the same repetition, against S/B, with published ratios."""
    key = "ratio_to_idealised_shifted" if results["protocol"]["shift"] else "ratio_to_idealised"
    published = results["published"][key]
    with style():
        figure, axes = plt.subplots(figsize=(9.0, 6.5))
        for name, rows in results["performance"].items():
            used = [row for row in rows if row["s_over_b"] > 0]
            if used and name not in {"supervised", "idealised"}:
                _draw_scan(axes, name, used, "ratio")
        axes.axhline(1.0, color="black", linewidth=1.0)
        left, right = axes.get_xlim()
        for name, value in published["values"].items():
            if name in results["performance"]:
                axes.axhline(value, color=look(name)["color"], linestyle="--", linewidth=1.0)
                axes.annotate(
                    f"published {method_label(name)}", (1.0, value), xycoords=("axes fraction", "data"),
                    ha="right", va="bottom", fontsize=9, color=look(name)["color"],
                )  # fmt: skip
        axes.set_xlim(left, right + 0.12 * (right - left))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Injected S/B in the signal region [%]")
        axes.set_ylabel("Maximum SIC / that of the idealised detector")
        axes.legend(fontsize=10, ncols=2, loc="upper left")
        axes.set_ylim(top=1.35 * axes.get_ylim()[1])
        axes.set_title(subtitle(results), loc="left", fontsize=12)
    numbers = {name: [row["ratio"] for row in rows] for name, rows in results["performance"].items()}
    return figure, {"found": numbers, "published": published}


def draw_auc_spread(results: Mapping[str, Any]) -> Drawn:
    """AUC without injected signal: signal against background, and data against template, beside the random classifier.

    The idealised detector tells truth from truth where there is no signal: it is the random classifier.

    References
    ----------
    arXiv:2307.11157, figures 5 and 18.
    """
    row = list(results["protocol"]["s_over_b"]).index(0.0)
    names = [name for name in results["performance"] if name != "supervised"]
    labels = {"auc": "AUC, signal against background", "template_auc": "AUC, data against template"}
    with style():
        figure, panels = plt.subplots(1, 2, figsize=(13.0, 1.8 + 0.45 * len(names)), sharey=True)
        for (key, label), axes in zip(labels.items(), panels, strict=True):
            if "idealised" in names:
                random = results["performance"]["idealised"][row][key]
                axes.axvspan(random["low"], random["high"], color="0.88", zorder=0)
                axes.axvline(random["median"], color="black", linestyle="--", linewidth=1.2)
            for place, name in enumerate(names):
                value = results["performance"][name][row][key]
                if value["median"] is not None:
                    error = [[value["median"] - value["low"]], [value["high"] - value["median"]]]
                    axes.errorbar(value["median"], place, xerr=error, markersize=7, capsize=3, **look(name))
            axes.set_xlabel(label)
            axes.set_yticks(
                range(len(names)), ["Random (truth)" if n == "idealised" else method_label(n) for n in names]
            )
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.minorticks_off()
        panels[0].set_title(subtitle(results, 0.0, 0), loc="left", fontsize=12)
    return figure, {name: {key: results["performance"][name][row][key] for key in labels} for name in names}
