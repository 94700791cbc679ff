r"""The dijet family of ATLAS and CMS.

.. math::
    f = \frac{p_0 (1-x)^{p_1}}{x^{p_2 + p_3 \ln x + p_4 \ln^2 x + p_5 \ln^3 x}}
    \quad\Leftrightarrow\quad
    \ln f = \ln p_0 + p_1 \ln(1-x) - p_2 \ln x - p_3 \ln^2 x - p_4 \ln^3 x - p_5 \ln^4 x

The power of (1-x) follows the parton densities at large x, the power of x the matrix element; the running of the power
has no derivation. ATLAS uses the same family for a photon and a jet (arXiv:1709.10440).
"""

from __future__ import annotations

from resonaut.stats.functions.base import BackgroundFunction
from resonaut.stats.functions.terms import ln_one_minus, minus_ln, minus_ln2, minus_ln3, minus_ln4

__all__ = ("DIJET_FAMILY", "FUNCTIONS", "Dijet2", "Dijet3", "Dijet4", "Dijet5", "Dijet6")

DIJET_FAMILY = ("dijet3", "dijet4", "dijet5")
"""Nested members, each with one parameter more than the one before.

The power law "dijet2" is left out: it cannot follow a spectrum that an anomaly cut has bent, and toys of such spectra
show it to make excesses (five times too many p-values below 0.01 at 50 events), where "dijet3" stays calibrated.
"dijet6" is left out because no search of the field has needed it in an F-test; the scans are calibrated without it.
"""


class Dijet2(BackgroundFunction):
    """Power law."""

    name = "dijet2"
    formula = "p0 / x^p2"
    names = ("p0", "p2")
    terms = (minus_ln,)
    source = "scaling of parton scattering at fixed x"
    domain = "0 < x < 1; narrow ranges at x well below 1"


class Dijet3(BackgroundFunction):
    """Three-parameter dijet function."""

    name = "dijet3"
    formula = "p0 (1-x)^p1 / x^p2"
    names = ("p0", "p1", "p2")
    terms = (ln_one_minus, minus_ln)
    source = "ATLAS 37/fb, arXiv:1703.09127; CMS paired dijets, arXiv:2206.09997 (Dijet-3p)"


class Dijet4(BackgroundFunction):
    """Four-parameter dijet function, the standard of the field."""

    name = "dijet4"
    formula = "p0 (1-x)^p1 / x^(p2 + p3 ln x)"
    names = ("p0", "p1", "p2", "p3")
    terms = (ln_one_minus, minus_ln, minus_ln2)
    source = "CDF, arXiv:0812.4036; CMS 137/fb, arXiv:1911.03947; CWoLa, arXiv:2104.02092, equation 4.1"


class Dijet5(BackgroundFunction):
    """Five-parameter dijet function."""

    name = "dijet5"
    formula = "p0 (1-x)^p1 / x^(p2 + p3 ln x + p4 ln^2 x)"
    names = ("p0", "p1", "p2", "p3", "p4")
    terms = (ln_one_minus, minus_ln, minus_ln2, minus_ln3)
    source = "CMS 27/fb low mass, arXiv:1806.00843"
    domain = "0 < x < 1; more than 10^6 events"


class Dijet6(BackgroundFunction):
    """Six-parameter dijet function."""

    name = "dijet6"
    formula = "p0 (1-x)^p1 / x^(p2 + p3 ln x + p4 ln^2 x + p5 ln^3 x)"
    names = ("p0", "p1", "p2", "p3", "p4", "p5")
    terms = (ln_one_minus, minus_ln, minus_ln2, minus_ln3, minus_ln4)
    source = "the next order, used as the alternative in F-tests against dijet5 (CMS scouting searches)"
    domain = "0 < x < 1; more than 10^7 events"


FUNCTIONS = (Dijet2, Dijet3, Dijet4, Dijet5, Dijet6)
