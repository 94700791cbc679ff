"""All sets of objects of an event, of which one is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

__all__ = ("ObjectSets", "all_sets")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ObjectSets:
    """Sets of objects in each event, in the order of their pT: the set of the leading objects comes first.

    Parameters
    ----------
    objects : one array (events, sets) of records (pt, eta, phi, mass, charge, ...) for each place in a set.
    """

    objects: tuple[Any, ...]

    @property
    def all(self) -> Any:
        """Mask (events, sets) of all sets."""
        return ak.ones_like(self.objects[0].pt, dtype=bool)

    def where(self, mask: Any) -> ObjectSets:
        """The sets of a mask (events, sets)."""
        return ObjectSets(tuple(each[mask] for each in self.objects))

    def separated(self, kinds: tuple[str, ...], distance: float) -> Any:
        """Mask of the sets in which objects of different kinds are further apart than a distance in eta and phi."""
        keep = self.all
        for a, b in combinations(range(len(kinds)), 2):
            if kinds[a] != kinds[b]:
                one, two = self.objects[a], self.objects[b]
                dphi = (one.phi - two.phi + np.pi) % (2 * np.pi) - np.pi
                keep = keep & (np.hypot(one.eta - two.eta, dphi) > distance)
        return keep

    def chosen(self, closest_to: float | None) -> list[dict[str, Floats]]:
        """One set of each event, the first or that whose mass is closest to a value in GeV.

        Returns
        -------
        list of {field: (events,)}
            For each place in a set; NaN where the event has no set.
        """
        if closest_to is None:
            picked = [ak.firsts(each, axis=1) for each in self.objects]
        else:
            nearest = ak.argmin(abs(self.mass - closest_to), axis=1, keepdims=True)
            picked = [ak.firsts(each[nearest], axis=1) for each in self.objects]
        return [
            {x: np.asarray(ak.to_numpy(ak.fill_none(each[x], np.nan)), np.float64) for x in ak.fields(each)}
            for each in picked
        ]

    @property
    def mass(self) -> Any:
        """Invariant mass (events, sets), GeV."""
        energy = sum(np.sqrt((o.pt * np.cosh(o.eta)) ** 2 + o.mass**2) for o in self.objects)
        px = sum(o.pt * np.cos(o.phi) for o in self.objects)
        py = sum(o.pt * np.sin(o.phi) for o in self.objects)
        pz = sum(o.pt * np.sinh(o.eta) for o in self.objects)
        square = energy**2 - px**2 - py**2 - pz**2
        return np.sqrt(ak.where(square > 0, square, 0.0))


def all_sets(found: Mapping[str, Any], kinds: tuple[str, ...]) -> ObjectSets:
    """All sets of objects of the given kinds.

    Parameters
    ----------
    found : {kind: objects (events, objects) by falling pT}.
    kinds : one for each place in a set, such as ("Muon", "Muon", "Jet").
    """
    groups = {kind: ak.combinations(found[kind], kinds.count(kind), axis=1) for kind in dict.fromkeys(kinds)}
    product = ak.cartesian(list(groups.values()), axis=1)
    places: dict[str, list[Any]] = {}
    for number, kind in enumerate(groups):
        group = product[str(number)]
        places[kind] = [group[str(k)] for k in range(kinds.count(kind))]
    return ObjectSets(tuple(places[kind].pop(0) for kind in kinds))
