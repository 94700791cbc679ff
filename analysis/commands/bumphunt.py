"""`resonaut bumphunt`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from resonaut.analysis.commands.common import Output, Source, counting, output_options, seed_option, spectrum_options

__all__ = ("bumphunt",)


@click.command(short_help="BumpHunter on a histogram.")
@spectrum_options
@click.option(
    "--background",
    help="Expected counts, taken as known in place of a fit: a column of SPECTRUM's table, or FILE:COLUMN, FILE.root:HISTOGRAM; read with SPECTRUM's --per-width and --scale.",
)
@click.option("--toys", type=click.IntRange(0), default=10000, show_default=True, help="Toys for the global p-value.")
@click.option("--refit/--no-refit", default=True, show_default=True, help="Fit the background again in every toy.")
@click.option("--min-bins", type=click.IntRange(1), default=2, show_default=True, help="Narrowest interval.")
@click.option("--max-bins", type=click.IntRange(1), help="Widest interval.  [default: half of the filled bins]")
@seed_option
@output_options
def bumphunt(
    source: Source,
    background: str | None,
    toys: int,
    refit: bool,
    min_bins: int,
    max_bins: int | None,
    seed: int,
    output: Output,
) -> None:
    """The most significant interval of a SPECTRUM, and how often background alone has one like it.

    BumpHunter (arXiv:1101.0390): every interval of neighbouring bins is compared with the fitted, or given, background. The
    global p-value is the fraction of toys with an interval as significant. SPECTRUM is FILE.root:HISTOGRAM,
    FILE.csv[:COLUMN] (low edge, high edge, count) or HEPData FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut bumphunt mjj.csv --plot bumps --json bumps.json
    resonaut bumphunt mjj.csv:obs --background fit
    resonaut bumphunt spectra.root:data --background spectra.root:prediction --toys 100000
    """
    import numpy as np

    from resonaut.stats import bump_hunter

    known = _background(source, background) if background else None
    with counting("toys", toys) if toys else nullcontext() as progress:
        result = bump_hunter(
            source.spectrum,
            known,
            min_bins=min_bins,
            max_bins=max_bins,
            toys=toys,
            refit=refit,
            seed=seed,
            progress=progress,
            **source.model,
        )
    if not np.isfinite(result.low):
        click.echo("no interval has more events than expected")
    else:
        click.echo(
            f"most significant: {result.low:g}-{result.high:g} GeV, {result.observed:.0f} events, expected {result.expected:.1f}, "
            f"local p = {result.local_p:.3g}"
        )
    if toys:
        click.echo(
            f"global p = {result.global_p:.3g} +- {result.global_p_error:.2g} ({result.toys} toys, {result.failed} failed fits)"
        )

    output.save(result, source.title, spectrum=source.name, seed=seed)


def _background(source: Source, name: str) -> Any:
    """The expected counts, with a note where they can hardly belong to the spectrum."""
    from resonaut.analysis.histogram import read_background

    known = read_background(source.name, name, source.edges, per_width=source.per_width, scale=source.scale)
    expected, seen = known.sum(), source.counts.sum()
    if not 0.5 < expected / seen < 2.0:
        text = f"note: background total {expected:.6g}, data {seen:.6g}: do both hold events? --per-width and --scale apply to both"
        click.secho(text, fg="yellow", err=True)
    return known
