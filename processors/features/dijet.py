"""Event features of a dijet: the columns of the event table, from the two leading jets.

`DijetFeatures` is a builder: called with events of any source it gives one array per feature, NaN where an event has
none. `DijetProcessor` writes tables with it; `AnomalySelection` feeds scorers with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, unknown_name
from resonaut.processors.features.builder import EventFeatures
from resonaut.processors.features.kinematics import Momenta, delta_r, system
from resonaut.processors.jets.names import needs_charges, parse_observables
from resonaut.processors.jets.observables import DEFAULT_OBSERVABLES
from resonaut.processors.jets.pair import ALGORITHMS, JetPair, cluster, collection_pair, flatten_particles
from resonaut.processors.jets.shared import ratio

__all__ = ("DijetFeatures", "dijet_columns")

Floats = npt.NDArray[np.float64]

RATIOS = {"tau21": ("tau2", "tau1"), "tau32": ("tau3", "tau2"), "tau43": ("tau4", "tau3")}
PARTICLES = ("PFCand", "PFCands")
COLLECTIONS = ("FatJet", "ScoutingFatJet")
SMALL = ("Jet", "ScoutingPFJet")  # where a file has neither large jets nor particles
OTHERS = {"dimuon": "Muon", "dielectron": "Electron", "diphoton": "Photon"}  # what there is without jets
LEADING_ONLY = "leading_jets_only"  # metadata of files that keep two jets of each event and not their number


def _ratios(jets: dict[str, Floats]) -> dict[str, Floats]:
    out = {name: ratio(jets[a], jets[b]) for name, (a, b) in RATIOS.items() if a in jets and b in jets}
    if "tau1b2" in jets and "tau1" in jets:
        with np.errstate(invalid="ignore"):
            out["tau1b2_ratio"] = ratio(np.sqrt(jets["tau1b2"]), jets["tau1"])
    return out


def dijet_columns(pair: JetPair) -> dict[str, Floats]:
    """All features of the event table, (events,) each, from the two leading jets.

    Event level: `mjj`, `dr_jj`, `deta_jj`, `dm_jj` = heavier minus lighter mass, `nj` = number of jets, above `ptmin` where
    they were clustered, else in the collection. Per jet, with suffixes `_j1`,
    `_j2` (falling pT) and `_h`, `_l` (heavier, lighter): `pt eta phi m`, and where the input has them `tau1` ...
    `tau4` (beta = 1), `tau1b2` (beta = 2), `n`, `msd`, the ratios `tau21 tau32 tau43` and
    `tau1b2_ratio` = sqrt(tau1b2) / tau1 (the angle-normalised, dimensionless form). GeV and radians.
    """
    jets = pair.columns | _ratios(pair.columns)
    one, two = (Momenta(*(jets[x][:, k] for x in ("pt", "eta", "phi", "m"))) for k in (0, 1))
    heavy = (jets["m"][:, 1] > jets["m"][:, 0]).astype(np.int64)
    rows = np.arange(len(pair))
    out = {
        "mjj": system((one, two)).m,
        "dr_jj": delta_r(one, two),
        "deta_jj": np.abs(one.eta - two.eta),
        "dm_jj": np.abs(one.m - two.m),
        "nj": pair.count.astype(np.float64),
    }
    for name, values in jets.items():
        out[f"{name}_j1"], out[f"{name}_j2"] = values[:, 0], values[:, 1]
        out[f"{name}_h"], out[f"{name}_l"] = values[rows, heavy], values[rows, 1 - heavy]
    return out


@dataclass(frozen=True)
class DijetFeatures:
    """Builder of dijet features from events of any source.

    Jets of large radius are taken if the events have them (`FatJet`, `ScoutingFatJet`), else particles are clustered; where
    there are no particles either, jets of small radius are taken (`Jet`). `jets_from` says which.

    Parameters
    ----------
    collection : "auto", the name of a jet collection such as "FatJet", or "cluster" for clustering in any case.
    collection_radius : R of that collection's jets, R0 of N-subjettiness where constituents are linked (AK8: 0.8).
    algorithm, radius, ptmin : of the clustering; GeV.
    observables : jet observables by name (docs/substructure.md), each of which must be there; None: those of
        `DEFAULT_OBSERVABLES` that the events give.
    """

    collection: str = "auto"
    collection_radius: float = 0.8
    algorithm: str = "antikt"
    radius: float = 1.0
    ptmin: float = 20.0
    observables: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        parse_observables(self.observables or ())
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(unknown_name("clustering algorithm", self.algorithm, ALGORITHMS))
        for name in ("collection_radius", "radius", "ptmin"):
            if not getattr(self, name) > 0:
                msg = f"{name} is {getattr(self, name)}, expected a positive number"
                raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data."""
        return asdict(self)

    def jets_from(self, fields: Collection[str]) -> str:
        """The collection that the jets of events with these fields are taken from, or clustered from if it is of particles.

        Raises
        ------
        InputError
            If there are neither the jets nor the particles asked for.
        """
        options = {"auto": (*COLLECTIONS, *PARTICLES, *SMALL), "cluster": PARTICLES}.get(
            self.collection, (self.collection,)
        )
        found = next((name for name in options if name in fields), None)
        if found is not None:
            return found
        if self.collection not in ("auto", "cluster"):
            raise InputError(unknown_name("jet collection", self.collection, fields))
        msg = f"got events with {sorted(fields)[:20]}, expected jets ({', '.join((*COLLECTIONS, *SMALL))}) or particles ({', '.join(PARTICLES)})"
        if others := [f"--resonance {name}" for name, objects in OTHERS.items() if objects in fields]:
            msg += f"; without them there is {' or '.join(others)} (resonance, in a config)"
        raise InputError(msg)

    def pair(self, events: Any) -> JetPair:
        """The two leading jets of every event.

        Raises
        ------
        InputError
            If the events have neither the jets nor the particles asked for.
        """
        chosen = self.jets_from(events.fields)
        if chosen not in PARTICLES:
            return collection_pair(events, chosen, self.collection_radius, self.observables)
        names = DEFAULT_OBSERVABLES if self.observables is None else self.observables
        charges = needs_charges(parse_observables(names))
        momenta, broken = flatten_particles(events[chosen], charges=charges)
        found_pair = cluster(momenta, algorithm=self.algorithm, radius=self.radius, ptmin=self.ptmin, observables=names)
        return JetPair(found_pair.count, found_pair.columns, broken)

    def pair_and_columns(self, events: Any) -> tuple[JetPair, dict[str, Floats]]:
        """The two leading jets and all features of every event."""
        pair = self.pair(events)
        columns = dijet_columns(pair)
        if "nj" in events.fields:
            columns["nj"] = np.asarray(events["nj"], dtype=np.float64)
        elif (events.metadata or {}).get(LEADING_ONLY):
            del columns["nj"]
        return pair, columns

    @property
    def variable(self) -> str:
        """The mass of the two jets, GeV."""
        return "mjj"

    def build(self, events: Any) -> EventFeatures:
        """Features of every event; two jets are required."""
        pair, columns = self.pair_and_columns(events)
        finite = np.isfinite(columns["mjj"]) & np.isfinite(columns["deta_jj"])
        what = "particle" if self.jets_from(events.fields) in PARTICLES else "jet"
        return EventFeatures(
            columns,
            required={"two jets": pair.count >= 2},
            broken={} if pair.broken is None else {f"{what} not finite": pair.broken},
            undefined={"jet not finite": ~finite},
        )

    def __call__(self, events: Any) -> dict[str, Floats]:
        """Features of every event, (events,) each; NaN where there are not two jets or a value is undefined."""
        return self.pair_and_columns(events)[1]
