"""Spectra with a background from sliding windows."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import FitResult, SlidingFit, SlidingScan, SlidingToys, poisson_significance

__all__ = ("draw_sliding", "draw_sliding_scan")


def _window_panel(axes: Any, fit: SlidingFit) -> None:
    """Extent of the window of each bin, and the quality of its fit."""
    centres = np.sqrt(fit.edges[1:] * fit.edges[:-1])
    bounds = np.array([fit.stitching().bounds(k, int(h)) for k, h in enumerate(fit.half_width)])
    low, high = fit.edges[bounds[:, 0]], fit.edges[bounds[:, 1]]
    axes.fill_between(centres, low, high, color=COLOURS[6], alpha=0.35, linewidth=0)
    axes.plot(centres, centres, color=COLOURS[1], linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(fit.edges[0], fit.edges[-1])
    _plain_ticks(axes.yaxis, fit, (1000, 2000, 4000, 8000))
    axes.set_ylabel("Window")


def _plain_ticks(axis: Any, fit: SlidingFit, wanted: tuple[int, ...]) -> None:
    """Masses in figures, not in powers of ten."""
    ticks = [tick for tick in wanted if fit.edges[0] <= tick <= fit.edges[-1]]
    axis.set_ticks(ticks, [str(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def _difference_panel(axes: Any, fit: SlidingFit, whole: FitResult | None) -> None:
    """Error of the stitched background, and the other fit, in units of the statistical error of a bin."""
    unit = np.sqrt(np.maximum(fit.expected, 1e-9))
    centres = np.sqrt(fit.edges[1:] * fit.edges[:-1])
    band = fit.expected_error / unit
    axes.fill_between(centres, -band, band, color=COLOURS[1], alpha=0.25, linewidth=0)
    axes.axhline(0, color=COLOURS[1], linewidth=1.2)
    top = 2.0 * float(np.max(band))
    if whole is not None:
        away = (whole.expected - fit.expected) / unit
        axes.plot(centres, away, color=COLOURS[2], linewidth=1.4, linestyle="--")
        top = max(top, 1.2 * float(np.abs(away).max()))
    axes.set_ylim(-min(top, 3.0), min(top, 3.0))
    axes.set_ylabel("Fits")


def draw_sliding(
    fit: SlidingFit,
    *,
    whole: FitResult | None = None,
    toys: SlidingToys | None = None,
    title: str = "",
    x_label: str = "Mass [GeV]",
) -> Drawn:
    """Spectrum, stitched background, pulls, the windows, and the difference to a global fit.

    Parameters
    ----------
    fit
        The sliding-window fit.
    whole
        One function over the same bins, to compare with.
    toys
        Toys of the fit, for its p-value.
    title
        Name of the spectrum.
    x_label
        Label of the mass axis.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    edges, centres = fit.edges, np.sqrt(fit.edges[1:] * fit.edges[:-1])
    with style():
        figure, rows = plt.subplots(
            4, 1, sharex=True, figsize=(7.5, 8.2), gridspec_kw={"height_ratios": [4, 1.3, 1.3, 1.5], "hspace": 0.08}
        )
        main = rows[0]
        shown = fit.counts > 0
        main.errorbar(
            centres[shown], fit.counts[shown], yerr=np.sqrt(fit.counts[shown]), fmt="o", markersize=3, color="black",
            elinewidth=1, label="Data",
        )  # fmt: skip
        quality = f"deviance {fit.deviance:.1f}" + (f", p = {toys.p_value:.2g}" if toys else "")
        main.stairs(
            fit.expected, edges, baseline=None, color=COLOURS[1], label=f"Sliding windows, {fit.function}: {quality}"
        )
        if whole is not None:
            label = f"One fit, {whole.function}: deviance {whole.deviance:.1f}"
            main.stairs(whole.expected, edges, baseline=None, color=COLOURS[2], linestyle="--", label=label)
        main.set_yscale("log")
        main.set_xscale("log")
        main.set_ylabel("Events / bin")
        main.legend(loc="upper right")
        label_experiment(main, title)
        rows[1].stairs(fit.pulls(), edges, fill=True, color=COLOURS[1], alpha=0.6)
        if whole is not None:
            rows[1].stairs(poisson_significance(whole.counts, whole.expected), edges, baseline=None, color=COLOURS[2])
        rows[1].set_ylim(-3.9, 3.9)
        rows[1].axhline(0, color="black", linewidth=0.8)
        rows[1].set_ylabel("Pull")
        _difference_panel(rows[2], fit, whole)
        _window_panel(rows[3], fit)
        _plain_ticks(rows[3].xaxis, fit, (500, 700, 1000, 1500, 2000, 3000, 4000, 6000, 8000))
        rows[3].set_xlim(edges[0], edges[-1])
        rows[3].set_xlabel(x_label)
        figure.align_ylabels(rows)
    numbers = {
        "fit": fit.to_dict(),
        "whole": None if whole is None else whole.to_dict(),
        "toys": None if toys is None else toys.to_dict(),
    }
    return figure, numbers


def draw_sliding_scan(scan: SlidingScan, *, title: str = "", x_label: str = "Mass [GeV]") -> Drawn:
    """Fitted signals and their significance against mass.

    Parameters
    ----------
    scan
        Signals in sliding windows.
    title
        Name of the spectrum.
    x_label
        Label of the mass axis.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    with style():
        figure, (top, bottom) = plt.subplots(
            2, 1, sharex=True, figsize=(7.0, 5.5), gridspec_kw={"height_ratios": [2, 1.3], "hspace": 0.08}
        )
        ratio = scan.strength / scan.error
        top.errorbar(scan.mass, ratio, yerr=1.0, fmt="o", markersize=4, color=COLOURS[1], elinewidth=1)
        top.axhline(0, color="black", linewidth=0.8)
        top.set_ylabel(r"Signal / $\sigma$")
        label_experiment(top, title)
        bottom.plot(scan.mass, np.minimum(scan.p_value, 1.0), color=COLOURS[1])
        bottom.set_yscale("log")
        bottom.set_ylabel("Local p")
        bottom.set_xlabel(x_label)
        if np.isfinite(scan.global_p):
            top.text(0.97, 0.06, f"global p = {scan.global_p:.2g}", transform=top.transAxes, ha="right")
    return figure, {"scan": scan.to_dict()}
