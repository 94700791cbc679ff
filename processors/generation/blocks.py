"""Blocks of events: the units of work of a sample, each reproducible by itself, each one file.

A block is a fixed number of accepted events with random numbers of its own, so that event i of a sample is the same
whoever made it, however many workers there were, and however long the sample is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut import __version__
from resonaut.errors import ConfigError, InputError
from resonaut.files import atomic_path, digest
from resonaut.processors.generation.detector import Candidates, Detector, simulate
from resonaut.processors.generation.processes import Process
from resonaut.processors.generation.pythia import Batch, Generator, batches, open_pythia, pythia_version
from resonaut.processors.jets.pair import JetPair, cluster

__all__ = ("BLOCK", "Block", "JetTrigger", "Plan", "Tally", "make_block", "read_block", "write_block")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = 250
"""Accepted events of a block."""

MILLIBARN = 1e9  # pb
HOPELESS = 20_000  # tries without an accepted event
LAYOUT = 1  # of the block files
JET_COLUMNS = ("pt", "eta", "phi", "m", "tau1", "tau2", "tau3", "tau4", "tau1b2", "n", "msd")
FEW, SOFT = "fewer than two jets", "no jet above the cut"


@dataclass(frozen=True)
class JetTrigger:
    """Which events are kept: those with a jet above `pt` [GeV] within |eta| < `abs_eta`, and a second jet.

    Parameters
    ----------
    pt, abs_eta : of one of the two leading jets.
    radius : R of the anti-kT jets.
    ptmin : smallest pT of a jet [GeV].
    """

    pt: float = 1200.0
    abs_eta: float = 2.5
    radius: float = 1.0
    ptmin: float = 20.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value > 0):
                msg = f"{name} is {value}, expected a positive number"
                raise ConfigError(msg)

    def reasons(self, pair: JetPair) -> Ints:
        """0 for an event that passes, 1 for one with fewer than two jets, 2 for one without a jet above the cut."""
        two = pair.count >= 2
        with np.errstate(invalid="ignore"):
            hard = (pair.columns["pt"] > self.pt) & (np.abs(pair.columns["eta"]) < self.abs_eta)
        return np.where(~two, 1, np.where(hard.any(axis=1), 0, 2)).astype(np.int64)


@dataclass(frozen=True)
class Plan:
    """Everything that a sample depends on, but its length.

    Parameters
    ----------
    particles : keep the candidates of each event; else the features of its two leading jets.
    seed : of all random numbers.
    """

    process: Process
    generator: Generator
    detector: Detector
    trigger: JetTrigger
    particles: bool
    seed: int

    @property
    def config(self) -> dict[str, Any]:
        """Plain data."""
        process: Any = self.process  # a dataclass, each of them
        return {
            "process": {"name": self.process.name, **asdict(process)},
            "generator": self.generator.config,
            "detector": self.detector.config,
            "trigger": asdict(self.trigger),
            "content": "particles" if self.particles else "features",
            "seed": self.seed,
            "block": BLOCK,
            "pythia": pythia_version(),
            "version": __version__,
        }

    @property
    def key(self) -> str:
        """Hash of the configuration."""
        return digest(LAYOUT, self.config)


@dataclass(frozen=True)
class Tally:
    """Books of one block: what Pythia tried until the last accepted event.

    Parameters
    ----------
    tried, failed, accepted : events asked of Pythia, not made by it, and kept.
    rejected : events that the selection dropped, by reason.
    weight_tried, weight_accepted : sums of the weights.
    weight2_accepted : sum of squared weights.
    sigma, sigma_error : Pythia's cross-section of the process before the selection [pb].
    """

    tried: int
    failed: int
    accepted: int
    rejected: dict[str, int] = field(default_factory=dict)
    weight_tried: float = 0.0
    weight_accepted: float = 0.0
    weight2_accepted: float = 0.0
    sigma: float = 0.0
    sigma_error: float = 0.0


@dataclass(frozen=True)
class Block:
    """Accepted events: truth and jets as columns (events,), candidates where they are kept, and the books."""

    truth: dict[str, Floats]
    jets: dict[str, Floats]
    candidates: Candidates | None
    tally: Tally


def make_block(plan: Plan, index: int, events: int = BLOCK) -> Block:
    """The first `events` accepted events of a block.

    Raises
    ------
    ConfigError
        If Pythia refuses the settings.
    InputError
        If nothing passes the selection, or Pythia fails again and again.
    """
    base = np.random.SeedSequence(plan.seed).generate_state(1)[0]
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(index,)))
    pythia = open_pythia(plan.process, plan.generator, int(base) + index)  # no two blocks of a sample share a seed
    parts: list[tuple[dict[str, Floats], dict[str, Floats], Candidates | None]] = []
    books = _Books()
    for batch in batches(pythia, plan.process.truth_masses):
        candidates = simulate(batch.momenta, batch.ids, batch.charged, batch.offsets, plan.detector, rng)
        pair = cluster(candidates.particles, radius=plan.trigger.radius, ptmin=plan.trigger.ptmin)
        chosen = books.add(batch, plan.trigger.reasons(pair), events)
        truth = {name: column[chosen] for name, column in batch.truth.items()}
        parts.append((truth, _jets(pair, chosen), candidates.of_events(chosen) if plan.particles else None))
        if books.accepted == events:
            break
        books.check(plan)
    info = pythia.infoPython()
    tally = books.tally(info.sigmaGen() * MILLIBARN, info.sigmaErr() * MILLIBARN)
    return _join(parts, tally)


class _Books:
    """Counts tries in order, up to the last event that is wanted."""

    def __init__(self) -> None:
        self.tried = self.failed = self.accepted = 0
        self.rejected = {FEW: 0, SOFT: 0}
        self.sums = np.zeros(3)  # weights tried, accepted, squared of accepted

    def add(self, batch: Batch, reasons: Ints, wanted: int) -> Ints:
        """Enter a batch; gives the accepted events, no more than are wanted in all."""
        passing = np.flatnonzero(reasons == 0)[: wanted - self.accepted]
        full = self.accepted + len(passing) == wanted
        made = int(passing[-1]) + 1 if full else len(reasons)  # events after the last one wanted were never asked for
        tries = int(np.flatnonzero(batch.good)[made - 1]) + 1 if full else len(batch.good)
        self.tried += tries
        self.failed += tries - made
        self.accepted += len(passing)
        self.rejected[FEW] += int((reasons[:made] == 1).sum())
        self.rejected[SOFT] += int((reasons[:made] == 2).sum())
        weights = batch.truth["weight"]
        self.sums += [weights[:made].sum(), weights[passing].sum(), (weights[passing] ** 2).sum()]
        return passing

    def check(self, plan: Plan) -> None:
        """InputError if it makes no sense to go on."""
        if self.tried >= 200 and self.failed > 0.9 * self.tried:
            msg = f"Pythia made {self.tried - self.failed} events of {plan.process.name} in {self.tried} tries: the settings do not fit together"
            raise InputError(msg)
        if self.tried >= HOPELESS * (self.accepted + 1):
            msg = (
                f"{self.accepted} of {self.tried} events of {plan.process.name} have a jet with "
                f"pT > {plan.trigger.pt} GeV and |eta| < {plan.trigger.abs_eta}: lower the cut, or raise pthat_min or the masses"
            )
            raise InputError(msg)

    def tally(self, sigma: float, error: float) -> Tally:
        """The books, closed."""
        tried, accepted, squares = (float(x) for x in self.sums)
        return Tally(
            self.tried,
            self.failed,
            self.accepted,
            {reason: n for reason, n in self.rejected.items() if n},
            tried,
            accepted,
            squares,
            sigma,
            error,
        )


def _jets(pair: JetPair, chosen: Ints) -> dict[str, Floats]:
    columns = {f"{name}j{j + 1}": pair.columns[name][chosen, j] for name in JET_COLUMNS for j in range(2)}
    return columns | {"nj": pair.count[chosen].astype(np.float64)}


def _join(parts: list[Any], tally: Tally) -> Block:
    truths, jets, candidates = zip(*parts, strict=True)

    def joined(columns: tuple[Mapping[str, Floats], ...]) -> dict[str, Floats]:
        return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}

    return Block(joined(truths), joined(jets), _join_candidates(candidates), tally)


def _join_candidates(parts: tuple[Candidates | None, ...]) -> Candidates | None:
    found = [part for part in parts if part is not None]
    if not found:
        return None
    counts = np.concatenate([np.diff(part.offsets) for part in found])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    pt, eta, phi = (np.concatenate([getattr(part, x) for part in found]) for x in ("pt", "eta", "phi"))
    return Candidates(pt, eta, phi, offsets)


def write_block(path: Path, block: Block) -> None:
    """Write a block, whole or not at all; arrays and JSON, no pickle."""
    arrays: dict[str, Any] = {f"truth_{k}": v for k, v in block.truth.items()} | {
        f"jets_{k}": v for k, v in block.jets.items()
    }
    if block.candidates is not None:
        arrays |= {f"candidates_{x}": getattr(block.candidates, x).astype(np.float32) for x in ("pt", "eta", "phi")}
        arrays["candidates_offsets"] = block.candidates.offsets
    arrays["tally"] = np.frombuffer(json.dumps(asdict(block.tally)).encode(), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read_block(path: Path) -> Block | None:
    """A block that was written before; None if the file is not there or not what it should be."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            tally = Tally(**json.loads(arrays.pop("tally").tobytes()))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    except Exception as error:  # zipfile's own kinds for a broken archive
        if type(error).__name__ not in ("BadZipFile", "error"):
            raise
        return None
    groups = {
        kind: {name.removeprefix(kind): column for name, column in arrays.items() if name.startswith(kind)}
        for kind in ("truth_", "jets_", "candidates_")
    }
    candidates = groups["candidates_"]
    return Block(groups["truth_"], groups["jets_"], Candidates(**candidates) if candidates else None, tally)
