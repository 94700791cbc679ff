"""The figure of any result of `resonaut.stats`, from the result alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resonaut.analysis.plots.canvas import Drawn
from resonaut.errors import InputError
from resonaut.stats import LimitResult

__all__ = ("draw_result",)


def _fit(result: Any, title: str) -> Drawn:
    from resonaut.analysis.plots.fit import draw_fit

    return draw_fit(result, title=title)


def _bumps(result: Any, title: str) -> Drawn:
    from resonaut.analysis.plots.bumps import draw_bumps

    return draw_bumps(result, title=title)


def _scan(result: Any, title: str) -> Drawn:
    from resonaut.analysis.plots.pvalues import draw_scan

    return draw_scan(result, title=title)


def _toys(result: Any, title: str) -> Drawn:
    from resonaut.analysis.plots.toys import draw_toy_study

    return draw_toy_study(result, title=title)


def _excess(result: Any, title: str) -> Drawn:
    from resonaut.analysis.plots.spectra import draw_spectra

    return draw_spectra(result.window, {1.0: result}, title=title, method="spectrum")


def _limits(results: Sequence[LimitResult], title: str) -> Drawn:
    from resonaut.analysis.plots.limits import draw_limits

    signals = list(dict.fromkeys(result.signal for result in results))
    units = {result.unit for result in results if result.ok}
    if len(signals) != 1 or len(units) > 1:
        msg = f"got limits on {', '.join(signals)} in {', '.join(sorted(units))}: expected one signal and unit in a figure"
        raise InputError(msg)
    unit = {"events": "signal events"}.get(results[0].unit, results[0].unit)
    return draw_limits(results, title=title, subtitle=signals[0], unit=unit)


_DRAW: dict[str, Callable[[Any, str], Drawn]] = {
    "BumpHunterResult": _bumps,
    "ExcessResult": _excess,
    "FitResult": _fit,
    "ScanResult": _scan,
    "ToyStudy": _toys,
}


def draw_result(result: Any, *, title: str) -> Drawn:
    """Figure of a fit, scan, bump hunt, toy study, excess, or of limits at several masses.

    Raises
    ------
    InputError
        If there is no figure for this kind of result.
    """
    if isinstance(result, LimitResult):
        return _limits([result], title)
    if isinstance(result, Sequence) and result and all(isinstance(entry, LimitResult) for entry in result):
        return _limits(result, title)
    if type(result).__name__ not in _DRAW:
        msg = f"no figure for {type(result).__name__}, expected one of {', '.join(_DRAW)}, or limits"
        raise InputError(msg)
    return _DRAW[type(result).__name__](result, title)
