"""Significance improvement against signal efficiency, where truth labels exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style

if TYPE_CHECKING:  # models bring torch along: a plot of a spectrum must not wait for it
    from resonaut.models import SicCurve

__all__ = ("draw_sic",)


def draw_sic(curves: Mapping[str, SicCurve], *, title: str, subtitle: str) -> Drawn:
    """SIC curves with their statistical error, one per method."""
    with style():
        figure, axes = plt.subplots(figsize=(7.0, 5.5))
        for (name, curve), colour in zip(curves.items(), COLOURS[1:], strict=False):
            axes.plot(curve.es, curve.sic, color=colour, label=f"{name} (max {np.nanmax(curve.sic):.1f})")
            axes.fill_between(curve.es, curve.sic - curve.error, curve.sic + curve.error, color=colour, alpha=0.25)
        random = np.linspace(0.001, 1, 200)
        axes.plot(random, np.sqrt(random), color="0.5", linestyle=":", label="random")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(r"Signal efficiency $\epsilon_S$")
        axes.set_ylabel(r"SIC = $\epsilon_S / \sqrt{\epsilon_B}$")
        axes.legend(title=subtitle, title_fontsize=11)
        label_experiment(axes, title)
    numbers = {
        n: {k: np.asarray(getattr(c, k)).tolist() for k in ("es", "eb", "sic", "error")} for n, c in curves.items()
    }
    return figure, numbers
