"""One colour, line and marker for each method, in all figures of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ("FEATURE_LABELS", "line_look", "look", "method_label", "subtitle", "values_of")

_LOOKS: dict[str, tuple[str, str, str]] = {
    "supervised": ("#000000", ":", "*"),
    "idealised": ("#000000", "-", "o"),
    "idealised-half": ("#888888", "-", "o"),
    "cathode": ("#0072B2", "-", "s"),
    "lacathode": ("#0072B2", "--", "D"),
    "curtains": ("#D55E00", "-", "^"),
    "feta": ("#009E73", "-", "v"),
    "salad": ("#CC79A7", "-", "P"),
    "anode": ("#56B4E9", "-.", "<"),
    "cwola": ("#E69F00", "-", "X"),
    "sa-cwola": ("#E69F00", "--", "h"),
    "tag-n-train": ("#8C564B", "-.", ">"),
    "combined-events": ("#6A3D9A", "-", "d"),
    "combined-scores": ("#6A3D9A", "--", "p"),
}
_OTHERS = ("#7F7F7F", "#BCBD22", "#17BECF", "#AA4499", "#117733")
_LABELS = {
    "supervised": "Supervised", "idealised": "Idealised", "idealised-half": "Idealised, half the truth", "cathode": "CATHODE",
    "lacathode": "LaCATHODE", "curtains": "CURTAINs", "feta": "FETA", "salad": "SALAD", "anode": "ANODE", "cwola": "CWoLa",
    "sa-cwola": "SA-CWoLa", "tag-n-train": "Tag N' Train", "combined-events": "Combined events", "combined-scores": "Combined scores",
}  # fmt: skip
FEATURE_LABELS = {
    "m_l": r"Lighter jet mass [GeV]", "dm_jj": r"Mass difference of the jets [GeV]", "tau21_l": r"Lighter jet $\tau_{21}$",
    "tau21_h": r"Heavier jet $\tau_{21}$", "dr_jj": r"$\Delta R_{JJ}$", "mass": r"$m_{JJ}$ [GeV]",
}  # fmt: skip


def look(method: str) -> dict[str, Any]:
    """Colour, line style and marker of a method; others than the built-in ones get grey and further colours by name."""
    colour, line, marker = _LOOKS.get(method, (_OTHERS[sum(map(ord, method)) % len(_OTHERS)], "-", "o"))
    return {"color": colour, "linestyle": line, "marker": marker}


def line_look(method: str) -> dict[str, Any]:
    """The same without a marker."""
    return {key: value for key, value in look(method).items() if key != "marker"}


def method_label(method: str) -> str:
    """Name of a method in legends."""
    return _LABELS.get(method, method)


def values_of(content: Mapping[str, Any], *names: str) -> list[Any]:
    """Several lists of a mapping as arrays; None becomes NaN."""
    return [np.array(content[name], dtype=np.float64) for name in names]


def subtitle(results: Mapping[str, Any], s_over_b: float | None = None, injected: int | None = None) -> str:
    """Signal region, S/B and repetitions, for the upper right of a figure."""
    window, seeds = results["protocol"]["window"], results["protocol"]["seeds"]
    parts = [f"{window['low']:.0f}-{window['high']:.0f} GeV"]
    if s_over_b is not None:
        parts.append("no signal" if s_over_b == 0 else f"S/B = {100 * s_over_b:.3g} % ({injected} events)")
    parts.append(f"{seeds} repetition{'s' if seeds > 1 else ''}")
    return ", ".join(parts)
