"""Background functions: densities of events per GeV with free parameters, each with its formula, source and domain.

`dijet`
    The family of ATLAS and CMS with 2 to 6 parameters.
`ua2`
    Power laws cut off by an exponential.
`exponentials`
    Exponentials of polynomials; modified exponentials of CMS (not log-linear).
`diphoton`
    Functions of searches with photons; inverse powers (not log-linear).
`sums`
    Sums of power laws; the straight line (not log-linear).
`polynomials`
    Polynomials of any degree in a range (not log-linear, in no registry until they are given one).

A function of one's own is a `BackgroundFunction` (log-linear) or a subclass of `NonLinearFunction`, given to
`register_function`.
"""

from __future__ import annotations

from resonaut.stats.functions import dijet, diphoton, exponentials, sums, ua2
from resonaut.stats.functions.base import (
    DEFAULT_SQRTS,
    BackgroundFunction,
    NonLinearFunction,
    available_functions,
    background_function,
    register_function,
)
from resonaut.stats.functions.dijet import DIJET_FAMILY
from resonaut.stats.functions.polynomials import Polynomial

__all__ = (
    "DEFAULT_SQRTS",
    "DIJET_FAMILY",
    "BackgroundFunction",
    "NonLinearFunction",
    "Polynomial",
    "available_functions",
    "background_function",
    "register_function",
)

for _module in (dijet, ua2, exponentials, diphoton, sums):
    for _function in _module.FUNCTIONS:
        register_function(_function())
