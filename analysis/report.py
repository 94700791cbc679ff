"""The report: one self-contained HTML page and one PDF of all figures, made from a run directory alone."""

from __future__ import annotations

from pathlib import Path

from resonaut.analysis.reporting import render_page, write_plots_pdf
from resonaut.analysis.rundir import RunDirectory
from resonaut.analysis.summary import SCHEMA
from resonaut.errors import InputError
from resonaut.files import atomic_path, read_json

__all__ = ("write_report",)


def write_report(path: Path) -> Path:
    """Write `report.html` and `plots.pdf` of the run in `path` from its summary and figures.

    Parts that a run may have beside them (validation, a campaign, interpretation) are shown where they are.

    Parameters
    ----------
    path
        Run directory.

    Returns
    -------
    Path
        The page.

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
    write_plots_pdf(run.path)  # first: the page lists it
    with atomic_path(run.report) as temporary:
        temporary.write_text(render_page(run))
    return run.report
