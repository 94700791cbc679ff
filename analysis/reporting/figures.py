"""Figures of a run as data URIs, so that the page needs no other file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

__all__ = ("Figure", "figures_in")

SCALE = 0.72  # of the pixels of a file, which are made for sharp screens and paper


@dataclass(frozen=True)
class Figure:
    """A PNG of a run directory.

    Parameters
    ----------
    name
        Of the file, without its end.
    data
        The image as a data URI.
    width, height
        Size on the page, pixels of CSS: the labels of a figure are then as large as the text around it.
    """

    name: str
    data: str
    width: int
    height: int

    @classmethod
    def read(cls, path: Path) -> Figure:
        """The figure in a PNG file."""
        content = path.read_bytes()
        width, height = (int.from_bytes(content[k : k + 4], "big") for k in (16, 20))  # of the header chunk, IHDR
        data = "data:image/png;base64," + base64.b64encode(content).decode()
        return cls(path.stem, data, round(SCALE * width), round(SCALE * height))


def figures_in(folder: Path, pattern: str = "*") -> list[Figure]:
    """Figures of a folder by name; none where there is no such folder."""
    return [Figure.read(path) for path in sorted(folder.glob(f"{pattern}.png"))]
