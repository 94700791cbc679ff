"""Numbers of the interactive charts, as the page's script takes them: short lists, rounded, nothing that is not drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from resonaut.analysis.reporting.quality import fit_quality, is_poor
from resonaut.stats.windows import interval_text

__all__ = ("limit_chart", "scan_chart", "spectrum_chart")

DEEPEST = 37.0  # standard deviations; beyond, the p-value is no double any more


def _rounded(values: Any, digits: int = 6) -> list[float | None]:
    """Significant digits that a screen can show."""
    found = []
    for value in np.asarray(values, dtype=np.float64).ravel():
        found.append(float(f"{value:.{digits}g}") if math.isfinite(value) else None)
    return found


def _sigma_lines(smallest: float) -> list[list[float]]:
    """[z, p] of the lines at whole standard deviations, as in the static figure; the last one is the end of the axis."""
    deepest = min(max(2.0, float(norm.isf(max(smallest, 1e-300))) + 1), DEEPEST)
    steps = range(1, int(deepest) + 1) if deepest < 12 else range(5, int(deepest) + 1, 5)
    return [[float(z), float(norm.sf(z))] for z in (*steps, deepest)]


def scan_chart(windows: Sequence[Mapping[str, Any]], axis: Sequence[str]) -> dict[str, Any] | None:
    """Entries of the p-value scan; None where none has a p-value.

    Parameters
    ----------
    windows
        Entries of `summary.json`.
    axis
        Symbol of the mass, its subscript, and the unit.
    """
    known = [entry for entry in windows if entry["local_p"] is not None]
    if not known:
        return None
    *lines, end = _sigma_lines(min(entry["local_p"] for entry in known))
    keys = ("low", "high", "method", "cut", "observed", "expected", "expected_error", "local_p", "local_significance")
    entries = [
        {**{key: entry[key] for key in keys}, "name": interval_text(entry["low"], entry["high"])} for entry in known
    ]
    return {"axis": list(axis), "entries": entries, "sigmas": lines, "lowest": end[1]}


def spectrum_chart(fits: Sequence[Mapping[str, Any]], axis: Sequence[str]) -> dict[str, Any] | None:
    """Spectra with their blinded fits; None where there are none."""
    if not fits:
        return None
    first, quality = fits[0]["excess"]["fit"], fit_quality(fits)
    entries = []
    for each in fits:
        excess = each["excess"]
        fit, window = excess["fit"], excess["window"]
        counts = np.array(_numbers(fit["counts"]))
        low = np.where(counts > 0, chi2.ppf(0.159, 2 * np.maximum(counts, 1e-9)) / 2, 0.0)
        high = chi2.ppf(0.841, 2 * (counts + 1)) / 2  # central 68 % Poisson intervals (Garwood)
        entries.append(
            {
                "low": window["low"],
                "high": window["high"],
                "name": interval_text(window["low"], window["high"]),
                "method": each["method"],
                "cut": each["cut"],
                "z": excess["local_significance"],
                "function": fit["function"],
                "quality": _quality_text(quality.get((window["low"], window["high"], each["method"], each["cut"]))),
                "counts": _rounded(counts),
                "error_low": _rounded(low, 5),
                "error_high": _rounded(high, 5),
                "expected": _rounded(_numbers(fit["expected"]), 5),
                "error": _rounded(_numbers(fit["expected_error"]), 4),
                "fitted": [int(bool(m)) for m in fit["mask"]],
            }
        )
    return {"axis": list(axis), "edges": _rounded(first["edges"], 7), "entries": entries}


def _quality_text(quality: Mapping[str, Any] | None) -> str:
    """For the legend; empty where the fit cannot be tested."""
    if quality is None or quality["p_value"] is None:
        return ""
    return f"χ²/ndf {quality['chi2']:.0f}/{quality['ndf']}" + (" (poor fit)" if is_poor(quality) else "")


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def limit_chart(limits: Sequence[Mapping[str, Any]], axis: Sequence[str]) -> dict[str, Any] | None:
    """Limits by signal, in fb where the luminosity is known; None where there are none. Blinded ones have no observed limit."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for limit in limits:
        if None not in limit["expected"]:
            groups.setdefault(limit["signal"], []).append(limit)
    if not groups:
        return None
    fb = all("observed_fb" in limit for entries in groups.values() for limit in entries)
    end = "_fb" if fb else ""
    found = []
    for signal, entries in groups.items():
        ordered = sorted(entries, key=lambda limit: limit["mass"])
        points = [
            {
                "mass": float(f"{limit['mass']:.6g}"),
                "observed": _rounded(_numbers([limit[f"observed{end}"]]), 5)[0],
                "expected": _rounded(limit[f"expected{end}"], 5),
            }
            for limit in ordered
        ]
        found.append({"signal": signal, "points": points})
    return {"axis": list(axis), "unit": "fb" if fb else "selected signal events", "signals": found}
