"""Figures of a search, each drawn from results alone and saved as PNG and PDF with its numbers beside it as JSON."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resonaut.analysis.plots.canvas import save_figure
    from resonaut.analysis.plots.choice import draw_envelope, draw_f_test, draw_linearity, draw_spurious
    from resonaut.analysis.plots.fit import draw_fit
    from resonaut.analysis.plots.limits import draw_limits
    from resonaut.analysis.plots.pvalues import draw_scan, draw_significance_scan
    from resonaut.analysis.plots.results import draw_result
    from resonaut.analysis.plots.sic import draw_sic
    from resonaut.analysis.plots.signals import with_signals
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
    "with_signals",
)

_HOMES = {
    "draw_envelope": "choice",
    "draw_f_test": "choice",
    "draw_fit": "fit",
    "draw_limits": "limits",
    "draw_linearity": "choice",
    "draw_result": "results",
    "draw_scan": "pvalues",
    "draw_sic": "sic",
    "draw_significance_scan": "pvalues",
    "draw_sliding": "sliding",
    "draw_sliding_scan": "sliding",
    "draw_spectra": "spectra",
    "draw_spurious": "choice",
    "draw_toy_study": "toys",
    "save_figure": "canvas",
    "with_signals": "signals",
}


def __getattr__(name: str) -> Any:
    """Import a figure when it is asked for: matplotlib takes longer than most results."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
