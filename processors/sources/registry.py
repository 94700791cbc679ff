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
from resonaut.processors.sources.case import CaseDijets, CaseFeatures
from resonaut.processors.sources.challenge import DarkMachines
from resonaut.processors.sources.column_map import PREFIX, ColumnMap
from resonaut.processors.sources.darkmachines import LAYOUT
from resonaut.processors.sources.delphes import Delphes
from resonaut.processors.sources.hdf5 import LHCOFeatures, LHCOParticles, is_hdf5
from resonaut.processors.sources.hdf5_columns import HDF5Branches
from resonaut.processors.sources.parquet import NanoParquet
from resonaut.processors.sources.physlite import Physlite
from resonaut.processors.sources.root import NanoAOD, ParticleTree, PFNano
from resonaut.processors.sources.root_files import is_root, trees_of
from resonaut.processors.sources.tables import EventTable
from resonaut.processors.sources.treemaker import TreeMaker

__all__ = ("SOURCES", "Source", "recognise", "source")


class Source(Protocol):
    """What a source must offer; all methods raise `InputError`, naming file and reason, for a file they cannot read."""

    @property
    def name(self) -> str:
        """In `SOURCES` and in filesets."""

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
        CaseDijets(),
        CaseFeatures(),
        Delphes(),  # before the sources that want a tree `Events`
        Physlite(),
        TreeMaker(),
        PFNano(),
        NanoAOD(),
        ParticleTree(),
        EventTable(),
        NanoParquet(),
        DarkMachines(),
    )
}
"""Every source by its name; the first that recognises a file reads it."""


def source(name: str | Mapping[str, Any] | Source) -> Source:
    """The source of that name, or of that column map.

    Parameters
    ----------
    name : of one of `SOURCES` or of a `ColumnMap`; a column map as plain data; or a source itself.

    Raises
    ------
    InputError
        If there is none of that name.
    ConfigError
        For a column map that makes no sense.
    """
    if isinstance(name, Mapping):
        return ColumnMap.from_dict(name)
    if not isinstance(name, str):
        return name
    if name.startswith(PREFIX):
        return ColumnMap.from_name(name)
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
        f"{name}: no source knows this layout{_contents(name)}; known are {', '.join(SOURCES)}. "
        "Flat ntuples of any names are read by a column map (docs/inputs.md), lines of text if they are "
        f"{LAYOUT}"
    )
    raise InputError(msg)


def _contents(path: str) -> str:
    """What a file that nobody knows holds, as far as that is easily said."""
    if is_root(path):
        return f" (ROOT with the trees {', '.join(trees_of(path)[:8]) or 'none'})"
    if is_hdf5(path):
        return f" (HDF5 with the columns {', '.join(sorted(HDF5Branches(path).names)[:8]) or 'none'})"
    return ""
