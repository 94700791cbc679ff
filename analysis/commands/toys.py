"""`resonaut toys`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resonaut.analysis.commands.common import (
    FILE,
    Output,
    Source,
    check_writable,
    counting,
    output_options,
    seed_option,
    spectrum_options,
)

__all__ = ("toys",)


def _spectra_file(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix not in (".npz", ".root", ".csv"):
        msg = f"{path.name!r} does not end in .npz, .root or .csv"
        raise click.BadParameter(msg)
    return path


@click.command(short_help="Pseudo-experiments of a histogram's background.")
@spectrum_options
@click.option("--toys", "number", type=click.IntRange(1), default=1000, show_default=True, help="How many.")
@click.option("--sr-bins", type=click.IntRange(1), default=4, show_default=True, help="Bins of a signal region.")
@click.option(
    "--sb-bins", type=click.IntRange(1), default=3, show_default=True, help="Bins left on either side at least."
)
@click.option("--scan/--no-scan", default=True, show_default=True, help="Take each toy through the whole scan.")
@click.option("--out", type=FILE, callback=_spectra_file, help="Write the toys themselves: .npz, .root or .csv.")
@seed_option
@output_options
def toys(
    source: Source, number: int, sr_bins: int, sb_bins: int, scan: bool, out: Path | None, seed: int, output: Output
) -> None:
    """Pseudo-experiments of the background fitted to a SPECTRUM, each through the fit and the whole scan.

    They calibrate the goodness of fit, count failed fits, show whether the fit is biased, and give the global p-value of the
    largest excess. SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low edge, high edge, count) or HEPData
    FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut toys mjj.csv --toys 2000 --plot toys --json toys.json
    resonaut toys mjj.csv --toys 100 --no-scan --out toys.npz
    """
    from resonaut.stats import sliding_windows, toy_study

    check_writable("--out", out)
    windows = sliding_windows(source.edges, sr_bins=sr_bins, sb_bins=sb_bins, step=1) if scan else []
    with counting("toys", number) as progress:
        result = toy_study(source.spectrum, windows, toys=number, seed=seed, progress=progress, **source.model)
    click.echo(f"{result.function}: {result.toys} toys, {result.failed} fits failed")
    for name, value, p in (
        ("deviance", result.deviance, result.deviance_p),
        ("chi2", result.chi2, result.chi2_p),
        ("KS distance", result.ks, result.ks_p),
    ):
        click.echo(f"  {name:<12} {value:10.4g} in the data, p = {p:.3g}")
    click.echo(f"  pulls of the fitted expectation: {_pulls(result)}")
    if scan:
        click.echo(
            f"  largest excess: {result.low:.0f}-{result.high:.0f} GeV, Z = {result.significance:.2f}; "
            f"global p = {result.global_p:.3g} +- {result.global_p_error:.2g}"
        )
    if out:
        from resonaut.analysis.histogram import write_toys

        write_toys(out, source.spectrum, number, function=result.function, sqrts=source.sqrts, seed=seed)

    output.save(result, source.title, spectrum=source.name)


def _pulls(result: Any) -> str:
    """Ranges of mean and width over the bins where they are numbers."""
    import numpy as np

    known = np.isfinite(result.pull_mean) & np.isfinite(result.pull_width)
    known &= (np.abs(result.pull_mean) < 1e3) & (result.pull_width < 1e3)  # errors of 0 where a fit expects nothing
    if not known.any():
        return "not defined, the fits have no errors with so few events"
    mean, width = result.pull_mean[known], result.pull_width[known]
    left_out = f"; not defined in {int((~known).sum())} bins" if not known.all() else ""
    return (
        f"means from {mean.min():+.2f} to {mean.max():+.2f}, widths from {width.min():.2f} to {width.max():.2f} "
        f"over the bins{left_out}"
    )
