"""All figures of a run in one PDF, with a bookmark for each and one for each group of them."""

from __future__ import annotations

from pathlib import Path

from pypdf import PdfReader, PdfWriter

from resonaut.files import atomic_path

__all__ = ("GROUPS", "write_plots_pdf")

GROUPS = (
    ("Local p-values", "plots", "pvalue_scan*"),
    ("Spectra", "plots", "spectrum_*"),
    ("Upper limits", "plots", "limits_*"),
    ("Truth labels", "plots", "sic*"),
    ("Campaign", "campaign", "*"),
    ("Validation", "validation", "**/*"),
    ("Interpretation", "interpretation", "*/*"),
)
"""Bookmark, folder of the run directory, and names of its figures, in the order of the report."""


def write_plots_pdf(run: Path) -> Path | None:
    """Write `plots.pdf` into the run directory.

    Parameters
    ----------
    run
        Run directory with figures as single-page PDF files.

    Returns
    -------
    Path or None
        The file; None where the run has no figures.
    """
    writer = PdfWriter()
    for title, folder, pattern in GROUPS:
        group = None
        for path in sorted((run / folder).glob(f"{pattern}.pdf")):
            first = len(writer.pages)
            for page in PdfReader(path).pages:
                writer.add_page(page)
            if group is None:
                group = writer.add_outline_item(title=title, page_number=first)
            writer.add_outline_item(title=_name(path, run / folder), page_number=first, parent=group)
    if not len(writer.pages):
        return None
    writer.add_metadata({"/Title": f"Figures of the run {run.resolve().name}", "/Creator": "resonaut"})
    writer.compress_identical_objects()
    target = run / "plots.pdf"
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        writer.write(file)
    return target


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix().replace("_", " ").replace("/", ": ")
