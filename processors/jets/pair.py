"""The two leading jets of every event, clustered from particles or taken from a collection.

Either way they come as plain arrays of shape (events, 2), NaN where an event has fewer than two jets, so that whatever
follows is arithmetic on columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.jets.kernels_cluster import cluster_events, directions, four_vectors, momenta_to_jets
from resonaut.processors.jets.kernels_substructure import n_subjettiness, soft_drop_masses

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

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ALGORITHMS = {"antikt": -1.0, "cambridge": 0.0, "kt": 1.0}
"""Clustering algorithms and the power p of their generalised-kT distance."""

SUBSTRUCTURE = ("tau1", "tau2", "tau3", "tau4", "tau1b2", "n", "msd")
STORED = {"n": ("n", "nConstituents"), "msd": ("msd", "msoftdrop")}
ZCUT = 0.1


@dataclass(frozen=True)
class Particles:
    """Particles of many events, or constituents of many jets.

    Parameters
    ----------
    momenta : (n, 4) = (px, py, pz, E) in GeV.
    offsets : (events + 1,) first particle of each event.
    """

    momenta: Floats
    offsets: Ints

    @cached_property
    def towards(self) -> Floats:
        """(n, 2) rapidities and angles."""
        return directions(self.momenta)


@dataclass(frozen=True)
class JetPair:
    """The two jets of highest pT of each event; arrays (events, 2), j1 first, NaN where there are not two."""

    count: Ints
    columns: dict[str, Floats] = field(default_factory=dict)
    broken: Mask | None = None

    def __len__(self) -> int:
        return len(self.count)


def flatten_particles(collection: Any) -> tuple[Particles, Mask]:
    """Momenta of a jagged collection with pt, eta, phi, mass, and which events hold a value that is not finite.

    Those events come without particles. Particles without transverse momentum (padding) are dropped.
    """
    counts = ak.to_numpy(ak.num(collection, axis=1))
    pt, eta, phi, mass = (
        np.asarray(ak.to_numpy(ak.flatten(collection[x], axis=1)), dtype=np.float64)
        for x in ("pt", "eta", "phi", "mass")
    )
    event = np.repeat(np.arange(len(counts)), counts)
    finite = np.isfinite(pt) & np.isfinite(eta) & np.isfinite(phi) & np.isfinite(mass) & (pt >= 0)
    broken = np.zeros(len(counts), bool)
    broken[event[~finite]] = True
    keep = (pt > 0) & ~broken[event]
    if not keep.all():
        pt, eta, phi, mass, event = pt[keep], eta[keep], phi[keep], mass[keep], event[keep]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(event, minlength=len(counts)))]).astype(np.int64)
    return Particles(four_vectors(pt, eta, phi, mass), offsets), broken


def substructure(constituents: Particles, radius: float) -> dict[str, Floats]:
    """tau1 ... tau4, tau1b2, n and soft-drop mass of jets given by their constituents, each of shape (jets,)."""
    taus = n_subjettiness(constituents.momenta, constituents.towards, constituents.offsets, radius)
    out = dict(zip(SUBSTRUCTURE[:5], taus.T, strict=True))
    out["n"] = np.diff(constituents.offsets).astype(np.float64)
    out["msd"] = soft_drop_masses(constituents.momenta, constituents.towards, constituents.offsets, ZCUT)
    return out


def _gather(particles: Particles, members: Ints, first: Ints, last: Ints) -> Particles:
    """Constituents of the chosen jets, jet after jet; jet i owns members[first[i]:last[i]]."""
    counts = last - first
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(first, counts)
    return Particles(particles.momenta[members[rows]], offsets)


def _spread(values: dict[str, Floats], where: Mask) -> dict[str, Floats]:
    """Values of pairs (2k,), j1 and j2 alternating, into arrays (events, 2) with NaN elsewhere."""
    out = {}
    for name, column in values.items():
        full = np.full((len(where), 2), np.nan)
        full[where] = column.reshape(-1, 2)
        out[name] = full
    return out


def cluster(particles: Particles, *, algorithm: str = "antikt", radius: float = 1.0, ptmin: float = 20.0) -> JetPair:
    """Cluster particles and describe the two leading jets of every event.

    Parameters
    ----------
    particles : momenta and event offsets.
    algorithm : name in `ALGORITHMS`.
    radius : jet radius, and R0 of N-subjettiness.
    ptmin : smallest jet pT in GeV.

    Raises
    ------
    ConfigError
        If the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(unknown_name("clustering algorithm", algorithm, ALGORITHMS))
    momenta, jet_offsets, members, bounds = cluster_events(
        particles.momenta, particles.towards, particles.offsets, radius, ALGORITHMS[algorithm], ptmin
    )
    count = np.diff(jet_offsets)
    two = count >= 2
    chosen = (jet_offsets[:-1][two][:, None] + np.arange(2)).ravel()
    pt, eta, phi, mass = momenta_to_jets(momenta[chosen]).T
    values = {"pt": pt, "eta": eta, "phi": phi, "m": mass}
    values |= substructure(_gather(particles, members, bounds[chosen], bounds[chosen + 1]), radius)
    return JetPair(count, _spread(values, two))


def linked_constituents(events: Any) -> tuple[Any, Any, Any] | None:
    """(candidates, index of each link's candidate, index of its jet) of PFNano-like events."""
    fields = set(events.fields)
    if {"FatJetPFCands", "PFCands"} <= fields:
        return events.PFCands, events.FatJetPFCands.pFCandsIdx, events.FatJetPFCands.jetIdx
    if {"FatJetPFCand", "PFCand"} <= fields:
        return events.PFCand, events.FatJetPFCand.pfCandIdx, events.FatJetPFCand.jetIdx
    return None


def constituents_of(links: tuple[Any, Any, Any], chosen: Any) -> Particles:
    """Constituents of the chosen jets (k, 2) of every event, jet after jet; PUPPI weights scale the momenta."""
    candidates, candidate_index, jet_index = links
    parts = []
    for j in range(2):
        mine = candidates[candidate_index[jet_index == chosen[:, j]]]
        parts.append(mine)
    jets = ak.concatenate([part[:, np.newaxis] for part in parts], axis=1)
    flat = ak.flatten(jets, axis=1)
    pt = flat.pt * flat.puppiWeight if "puppiWeight" in flat.fields else flat.pt
    mass = flat.mass * flat.puppiWeight if "puppiWeight" in flat.fields else flat.mass
    scaled = ak.zip({"pt": pt, "eta": flat.eta, "phi": flat.phi, "mass": mass})
    return flatten_particles(scaled)[0]


def _stored(jets: Any, name: str) -> Floats | None:
    """Flat values of a jet column under any of the names that files use."""
    for candidate in STORED.get(name, (name,)):
        if candidate in jets.fields:
            return np.asarray(ak.to_numpy(ak.flatten(jets[candidate], axis=1)), dtype=np.float64)
    return None


def collection_pair(events: Any, collection: str, radius: float) -> JetPair:
    """The two leading jets of a collection, with the substructure that the file holds or lets us compute.

    Where the jets point to their constituents (PFNano), substructure is computed from them with R0 = `radius`;
    else stored values are taken. What is in neither is absent. Kinematics and mass are the collection's.

    Raises
    ------
    InputError
        If there is no such collection or it lacks kinematics.
    """
    try:
        jets = events[collection]
    except ValueError as error:  # coffea's four-vectors check their own coordinates
        msg = f"collection {collection} is not of jets with pt, eta, phi, mass: {str(error).splitlines()[0]}"
        raise InputError(msg) from error
    lacking = [x for x in ("pt", "eta", "phi", "mass") if x not in jets.fields]
    if lacking:
        msg = f"collection {collection} lacks {lacking}; it has {sorted(jets.fields)[:20]}"
        raise InputError(msg)
    count = ak.to_numpy(ak.num(jets, axis=1)).astype(np.int64)
    two = count >= 2
    enough = events[two]
    links = linked_constituents(enough) if collection == "FatJet" else None
    order = ak.argsort(enough[collection].pt, axis=1, ascending=False, stable=True)[:, :2]
    pair = enough[collection][order]
    values = {
        "pt": _stored(pair, "pt"),
        "eta": _stored(pair, "eta"),
        "phi": _stored(pair, "phi"),
        "m": _stored(pair, "mass"),
    }
    if links is None:
        values |= {name: _stored(pair, name) for name in SUBSTRUCTURE}
    else:
        values |= substructure(constituents_of(links, order), radius)
    return JetPair(count, _spread({k: v for k, v in values.items() if v is not None}, two))
