"""What pseudo-experiments of a background show: statistics of the fit, its pulls, the largest excess."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.stats import ToyStudy

__all__ = ("draw_toy_study",)


def draw_toy_study(result: ToyStudy, *, title: str, x_label: str = "Mass [GeV]") -> Drawn:
    """Distributions over the toys with the data's value, and the pulls of the fitted expectation in every bin."""
    with style():
        figure, ((deviance, distance), (pulls, largest)) = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
        _sample(deviance, result.toy_deviance, result.deviance, result.deviance_p, "Deviance")
        _sample(
            distance, result.toy_ks * 1e3, result.ks * 1e3, result.ks_p, r"Kolmogorov-Smirnov distance $\times 10^3$"
        )
        _pulls(pulls, result)
        pulls.set_xlabel(x_label)
        if len(result.toy_significance):
            label = "Largest local significance in the scan"
            _sample(largest, result.toy_significance, result.significance, result.global_p, label, what="global p")
        else:
            _sample(largest, result.toy_chi2, result.chi2, result.chi2_p, r"$\chi^2$ (merged bins)")
        label_experiment(deviance, title)
        text = f"{result.toys} toys of {result.function}, {result.failed} failed fits"
        distance.text(1.0, 1.01, text, transform=distance.transAxes, ha="right", va="bottom", fontsize=11)
    return figure, result.to_dict()


def _sample(axes: Any, sample: Any, observed: float, p: float, label: str, *, what: str = "p") -> None:
    finite = sample[np.isfinite(sample)]
    if finite.size:
        bins = int(np.clip(2 * np.sqrt(finite.size), 5, 40))
        name = f"Toys, mean {finite.mean():.3g}"
        axes.hist(finite, bins=bins, histtype="stepfilled", color=COLOURS[1], alpha=0.45, label=name)
    axes.axvline(observed, color=COLOURS[2], linewidth=2, label=f"Data, {what} = {p:.3g}")
    axes.set_xlabel(label)
    axes.set_ylabel("Toys")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
    axes.legend(loc="upper right")


def _pulls(axes: Any, result: ToyStudy) -> None:
    axes.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.6, 1.9)
    shown = [
        np.where((values > -0.6) & (values < 1.9), values, np.nan) for values in (result.pull_mean, result.pull_width)
    ]
    inside = np.isfinite(shown).all(axis=0)
    if not inside.all():
        text = f"outside of the frame or not defined in {int((~inside).sum())} of {inside.size} bins"
        axes.text(0.03, 0.04, text, transform=axes.transAxes, fontsize=10)
    axes.stairs(shown[0], result.edges, baseline=None, color=COLOURS[1], label="Mean")
    axes.stairs(shown[1], result.edges, baseline=None, color=COLOURS[2], linestyle="--", label="Width")
    axes.set_xlim(result.edges[0], result.edges[-1])
    axes.set_ylabel("Pull of the fitted expectation")
    axes.legend(loc="upper right", ncols=2)
