"""One method of a benchmark on one figure: its template, its power, and what it does to the mass spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, cut_name, style
from resonaut.analysis.plots.resonant_style import FEATURE_LABELS, line_look, look, method_label, values_of

__all__ = ("draw_card",)

_GROUPS = 12
_REFERENCES = ("idealised", "supervised")


def draw_card(results: Mapping[str, Any], method: str) -> Drawn:
    """Template over truth (maximum SIC against S/B where there is none), SIC curve, and efficiency against the mass.

    The SIC curve is that of the middle one of the injected strengths; the efficiency is that without signal, where it was measured.
    """
    marginals = results["templates"]["marginals"]
    numbers: dict[str, Any] = {}
    with style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(18.0, 5.4), gridspec_kw={"wspace": 0.28})
        if method in results["templates"]["methods"]:
            numbers["template"] = _draw_template(left, {n: (c["truth"], c[method]) for n, c in marginals.items()})
        else:
            numbers["max_sic"] = _draw_scan(left, results, method)
        numbers["sic"] = _draw_sic(middle, results, method)
        numbers["sculpting"] = _draw_efficiency(right, results, method)
        left.set_title(method_label(method), loc="left", fontsize=14, fontweight="bold")
    return figure, numbers


def _draw_template(axes: Any, columns: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Ratio to true background against the fraction of true background below, so that all features share one axis."""
    numbers: dict[str, Any] = {}
    worst = 0.05
    for place, (name, (truth, template)) in enumerate(columns.items()):
        true, found = (_grouped(content, truth) for content in (truth, template))
        quantile = np.cumsum(true[0]) - 0.5 * true[0]
        ratio, sigma = found[0] / true[0], np.hypot(found[1], found[0] / true[0] * true[1]) / true[0]
        label = FEATURE_LABELS.get(name, name).replace(" [GeV]", "")
        apart = quantile + 0.006 * (place - 0.5 * len(columns))  # error bars side by side
        colour = COLOURS[place % len(COLOURS)]
        axes.errorbar(apart, ratio, yerr=sigma, color=colour, marker=".", linewidth=1.0, label=label)
        numbers[name] = {"quantile": quantile.tolist(), "ratio": ratio.tolist(), "error": sigma.tolist()}
        worst = max(worst, float(np.max(np.abs(ratio - 1) + sigma)))
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(1 - 1.1 * worst, 1 + 1.8 * worst))
    axes.set_xlabel("Fraction of true background below")
    axes.set_ylabel("Template / true background")
    axes.legend(fontsize=9, ncols=2, loc="upper left")
    return numbers


def _grouped(content: Mapping[str, Any], truth: Mapping[str, Any]) -> tuple[Any, Any]:
    """Contents and errors in groups of bins that hold an equal part of the truth, as far as the bins allow."""
    values, error = values_of(content, "content", "error")
    (true,) = values_of(truth, "content")
    group = np.minimum(_GROUPS * (np.cumsum(true) - 0.5 * true) / true.sum(), _GROUPS - 1).astype(int)
    present = np.unique(group, return_inverse=True)[1]
    return np.bincount(present, values), np.sqrt(np.bincount(present, error**2))


def _draw_scan(axes: Any, results: Mapping[str, Any], method: str) -> dict[str, Any]:
    numbers = {}
    for name in (method, *_shown(results, method)):
        rows = results["performance"][name]
        band = {key: [row["max_sic_10"][key] for row in rows] for key in ("median", "low", "high")}
        strength = [100 * row["s_over_b"] for row in rows]
        median, low, high = values_of(band, "median", "low", "high")
        known = np.isfinite(median)
        axes.plot(np.array(strength)[known], median[known], markersize=6, label=method_label(name), **look(name))
        axes.fill_between(strength, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
        numbers[name] = {"s_over_b": [row["s_over_b"] for row in rows], **band}
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Injected S/B in the signal region [%]")
    axes.set_ylabel("Maximum SIC")
    axes.legend(fontsize=10, loc="best")
    return numbers


def _draw_sic(axes: Any, results: Mapping[str, Any], method: str) -> dict[str, Any]:
    rows = results["performance"][method]
    done = [number for number, row in enumerate(rows) if row["runs"] and row["s_over_b"] > 0]
    if not done:
        axes.set_axis_off()
        return {}
    chosen = done[len(done) // 2]
    numbers = {"s_over_b": rows[chosen]["s_over_b"]}
    for name in (method, *_shown(results, method)):
        content = results["performance"][name][chosen]["sic"]
        es, median, low, high = values_of(content, "es", "median", "low", "high")
        axes.plot(es, median, label=method_label(name), **line_look(name))
        axes.fill_between(es, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
        numbers[name] = content
    grid = np.linspace(0.0, 1.0, 200)
    axes.plot(grid, np.sqrt(grid), color="0.5", linestyle=(0, (1, 3)), label="Random")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(r"Signal efficiency $\epsilon_S$")
    axes.set_ylabel(r"SIC = $\epsilon_S / \sqrt{\epsilon_B}$")
    axes.set_title(f"S/B = {100 * rows[chosen]['s_over_b']:.3g} %", loc="left", fontsize=12)
    axes.legend(fontsize=10, loc="upper right")
    return numbers


def _draw_efficiency(axes: Any, results: Mapping[str, Any], method: str) -> dict[str, Any]:
    measured = [key for key, found in results["sculpting"].items() if method in found]
    if not measured:
        axes.set_axis_off()
        return {}
    key = min(measured, key=float)
    window, found = results["protocol"]["window"], results["sculpting"][key][method]
    for colour, (cut, content) in zip(COLOURS[1:], found.items(), strict=False):
        edges, efficiency, error = values_of(content, "edges", "efficiency", "error")
        centres = np.sqrt(edges[1:] * edges[:-1])
        label = f"{cut_name(float(cut))} cut, $\\chi^2$/ndf of flat {content['chi2']:.0f}/{content['ndf']}"
        axes.errorbar(centres, efficiency / float(cut), yerr=error / float(cut), color=colour, marker=".", label=label)
    axes.axvspan(window["low"], window["high"], color="0.92", zorder=0)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_ylim(0, 3)
    axes.set_xlabel(r"$m_{JJ}$ [GeV]")
    axes.set_ylabel("Background efficiency / that of the signal region")
    strength = "no signal" if float(key) == 0 else f"S/B = {100 * float(key):.3g} %"
    axes.set_title(f"{strength}, cuts set in the signal region", loc="left", fontsize=12)
    axes.legend(fontsize=10, loc="upper left")
    return {"s_over_b": float(key), **found}


def _shown(results: Mapping[str, Any], method: str) -> list[str]:
    return [name for name in _REFERENCES if name in results["performance"] and name != method]
