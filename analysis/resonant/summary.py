"""What a benchmark found, in one JSON-able mapping: medians and 68 % bands over the repetitions, for tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resonaut.analysis.resonant import measures
from resonaut.analysis.resonant.events import divide, only
from resonaut.analysis.resonant.protocol import COMBINATIONS, REFERENCES
from resonaut.analysis.resonant.published import PUBLISHED
from resonaut.analysis.resonant.units import Plan, PosteriorUnit
from resonaut.analysis.resonant.work import read_template
from resonaut.analysis.seeds import seed_for
from resonaut.models.compare import uniformly_better
from resonaut.models.metrics import Band

__all__ = ("summarise",)

_FIGURES = ("auc", "template_auc", "max_sic_10", "max_sic_30", "sic_at_rejection")
_KS_TOYS = 50
Results = dict[tuple[str, float], list[dict[str, Any]]]


def summarise(plan: Plan) -> dict[str, Any]:
    """Everything that tables and figures need, from finished units."""
    protocol = plan.protocol
    results: Results = {
        (method, s): [plan.scores(method, s, seed).result() for seed in _repetitions(plan, method, s)]
        for method in plan.methods
        for s in protocol.s_over_b
    }
    return {
        "protocol": protocol.facts(),
        "methods": list(plan.methods),
        "events": _events(plan),
        "performance": {m: [_performance(results, m, s) for s in protocol.s_over_b] for m in plan.methods},
        "templates": _templates(plan),
        "agreement": _agreement(plan),
        "posterior": _posterior(plan),
        "sculpting": _sculpting(plan, results),
        "uniformity": _uniformity(plan, results),
        "costs": _costs(plan, results),
        "published": PUBLISHED,
    }


def _repetitions(plan: Plan, method: str, s_over_b: float) -> range:
    """Repetitions that were done at one S/B; those of the supervised reference hold at all of them."""
    done = method == "supervised" or s_over_b in plan.protocol.strengths(method)
    return range(plan.protocol.repetitions(method) if done else 0)


def _events(plan: Plan) -> dict[str, Any]:
    events, protocol = plan.events, plan.protocol
    window = protocol.window
    division = divide(events, protocol, 0.0, 0)
    found = {
        "background": len(events.background),
        "background_in_signal_region": len(division.data) + len(division.truth),
        "data": len(division.data),
        "truth": len(division.truth),
        "signal_in_signal_region": len(division.spare),
        "simulation": 0 if events.simulation is None else len(events.simulation),
    }
    if events.simulation is not None:
        found["simulation_in_signal_region"] = int(window.in_signal_region(events.simulation.mass).sum())
    return found


def _performance(results: Results, method: str, s_over_b: float) -> dict[str, Any]:
    runs = results[method, s_over_b]
    injected = max([run["injected"] for run in runs], default=0)
    found: dict[str, Any] = {"s_over_b": s_over_b, "runs": len(runs), "injected": injected}
    found |= {name: measures.band([run.get(name) for run in runs]) for name in _FIGURES}
    found["ratio"] = measures.band(_ratios(results, method, s_over_b))
    found["sic"] = _sic_band(runs)
    return found


def _ratios(results: Results, method: str, s_over_b: float) -> list[float | None]:
    """Maximum SIC over that of the idealised detector in the same repetition."""
    if ("idealised", s_over_b) not in results:
        return []
    pairs = zip(results[method, s_over_b], results["idealised", s_over_b], strict=False)  # as many as there are of both
    values = [(mine["max_sic_10"], ideal["max_sic_10"]) for mine, ideal in pairs]
    return [mine / ideal if mine is not None and ideal else None for mine, ideal in values]


def _sic_band(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median and 68 % band of the SIC on the grid; NaN where fewer than half of the curves reach."""
    unknown = [np.nan] * len(measures.GRID)
    curves = np.array([run.get("sic") or unknown for run in runs] or [unknown], dtype=np.float64)
    bands = np.full((3, curves.shape[1]), np.nan)
    reached = np.isfinite(curves).sum(axis=0) * 2 >= len(curves)
    if reached.any():
        bands[:, reached] = np.nanquantile(curves[:, reached], [0.5, 0.16, 0.84], axis=0)
    median, low, high = (row.tolist() for row in bands)
    return {"es": measures.GRID.tolist(), "median": median, "low": low, "high": high}


def _templates(plan: Plan) -> dict[str, Any]:
    """KS distances and marginals of the templates of the first repetition, against background that they do not hold."""
    events, protocol = plan.events, plan.protocol
    s_over_b, division = protocol.s_over_b[0], divide(plan.events, protocol, protocol.s_over_b[0], 0)
    background = only(events.background, protocol.features)
    truth = background.take(protocol.window.in_signal_region(background.mass))
    seed = seed_for(protocol.seed, "KS")
    found: dict[str, Any] = {"ks": {}, "methods": []}
    samples = {}
    for method in plan.methods:
        if method in REFERENCES or method in plan.judged or method == "combined-events":
            template = plan.template(method, s_over_b, 0)
            sample = read_template(template.folder)
            against = background.take(division.data) if method in REFERENCES else truth
            if method != "supervised":
                found["ks"][method] = measures.ks_table(sample, against, toys=_KS_TOYS, seed=seed)
            if method not in REFERENCES:
                samples[method] = sample
    if plan.protocol.generator_seeds > 1:
        found["ks_generators"] = _ks_of_generators(plan, truth, seed)
    found["methods"] = list(samples)
    found["marginals"] = measures.marginals(samples, truth)
    return found


def _ks_of_generators(plan: Plan, truth: Any, seed: int) -> dict[str, Any]:
    """Distances of the templates of all generator seeds."""
    found: dict[str, Any] = {}
    for method in plan.judged:
        tables = []
        for number in range(min(plan.protocol.generator_seeds, plan.protocol.seeds)):
            sample = read_template(plan.template(method, plan.protocol.s_over_b[0], number).folder)
            tables.append(measures.ks_table(sample, truth, toys=2, seed=seed)["distance"])
        found[method] = {name: measures.band([table[name] for table in tables]) for name in tables[0]}
    return found


def _agreement(plan: Plan) -> dict[str, Any]:
    """Correlations and overlaps at each S/B, of the methods that are no combination and no supervised reference."""
    left_out = (*COMBINATIONS, *plan.protocol.reduced, "supervised", "idealised-half")
    methods = [m for m in plan.methods if m not in left_out]
    if len(methods) < 2:
        return {}
    protocol, found = plan.protocol, {}
    for s in protocol.s_over_b:
        scores = {m: [plan.scores(m, s, seed).load() for seed in range(min(protocol.seeds, 10))] for m in methods}
        found[f"{s:g}"] = measures.agreement(scores, seed_for(protocol.seed, "agreement"))
    return found


def _posterior(plan: Plan) -> dict[str, Any]:
    if len(plan.judged) < 2:
        return {}
    runs = [PosteriorUnit(plan, number).result() for number in range(plan.protocol.posterior_seeds)]
    return {j: {i: measures.band([run[j][i] for run in runs]) for i in runs[0][j]} for j in runs[0]}


def _sculpting(plan: Plan, results: Results) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in plan.methods:
        for s in plan.protocol.s_over_b:
            if bent := next((run["sculpting"] for run in results[method, s] if "sculpting" in run), None):
                found.setdefault(f"{s:g}", {})[method] = bent
    return found


def _uniformity(plan: Plan, results: Results) -> dict[str, Any]:
    """Each combination against the best of its members at every signal efficiency."""
    found: dict[str, Any] = {}
    for name in (m for m in plan.methods if m in COMBINATIONS):
        rows = []
        for s in (s for s in plan.protocol.s_over_b if s > 0):
            bands = {m: _as_band(_sic_band(results[m, s])) for m in (name, *plan.mixed)}
            compared = uniformly_better(bands.pop(name), bands)
            rows.append(
                {"s_over_b": s, "smallest_ratio": compared.smallest, "above": compared.above,
                 "consistent": compared.consistent, "es": compared.es.tolist(), "ratio": compared.ratio.tolist()}
            )  # fmt: skip
        found[name] = rows
    return found


def _as_band(content: dict[str, Any]) -> Band:
    return Band(*(np.array(content[name], dtype=np.float64) for name in ("es", "median", "low", "high")))


def _costs(plan: Plan, results: Results) -> dict[str, Any]:
    """Seconds and memory of one template and of one cross-fitted training, medians."""

    def middle(values: Sequence[Any]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.median(known)) if known else None

    found = {}
    for method in plan.methods:
        runs = [run for (name, _), group in results.items() if name == method for run in group]
        row = {"seconds": middle([r["seconds"] for r in runs]), "memory_mb": middle([r.get("memory_mb") for r in runs])}
        row["gpu_memory_mb"] = middle([r.get("gpu_memory_mb") for r in runs])
        if method in (*plan.templated, "combined-events"):
            template = plan.template(method, plan.protocol.s_over_b[0], 0).result()
            row |= {f"template_{key}": template.get(key) for key in ("seconds", "memory_mb", "gpu_memory_mb", "events")}
        found[method] = row
    return found
