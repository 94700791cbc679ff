"""A spectrum with its background fit, or with the fits of several functions, and their pulls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.errors import InputError
from resonaut.stats import FitResult, poisson_interval

__all__ = ("draw_fit",)

PULL_RANGE = 3.6  # beyond it a pull is an arrow


def _label(fit: FitResult) -> str:
    if not fit.ok:
        return f"{fit.function}: {fit.status}"
    p = f", $p$ = {fit.p_value:.2g}" if np.isfinite(fit.p_value) else ""
    limit = ", at limit" if fit.status == "at limit" else ""
    if fit.ndf < 1:
        return f"{fit.function}: no degrees of freedom{limit}"
    return f"{fit.function}: $\\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}{p}{limit}"


def _poisson_bars(fit: FitResult) -> Any:
    """Lengths below and above each point; those of effective counts where the spectrum is weighted."""
    scale = np.ones_like(fit.counts) if fit.scale is None else fit.scale
    low, high = poisson_interval(np.nan_to_num(fit.counts / scale))  # blinded bins are NaN, and not drawn
    return np.stack([fit.counts - low * scale, high * scale - fit.counts]).clip(min=0.0)


def _draw_points(axes: Any, fit: FitResult) -> None:
    centres = np.sqrt(fit.edges[1:] * np.maximum(fit.edges[:-1], 1e-3))
    bars = _poisson_bars(fit)
    shown = fit.counts > 0
    looks = (
        (fit.mask, "black", "black", "Data"),
        (fit.blinded, "black", "white", "Data, not fitted"),
        (~(fit.mask | fit.blinded), "0.65", "0.65", None),
    )
    for bins, colour, face, label in looks:
        used = bins & shown
        if used.any():
            axes.errorbar(
                centres[used], fit.counts[used], yerr=bars[:, used], fmt="o", markersize=4, color=colour,
                markerfacecolor=face, elinewidth=1, label=label, zorder=3,
            )  # fmt: skip


def _draw_expectation(axes: Any, fit: FitResult, colour: str, *, band: bool) -> None:
    used = fit.mask | fit.blinded
    if not fit.ok:
        axes.plot([], [], color=colour, label=_label(fit))
        return
    inside = np.where(used, 1.0, np.nan)
    if band:
        for (low, high), alpha in zip(fit.band((2.0, 1.0)).values(), (0.18, 0.3), strict=True):
            axes.stairs(high * inside, fit.edges, baseline=low * inside, fill=True, color=colour, alpha=alpha)
    axes.stairs(fit.expected * inside, fit.edges, baseline=None, color=colour, linewidth=1.4, label=_label(fit))


def _draw_pulls(axes: Any, fit: FitResult, colour: str) -> None:
    used = fit.mask | fit.blinded
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_ylim(-PULL_RANGE, PULL_RANGE)
    axes.set_yticks([-2, 0, 2])
    if not fit.ok:
        return
    scale = 1.0 if fit.scale is None else fit.scale
    relative = fit.expected_error / np.sqrt(np.maximum(fit.expected * scale, 1e-300))
    band = np.where(used, np.minimum(relative, PULL_RANGE), 0.0)
    axes.stairs(band, fit.edges, baseline=-band, fill=True, color="0.6", alpha=0.4)
    pulls = fit.pulls()
    axes.stairs(np.where(used & np.isfinite(pulls), pulls, 0.0), fit.edges, fill=True, color=colour, alpha=0.6)
    centres = 0.5 * (fit.edges[1:] + fit.edges[:-1])
    for far, marker, place in ((pulls > PULL_RANGE, "^", 0.9), (pulls < -PULL_RANGE, "v", -0.9)):
        chosen = far & used
        axes.plot(centres[chosen], np.full(chosen.sum(), place * PULL_RANGE), marker, color="black", markersize=5)


def draw_fit(
    result: FitResult | Sequence[FitResult],
    *,
    title: str = "",
    x_label: str = "Mass [GeV]",
    y_label: str = "Events / bin",
) -> Drawn:
    """Spectrum, fit with its band, and pulls.

    Parameters
    ----------
    result
        One fit, or fits of several functions to one spectrum; each gets a row of pulls, the first one its band. Pulls are
        signed Poisson significances; an arrow stands for one outside the frame. The grey band around zero is the error of
        the fit in units of the statistical error of a bin. Bins of a signal region that was left out of the fit
        have open points; none where its counts are NaN, those of a blinded one.
    title
        Above the frame.
    x_label, y_label

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it: ``fits`` and ``pulls``.

    Raises
    ------
    InputError
        If there is no fit, or fits of different spectra.
    """
    fits = [result] if isinstance(result, FitResult) else list(result)
    if not fits or any(not np.array_equal(fit.counts, fits[0].counts, equal_nan=True) for fit in fits):
        msg = f"draw_fit got {len(fits)} fits, expected at least one and all of the same spectrum"
        raise InputError(msg)
    first = fits[0]
    with style():
        rows = len(fits)
        figure, axes = plt.subplots(
            1 + rows, 1, sharex=True, figsize=(7.5, 5.2 + 1.0 * rows),
            gridspec_kw={"height_ratios": [4.2] + [1.0] * rows, "hspace": 0.08},
        )  # fmt: skip
        _draw_points(axes[0], first)
        for k, fit in enumerate(fits):
            colour = COLOURS[1 + k % (len(COLOURS) - 1)]
            _draw_expectation(axes[0], fit, colour, band=k == 0)
            _draw_pulls(axes[1 + k], fit, colour)
            if rows > 1:
                place = {"transform": axes[1 + k].transAxes, "ha": "left", "va": "center", "rotation": 270}
                axes[1 + k].text(1.01, 0.5, fit.function, fontsize=10, **place)
        if first.blinded.any():
            low, high = first.edges[:-1][first.blinded].min(), first.edges[1:][first.blinded].max()
            hidden = "Blinded" if np.isnan(first.counts).any() else None
            for row in axes:
                row.axvspan(low, high, color="0.9", zorder=0, label=hidden)
        axes[0].set_yscale("log" if first.counts.any() else "linear")
        positive = np.concatenate([first.counts[first.counts > 0], [1.0]])
        axes[0].set_ylim(0.3 * min(1.0, positive.min()), 8.0 * positive.max())
        if first.edges[-1] > 4.0 * max(first.edges[0], 1e-9):
            axes[0].set_xscale("log")
            _plain_ticks(axes[-1], first)
        axes[0].set_xlim(first.edges[0], first.edges[-1])
        axes[0].set_ylabel(y_label)
        axes[0].legend(loc="upper right")
        axes[-1].set_xlabel(x_label)
        axes[1 + rows // 2 if rows > 1 else 1].set_ylabel("Pull", loc="center")
        label_experiment(axes[0], title)
    numbers = {"fits": [fit.to_dict() for fit in fits], "pulls": [fit.pulls().tolist() for fit in fits]}
    return figure, numbers


def _plain_ticks(axes: Any, fit: FitResult) -> None:
    """Masses at round numbers rather than powers of ten."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

    steps = np.array([1, 1.5, 2, 3, 4, 5, 6, 8])
    values = np.concatenate([steps * 10.0**k for k in range(6)])
    inside = values[(values >= fit.edges[0]) & (values <= fit.edges[-1])]
    axes.xaxis.set_major_locator(FixedLocator([float(v) for v in inside]))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
