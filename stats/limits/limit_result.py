"""Results of limits: one signal, and the masses that a theory loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError, InputError
from resonaut.stats.records import brief

__all__ = ("UNITS", "LimitResult", "MassLimit", "Theory", "mass_limit")

FloatArray = npt.NDArray[np.float64]
Five: TypeAlias = tuple[float, float, float, float, float]

UNITS = {"events": 0.0, "fb": 1.0, "pb": 1000.0, "strength": 0.0}
"""Units of a limit, with how many 1 / unit one inverse femtobarn is (0: not a cross-section)."""

NAN = float("nan")


@dataclass(frozen=True)
class LimitResult:
    """Upper limit on one signal.

    Attributes
    ----------
    signal : str
        Name of the signal.
    mass : float
        GeV.
    observed : float
        Limit at the confidence level; NaN if it could not be found.
    expected : tuple of 5 floats
        -2, -1, 0, +1, +2 standard deviations for background alone.
    unit : str
        "events" (signal events in the fitted bins), "fb" or "pb" (cross-section), or "strength" (factor of the template).
    strength : float
        Best-fit signal, not below 0, in the same unit.
    cl : float
        Confidence level.
    cls_pyhf : float
        CLs of pyhf at the observed limit, ``1 - cl`` if all is well; NaN if it was not asked for, or with toys.
    status : str
        "converged"; "background at limit": the likelihood of the background alone rises towards an infinite parameter, as
        in spectra of few events, and the limit rests on the 30 standard deviations that its directions are held in; or
        "failed: reason".
    function : str
        Background function, one for each channel.
    method : str
        "asymptotic" or "toys".
    background : float
        Events expected under the signal at the expected limit, see `resonaut.stats.background_under`.
    error : float
        Standard deviation of `observed` from the number of toys; 0 for asymptotic limits.
    check : str
        What is wrong by pyhf: that it finds another CLs at the observed limit, or why it could not tell; "" if nothing is, or
        it was not asked.
    """

    signal: str
    mass: float
    observed: float
    expected: Five
    unit: str
    strength: float
    cl: float
    cls_pyhf: float
    status: str
    function: str
    method: str = "asymptotic"
    background: float = NAN
    error: float = 0.0
    check: str = ""

    __repr__ = brief

    @property
    def ok(self) -> bool:
        """Whether there is a limit."""
        return not self.status.startswith("failed")

    @classmethod
    def failed(cls, reason: str, *, signal: str, mass: float, unit: str, cl: float, function: str) -> LimitResult:
        """A point that has no limit, and why."""
        five = (NAN, NAN, NAN, NAN, NAN)
        return cls(signal, mass, NAN, five, unit, NAN, cl, NAN, f"failed: {reason}", function)

    def scaled(self, factor: float, unit: str) -> LimitResult:
        """The same limit in another unit, of which the present one is `factor`."""
        expected: Five = tuple(factor * value for value in self.expected)  # type: ignore[assignment]  # five stay five
        changed = {name: factor * getattr(self, name) for name in ("observed", "strength", "error")}
        return replace(self, expected=expected, unit=unit, **changed)

    def cross_section(self, luminosity: float, *, efficiency: float = 1.0, unit: str = "fb") -> LimitResult:
        """Limit on events as a limit on a cross-section, ``events / (luminosity efficiency)``.

        Parameters
        ----------
        luminosity : float
            Inverse femtobarns.
        efficiency : float
            Part of all signal events that is in the fitted bins: acceptance x efficiency x branching ratio x the part of
            the shape inside the range. With 1, this is the visible cross-section.
        unit : str
            "fb" or "pb".

        Raises
        ------
        ConfigError
            If the limit is not on events, or an option is out of range.

        Examples
        --------
        >>> events = LimitResult("Z'", 3000.0, 41.1, (22.0, 30.0, 42.0, 60.0, 82.0), "events", 0.0, 0.95, 0.05, "converged", "")
        >>> round(events.cross_section(137.0).observed, 6), round(events.cross_section(137.0, efficiency=0.5).observed, 6)
        (0.3, 0.6)
        """
        if self.unit != "events":
            msg = f"cross_section got a limit in {self.unit!r}, expected one in events"
            raise ConfigError(msg)
        return self.scaled(1.0 / events_per_unit(unit, luminosity, efficiency), unit)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {**asdict(self), "expected": list(self.expected)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LimitResult:
        """Inverse of `to_dict`.

        Raises
        ------
        InputError
            If a key is missing or unknown.
        """
        try:
            return cls(**{**content, "expected": tuple(content["expected"])})
        except (KeyError, TypeError) as error:
            msg = f"limit result could not be read: {error}"
            raise InputError(msg) from error


def events_per_unit(unit: str, luminosity: float, efficiency: float) -> float:
    """Signal events for one fb or pb.

    Raises
    ------
    ConfigError
        If an option is out of range.
    """
    if not UNITS.get(unit):
        msg = f"a limit with a luminosity got unit={unit!r}, expected 'fb' or 'pb'"
        raise ConfigError(msg)
    if not (0 < luminosity < np.inf and 0 < efficiency <= 1):
        msg = f"a limit got luminosity={luminosity} and efficiency={efficiency}, expected fb^-1 > 0 and 0 < efficiency <= 1"
        raise ConfigError(msg)
    return luminosity * UNITS[unit] * efficiency


Theory: TypeAlias = Callable[[FloatArray], npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike]
"""Cross-section of a theory: function of the masses, or (masses, values), interpolated in the logarithm."""


@dataclass(frozen=True)
class MassLimit:
    """Masses of a theory that limits exclude.

    Attributes
    ----------
    observed : float
        Upper end of the highest excluded range (GeV); NaN if no mass is excluded. The highest tested mass if that is
        still excluded.
    expected : tuple of 5 floats
        The same for each line of the expected band. A limit that is 2 standard deviations low excludes the highest mass.
    excluded : tuple of (low, high)
        Every range of masses that is excluded by the observed limits.
    """

    observed: float
    expected: Five
    excluded: tuple[tuple[float, float], ...]

    __repr__ = brief

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "observed": self.observed,
            "expected": list(self.expected),
            "excluded": [list(pair) for pair in self.excluded],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MassLimit:
        """Inverse of `to_dict`."""
        pairs = tuple((float(low), float(high)) for low, high in content["excluded"])
        return cls(float(content["observed"]), tuple(map(float, content["expected"])), pairs)  # type: ignore[arg-type]


def theory_values(theory: Theory, mass: FloatArray) -> FloatArray:
    """Cross-section of a theory at some masses, NaN outside its table."""
    if callable(theory):
        return np.asarray(theory(mass), dtype=np.float64)
    x, y = (np.asarray(column, dtype=np.float64) for column in theory)
    if x.shape != y.shape or len(x) < 2 or (np.diff(x) <= 0).any() or not (y > 0).all():
        msg = f"theory got {x.shape} masses and {y.shape} values, expected rising masses with positive cross-sections"
        raise InputError(msg)
    return np.exp(np.interp(mass, x, np.log(y), left=np.nan, right=np.nan))


def mass_limit(limits: Sequence[LimitResult], theory: Theory) -> MassLimit:
    """Masses at which limits lie below the cross-section of a theory.

    Both are interpolated between the masses in their logarithms. Points without a limit are passed over.

    Parameters
    ----------
    limits : sequence of LimitResult
    theory : callable or (masses, values)
        In the unit of the limits.

    Raises
    ------
    InputError
        If fewer than two points have both a limit and a prediction.

    Examples
    --------
    >>> limits = [
    ...     LimitResult("Z'", m, x, (x, x, x, x, x), "fb", 0.0, 0.95, 0.05, "converged", "dijet4")
    ...     for m, x in ((1000.0, 10.0), (2000.0, 10.0), (3000.0, 10.0))
    ... ]
    >>> found = mass_limit(limits, ([1000.0, 2000.0, 3000.0], [1000.0, 100.0, 1.0]))
    >>> round(found.observed), found.excluded == ((1000.0, found.observed),)
    (2500, True)
    """
    ordered = sorted((limit for limit in limits if limit.ok), key=lambda limit: limit.mass)
    mass = np.array([limit.mass for limit in ordered])
    value = theory_values(theory, mass)
    good = np.isfinite(value) & (value > 0)
    if good.sum() < 2:
        msg = f"mass_limit got {good.sum()} masses with a limit and a prediction, expected at least 2"
        raise InputError(msg)
    table = np.array([[*limit.expected, limit.observed] for limit in ordered])[good]
    ranges = [_excluded(mass[good], np.log(value[good] / column)) for column in table.T]
    ends = [found[-1][1] if found else NAN for found in ranges]
    return MassLimit(ends[5], (ends[0], ends[1], ends[2], ends[3], ends[4]), tuple(ranges[5]))


def _excluded(mass: FloatArray, margin: FloatArray) -> list[tuple[float, float]]:
    """Ranges where the margin, taken as straight between the masses, is above 0."""
    found, start = [], float(mass[0]) if margin[0] > 0 else None
    for k in range(len(mass) - 1):
        if (margin[k] > 0) == (margin[k + 1] > 0):
            continue
        crossing = float(mass[k] + (mass[k + 1] - mass[k]) * margin[k] / (margin[k] - margin[k + 1]))
        if start is None:
            start = crossing
        else:
            found.append((start, crossing))
            start = None
    if start is not None:
        found.append((start, float(mass[-1])))
    return found
