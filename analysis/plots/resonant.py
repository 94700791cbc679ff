"""Figures of a benchmark of resonant methods, drawn from its results.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resonaut.analysis.plots.canvas import save_figure
from resonaut.analysis.plots.resonant_performance import draw_sic_bands

__all__ = ("draw_benchmark",)


def draw_benchmark(results: Mapping[str, Any], folder: Path) -> None:
    """All figures that the results have content for."""
    for row, strength in enumerate(results["protocol"]["s_over_b"]):
        if strength > 0:
            save_figure(draw_sic_bands(results, row), folder / f"sic_{100 * strength:g}")
