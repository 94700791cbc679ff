"""The command line: a thin layer over the rooms. `resonaut COMMAND --help` teaches."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from resonaut import __version__
from resonaut.analysis.commands import COMMANDS
from resonaut.analysis.commands.told import tell_search
from resonaut.errors import ResonautError

__all__ = ("main",)

_OUT = click.Path(file_okay=False, path_type=Path)
_CORES = os.cpu_count() or 1


class _Group(click.Group):
    """Commands whose expected errors end in one clear message and exit code 1, not in a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ResonautError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                raise
            click.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
            for note in getattr(error, "__notes__", []):
                click.echo(note, err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.secho(
                "interrupted: what was finished is kept, the same command goes on from there", fg="yellow", err=True
            )
            sys.exit(130)
        except OSError as error:  # a folder that cannot be written, a full disk
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                raise
            click.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
            sys.exit(1)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(context, name) is None:
            from resonaut.errors import unknown_name

            context.fail(unknown_name("command", name, self.list_commands(context)))
        return super().resolve_command(context, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="resonaut")
@click.option("-v", "--verbose", count=True, help="Say more (-v: stages, -vv: everything, with tracebacks).")
def main(verbose: int) -> None:
    """Anomaly-detection searches at the LHC.

    \b
    A first look:          resonaut demo
    On your own events:    resonaut hunt events.root --out runs/first
    A search of your own:  resonaut run search.yaml --out runs/mine
    A histogram alone:     resonaut fit mjj.csv, then scan, bumphunt, toys, limit
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    # Their warnings are about fonts and the like; nothing that a reader of a search can act on.
    for noisy in ("matplotlib", "numba", "fsspec", "asyncio", "PIL", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("resonaut.compiled").setLevel(logging.INFO)  # its one line explains half a minute of silence


@main.command(short_help="Run the search that a config describes.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", type=_OUT, help="Run directory.  [default: runs/NAME of the config]")
@click.option("--workers", type=click.IntRange(1), help="Processes for training and limits (overrides the config).")
@click.option("--seed", type=click.IntRange(0), help="Seed (overrides the config).")
@click.option("--dry-run", is_flag=True, help="Check the config and the first events, and say what would be done.")
def run(config: Path, out: Path | None, workers: int | None, seed: int | None, dry_run: bool) -> None:
    """Run the search that CONFIG (YAML) describes: events to report. CONFIG may be the name of a ready one, such as dimuon.

    A run that was interrupted goes on where it stopped when it is started again with the same --out: finished pieces
    are kept, keyed by a hash of everything that went into them. Change the config, and just what depends on the change
    is made again.

    \b
    name: my search
    input: {files: [data/*.h5]}            # LHC Olympics HDF5, NanoAOD, PFNano, particle trees, or event tables (Parquet)
    scan: {low: 2800, high: 5200}          # GeV
    methods: [{name: cwola-trees}, {name: autoencoder}]
    """
    from resonaut.analysis.config import load_config
    from resonaut.analysis.describe import describe_inputs, describe_search
    from resonaut.analysis.search import run_search
    from resonaut.analysis.searches import located_search

    config, base = located_search(config)
    search = load_config(config)
    changes = {k: v for k, v in {"workers": workers, "seed": seed}.items() if v is not None}
    search = search.model_copy(update=changes)
    if dry_run:
        click.echo(describe_search(search, base))
        click.echo(describe_inputs(search, base))
        return
    tell_search(run_search(search, base, out or Path("runs") / search.name.replace(" ", "-")))


@main.command(short_help="The default search on your own files, with no config.")
@click.argument("files", nargs=-1, required=True)
@click.option("--out", type=_OUT, required=True, help="Run directory.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=_CORES, show_default=True, help="Processes.")
@click.option("--resonance", help="What is resonant: dijet, dimuon, diphoton, jet-lepton, ...  [default: dijet]")
@click.option("--variable", help="Column with the resonant variable, GeV.  [default: that of the resonance, mjj]")
@click.option("--features", help="Columns to learn from: pt_mumu,y_mumu,cos_theta_cs.  [default: those of dijets]")
@click.option(
    "--columns", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Column map of flat ntuples (YAML)."
)
def hunt(
    files: tuple[str, ...],
    out: Path,
    seed: int,
    workers: int,
    resonance: str | None,
    variable: str | None,
    features: str | None,
    columns: Path | None,
) -> None:
    """The default search on your own FILES, with no config.

    The format of each file is recognised (LHC Olympics particle or feature frames, NanoAOD, PFNano, particle trees,
    Parquet event tables), or described by --columns; the mass range is found from the spectrum (from where it falls smoothly on); CWoLa hunting
    with boosted trees scans all of it with the most anomalous 10 %, 1 % and 0.1 % of the events. The config that was
    used is written to DIR/config.yaml: change it and continue with `resonaut run`.
    """
    from resonaut.analysis.auto import hunt_config
    from resonaut.analysis.column_maps import read_column_map
    from resonaut.analysis.search import run_search

    named = tuple(name.strip() for name in (features or "").split(",") if name.strip())
    choice: dict[str, Any] = {"resonance": resonance, "variable": variable, "features": named}
    choice["columns"] = None if columns is None else read_column_map(columns)
    config = hunt_config(files, out, name=out.name, seed=seed, workers=workers, **choice)
    tell_search(run_search(config, Path("/"), out))


@main.command(short_help="A whole search on the events that ship with resonaut.")
@click.option(
    "--signal", type=click.Choice(["0", "1"]), default="1", show_default=True, help="0 leaves the resonance out."
)
@click.option("--out", type=_OUT, help="Run directory.  [default: runs/demo or runs/demo-background]")
@click.option("--workers", type=click.IntRange(1), default=_CORES, show_default=True, help="Processes.")
def demo(signal: str, out: Path | None, workers: int) -> None:
    """A whole search on the simulated events that ship with resonaut (a few minutes)."""
    from resonaut.analysis.demo import demo_config
    from resonaut.analysis.search import run_search

    config, base = demo_config(signal=signal == "1")
    default = Path("runs") / ("demo" if signal == "1" else "demo-background")
    tell_search(run_search(config.model_copy(update={"workers": workers}), base, out or default))


@main.command(short_help="Write the report of a finished run again.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def report(folder: Path) -> None:
    """Write report.html of a finished run again.

    It is made from the summary and the plots of the run directory FOLDER alone: nothing is trained or fitted. The page is
    one file without links to others, so that it can be sent to a colleague.
    """
    from resonaut.analysis.report import write_report

    click.echo(f"report: {write_report(folder)}")


for _command in COMMANDS:
    main.add_command(_command)
