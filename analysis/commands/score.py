"""`resonaut score`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from resonaut.analysis.commands.common import option_pairs

__all__ = ("features_of", "run_of", "score", "variable_of")

_LISTED = 12  # scores of which the unscored events are told one by one


@click.command(short_help="A saved scorer (or a whole run) -> scores beside the events, as friend trees.")
@click.argument("scorer", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("files", nargs=-1, required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the friends.")
@click.option("--format", type=click.Choice(["root", "parquet"]), default="root", show_default=True)
@click.option("--name", help="Branch of the score, for a single scorer.  [default: from its folder]")
@click.option("--only", multiple=True, help="Of a run, only scores whose names begin so (may be repeated).")
@click.option("--tree", "treename", help="Tree in the input files.  [default: as their format has it]")
@click.option("--friend-tree", default="Friends", show_default=True, help="Tree in the friends.")
@click.option("--radius", type=float, help="Jet radius where jets are clustered.  [default: of the run, else 1.0]")
@click.option("--mass", help="Column or field of the resonant mass, GeV.  [default: of the run, else mjj]")
@click.option("--executor", default="iterative", show_default=True, help="iterative, futures, dask, slurm, ...")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, or batch jobs.")
@click.option("--scheduler", help="Address of a dask scheduler, tcp://...")
@click.option("-E", "--executor-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the executor.")
@click.option("--chunksize", type=click.IntRange(1), default=20_000, show_default=True, help="Events per unit of work.")
@click.option("--skip-bad-files", is_flag=True, help="Skip and report files that cannot be read: they get no friend.")
def score(
    scorer: Path,
    files: tuple[str, ...],
    name: str | None,
    only: tuple[str, ...],
    radius: float | None,
    mass: str | None,
    options: tuple[str, ...],
    skip_bad_files: bool,
    **running: Any,
) -> None:
    """Score all events of FILES with SCORER, and write a friend of the same name for each file.

    SCORER is the folder of a saved scorer, or a run directory: then there is one branch per method and window. A friend has one
    row per event of its file, in the same order (NaN where an event has no score), with run, luminosityBlock and event. Files
    are event files of any format, or event tables.

    \b
    resonaut score runs/first/scores/cwola-trees/3371-3661/scorer data/*.root --out friends
    resonaut score runs/first data/*.root --out friends --executor futures --workers 8
    """
    from resonaut.processors import write_friends

    out = running["out"]
    report = write_friends(
        files,
        _branches(scorer, name, only),
        columns=features_of(scorer, radius),
        mass=mass or variable_of(scorer),
        on_bad_file="skip" if skip_bad_files else "raise",
        options=option_pairs(options) or None,
        progress=True,
        **running,
    )
    click.echo(f"{report.events} events in {len(report.written)} friends; {len(report.kept)} were there already")
    told = [f"  {branch}: {count} without a score" for branch, count in report.unscored.items() if report.written]
    for line in told[:_LISTED]:
        click.echo(line)
    if len(told) > _LISTED:
        click.echo(f"  ... and {len(told) - _LISTED} more scores; each friend's provenance has all counts")
    for path, reason in report.failed.items():
        click.secho(f"INCOMPLETE: no friend of {path}: {reason}", fg="red", err=True)
    if known := _trained_on(scorer, {**report.written, **report.kept}):
        click.secho(
            f"note: {len(known)} of the files were in the search that trained this ({', '.join(known[:3])}): these scores are means "
            "over all folds, not out of fold, and too good for events of the training; docs/scores-back.md",
            fg="yellow",
            err=True,
        )
    click.echo(f"friends: {out}")
    if not report.complete:
        sys.exit(1)


def _branches(scorer: Path, name: str | None, only: tuple[str, ...]) -> dict[str, Path]:
    from resonaut.errors import ConfigError, unknown_name
    from resonaut.processors import find_scorers

    found = find_scorers(scorer)
    if name is not None:
        if len(found) > 1:
            msg = f"--name is for a single scorer, {scorer} has {len(found)}: {', '.join(list(found)[:5])} ..."
            raise ConfigError(msg)
        return {name: next(iter(found.values()))}
    for start in only:
        if not any(branch.startswith(start) for branch in found):
            raise ConfigError(unknown_name("score", start, found))
    return {branch: folder for branch, folder in found.items() if not only or branch.startswith(only)}


def run_of(folder: Path) -> Path | None:
    """The run directory that a folder is or lies in, None if there is none."""
    for each in (folder.resolve(), *folder.resolve().parents):
        if (each / "scores").is_dir() and (each / "config.yaml").is_file():
            return each
    return None


def _trained_on(scorer: Path, friends: dict[str, Path]) -> list[str]:
    """Names of the files whose content the scorer's search has read as its data."""
    from resonaut.processors import read_friend_provenance, read_provenance

    run = run_of(scorer)
    table = None if run is None else run / "events" / "events.parquet"
    if table is None or not table.is_file():
        return []
    origin = read_provenance(table)
    digests = {each["digest"] for each in origin.get("inputs", ())}
    tables = {Path(each).resolve() for each in origin.get("tables", ())}
    return [
        Path(path).name
        for path, friend in friends.items()
        if read_friend_provenance(friend)["input"]["digest"] in digests or Path(path).resolve() in tables
    ]


def variable_of(scorer: Path) -> str:
    """Column of the resonant mass in the run that a scorer lies in; mjj outside of a run."""
    from resonaut.analysis.config import load_config

    run = run_of(scorer)
    return "mjj" if run is None else load_config(run / "config.yaml").variable


def features_of(scorer: Path, radius: float | None = None) -> Any:
    """The builder that the run's own events went through; the default one outside of a run."""
    from resonaut.analysis.config import load_config
    from resonaut.errors import ConfigError
    from resonaut.processors import DijetFeatures

    run = run_of(scorer)
    builder = DijetFeatures() if run is None else load_config(run / "config.yaml").input.processor().features
    if radius is None:
        return builder
    if not isinstance(builder, DijetFeatures):
        msg = f"--radius is of clustered jets, and {run} takes its features from {type(builder).__name__}: leave it out"
        raise ConfigError(msg)
    return replace(builder, radius=radius)
