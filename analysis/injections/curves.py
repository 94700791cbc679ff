"""From the units of a campaign to curves against the strength, and from those to self-consistent limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from resonaut.analysis.injections.grid import InjectionJob
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.stats import SelfConsistentLimit, self_consistent_limit

__all__ = ("curves_of",)

Rows = list[tuple[float | None, dict[str, Any]]]


def curves_of(results: Sequence[tuple[InjectionJob, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One entry for each signal, with one for each method and cut; see docs/campaigns.md for what is in them."""
    grouped: dict[str, dict[tuple[str, float], Rows]] = {}
    seen: set[tuple[Any, ...]] = set()
    about: dict[str, dict[str, Any]] = {}
    for job, found in results:
        name = job.sample.config.name
        about.setdefault(
            name, {"name": name, "mass": job.sample.config.mass, "low": job.window.low, "high": job.window.high}
        )
        for row in found["rows"]:
            place = (name, row["method"], row["cut"])
            if row["method"] == INCLUSIVE:  # every method's units have it, from the same events
                if job.events is None or (*place, job.events, job.repeat) in seen:
                    continue
                seen.add((*place, job.events, job.repeat))
            grouped.setdefault(name, {}).setdefault(place[1:], []).append((job.events, row))
    return [
        {**about[name], "selections": [_selection(*key, rows) for key, rows in of.items()]}
        for name, of in grouped.items()
    ]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.median(known)) if known else None


def _limit(rows: Sequence[dict[str, Any]], part: int | None) -> float | None:
    """Median over the runs of the observed limit, or of the expected one number `part`; no limit counts as an infinite one."""
    values = []
    for row in rows:
        limit = row["limit"]
        if limit is None:
            return None
        if limit["status"] != "ok":
            values.append(np.inf)
        else:
            values.append(limit["observed"] if part is None else limit["expected"][part])
    return float(np.median(values)) if values else None


def _selection(method: str, cut: float, rows: Rows) -> dict[str, Any]:
    strengths = sorted({events for events, _ in rows if events is not None})
    at = [[row for events, row in rows if events == strength] for strength in strengths] or [[row for _, row in rows]]
    fixed = method == INCLUSIVE or not strengths
    observed = [_limit(group, None) for group in at]
    expected = [[_limit(group, part) for part in range(5)] for group in at]
    kind = "inclusive" if method == INCLUSIVE else "learnt" if strengths else "reference"
    found: dict[str, Any] = {
        "method": method, "cut": cut, "kind": kind, "events": strengths,
        "runs": [len(group) for group in at],
        "efficiency": [_median(row["efficiency"] for row in group) for group in at],
        "significance": [_median((row["excess"] or {}).get("local_significance") for row in group) for group in at],
        "significances": [[(row["excess"] or {}).get("local_significance") for row in group] for group in at],
        "signal": [_median(row["signal"] for row in group) for group in at],
        "observed": observed, "expected": expected, "limit": None,
        "status": sorted({row["limit"]["status"] for group in at for row in group if row["limit"]}),
    }  # fmt: skip
    if all(value is not None for value in observed):
        columns = [observed, *(list(column) for column in zip(*expected, strict=True))]
        values = [_fixed(column) if fixed else self_consistent_limit(strengths, column) for column in columns]
        found["limit"] = {
            "observed": values[0].value,
            "expected": [each.value for each in values[1:]],
            "status": [each.status for each in values],
        }
    return found


def _fixed(limits: Sequence[Any]) -> SelfConsistentLimit:
    """A limit that does not depend on the strength: the selection was not learnt from the data."""
    value = float(np.median(limits))
    return SelfConsistentLimit(value) if np.isfinite(value) else SelfConsistentLimit(float("nan"), "no limit")
