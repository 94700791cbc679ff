"""Limits of searches whose selection is learnt from the data: the strength that is excluded by the search run with that strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from resonaut.errors import InputError

__all__ = ("SelfConsistentLimit", "self_consistent_limit")


@dataclass(frozen=True)
class SelfConsistentLimit:
    """Where the limit falls below the strength that the search was trained with.

    Parameters
    ----------
    value : in the unit of the strengths; NaN where there is no crossing among them.
    status : "ok", or why there is no value.
    """

    value: float
    status: str = "ok"

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == "ok"


def self_consistent_limit(
    strengths: Sequence[float] | npt.NDArray[np.float64], limits: Sequence[float] | npt.NDArray[np.float64]
) -> SelfConsistentLimit:
    """Smallest strength s from which on s >= limit(s).

    A classifier that is trained on the data selects a signal better the more of it there is, so that its efficiency, and with
    it the limit, depend on the strength that is tested. The limit on a strength s comes from the selection that the search
    learns when s is in the data; s is excluded if that limit is not above s. Between two strengths the logarithm of the limit is
    taken as linear: exact for a limit that does not depend on s or falls exponentially, too high for one that flattens faster, and
    too low, by less than the distance of the two, for one that stays high and collapses shortly before the second.

    Parameters
    ----------
    strengths : (n,) that were injected, rising, from 0 on or not.
    limits : (n,) upper limits of the searches with them, in the same unit; infinite where nothing is selected.

    Raises
    ------
    InputError
        If there is no strength, they do not rise, or a limit is NaN or not positive.

    References
    ----------
    ATLAS, "Dijet resonance search with weak supervision using sqrt(s) = 13 TeV pp collisions", arXiv:2005.02983.

    Examples
    --------
    >>> round(self_consistent_limit([0, 100, 200, 400], [150, 150, 150, 150]).value, 6)
    150.0
    >>> self_consistent_limit([0, 100, 200], [900, 500, 250]).status
    'not excluded up to 200'
    """
    s, limit = np.asarray(strengths, dtype=np.float64), np.asarray(limits, dtype=np.float64)
    if s.ndim != 1 or s.shape != limit.shape or not s.size:
        msg = f"got {s.shape} strengths and {limit.shape} limits, expected as many of one as of the other, at least one"
        raise InputError(msg)
    if not np.isfinite(s).all() or np.any(np.diff(s) <= 0) or s[0] < 0:
        msg = f"strengths must rise from 0 or above, got {s.tolist()}"
        raise InputError(msg)
    if np.isnan(limit).any() or np.any(limit <= 0):
        msg = f"limits must be positive, got {limit.tolist()}"
        raise InputError(msg)
    above = limit - s
    allowed = np.flatnonzero(above > 0)
    if not allowed.size:
        return SelfConsistentLimit(float("nan"), f"excluded from {s[0]:g} on")
    last = int(allowed[-1])
    if last == s.size - 1:
        return SelfConsistentLimit(float("nan"), f"not excluded up to {s[-1]:g}")
    if np.isinf(above[last]) or above[last + 1] == 0:
        return SelfConsistentLimit(float(s[last + 1]))
    ends, logs = s[last : last + 2], np.log(limit[last : last + 2])
    return SelfConsistentLimit(float(brentq(lambda x: np.exp(np.interp(x, ends, logs)) - x, *ends)))
