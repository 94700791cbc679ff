"""`resonaut scan`."""

from __future__ import annotations

import click

from resonaut.analysis.commands.common import Output, Source, counting, output_options, seed_option, spectrum_options
from resonaut.errors import FitError

__all__ = ("scan",)


@click.command(short_help="Local p-values over a histogram.")
@spectrum_options
@click.option("--sr-bins", type=click.IntRange(1), default=4, show_default=True, help="Bins of a signal region.")
@click.option(
    "--sb-bins", type=click.IntRange(1), default=3, show_default=True, help="Bins left on either side at least."
)
@click.option("--toys", type=click.IntRange(0), default=0, show_default=True, help="Toys for the global p-value.")
@seed_option
@output_options
def scan(source: Source, sr_bins: int, sb_bins: int, toys: int, seed: int, output: Output) -> None:
    """Local p-values over a SPECTRUM that somebody made, and the global one.

    For each signal region the rest of the spectrum is fitted and the excess tested with the fit profiled. With --toys,
    pseudo-experiments of the background go through the same scan. SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low
    edge, high edge, count) or HEPData FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut scan mjj.csv --plot scan --json scan.json
    resonaut scan spectra.root:mjj --low 1500 --sr-bins 3 --toys 1000
    """
    from resonaut.stats import scan_windows, sliding_windows

    windows = sliding_windows(source.edges, sr_bins=sr_bins, sb_bins=sb_bins, step=1)
    result = scan_windows(source.spectrum, windows, **source.model)
    if result.best is None:
        msg = f"no signal region has a usable fit: {result.entries[0].status if result.entries else 'no windows'}"
        raise FitError(msg)
    for entry in result.entries:
        click.echo(
            f"{entry.low:7.0f}-{entry.high:<7.0f} observed {entry.observed:10.0f}  expected {entry.expected:12.1f} +- "
            f"{entry.expected_error:<8.1f} p = {entry.local_p:.3g}  Z = {entry.local_significance:+.2f}  {entry.status}"
        )
    best = result.best
    click.echo(f"largest excess: {best.low:.0f}-{best.high:.0f} GeV, Z = {best.local_significance:.2f}")
    more: dict[str, object] = {"spectrum": source.name}
    if toys:
        from resonaut.stats import toy_study

        model = {**source.model, "function": best.function}
        with counting("toys", toys) as progress:
            study = toy_study(source.spectrum, windows, toys=toys, seed=seed, progress=progress, **model)
        more["global"] = {
            key: getattr(study, key) for key in ("global_p", "global_p_error", "global_significance", "toys", "failed")
        }
        click.echo(
            f"global p = {study.global_p:.3g} +- {study.global_p_error:.2g} ({study.toys} toys), Z = {study.global_significance:.2f}"
        )

    def draw() -> object:
        from resonaut.analysis.plots import draw_scan

        return draw_scan(result, title=source.title)

    output.save(result, draw, **more)
