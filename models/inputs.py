"""What the methods read: default features, and masses relative to the event's resonant mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resonaut.errors import ConfigError, unknown_name
from resonaut.models.sample import FloatArray, Sample

__all__ = (
    "AE_FEATURES",
    "CWOLA_FEATURES",
    "INTERPLAY_FEATURES",
    "JET_MASSES",
    "RESONANT_FEATURES",
    "require_scaled",
    "scaled_matrix",
)

CWOLA_FEATURES = tuple(
    f"{observable}_{jet}" for jet in ("h", "l") for observable in ("m", "tau1b2_ratio", "tau21", "tau32", "tau43", "n")
)
"""Jet mass, sqrt(tau1 with beta 2) / tau1, tau21, tau32, tau43 and multiplicity of the heavier and the lighter jet.

The inputs of "Comparing Weak- and Unsupervised Methods", eq. 3.1, with the root on the numerator alone: that makes the
second one a ratio of like angles.
"""

AE_FEATURES = tuple(f"{observable}_{jet}" for jet in ("h", "l") for observable in ("m", "tau21", "tau32", "n", "pt"))
"""Jet mass, tau21, tau32, multiplicity and pT of the heavier and the lighter jet ("Comparing ...", eq. 3.2)."""

RESONANT_FEATURES = ("m_l", "dm_jj", "tau21_l", "tau21_h")
"""Mass of the lighter jet, difference of the masses, and tau21 of both: few enough for a density (arXiv:2109.00546, section 3.1)."""

INTERPLAY_FEATURES = (*RESONANT_FEATURES, "dr_jj")
"""The same with the distance of the jets (arXiv:2307.11157, section 2.2), which grows with the mass: for comparisons, no search."""

JET_MASSES = ("m_h", "m_l", "m_j1", "m_j2", "msd_h", "msd_l", "msd_j1", "msd_j2")
"""Columns in GeV that grow with the resonant mass of their event."""


def require_scaled(scaled: Sequence[str], features: Sequence[str]) -> tuple[str, ...]:
    """Names to scale as a tuple, checked.

    Raises
    ------
    ConfigError
        If one is not a feature, with the nearest names.
    """
    for name in scaled:
        if name not in features:
            raise ConfigError(unknown_name("feature in scaled_by_mass", name, features))
    return tuple(scaled)


def scaled_matrix(sample: Sample, features: Sequence[str], scaled: Sequence[str]) -> FloatArray:
    """Feature matrix (n, d), with the columns named in `scaled` divided by the event's resonant mass."""
    matrix = sample.require(features)
    if not scaled:
        return matrix
    place = np.isin(features, scaled)
    return np.where(place, matrix / sample.mass[:, None], matrix)
