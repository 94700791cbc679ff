"""What all figures share: style, colours, cut names, saving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import mplhep
from matplotlib.figure import Figure

from resonaut.files import atomic_path, finite_or_none, write_json

__all__ = ("COLOURS", "Drawn", "cut_name", "label_experiment", "save_figure", "style")

# Okabe-Ito: distinguishable in print and for colour-blind readers.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


Drawn = tuple[Figure, dict[str, Any]]
"""A figure and the numbers behind it, as every `draw_...` function returns them."""


@contextmanager
def style() -> Iterator[None]:
    """Particle-physics look, drawn without a display."""
    small = {
        "font.size": 13,
        "axes.labelsize": 14,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "legend.fontsize": 11,
        "lines.linewidth": 1.6,
        "pdf.fonttype": 42,
    }
    with mpl.rc_context(), plt.style.context([mplhep.style.ROOT, small]):
        yield


def cut_name(cut: float) -> str:
    """What a cut is called in tables and legends.

    Examples
    --------
    >>> cut_name(1.0), cut_name(0.01), cut_name(0.001)
    ('no cut', '1 %', '0.1 %')
    """
    return "no cut" if cut >= 1 else f"{100 * cut:.3g} %"


def label_experiment(axes: Any, text: str) -> None:
    """Name of the search above the frame."""
    axes.text(0.0, 1.01, text, transform=axes.transAxes, ha="left", va="bottom", fontsize=13, fontweight="bold")


def save_figure(drawn: Drawn, stem: Path) -> None:
    """Write `stem`.png, .pdf and .json (the numbers), each whole or not at all, and close the figure."""
    figure, numbers = drawn
    for suffix in ("png", "pdf"):
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
            metadata = {"CreationDate": None} if suffix == "pdf" else None
            with style():  # fonts are looked up when the figure is drawn, not when it is made
                figure.savefig(temporary, format=suffix, metadata=metadata, bbox_inches="tight", dpi=120)
    write_json(stem.with_name(f"{stem.name}.json"), finite_or_none(numbers))
    plt.close(figure)
