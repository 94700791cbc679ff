"""The leading jets of every event, clustered from particles or taken from a collection, with observables by name.

Either way they come as plain arrays of shape (events, k), NaN where an event has fewer jets, so that whatever follows is
arithmetic on columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.jets.kernels_cluster import cluster_events, momenta_to_jets
from resonaut.processors.jets.names import Request, needs_charges, parse_observable, parse_observables
from resonaut.processors.jets.observables import DEFAULT_OBSERVABLES
from resonaut.processors.jets.particles import (
    Particles,
    chosen_jets,
    flat_values,
    has_charges,
    judged_constituents,
    linked_constituents,
)
from resonaut.processors.jets.shared import SharedParts, ratio

__all__ = ("ALGORITHMS", "JetTable", "collection_jets", "jets_of", "leading_jets", "substructure")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ALGORITHMS = {"antikt": -1.0, "cambridge": 0.0, "kt": 1.0}
"""Clustering algorithms and the power p of their generalised-kT distance."""

STORED = {"n": "nConstituents", "msd": "msoftdrop", "sd_n2": "n2b1", "tau1_b2": "tau1b2"}
"""Names under which files store observables, where it is not their own."""
STORED_KEYS = {parse_observable(name).key: stored for name, stored in STORED.items()}


KINEMATICS = {"pt": "pt", "eta": "eta", "phi": "phi", "m": "mass"}


@dataclass(frozen=True)
class JetTable:
    """The `k` jets of highest pT of each event.

    Parameters
    ----------
    count : (events,) number of jets, those beyond the k leading ones included.
    columns : {name: (events, k)}, leading jet first, NaN where absent: `pt eta phi m` in GeV and radians, then
        observables by the names that they were asked for.
    broken : (events,) events with a particle that is not finite, or a jet whose pT is not finite or negative: their columns
        are NaN.
    """

    count: Ints
    columns: dict[str, Floats] = field(default_factory=dict)
    broken: Mask | None = None

    def __len__(self) -> int:
        return len(self.count)


def substructure(
    constituents: Particles, radius: float, observables: Iterable[str] = DEFAULT_OBSERVABLES
) -> dict[str, Floats]:
    """Observables of jets given by their constituents, (jets,) each; NaN where undefined.

    Only what is asked for is computed; trees, axes and sums that several need, once.

    Parameters
    ----------
    constituents : momenta, jet after jet.
    radius : R0 of N-subjettiness, angularities and soft drop.
    observables : names by the grammar of `resonaut.processors.jets.names`; `OBSERVABLES` lists them.

    Raises
    ------
    ConfigError
        If a name cannot be understood.
    InputError
        If an observable is made of charges and the constituents have none.
    """
    return _computed(parse_observables(observables), constituents, radius)


def _computed(requests: Iterable[Request], constituents: Particles, radius: float) -> dict[str, Floats]:
    parts = SharedParts(constituents, radius)
    return {request.name: request.of(parts) for request in requests}


def _spread(values: dict[str, Floats], present: Mask) -> dict[str, Floats]:
    """Values of the jets that are there, event after event, into arrays (events, k) with NaN elsewhere."""
    out = {}
    for name, column in values.items():
        out[name] = np.full(present.shape, np.nan)
        out[name][present] = column
    return out


def leading_jets(
    particles: Particles,
    k: int = 2,
    *,
    algorithm: str = "antikt",
    radius: float = 1.0,
    ptmin: float = 20.0,
    observables: Iterable[str] = DEFAULT_OBSERVABLES,
) -> JetTable:
    """Cluster particles and describe the `k` leading jets of every event.

    Parameters
    ----------
    particles : momenta and event offsets; with charges where observables need them.
    k : number of jets.
    algorithm : name in `ALGORITHMS`.
    radius : jet radius, and R0 of the observables.
    ptmin : smallest jet pT in GeV.
    observables : names, see `substructure`.

    Raises
    ------
    ConfigError
        If the algorithm or an observable is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(unknown_name("clustering algorithm", algorithm, ALGORITHMS))
    requests = parse_observables(observables)
    momenta, jet_offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, radius, ALGORITHMS[algorithm], ptmin
    )
    count = np.diff(jet_offsets)
    present = np.arange(k) < count[:, None]
    chosen = (jet_offsets[:-1, None] + np.arange(k))[present]
    values = dict(zip(KINEMATICS, momenta_to_jets(momenta[chosen]).T, strict=True))
    values |= _computed(requests, chosen_jets(particles, members, bounds[chosen], bounds[chosen + 1]), radius)
    return JetTable(count, _spread(values, present))


def _column(jets: Any, *names: str) -> Floats | None:
    """Flat values of the first of these columns that there is; no other branch is read."""
    for name in names:
        if name in jets.fields:
            return flat_values(jets[name])
    return None


def _stored(jets: Any, request: Request) -> Floats | None:
    """An observable as the collection stores it, or as the quotient of two that it stores; None if it does neither."""
    names = [request.name, STORED_KEYS.get(request.key, request.name)]
    whole = _column(jets, *names, *([request.observable.name] if request.is_plain else []))
    if whole is not None or request.observable.quotient is None or not request.is_plain:
        return whole
    above, below = (_column(jets, name) for name in request.observable.quotient)
    return None if above is None or below is None else ratio(above, below)


def jets_of(events: Any, collection: str) -> Any:
    """The collection, if it is one of jets."""
    try:
        jets = events[collection]
    except ValueError as error:  # coffea's four-vectors check their own coordinates
        msg = f"collection {collection} is not of jets with pt, eta, phi, mass: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    lacking = [x for x in ("pt", "eta", "phi", "mass") if x not in jets.fields]
    if lacking:
        msg = f"collection {collection} lacks {lacking}; it has {sorted(jets.fields)[:20]}"
        raise InputError(msg)
    return jets


def collection_jets(
    events: Any, collection: str, radius: float, k: int = 2, observables: Iterable[str] | None = None
) -> JetTable:
    """The `k` leading jets of a collection, with observables that the file holds or lets us compute.

    Where the jets point to their constituents (PFNano), observables are computed from them with R0 = `radius`;
    else stored values are taken (of `tau21` and the like the parts), and no branch is read that is not needed.
    Kinematics and mass are the collection's.

    Parameters
    ----------
    events : NanoEvents or an awkward array with the collection.
    collection : name of the jets, such as "FatJet".
    radius : R0 of observables from constituents.
    k : number of jets.
    observables : names, see `substructure`; each must be there. None: those of `DEFAULT_OBSERVABLES` that are.

    Raises
    ------
    InputError
        If there is no such collection, or it lacks kinematics or an observable that was asked for.
    ConfigError
        If an observable is unknown.
    """
    requests = parse_observables(DEFAULT_OBSERVABLES if observables is None else observables)
    jets = jets_of(events, collection)
    count = ak.to_numpy(ak.num(jets, axis=1)).astype(np.int64)
    pt = ak.fill_none(jets["pt"], np.nan, axis=1)
    broken = ak.to_numpy(ak.any(~(np.isfinite(pt) & (pt >= 0)), axis=1))
    order = ak.argsort(pt, axis=1, ascending=False, stable=True)[:, :k]
    leading = jets[order]
    found = {name: _column(leading, stored) for name, stored in KINEMATICS.items()}
    links = linked_constituents(events) if collection == "FatJet" else None
    if links is not None and requests:
        charges = needs_charges(requests)
        if charges and not has_charges(links[0]):
            msg = f"{', '.join(r.name for r in requests if needs_charges([r]))}: the constituents of {collection} have no charges"
            raise InputError(msg)
        constituents, unknown = judged_constituents(links, order, charges=charges)
        computed = _computed(requests, constituents, radius)
        found |= {name: np.where(unknown, np.nan, column) for name, column in computed.items()}
    else:
        found |= {request.name: _stored(leading, request) for request in requests}
    lacking = [name for name, values in found.items() if values is None]
    if observables is not None and lacking:
        msg = f"collection {collection} neither stores {', '.join(lacking)} nor has constituents to compute it from; it has {sorted(jets.fields)[:40]}"
        raise InputError(msg)
    values = {name: column for name, column in found.items() if column is not None}
    columns = _spread(values, np.arange(k) < count[:, None])
    for column in columns.values():
        column[broken] = np.nan  # which jets lead is not known
    return JetTable(count, columns, broken)
