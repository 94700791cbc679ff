"""One check of a search, and how its verdict is reached.

Each check tests a null hypothesis that holds for a search without fault, with a p-value whose distribution is known, and an effect: how
large a departure is, in units that matter to the search. Red needs both: a departure that is no chance, and one that matters. With K
checks red needs p < a / K, so that a search without fault has any red check with a chance of at most a; amber p < 10 a / K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ("CHECKS", "WORST", "Alarm", "Check", "bonferroni", "gravest", "not_made", "worst")

WORST = ("green", "amber", "red")

CHECKS = 14
"""Tests that can turn red by chance: those of docs/validation.md."""


@dataclass(frozen=True)
class Alarm:
    """Smallest p-values that pass.

    Parameters
    ----------
    rate
        Chance of any red check in a search without fault.

    Examples
    --------
    >>> alarm = Alarm(0.014)
    >>> alarm.verdict(0.5), alarm.verdict(0.005), alarm.verdict(1e-6), alarm.verdict(1e-6, effect=0.01, allowed=0.1)
    ('green', 'amber', 'red', 'amber')
    >>> alarm.verdict(1e-6, effect=0.01, told=0.05, allowed=0.1), alarm.verdict(1e-6, effect=0.11, allowed=0.1, beyond=0.3)
    ('green', 'amber')
    """

    rate: float

    @property
    def red(self) -> float:
        return self.rate / CHECKS

    @property
    def amber(self) -> float:
        return min(10 * self.red, 0.05)

    def verdict(
        self,
        p: float,
        *,
        effect: float = math.inf,
        told: float = 0.0,
        allowed: float = 0.0,
        beyond: float | None = None,
    ) -> str:
        """Of a test; green where there is no p-value.

        Parameters
        ----------
        p
            Of no departure at all.
        effect
            Size of the departure; up to `told` it is green, up to `allowed` amber at most.
        beyond
            p-value of a departure that is just `allowed`, where searches without fault may depart a little; red needs it to be small
            too.
        """
        if not p < self.amber or effect <= told:
            return "green"
        sure = p < self.red and (beyond is None or beyond < self.red)
        return "red" if sure and effect > allowed else "amber"


def bonferroni(p: float, tests: int) -> float:
    """p-value of the smallest of several, valid whatever their correlation."""
    return min(1.0, p * tests) if math.isfinite(p) else 1.0


def gravest(verdicts: Sequence[str], effects: Sequence[float]) -> int:
    """Place of the worst verdict, of several that of the largest effect.

    The largest effect of all may be chance, where there are few events, and hide a smaller one that is sure.

    Examples
    --------
    >>> gravest(["green", "red", "red"], [0.9, 0.66, 0.7])
    2
    """
    return max(range(len(verdicts)), key=lambda place: (WORST.index(verdicts[place]), effects[place]))


def worst(verdicts: Sequence[str]) -> str:
    """The worst of some verdicts; green where there is none."""
    return max(verdicts, key=WORST.index, default="green")


@dataclass(frozen=True)
class Check:
    """What one check found.

    Parameters
    ----------
    name
        Short and stable, for machines.
    title
        What is tested, in words.
    number, threshold
        What was measured, and the most that is allowed.
    verdict
        "green", "amber" or "red".
    diagnosis
        A sentence: what is right, or what is wrong and what to do.
    p_value
        Of a search without fault, after Bonferroni over the tests inside of the check; None where the check is no test.
    figure
        Stem of the figure below the run directory.
    made
        Whether there was anything to check.
    details
        More numbers.
    """

    name: str
    title: str
    number: float | None
    threshold: float | None
    verdict: str
    diagnosis: str
    p_value: float | None = None
    figure: str | None = None
    made: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def with_figure(self, stem: str) -> Check:
        return replace(self, figure=stem)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def not_made(name: str, title: str, why: str, verdict: str = "green") -> Check:
    """A check that had nothing to look at: amber where it should have had."""
    return Check(name, title, None, None, verdict, f"not made: {why}", made=False)
