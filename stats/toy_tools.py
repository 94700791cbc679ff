"""What every study with pseudo-experiments needs: Poisson spectra, and the p-value of a value among them.

A fit that failed has no statistic. It is written as NaN, and NaN compares as neither above nor below: counted without care,
a failed toy becomes one below the data, and data without a value the most significant of all. `toy_p_value` leaves failed
toys out, says how many they are, and has no p-value for data without a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from resonaut.errors import ConfigError

__all__ = ("ToyPValue", "fraction", "poisson_toys", "random_stream", "require_toys", "tie_bound", "toy_p_value")

FloatArray = npt.NDArray[np.float64]

SLACK = 1e-9  # relative: rounding of a fit does not split ties


class ToyPValue(NamedTuple):
    """p-value of an observation among toys.

    Attributes
    ----------
    p : float
        ``(k + 1) / (n + 1)`` with k of n toys at least as large; NaN without an observation or without toys.
    error : float
        Its binomial standard deviation.
    used, lost : int
        Toys with a value, and toys without.
    """

    p: float
    error: float
    used: int
    lost: int


def tie_bound(observed: npt.ArrayLike) -> FloatArray:
    """Value from which toys count as at least as large as the observed one: less by the rounding of a fit."""
    value = np.asarray(observed, dtype=np.float64)
    return np.asarray(value - SLACK * (1.0 + np.where(np.isfinite(value), np.abs(value), 0.0)))


def fraction(above: int, toys: int) -> tuple[float, float]:
    """``(above + 1) / (toys + 1)`` and its binomial standard deviation; NaN without toys."""
    if not toys:
        return float("nan"), float("nan")
    p = (above + 1) / (toys + 1)
    return p, float(np.sqrt(p * (1.0 - p) / toys))


def toy_p_value(sample: npt.ArrayLike, observed: float) -> ToyPValue:
    """Fraction of toys whose statistic is at least the observed one, with one toy added to both sides.

    Parameters
    ----------
    sample : array_like of shape (toys,)
        Statistic of each toy; NaN where its fit failed.
    observed : float
        NaN where the fit of the data failed.

    Notes
    -----
    With the added one (the data themselves) the p-value is valid for any number of toys, and never 0 (Phipson and Smyth,
    arXiv:1603.05766).

    Examples
    --------
    >>> from resonaut.stats.toy_tools import toy_p_value
    >>> found = toy_p_value([0.3, 1.2, 2.5, float("nan")], 1.2)
    >>> found.p, found.used, found.lost
    (0.75, 3, 1)
    >>> toy_p_value([0.3, 1.2, 2.5], float("nan")).p
    nan
    """
    values = np.asarray(sample, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    used, lost = len(values), int(np.size(sample)) - len(values)
    if np.isnan(observed):
        return ToyPValue(float("nan"), float("nan"), used, lost)
    return ToyPValue(*fraction(int((values >= tie_bound(observed)).sum()), used), used, lost)


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def require_toys(toys: int, least: int = 1) -> None:
    """Raise ConfigError unless the number of toys is a whole one and large enough."""
    if not _whole(toys) or toys < least:
        msg = f"got {toys} toys, expected a whole number, at least {least}"
        raise ConfigError(msg)


def random_stream(seed: int | Sequence[int] | np.random.Generator) -> np.random.Generator:
    """Random numbers of a seed; a generator is given back as it is.

    Raises
    ------
    ConfigError
        Unless seeds are whole numbers, 0 or more.
    """
    if isinstance(seed, np.random.Generator):
        return seed
    parts = list(seed) if isinstance(seed, Sequence) else [seed]
    if not all(_whole(part) and part >= 0 for part in parts):
        msg = f"got the seed {parts[0] if len(parts) else seed!r}, expected a whole number, 0 or more"
        raise ConfigError(msg)
    return np.random.default_rng(seed)


def poisson_toys(mean: npt.ArrayLike, toys: int, seed: int | Sequence[int] | np.random.Generator) -> FloatArray:
    """Poisson spectra of an expectation.

    Parameters
    ----------
    mean : array_like of shape (bins,)
        Expected counts.
    toys : int
    seed : int, sequence of int or Generator
        A generator goes on from where it is.

    Returns
    -------
    ndarray of shape (toys, bins)

    Raises
    ------
    ConfigError
        If the number of toys or the seed is not a whole number, or too small.

    Examples
    --------
    >>> from resonaut.stats.toy_tools import poisson_toys
    >>> poisson_toys([4.0, 0.0], 3, 1)[:, 1].tolist()
    [0.0, 0.0, 0.0]
    """
    expected = np.asarray(mean, dtype=np.float64)
    require_toys(toys)
    return random_stream(seed).poisson(expected, size=(toys, len(expected))).astype(np.float64)
