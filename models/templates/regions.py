"""Which masses a template learns from, beside the signal region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from resonaut.errors import ConfigError, RegionError
from resonaut.models.sample import Sample
from resonaut.stats import Window

__all__ = ("Sidebands", "checked_sidebands", "outside_signal_region", "sideband_range")

Sidebands = Literal["all", "near"] | tuple[float, float]
_NEAR = (0.82, 1.22)  # of the signal region's edges: 2.7-4.5 TeV around 3.3-3.7 TeV, as in arXiv:2307.11157, table 2
_FEWEST = 100  # events on each side: fewer cannot fix a density, whatever the method


def checked_sidebands(sidebands: str | Sequence[float]) -> Sidebands:
    """Range of masses to learn from, as an option has it.

    Raises
    ------
    ConfigError
        Unless it is "all", "near", or (low, high) with low < high.
    """
    if sidebands == "all":
        return "all"
    if sidebands == "near":
        return "near"
    if not isinstance(sidebands, str) and len(sidebands) == 2 and sidebands[0] < sidebands[1]:
        return float(sidebands[0]), float(sidebands[1])
    msg = f"sidebands must be 'all', 'near' or (low, high) in GeV, got {sidebands!r}"
    raise ConfigError(msg)


def sideband_range(window: Window, sidebands: Sidebands) -> tuple[float, float]:
    """Lowest and highest mass (low, high) to learn from, GeV."""
    if sidebands == "all":
        return -np.inf, np.inf
    if sidebands == "near":
        return _NEAR[0] * window.low, _NEAR[1] * window.high
    assert not isinstance(sidebands, str)
    return sidebands


def outside_signal_region(sample: Sample, window: Window, sidebands: Sidebands = "all") -> Sample:
    """Events to learn from: none of the signal region.

    Parameters
    ----------
    sample
        All events.
    window
        Its signal region is left out; its own sidebands play no part.
    sidebands
        "all" events outside the signal region; "near", from 0.82 of its lower edge to 1.22 of its upper one; or
        (low, high), GeV.

    Raises
    ------
    RegionError
        If one side has fewer than 100 events.
    """
    low, high = sideband_range(window, sidebands)
    used = (sample.mass >= low) & (sample.mass < high)
    for side, inside in (("below", sample.mass < window.low), ("above", sample.mass >= window.high)):
        events = np.count_nonzero(used & inside & (sample.weight > 0))
        if events < _FEWEST:
            msg = (
                f"{events} events {side} the signal region {window} in {low:.0f}-{high:.0f} GeV: at least {_FEWEST} are "
                "needed on each side to interpolate; widen `sidebands` or give the whole sample"
            )
            raise RegionError(msg)
    return sample.take(used & ~window.in_signal_region(sample.mass))
