"""`resonaut scan`."""

from __future__ import annotations

import math
from typing import Any

import click

from resonaut.analysis.commands.common import Output, Source, counting, output_options, seed_option, spectrum_options
from resonaut.errors import FitError

__all__ = ("scan",)

DEFAULT_WIDTH = 0.035  # over mass, of --mass alone


@click.command(short_help="Local p-values over a histogram.")
@spectrum_options
@click.option("--sr-bins", type=click.IntRange(1), default=4, show_default=True, help="Bins of a signal region.")
@click.option(
    "--sb-bins", type=click.IntRange(1), default=3, show_default=True, help="Bins left on either side at least."
)
@click.option(
    "--width",
    type=click.FloatRange(0, 0.5, min_open=True),
    multiple=True,
    help="Fit Gaussians of this width over mass in place of counting in signal regions; repeat.",
)
@click.option(
    "--mass",
    type=float,
    multiple=True,
    help=f"Fit Gaussians at this mass, GeV; repeat; {100 * DEFAULT_WIDTH:g} % wide without --width.  [default: all of the range]",
)
@click.option("--toys", type=click.IntRange(0), default=0, show_default=True, help="Toys for the global p-value.")
@seed_option
@output_options
def scan(
    source: Source,
    sr_bins: int,
    sb_bins: int,
    width: tuple[float, ...],
    mass: tuple[float, ...],
    toys: int,
    seed: int,
    output: Output,
) -> None:
    """Local p-values over a SPECTRUM that somebody made, and the global one.

    For each signal region the rest of the spectrum is fitted and the excess tested with the fit profiled. With --width,
    background and a Gaussian are fitted together at each mass. With --toys, pseudo-experiments of the background go through
    the same scan. SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low edge, high edge, count) or HEPData
    FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut scan mjj.csv --plot scan --json scan.json
    resonaut scan spectra.root:mjj --low 1500 --sr-bins 3 --toys 1000
    resonaut scan mjj.csv --width 0.03 --width 0.1 --toys 100 --plot gaussians
    """
    if width or mass:
        if not width:
            click.echo(f"no --width: Gaussians {100 * DEFAULT_WIDTH:g} % wide")
        result, more = _gaussians(source, mass, width or (DEFAULT_WIDTH,), toys, seed)
    else:
        result, more = _regions(source, sr_bins, sb_bins, toys, seed)

    output.save(result, source.title, spectrum=source.name, **more)


def _regions(source: Source, sr_bins: int, sb_bins: int, toys: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Counts in signal regions; with toys, the global p-value."""
    from resonaut.stats import scan_windows, sliding_windows, toy_study

    windows = sliding_windows(source.edges, sr_bins=sr_bins, sb_bins=sb_bins, step=1)
    result = scan_windows(source.spectrum, windows, **source.model)
    best = result.best
    if best is None:
        msg = f"no signal region has a usable fit: {result.entries[0].status if result.entries else 'no windows'}"
        raise FitError(msg)
    for entry in result.entries:
        click.echo(
            f"{entry.low:7.0f}-{entry.high:<7.0f} observed {entry.observed:10.0f}  expected {entry.expected:12.1f} +- "
            f"{entry.expected_error:<8.1f} p = {entry.local_p:.3g}  Z = {entry.local_significance:+.2f}  {entry.status}"
        )
    click.echo(f"largest excess: {best.low:.0f}-{best.high:.0f} GeV, Z = {best.local_significance:.2f}")
    if not toys:
        return result, {}
    with counting("toys", toys) as progress:
        model = {**source.model, "function": best.function}
        study = toy_study(source.spectrum, windows, toys=toys, seed=seed, progress=progress, **model)
    click.echo(
        f"global p = {study.global_p:.3g} +- {study.global_p_error:.2g} ({study.toys} toys), Z = {study.global_significance:.2f}"
    )
    names = ("global_p", "global_p_error", "global_significance", "toys", "failed")
    return result, {"global": {name: getattr(study, name) for name in names}}


def _gaussians(
    source: Source, masses: tuple[float, ...], widths: tuple[float, ...], toys: int, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Fits of Gaussians; with toys, the global p-value from them and from their upcrossings."""
    import numpy as np

    from resonaut.analysis.histogram import scan_masses
    from resonaut.stats import global_p_of_toys, gross_vitells, significance_scan, toy_significances

    points = scan_masses(source.edges, masses, min(widths))
    result = significance_scan(source.spectrum, points, widths, **source.model)
    mass, width, z = result.best
    if math.isnan(z):
        msg = f"no fit of a resonance converged in {result.n_failed} tries"
        raise FitError(msg)
    for k, point in enumerate(result.masses):
        row = "  ".join(f"{value:+6.2f}" for value in result.significance[k])
        click.echo(f"{point:8.0f} GeV   Z = {row}")
    click.echo(f"largest excess: {mass:.0f} GeV, width {100 * width:g} %, Z = {z:.2f}; {result.n_failed} fits failed")
    if not toys:
        return result, {}
    with counting("toys", toys) as progress:
        field = toy_significances(result, toys=toys, seed=seed, progress=progress)
    largest = global_p_of_toys(field, z)
    incomplete, used = int(np.isnan(field).any(axis=(1, 2)).sum()), toys - largest.lost
    more: dict[str, Any] = {
        "global": {
            "global_p": largest.global_p,
            "global_p_error": largest.error,
            "toys": used,
            "with_failed_fits": incomplete,
        }
    }
    click.echo(f"global p = {largest.global_p:.3g} +- {largest.error:.2g} ({used} toys, {incomplete} with failed fits)")
    if len(points) > 1 and toys - incomplete > 1:
        trials = gross_vitells(field, z)
        click.echo(f"from their {trials.method}: global p = {trials.global_p:.3g} +- {trials.global_p_error:.2g}")
        more["trials"] = trials.to_dict()
    return result, more
