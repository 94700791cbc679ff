"""`resonaut validate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from resonaut.analysis.commands.told import COLOURS

__all__ = ("validate",)


@click.command(short_help="Check a search before its signal regions are looked at.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Run directory.  [default: runs/NAME of the config]"
)
@click.option("--quick", is_flag=True, help="Fewer windows, trainings and pseudo-experiments: finds gross faults only.")
@click.option("--workers", type=click.IntRange(1), help="Processes (overrides the config).")
def validate(config: Path, out: Path | None, quick: bool, workers: int | None) -> None:
    """Check the search of CONFIG (YAML): background-only pseudo-experiments through the whole of it, sculpting of the mass, closure beside the
    signal regions, stability, correlations with the mass, leaks across folds, signal in the sidebands, bumps in the background.

    No selection is looked at in the signal region that it was trained for. Ends with exit code 1 if a check is red. Finished pieces are
    kept in the run directory and shared with `resonaut run`; a validation that was interrupted goes on.

    \b
    validation: {pseudo_experiments: 20, windows: 4, seeds: 2}      # in the config: `resonaut run` makes it first
    """
    from resonaut.analysis.config import load_config
    from resonaut.analysis.report import write_report
    from resonaut.analysis.searches import located_search
    from resonaut.analysis.validation import run_validation
    from resonaut.analysis.validation_config import ValidationConfig
    from resonaut.files import read_json

    config, base = located_search(config)
    search = load_config(config)
    checks = search.validation or ValidationConfig()
    search = search.model_copy(update={"validation": checks.quick() if quick else checks})
    if workers is not None:
        search = search.model_copy(update={"workers": workers})
    folder = out or Path("runs") / search.name.replace(" ", "-")
    path = run_validation(search, base, folder)
    content = read_json(path)
    for check in content["checks"]:
        made = check["made"] or check["verdict"] != "green"
        click.secho(
            f"{check['verdict']:6}" if made else "-     ", fg=COLOURS[check["verdict"]] if made else None, nl=False
        )
        click.echo(f"{check['title']}: {check['diagnosis']}")
    click.secho(f"{content['verdict']}: {content['diagnosis']}", fg=COLOURS[content["verdict"]], bold=True)
    click.echo(f"numbers: {path}")
    if (folder / "summary.json").is_file():
        click.echo(f"report:  {write_report(folder)}")
    if content["verdict"] == "red":
        sys.exit(1)
