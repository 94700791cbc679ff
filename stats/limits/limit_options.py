"""Options of a limit, in one place for everything that passes them on."""

from __future__ import annotations

from typing import TypedDict

from resonaut.errors import ConfigError
from resonaut.stats.limits.limit_result import UNITS

__all__ = ("METHODS", "LimitOptions", "check_limit_options")

METHODS = ("auto", "asymptotic", "toys")


class LimitOptions(TypedDict, total=False):
    """Keyword options of `resonaut.stats.upper_limit`, where they are explained."""

    function: str
    sqrts: float
    fit_range: tuple[float, float] | None
    signal_uncertainty: float
    luminosity: float | None
    efficiency: float
    unit: str | None
    cl: float
    mass: float
    name: str
    method: str
    toys: int
    seed: int
    check: bool


def check_limit_options(
    cl: float, method: str, unit: str | None, *, luminosity: float | None = None, efficiency: float = 1.0
) -> None:
    """Refuse options that cannot be meant.

    Raises
    ------
    ConfigError
    """
    if not 0.5 < cl < 1:
        msg = f"upper_limit got cl={cl}, expected 0.5 < cl < 1"
        raise ConfigError(msg)
    if method not in METHODS:
        msg = f"upper_limit got method={method!r}, expected one of {', '.join(METHODS)}"
        raise ConfigError(msg)
    if unit is not None and unit not in UNITS:
        msg = f"upper_limit got unit={unit!r}, expected one of {', '.join(UNITS)}"
        raise ConfigError(msg)
    if luminosity is None and efficiency != 1.0:
        msg = (
            f"upper_limit got efficiency={efficiency} without a luminosity, expected both: "
            "the efficiency turns events into a cross-section"
        )
        raise ConfigError(msg)
