"""Upper limits against the mass: observed, expected, the bands of one and two standard deviations, theories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from resonaut.analysis.plots.canvas import COLOURS, Drawn, label_experiment, style
from resonaut.errors import InputError
from resonaut.stats import LimitResult, mass_limit
from resonaut.stats.limits.limit_result import Theory, theory_values

__all__ = ("draw_limits",)

NAMES = {
    "events": "signal events",
    "fb": r"$\sigma \times A \times \epsilon \times B$ [fb]",
    "pb": r"$\sigma \times A \times \epsilon \times B$ [pb]",
    "strength": r"signal strength $\mu$",
}
ONE_SIGMA, TWO_SIGMA = "#607641", "#F5BB54"  # colours of the CMS guidelines, told apart by colour-blind readers


def draw_limits(
    limits: Sequence[LimitResult],
    *,
    title: str,
    subtitle: str = "",
    scale: float = 1.0,
    unit: str | None = None,
    theories: Mapping[str, Theory] | None = None,
    quantity: str | None = None,
    x_label: str = "Mass [GeV]",
) -> Drawn:
    """Brazil band of CLs limits, with the cross-sections of theories and the masses that they lose.

    Parameters
    ----------
    limits
        One result per mass, all in one unit; those that failed (NaN) leave a gap.
    title, subtitle
        Name of the search; what the limit is on.
    scale, unit
        Factor from the limits' unit to `unit`, and its name; by default limits are drawn in their own.
    theories
        Curves by name, in the unit that is drawn; where one crosses the limits is written in the legend.
    quantity
        Label of the axis, with its unit.
    x_label
        Label of the mass axis.

    Raises
    ------
    InputError
        If there is no limit, or they are in several units.
    """
    ordered = sorted(limits, key=lambda r: r.mass)
    units = {r.unit for r in ordered}
    if len(units) != 1:
        msg = f"draw_limits got limits in {sorted(units)}, expected one or more in one unit"
        raise InputError(msg)
    shown = unit or ordered[0].unit
    scaled = [r.scaled(scale, shown) for r in ordered]
    numbers: dict[str, Any] = {
        "unit": shown,
        "scale": scale,
        "what": subtitle,
        "limits": [r.to_dict() for r in ordered],
    }
    with style():
        figure, axes = plt.subplots(figsize=(7.5, 6.0), layout="constrained")
        _band(axes, scaled)
        numbers["theories"] = {
            name: _theory(axes, scaled, name, theory, COLOURS[1 + k % 6])
            for k, (name, theory) in enumerate((theories or {}).items())
        }
        _frame(axes, scaled, quantity or NAMES.get(shown, shown))
        axes.set_xlabel(x_label)
        axes.legend(title=subtitle or None, loc="upper right", title_fontsize=11)
        label_experiment(axes, title)
        level = f"{100 * scaled[0].cl:g} % CL upper limits"
        axes.text(1.0, 1.01, level, transform=axes.transAxes, ha="right", va="bottom", fontsize=11)
    return figure, numbers


def _band(axes: Any, limits: Sequence[LimitResult]) -> None:
    mass = np.array([r.mass for r in limits])
    observed = np.array([r.observed for r in limits], dtype=float)
    low2, low1, median, high1, high2 = np.array([r.expected for r in limits], dtype=float).T
    if np.isfinite(observed).any():  # not in a blinded search
        axes.plot(mass, observed, "o-", color="black", markersize=4, label="Observed", zorder=5)
    axes.plot(mass, median, "--", color="black", label="Expected (median)", zorder=4)
    axes.fill_between(mass, low1, high1, color=ONE_SIGMA, label=r"Expected $\pm 1\sigma$", zorder=2, linewidth=0)
    axes.fill_between(mass, low2, high2, color=TWO_SIGMA, label=r"Expected $\pm 2\sigma$", zorder=1, linewidth=0)
    _lonely(axes, mass, np.stack([low2, low1, median, high1, high2]))
    thrown = np.array([r.method == "toys" for r in limits])
    if thrown.any() and not thrown.all():
        hollow = {"color": "white", "markeredgecolor": "black", "markersize": 4}
        axes.plot(mass[thrown], observed[thrown], "o", **hollow, zorder=6, label="Observed, from toys")


def _lonely(axes: Any, mass: Any, expected: Any) -> None:
    """Bars for masses without a neighbour: a band has no width there."""
    padded = np.pad(np.isfinite(expected[2]), 1)
    alone = padded[1:-1] & ~padded[:-2] & ~padded[2:]
    if not alone.any():
        return
    median = expected[2][alone]
    for (low, high), colour, width in ((expected[[0, 4]], TWO_SIGMA, 9), (expected[[1, 3]], ONE_SIGMA, 9)):
        bars = np.stack([median - low[alone], high[alone] - median])
        axes.errorbar(mass[alone], median, yerr=bars, fmt="none", ecolor=colour, elinewidth=width, zorder=2)
    axes.plot(mass[alone], median, "_", color="black", markersize=16, markeredgewidth=1.5, zorder=4)


def _theory(axes: Any, limits: Sequence[LimitResult], name: str, theory: Theory, colour: str) -> dict[str, Any]:
    """Draw one curve; give its numbers."""
    mass = np.array([r.mass for r in limits])
    fine = np.geomspace(mass.min(), mass.max(), 200)
    found = mass_limit(limits, theory)
    excluded = np.isfinite(found.observed)
    text = f"{name}: excluded up to {found.observed / 1000:.2f} TeV" if excluded else f"{name}: not excluded"
    if np.isfinite(found.expected[2]):
        text += f" (expected {found.expected[2] / 1000:.2f})"
    axes.plot(fine, theory_values(theory, fine), "-.", color=colour, label=text, zorder=3)
    return {**found.to_dict(), "values": theory_values(theory, mass).tolist()}


def _frame(axes: Any, limits: Sequence[LimitResult], quantity: str) -> None:
    values = np.array([[*r.expected, r.observed] for r in limits], dtype=float)
    finite = values[np.isfinite(values) & (values > 0)]
    if finite.size:
        axes.set_yscale("log")
        # room for the legend above the highest limit, whatever the span
        span = np.log10(finite.max() / finite.min()) + 0.3
        axes.set_ylim(finite.min() / 2, finite.max() * 10 ** (0.55 * span + 0.3))
    masses = [r.mass for r in limits]
    if len(masses) > 1:
        margin = 0.025 * (max(masses) - min(masses))  # whole markers at both ends
        axes.set_xlim(min(masses) - margin, max(masses) + margin)
    axes.set_ylabel(f"Upper limit on {quantity}")
