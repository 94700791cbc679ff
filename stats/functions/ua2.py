"""The function of UA2 and what has become of it: a power law cut off by an exponential."""

from __future__ import annotations

from resonaut.stats.functions.base import BackgroundFunction
from resonaut.stats.functions.terms import minus, minus2, minus_ln

__all__ = ("FUNCTIONS", "UA2", "PowExp3")


class UA2(BackgroundFunction):
    """Power law times the exponential of a second-order polynomial."""

    name = "ua2"
    formula = "p0 x^-p1 exp(-p2 x - p3 x^2)"
    names = ("p0", "p1", "p2", "p3")
    terms = (minus_ln, minus, minus2)
    source = "UA2, Z. Phys. C 49 (1991) 17; ATLAS trigger-level dijets, arXiv:1804.03496; CMS bias tests"


class PowExp3(BackgroundFunction):
    """Power law times an exponential."""

    name = "powexp3"
    formula = "p0 exp(-p1 x) / x^p2"
    names = ("p0", "p1", "p2")
    terms = (minus, minus_ln)
    source = "CMS paired dijets, arXiv:2206.09997 (PowExp-3p); CMS diphotons, arXiv:2405.09320 (expow)"


FUNCTIONS = (UA2, PowExp3)
