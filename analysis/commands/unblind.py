"""`resonaut unblind`."""

from __future__ import annotations

from pathlib import Path

import click

from resonaut.analysis.commands.told import tell_search

__all__ = ("unblind",)


@click.command(short_help="Look at the signal regions of a blinded search, and record it.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why now, and who agreed; it is kept.")
@click.option("--force", is_flag=True, help="Look although the validation is red, or without one; it is recorded.")
@click.option("--workers", type=click.IntRange(1), help="Processes (overrides the config).")
def unblind(folder: Path, reason: str, force: bool, workers: int | None) -> None:
    """Look at the signal regions of the blinded search in the run directory FOLDER.

    The search must have a validation that is not red; where there is none it is made now. Who looked, when, why, at which config, and
    what the validation said then are appended to FOLDER/unblinding.json and stand in the summary and the report. A config or events that
    change after that are blind again.
    """
    from resonaut.analysis.config import load_config
    from resonaut.analysis.search import unblind_search

    search = load_config(folder / "config.yaml")
    if workers is not None:
        search = search.model_copy(update={"workers": workers})
    report = unblind_search(search, folder, reason=reason, force=force)
    tell_search(report)
    click.echo(f"record:  {folder / 'unblinding.json'}")
