"""The events of a channel: read, checked, divided so that no event is on both sides, encoded from training events alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resonaut.analysis.darkmachines.files import ChannelFiles
from resonaut.errors import ConfigError, InputError
from resonaut.models import Sample
from resonaut.processors import (
    EventObjects,
    LeadingObjects,
    ObjectSets,
    TypeSlots,
    read_darkmachines,
)
from resonaut.processors.objects.channels import channel_cutflow

__all__ = ("ChannelEvents", "Division", "load_channel")

logger = logging.getLogger(__name__)
_LAST_TENTH = 0.1  # of the background that the challenge keeps for tests
_LEAST = 100
_MOST_OUTSIDE = (
    0.01  # of a file's events that may fail the channel's cuts: rounding at a threshold, not another channel
)


@dataclass(frozen=True)
class Division:
    """How background is divided into training and test events.

    Parameters
    ----------
    test_fraction
        Of all background events that are kept for tests; None takes the files' own division (or the last tenth).
    siblings
        Events of one process whose numbers, divided by this, are equal stay on one side: detector simulations of one collision.
        Needs a test fraction: the files' own division is not ours to change.
    max_training
        Most training events.
    seed
        Of the division.
    """

    test_fraction: float | None = None
    siblings: int = 1
    max_training: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            msg = f"the test fraction must be between 0 and 1, got {self.test_fraction}"
            raise ConfigError(msg)
        if self.siblings > 1 and self.test_fraction is None:
            msg = "siblings can only be kept on one side of a division of our own: give a test fraction too (--test-fraction 0.4)"
            raise ConfigError(msg)


@dataclass(frozen=True)
class ChannelEvents:
    """Events of a channel by their role, and what was left out on the way.

    Parameters
    ----------
    name
        Of the channel.
    training, test
        Background.
    signals, secret
        Events of each signal by name.
    ledger
        Events read, skipped by reason, and outside the channel, of each file.
    """

    name: str
    training: EventObjects
    test: EventObjects
    signals: dict[str, EventObjects]
    secret: dict[str, EventObjects]
    ledger: dict[str, dict[str, Any]] = field(default_factory=dict)

    def samples(self, encoding: str) -> tuple[dict[str, Sample], dict[str, Any]]:
        """Every role as a sample of one encoding ("type-slots", "leading-objects" or "object-sets"), and facts about the encoding.

        Roles are "training", "test", "signal/NAME" and "secret/NAME". The place of the resonant mass is taken by HT, GeV.
        """
        chosen: TypeSlots | LeadingObjects | ObjectSets
        if encoding == "type-slots":
            chosen = TypeSlots.learn(self.training, log=True)
        else:
            chosen = LeadingObjects(log=True) if encoding == "leading-objects" else ObjectSets()
        roles = {"training": self.training, "test": self.test}
        roles |= {f"signal/{name}": events for name, events in self.signals.items()}
        roles |= {f"secret/{name}": events for name, events in self.secret.items()}
        samples = {
            role: Sample(chosen.encode(events), chosen.names, events.ht, events.weight)
            for role, events in roles.items()
        }
        facts: dict[str, Any] = {"encoding": chosen.to_dict(), "names": chosen.names}
        facts["overflow"] = {role: chosen.overflow(events) for role, events in roles.items()}
        if isinstance(chosen, ObjectSets):
            facts["objects"] = chosen.objects
        return samples, facts


def load_channel(name: str, files: ChannelFiles, division: Division) -> ChannelEvents:
    """Read a channel's files.

    Raises
    ------
    InputError
        If a file cannot be read, more than 1 % of its events are outside the channel, or too little background is left.
    """
    ledger: dict[str, dict[str, Any]] = {}

    def read(paths: Sequence[Path]) -> EventObjects:
        return EventObjects.concatenate([_read(path, name, ledger) for path in paths])

    parts = [_read(path, name, ledger) for path in files.training]
    given = read(files.test)
    processes = {str(each) for events in (*parts, given) for each in np.unique(events.process)}
    training, test = _divide(parts, given, division)
    for what, events in (("training", training), ("test", test)):
        if len(events) < _LEAST:
            msg = f"channel {name}: {len(events)} background events for {what}, expected at least {_LEAST}"
            raise InputError(msg)
    signals = {signal: _read(path, name, ledger) for signal, path in files.signals.items()}
    secret: dict[str, EventObjects] = {}
    if files.secret:
        hidden = read(files.secret)
        names = [str(each) for each in np.unique(hidden.process) if str(each) not in processes]
        secret = {each: hidden.take(hidden.process == each) for each in names}
    return ChannelEvents(name, training, test, _filled(signals), _filled(secret), ledger)


def _filled(events: dict[str, EventObjects]) -> dict[str, EventObjects]:
    return {name: each for name, each in events.items() if len(each)}


def _read(path: Path, channel: str, ledger: dict[str, dict[str, Any]]) -> EventObjects:
    found = read_darkmachines(path)
    inside, _ = channel_cutflow(found.events, channel)
    outside = int(np.count_nonzero(~inside))
    if outside > _MOST_OUTSIDE * len(inside):
        msg = (
            f"{path}: {outside} of {len(inside)} events fail the cuts of channel {channel}: a file of another channel?"
        )
        raise InputError(msg)
    ledger[f"{path.parent.name}/{path.name}"] = {
        "read": len(found.events), "skipped": dict(found.skipped), "outside channel": outside,
    }  # fmt: skip
    if found.skipped:
        logger.warning("%s: skipped %s, for example %s", path, found.skipped, found.examples)
    return found.events.take(inside)


def _divide(parts: Sequence[EventObjects], test: EventObjects, division: Division) -> tuple[EventObjects, EventObjects]:
    """Training and test events of the training files and the test files' events."""
    training = EventObjects.concatenate(parts)
    if division.test_fraction is not None:
        both = EventObjects.concatenate([training, test])
        family = _families(both, division.siblings)
        chosen = np.random.default_rng(division.seed).random(int(family.max(initial=-1)) + 1) < division.test_fraction
        training, test = both.take(~chosen[family]), both.take(chosen[family])
    elif not len(test):  # of every file: a file may hold one process alone
        edges = [round(len(part) * (1 - _LAST_TENTH)) for part in parts]
        ends = [part.take(np.arange(edge, len(part))) for part, edge in zip(parts, edges, strict=True)]
        starts = [part.take(np.arange(edge)) for part, edge in zip(parts, edges, strict=True)]
        training, test = EventObjects.concatenate(starts), EventObjects.concatenate(ends)
    if division.max_training is not None and len(training) > division.max_training:
        rows = np.random.default_rng(division.seed).permutation(len(training))[: division.max_training]
        training = training.take(np.sort(rows))
    return training, test


def _families(events: EventObjects, siblings: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Number (n,) of the family of each event, 0 and up."""
    _, process = np.unique(events.process, return_inverse=True)
    _, family = np.unique(np.column_stack([process, events.event // siblings]), axis=0, return_inverse=True)
    return np.asarray(family.reshape(-1), dtype=np.int64)
