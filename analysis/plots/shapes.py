"""Signal shapes: on a spectrum with its background fit, and fitted to simulation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import FitResult, Shape, ShapeFit, poisson_interval

__all__ = ("draw_shape_fit", "draw_shapes")


def _panels(height: float) -> tuple[Any, Any, Any]:
    figure, (main, below) = plt.subplots(
        2, 1, sharex=True, figsize=(7.5, height), gridspec_kw={"height_ratios": [3.0, 1.4], "hspace": 0.07}
    )
    below.axhline(0, color="black", linewidth=0.8)
    below.set_xlabel("Mass [GeV]")
    return figure, main, below


def draw_shapes(
    fit: FitResult,
    shapes: Mapping[str, Shape],
    yields: Mapping[str, float],
    *,
    title: str,
    dashed: Collection[str] = (),
) -> Drawn:
    """Signals on a spectrum: above, events per GeV; below, data and signals in units of the statistical error.

    Parameters
    ----------
    fit
        Background fit with its spectrum.
    shapes, yields
        Name of the signal -> shape, and events of the whole resonance.
    title
        Name of the spectrum.
    dashed
        Names that are drawn dashed, for instance interpolated ones.
    """
    edges, used = fit.edges, fit.mask | fit.blinded
    per_gev = 1.0 / np.diff(edges)
    spread = np.sqrt(np.maximum(fit.expected, 1e-9))
    events = {name: shape.template(edges, yields[name]) for name, shape in shapes.items()}
    with style():
        figure, main, below = _panels(6.8)
        seen = used & (fit.counts > 0)
        low, high = poisson_interval(fit.counts)
        errors = np.stack([fit.counts - low, high - fit.counts]) * per_gev
        centres = np.sqrt(edges[1:] * np.maximum(edges[:-1], 1e-9))
        main.errorbar(
            centres[seen], (fit.counts * per_gev)[seen], yerr=errors[:, seen], fmt="o", markersize=4, color="black",
            elinewidth=1, label="Data", zorder=4,
        )  # fmt: skip
        main.stairs(np.where(used, fit.expected * per_gev, np.nan), edges, baseline=None, color=COLOURS[0], label=f"{fit.function} fit")  # fmt: skip
        pulls = np.where(used, fit.pulls(), np.nan)
        below.plot(centres[used], pulls[used], "o", markersize=4, color="black")
        fine = np.linspace(edges[0], edges[-1], 1200)
        for index, (name, shape) in enumerate(shapes.items()):
            colour = COLOURS[1:][index % (len(COLOURS) - 1)]
            line = {"color": colour, "linestyle": "--" if name in dashed else "-"}
            main.plot(fine, yields[name] * shape.density(fine), label=name, **line)
            below.stairs(np.where(used, events[name] / spread, np.nan), edges, baseline=None, linewidth=1.6, **line)
        lowest = float((fit.expected * per_gev)[used].min())
        main.set_yscale("log")
        main.set_ylim(0.2 * max(lowest, 1e-9), 8 * float((fit.counts * per_gev)[used].max()))
        main.set_ylabel("Events / GeV")
        main.legend(loc="upper right", ncols=2, fontsize=10)
        below.set_ylabel("Significance\nof a bin")
        below.set_ylim(-3.6, 3.9)
        main.set_xlim(edges[:-1][used][0], edges[1:][used][-1])
        label_experiment(main, title)
    numbers = {
        "fit": fit.to_dict(),
        "shapes": {name: shape.to_dict() for name, shape in shapes.items()},
        "yields": dict(yields),
        "events": {name: values.tolist() for name, values in events.items()},
    }
    return figure, numbers


def draw_shape_fit(fit: ShapeFit, *, title: str) -> Drawn:
    """A shape fitted to simulation, with the pull of each bin below and the parameters in the frame."""
    edges, per_gev = fit.edges, 1.0 / np.diff(fit.edges)
    centres = 0.5 * (edges[1:] + edges[:-1])
    with style():
        figure, main, below = _panels(6.0)
        error = np.sqrt(fit.variances)
        main.errorbar(centres, fit.counts * per_gev, yerr=error * per_gev, fmt="o", markersize=3, color="black", label="Simulation", zorder=3)  # fmt: skip
        main.stairs(fit.expected * per_gev, edges, baseline=None, color=COLOURS[2], label=f"{fit.shape.kind} fit")
        scale = fit.variances.sum() / fit.counts.sum()
        below.stairs((fit.counts - fit.expected) / np.sqrt(scale * fit.expected), edges, fill=True, color=COLOURS[2], alpha=0.6)  # fmt: skip
        below.set_ylim(-4.5, 4.5)
        below.set_ylabel("Pull")
        main.set_ylabel("Events / GeV")
        main.set_ylim(bottom=0.0)
        main.set_xlim(edges[0], edges[-1])
        lines = [f"{name} = {value:.4g} $\\pm$ {fit.errors[name]:.2g}" for name, value in zip(fit.names, fit.values, strict=True)]  # fmt: skip
        main.text(0.965, 0.8, "\n".join([*lines, f"$\\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}", fit.status]), transform=main.transAxes, ha="right", va="top", fontsize=10)  # fmt: skip
        main.legend(loc="upper right")
        label_experiment(main, title)
    return figure, fit.to_dict()
