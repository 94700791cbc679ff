"""Figures of a search, each drawn from results alone and saved as PNG and PDF with its numbers beside it as JSON."""

from __future__ import annotations

from resonaut.analysis.plots.canvas import save_figure
from resonaut.analysis.plots.choice import draw_envelope, draw_f_test, draw_linearity, draw_spurious
from resonaut.analysis.plots.fit import draw_fit
from resonaut.analysis.plots.limits import draw_limits
from resonaut.analysis.plots.pvalues import draw_scan
from resonaut.analysis.plots.sic import draw_sic
from resonaut.analysis.plots.sliding import draw_sliding, draw_sliding_scan
from resonaut.analysis.plots.spectra import draw_spectra

__all__ = (
    "draw_envelope",
    "draw_f_test",
    "draw_fit",
    "draw_limits",
    "draw_linearity",
    "draw_scan",
    "draw_sic",
    "draw_sliding",
    "draw_sliding_scan",
    "draw_spectra",
    "draw_spurious",
    "save_figure",
)
