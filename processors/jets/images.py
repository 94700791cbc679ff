"""Jets as images: the pT of the constituents in pixels of rapidity and angle.

Steps of de Oliveira et al., arXiv:1511.05190, and Macaluso and Shih, arXiv:1803.00107: centre, rotate, flip, pixelate,
normalise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError
from resonaut.processors.jets.kernels_angularities import jet_momenta, sums
from resonaut.processors.jets.kernels_cluster import directions
from resonaut.processors.jets.particles import Particles

__all__ = ("ORIENTATIONS", "image_coordinates", "jet_images")

Floats = npt.NDArray[np.float64]

ORIENTATIONS = ("none", "rotated", "flipped")
"""`none`: centred only; `rotated`: and the principal axis upright; `flipped`: and more pT on the right and in the upper half."""


def _centred(jets: Particles, z: Floats) -> tuple[Floats, Floats]:
    """Rapidity and angle relative to the pT-weighted centroid of each jet."""
    counts = np.diff(jets.offsets)
    axis = np.repeat(directions(jet_momenta(jets.momenta, jets.offsets)), counts, axis=0)
    x = jets.towards[:, 0] - axis[:, 0]
    y = (jets.towards[:, 1] - axis[:, 1] + np.pi) % (2 * np.pi) - np.pi
    shift_x, shift_y = (np.repeat(sums(z * v, jets.offsets), counts) for v in (x, y))
    return x - shift_x, y - shift_y


def image_coordinates(constituents: Particles, orientation: str = "flipped") -> tuple[Floats, Floats, Floats]:
    """pT fraction, horizontal and vertical position of every constituent, (n,) each.

    Without rotation they are rapidity and angle relative to the centroid. The principal axis is that of the
    pT-weighted second moments.

    Raises
    ------
    ConfigError
        If the orientation is not one of `ORIENTATIONS`.
    """
    if orientation not in ORIENTATIONS:
        msg = f"orientation is {orientation!r}, expected one of {', '.join(ORIENTATIONS)}"
        raise ConfigError(msg)
    offsets, counts = constituents.offsets, np.diff(constituents.offsets)
    z = constituents.pt / np.repeat(sums(constituents.pt, offsets), counts)
    x, y = _centred(constituents, z)
    if orientation == "none":
        return z, x, y
    xx, yy, xy = (sums(z * v, offsets) for v in (x * x, y * y, x * y))
    upright = np.repeat(0.5 * np.pi - 0.5 * np.arctan2(2 * xy, xx - yy), counts)
    x, y = x * np.cos(upright) - y * np.sin(upright), x * np.sin(upright) + y * np.cos(upright)
    if orientation == "flipped":
        right, upper = (sums(z * np.sign(v), offsets) for v in (x, y))
        x *= np.repeat(np.where(right < 0, -1.0, 1.0), counts)
        y *= np.repeat(np.where(upper < 0, -1.0, 1.0), counts)
    return z, x, y


def jet_images(
    constituents: Particles, pixels: int = 40, width: float = 2.0, *, orientation: str = "flipped"
) -> npt.NDArray[np.float32]:
    """Images of jets, (jets, pixels, pixels), each of sum 1; rows are the vertical position, from below.

    What falls outside is left out before the sum is brought to 1. A jet without particles is empty.

    Parameters
    ----------
    constituents : momenta, jet after jet.
    pixels : number of pixels along each side.
    width : length of a side in rapidity and angle; 2 R holds the jet.
    orientation : one of `ORIENTATIONS`.

    Raises
    ------
    ConfigError
        If the orientation is unknown, or there is no pixel or no width.
    """
    if pixels < 1 or not width > 0:
        msg = f"got {pixels} pixels on a width of {width}, expected at least one and a positive width"
        raise ConfigError(msg)
    z, x, y = image_coordinates(constituents, orientation)
    jets = len(constituents.offsets) - 1
    owner = np.repeat(np.arange(jets), np.diff(constituents.offsets))
    column, row = (np.floor((v / width + 0.5) * pixels).astype(np.int64) for v in (x, y))
    inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    flat = ((owner * pixels + row) * pixels + column)[inside]
    counted = np.bincount(flat, z[inside], minlength=jets * pixels * pixels)  # integers without particles
    images = counted.astype(np.float64).reshape(jets, pixels, pixels)
    total = images.sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(images, total, out=np.zeros_like(images), where=total > 0), dtype=np.float32)
