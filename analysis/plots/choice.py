"""Choice and validation of the background function: F-test, spurious signal, signal injection, envelope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import Envelope, FTestToys, SignalInjection, SpuriousRanking, SpuriousSignal

__all__ = ("draw_envelope", "draw_f_test", "draw_linearity", "draw_spurious")

MARKERS = "osD^vP"


def _colour(index: int) -> str:
    return COLOURS[1 + index % (len(COLOURS) - 1)]


def draw_f_test(test: FTestToys, *, title: str = "") -> Drawn:
    """F of the toys, its asymptotic distribution, and the data.

    Parameters
    ----------
    test
        F-test with toys.
    title
        Name of the spectrum.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    with style():
        figure, axes = plt.subplots(figsize=(6.5, 4.6))
        top = max(10.0, 1.2 * test.f, float(test.statistics.max()))
        edges = np.linspace(0.0, top, 41)
        values = np.histogram(test.statistics, edges)[0] / max(len(test.statistics), 1) / np.diff(edges)
        axes.stairs(values, edges, fill=True, color=COLOURS[6], alpha=0.6, label=f"{test.toys} toys of {test.small}")
        x = np.linspace(0.05, top, 400)
        axes.plot(x, stats.f.pdf(x, test.added, test.ndf), color=COLOURS[1], label=f"F({test.added}, {test.ndf})")
        axes.axvline(test.f, color=COLOURS[2], label=f"Data: p = {test.p_value:.2g}")
        axes.set_yscale("log")
        axes.set_ylim(0.1 / max(test.toys, 1), 5)
        axes.set_xlabel(f"F of {test.large} against {test.small}")
        axes.set_ylabel("Density")
        axes.legend()
        label_experiment(axes, title)
    return figure, {"test": test.to_dict()}


def draw_spurious(
    result: SpuriousRanking | Sequence[SpuriousSignal],
    *,
    max_ratio: float | None = None,
    most: int = 8,
    title: str = "",
) -> Drawn:
    """Spurious signal over its statistical error against mass, one line for each function.

    Parameters
    ----------
    result
        A ranking, or some results.
    max_ratio
        Criterion to be shown; that of the ranking by default.
    most
        Functions to show, from the first one.
    title
        Name of the template.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    results = list(result.results if isinstance(result, SpuriousRanking) else result)
    limit = result.max_ratio if max_ratio is None and isinstance(result, SpuriousRanking) else max_ratio
    with style():
        figure, axes = plt.subplots(figsize=(7.0, 4.8))
        for k, entry in enumerate(results[:most]):
            label = f"{entry.function} ({entry.parameters}): {entry.worst:.1f}"
            axes.errorbar(
                entry.mass, entry.ratio, yerr=entry.template_error / entry.error, color=_colour(k), label=label,
                marker=MARKERS[k % len(MARKERS)], markersize=4, elinewidth=1,
                linestyle="-" if k < len(COLOURS) - 1 else "--",
            )  # fmt: skip
        if limit is not None:
            axes.axhspan(-limit, limit, color="0.9", zorder=0)
        axes.axhline(0, color="black", linewidth=0.8)
        worst = [entry.worst for entry in results[:most] if np.isfinite(entry.worst)]
        top = max([2.0 * (limit or 0.5), *(1.3 * value for value in worst)])
        top = min(top, 6.0)  # hopeless functions leave the frame
        axes.set_ylim(-top, top)
        axes.set_xlabel("Mass [GeV]")
        axes.set_ylabel(r"Spurious signal / $\sigma_S$")
        axes.legend(
            title=r"function (parameters): largest $|S|/\sigma_S$", fontsize=10, title_fontsize=10,
            loc="upper left", bbox_to_anchor=(1.01, 1.02),
        )  # fmt: skip
        label_experiment(axes, title)
    return figure, {"results": [entry.to_dict() for entry in results], "max_ratio": limit}


def draw_linearity(test: SignalInjection, *, title: str = "") -> Drawn:
    """Fitted against injected signals, and mean and width of the pulls, for every mass.

    Parameters
    ----------
    test
        Result of the injection test.
    title
        Name of the background.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), gridspec_kw={"wspace": 0.28})
        unit = test.error[:, None]
        for k, mass in enumerate(test.mass):
            label = f"{mass:.0f} GeV: {test.slope[k]:.3f} $\\pm$ {test.slope_error[k]:.3f}"
            left.errorbar(
                (test.injected / unit)[k], ((test.mean - test.injected) / unit)[k], yerr=(test.mean_error / unit)[k],
                color=_colour(k), marker=MARKERS[k % len(MARKERS)], markersize=4, label=label,
            )  # fmt: skip
        left.axhline(0, color="black", linewidth=0.8)
        left.set_xlabel(r"Injected signal / $\sigma_S$")
        left.set_ylabel(r"(Mean fitted $-$ injected) / $\sigma_S$")
        reach = 2.2 * max(0.1, float(np.nanmax(np.abs((test.mean - test.injected) / unit))))
        left.set_ylim(-reach, reach)
        left.legend(title="mass: slope", fontsize=9, title_fontsize=10, ncols=2, loc="upper center")
        _pulls(right, test)
        label_experiment(left, title)
    return figure, {"test": test.to_dict()}


def _pulls(axes: Any, test: SignalInjection) -> None:
    """Mean and width at each mass, averaged over strengths, which have toys of their own."""
    n = np.sqrt(test.injected.shape[1])
    for value, error, colour, marker, label in (
        (test.pull_mean, test.pull_mean_error, COLOURS[1], "o", "mean"),
        (test.pull_width - 1.0, test.pull_width_error, COLOURS[2], "s", "width $-$ 1"),
    ):
        axes.errorbar(test.mass, value.mean(axis=1), yerr=error.mean(axis=1) / n, fmt=marker, color=colour, label=label)
    axes.axhspan(-0.05, 0.05, color="0.9", zorder=0)
    axes.axhline(0, color="black", linewidth=0.8)
    bottom, top = axes.get_ylim()
    reach = max(0.15, 1.3 * abs(bottom), 1.3 * abs(top))
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("Mass [GeV]")
    axes.set_ylabel("Pull")
    axes.legend()


def draw_envelope(envelope: Envelope, *, title: str = "") -> Drawn:
    """Profile likelihood of every function, the envelope, and the intervals.

    Parameters
    ----------
    envelope
        Result of discrete profiling.
    title
        Name of the spectrum.

    Returns
    -------
    Figure, dict
        The figure and the numbers behind it.
    """
    lowest = float(np.nanmin(envelope.minima))
    with style():
        figure, axes = plt.subplots(figsize=(7.0, 4.8))
        for k, (name, size) in enumerate(zip(envelope.functions, envelope.parameters, strict=True)):
            axes.plot(
                envelope.strength,
                envelope.curves[k] - lowest,
                color=_colour(k),
                linewidth=1.2,
                label=f"{name} ({size})",
            )
        axes.plot(
            envelope.strength, envelope.envelope - lowest, color="black", linewidth=2.4, alpha=0.6, label="envelope"
        )
        for level, interval, shade in ((3.84, envelope.interval95, "0.93"), (1.0, envelope.interval68, "0.85")):
            low, high = np.clip(interval, envelope.strength[0], envelope.strength[-1])
            axes.axvspan(low, high, color=shade, zorder=0)
            axes.axhline(level, color="0.4", linewidth=0.8, linestyle=":")
        axes.set_ylim(0, 13)
        axes.set_xlim(envelope.strength[0], envelope.strength[-1])
        axes.set_xlabel("Signal strength")
        axes.set_ylabel(rf"$-2\,\Delta\ln L$ + {envelope.penalty:g} / parameter")
        axes.legend(fontsize=10, loc="upper center", ncols=3)
        label_experiment(axes, title)
    return figure, {"envelope": envelope.to_dict()}
