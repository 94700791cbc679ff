"""`resonaut fit`."""

from __future__ import annotations

import click

from resonaut.analysis.commands.common import Output, Source, output_options, seed_option, spectrum_options

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
@click.option("--blind", nargs=2, type=float, metavar="LOW HIGH", help="Leave this signal region out of the fit, GeV.")
@click.option("--toys", type=click.IntRange(0), default=0, show_default=True, help="Toys for the goodness of fit.")
@seed_option
@output_options
def fit(source: Source, errors: str, blind: tuple[float, float] | None, toys: int, seed: int, output: Output) -> None:
    """Fit a background function to a SPECTRUM and say how well it does.

    SPECTRUM is FILE.root:HISTOGRAM, FILE.csv[:COLUMN] (low edge, high edge, count) or HEPData FILE.yaml[:TABLE[:COLUMN]].

    \b
    resonaut fit mjj.csv --plot fit --json fit.json
    resonaut fit spectra.root:mjj --function auto --low 1500 --blind 3300 3700
    resonaut fit HEPData-1.yaml:"Table 1" --function dijet5 --toys 1000
    """
    from resonaut.stats import Window, fit_background, toy_goodness
    from resonaut.stats.fits.fit import require_fit

    edges = source.edges
    window = Window(*blind, min(edges[0], blind[0] - 1.0), max(edges[-1], blind[1] + 1.0)) if blind else None
    result = require_fit(fit_background(source.spectrum, window, errors=errors, **source.model))
    click.echo(
        f"{result.function}, {int(result.mask.sum())} bins from {edges[0]:g} to {edges[-1]:g} GeV, {result.status}"
    )
    for name, value in result.parameters.items():
        error = result.covariance.diagonal()[list(result.parameters).index(name)] ** 0.5
        down, up = getattr(result, "asymmetric", {}).get(name, (None, None))
        minos = f"   (MINOS {down:+.4g} {up:+.4g})" if down is not None else ""
        click.echo(f"  {name} = {value:.6g} +- {error:.3g}{minos}")
    click.echo(
        f"chi2/ndf = {result.chi2:.1f}/{result.ndf}, p = {result.p_value:.3g};  deviance = {result.deviance:.1f};  "
        f"KS distance = {result.ks:.3g}"
    )
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
        seen = source.counts[result.blinded].sum()
        click.echo(f"signal region: {seen:.0f} events, expected {total:.1f} +- {error:.1f}")
        more["signal_region"] = {"observed": float(seen), "expected": total, "expected_error": error}

    def draw() -> object:
        from resonaut.analysis.plots.results import draw_result

        return draw_result(result, title=source.title)

    output.save(result, draw, **more)
