"""Optional parts of a run directory: validation, campaign, interpretation, files for machines. Absent parts are None or empty."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resonaut.analysis.reporting.figures import Figure, figures_in
from resonaut.errors import InputError
from resonaut.files import read_json

__all__ = ("campaign", "interpretation", "machine_files", "validation")

logger = logging.getLogger(__name__)

_GREEN = ("green", "pass", "passed", "ok", "true", "good")
_RED = ("red", "fail", "failed", "false", "bad")
_STRENGTHS = {
    "efficiency": "Acceptance times efficiency against the number of injected events",
    "significance": "Local significance against the number of injected events",
    "observed": "Upper limit against the number of injected events",
}
_LISTS = ("checks", "tests", "results")


def _read(path: Path) -> Any:
    """Content of an optional file; None where it is absent or damaged, which is no reason to lose the report."""
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except InputError as error:
        logger.warning("left out of the report: %s", error)
        return None


def _figure(path: Path) -> Figure | None:
    png = path if path.suffix == ".png" else path.with_name(f"{path.name}.png")
    return Figure.read(png) if png.is_file() else None


def _verdict(value: Any) -> str:
    """green, red or amber; a word that is not known is no pass."""
    word = str(value).strip().lower()
    return "green" if word in _GREEN else "red" if word in _RED else "amber"


def validation(run: Path) -> dict[str, Any] | None:
    """Checks of `validation/validation.json`, each with name, verdict, number, threshold, diagnosis and figure.

    Parameters
    ----------
    run
        Run directory.
    """
    content = _read(run / "validation" / "validation.json")
    if content is None:
        return None
    about = content if isinstance(content, Mapping) else {}
    rows = next((about[key] for key in _LISTS if isinstance(about.get(key), list)), content)
    if not isinstance(rows, list):
        return None
    checks = []
    for row in (row for row in rows if isinstance(row, Mapping)):
        name = row.get("figure")
        idle = row.get("made") is False and row.get("verdict") == "green"
        checks.append(
            {
                "name": str(row.get("title") or row.get("name") or "unnamed"),
                "verdict": _verdict(row.get("verdict")),
                "word": "not made" if idle else str(row.get("verdict", "no verdict")),
                "idle": idle,
                "number": row.get("number"),
                "threshold": row.get("threshold"),
                "diagnosis": str(row.get("diagnosis") or ""),
                "figure": (_figure(run / str(name)) or _figure(run / "validation" / str(name))) if name else None,
            }
        )
    made = [check for check in checks if not check["idle"]]
    counts = {verdict: sum(check["verdict"] == verdict for check in made) for verdict in ("green", "red", "amber")}
    counts["not made"] = len(checks) - len(made)
    return {"checks": checks, "counts": counts, "diagnosis": str(about.get("diagnosis") or "")}


def campaign(run: Path) -> dict[str, Any] | None:
    """Limits of `campaign.json` in the unit of the figure, and the figures."""
    content = _read(run / "campaign.json")
    if not isinstance(content, Mapping):
        return None
    luminosity = content.get("luminosity")
    scale = 1.0 / luminosity if luminosity else 1.0
    rows = []
    for signal in content.get("signals", ()):
        for selection in signal["selections"]:
            limit = selection["limit"]
            if limit is None:
                continue
            values = [limit["observed"], *limit["expected"]]
            rows.append(
                {
                    "signal": signal["name"],
                    "mass": signal["mass"],
                    "method": selection["method"],
                    "kind": selection["kind"],
                    "cut": selection["cut"],
                    "limits": [None if value is None else value * scale for value in values],
                    "reach": [None if v is None else v * scale for v in selection.get("reach", {}).values()]
                    or [None, None],
                    "status": limit["status"][0] if limit["status"] else "",
                }
            )
    return {
        "rows": rows,
        "unit": "fb" if luminosity else "produced events",
        "units": content.get("units"),
        "trainings": content.get("trainings"),
        "cpu_seconds": content.get("cpu_seconds"),
        "warnings": list(content.get("warnings", ())),
        "limits": figures_in(run / "campaign", "limits"),
        "strengths": [
            {"figure": figure, "caption": f"{what}: {figure.name.removeprefix(f'{kind}_').replace('_', ' ')}"}
            for kind, what in _STRENGTHS.items()
            for figure in figures_in(run / "campaign", f"{kind}_*")
        ],
    }


def interpretation(run: Path) -> dict[str, Any] | None:
    """What the methods learned, with the figures of each."""
    content = _read(run / "interpretation" / "interpretation.json")
    if not isinstance(content, Mapping):
        return None
    methods = []
    for method in content["methods"]:
        pictures = {name: _figure(run / method["folder"] / name) for name in method["figures"]}
        methods.append({**method, "pictures": {name: figure for name, figure in pictures.items() if figure}})
    return {**content, "methods": methods}


def machine_files(run: Path) -> list[dict[str, Any]]:
    """Files for machines that the run directory has: path, what it is, how many."""
    found = [
        ("summary.json", "all results of the search; docs/summary.md describes every key"),
        ("results/scan.json", "entries of the p-value scan"),
        ("results/fits.json", "every background fit, with its parameters and their covariance"),
        ("results/spectra.root", "the spectra as ROOT histograms"),
        ("results/direct.csv", "direct estimates of the background"),
        ("results/hepdata/submission.yaml", "HEPData submission: p-values, spectra with their fits, limits"),
        ("interpretation/interpretation.json", "what the methods learned"),
        ("validation/validation.json", "checks of the search"),
        ("campaign.json", "the search again with signals injected"),
        ("plots.pdf", "all figures in one file, with bookmarks"),
    ]
    rows = [{"path": path, "what": what, "number": 1} for path, what in found if (run / path).is_file()]
    if number := len(list((run / "interpretation").glob("*/hepdata/submission.yaml"))):
        what = "HEPData submission: efficiency of the selection in bins of two features"
        rows.append({"path": "interpretation/*/hepdata/submission.yaml", "what": what, "number": number})
    for folder in ("limits", "signals"):
        if number := len(list((run / folder).rglob("workspace.json"))):
            what = "pyhf workspaces, the signal scaled to its limit: CLs = 0.05 at μ = 1"
            rows.append({"path": f"{folder}/**/workspace.json", "what": what, "number": number})
    if number := len(list((run / "scores").glob("*/*/scorer"))):
        rows.append(
            {"path": "scores/*/*/scorer", "what": "the score functions, for `resonaut export`", "number": number}
        )
    return rows
