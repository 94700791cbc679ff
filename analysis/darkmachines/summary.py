"""From scores to the numbers of the challenge: efficiencies, significance improvements, correlations, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.analysis.darkmachines.findings import findings
from resonaut.analysis.darkmachines.protocol import EFFICIENCIES, PAIRS
from resonaut.analysis.darkmachines.units import Scores, ScoresUnit, load_events
from resonaut.models import COMBINATIONS, ScoreScale, auc, combine_tails, efficiency_at

__all__ = ("measurable", "significance_improvement", "summarise", "total_improvements")

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, Floats]
_LEAST_BACKGROUND = 2.0  # test events that a cut must leave for its background efficiency to be measured
_DIGITS = 5
_BINS = 50


def summarise(units: Sequence[ScoresUnit]) -> dict[str, Any]:
    """All numbers of a run, JSON-able; see docs/darkmachines.md."""
    channels = list(dict.fromkeys(unit.channel for unit in units))
    content: dict[str, Any] = {"protocol": units[0].protocol.facts(), "channels": {}, "scores": {}, "correlations": {}}
    content |= {"histograms": {}, "costs": {}}
    for channel in channels:
        own = {unit.entry: unit for unit in units if unit.channel == channel}
        weights = next(iter(own.values())).weights()
        variants = _variants({name: unit.scores() for name, unit in own.items()}, weights)
        content["channels"][channel] = _channel_facts(next(iter(own.values())))
        for variant, roles in variants.items():
            content["scores"].setdefault(variant, {})[channel] = _measure(roles, weights)
        content["correlations"][channel] = _correlations(variants, weights)
        content["histograms"][channel] = {n: _histogram(variants[n], weights) for n in variants if _shown(n)}
        content["costs"][channel] = {name: unit.facts() for name, unit in own.items()}
    for kind in ("signal", "secret"):
        content[f"improvements_{kind}"] = {
            variant: total_improvements(found, kind) for variant, found in content["scores"].items()
        }
    content["findings"] = findings(content)
    return content


def _shown(variant: str) -> bool:
    return "member" not in variant


def _channel_facts(unit: ScoresUnit) -> dict[str, Any]:
    events = load_events(unit.channel, unit.files, unit.protocol)
    return {
        "training": len(events.training),
        "test": len(events.test),
        "signals": {name: len(each) for name, each in events.signals.items()},
        "secret": {name: len(each) for name, each in events.secret.items()},
        "measurable": measurable(events.test.weight),
        "ledger": events.ledger,
    }


def _variants(entries: Mapping[str, Scores], weights: Weights) -> Scores:
    """Every variant by its name, with those made of two entries."""
    found: Scores = {}
    for name, variants in entries.items():
        for variant, roles in variants.items():
            found[f"{name} {variant}".strip()] = roles
    for one, other in PAIRS:
        first = f"{one} avg" if f"{one} avg" in found else one
        if first in found and other in found:
            tails = [_tails(found[first], weights), _tails(found[other], weights)]
            for how in COMBINATIONS:
                found[f"{one}+{other} {how}"] = {
                    role: combine_tails(np.stack([each[role] for each in tails]), how)  # type: ignore[arg-type]
                    for role in tails[0]
                }
    return found


def _tails(roles: Mapping[str, Floats], weights: Weights) -> dict[str, Floats]:
    """Scores mapped to uniform on the training events, as t = -ln(1 - u)."""
    scale = ScoreScale.learn(roles["training"], weights["training"])
    return {role: scale.tail(scores) for role, scores in roles.items()}


def measurable(weight: Floats) -> list[float]:
    """Background efficiencies at which the (effective) test events (n,) leave enough to be measured."""
    effective = weight.sum() ** 2 / (weight**2).sum()
    return [eb for eb in EFFICIENCIES if eb * effective >= _LEAST_BACKGROUND]


def _measure(roles: Mapping[str, Floats], weights: Weights) -> dict[str, dict[str, Any]]:
    """AUC, signal efficiencies and significance improvement of every signal."""
    background = roles["test"]
    found = {}
    for role, scores in roles.items():
        if role in ("training", "test"):
            continue
        labels = np.repeat([0, 1], [len(background), len(scores)])
        both = np.concatenate([background, scores])
        weight = np.concatenate([weights["test"], weights[role]])
        es = {f"{eb:g}": round(efficiency_at(labels, both, eb, weight), _DIGITS) for eb in measurable(weights["test"])}
        found[role] = {
            "events": len(scores),
            "auc": round(auc(labels, both, weight), _DIGITS),
            "es": es,
            "si": round(significance_improvement(es), _DIGITS),
        }
    return found


def significance_improvement(es: Mapping[str, float]) -> float:
    """SI: the largest eS / sqrt(eB) over the background efficiencies that could be measured; NaN where none could.

    Examples
    --------
    >>> significance_improvement({"0.01": 0.5, "0.001": 0.2})
    6.324555320336759
    """
    return max((value / float(eb) ** 0.5 for eb, value in es.items()), default=float("nan"))


def total_improvements(channels: Mapping[str, Mapping[str, Any]], kind: str = "signal") -> dict[str, Any]:
    """TI of each signal (its largest SI over the channels), and their minimum, median and maximum over signals.

    Parameters
    ----------
    channels
        By channel, what was measured for each role.
    kind
        "signal" or "secret".
    """
    found: dict[str, float] = {}
    for roles in channels.values():
        for role, measured in roles.items():
            group, _, name = role.partition("/")
            if group == kind and np.isfinite(measured["si"]):
                found[name] = max(found.get(name, 0.0), measured["si"])
    values = list(found.values())
    if not values:
        return {"signals": {}}
    return {"signals": found, "min": min(values), "median": float(np.median(values)), "max": max(values)}


def _correlations(variants: Scores, weights: Weights) -> dict[str, Any]:
    """Pearson coefficients of the uniform scores of background test events: between entries, and among Deep SVDDs."""
    names = [name for name in variants if _shown(name) and "+" not in name and name not in _EXTRA]
    members = [name for name in variants if not _shown(name)]
    found: dict[str, Any] = {"names": names, "pearson": _pearson(variants, names, weights).round(4).tolist()}
    if len(members) > 1:
        matrix = _pearson(variants, members, weights)
        upper = matrix[np.triu_indices(len(members), 1)]
        low, median, high = np.quantile(upper, [0.16, 0.5, 0.84])
        found["members"] = {"low": float(low), "median": float(median), "high": float(high), "pairs": len(upper)}
    return found


_EXTRA = ("deep-svdd and", "deep-svdd or", "deep-svdd prod")  # of the ensemble, its mean stands for all


def _pearson(variants: Scores, names: Iterable[str], weights: Weights) -> Floats:
    uniform = np.stack([-np.expm1(-_tails(variants[name], weights)["test"]) for name in names])
    covariance = np.atleast_2d(np.cov(uniform, aweights=weights["test"]))
    spread = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore"):  # a constant score has no correlation: NaN
        return np.asarray(covariance / spread[:, None] / spread[None, :])


def _histogram(roles: Mapping[str, Floats], weights: Weights) -> dict[str, Any]:
    """Counts of t = -ln(1 - u), u being the uniform score, on one axis for all roles."""
    tails = _tails(roles, weights)
    edges = np.linspace(0.0, np.log(max(len(roles["test"]), 10)) + 2.0, _BINS + 1)
    counts = {
        role: np.histogram(np.minimum(values, edges[-1]), edges, weights=weights[role])[0].tolist()
        for role, values in tails.items()
        if role != "training"
    }
    return {"edges": edges.tolist(), "counts": counts}
