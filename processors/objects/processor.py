"""The processor that makes lists of objects of events of any source: NanoAOD, PHYSLITE, Delphes, Dark Machines CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from coffea.processor import ProcessorABC, column_accumulator

from resonaut.errors import ConfigError, InputError
from resonaut.processors.events.objects import JETS, LEPTONS, PER_EVENT, PER_OBJECT, EventObjects
from resonaut.processors.features.flow import EventFlow, event_weights
from resonaut.processors.objects.channels import channel_cutflow, find_channel
from resonaut.processors.objects.gathering import ObjectOptions, gather
from resonaut.processors.objects.kernels_objects import close_to_others
from resonaut.processors.sources.kernels_darkmachines import COLLISION_ENERGY, REASONS

__all__ = ("EventObjectsProcessor", "ObjectCuts", "collect_objects")

Mask = npt.NDArray[np.bool_]

MET_OVERLAP = 0.4  # a jet nearer to an electron or photon is the same deposit, and counts once in a sum of momenta


@dataclass(frozen=True)
class ObjectCuts:
    """Objects to keep: pT above, |eta| below; GeV. The defaults are those of the Dark Machines challenge."""

    jet_pt: float = 20.0
    jet_eta: float = 2.8
    lepton_pt: float = 15.0
    lepton_eta: float = 2.7
    photon_pt: float = 20.0
    photon_eta: float = 2.37

    def mask(self, events: EventObjects) -> Mask:
        """Which objects (N,) are kept."""
        kept = np.zeros(len(events.kind), bool)
        for kinds, pt, eta in (
            (JETS, self.jet_pt, self.jet_eta),
            (LEPTONS, self.lepton_pt, self.lepton_eta),
            (("g",), self.photon_pt, self.photon_eta),
        ):
            kept |= events.is_kind(*kinds) & (events.pt > pt) & (np.abs(events.eta) < eta)
        return kept


class EventObjectsProcessor(ProcessorABC):  # type: ignore[misc] # coffea is untyped
    """Makes `EventObjects` of the events of any source that has reconstructed objects.

    `process` returns, under the dataset's name:

    - `cutflow`: events left after each step, and `cutflow_weighted`: their summed weights;
    - `skipped`: events that cannot be judged, counted by reason;
    - `channels`: {name: cutflow} of the selections asked for, each counted from the same selected events;
    - `objects`: the selected events as `column_accumulator`s, which `collect_objects` turns into `EventObjects`;
    - `notes`: what was done without: no b-tags, an absent collection, a missing momentum that had to be built.

    In PHYSLITE, which holds only its soft term, the missing momentum is minus the sum of the soft term and the kept
    objects, jets within 0.4 of a kept electron or photon left out. It lacks what ATLAS's own tools add: calibration,
    jet-vertex tagging, the association of overlapping objects.

    Parameters
    ----------
    cuts : objects to keep.
    channel : name in `CHANNELS` of the selection of events, `None` for all that have an object.
    channels : names in `CHANNELS` whose cutflows are counted as well, without dropping an event.
    btag : (field of `Jet`, cut); jets with more are b-jets. `None`: the field `btag`, true or false, where the
        source has it, else all jets are j, which is noted.
    least : {"Muon.tightId": 1}: smallest value that a field of a collection must have, for identification and isolation.
    overlap : drop jets nearer in (eta, phi) than this to a kept lepton or photon, as files do that list every
        electron as a jet too (NanoAOD, PHYSLITE); `None` for no removal. Ask for isolated leptons with it.
    met : collection of the missing momentum; `None` for `PuppiMET`, else `MET`.
    without : collections among Jet, Electron, Muon, Photon and MET that may be absent; then there are none of
        them, or no missing momentum, in any event, which is noted.
    max_objects : events with more objects are skipped and counted (the challenge has at most 20); `None` for no limit.

    Raises
    ------
    ConfigError
        For options that make no sense.
    InputError
        When a file lacks a collection or field.
    """

    def __init__(
        self,
        cuts: ObjectCuts | None = None,
        *,
        channel: str | None = None,
        channels: Sequence[str] = (),
        btag: tuple[str, float] | None = None,
        least: Mapping[str, float] | None = None,
        overlap: float | None = None,
        met: str | None = None,
        without: tuple[str, ...] = (),
        max_objects: int | None = None,
    ) -> None:
        self.cuts = cuts or ObjectCuts()
        self.channel = channel
        self.channels = tuple(channels)
        self.overlap = overlap
        self.max_objects = max_objects
        self.options = ObjectOptions(btag, dict(least or {}), met, tuple(without))
        for name in self.channels if channel is None else (channel, *self.channels):
            find_channel(name)
        if (overlap is not None and not overlap > 0) or (max_objects is not None and max_objects < 1):
            msg = f"overlap is {overlap!r} and max_objects {max_objects!r}, expected above 0, at least 1, or None"
            raise ConfigError(msg)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that the result depends on, as plain data."""
        own = {
            "channel": self.channel,
            "channels": self.channels,
            "overlap": self.overlap,
            "max_objects": self.max_objects,
        }
        return {"cuts": asdict(self.cuts), "options": asdict(self.options), **own}

    def process(self, events: Any) -> dict[str, Any]:
        """Objects, cutflow and books of a chunk of events."""
        metadata = events.metadata or {}
        name = str(metadata.get("dataset", "events"))
        found = gather(events, self.options, str(metadata.get("process", name)))
        weight = event_weights(events, metadata)
        flow = EventFlow(weight, np.ones(len(events), bool))
        flow.note("all")
        for code, reason in enumerate(REASONS):
            if code:
                flow.skip(reason, found.bad == code)
        flow.skip("weight not finite", ~np.isfinite(weight))
        flow.skip("MET not finite", ~(np.isfinite(found.events.met) & np.isfinite(found.events.met_phi)))
        for reason, objects in found.broken.items():
            flow.skip(reason, np.bincount(found.events.rows[objects], minlength=len(events)) > 0)
        high = (found.events.e > COLLISION_ENERGY) | (found.events.pt > COLLISION_ENERGY)
        flow.skip(REASONS[-1], np.bincount(found.events.rows[high], minlength=len(events)) > 0)
        chosen = self._select(found.events, found.good & flow.alive[found.events.rows], built=found.soft_term)
        self._cut(flow, chosen)
        selected = chosen.take(flow.alive)
        columns = _columns(selected, weight[flow.alive])
        return {
            name: {
                "cutflow": flow.counts,
                "cutflow_weighted": flow.sums,
                "skipped": flow.skipped,
                "channels": {name: channel_cutflow(selected, name)[1] for name in self.channels},
                "objects": {key: column_accumulator(values) for key, values in columns.items()},
                "notes": set(found.notes),
            }
        }

    def _select(self, events: EventObjects, good: Mask, *, built: bool) -> EventObjects:
        """The events with the kept objects only, and their missing momentum."""
        kept = events.keep_objects(good & self.cuts.mask(events))
        if self.overlap is not None:
            kept = kept.keep_objects(~_overlapping(kept, (*LEPTONS, "g"), self.overlap))
        return _with_built_met(kept) if built else kept

    def _cut(self, flow: EventFlow, chosen: EventObjects) -> None:
        if self.max_objects is not None:
            flow.skip(f"more than {self.max_objects} objects", chosen.counts > self.max_objects)
        flow.cut("at least one object", chosen.counts > 0)
        if self.channel is not None:
            for name, mask in find_channel(self.channel).masks(chosen).items():
                flow.cut(name, mask)
        flow.note("selected")

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Nothing is left to do."""
        return accumulator


def _overlapping(events: EventObjects, others: tuple[str, ...], radius: float) -> Mask:
    """Which objects are jets nearer than `radius` to one of the other kinds."""
    group = np.where(events.is_kind(*JETS), 0, np.where(events.is_kind(*others), 1, 2))
    return close_to_others(events.offsets, group, events.eta, events.phi, radius)


def _with_built_met(events: EventObjects) -> EventObjects:
    """Missing momentum from the soft term, which `met` and `met_phi` hold, and the objects."""
    once = events.keep_objects(~_overlapping(events, ("e-", "e+", "g"), MET_OVERLAP))
    px, py = events.met * np.cos(events.met_phi), events.met * np.sin(events.met_phi)
    px -= np.bincount(once.rows, once.pt * np.cos(once.phi), minlength=len(events))
    py -= np.bincount(once.rows, once.pt * np.sin(once.phi), minlength=len(events))
    return _replaced(events, met=np.hypot(px, py), met_phi=np.arctan2(py, px))


def _replaced(events: EventObjects, **new: Any) -> EventObjects:
    old = {name: getattr(events, name) for name in (*PER_EVENT, *PER_OBJECT, "offsets")}
    return EventObjects(**{**old, **new})


def _columns(events: EventObjects, weight: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    """Arrays that, joined chunk after chunk, are those of all events: counts, not offsets."""
    columns = {name: getattr(events, name) for name in (*PER_EVENT, *PER_OBJECT)}
    return {**columns, "weight": weight, "counts": events.counts}


def collect_objects(result: Any, dataset: str | None = None) -> EventObjects:
    """The selected events of an `EventObjectsProcessor`.

    Parameters
    ----------
    result : what `run_processor` or coffea's `Runner` gave.
    dataset : name of one dataset, `None` for all after one another.

    Raises
    ------
    InputError
        If there are no objects under that name.
    """
    output = getattr(result, "output", result)
    names = [dataset] if dataset is not None else list(output)
    parts = []
    for name in names:
        stored = output.get(name, {}).get("objects") if isinstance(output, Mapping) else None
        if stored is None:
            msg = f"no objects for dataset {name!r} in the output; run an EventObjectsProcessor, whose datasets it may name"
            raise InputError(msg)
        columns = {key: np.asarray(getattr(values, "value", values)) for key, values in stored.items()}
        offsets = np.concatenate([[0], np.cumsum(columns.pop("counts"))])
        parts.append(EventObjects(**columns, offsets=offsets))
    return EventObjects.concatenate(parts)
