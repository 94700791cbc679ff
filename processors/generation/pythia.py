"""Pythia 8, set up line by line, and its events as flat arrays.

The Python interface hands over whole batches of events (`nextBatch`), so that no particle is touched one by one.
Pythia 8.3: Bierlich et al., arXiv:2203.11601. VINCIA: Brooks, Preuss, Skands, arXiv:2003.00702.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError, MissingDependencyError, unknown_name
from resonaut.processors.generation.processes import Process

__all__ = ("BATCH", "SHOWERS", "Batch", "Generator", "batches", "open_pythia", "pythia_version")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHOWERS = {"simple": 1, "vincia": 2}
"""Parton showers of Pythia by name. Dire is not part of current releases."""

BATCH = 50
"""Events that are asked of Pythia at a time; it shapes which random numbers the detector gets, so it is fixed."""

SEEDS = 900_000_000  # Pythia takes 1 to this
RESONANCE = 22  # status of an intermediate resonance of the hard process
DECAY_LENGTH = 10.0  # mm: what lives longer meets the detector


@dataclass(frozen=True)
class Generator:
    """How Pythia simulates a process: beams, shower, tune and whatever else is asked for.

    Parameters
    ----------
    sqrts : centre-of-mass energy of the two protons [GeV].
    shower : "simple" or "vincia".
    tune : number of Pythia's `Tune:pp` (14: Monash 2013); Pythia's default without it.
    mpi : multiparton interactions; they add a diffuse underlying event and most of the computing time.
    card : file of further settings, one a line.
    lines : further settings such as "HadronLevel:all = off"; they come last and win.
    """

    sqrts: float = 13000.0
    shower: str = "simple"
    tune: int | None = None
    mpi: bool = False
    card: str | None = None
    lines: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.shower not in SHOWERS:
            raise ConfigError(unknown_name("parton shower", self.shower, SHOWERS))
        if not self.sqrts > 0:
            msg = f"sqrts is {self.sqrts}, expected a positive number of GeV"
            raise ConfigError(msg)
        for line in self.card_lines:
            if line.lower().replace(" ", "").startswith(("random:", "main:")):
                msg = f"{line!r}: seeds and numbers of events are options of their own (seed, events), expected another setting"
                raise ConfigError(msg)

    @property
    def card_lines(self) -> tuple[str, ...]:
        """Settings of the card and the lines, comments left out."""
        text = () if self.card is None else _card(self.card)
        return tuple(line.strip() for line in (*text, *self.lines) if line.strip() and line.strip()[0] not in "!#/$%")

    @property
    def config(self) -> dict[str, Any]:
        """Options as plain data, the card by its content."""
        return asdict(self) | {"card": self.card and Path(self.card).name, "lines": list(self.card_lines)}

    def settings(self, process: Process) -> tuple[str, ...]:
        """All lines for Pythia but the seed.

        Raises
        ------
        ConfigError
            If the shower cannot simulate the process.
        """
        if self.shower not in process.showers:
            msg = (
                f"the {self.shower} shower cannot simulate this {process.name}, expected {' or '.join(process.showers)}"
            )
            raise ConfigError(msg)
        return (
            "Print:quiet = on",
            "Beams:idA = 2212",
            "Beams:idB = 2212",
            f"Beams:eCM = {self.sqrts}",
            *(() if self.tune is None else (f"Tune:pp = {self.tune}",)),
            f"PartonShowers:model = {SHOWERS[self.shower]}",
            f"PartonLevel:MPI = {'on' if self.mpi else 'off'}",
            "ParticleDecays:limitTau0 = on",
            f"ParticleDecays:tau0Max = {DECAY_LENGTH}",
            *process.settings,
            *self.card_lines,
        )


def _card(path: str) -> tuple[str, ...]:
    try:
        return tuple(Path(path).read_text().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as a card of settings ({getattr(error, 'strerror', None) or error})"
        raise InputError(msg) from error


def _module() -> Any:
    try:
        import pythia8mc
    except ImportError as error:
        msg = "generating events needs Pythia 8: pip install 'resonaut[generate]'"
        raise MissingDependencyError(msg) from error
    return pythia8mc


def pythia_version() -> str:
    """Version of the installed Pythia.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    _module()
    try:
        return version("pythia8mc")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def _silent() -> Iterator[None]:
    """Pythia writes from C++, past Python's streams; what it says is kept and told in our own errors."""
    import sys

    sys.stdout.flush()
    kept = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(sink)


def open_pythia(process: Process, generator: Generator, seed: int) -> Any:
    """Pythia, ready for events.

    Raises
    ------
    ConfigError
        If it does not know a setting, or can make no events with them.
    MissingDependencyError
        If it is not installed.
    """
    module = _module()
    with _silent():
        pythia = module.Pythia("", False)
        for line in (*generator.settings(process), "Random:setSeed = on", f"Random:seed = {1 + seed % SEEDS}"):
            if not pythia.readString(line):
                raise ConfigError(_refused(pythia, line))
        if not pythia.init():
            msg = (
                f"Pythia can make no events of {process.name} with these settings: {'; '.join(generator.settings(process))}. "
                "Typical reasons: a pTHat or mass beyond the beams' energy, a value out of range, an unknown particle"
            )
            raise ConfigError(msg)
    return pythia


def _refused(pythia: Any, line: str) -> str:
    """Why a line was refused, with the nearest setting that there is."""
    name = line.split("=", maxsplit=1)[0].strip()
    group = name.split(":", maxsplit=1)[0].lower()
    kinds = ("Flag", "Mode", "Parm", "Word", "FVec", "MVec", "PVec", "WVec")
    known = {key.lower() for kind in kinds for key in dict(getattr(pythia.settings, f"get{kind}Map")(group))}
    if name.lower() in known:
        return f"Pythia does not take {line!r}: the value is of the wrong kind or out of range"
    near = difflib.get_close_matches(name.lower(), sorted(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"Pythia does not know the setting {line!r}: {hint}expected lines such as 'TimeShower:alphaSvalue = 0.13', see its manual"


@dataclass(frozen=True)
class Batch:
    """Events of Pythia: stable visible particles, flat, and what is known of each event.

    Parameters
    ----------
    momenta : (n, 4) = (px, py, pz, E) in GeV; ids : (n,) PDG numbers; charged : (n,).
    offsets : (events + 1,) first particle of each event.
    truth : columns (events,): `weight`, `pthat`, `mhat` and the masses of the process's resonances [GeV].
    good : (tries,) whether Pythia made an event at that try.
    """

    momenta: Floats
    ids: Ints
    charged: npt.NDArray[np.bool_]
    offsets: Ints
    truth: dict[str, Floats]
    good: npt.NDArray[np.bool_]


def batches(pythia: Any, masses: Mapping[str, int]) -> Iterator[Batch]:
    """Batches of `BATCH` tries without end; a try that fails is marked, never repeated in silence."""
    kinds = _Kinds(pythia.particleData)
    while True:
        with _silent():
            made = pythia.nextBatch(BATCH, "none")
        good = ~ak.to_numpy(ak.is_none(made))
        yield _flat(made[good], good, kinds, masses)


class _Kinds:
    """Charge and visibility of particles by their numbers, asked of Pythia once each."""

    def __init__(self, data: Any) -> None:
        self._ask = lru_cache(maxsize=None)(lambda n: self._look(data, n))

    @staticmethod
    def _look(data: Any, number: int) -> tuple[bool, bool]:
        entry = data.findParticle(number)
        return bool(entry.isVisible()), entry.chargeType(number) != 0

    def __call__(self, ids: Ints) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(visible, charged) of each."""
        unique, inverse = np.unique(ids, return_inverse=True)
        table = np.array([self._ask(int(n)) for n in unique], dtype=bool).reshape(-1, 2)
        return table[inverse, 0], table[inverse, 1]


def _flat(events: Any, good: npt.NDArray[np.bool_], kinds: _Kinds, masses: Mapping[str, int]) -> Batch:
    particles, counts = events.prt, ak.to_numpy(ak.num(events.prt, axis=1))
    status = _column(particles.status).astype(np.int64)
    ids = _column(particles.id).astype(np.int64)
    event = np.repeat(np.arange(len(counts)), counts)
    visible, charged = kinds(ids)
    stable = (status > 0) & visible
    momenta = np.stack([_column(particles.p[x])[stable] for x in ("px", "py", "pz", "e")], axis=1)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(event[stable], minlength=len(counts)))]).astype(np.int64)
    weights = ak.to_numpy(ak.fill_none(ak.firsts(events.info.weights), 1.0)).astype(np.float64)
    truth = {
        "weight": weights,
        "pthat": np.sqrt(ak.to_numpy(events.info.pT2Hat).astype(np.float64)),
        "mhat": ak.to_numpy(events.info.mHat).astype(np.float64),
    }
    if masses:
        mass = _column(particles.m).astype(np.float64)
        for name, number in masses.items():
            column = np.full(len(counts), np.nan)
            rows = np.flatnonzero((np.abs(ids) == number) & (np.abs(status) == RESONANCE))[::-1]
            column[event[rows]] = mass[rows]  # the first of an event is written last
            truth[name] = column
    return Batch(momenta, ids[stable], charged[stable], offsets, truth, good)


def _column(jagged: Any) -> npt.NDArray[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(jagged, axis=1)))
