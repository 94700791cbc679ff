"""Jet observables: what each is, what it is made of, where it is defined. Their names with options: `names`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from resonaut.processors.jets.kernels_axes import MAX_AXES
from resonaut.processors.jets.shared import SharedParts, ratio

__all__ = ("ALIASES", "DEFAULT_OBSERVABLES", "OBSERVABLES", "Observable", "Options")

Floats = npt.NDArray[np.float64]

DEFAULT_OBSERVABLES = ("tau1", "tau2", "tau3", "tau4", "tau1b2", "n", "msd")
"""What is computed where nothing is asked for."""


@dataclass(frozen=True)
class Options:
    """Values of an observable's options; each observable uses those that it names."""

    beta: float = 1.0
    kappa: float = 1.0
    zcut: float = 0.1
    axes: str = "wta_kt"
    passes: int = 0
    measure: str = "normalised"


Compute = Callable[[SharedParts, Options], Floats]


@dataclass(frozen=True)
class Observable:
    """One jet observable, or a family with options.

    Parameters
    ----------
    name : as it is asked for.
    meaning : formula; z = pT / sum of pT of the constituents, dR in (rapidity, phi).
    reference : where it is defined.
    compute : from the shared parts and the options to (jets,).
    options : names of the options that it takes.
    defaults : where they differ from those of `Options`.
    needs : which shared parts it is made of: tree, axes, pairs, triples, charges.
    quotient : the two observables whose quotient it is, where files store those.
    """

    name: str
    meaning: str
    reference: str
    compute: Compute
    options: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    quotient: tuple[str, str] | None = None

    @property
    def allows_zero_beta(self) -> bool:
        """True where the sum still depends on something without the angles."""
        return "tree" in self.needs or "kappa" in self.options


def _tau(n: int) -> Compute:
    def compute(parts: SharedParts, options: Options) -> Floats:
        value = parts.tau(n, options.beta, options.axes, options.passes)
        if options.measure == "raw":
            return value
        beta, radius = options.beta, parts.radius
        scale = radius if beta == 1.0 else radius * radius if beta == 2.0 else radius**beta
        return np.asarray(value / (parts.pt_sum * scale))

    return compute


def _tau_ratio(above: int, below: int) -> Compute:
    def compute(parts: SharedParts, options: Options) -> Floats:
        return ratio(_tau(above)(parts, options), _tau(below)(parts, options))

    return compute


def _soft_drop(column: str) -> Compute:
    def compute(parts: SharedParts, options: Options) -> Floats:
        return parts.soft_drop(options.zcut, options.beta)[column]

    return compute


def _correlator(smallest: int, points: int) -> Compute:
    def compute(parts: SharedParts, options: Options) -> Floats:
        return parts.correlator(smallest, points, options.beta)

    return compute


def _correlator_ratio(above: tuple[int, int], below: tuple[int, int], power: int) -> Compute:
    def compute(parts: SharedParts, options: Options) -> Floats:
        return ratio(parts.correlator(*above, options.beta), parts.correlator(*below, options.beta) ** power)

    return compute


def _angularity(parts: SharedParts, options: Options) -> Floats:
    return parts.moment(options.kappa, options.beta, options.axes)


def _momentum_dispersion(parts: SharedParts, _: Options) -> Floats:
    return np.asarray(np.sqrt(parts.moment(2.0, 0.0, "jet")))


def _multiplicity(parts: SharedParts, _: Options) -> Floats:
    return parts.counts


def _charge(parts: SharedParts, options: Options) -> Floats:
    return parts.charge(options.kappa)


def _theta(parts: SharedParts, options: Options) -> Floats:
    return np.asarray(_soft_drop("rg")(parts, options) / parts.radius)


TAU_OPTIONS = ("beta", "axes", "passes", "measure")
DROP_OPTIONS = ("zcut", "beta")
GROOMING = {"beta": 0.0}
THALER = "arXiv:1011.2268, 1108.2701; axes arXiv:1401.2158"
DROP, ECF, ECFG = "arXiv:1402.2657", "arXiv:1305.0007", "arXiv:1609.07483"
ANGULARITIES = "arXiv:1408.3122"

_TAUS = [
    Observable(
        f"tau{n}",
        f"sum_i z_i min over {n} axes (dR_i / R)^beta" if n > 1 else "sum_i z_i (dR_i / R)^beta about one axis",
        THALER,
        _tau(n),
        TAU_OPTIONS,
        needs=("axes",),
    )
    for n in range(1, MAX_AXES + 1)
]
_TAU_RATIOS = [
    Observable(
        f"tau{b}{a}",
        f"tau{b} / tau{a}",
        THALER,
        _tau_ratio(b, a),
        TAU_OPTIONS[:3],
        needs=("axes",),
        quotient=(f"tau{b}", f"tau{a}"),
    )
    for a, b in combinations(range(1, MAX_AXES + 1), 2)
]
_DROPPED = [
    Observable(name, meaning, DROP, compute, DROP_OPTIONS, GROOMING, ("tree",))
    for name, meaning, compute in (
        ("msd", "mass after soft drop, GeV", _soft_drop("m")),
        ("ptsd", "pT after soft drop, GeV", _soft_drop("pt")),
        ("zg", "min(pT1, pT2) / (pT1 + pT2) of the splitting that passes; 0 without one", _soft_drop("zg")),
        ("rg", "dR between its branches; 0 without one", _soft_drop("rg")),
        ("thetag", "rg / R", _theta),
        ("ndropped", "number of branches dropped before it", _soft_drop("dropped")),
    )
]
_CORRELATORS = [
    Observable(name, meaning, reference, compute, ("beta",), needs=needs)
    for name, meaning, reference, compute, needs in (
        ("e2", "sum_i<j z_i z_j dR_ij^beta", ECF, _correlator(1, 2), ("pairs",)),
        ("e3", "sum_i<j<k z_i z_j z_k (dR_ij dR_ik dR_jk)^beta", ECF, _correlator(3, 3), ("triples",)),
        ("e3v1", "the same with the smallest of the three distances", ECFG, _correlator(1, 3), ("triples",)),
        ("e3v2", "the same with the product of the two smallest", ECFG, _correlator(2, 3), ("triples",)),
        ("c2", "e3 / e2^2", ECF, _correlator_ratio((3, 3), (1, 2), 2), ("pairs", "triples")),
        ("d2", "e3 / e2^3", "arXiv:1409.6298", _correlator_ratio((3, 3), (1, 2), 3), ("pairs", "triples")),
        ("n2", "e3v2 / e2^2", ECFG, _correlator_ratio((2, 3), (1, 2), 2), ("pairs", "triples")),
        ("m2", "e3v1 / e2", ECFG, _correlator_ratio((1, 3), (1, 2), 1), ("pairs", "triples")),
    )
]
_MOMENTS = [
    Observable(
        "angularity",
        "sum_i z_i^kappa (dR_i / R)^beta",
        ANGULARITIES,
        _angularity,
        ("kappa", "beta", "axes"),
        needs=("axes",),
    ),
    Observable("lha", "angularity(kappa=1,beta=0.5)", ANGULARITIES, _angularity, ("axes",), {"beta": 0.5}, ("axes",)),
    Observable("width", "angularity(kappa=1,beta=1)", ANGULARITIES, _angularity, ("axes",), {}, ("axes",)),
    Observable("thrust", "angularity(kappa=1,beta=2)", ANGULARITIES, _angularity, ("axes",), {"beta": 2.0}, ("axes",)),
    Observable("ptd", "sqrt(sum_i z_i^2)", "CMS-PAS-JME-13-002; " + ANGULARITIES, _momentum_dispersion),
    Observable("n", "number of constituents", ANGULARITIES, _multiplicity),
    Observable(
        "charge",
        "sum_i q_i (pT_i / jet pT)^kappa",
        "arXiv:1209.2421",
        _charge,
        ("kappa",),
        {"kappa": 0.5},
        ("charges",),
    ),
]

OBSERVABLES: dict[str, Observable] = {x.name: x for x in (*_TAUS, *_TAU_RATIOS, *_DROPPED, *_CORRELATORS, *_MOMENTS)}
"""Every observable by name."""

ALIASES = {"1e2": "e2", "1e3": "e3v1", "2e3": "e3v2", "3e3": "e3", "mmdt": "msd"}
"""Other names of the same."""
