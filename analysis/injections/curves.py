"""From the units of a campaign to curves against the strength, and from those to self-consistent limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from resonaut.analysis.injections.grid import InjectionJob
from resonaut.analysis.spectra import INCLUSIVE
from resonaut.stats import SelfConsistentLimit, self_consistent_limit

__all__ = ("REACH", "curves_of")

Row: TypeAlias = dict[str, Any] | None
"""What a unit says about a cut; None where it has no such cut, because nothing was learnt or too few events are left."""
Runs: TypeAlias = dict[tuple[float | None, int], dict[float, dict[str, Any]]]
"""{(strength, run): {cut: row}} of one method."""

REACH = (3.0, 5.0)
"""Local significances whose strength is told."""
NO_CUT = "no selection: the training was skipped, or the cut leaves too few events"


def curves_of(results: Sequence[tuple[InjectionJob, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One entry for each signal, with one for each method and cut; see docs/campaigns.md for what is in them."""
    grouped: dict[str, dict[str, Runs]] = {}
    about: dict[str, dict[str, Any]] = {}
    for job, found in results:
        signal, place = job.sample.config, (job.events, job.repeat)
        low, high = job.window.low, job.window.high
        about.setdefault(signal.name, {"name": signal.name, "mass": signal.mass, "low": low, "high": high})
        of = grouped.setdefault(signal.name, {})
        rows: dict[str, dict[float, dict[str, Any]]] = {INCLUSIVE: {}, job.method.title: {}}
        for row in found["rows"]:
            rows[row["method"]][row["cut"]] = row
        for method, by_cut in rows.items():  # every method's units have the inclusive row, from the same events
            of.setdefault(method, {}).setdefault(place, by_cut)
    return [{**about[name], "selections": _selections(of)} for name, of in grouped.items()]


def _selections(methods: dict[str, Runs]) -> list[dict[str, Any]]:
    found = []
    for method, every in methods.items():
        # references have the inclusive row too, with half of the signal: it counts where there is no other
        known = {place: by_cut for place, by_cut in every.items() if place[0] is not None} or every
        cuts = dict.fromkeys(cut for by_cut in known.values() for cut in by_cut)
        found += [_selection(method, cut, known) for cut in cuts]
    return found


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.median(known)) if known else None


def _spread(values: Iterable[float | None]) -> list[float] | None:
    """The central 68 % of the runs, whole runs at both ends; None for a single one."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    if len(known) < 2:
        return None
    return [float(np.quantile(known, q, method=end)) for q, end in ((0.16, "lower"), (0.84, "higher"))]  # type: ignore[call-overload]


def _limit(row: Row, part: int | None) -> float:
    """Observed limit of a run, or the expected one number `part`; no limit counts as an infinite one."""
    limit = row and row["limit"]
    if not limit or limit["status"] != "ok":
        return np.inf
    return float(limit["observed"] if part is None else limit["expected"][part])


def _number(row: Row, name: str) -> float | None:
    return None if row is None else float(row[name])


def _significance(row: Row) -> float | None:
    return ((row and row["excess"]) or {}).get("local_significance")


def _reach(strengths: Sequence[float], at: Sequence[Sequence[Row]], level: float) -> float | None:
    """Strength from which on the median search reaches a significance; None if it does not in the grid, or not in a steady way.

    Straight lines between the strengths; a run that selects nothing finds nothing.
    """
    found = [float(np.median([_significance(row) or 0.0 for row in group])) for group in at]
    below = [k for k, z in enumerate(found) if z < level]
    if not strengths or len(strengths) - 1 in below:
        return None
    if not below:
        return float(strengths[0])
    last = below[-1]
    part = (level - found[last]) / (found[last + 1] - found[last])
    return float(strengths[last] + part * (strengths[last + 1] - strengths[last]))


def _selection(method: str, cut: float, runs: Runs) -> dict[str, Any]:
    strengths = sorted({events for events, _ in runs if events is not None})
    order = sorted(runs, key=lambda place: place[1])
    points: Sequence[float | None] = strengths or [None]
    at = [[runs[place].get(cut) for place in order if place[0] == point] for point in points]
    kind = "inclusive" if method == INCLUSIVE else "learnt" if strengths else "reference"
    curves: dict[str, Callable[[Row], float | None]] = {
        "efficiency": lambda row: _number(row, "efficiency"),
        "significance": _significance,
        "signal": lambda row: _number(row, "signal"),
    }
    if limited := any(row is not None and row["limit"] for group in at for row in group):
        curves["observed"] = lambda row: _limit(row, None)
    nothing: list[Any] = [None] * len(at)
    found: dict[str, Any] = {
        "method": method, "cut": cut, "kind": kind, "events": strengths,
        "runs": [len(group) for group in at],
        "significances": [[_significance(row) for row in group] for group in at],
        "observed": nothing, "expected": [[None] * 5 for _ in at], "limit": None,
        **{name: [_median(map(value, group)) for group in at] for name, value in curves.items()},
        "spread": {name: [_spread(map(value, group)) for group in at] for name, value in curves.items()},
        "status": [],
    }  # fmt: skip
    found["reach"] = {f"{level:g}": _reach(strengths, at, level) for level in REACH}
    if limited:
        found["expected"] = [[_median(_limit(row, part) for row in group) for part in range(5)] for group in at]
        found["limit"] = _meeting(kind, strengths, at)
        found["status"] = sorted({row["limit"]["status"] if row else NO_CUT for group in at for row in group})
    return found


def _meeting(kind: str, strengths: Sequence[float], at: Sequence[Sequence[Row]]) -> dict[str, Any]:
    """The self-consistent limits of the medians over the runs, and of each run for itself."""

    def limit(rows: Sequence[Sequence[Row]], part: int | None) -> SelfConsistentLimit:
        column = [float(np.median([_limit(row, part) for row in group])) for group in rows]
        return _fixed(column) if kind != "learnt" else self_consistent_limit(strengths, column)

    every = [limit(at, part) for part in (None, *range(5))]
    each = [[[group[run]] for group in at] for run in range(min(map(len, at)))]
    return {
        "observed": every[0].value,
        "expected": [one.value for one in every[1:]],
        "status": [one.status for one in every],
        "observed_runs": [limit(rows, None).value for rows in each],
        "expected_runs": [limit(rows, 2).value for rows in each],
    }


def _fixed(limits: Sequence[float]) -> SelfConsistentLimit:
    """A limit that does not depend on the strength: the selection was not learnt from the data."""
    value = float(np.median(limits))
    return SelfConsistentLimit(value) if np.isfinite(value) else SelfConsistentLimit(float("nan"), "no limit")
