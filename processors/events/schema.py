"""The NanoEvents schema of resonaut's own sources, and events built from columns in memory."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping
from typing import Any

from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from coffea.nanoevents.mapping import SimplePreloadedColumnSource

__all__ = ("ParticleSchema", "events_from_columns")


class ParticleSchema(NanoAODSchema):  # type: ignore[misc] # coffea is untyped
    """NanoAOD naming, with particles as plain four-vectors and without demands on event numbers or cross-references."""

    error_missing_event_ids = False
    warn_missing_crossrefs = False
    event_ids = ()  # nothing to warn about either
    mixins = {  # noqa: RUF012 (coffea's own convention)
        **NanoAODSchema.mixins,
        "PFCand": "PtEtaPhiMCollection",
        "PFCands": "PtEtaPhiMCollection",
        "ScoutingFatJet": "PtEtaPhiMCollection",
    }


def events_from_columns(
    columns: Mapping[str, Any], n: int, path: str, start: int, metadata: Mapping[str, Any] | None
) -> Any:
    """NanoEvents of `n` events from arrays named as branches (`nPFCand`, `PFCand_pt`, `label`, ...)."""
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path}:{start}"))
    preloaded = SimplePreloadedColumnSource(columns, uuid=identity, num_rows=n, object_path="/df")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        factory = NanoEventsFactory.from_preloaded(
            preloaded, schemaclass=ParticleSchema, metadata=dict(metadata or {"filename": path})
        )
        return factory.events()
