"""The page itself: what stands in a run directory, put into the templates of this folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from scipy.stats import norm

from resonaut.analysis.plots.canvas import cut_name
from resonaut.analysis.plots.feature_labels import feature_html
from resonaut.analysis.reporting import formats
from resonaut.analysis.reporting.charts import limit_chart, scan_chart, spectrum_chart
from resonaut.analysis.reporting.figures import Figure, figures_in
from resonaut.analysis.reporting.quality import POOR, fit_quality, is_poor, quality_counts
from resonaut.analysis.reporting.sections import campaign, interpretation, machine_files, validation
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import interval_name
from resonaut.files import read_json
from resonaut.processors.features.labels import html_symbol
from resonaut.stats.windows import interval_text

__all__ = ("render_page",)


def render_page(run: RunDirectory) -> str:
    """The report of a finished run as one HTML page that needs no other file and no network.

    Parameters
    ----------
    run
        Run directory with `summary.json`, `config.yaml` and figures; every other part of it is shown where it is there.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )
    environment.filters.update(
        p=formats.p_text, z=formats.z_text, number=formats.number, compact=formats.compact, signed=formats.signed,
        seconds=formats.seconds, cut=cut_name, feature=_feature, json=_script_json,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(_context(run))


def _template(name: str) -> str:
    return files("resonaut.analysis.reporting").joinpath("templates").joinpath(name).read_text()


def _feature(name: str) -> Markup:
    known = feature_html(name)
    return Markup(known) if known != name else escape(name)


def _script_json(content: Any) -> Markup:
    """JSON inside of a script element: no text in it can end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _context(run: RunDirectory) -> dict[str, Any]:
    summary = read_json(run.summary)
    best = summary["best"]
    variable = summary.get("variable", "mjj")
    signals = summary.get("signals", [])
    fits = read_json(run.results / "fits.json") if (run.results / "fits.json").is_file() else []
    quality = fit_quality(fits)
    axis = _axis(variable)
    corrected = summary["best_trials_corrected_p"]
    return {
        "summary": summary,
        "best": best,
        "blind": bool(summary.get("blind", summary["config"].get("blind", False))),
        "unblinding": summary.get("unblinding"),
        "excess": summary.get("excess"),
        "luminosity": _luminosity(summary["config"]),
        "quality": quality,
        "best_quality": quality.get(_place(best)) if best else None,
        "quality_counts": quality_counts(quality.values()),
        "is_poor": is_poor,
        "poor": POOR,
        "variable": Markup(html_symbol(variable)),
        "interval": interval_text,
        "place": _place,
        "corrected_z": norm.isf(corrected) if corrected else None,
        "charts": {
            "scan": scan_chart(summary["windows"], axis),
            "spectra": spectrum_chart(fits, axis),
            "limits": limit_chart(summary["limits"], axis),
            "best": best,
        },
        **_figures(run, best),
        "glance": _limits_at_a_glance(summary["limits"], best),
        "entries": sorted(
            summary["windows"], key=lambda e: (e["low"], e["method"] != "inclusive", e["method"], -e["cut"])
        ),
        "methods": list(dict.fromkeys(e["method"] for e in summary["windows"])),
        "signals": signals,
        "signal_yields": any(entry["expected_events"] is not None for entry in signals),
        "signal_fb": any(entry["expected_fb"] is not None for entry in signals),
        "direct": {_place(entry): entry for entry in summary.get("direct", ())},
        "validation": validation(run.path),
        "campaign": campaign(run.path),
        "interpretation": interpretation(run.path),
        "files": machine_files(run.path),
        "config_text": _config_text(run),
        "run_name": run.path.resolve().name,
    }


def _figures(run: RunDirectory, best: Mapping[str, Any] | None) -> dict[str, list[Figure]]:
    spectra = figures_in(run.plots, "spectrum_*")
    end = f"_{interval_name(best['low'], best['high'])}" if best else None
    in_best = [figure for figure in spectra if end and figure.name.endswith(end)]
    return {
        "scan": figures_in(run.plots, "pvalue_scan*"),
        "best_spectra": in_best,
        "other_spectra": [figure for figure in spectra if figure not in in_best],
        "limit_figures": figures_in(run.plots, "limits_*"),
        "sic": figures_in(run.plots, "sic*"),
    }


def _luminosity(config: Mapping[str, Any]) -> float | None:
    """fb-1, from either of the two places where a config may have it."""
    found: float | None = config["luminosity"] or (config["limits"] or {}).get("luminosity")
    return found


def _axis(variable: str) -> list[str]:
    """Symbol, its subscript and the unit, for the text of an axis."""
    written = html_symbol(variable)
    match = re.fullmatch(r"(.+)<sub>(.+)</sub>", written)
    return [match[1], match[2], "GeV"] if match else [written, "", "GeV"]


def _place(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an entry is about: the fit and the direct estimate of one selection have the same."""
    return tuple(entry[name] for name in ("low", "high", "method", "cut"))


def _limits_at_a_glance(limits: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """For each kind of limit: the range over all masses, and the limit in the window of the largest excess."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for limit in limits:
        groups.setdefault(limit["signal"], []).append(limit)
    rows = []
    for signal, entries in groups.items():
        known = [e for e in entries if None not in e["expected"]]  # of a blinded search they are all that is shown
        if not known:
            rows.append({"signal": signal, "known": 0, "of": len(entries)})
            continue
        end = "_fb" if all("observed_fb" in e for e in known) else ""
        inside = [e for e in known if best and best["low"] <= e["mass"] < best["high"]]
        centre = (best["low"] * best["high"]) ** 0.5 if best else 0.0
        here = min(inside, key=lambda e: abs(e["mass"] - centre), default=None)
        observed = [value for e in known if (value := e[f"observed{end}"]) is not None]
        median = [e[f"expected{end}"][2] for e in known]
        rows.append(
            {
                "signal": signal,
                "known": len(known),
                "of": len(entries),
                "unit": "fb" if end else "events",
                "masses": (min(e["mass"] for e in known), max(e["mass"] for e in known)),
                "observed": (min(observed), max(observed)) if observed else None,
                "expected": (min(median), max(median)),
                "here": here and {
                    "mass": here["mass"], "observed": here[f"observed{end}"], "expected": here[f"expected{end}"]
                },
            }
        )  # fmt: skip
    return rows


def _config_text(run: RunDirectory) -> str:
    """The configuration as it was written; normal YAML again where that was one long line."""
    text = run.config.read_text()
    return text if max(map(len, text.splitlines()), default=0) < 2000 else yaml.safe_dump(yaml.safe_load(text))
