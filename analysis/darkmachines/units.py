"""The units of a run: one training for each channel and entry, kept with its scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.analysis.darkmachines.data import ChannelEvents, Division, load_channel
from resonaut.analysis.darkmachines.files import ChannelFiles
from resonaut.analysis.darkmachines.protocol import Entry, Protocol
from resonaut.analysis.resonant.costs import measured
from resonaut.analysis.rundir import Unit
from resonaut.analysis.seeds import seed_for
from resonaut.files import digest, read_json, write_json
from resonaut.models import COMBINATIONS, DeepSVDD, Sample, combine_tails, make_scorer, save_scorer

__all__ = ("Scores", "ScoresUnit", "load_events")

Scores = dict[str, dict[str, npt.NDArray[np.float64]]]
"""Scores (n,) by variant of the entry, then by role: "training", "test", "signal/NAME", "secret/NAME"."""
_SEPARATOR = "|"
_WEIGHT = "weight of the event"


@dataclass(frozen=True)
class _Source:
    """What the events of a channel are made of: files by their content, wherever they lie."""

    channel: str
    content: str
    division: Division
    files: ChannelFiles = field(compare=False)


@lru_cache(maxsize=2)
def _load(source: _Source) -> ChannelEvents:
    return load_channel(source.channel, source.files, source.division)


def load_events(name: str, files: ChannelFiles, protocol: Protocol) -> ChannelEvents:
    """Events of a channel, kept for the units that come next."""
    return _load(_Source(name, digest(files.content), protocol.division, files))


@dataclass(frozen=True, eq=False)
class ScoresUnit:
    """An entry in a channel: trained on background, applied to everything.

    Parameters
    ----------
    folder
        Run directory.
    channel, files
        Name of the channel and its files.
    protocol
        The run.
    entry
        Name of the entry.
    """

    folder: Path
    channel: str
    files: ChannelFiles
    protocol: Protocol
    entry: str

    @property
    def unit(self) -> Unit:
        """Where it lies, keyed by all that it depends on."""
        entry, division = self.protocol.entry(self.entry), self.protocol.division
        key = digest(
            __version__,
            self.channel,
            self.files.content,
            entry.scorer,
            entry.encoding,
            entry.options,
            vars(division),
            self.protocol.seed,
        )
        return Unit(self.folder / "scores" / self.channel / self.entry, key)

    def make(self) -> bool:
        """Train and score, unless it is done."""
        return self.unit.make(self._work)

    def _work(self, folder: Path) -> None:
        events = load_events(self.channel, self.files, self.protocol)
        entry = self.protocol.entry(self.entry)
        samples, facts = events.samples(entry.encoding)
        scorer = make_scorer(entry.scorer, **_options(entry, facts, self.protocol, self.channel, self.entry))
        with measured() as costs:
            scorer.fit(samples["training"], None)
        scores = _scores(scorer, samples)
        arrays = {f"{variant}{_SEPARATOR}{role}": x for variant, roles in scores.items() for role, x in roles.items()}
        arrays |= {f"{_WEIGHT}{_SEPARATOR}{role}": sample.weight for role, sample in samples.items()}
        content: dict[str, Any] = dict(arrays)
        np.savez(folder / "scores.npz", **content)
        save_scorer(scorer, folder / "scorer")
        facts.pop("names")
        facts.pop("objects", None)
        write_json(folder / "facts.json", {"encoding": facts, "costs": costs, "device": _device(scorer)})

    def weights(self) -> dict[str, npt.NDArray[np.float64]]:
        """Event weights (n,) by role."""
        return self._stored()[_WEIGHT]

    def scores(self) -> Scores:
        """What was scored."""
        found = self._stored()
        found.pop(_WEIGHT)
        return found

    def _stored(self) -> Scores:
        found: Scores = {}
        with np.load(self.unit.folder / "scores.npz", allow_pickle=False) as archive:
            for name in archive.files:
                variant, role = name.split(_SEPARATOR)
                found.setdefault(variant, {})[role] = archive[name].astype(np.float64)
        return found

    def facts(self) -> dict[str, Any]:
        """Encoding, costs and seconds."""
        content: dict[str, Any] = read_json(self.unit.folder / "facts.json")
        return {**content, "seconds": self.unit.seconds}


def _options(entry: Entry, facts: dict[str, Any], protocol: Protocol, channel: str, name: str) -> dict[str, Any]:
    columns = {"objects": facts["objects"]} if "objects" in facts else {"features": facts["names"]}
    options = {**entry.options, **columns, "seed": seed_for(protocol.seed, channel, name)}
    unfitted = make_scorer(entry.scorer, **options)
    if "device" in unfitted.options:
        options["device"] = protocol.device
    return options


def _scores(scorer: Any, samples: dict[str, Sample]) -> Scores:
    """Scores of every variant that one training gives: an ensemble of Deep SVDDs has its four combinations and its members."""
    if not isinstance(scorer, DeepSVDD):
        return {"": {role: scorer.score(sample) for role, sample in samples.items()}}
    tails = {role: scorer.member_scores(sample) for role, sample in samples.items()}
    found: Scores = {
        how: {role: combine_tails(each, how) for role, each in tails.items()}  # type: ignore[arg-type]
        for how in COMBINATIONS
    }
    kept = [member for member, gone in zip(scorer.members, scorer.collapsed_, strict=True) if not gone]
    for place, (dimension, target) in enumerate(kept):
        found[f"member d={dimension} n={target:g}"] = {role: each[place] for role, each in tails.items()}
    return found


def _device(scorer: Any) -> str:
    import torch

    used = getattr(scorer, "device", "cpu") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.cuda.get_device_name() if str(used).startswith("cuda") else "cpu"
