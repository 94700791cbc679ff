"""What a finished search says on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ("COLOURS", "tell_search")

COLOURS = {"green": "green", "amber": "yellow", "red": "red"}


def tell_search(report: Path) -> None:
    """The largest excess, the validation, warnings, and where everything is."""
    from resonaut.analysis.black_boxes import excess_text
    from resonaut.files import read_json

    summary = read_json(report.with_name("summary.json"))
    if best := summary["best"]:
        click.echo(_largest(best))
    if excess := summary.get("excess"):
        click.echo(excess_text(excess))
    if validation := summary["validation"]:
        verdict = validation["verdict"]
        click.secho(f"validation {verdict}: {validation['diagnosis']}", fg=COLOURS.get(verdict))
    for warning in summary["warnings"]:
        click.secho(f"note: {warning}", fg="yellow")
    if summary["blind"]:
        click.echo(
            f"blind: what was observed in signal regions is hidden until `resonaut unblind {report.parent} --reason ...`"
        )
    click.echo(f"report:  {report}\nnumbers: {report.with_name('summary.json')}")


def _largest(best: Mapping[str, Any]) -> str:
    from resonaut.stats.windows import interval_text

    cut = "no cut" if best["cut"] >= 1 else f"the most anomalous {100 * best['cut']:g} %"
    return (
        f"largest excess: {interval_text(best['low'], best['high'])} GeV, {best['method']}, {cut}: "
        f"{best['observed']:.0f} events, expected {best['expected']:.1f} +- {best['expected_error']:.1f}, "
        f"local significance {best['local_significance']:.2f}"
    )
