"""The description of an excess in a few lines, for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resonaut.analysis.reporting.quality import is_poor

__all__ = ("excess_text",)

TOLD = (("m_h", "m_l"), ("m_j1", "m_j2"))


def excess_text(excess: Mapping[str, Any]) -> str:
    """Global significance, mass, cross-section and jet masses of the `excess` of a summary, one a line."""
    peak = excess["peak"]
    where = f"{peak['mass']:.4g} GeV ({peak['mass_low']:.4g} to {peak['mass_high']:.4g})"
    if (pull := peak.get("mass_pull")) is not None and excess["cut"] < 1:
        where += f", {peak['mass'] - pull:.4g} without the pull of the cut"
    lines = [
        *_fit(excess.get("fit")),
        f"in the whole scan: {_global(excess)}",
        f"if a resonance: {where}, {_value(peak, 'events')} events{' after the cut' if excess['cut'] < 1 else ''}",
        f"its size: {_size(excess['cross_section'], cut=excess['cut'])}",
    ]
    return "\n".join(lines + _properties(excess["properties"]))


def _fit(fit: Mapping[str, Any] | None) -> list[str]:
    """How well the background is described beside the signal region, where that can be tested."""
    if fit is None or fit["p_value"] is None or not fit["ndf"]:
        return []
    text = f"background: {fit['function']}, chi2/ndf {fit['chi2']:.1f}/{fit['ndf']}, p = {fit['p_value']:.2g}"
    return [f"{text}: A POOR FIT, the excess may be of the data over a wrong curve" if is_poor(fit) else text]


def _global(excess: Mapping[str, Any]) -> str:
    p, z = excess["global_p"], excess["global_significance"]
    if excess["global_kind"] == "toys":
        how = f"{excess['above']} of {excess['toys']} pseudo-experiments"
    elif excess["global_kind"] == "trials":
        how = f"{excess['above']} of {excess['toys']} pseudo-experiments, beyond them by {excess['trials']:.0f} trials"
    else:
        how = f"{excess['trials']:.0f} trials"
    z = "unknown" if z is None else f"{z:.2f}"
    return f"global significance {z}, p = {p:.2g} ({how}; the training is not repeated in them)"


def _value(content: Mapping[str, Any], name: str) -> str:
    value, error = content[name], content[f"{name}_error"]
    return "unknown" if value is None or error is None else f"{value:.3g} +- {error:.2g}"


def _size(cross_section: Mapping[str, Any], *, cut: float) -> str:
    unit = "fb" if cross_section["luminosity"] else "events"
    # without a cut the excess is all of the resonance, and the fit of mass and width is the one estimate
    parts = [f"at least {_value(cross_section['at_least'], unit)} {unit}"] if cut < 1 else []
    if whole := cross_section["without_cut"]:
        parts.append(f"{_value(whole, unit)} {unit} by the spectrum without a cut")
    parts += [f"{_value(model, unit)} {unit} if it is {model['signal']}" for model in cross_section["models"]]
    return ", ".join(parts)


def _properties(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the masses of the two jets, ordered by mass where the table has them."""
    by_name = {row["feature"]: row for row in rows}
    names = next((pair for pair in TOLD if all(name in by_name for name in pair)), ())
    told = [
        f"{name} peaks at {_value(by_name[name], 'peak')} GeV, mean {_value(by_name[name], 'mean')}" for name in names
    ]
    return [f"its jets: {'; '.join(told)}"] if told else []
