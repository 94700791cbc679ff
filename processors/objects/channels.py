"""The four selections of the Dark Machines challenge (arXiv:2105.14027, section 2), each a list of named cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.events.objects import JETS, LEPTONS, EventObjects

__all__ = ("CHANNELS", "Channel", "channel_cutflow", "find_channel")

Mask = npt.NDArray[np.bool_]
Cut = Callable[[EventObjects], Mask]


@dataclass(frozen=True)
class Channel:
    """A selection: cuts (events -> mask) by their name, in the order in which they are applied."""

    name: str
    cuts: dict[str, Cut]

    def masks(self, events: EventObjects) -> dict[str, Mask]:
        """Which events pass each cut by itself."""
        return {name: np.asarray(cut(events), bool) for name, cut in self.cuts.items()}

    def select(self, events: EventObjects) -> Mask:
        """Which events pass all cuts."""
        return np.asarray(np.logical_and.reduce(list(self.masks(events).values())), bool)


def _met(least: float) -> dict[str, Cut]:
    return {f"MET >= {least:g}": lambda events: events.met >= least}


def _ht(least: float) -> dict[str, Cut]:
    return {f"HT >= {least:g}": lambda events: events.ht >= least}


def _leptons(least: int, pt: float = 15.0) -> dict[str, Cut]:
    return {f">= {least} leptons, pT > {pt:g}": lambda events: events.count(*LEPTONS, above=pt) >= least}


def _jets(least: int, pt: float) -> dict[str, Cut]:
    return {f">= {least} jets, pT > {pt:g}": lambda events: events.count(*JETS, above=pt) >= least}


def _met_over_ht(least: float) -> dict[str, Cut]:
    return {f"MET/HT >= {least:g}": lambda events: events.met >= least * events.ht}


CHANNELS: dict[str, Channel] = {
    name: Channel(name, cuts)
    for name, cuts in {
        "1": _ht(600.0) | _met(200.0) | _met_over_ht(0.2) | _jets(4, 50.0) | _jets(1, 200.0),
        "2a": _leptons(3) | _met(50.0),
        "2b": _leptons(2) | _met(50.0) | _ht(50.0),
        "3": _ht(600.0) | _met(100.0),
    }.items()
}
"""Every channel by its name; GeV, jets b-tagged or not, leptons electrons and muons."""


def find_channel(name: str) -> Channel:
    """The channel of that name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in CHANNELS:
        raise ConfigError(unknown_name("channel", str(name), CHANNELS))
    return CHANNELS[name]


def channel_cutflow(events: EventObjects, name: str) -> tuple[Mask, dict[str, int]]:
    """Which events pass a channel's selection, and how many are left after each of its cuts, the first being "all".

    Raises
    ------
    ConfigError
        If there is no such channel.
    """
    alive = np.ones(len(events), bool)
    cutflow = {"all": len(events)}
    for cut, mask in find_channel(name).masks(events).items():
        alive &= mask
        cutflow[cut] = int(alive.sum())
    return alive, cutflow
