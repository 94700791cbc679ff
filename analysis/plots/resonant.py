"""Figures of a benchmark of resonant methods, drawn from its results.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resonaut.analysis.plots.canvas import Drawn, save_figure
from resonaut.analysis.plots.resonant_agreement import (
    draw_correlations,
    draw_overlaps,
    draw_overlaps_scan,
    draw_scores,
    draw_sculpting,
)
from resonaut.analysis.plots.resonant_card import draw_card
from resonaut.analysis.plots.resonant_performance import (
    draw_auc_spread,
    draw_ratios,
    draw_sic_bands,
    draw_strength_scan,
)
from resonaut.analysis.plots.resonant_templates import draw_ks, draw_marginals, draw_posterior

__all__ = ("draw_benchmark",)


def draw_benchmark(results: Mapping[str, Any], folder: Path) -> list[str]:
    """All figures that the results have content for, as PNG and PDF with their numbers; their names."""
    names = []
    for name, drawn in _figures(results):
        save_figure(drawn, folder / name)
        names.append(name)
    return names


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Drawn]]:
    strengths = results["protocol"]["s_over_b"]
    yield from _template_figures(results)
    for row, strength in enumerate(strengths):
        yield f"sic_{100 * strength:g}", draw_sic_bands(results, row)
    if len(strengths) > 1:
        yield "strength_scan", draw_strength_scan(results)
        if "idealised" in results["performance"]:
            yield "ratio_to_idealised", draw_ratios(results)
    if 0.0 in strengths:
        yield "auc_spread", draw_auc_spread(results)
    for key, found in results["agreement"].items():
        percent = f"{100 * float(key):g}"
        yield f"correlations_{percent}", draw_correlations(results, key)
        yield f"overlaps_{percent}", draw_overlaps(results, key)
        if len(set(found["methods"]) - {"idealised"}) > 2:
            for kind in ("background", "signal"):
                yield f"scores_{kind}_{percent}", draw_scores(results, key, kind)
    if len(results["agreement"]) > 1:
        yield "overlaps_scan", draw_overlaps_scan(results)
    for method in results["methods"]:
        yield f"card_{method}", draw_card(results, method)
    for key in results["sculpting"]:
        yield f"sculpting_{100 * float(key):g}", draw_sculpting(results, key)


def _template_figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Drawn]]:
    if results["templates"]["ks"]:
        yield "ks", draw_ks(results)
    if results["templates"]["methods"]:
        yield "marginals", draw_marginals(results)
    if results["posterior"]:
        yield "log_posterior", draw_posterior(results)
