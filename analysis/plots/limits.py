"""Upper limits against the mass: observed, expected and the bands of one and two standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import Drawn, label_experiment, style
from resonaut.stats import LimitResult

__all__ = ("draw_limits",)


def draw_limits(
    limits: Sequence[LimitResult], *, title: str, subtitle: str, scale: float = 1.0, unit: str = "events"
) -> Drawn:
    """Brazil band of 95 % CLs limits.

    Parameters
    ----------
    limits
        One result per mass; those that failed (NaN) leave a gap.
    title, subtitle
        Name of the search; what the limit is on.
    scale, unit
        Factor from events to `unit` (1 / luminosity for a visible cross-section).
    """
    ordered = sorted(limits, key=lambda r: r.mass)
    mass = np.array([r.mass for r in ordered])
    observed = scale * np.array([r.observed for r in ordered], dtype=float)
    expected = scale * np.array([r.expected for r in ordered], dtype=float)
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 5.5))
        axes.fill_between(mass, expected[:, 0], expected[:, 4], color="#F5BB54", label=r"Expected $\pm 2\sigma$")
        axes.fill_between(mass, expected[:, 1], expected[:, 3], color="#607641", label=r"Expected $\pm 1\sigma$")
        axes.plot(mass, expected[:, 2], "--", color="black", label="Expected (median)")
        axes.plot(mass, observed, "o-", color="black", markersize=4, label="Observed")
        finite = np.concatenate([observed, expected.ravel()])
        finite = finite[np.isfinite(finite) & (finite > 0)]
        if finite.size:
            axes.set_yscale("log")
            axes.set_ylim(finite.min() / 2, finite.max() * 8)
        axes.set_xlabel("$m_{JJ}$ [GeV]")
        axes.set_ylabel(f"95 % CLs upper limit [{unit}]")
        axes.legend(title=subtitle, loc="upper right", title_fontsize=11)
        label_experiment(axes, title)
    return figure, {"unit": unit, "scale": scale, "what": subtitle, "limits": [r.to_dict() for r in ordered]}
