"""`resonaut features`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

__all__ = ("features",)


@click.command(short_help="Event files -> event table (Parquet).")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Event table to write (.parquet)."
)
@click.option("--radius", type=float, default=1.0, show_default=True, help="Jet radius where jets are clustered.")
@click.option("--executor", type=click.Choice(["iterative", "futures", "dask"]), default="iterative", show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--scheduler", help="Address of a dask scheduler, tcp://...")
@click.option("--chunksize", type=click.IntRange(1), default=20_000, show_default=True, help="Events per unit of work.")
@click.option("--skip-bad-files", is_flag=True, help="Skip, count and report files that cannot be read.")
def features(files: tuple[str, ...], out: Path, skip_bad_files: bool, radius: float, **executor: Any) -> None:
    """Make an event table (Parquet) from event FILES.

    Jets are clustered from particles (anti-kT) or taken from the file; the columns are documented in docs/processors.md.
    Finished chunks are kept beside the table until it is complete, so that an interrupted job continues.
    """
    from resonaut.analysis.config import ExecutorConfig
    from resonaut.analysis.events import make_table

    settings = ExecutorConfig(name=executor.pop("executor"), **executor)
    out = out.absolute()
    cache = out.with_name(f".{out.name}.chunks")
    on_bad_file = "skip" if skip_bad_files else "raise"
    paths = [Path(f).resolve() for f in files]
    books = make_table(paths, out, {"radius": radius}, {}, settings, on_bad_file=on_bad_file, cache=cache)
    if books["complete"]:
        shutil.rmtree(cache, ignore_errors=True)
    click.echo(f"{books['read']} events read, {books['used']} used, {books['skipped']} skipped, {books['lost']} lost")
    for name, count in books["cutflow"].items():
        click.echo(f"  {name:<24} {count}")
    for path, reason in books["files_failed"].items():
        click.secho(f"INCOMPLETE: {path} was skipped: {reason}", fg="yellow", err=True)
    click.echo(f"table: {out}")
