"""What several observables of the same jets need, each computed once: trees, axes, sums over one, two or three particles."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from resonaut.errors import InputError
from resonaut.processors.jets.kernels_angularities import charge_sums, jet_momenta, moments, sums
from resonaut.processors.jets.kernels_axes import exclusive_axes, refined_axes, tau_sums, winner_axes
from resonaut.processors.jets.kernels_cluster import directions
from resonaut.processors.jets.kernels_correlators import pair_sums, triangle_sums, triple_sums
from resonaut.processors.jets.kernels_grooming import GROOMED, groomed_members, soft_drop, trees
from resonaut.processors.jets.kernels_lund import primary_splittings
from resonaut.processors.jets.particles import Particles

__all__ = ("AXES_OF", "SharedParts", "ratio")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
T = TypeVar("T")

AXES_OF = {"wta_kt": (1.0, True), "wta_ca": (0.0, True), "kt": (1.0, False), "ca": (0.0, False), "jet": (0.0, False)}
"""Axes by name: the power of the generalised-kT distance, and whether the winner takes all; `jet`: the summed momentum."""

ACCURACY = 1e-4  # of minimised axes, in rapidity and angle
STEPS = 1000


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient of what is never negative: NaN where the denominator is not positive, or the numerator negative or not finite."""
    good = (below > 0) & (above >= 0) & np.isfinite(above)
    return np.divide(above, below, out=np.full_like(below, np.nan), where=good)


class SharedParts:
    """Intermediate results of some jets, computed when first asked for and kept.

    Parameters
    ----------
    jets : constituents, jet after jet.
    radius : R0 of normalised measures and of soft drop.
    """

    def __init__(self, jets: Particles, radius: float) -> None:
        self.jets = jets
        self.radius = radius
        self._known: dict[Hashable, Any] = {}

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = make()
        return cast("T", self._known[key])

    @property
    def counts(self) -> Floats:
        """Number of constituents, (jets,)."""
        return np.diff(self.jets.offsets).astype(np.float64)

    @property
    def pt_sum(self) -> Floats:
        """Scalar sum of the constituents' pT in GeV, (jets,)."""
        return self._once("pt sum", lambda: sums(self.jets.pt, self.jets.offsets))

    @property
    def momenta(self) -> Floats:
        """Summed four-momenta, (jets, 4)."""
        return self._once("momenta", lambda: jet_momenta(self.jets.momenta, self.jets.offsets))

    def tree(self, power: float) -> tuple[Ints, Floats]:
        """Trees of all jets by the algorithm with this power: 0 Cambridge/Aachen, 1 kT."""
        jets = self.jets
        return self._once(("tree", power), lambda: trees(jets.momenta, jets.towards, jets.offsets, power))

    def axes(self, kind: str) -> Floats:
        """Axes of all N, (jets, AXES, 2)."""
        power, winner = AXES_OF[kind]
        jets = self.jets
        if winner:
            return self._once(("axes", kind), lambda: winner_axes(jets.pt, jets.towards, jets.offsets, power))
        return self._once(("axes", kind), lambda: exclusive_axes(*self.tree(power), jets.offsets))

    def axis(self, kind: str) -> Floats:
        """One axis of each jet, (jets, 2)."""
        if kind == "jet":
            return self._once("jet axis", lambda: directions(self.momenta))
        return self._once(("axis", kind), lambda: np.ascontiguousarray(self.axes(kind)[:, 0]))

    def minimised(self, n: int, beta: float, kind: str) -> Floats:
        """Axes of exactly `n`, moved to a local minimum of tau_n; (jets, AXES, 2)."""
        jets = self.jets
        return self._once(
            ("minimised", n, beta, kind),
            lambda: refined_axes(jets.pt, jets.towards, jets.offsets, self.axes(kind), n, beta, ACCURACY, STEPS),
        )

    def tau(self, n: int, beta: float, kind: str, passes: int) -> Floats:
        """tau_n without normalisation, GeV, (jets,)."""

        def make() -> Floats:
            axes = self.minimised(n, beta, kind) if passes else self.axes(kind)
            return tau_sums(self.jets.pt, self.jets.towards, self.jets.offsets, axes, n, beta)

        return self._once(("tau", n, beta, kind, passes), make)

    def soft_drop(self, zcut: float, beta: float) -> dict[str, Floats]:
        """Columns `GROOMED` of soft drop, (jets,) each."""

        def make() -> dict[str, Floats]:
            values = soft_drop(*self.tree(0.0), self.jets.offsets, zcut, beta, self.radius)
            return dict(zip(GROOMED, values.T, strict=True))

        return self._once(("soft drop", zcut, beta), make)

    def groomed(self, zcut: float, beta: float) -> SharedParts:
        """The same of the constituents that soft drop leaves."""

        def make() -> SharedParts:
            rows = np.nan_to_num(self.soft_drop(zcut, beta)["row"], nan=-1.0).astype(np.int64)
            members, bounds = groomed_members(self.tree(0.0)[0], self.jets.offsets, rows)
            return SharedParts(self.jets.taken(members, bounds), self.radius)

        return self._once(("groomed", zcut, beta), make)

    def correlator(self, smallest: int, points: int, beta: float) -> Floats:
        """Energy correlation function v_e_n for v = `smallest` of the angles among n = `points` particles, (jets,)."""
        jets = self.jets
        arguments = (jets.pt, jets.towards, jets.offsets, beta)
        if points == 2:
            return self._once(("pairs", beta), lambda: pair_sums(*arguments))
        if smallest == 3:
            return self._once(("triples", beta), lambda: triple_sums(*arguments))
        return self._once(("triangles", beta), lambda: triangle_sums(*arguments))[:, smallest - 1]

    def moment(self, kappa: float, beta: float, kind: str) -> Floats:
        """Generalised angularity: sum of z^kappa (dR / R)^beta about an axis, z = pT / sum of pT, (jets,)."""
        jets = self.jets
        value = self._once(
            ("moment", kappa, beta, kind),
            lambda: moments(jets.pt, jets.towards, jets.offsets, self.axis(kind), kappa, beta),
        )
        return np.asarray(value / (self.pt_sum**kappa * self.radius**beta))

    def charge(self, kappa: float) -> Floats:
        """Sum of charge x (pT / jet pT)^kappa, (jets,).

        Raises
        ------
        InputError
            If the constituents have no charges.
        """
        jets = self.jets
        if jets.charges is None:
            msg = "the constituents have no charges: jet charge needs a collection with charge or pdgId"
            raise InputError(msg)
        charges = jets.charges
        value = self._once(("charge", kappa), lambda: charge_sums(jets.pt, charges, jets.offsets, kappa))
        return np.asarray(value / np.hypot(self.momenta[:, 0], self.momenta[:, 1]) ** kappa)

    def splittings(self) -> tuple[Floats, Ints]:
        """Primary Lund splittings of all jets, of `kernels_lund.primary_splittings`."""
        return self._once("splittings", lambda: primary_splittings(*self.tree(0.0), self.jets.offsets))
