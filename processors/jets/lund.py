"""The primary Lund plane of jets: one point per splitting along the harder branch.

Dreyer, Salam, Soyez, arXiv:1807.04758.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.jets.kernels_lund import SPLITTING
from resonaut.processors.jets.particles import Particles
from resonaut.processors.jets.shared import SharedParts

__all__ = ("LUND_COORDINATES", "LundPlane", "lund_plane")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LUND_COORDINATES = ("ln_inverse_delta", "ln_kt", "ln_inverse_z", "psi", "ln_m")
"""Coordinates as networks take them (LundNet, arXiv:2012.08526): ln(1 / Delta), ln(kt / GeV), ln(1 / z), psi, ln(m / GeV)."""


@dataclass(frozen=True)
class LundPlane:
    """Splittings of many jets, jet after jet, each jet's widest angle first.

    Parameters
    ----------
    values : {name: (splittings,)}: `delta` distance of the branches in (rapidity, phi), `kt` = pT of the softer times
        delta in GeV, `z` = pT of the softer / sum of both pT, `psi` azimuth of the softer about the harder, `m` mass of
        both in GeV.
    offsets : (jets + 1,) first splitting of each jet.
    """

    values: dict[str, Floats]
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def coordinate(self, name: str) -> Floats:
        """A value or one of `LUND_COORDINATES`, (splittings,).

        Raises
        ------
        ConfigError
            If there is none of this name.
        """
        if name in self.values:
            return self.values[name]
        if name not in LUND_COORDINATES:
            raise ConfigError(unknown_name("Lund coordinate", name, [*self.values, *LUND_COORDINATES]))
        inverse = name.startswith("ln_inverse_")
        with np.errstate(divide="ignore"):
            logarithm = np.log(self.values[name.removeprefix("ln_inverse_").removeprefix("ln_")])
        return -logarithm if inverse else logarithm

    def jagged(self) -> Any:
        """Awkward array (jets, splittings) with all values and coordinates as fields."""
        names = dict.fromkeys([*self.values, *LUND_COORDINATES])
        flat = ak.zip({name: self.coordinate(name) for name in names})
        return ak.unflatten(flat, np.diff(self.offsets))

    def padded(self, depth: int, coordinates: tuple[str, ...] = LUND_COORDINATES) -> tuple[Floats, Mask]:
        """The first `depth` splittings of each jet: (jets, depth, coordinates) with 0 where absent, and where they are."""
        present = np.arange(depth) < np.diff(self.offsets)[:, None]
        rows = (self.offsets[:-1, None] + np.arange(depth))[present]
        out = np.zeros((*present.shape, len(coordinates)))
        for i, name in enumerate(coordinates):
            out[present, i] = self.coordinate(name)[rows]
        return out, present


def lund_plane(constituents: Particles) -> LundPlane:
    """Primary Lund plane of jets given by their constituents, reclustered with Cambridge/Aachen."""
    values, bounds = SharedParts(constituents, 1.0).splittings()
    return LundPlane(
        {name: np.ascontiguousarray(column) for name, column in zip(SPLITTING, values.T, strict=True)}, bounds
    )
