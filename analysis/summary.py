"""`summary.json`: the machine-readable result of a run. Its schema is documented in docs/summary.md and is stable."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from resonaut.analysis.config import SearchConfig
from resonaut.analysis.direct import DirectEntry
from resonaut.analysis.scoring import uses_labels
from resonaut.files import finite_or_none
from resonaut.stats import LimitResult, ScanEntry, ScanResult

__all__ = ("SCHEMA", "build_summary", "trials_corrected", "versions")

SCHEMA = "resonaut.summary/1"
VALIDATION_KEYS = ("verdict", "diagnosis", "counts", "config_hash")
_PACKAGES = (
    "resonaut", "awkward", "coffea", "hist", "iminuit", "numba", "numpy", "pyhf", "scikit-learn", "scipy",
    "torch", "uproot",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def trials_corrected(local_p: float, trials: int) -> float:
    """Probability that any of `trials` independent entries is as significant (Šidák).

    Overlapping windows and nested cuts are correlated, which makes the true global p-value smaller; local p-values after
    a learnt cut that lean to small values would make it larger.

    Examples
    --------
    >>> round(trials_corrected(0.01, 10), 4)
    0.0956
    """
    return -math.expm1(trials * math.log1p(-local_p)) if local_p < 1 else 1.0


def _entry(entry: ScanEntry) -> dict[str, Any]:
    return {
        "low": entry.low,
        "high": entry.high,
        "method": entry.method,
        "cut": entry.cut,
        "observed": entry.observed,
        "expected": entry.expected,
        "expected_error": entry.expected_error,
        "local_p": entry.local_p,
        "local_significance": entry.local_significance,
        "fit_status": entry.status,
    }


def _limit(limit: LimitResult, luminosity: float | None) -> dict[str, Any]:
    values: dict[str, Any] = {"signal": limit.signal, "mass": limit.mass, "observed": limit.observed}
    values |= {"expected": list(limit.expected), "status": limit.status, "cls_pyhf": limit.cls_pyhf}
    if luminosity:
        values["observed_fb"] = limit.observed / luminosity
        values["expected_fb"] = [e / luminosity for e in limit.expected]
    return values


def build_summary(
    config: SearchConfig,
    *,
    events: Mapping[str, Any],
    scan: ScanResult,
    direct: Sequence[DirectEntry] = (),
    limits: Sequence[LimitResult],
    timings: Mapping[str, float],
    warnings: Iterable[str] = (),
    simulation: Mapping[str, Any] | None = None,
    signals: Sequence[Mapping[str, Any]] = (),
    blind: bool = False,
    unblinding: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
    excess: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that a reader of a run may want as numbers; NaN becomes null.

    `blind` tells that the results come without what was observed; `unblinding` is the record that opened them.
    """
    best = None if blind else scan.best
    luminosity = config.fb_inverse
    content = {
        "schema": SCHEMA,
        "config": config.model_dump(mode="json"),
        "variable": config.variable,
        "versions": versions(),
        "seed": config.seed,
        "blind": blind,
        "unblinding": None if unblinding is None else dict(unblinding),
        "validation": None if validation is None else {key: validation[key] for key in VALIDATION_KEYS},
        "events": dict(events),
        "simulation": None if simulation is None else dict(simulation),
        "windows": [_entry(e) for e in scan.entries],
        "best": _entry(best) if best else None,
        "trials": len(scan.entries),
        "best_trials_corrected_p": trials_corrected(best.local_p, len(scan.entries)) if best else None,
        "excess": None if excess is None else dict(excess),
        "direct": [entry.to_dict() for entry in direct],
        "limits": [_limit(r, luminosity) for r in limits],
        "signals": [dict(signal) for signal in signals],
        "timings": dict(timings),
        "uses_labels": any(uses_labels(m) for m in config.methods),
        "warnings": list(warnings),
    }
    return dict(finite_or_none(content))
