"""The parts of the report: what is read from a run directory, the numbers of its charts, its sections, its one PDF of figures."""

from __future__ import annotations

from resonaut.analysis.reporting.page import render_page
from resonaut.analysis.reporting.plots_pdf import write_plots_pdf

__all__ = ("render_page", "write_plots_pdf")
