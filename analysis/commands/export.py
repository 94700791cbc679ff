"""`resonaut export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ("export",)

_FILE = click.Path(dir_okay=False, path_type=Path)
_EVENTS = 10_000


@click.command(short_help="A saved scorer -> ONNX, for C++.")
@click.argument("scorer", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--onnx", "path", type=_FILE, required=True, help="File to write (.onnx).")
@click.option(
    "--events",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Event table to compare the scores on, beside random events.  [default: of the run that the scorer is in]",
)
@click.option("--mass", help="Column of the resonant mass in the event table, GeV.  [default: of the run, else mjj]")
def export(scorer: Path, path: Path, events: Path | None, mass: str | None) -> None:
    """Write the saved scorer in the folder SCORER as an ONNX file, and check it against the scorer.

    The file is evaluated by onnxruntime on random events, and on real ones where there are any; if the scores differ by more than
    rounding, nothing is written. It holds the names of the features in order, their units, whether the mass is needed, the
    working points, and the digest of the scorer. How to use it in C++: docs/scores-back.md.

    \b
    resonaut export runs/first/scores/cwola-trees/3371-3661/scorer --onnx scorer.onnx
    """
    from resonaut.errors import ConfigError
    from resonaut.models import to_onnx
    from resonaut.processors import find_scorers

    first, *others = find_scorers(scorer).values()
    if others:
        msg = f"{scorer} has {1 + len(others)} scorers and a file holds one: give its folder, such as {first}"
        raise ConfigError(msg)
    scorer = first
    report = to_onnx(scorer, path, events=_sample(scorer, events, mass))
    card = report.card
    click.echo(f"{card['scorer']}: {len(card['features'])} features, mass {card['mass']}, digest {card['card_digest']}")
    for place, (feature, unit) in enumerate(zip(card["features"], card["units"], strict=True)):
        click.echo(f"  {place:>3} {feature}" + (f" [{unit}]" if unit != "1" else ""))
    for kind, found in (("random", report.random), ("real", report.real)):
        if found is not None:
            click.echo(
                f"{found.events} {kind} events: largest relative difference {found.difference:.1e}, "
                f"{found.exchanged} neighbours of the ranking exchanged (by at most {found.exchanged_by:.1e})"
            )
    click.echo(f"onnx: {path}")


def _sample(scorer: Path, events: Path | None, mass: str | None) -> Any:
    """Events to compare on: at most 10,000 that have all features."""
    import numpy as np

    from resonaut.analysis.commands.score import run_of, variable_of
    from resonaut.models import Sample, read_card
    from resonaut.processors import read_table

    if events is None:
        run = run_of(scorer)
        events = None if run is None else run / "events" / "events.parquet"
    if events is None or not events.is_file():
        return None
    mass = mass or variable_of(scorer)
    features = list(read_card(scorer)["features"])
    table = read_table(events, columns=[*features, *([mass] if mass not in features else [])])
    columns = {name: np.asarray(table[name], dtype=np.float64)[:_EVENTS] for name in table.fields}
    good = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    matrix = np.stack([columns[name][good] for name in features], axis=1)
    return Sample(matrix, features, columns[mass][good])
