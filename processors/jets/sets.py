"""Jets as sets of their hardest constituents, for networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.jets.kernels_angularities import jet_momenta
from resonaut.processors.jets.kernels_cluster import momenta_to_jets
from resonaut.processors.jets.particles import Particles

__all__ = ("CONSTITUENT_FEATURES", "ConstituentSets", "constituent_sets")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CONSTITUENT_FEATURES = ("z", "deta", "dphi", "dr", "log_pt", "log_e", "log_z", "log_e_fraction", "charge")
"""pT / jet pT, differences to the jet axis, natural logarithms of GeV and of fractions: ParticleNet, arXiv:1902.08570, table 2."""

DEFAULT = ("z", "deta", "dphi", "log_pt", "log_e")


@dataclass(frozen=True)
class ConstituentSets:
    """The `size` constituents of highest pT of each jet.

    Parameters
    ----------
    values : (jets, size, features), falling pT, 0 where a jet has fewer.
    mask : (jets, size) where there is a constituent.
    features : names of the last axis.
    """

    values: Floats
    mask: Mask
    features: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


def _features(jets: Particles, rows: Ints, owner: Ints, names: tuple[str, ...]) -> dict[str, Floats]:
    """Features of the chosen constituents, (rows,) each."""
    total = jet_momenta(jets.momenta, jets.offsets)[owner]
    axis, one = momenta_to_jets(total), momenta_to_jets(jets.momenta[rows])
    deta, dphi = one[:, 1] - axis[:, 1], (one[:, 2] - axis[:, 2] + np.pi) % (2 * np.pi) - np.pi
    energy, z = jets.momenta[rows, 3], one[:, 0] / axis[:, 0]
    makers: dict[str, Callable[[], Floats]] = {
        "z": lambda: z,
        "deta": lambda: deta,
        "dphi": lambda: dphi,
        "dr": lambda: np.hypot(deta, dphi),
        "log_pt": lambda: np.log(one[:, 0]),
        "log_e": lambda: np.log(energy),
        "log_z": lambda: np.log(z),
        "log_e_fraction": lambda: np.log(energy / total[:, 3]),
        "charge": lambda: np.zeros(0) if jets.charges is None else jets.charges[rows],
    }
    return {name: makers[name]() for name in names}


def constituent_sets(constituents: Particles, size: int, features: tuple[str, ...] = DEFAULT) -> ConstituentSets:
    """The hardest constituents of jets, relative to the jet: its summed momentum gives axis, pT and energy.

    Parameters
    ----------
    constituents : momenta, jet after jet; with charges where the feature `charge` is asked for.
    size : constituents kept of each jet.
    features : names in `CONSTITUENT_FEATURES`.

    Raises
    ------
    ConfigError
        If a feature is unknown, or is `charge` and the constituents have none.
    """
    for name in features:
        if name not in CONSTITUENT_FEATURES:
            raise ConfigError(unknown_name("constituent feature", name, CONSTITUENT_FEATURES))
    if "charge" in features and constituents.charges is None:
        msg = "charge was asked for and these constituents have no charges: read them with flatten_particles(..., charges=True)"
        raise ConfigError(msg)
    counts = np.diff(constituents.offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-constituents.pt, owner))
    rank = np.arange(len(order)) - constituents.offsets[:-1][owner]
    kept = rank < size
    mask = np.arange(size) < counts[:, None]
    values = np.zeros((len(counts), size, len(features)))
    for i, column in enumerate(_features(constituents, order[kept], owner[kept], features).values()):
        values[mask, i] = column
    return ConstituentSets(values, mask, features)
