"""The mass spectrum after each cut, with its background fit, uncertainty band and pulls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, cut_name, label_experiment, style
from resonaut.stats import ExcessResult, Window

__all__ = ("draw_spectra",)


def _errors(counts: Any) -> Any:
    """Central 68 % Poisson intervals (Garwood), as distances below and above."""
    from scipy.stats import chi2

    low = np.where(counts > 0, chi2.ppf(0.159, 2 * np.maximum(counts, 1e-9)) / 2, 0.0)
    high = chi2.ppf(0.841, 2 * (counts + 1)) / 2
    return np.stack([counts - low, high - counts])


def _draw_spectrum(axes: Any, excess: ExcessResult, colour: str, label: str) -> None:
    fit = excess.fit
    edges, counts = np.asarray(fit.edges), np.asarray(fit.counts)
    centres = np.sqrt(edges[1:] * edges[:-1])
    expected, error = np.asarray(fit.expected), np.asarray(fit.expected_error)
    axes.stairs(
        expected + error, edges, baseline=np.maximum(expected - error, 1e-9), fill=True, color=colour, alpha=0.25
    )
    axes.stairs(expected, edges, baseline=None, color=colour, linewidth=1.4)
    inside = ~np.asarray(fit.mask)
    shown = counts > 0
    # Blinded bins took no part in the fit: open symbols.
    for mask, face in ((shown & ~inside, colour), (shown & inside, "white")):
        axes.errorbar(
            centres[mask], counts[mask], yerr=_errors(counts)[:, mask], fmt="o", markersize=4.5, color=colour,
            markerfacecolor=face, elinewidth=1, label=label if face == colour else None, zorder=3,
        )  # fmt: skip


def _significance(excess: ExcessResult) -> str:
    """In the legend; a fit without an observation is that of a blinded search."""
    if np.isfinite(excess.local_significance):
        return f"{excess.local_significance:+.1f}$\\sigma$"
    return "blinded" if excess.fit.ok and np.isnan(excess.observed) else "no fit"


def _draw_pulls(axes: Any, excess: ExcessResult, colour: str) -> None:
    fit = excess.fit
    edges, counts, expected = np.asarray(fit.edges), np.asarray(fit.counts), np.asarray(fit.expected)
    spread = np.sqrt(np.maximum(expected, 1e-9) + np.where(fit.mask, 0.0, np.asarray(fit.expected_error) ** 2))
    axes.stairs(np.nan_to_num((counts - expected) / spread), edges, fill=True, color=colour, alpha=0.6)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylim(-4.5, 4.5)
    axes.set_yticks([-3, 0, 3])


def draw_spectra(
    window: Window, excesses: Mapping[float, ExcessResult], *, title: str, method: str, x_label: str = "Mass [GeV]"
) -> Drawn:
    """Spectra of one method in one window, all cuts, with a row of pulls for each.

    Parameters
    ----------
    window
        The signal region, shaded.
    excesses
        Cut -> result of the fit with the signal region blinded.
    title, method
        Name of the search and of the method.
    x_label
        Label of the mass axis.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    cuts = sorted(excesses, reverse=True)
    with style():
        heights = [5.0] + [0.9] * len(cuts)
        figure, rows = plt.subplots(
            1 + len(cuts), 1, sharex=True, figsize=(7.5, 5.5 + 0.9 * len(cuts)),
            gridspec_kw={"height_ratios": heights, "hspace": 0.08},
        )  # fmt: skip
        main = rows[0]
        for cut, colour, row in zip(cuts, COLOURS, rows[1:], strict=False):
            excess = excesses[cut]
            z = _significance(excess)
            _draw_spectrum(main, excess, colour, f"{cut_name(cut)}: {z}")
            _draw_pulls(row, excess, colour)
            row.text(0.975, 0.74, cut_name(cut), transform=row.transAxes, ha="right", fontsize=10, color=colour)
        for row in rows:
            row.axvspan(window.low, window.high, color="0.9", zorder=0)
        top = max(float(np.max(np.nan_to_num([e.fit.counts, e.fit.expected]))) for e in excesses.values())
        main.set_yscale("log")
        main.set_ylim(0.3, max(top, 1.0) * 60)
        main.set_ylabel("Events / bin")
        main.legend(title=f"{method}, {window}", ncols=2, loc="upper right", title_fontsize=11)
        label_experiment(main, title)
        rows[len(rows) // 2 + 1 if len(rows) > 2 else -1].set_ylabel("Pull")
        rows[-1].set_xlabel(x_label)
    numbers = {"window": window.to_dict(), "method": method, "cuts": {str(c): excesses[c].to_dict() for c in cuts}}
    return figure, numbers
