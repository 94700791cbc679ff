"""`resonaut bottleneck`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resonaut.analysis.commands.common import FILE, check_writable, counting

if TYPE_CHECKING:  # models bring torch along
    from resonaut.models import Sample

__all__ = ("bottleneck",)


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        msg = f"{text!r}: expected whole numbers separated by commas, such as 1,2,3"
        raise click.BadParameter(msg) from None


def _complete_events(path: Path, names: Sequence[str]) -> Sample:
    """Events of a table that have all features; those without are counted."""
    import numpy as np

    from resonaut.models import Sample
    from resonaut.processors import read_table, table_columns

    weighted = "weight" in table_columns(path)
    table = read_table(path, columns=[*names, *(["weight"] if weighted else [])])
    matrix = np.column_stack([np.asarray(table[name], dtype=np.float64) for name in names])
    complete = np.isfinite(matrix).all(axis=1)
    if lost := np.count_nonzero(~complete):
        click.echo(f"{lost} of {len(matrix)} events lack a feature and are left out")
    weight = np.asarray(table["weight"], dtype=np.float64)[complete] if weighted else None
    return Sample(matrix[complete], names, np.zeros(np.count_nonzero(complete)), weight)


@click.command(short_help="How many latent dimensions an autoencoder of these events needs.")
@click.argument("events", type=FILE)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the results.")
@click.option("--features", help="Columns with commas.  [default: those of the autoencoder]")
@click.option("--latents", callback=_numbers, help="Sizes of the bottleneck, such as 1,2,3.  [default: 1 to n - 1]")
@click.option("--hidden", callback=_numbers, default="128,256,512", show_default=True, help="Widths to try.")
@click.option("--trainings", type=click.IntRange(2), default=10, show_default=True, help="Trainings of each size.")
@click.option("--events-each", type=click.IntRange(10), default=50_000, show_default=True, help="Events of a training.")
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Passes over them.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the trainings.")
@click.option("--device", help="cpu or cuda.  [default: a GPU where there is one]")
@click.option("--title", help="Name above the figures.  [default: name of the file]")
def bottleneck(events: Path, out: Path, features: str | None, title: str | None, **options: Any) -> None:
    """Train autoencoders of several sizes on the table EVENTS and see what each latent dimension explains.

    A dimension is worth having where it lowers the fraction of variance unexplained by more than 1/n, that of a dimension
    that memorises one of n features (arXiv:2104.02092, appendix C). No labels are read.

    \b
    resonaut bottleneck runs/my/events.parquet --out runs/bottleneck --latents 1,2,3,4 --hidden 128,512
    """
    from resonaut.analysis.plots import save_figure
    from resonaut.analysis.plots.bottleneck import draw_fvu, draw_fvu_drop
    from resonaut.files import write_json
    from resonaut.models import AE_FEATURES
    from resonaut.models.bottleneck import bottleneck_study

    check_writable("--out", out, folder=True)
    names = AE_FEATURES if features is None else tuple(part.strip() for part in features.split(",") if part.strip())
    sample = _complete_events(events, names)
    options["events"] = options.pop("events_each")
    sizes = len(options["hidden"]) * len(options["latents"] or names[1:])
    with counting("sizes", sizes) as progress:
        study = bottleneck_study(sample, names, progress=progress, **options)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "bottleneck.json", study.to_dict())
    name = events.name if title is None else title
    save_figure(draw_fvu(study, title=name), out / "fvu")
    save_figure(draw_fvu_drop(study, title=name), out / "fvu_drop")
    for width, chosen in study.chosen.items():
        told = ", ".join(str(each) for each in chosen) or "none"
        click.echo(f"{width} wide: dimensions that explain more than 1/{len(names)}: {told}")
    click.echo(f"latent dimensions to take: {study.recommended or 'none is worth it'}")
    click.echo(f"numbers: {out / 'bottleneck.json'}\nfigures: {out / 'fvu.png'}, {out / 'fvu_drop.png'}")
