"""Fraction of variance unexplained against the size of an autoencoder's bottleneck."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style

if TYPE_CHECKING:  # models bring torch along
    from resonaut.models.bottleneck import BottleneckStudy

__all__ = ("draw_fvu", "draw_fvu_drop")

_LATENT = "Latent dimensions"


def draw_fvu(study: BottleneckStudy, *, title: str) -> Drawn:
    """FVU against the latent dimensions, with the line of a bottleneck that memorises features (arXiv:2104.02092, fig. 14).

    Bars are the standard deviation over trainings.
    """
    with style():
        figure, axes = _frame(study, title)
        for width, mean, std, colour in zip(study.hidden, study.fvu_mean, study.fvu_std, COLOURS[1:], strict=False):
            axes.errorbar(study.latents, mean, std, color=colour, marker="o", capsize=3, label=f"{width} wide")
        n = len(study.features)
        ends = np.array([min(study.latents), max(study.latents)])
        axes.plot(ends, 1 - ends / n, color="0.5", linestyle="--", label=rf"$1 - n_\mathrm{{latent}}/{n}$")
        axes.set_ylabel("Fraction of variance unexplained")
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure, study.to_dict()


def draw_fvu_drop(study: BottleneckStudy, *, title: str) -> Drawn:
    """Decrease of the FVU by the last latent dimension, with the line of one more memorised feature (fig. 15).

    Bars are the standard error of the difference; filled points lie significantly above the line.
    """
    with style():
        figure, axes = _frame(study, title)
        latents = np.asarray(study.latents)
        for row, (width, colour) in enumerate(zip(study.hidden, COLOURS[1:], strict=False)):
            drop, error = study.drop[row], study.drop_error[row]
            axes.errorbar(latents, drop, error, color=colour, marker="o", mfc="white", capsize=3, label=f"{width} wide")
            good = np.isin(latents, study.chosen[width])
            axes.plot(latents[good], drop[good], "o", color=colour, zorder=3)
        axes.axhline(study.nominal_drop, color="0.5", linestyle="--", label=f"1/{len(study.features)}")
        axes.set_ylabel("Decrease of the FVU")
        axes.legend()
    return figure, study.to_dict()


def _frame(study: BottleneckStudy, title: str) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(figsize=(7.0, 5.5))
    axes.set_xlabel(_LATENT)
    axes.set_xticks(study.latents)
    axes.set_xlim(min(study.latents) - 0.4, max(study.latents) + 0.4)
    label_experiment(axes, title)
    return figure, axes
