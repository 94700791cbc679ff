"""`resonaut plot`."""

from __future__ import annotations

from pathlib import Path

import click

from resonaut.analysis.commands.common import FILE, mass_label_option

__all__ = ("plot",)


@click.command(short_help="Draw the figure of a result again.")
@click.argument("result", type=FILE)
@click.option("--out", type=click.Path(path_type=Path), help="STEM of the figure.  [default: RESULT without .json]")
@click.option("--title", help="Name above the frame.  [default: name of the spectrum]")
@mass_label_option
@click.option(
    "--hepdata", type=click.Path(file_okay=False, path_type=Path), help="Write HEPData tables into this folder."
)
def plot(result: Path, out: Path | None, title: str | None, mass_label: str, hepdata: Path | None) -> None:
    """Draw the figure of RESULT again: a file that --json of fit, scan, bumphunt, toys or limit wrote.

    Nothing is fitted: the figure is made from the numbers alone.

    \b
    resonaut fit mjj.csv --json fit.json
    resonaut plot fit.json --out figures/fit --title "My search"
    """
    from resonaut.analysis.plots import save_figure
    from resonaut.analysis.plots.results import draw_result
    from resonaut.files import read_json
    from resonaut.stats import read_result, write_hepdata

    content = read_json(result)
    first = content[0] if isinstance(content, list) and content else content
    more = first.get("more") if isinstance(first, dict) else None
    name = Path(str((more or {}).get("spectrum", result.stem))).name
    stem = out or result.with_suffix("")
    found = read_result(result)
    figure, _ = draw_result(found, title=name if title is None else title, x_label=mass_label)
    save_figure((figure, content), stem)
    click.echo(f"figure: {stem}.png, {stem}.pdf")
    if hepdata:
        files = write_hepdata(hepdata, found)
        click.echo(f"HEPData: {files[0]}")
