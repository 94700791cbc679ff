"""Processes that can be generated, each a small class that says what Pythia has to be told.

A new process is one class with the attributes of `Process` and one line in `PROCESSES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from resonaut.errors import ConfigError

__all__ = ("PROCESSES", "QCD", "WZ", "Process", "TTbar", "ZPrimeXY")

ZPRIME, X, Y = 4900023, 9000005, 9000006
SHOWERS = ("simple", "vincia")
QUARKS = (1, 2, 3, 4, 5)
TWO = ("1 -1", "2 -2", "3 -3", "4 -4")
THREE = ("2 1 3", "4 1 3", "-2 -1 -3", "-4 -1 -3")  # neutral: up, down and strange, or charm in place of up
WIDTHS = 10.0  # a mass is generated within so many widths of its nominal value


class Process(Protocol):
    """What a process must offer."""

    name: ClassVar[str]
    label: ClassVar[int]
    truth_masses: ClassVar[Mapping[str, int]]
    has_rate: ClassVar[bool]

    @property
    def showers(self) -> tuple[str, ...]:
        """Parton showers that can simulate it."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Lines for Pythia."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _phase_space(pthat_min: float, pthat_max: float | None) -> tuple[str, ...]:
    _require(pthat_min > 0, f"pthat_min is {pthat_min}, expected a positive number of GeV")
    lines: tuple[str, ...] = (f"PhaseSpace:pTHatMin = {pthat_min}",)
    if pthat_max is not None:
        _require(pthat_max > pthat_min, f"pthat_max is {pthat_max}, expected more than pthat_min = {pthat_min}")
        lines += (f"PhaseSpace:pTHatMax = {pthat_max}",)
    return lines


@dataclass(frozen=True)
class _HardScattering:
    """What background processes share: a range of transverse momentum of the hard scattering, and a rate.

    Parameters
    ----------
    pthat_min, pthat_max : transverse momentum of the hard scattering [GeV]. A minimum close to the cut on the jets is fast
        and loses events whose jets gained momentum: docs/generate.md says how many.
    """

    pthat_min: float = 900.0
    pthat_max: float | None = None

    lines: ClassVar[tuple[str, ...]]
    label: ClassVar[int] = 0
    truth_masses: ClassVar[Mapping[str, int]] = {}
    has_rate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _phase_space(self.pthat_min, self.pthat_max)

    @property
    def showers(self) -> tuple[str, ...]:
        """Parton showers that can simulate it."""
        return SHOWERS

    @property
    def settings(self) -> tuple[str, ...]:
        """Lines for Pythia."""
        return (*self.lines, *_phase_space(self.pthat_min, self.pthat_max))


@dataclass(frozen=True)
class QCD(_HardScattering):
    """Dijets of all QCD 2 -> 2 processes.

    Parameters
    ----------
    pthat_min, pthat_max : transverse momentum of the hard scattering [GeV].
    bias : power p of the oversampling (pTHat / pthat_min)^p; the events get weights that undo it. 0: no weights.
    """

    bias: float = 0.0

    name: ClassVar[str] = "qcd"
    lines: ClassVar[tuple[str, ...]] = ("HardQCD:all = on",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.bias <= 10, f"bias is {self.bias}, expected a power of 0 to 10")

    @property
    def settings(self) -> tuple[str, ...]:
        """Lines for Pythia."""
        if not self.bias:
            return super().settings
        return (
            *super().settings,
            "PhaseSpace:bias2Selection = on",
            f"PhaseSpace:bias2SelectionPow = {self.bias}",
            f"PhaseSpace:bias2SelectionRef = {self.pthat_min}",
        )


@dataclass(frozen=True)
class TTbar(_HardScattering):
    """Top quark pairs, decaying as they do."""

    name: ClassVar[str] = "ttbar"
    lines: ClassVar[tuple[str, ...]] = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")


@dataclass(frozen=True)
class WZ(_HardScattering):
    """W and Z together, both to quarks."""

    name: ClassVar[str] = "wz"
    lines: ClassVar[tuple[str, ...]] = (
        "WeakDoubleBoson:ffbar2ZW = on",
        *(f"{boson}:{mode}" for boson in (23, 24) for mode in ("onMode = off", "onIfAny = 1 2 3 4 5")),
    )


@dataclass(frozen=True)
class ZPrimeXY:
    """A neutral resonance Z' of spin 1, made by quarks, that decays to two new scalars X and Y, and these to quarks.

    The signal of the LHC Olympics (arXiv:2101.08320) has m_zprime = 3500, m_x = 500, m_y = 100 GeV and two prongs each. Z' is
    Pythia's generic vector resonance of the hidden valley, with this decay alone; it decays evenly in its rest frame. Its cross-section has
    no meaning.

    Parameters
    ----------
    m_zprime, m_x, m_y : masses [GeV].
    width_zprime, width_x, width_y : widths [GeV]; 1 % of the mass of Z', 0.1 % of those of X and Y if not given. Masses are
        Breit-Wigner distributed within 10 widths.
    prongs_x, prongs_y : 2 for a light quark and its antiquark; 3 for three light quarks that join in a string junction
        (the simple shower alone can radiate from these). Evenly in phase space.
    """

    m_zprime: float = 3500.0
    m_x: float = 500.0
    m_y: float = 100.0
    width_zprime: float | None = None
    width_x: float | None = None
    width_y: float | None = None
    prongs_x: int = 2
    prongs_y: int = 2

    name: ClassVar[str] = "zprime-xy"
    label: ClassVar[int] = 1
    truth_masses: ClassVar[Mapping[str, int]] = {"m_zprime": ZPRIME, "m_x": X, "m_y": Y}
    has_rate: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("prongs_x", "prongs_y"):
            _require(getattr(self, name) in (2, 3), f"{name} is {getattr(self, name)}, expected 2 or 3")
        for name in ("m_x", "m_y"):
            _require(getattr(self, name) >= 10, f"{name} is {getattr(self, name)}, expected at least 10 GeV")
        _require(
            self.m_zprime > self.m_x + self.m_y,
            f"m_zprime is {self.m_zprime}, expected more than m_x + m_y = {self.m_x + self.m_y} GeV",
        )
        for name, (mass, width) in self._resonances.items():
            _require(0 < width < 0.3 * mass, f"width_{name} is {width}, expected more than 0 and less than 0.3 x mass")

    @property
    def _resonances(self) -> dict[str, tuple[float, float]]:
        """Mass and width of each."""
        return {
            "zprime": (self.m_zprime, 0.01 * self.m_zprime if self.width_zprime is None else self.width_zprime),
            "x": (self.m_x, 1e-3 * self.m_x if self.width_x is None else self.width_x),
            "y": (self.m_y, 1e-3 * self.m_y if self.width_y is None else self.width_y),
        }

    @property
    def showers(self) -> tuple[str, ...]:
        """Parton showers that can simulate it: VINCIA fails on string junctions of decays."""
        return ("simple",) if 3 in (self.prongs_x, self.prongs_y) else SHOWERS

    @property
    def settings(self) -> tuple[str, ...]:
        """Lines for Pythia."""
        found = self._resonances
        return (
            "HiddenValley:ffbar2Zv = on",
            *_resonance(ZPRIME, "Zprime", 3, *found["zprime"]),
            f"{ZPRIME}:oneChannel = 1 0.5 100 {X} {Y}",
            *(f"{ZPRIME}:addChannel = 0 0.1 102 {q} -{q}" for q in QUARKS),  # couplings to the beams; never a decay
            *_resonance(X, "X", 1, *found["x"]),
            *_decays(X, self.prongs_x),
            *_resonance(Y, "Y", 1, *found["y"]),
            *_decays(Y, self.prongs_y),
        )


def _resonance(number: int, name: str, spin: int, mass: float, width: float) -> tuple[str, ...]:
    low, high = max(mass - WIDTHS * width, 0.3 * mass), mass + WIDTHS * width
    return (f"{number}:new = {name} void {spin} 0 0 {mass} {width} {low} {high}", f"{number}:isResonance = on")


def _decays(number: int, prongs: int) -> tuple[str, ...]:
    final = THREE if prongs == 3 else TWO
    how = ("oneChannel", *("addChannel" for _ in final[1:]))
    return tuple(f"{number}:{h} = 1 {1 / len(final)} 100 {quarks}" for h, quarks in zip(how, final, strict=True))


PROCESSES: dict[str, Any] = {each.name: each for each in (QCD, ZPrimeXY, TTbar, WZ)}
"""Every process by its name."""
