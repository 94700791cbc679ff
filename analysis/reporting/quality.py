"""How well each background function describes its spectrum where it was fitted, and when a reader has to be warned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ("POOR", "fit_quality", "is_poor", "quality_counts")

POOR = 0.01  # p-value of the chi2 below which the fit does not describe the spectrum: of good fits, one in a hundred

Place = tuple[Any, ...]


def is_poor(quality: Mapping[str, Any] | None) -> bool:
    """Whether a fit with this `p_value` has to be doubted; one that cannot be tested is not.

    Examples
    --------
    >>> is_poor({"p_value": 0.002}), is_poor({"p_value": 0.3}), is_poor({"p_value": None}), is_poor(None)
    (True, False, False, False)
    """
    p = quality.get("p_value") if quality else None
    return p is not None and p < POOR


def fit_quality(fits: Sequence[Mapping[str, Any]]) -> dict[Place, dict[str, Any]]:
    """`function`, `chi2`, `ndf` and `p_value` of each entry of `results/fits.json`.

    Parameters
    ----------
    fits
        Entries of the file; of the bins outside of the signal region, merged until 5 events are expected.

    Returns
    -------
    dict
        (low, high, method, cut) -> the numbers; those of a fit without degrees of freedom are None.
    """
    found = {}
    for each in fits:
        window, fit = each["excess"]["window"], each["excess"]["fit"]
        tested = (fit.get("ndf") or 0) > 0
        numbers = {name: fit.get(name) if tested else None for name in ("chi2", "ndf", "p_value")}
        found[window["low"], window["high"], each["method"], each["cut"]] = {"function": fit["function"], **numbers}
    return found


def quality_counts(qualities: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many fits could be tested, and how many of them are poor."""
    known = [quality for quality in qualities if quality["p_value"] is not None]
    return {"tested": len(known), "poor": sum(map(is_poor, known))}
