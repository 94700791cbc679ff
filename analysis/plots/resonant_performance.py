"""Performance figures of a benchmark: SIC against signal efficiency, and its summaries against S/B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import Drawn, style
from resonaut.analysis.plots.resonant_style import line_look, look, method_label, subtitle

__all__ = ("draw_auc_spread", "draw_sic_bands", "draw_strength_scan")


def draw_sic_bands(results: Mapping[str, Any], row: int) -> Drawn:
    """SIC against signal efficiency at one S/B (row of the list), medians and 68 % bands: figure 14."""
    found = {name: rows[row] for name, rows in results["performance"].items()}
    s_over_b = results["protocol"]["s_over_b"][row]
    with style():
        figure, axes = plt.subplots(figsize=(8.5, 6.5))
        top = 1.0
        for name, content in found.items():
            es, median, low, high = (np.array(content["sic"][k], dtype=float) for k in ("es", "median", "low", "high"))
            if not np.isfinite(median).any():
                continue
            axes.plot(es, median, label=method_label(name), **line_look(name))
            if content["runs"] > 1:
                axes.fill_between(es, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
            top = max(top, float(np.nanmax(high)))
        grid = np.linspace(0.0, 1.0, 200)
        axes.plot(grid, np.sqrt(grid), color="0.5", linestyle=(0, (1, 3)), label="Random")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.12 * top)
        axes.set_xlabel(r"Signal efficiency $\epsilon_S$")
        axes.set_ylabel(r"SIC = $\epsilon_S / \sqrt{\epsilon_B}$")
        axes.legend(ncols=2, loc="upper right")
        injected = max(content["injected"] for name, content in found.items() if name != "supervised")
        axes.set_title(subtitle(results, s_over_b, injected), loc="left", fontsize=12)
    return figure, {name: content["sic"] for name, content in found.items()}
