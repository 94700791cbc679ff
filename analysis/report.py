"""The report: one self-contained HTML page, made from a run directory alone."""

from __future__ import annotations

import base64
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from scipy.stats import norm

from resonaut.analysis.plots.canvas import cut_name
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.scoring import interval_name
from resonaut.analysis.summary import SCHEMA
from resonaut.errors import InputError
from resonaut.files import atomic_path, read_json
from resonaut.processors.features.labels import html_symbol
from resonaut.stats.windows import interval_text

__all__ = ("write_report",)


def _image(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _p_text(p: float | None) -> str:
    """A p-value as a reader wants it: three digits, scientific when small."""
    if p is None:
        return "no fit"
    return f"{p:.3f}" if p >= 1e-3 else f"{p:.1e}"


def _z_text(z: float | None) -> str:
    return "–" if z is None else f"{z:+.2f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _figures(plots: Path, prefix: str) -> list[dict[str, str]]:
    return [{"name": path.stem, "data": _image(path)} for path in sorted(plots.glob(f"{prefix}*.png"))]


def _context(run: RunDirectory) -> dict[str, Any]:
    summary = read_json(run.summary)
    best = summary["best"]
    spectra = _figures(run.plots, "spectrum_")
    in_best = [f for f in spectra if best and f["name"].endswith(f"_{interval_name(best['low'], best['high'])}")]
    corrected = summary["best_trials_corrected_p"]
    return {
        "summary": summary,
        "best": best,
        "variable": Markup(html_symbol(summary.get("variable", "mjj"))),
        "interval": interval_text,
        "corrected_z": norm.isf(corrected) if corrected else None,
        "scan": _figures(run.plots, "pvalue_scan"),
        "best_spectra": in_best,
        "other_spectra": [f for f in spectra if f not in in_best],
        "limit_figures": _figures(run.plots, "limits_"),
        "sic": _figures(run.plots, "sic"),
        "config_text": run.config.read_text(),
        "entries": sorted(
            summary["windows"], key=lambda e: (e["low"], e["method"] != "inclusive", e["method"], -e["cut"])
        ),
        "signals": (signals := summary.get("signals", [])),
        "signal_yields": any(entry["expected_events"] is not None for entry in signals),
        "signal_fb": any(entry["expected_fb"] is not None for entry in signals),
        "direct": {_place(entry): entry for entry in summary.get("direct", ())},
        "place": _place,
    }


def _place(entry: dict[str, Any]) -> tuple[Any, ...]:
    """What an entry is about: the fit and the direct estimate of one selection have the same."""
    return tuple(entry[name] for name in ("low", "high", "method", "cut"))


def write_report(path: Path) -> Path:
    """Write `report.html` of the run in `path` from its summary and plots.

    Raises
    ------
    InputError
        If the folder holds no finished run.
    """
    run = RunDirectory(path)
    if not run.summary.is_file():
        msg = f"{path} has no summary.json: finish the run first (resonaut run CONFIG --out {path})"
        raise InputError(msg)
    if not run.config.is_file() or read_json(run.summary).get("schema") != SCHEMA or not any(run.plots.glob("*.png")):
        msg = f"{path} is not a whole run (config.yaml, plots/ and a summary of {SCHEMA}): start `resonaut run` again"
        raise InputError(msg)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(p=_p_text, z=_z_text, number=_number, cut=cut_name)
    template = environment.from_string(files("resonaut.analysis").joinpath("report.html.j2").read_text())
    with atomic_path(run.report) as temporary:
        temporary.write_text(template.render(_context(run)))
    return run.report
