"""The two leading jets of every event: `JetTable` with k = 2 and both jets or none.

Features of more jets, or of events with one: `resonaut.processors.jets.table`, whose `leading_jets` and
`collection_jets` give any number of jets, each with the observables asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from resonaut.processors.jets.observables import DEFAULT_OBSERVABLES
from resonaut.processors.jets.particles import (
    Particles,
    constituents_of,
    flatten_particles,
    linked_constituents,
)
from resonaut.processors.jets.table import ALGORITHMS, JetTable, collection_jets, jets_of, leading_jets, substructure

__all__ = (
    "ALGORITHMS",
    "JetPair",
    "Particles",
    "cluster",
    "collection_pair",
    "constituents_of",
    "flatten_particles",
    "linked_constituents",
    "substructure",
)


@dataclass(frozen=True)
class JetPair(JetTable):
    """The two jets of highest pT of each event; arrays (events, 2), j1 first, NaN where there are not two."""


def cluster(
    particles: Particles,
    *,
    algorithm: str = "antikt",
    radius: float = 1.0,
    ptmin: float = 20.0,
    observables: Iterable[str] = DEFAULT_OBSERVABLES,
) -> JetPair:
    """Cluster particles and describe the two leading jets of every event; options and errors of `leading_jets`."""
    table = leading_jets(particles, algorithm=algorithm, radius=radius, ptmin=ptmin, observables=observables)
    for column in table.columns.values():
        column[table.count < 2] = np.nan
    return JetPair(table.count, table.columns)


def collection_pair(events: Any, collection: str, radius: float, observables: Iterable[str] | None = None) -> JetPair:
    """The two leading jets of a collection; options and errors of `collection_jets`."""
    count = ak.to_numpy(ak.num(jets_of(events, collection), axis=1)).astype(np.int64)
    two = count >= 2
    table = collection_jets(events[two], collection, radius, observables=observables)
    columns = {name: np.full((len(count), 2), np.nan) for name in table.columns}
    for name, column in columns.items():
        column[two] = table.columns[name]
    broken = np.zeros(len(count), bool)
    broken[two] = table.broken
    return JetPair(count, columns, broken)
