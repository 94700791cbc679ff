"""`resonaut fit`."""

from __future__ import annotations

import click

from resonaut.analysis.commands.common import Output, Source, output_options, quality, seed_option, spectrum_options

__all__ = ("fit",)


@click.command(short_help="Fit a background function to a histogram.")
@spectrum_options
@click.option(
    "--errors",
    type=click.Choice(["hesse", "minos", "fisher"]),
    default="hesse",
    show_default=True,
    help="Errors of the parameters; minos adds asymmetric ones.",
)
@click.option(
    "--blind",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Leave this region out of the fit and hide its events, GeV.",
)
@click.option(
    "--exclude",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Leave this region out of the fit and show its events, GeV.",
)
@click.option("--toys", type=click.IntRange(0), default=0, show_default=True, help="Toys for the goodness of fit.")
@seed_option
@output_options
def fit(
    source: Source,
    errors: str,
    blind: tuple[float, float] | None,
    exclude: tuple[float, float] | None,
    toys: int,
    seed: int,
    output: Output,
) -> None:
    """Fit a background function to a SPECTRUM and say how well it does.

    SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low edge, high edge, count) or HEPData FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut fit mjj.csv --plot fit --json fit.json
    resonaut fit spectra.root:mjj --function auto --low 1500 --blind 3300 3700
    resonaut fit mjj.csv --exclude 3300 3700 --plot unblinded
    resonaut fit HEPData-1.yaml:"Table 1" --function dijet5 --toys 1000
    """
    from dataclasses import replace

    import numpy as np

    from resonaut.stats import Window, fit_background, toy_goodness
    from resonaut.stats.fits.fit import require_fit

    if blind and exclude:
        msg = "--blind hides the events that --exclude shows: give one of them"
        raise click.UsageError(msg)
    edges, region = source.edges, blind or exclude
    window = Window(*region, min(edges[0], region[0] - 1.0), max(edges[-1], region[1] + 1.0)) if region else None
    result = require_fit(fit_background(source.spectrum, window, errors=errors, **source.model))
    first, last = result.edges[0], result.edges[-1]
    click.echo(f"{result.function}, {int(result.mask.sum())} bins from {first:g} to {last:g} GeV, {result.status}")
    for name, value in result.parameters.items():
        error = result.covariance.diagonal()[list(result.parameters).index(name)] ** 0.5
        down, up = getattr(result, "asymmetric", {}).get(name, (None, None))
        minos = f"   (MINOS {down:+.4g} {up:+.4g})" if down is not None else ""
        plain = f"+- {error:.3g}" if error > 0 and np.isfinite(error) else "(error not determined)"
        click.echo(f"  {name} = {value:.6g} {plain}{minos}")
    click.echo(f"{quality(result)};  deviance = {result.deviance:.1f};  KS distance = {result.ks:.3g}")
    more: dict[str, object] = {"spectrum": source.name}
    if toys:
        found = toy_goodness(result, toys=toys, seed=seed)
        click.echo(
            f"from {found.toys} toys: p = {found.deviance_p_value:.3g} (deviance), {found.ks_p_value:.3g} (KS); "
            f"{found.failed} fits failed"
        )
        more["goodness"] = {name: getattr(found, name) for name in found.__dataclass_fields__}
    if window:
        total, error = result.total(result.blinded)
        seen = None if blind else float(result.counts[result.blinded].sum())
        found_events = "events hidden" if seen is None else f"{seen:.0f} events"
        click.echo(f"signal region: {found_events}, expected {total:.1f} +- {error:.1f}")
        more["signal_region"] = {"observed": seen, "expected": total, "expected_error": error}
        if blind:  # from here on nobody knows them: neither figure nor files
            result = replace(result, counts=np.where(result.blinded, np.nan, result.counts))

    output.save(result, source.title, **more)
