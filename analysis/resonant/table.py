"""The results of a benchmark as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ("markdown",)

Row = Sequence[str]


def markdown(results: Mapping[str, Any]) -> str:
    """All tables of a benchmark, for reading and for pasting."""
    parts = [
        "# Benchmark of resonant methods",
        _preamble(results),
        "## Maximum SIC (at least 10 background events left)",
        _by_strength(results, "max_sic_10"),
        "## Maximum SIC (at least 30 background events left)",
        _by_strength(results, "max_sic_30"),
        "## Maximum SIC over that of the idealised detector of the same repetition",
        _by_strength(results, "ratio", digits=2) + _published_ratios(results),
        "## SIC at background rejection 1000",
        _by_strength(results, "sic_at_rejection"),
        "## AUC, signal against background",
        _by_strength(results, "auc", digits=3),
        "## AUC, data against the method's own template (0.5: cannot be told apart)",
        _by_strength(results, "template_auc", digits=4),
        "## Templates against true background: Kolmogorov-Smirnov distances",
        _ks(results),
        *_posterior(results),
        *_uniformity(results),
        *_sculpting(results),
        "## Costs",
        _costs(results),
    ]
    return "\n\n".join(parts) + "\n"


def _preamble(results: Mapping[str, Any]) -> str:
    protocol, events = results["protocol"], results["events"]
    window = protocol["window"]
    shifted = f", both masses shifted by {protocol['shift']:g} mJJ" if protocol["shift"] else ""
    spread = (
        "training alone"
        if protocol["fixed_events"]
        else "other data and truth, other injected signal, other classifiers"
    )
    parts = (
        f"Signal region {window['low']:.0f}-{window['high']:.0f} GeV: {events['background_in_signal_region']} background ",
        f"events, {events['data']} of them play the data and {events['truth']} the truth (template of the idealised ",
        f"detector); {events['signal_in_signal_region']} signal events.\n",
        f"Features: {', '.join(protocol['features'])}{shifted}. Classifier: {protocol['classifier']}, ",
        f"{protocol['folds']} folds.\nRepetitions: {protocol['seeds']} ({spread}{_fewer(results)}), trainings of each template: ",
        f"{protocol['generator_seeds']}. Medians with 68 % intervals over the repetitions; in brackets in the heads of the ",
        "columns, injected signal events.",
    )
    most = protocol["max_background"]
    few = (
        ""
        if most is None
        else f"\n\n**At most {most} background events: figures that say that all parts work, and no more.**"
    )
    return "".join(parts) + few


def _fewer(results: Mapping[str, Any]) -> str:
    """Which methods were run less often."""
    runs = {name: max(row["runs"] for row in rows) for name, rows in results["performance"].items()}
    fewer = [f"{name} {count}" for name, count in runs.items() if count < results["protocol"]["seeds"]]
    return f"; fewer of {', '.join(fewer)}" if fewer else ""


def _table(header: Row, rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _with_band(band: Mapping[str, float | None], digits: int) -> str:
    if band["median"] is None:
        return "-"
    middle = _number(band["median"], digits)
    if band["low"] == band["high"]:
        return middle
    return f"{middle} ({_number(band['low'], digits)} to {_number(band['high'], digits)})"


def _by_strength(results: Mapping[str, Any], figure: str, digits: int = 1) -> str:
    strengths = results["protocol"]["s_over_b"]
    first = next(iter(results["performance"].values()))
    counts = {row["s_over_b"]: row["injected"] for row in first}
    for rows in results["performance"].values():
        counts |= {row["s_over_b"]: max(row["injected"], counts[row["s_over_b"]]) for row in rows}
    header = ["method", *(f"{100 * s:g} % ({counts[s]})" for s in strengths)]
    rows = [
        [name, *(_with_band(row[figure], digits) for row in found)] for name, found in results["performance"].items()
    ]
    return _table(header, [row for row in rows if set(row[1:]) != {"-"}])


def _published_ratios(results: Mapping[str, Any]) -> str:
    key = "ratio_to_idealised_shifted" if results["protocol"]["shift"] else "ratio_to_idealised"
    found = results["published"][key]
    values = ", ".join(f"{name} {value:.2f}" for name, value in found["values"].items())
    return f"\n\nPublished: {values} ({found['source']})."


def _ks(results: Mapping[str, Any]) -> str:
    found, published = results["templates"]["ks"], results["published"]["ks"]
    if not found:
        return "No templates in the features' coordinates."
    names = list(next(iter(found.values()))["distance"])
    rows = []
    for method, row in found.items():
        floor = row["floor"]
        cells = [f"{row['distance'][n]:.4f}" for n in names]
        rows.append([method, *cells, f"{floor['mean']:.4f} (95 %: {floor['upper']:.4f})", f"{row['effective']:.0f}"])
    for method, values in published["values"].items():
        by_name = dict(zip(published["features"], values, strict=True))
        if all(n in by_name for n in names):
            rows.append([f"published {method}", *(f"{by_name[n]:.4f}" for n in names), "", ""])
    note = f"\n\nFloor: distance of two samples of true background of these (effective) sizes. Published: {published['source']}."
    return _table(["method", *names, "floor", "effective events"], rows) + note


def _posterior(results: Mapping[str, Any]) -> list[str]:
    found = results["posterior"]
    if not found:
        return []
    models = list(next(iter(found.values())))
    rows = [[j, *(_with_band(found[j][i], 4) for i in models)] for j in found]
    return [
        "## Average log posterior of each model (columns) for the samples (rows)",
        _table(["samples", *models], rows),
    ]


def _uniformity(results: Mapping[str, Any]) -> list[str]:
    if not results["uniformity"]:
        return []
    rows = [
        [
            name,
            f"{100 * row['s_over_b']:g} %",
            _number(row["smallest_ratio"], 2),
            _yes(row["above"]),
            _yes(row["consistent"]),
        ]
        for name, found in results["uniformity"].items()
        for row in found
    ]
    header = [
        "combination",
        "S/B",
        "smallest ratio to the best member",
        "above it everywhere",
        "not below it within the band",
    ]
    return ["## Combinations against the best member at every signal efficiency", _table(header, rows)]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _sculpting(results: Mapping[str, Any]) -> list[str]:
    rows = []
    for strength, methods in results["sculpting"].items():
        for method, cuts in methods.items():
            cells = [f"{cut['chi2']:.0f}/{cut['ndf']}" for cut in cuts.values()]
            rows.append([method, f"{100 * float(strength):g} %", *cells])
    if not rows:
        return []
    cuts = next(iter(next(iter(results["sculpting"].values())).values()))
    header = ["method", "S/B", *(f"chi2/ndf of a flat efficiency, {100 * float(cut):g} % cut" for cut in cuts)]
    return ["## Sculpting: background efficiency against the mass", _table(header, rows)]


def _costs(results: Mapping[str, Any]) -> str:
    rows = []
    for method, cost in results["costs"].items():
        cells = [
            _number(cost.get(key), 0)
            for key in ("template_seconds", "template_events", "seconds", "memory_mb", "gpu_memory_mb")
        ]
        rows.append([method, *cells])
    header = [
        "method",
        "template [s]",
        "template events",
        "cross-fitted training [s]",
        "peak memory [MB]",
        "GPU memory [MB]",
    ]
    return _table(header, rows)
