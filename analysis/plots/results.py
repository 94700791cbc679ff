"""The figure of any result of `resonaut.stats`, from the result alone."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from resonaut.analysis.plots.canvas import Drawn
from resonaut.errors import InputError
from resonaut.stats import ExcessResult, LimitResult

__all__ = ("draw_result",)


def _excess(result: ExcessResult, title: str, x_label: str) -> Drawn:
    from resonaut.analysis.plots.spectra import draw_spectra

    return draw_spectra(result.window, {1.0: result}, title=title, method="spectrum", x_label=x_label)


def _limits(results: Sequence[LimitResult], title: str, x_label: str) -> Drawn:
    from resonaut.analysis.plots.limits import draw_limits

    signals = list(dict.fromkeys(result.signal for result in results))
    units = {result.unit for result in results if result.ok}
    if len(signals) != 1 or len(units) > 1:
        msg = f"got limits on {', '.join(signals)} in {', '.join(sorted(units))}: expected one signal and unit in a figure"
        raise InputError(msg)
    return draw_limits(results, title=title, subtitle=signals[0], x_label=x_label)


_DRAW = {
    "BumpHunterResult": "bumps:draw_bumps",
    "Envelope": "choice:draw_envelope",
    "FTestToys": "choice:draw_f_test",
    "FitResult": "fit:draw_fit",
    "ScanResult": "pvalues:draw_scan",
    "SignalInjection": "choice:draw_linearity",
    "SignificanceScan": "pvalues:draw_significance_scan",
    "SlidingFit": "sliding:draw_sliding",
    "SlidingScan": "sliding:draw_sliding_scan",
    "SpuriousRanking": "choice:draw_spurious",
    "ToyStudy": "toys:draw_toy_study",
}
"""Name of a class to module and function of its figure; loaded when needed, so that a fit does not wait for all of them."""


def draw_result(result: Any, *, title: str, x_label: str = "Mass [GeV]") -> Drawn:
    """Figure of a fit, scan, bump hunt, toy study, excess, or of limits at several masses; `x_label` is for their mass axis.

    Raises
    ------
    InputError
        If there is no figure for this kind of result.
    """
    if isinstance(result, LimitResult):
        return _limits([result], title, x_label)
    if isinstance(result, Sequence) and result and all(isinstance(entry, LimitResult) for entry in result):
        return _limits(result, title, x_label)
    if isinstance(result, ExcessResult):
        return _excess(result, title, x_label)
    name = type(result).__name__
    if name not in _DRAW:
        msg = f"no figure for {name}, expected one of {', '.join(sorted((*_DRAW, 'ExcessResult', 'LimitResult')))}"
        raise InputError(msg)
    module, function = _DRAW[name].split(":")
    draw = getattr(importlib.import_module(f"resonaut.analysis.plots.{module}"), function)
    label = {"x_label": x_label} if "x_label" in inspect.signature(draw).parameters else {}
    drawn: Drawn = draw(result, title=title, **label)
    return drawn
