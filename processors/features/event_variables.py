"""Features of whole events by name: sums, counts, shapes, masses of jets, angles.

`EVENT_FEATURES` lists the fixed names; names of objects make more: `pt_j3`, `dphi_j1_met`, `m_l1_j1`, `mt_mu1_met`, `m_jjj`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, unknown_name
from resonaut.processors.features import event_shapes as shapes
from resonaut.processors.features.collections import ObjectCut, make_object_cuts, missing_momentum, objects, unsound
from resonaut.processors.features.kinematics import Momenta, delta_phi, delta_r, system, transverse_mass

__all__ = ("DEFAULT_WHERE", "EVENT_FEATURES", "EventVariable", "EventVariables", "parse_event_feature")

Floats = npt.NDArray[np.float64]

DEFAULT_WHERE: dict[str, Any] = {"Jet.pt": {"min": 30.0}, "Jet.eta": {"abs_max": 2.5}}
"""Which jets count, unless told otherwise; of the other collections all objects do."""

COLLECTIONS = {"j": "Jet", "J": "FatJet", "e": "Electron", "mu": "Muon", "l": "Lepton", "g": "Photon"}
_OBJECT = r"(?:j|J|e|mu|l|g)[1-9]"


class ChunkObjects:
    """Objects of a chunk of events, each collection read once and only if a feature asks for it."""

    def __init__(self, events: Any, cuts: tuple[ObjectCut, ...], met: str | None) -> None:
        self.events, self.cuts, self._met = events, cuts, met
        self._found: dict[str, Any] = {}

    def collection(self, name: str) -> Any:
        """Objects (events, objects) of a collection by falling pT."""
        if name not in self._found:
            self._found[name] = objects(self.events, name, cuts=self.cuts)
        return self._found[name]

    def padded(self, name: str) -> Momenta:
        """Momenta (events, objects) of a collection, zero where an event has no more."""
        found = self.collection(name)
        width = int(ak.to_numpy(ak.num(found, axis=1)).max(initial=0))
        columns = [
            ak.fill_none(ak.pad_none(found[x], max(width, 1), clip=True), 0.0) for x in ("pt", "eta", "phi", "mass")
        ]
        return Momenta(*(ak.to_numpy(values) for values in columns))

    def count(self, name: str) -> Floats:
        """Number of objects (events,); NaN where one of them cannot be judged."""
        found = self.collection(name)
        return np.where(unsound(found), np.nan, ak.to_numpy(ak.num(found, axis=1)))

    def one(self, token: str) -> Momenta:
        """The object of a name such as j1 or mu2, (events,); NaN where an event has none."""
        found, number = self.collection(COLLECTIONS[token[:-1]]), int(token[-1])
        columns = [
            ak.fill_none(ak.pad_none(found[x], number, clip=False)[:, number - 1], np.nan)
            for x in ("pt", "eta", "phi", "mass")
        ]
        return Momenta(*(ak.to_numpy(values) for values in columns))

    @cached_property
    def met(self) -> tuple[Floats, Floats]:
        """Size and azimuth (events,) of the missing momentum."""
        return missing_momentum(self.events, self._met)

    @cached_property
    def jets(self) -> Momenta:
        """Momenta (events, jets) of the jets, padded with zeros."""
        return self.padded("Jet")

    def jet_vectors(self, least: int) -> Floats:
        """Momenta (events, jets, 3) of the jets; NaN for events with fewer than `least`."""
        jets = self.jets
        vectors = np.stack([jets.px, jets.py, jets.pz], axis=2)
        vectors[~(self.count("Jet") >= least)] = np.nan
        return vectors


@dataclass(frozen=True)
class EventVariable:
    """A feature of whole events.

    Parameters
    ----------
    definition : what it is, for people.
    compute : from the objects of a chunk to (events,).
    reference : where the definition is from; empty for what needs none.
    """

    definition: str
    compute: Callable[[ChunkObjects], Floats]
    reference: str = ""


def _ht(found: ChunkObjects) -> Floats:
    return np.asarray(found.jets.pt.sum(axis=1))


def _visible_pt(found: ChunkObjects) -> Floats:
    there = [name for name in ("Electron", "Muon", "Photon") if name in found.events.fields]
    return np.asarray(_ht(found) + sum((found.padded(name).pt.sum(axis=1) for name in there), np.zeros(1)))


def _missing_ht(found: ChunkObjects) -> Floats:
    return np.asarray(np.hypot(found.jets.px.sum(axis=1), found.jets.py.sum(axis=1)))


def _significance(found: ChunkObjects) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(found.met[0] / np.sqrt(_ht(found)))


def _all_jets_mass(found: ChunkObjects) -> Floats:
    jets = found.jets
    parts = [Momenta(jets.pt[:, k], jets.eta[:, k], jets.phi[:, k], jets.m[:, k]) for k in range(jets.pt.shape[1])]
    return system(parts).m


def _nearest_to_met(found: ChunkObjects) -> Floats:
    angles = np.stack([delta_phi(found.one(f"j{k}").phi, found.met[1]) for k in (1, 2, 3, 4)])
    return np.asarray(np.fmin.reduce(angles))


def _centrality(found: ChunkObjects) -> Floats:
    return shapes.centrality(found.jets.pt, found.jets.energy)


def _shape(name: str) -> Callable[[ChunkObjects], Floats]:
    return lambda found: shapes.shape_of_tensor(name, found.jet_vectors(2))


_BJORKEN = "Bjorken and Brodsky, PR D 1 (1970) 1416"
_DONOGHUE = "Donoghue, Low and Pi, PR D 20 (1979) 2759"
EVENT_FEATURES: dict[str, EventVariable] = {
    "ht": EventVariable("scalar sum of the jets' pT", _ht),
    "met": EventVariable("missing transverse momentum", lambda found: found.met[0]),
    "met_phi": EventVariable("its azimuth", lambda found: found.met[1]),
    "met_significance": EventVariable("met / sqrt(ht), in sqrt(GeV)", _significance, "ATLAS, arXiv:0901.0512"),
    "mht": EventVariable("size of the vector sum of the jets' pT", _missing_ht, "CMS, arXiv:1402.4770"),
    "meff": EventVariable("effective mass: ht + met", lambda f: _ht(f) + f.met[0], "ATLAS, arXiv:0901.0512"),
    "st": EventVariable(
        "ht, the pT of all electrons, muons and photons, and met",
        lambda found: _visible_pt(found) + found.met[0],
        "CMS, arXiv:1012.3375",
    ),
    "n_jets": EventVariable("number of jets", lambda found: found.count("Jet")),
    "n_fatjets": EventVariable("number of large-R jets", lambda found: found.count("FatJet")),
    "n_electrons": EventVariable("number of electrons", lambda found: found.count("Electron")),
    "n_muons": EventVariable("number of muons", lambda found: found.count("Muon")),
    "n_photons": EventVariable("number of photons", lambda found: found.count("Photon")),
    "m_jets": EventVariable("invariant mass of all jets", _all_jets_mass),
    "sphericity": EventVariable("3 (l2 + l3) / 2, l1 >= l2 >= l3 of the momentum tensor of the jets", _shape("sphericity"), _BJORKEN),
    "aplanarity": EventVariable("3 l3 / 2", _shape("aplanarity"), _BJORKEN),
    "planarity": EventVariable("l2 - l3", _shape("planarity"), _BJORKEN),
    "c_parameter": EventVariable("3 (l1 l2 + l1 l3 + l2 l3), of the tensor linear in the momenta", _shape("c_parameter"), _DONOGHUE),
    "d_parameter": EventVariable("27 l1 l2 l3, of the tensor linear in the momenta", _shape("d_parameter"), _DONOGHUE),
    "transverse_sphericity": EventVariable(
        "2 l2 / (l1 + l2), of the momentum tensor in the transverse plane",
        lambda found: shapes.transverse_sphericity(found.jet_vectors(2)),
        "ATLAS, arXiv:1206.2135",
    ),
    "thrust": EventVariable(
        "largest sum of the jets' |p . n| over all directions n, over the sum of |p|",
        lambda found: shapes.thrust(found.jet_vectors(2)),
        "Farhi, PRL 39 (1977) 1587",
    ),
    "transverse_thrust": EventVariable(
        "the same in the transverse plane",
        lambda found: shapes.transverse_thrust(found.jet_vectors(2)),
        "Banfi, Salam and Zanderighi, arXiv:hep-ph/0407287",
    ),
    "centrality": EventVariable("sum of the jets' pT over the sum of their energies", _centrality),
    "min_dphi_jets_met": EventVariable("least azimuthal angle between met and one of the four leading jets", _nearest_to_met),
}  # fmt: skip
"""Features with a fixed name, of the jets that pass the cuts; shapes need two of them."""


def _one(match: re.Match[str]) -> EventVariable:
    quantity, token = match[1], match[2]
    return EventVariable(f"{quantity} of {token}", lambda found: getattr(found.one(token), quantity))


def _two(match: re.Match[str]) -> EventVariable:
    quantity, a, b = match[1], match[2], match[3]

    def compute(found: ChunkObjects) -> Floats:
        one, two = found.one(a), found.one(b)
        if quantity == "deta":
            return np.abs(one.eta - two.eta)
        return delta_phi(one.phi, two.phi) if quantity == "dphi" else delta_r(one, two)

    return EventVariable(f"{quantity} between {a} and {b}", compute)


def _to_met(match: re.Match[str]) -> EventVariable:
    quantity, token = match[1], match[2]

    def compute(found: ChunkObjects) -> Floats:
        one = found.one(token)
        return delta_phi(one.phi, found.met[1]) if quantity == "dphi" else transverse_mass(one, *found.met)

    return EventVariable(f"{quantity} of {token} and met", compute)


def _mass(match: re.Match[str]) -> EventVariable:
    tokens = match[1].strip("_").split("_")
    return EventVariable(f"mass of {', '.join(tokens)}", lambda found: system([found.one(t) for t in tokens]).m)


def _jets_mass(match: re.Match[str]) -> EventVariable:
    tokens = [f"{match[1][0]}{k + 1}" for k in range(len(match[1]))]
    return EventVariable(f"mass of {', '.join(tokens)}", lambda found: system([found.one(t) for t in tokens]).m)


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], EventVariable]], ...] = (
    (rf"(pt|eta|phi|m)_({_OBJECT})", _one),
    (rf"(deta|dphi|dr)_({_OBJECT})_({_OBJECT})", _two),
    (rf"(dphi|mt)_({_OBJECT})_met", _to_met),
    (rf"m((?:_{_OBJECT}){{2,6}})", _mass),
    (r"m_(j{2,9}|J{2,9}|g{2,4})", _jets_mass),
)


def parse_event_feature(name: str) -> EventVariable:
    """The feature of a name.

    Objects are `j` jets, `J` large-R jets, `e`, `mu`, `l` (electrons and muons), `g` photons, with their place by falling pT.

    Raises
    ------
    ConfigError
        If there is none; the message holds the nearest fixed names.

    Examples
    --------
    >>> parse_event_feature("m_jjj").definition, parse_event_feature("mt_l1_met").definition
    ('mass of j1, j2, j3', 'mt of l1 and met')
    """
    if name in EVENT_FEATURES:
        return EVENT_FEATURES[name]
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            return make(match)
    msg = f"{unknown_name('event feature', name, EVENT_FEATURES)}; or of objects: pt_j1, dphi_j1_met, dr_l1_j1, m_jjj, m_l1_j1, mt_l1_met"
    raise ConfigError(msg)


@dataclass(frozen=True)
class EventVariables:
    """Builder of features of whole events; it requires nothing of them.

    Parameters
    ----------
    names : of the features, see `parse_event_feature`.
    where : cuts on the objects, {"Jet.pt": 50, "Muon.tightId": 1} (see `make_object_cuts`); a cut on a field takes the place of
        the default one in `DEFAULT_WHERE`.
    met : collection of the missing momentum; by default MET, PuppiMET or PFMET, the first that is there.

    Raises
    ------
    ConfigError
        If a name or a cut is not understood.
    """

    names: tuple[str, ...] = ("ht", "met", "n_jets")
    where: Mapping[str, Any] = field(default_factory=dict)
    met: str | None = None

    def __post_init__(self) -> None:
        given: Any = self.names  # of a config: it may be a text
        if isinstance(given, str):
            msg = f"event features are {given!r}, expected a list of names"
            raise ConfigError(msg)
        object.__setattr__(self, "names", tuple(self.names))
        for name in self.names:
            parse_event_feature(name)
        make_object_cuts(self.where)

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        return asdict(self)

    def __call__(self, events: Any) -> dict[str, Floats]:
        """Features of every event, (events,) each; NaN where an event lacks the objects.

        Raises
        ------
        InputError
            If the events lack a collection or a field.
        """
        found = ChunkObjects(events, make_object_cuts({**DEFAULT_WHERE, **self.where}), self.met)
        return {name: np.asarray(parse_event_feature(name).compute(found), np.float64) for name in self.names}
