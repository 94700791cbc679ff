"""Particles of events and constituents of jets as plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.jets.kernels_cluster import directions, four_vectors

__all__ = (
    "Particles",
    "chosen_jets",
    "constituents_of",
    "flat_values",
    "flatten_particles",
    "has_charges",
    "judged_constituents",
    "linked_constituents",
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

POSITIVE = (211, 321, 2212)  # PDG codes whose particle is positive, its antiparticle negative
NEGATIVE = (11, 13, 15)  # and the other way round


@dataclass(frozen=True)
class Particles:
    """Particles of many events, or constituents of many jets.

    Parameters
    ----------
    momenta : (n, 4) = (px, py, pz, E) in GeV.
    offsets : (events + 1,) first particle of each event.
    charges : (n,) electric charges in units of e, where they are known.
    """

    momenta: Floats
    offsets: Ints
    charges: Floats | None = None

    @cached_property
    def towards(self) -> Floats:
        """(n, 2) rapidities and angles."""
        return directions(self.momenta)

    @cached_property
    def pt(self) -> Floats:
        """(n,) transverse momenta in GeV."""
        return np.asarray(np.sqrt(self.momenta[:, 0] ** 2 + self.momenta[:, 1] ** 2))

    def taken(self, rows: Ints, offsets: Ints) -> Particles:
        """Chosen particles, in the order of `rows`, with new offsets."""
        charges = None if self.charges is None else self.charges[rows]
        out = Particles(self.momenta[rows], offsets, charges)
        if "towards" in vars(self):  # known already, and dear: a logarithm and an arctangent each
            vars(out)["towards"] = self.towards[rows]
        return out


def flat_values(jagged: Any) -> Floats:
    """Values (n,) of all lists after one another, NaN where masked."""
    return np.asarray(ak.to_numpy(ak.fill_none(ak.flatten(jagged, axis=1), np.nan)), dtype=np.float64)


def has_charges(collection: Any) -> bool:
    """True if the particles' charges are stored, or follow from their PDG codes."""
    return bool({"charge", "pdgId"} & set(collection.fields))


def _charge_column(read: Callable[[str], Floats], fields: list[str]) -> Floats:
    """Charges as stored, or of particle-flow candidates by their PDG codes."""
    if "charge" in fields:
        return read("charge")
    code = read("pdgId")
    up, down = np.isin(np.abs(code), POSITIVE), np.isin(np.abs(code), NEGATIVE)
    return np.asarray(np.sign(code) * (up.astype(np.float64) - down))


def _assembled(columns: dict[str, Floats], counts: Ints) -> tuple[Particles, Mask]:
    """Particles of flat columns, `counts` to a list, and which lists hold a value that is not finite."""
    event = np.repeat(np.arange(len(counts)), counts)
    finite = np.all([np.isfinite(values) for values in columns.values()], axis=0) & (columns["pt"] >= 0)
    broken = np.zeros(len(counts), bool)
    broken[event[~finite]] = True
    keep = (columns["pt"] > 0) & ~broken[event]
    if not keep.all():
        columns, event = {name: values[keep] for name, values in columns.items()}, event[keep]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(event, minlength=len(counts)))]).astype(np.int64)
    momenta = four_vectors(columns["pt"], columns["eta"], columns["phi"], columns["mass"])
    return Particles(momenta, offsets, columns.get("charge")), broken


def flatten_particles(collection: Any, *, charges: bool = False) -> tuple[Particles, Mask]:
    """Momenta of a jagged collection with pt, eta, phi, mass, and which events hold a value that is not finite.

    Those events come without particles. Particles without transverse momentum (padding) are dropped.

    Parameters
    ----------
    collection : jagged array (events, particles) with pt, eta, phi, mass in GeV and radians.
    charges : read the charges too, where the collection has them.
    """

    def read(name: str) -> Floats:
        return flat_values(collection[name])

    columns = {name: read(name) for name in ("pt", "eta", "phi", "mass")}
    if charges and has_charges(collection):
        columns["charge"] = _charge_column(read, collection.fields)
    return _assembled(columns, ak.to_numpy(ak.num(collection, axis=1)))


def chosen_jets(particles: Particles, members: Ints, first: Ints, last: Ints) -> Particles:
    """Constituents of the chosen jets, jet after jet; jet i owns members[first[i]:last[i]]."""
    counts = last - first
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) + np.repeat(first, counts)
    return particles.taken(members[rows], offsets)


def linked_constituents(events: Any) -> tuple[Any, Any, Any] | None:
    """(candidates, index of each link's candidate, index of its jet) of PFNano-like events."""
    fields = set(events.fields)
    if {"FatJetPFCands", "PFCands"} <= fields:
        return events.PFCands, events.FatJetPFCands.pFCandsIdx, events.FatJetPFCands.jetIdx
    if {"FatJetPFCand", "PFCand"} <= fields:
        return events.PFCand, events.FatJetPFCand.pfCandIdx, events.FatJetPFCand.jetIdx
    return None


def judged_constituents(links: tuple[Any, Any, Any], chosen: Any, *, charges: bool = False) -> tuple[Particles, Mask]:
    """Constituents of the chosen jets of every event, jet after jet, and which jets hold a value that is not finite.

    Those jets come without constituents. PUPPI weights scale the momenta. A link to no candidate (-1) is left out.

    Parameters
    ----------
    links : of `linked_constituents`.
    chosen : jagged array (events, jets) of jet indices.
    charges : read the charges too, where the candidates have them.

    Raises
    ------
    InputError
        If a link points to a candidate that is not there.
    """
    candidates, candidate_index, jet_index = links
    event = np.repeat(np.arange(len(chosen)), ak.to_numpy(ak.num(chosen, axis=1)))
    places = candidate_index[event]
    mine = places[(jet_index[event] == ak.flatten(chosen)) & (places >= 0)]
    counts = ak.to_numpy(ak.num(mine, axis=1))
    size = ak.to_numpy(ak.num(candidates, axis=1))
    rows = ak.to_numpy(ak.flatten(mine, axis=1))
    owner = np.repeat(event, counts)
    if np.any(rows >= size[owner]):
        msg = f"a jet points to candidate {rows[rows >= size[owner]][0]}, of an event that has not as many: the links are broken"
        raise InputError(msg)
    rows = rows + (np.cumsum(size) - size)[owner]

    def read(name: str) -> Floats:
        return np.asarray(flat_values(candidates[name])[rows])

    columns = {name: read(name) for name in ("pt", "eta", "phi", "mass")}
    if "puppiWeight" in candidates.fields:
        weight = read("puppiWeight")
        columns["pt"], columns["mass"] = columns["pt"] * weight, columns["mass"] * weight
    if charges and has_charges(candidates):
        columns["charge"] = _charge_column(read, candidates.fields)
    return _assembled(columns, counts)


def constituents_of(links: tuple[Any, Any, Any], chosen: Any, *, charges: bool = False) -> Particles:
    """The particles of `judged_constituents` alone, with its parameters and errors."""
    return judged_constituents(links, chosen, charges=charges)[0]
