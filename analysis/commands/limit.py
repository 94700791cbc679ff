"""`resonaut limit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resonaut.analysis.commands.common import (
    Output,
    Source,
    check_writable,
    output_options,
    quality,
    seed_option,
    spectrum_options,
)
from resonaut.errors import FitError

__all__ = ("limit",)


@click.command(short_help="Upper limits in a histogram.")
@spectrum_options
@click.option("--mass", type=float, multiple=True, help="Resonance mass in GeV; repeat.  [default: 12 over the range]")
@click.option(
    "--width",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.035,
    show_default=True,
    help="Gaussian width over mass.",
)
@click.option(
    "--uncertainty",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Relative uncertainty of the signal yield.",
)
@click.option("--lumi", type=click.FloatRange(0, min_open=True), help="Luminosity in 1/fb: limits on a cross-section.")
@click.option(
    "--efficiency",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="With --lumi: acceptance x efficiency; 1 is the visible cross-section.",
)
@click.option("--unit", type=click.Choice(["fb", "pb"]), help="With --lumi.  [default: fb]")
@click.option(
    "--method",
    type=click.Choice(["auto", "asymptotic", "toys"]),
    default="auto",
    show_default=True,
    help="auto throws toys where few events are expected.",
)
@click.option("--toys", type=click.IntRange(1), default=3000, show_default=True, help="Of each hypothesis.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Keep finished masses in this folder, and go on from them."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@seed_option
@output_options
def limit(
    source: Source,
    mass: tuple[float, ...],
    width: float,
    lumi: float | None,
    unit: str | None,
    output: Output,
    **options: Any,
) -> None:
    """95 % CLs upper limits on a Gaussian resonance in a SPECTRUM.

    The background function is fitted together with the signal. Limits are on signal events, or with --lumi on a
    cross-section; observed, and expected with bands. SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low edge, high
    edge, count) or HEPData FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut limit mjj.csv --mass 3000 --mass 4000 --uncertainty 0.1
    resonaut limit mjj.csv --lumi 37 --unit pb --plot limits --json limits.json --hepdata limits
    resonaut limit mjj.csv --method toys --cache limits.cache --workers 4
    """
    if lumi is None and (unit is not None or options["efficiency"] != 1.0):
        msg = "--unit and --efficiency are for limits on a cross-section: give --lumi as well"
        raise click.UsageError(msg)
    from resonaut.analysis.histogram import limits_of_histogram
    from resonaut.stats import fit_background

    cache = options["cache"]
    check_writable("--cache", cache, folder=cache is not None and cache.suffix != ".json")
    background = fit_background(source.spectrum, **source.model)
    click.echo(f"background alone: {background.function}, {quality(background)}, {background.status}")
    if background.p_value < 0.01 or background.status != "converged":
        text = "note: the background does not describe the spectrum; unless a signal does, limits mean nothing: try --function, --low, --high"
        click.secho(text, fg="yellow", err=True)
    results = limits_of_histogram(
        source.spectrum, mass, width=width, luminosity=lumi, unit=unit, **source.model, **options
    )
    if not any(r.ok for r in results):
        msg = f"no limit could be set: {results[0].status}"
        raise FitError(msg)
    for r in results:
        band = " ".join(f"{e:.4g}" for e in r.expected)
        click.echo(
            f"{r.mass:7.0f} GeV  observed {r.observed:.4g} {r.unit}  expected (-2, -1, 0, +1, +2 s.d.) {band}  "
            f"[{r.method if r.ok else r.status}]"
        )

    output.save(results, source.title, spectrum=source.name)
