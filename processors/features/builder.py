"""What makes the columns of an event table: the protocol of builders, and what they give for a chunk of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ("EventFeatures", "FeatureBuilder")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EventFeatures:
    """Features of a chunk of events, and which of the events have them.

    Every event meets one of three fates, each counted by its name: it is lost to a requirement (or later to a cut),
    it cannot be judged, or it is kept.

    Parameters
    ----------
    columns : {name: (events,)}, GeV and radians; NaN where an event has no such value.
    required : {name: (events,) mask} of what an event must have ("two jets"), in the order in which it is asked.
    broken : {reason: (events,) mask} of events that cannot be judged by what was read ("particle not finite"): counted
        before any requirement.
    undefined : {reason: (events,) mask} of events that meet the requirements and cannot be judged all the same ("jet not
        finite"): counted before any cut.
    """

    columns: Mapping[str, Floats]
    required: Mapping[str, Mask] = field(default_factory=dict)
    broken: Mapping[str, Mask] = field(default_factory=dict)
    undefined: Mapping[str, Mask] = field(default_factory=dict)


@runtime_checkable
class FeatureBuilder(Protocol):
    """Makes features of events of any source: what `TableProcessor` writes and `AnomalySelection` scores.

    A builder holds options only, so that it pickles into workers, and treats each event for itself: it may be called
    with any part of a file, and with a systematic variation of the events.
    """

    @property
    def variable(self) -> str:
        """Name of the column with the resonant variable, GeV."""

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data: everything that the columns depend on."""

    def build(self, events: Any) -> EventFeatures:
        """Features of every event, with what it must have.

        Raises
        ------
        InputError
            If the events lack a collection or a field that was asked for.
        """

    def __call__(self, events: Any) -> Mapping[str, Floats]:
        """The columns alone, (events,) each."""
