"""Sources: small classes that turn event files of one layout into events of one shape.

A source says which files it takes, how many events a file holds, and gives the events of rows start..stop as a
coffea `NanoEvents` array, whatever the format on disk:

- `PFCand` (jagged: pt, eta, phi, mass) where the file holds particles;
- `FatJet` (jagged: pt, eta, phi, mass, and tau1 ... where they are there) where it holds jets;
- `Jet`, `Electron`, `Muon`, `Photon`, `MET` or `Object` (jagged, of all kinds) where it holds reconstructed objects;
- `label`, `weight`, `run`, `luminosityBlock`, `event` where they are there. Nothing that a file lacks is invented.

A new layout is one new class with the methods of `Source` and one line in `SOURCES`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from resonaut.errors import InputError, unknown_name
from resonaut.processors.sources.darkmachines import LAYOUT
from resonaut.processors.sources.hdf5 import LHCOFeatures, LHCOParticles
from resonaut.processors.sources.objects import DarkMachines, Delphes, Physlite
from resonaut.processors.sources.root import NanoAOD, ParticleTree, PFNano

__all__ = ("SOURCES", "Source", "recognise", "source")


class Source(Protocol):
    """What a source must offer; all methods raise `InputError`, naming file and reason, for a file they cannot read."""

    name: str

    def recognises(self, path: str) -> bool:
        """True if the file has this layout. Raises `InputError` if the file cannot be opened at all."""

    def n_events(self, path: str, tree: str | None = None) -> int:
        """Number of events in the file."""

    def read(
        self, path: str, start: int, stop: int, *, tree: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> Any:
        """Events start..stop (stop excluded) as a NanoEvents array with `metadata`."""


SOURCES: dict[str, Source] = {
    each.name: each
    for each in (
        LHCOParticles(),
        LHCOFeatures(),
        Delphes(),  # before the sources that want a tree `Events`
        Physlite(),
        PFNano(),
        NanoAOD(),
        ParticleTree(),
        DarkMachines(),
    )
}
"""Every source by its name; the first that recognises a file reads it."""


def source(name: str) -> Source:
    """The source of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in SOURCES:
        raise InputError(unknown_name("source", name, SOURCES))
    return SOURCES[name]


def recognise(path: str | os.PathLike[str]) -> str:
    """Name of the source that reads a file, by its content.

    Raises
    ------
    InputError
        If the file is missing, cannot be opened, or no source knows its layout.
    """
    name = os.fspath(path)
    for each in SOURCES.values():
        if each.recognises(name):
            return each.name
    msg = (
        f"{name}: no source knows this layout; known are {', '.join(SOURCES)}. "
        "Expected HDF5 with a pandas frame `df` of particles or jet features, ROOT with a tree `Events`, `Delphes` or "
        f"`CollectionTree`, or lines of {LAYOUT}"
    )
    raise InputError(msg)
