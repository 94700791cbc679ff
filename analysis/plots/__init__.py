"""Figures of a search, each drawn from results alone and saved as PNG and PDF with its numbers beside it as JSON."""

from __future__ import annotations

from resonaut.analysis.plots.canvas import save_figure
from resonaut.analysis.plots.choice import draw_envelope, draw_f_test, draw_linearity, draw_spurious
from resonaut.analysis.plots.fit import draw_fit
from resonaut.analysis.plots.limits import draw_limits
from resonaut.analysis.plots.pvalues import draw_scan, draw_significance_scan
from resonaut.analysis.plots.results import draw_result
from resonaut.analysis.plots.sic import draw_sic
from resonaut.analysis.plots.sliding import draw_sliding, draw_sliding_scan
from resonaut.analysis.plots.spectra import draw_spectra
from resonaut.analysis.plots.toys import draw_toy_study

__all__ = (
    "draw_envelope",
    "draw_f_test",
    "draw_fit",
    "draw_limits",
    "draw_linearity",
    "draw_result",
    "draw_scan",
    "draw_sic",
    "draw_significance_scan",
    "draw_sliding",
    "draw_sliding_scan",
    "draw_spectra",
    "draw_spurious",
    "draw_toy_study",
    "save_figure",
)
