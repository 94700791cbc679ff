"""`resonaut features`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from resonaut.analysis.commands.common import option_pairs
from resonaut.errors import ConfigError, unknown_name

__all__ = ("features",)

MOST_FILES = 20  # in what is printed
_OPTIONS = ("resonance", "jets", "event_features", "cuts")
# named on the command line
_OF_A_SEARCH = ("files", "simulation", "simulation_columns", "executor", "on_bad_file", "duplicates")
_EXECUTORS = ("iterative", "futures", "dask", "slurm", "htcondor", "parsl", "taskvine")


@click.command(short_help="Event files -> event table (Parquet).")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Event table to write (.parquet)."
)
@click.option(
    "--columns", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Column map of flat ntuples (YAML)."
)
@click.option("--resonance", help="What is resonant: dijet, dimuon, diphoton, jet-lepton, ...  [default: dijet]")
@click.option("--event-features", help="Features of whole events, such as ht,met,sphericity.")
@click.option(
    "--config", "config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with resonance, jets, event_features, cuts, columns, as in a search's input (or a whole search).",
)  # fmt: skip
@click.option(
    "--jets", metavar="NAME", help="Collection of large-R jets such as FatJet or Jet, or 'cluster'.  [default: auto]"
)
@click.option("--radius", type=float, help="Jet radius where jets are clustered.  [default: 1.0]")
@click.option("--executor", type=click.Choice(_EXECUTORS), default="iterative", show_default=True)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, or batch jobs.")
@click.option("--scheduler", help="Address of a dask scheduler, tcp://...")
@click.option("-E", "--executor-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the executor.")
@click.option("--chunksize", type=click.IntRange(1), help="Most events per unit of work.  [default: 20000]")
@click.option("--memory-limit", metavar="SIZE", help="Of all processes together, such as 4GB: sizes the chunks.")
@click.option("--retries", type=click.IntRange(0), default=3, show_default=True, help="When a connection broke.")
@click.option("--skip-bad-files", is_flag=True, help="Skip, count and report files that cannot be read.")
@click.option(
    "--duplicates", type=click.Choice(["error", "drop", "keep"]), default="error", show_default=True,
    help="Events that are there twice: of data by run, luminosity block and number in all datasets, of simulation by content too, in each dataset.",
)  # fmt: skip
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), help="JSON of what each chunk cost.")
def features(
    files: tuple[str, ...],
    out: Path,
    columns: Path | None,
    resonance: str | None,
    event_features: str | None,
    config: Path | None,
    jets: str | None,
    radius: float | None,
    skip_bad_files: bool,
    duplicates: str,
    metrics: Path | None,
    options: tuple[str, ...],
    **executor: Any,
) -> None:
    """Make an event table (Parquet) from event FILES: paths, globs, @lists, filesets (.json), root:// and https:// URLs.

    The resonant variable is the mass of two large-R jets, clustered from particles (anti-kT) or taken from the file, or that of
    the objects of another --resonance; the columns are documented in docs/processors.md and docs/features.md.
    Finished chunks are kept beside the table until it is complete, so that an interrupted job continues when it is started
    again. The exit code is 1 if the table is not complete. Executors, clusters, memory: docs/running.md.
    """
    from resonaut.analysis.column_maps import read_column_map
    from resonaut.analysis.events import make_table
    from resonaut.processors import fileset_of, named_files

    settings = _settings({"name": executor.pop("executor"), **executor, **option_pairs(options)})
    of_jets = {key: value for key, value in {"collection": jets, "radius": radius}.items() if value is not None}
    given = {} if config is None else _options_of(config)
    processor = _processor(given, resonance, event_features, of_jets)
    out = out.absolute()
    cache = out.with_name(f".{out.name}.chunks")
    on_bad_file = "skip" if skip_bad_files else "raise"
    fileset = fileset_of(named_files(files), given.get("columns") if columns is None else read_column_map(columns))
    try:
        books = make_table(
            fileset, out, processor, settings,
            on_bad_file=on_bad_file, cache=cache, duplicates=duplicates, metrics=metrics,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        click.secho("\n".join(getattr(error, "__notes__", ["interrupted"])), fg="yellow", err=True)
        sys.exit(130)
    if books["complete"]:
        shutil.rmtree(cache, ignore_errors=True)
    _report(books, out)
    if not books["complete"]:
        sys.exit(1)


def _report(books: Mapping[str, Any], out: Path) -> None:
    """Print what became of the events, and what is in the table."""
    from resonaut.processors import read_provenance

    doubled = f", {books['duplicates']} left out as duplicates" if books["duplicates"] else ""
    counts = f"{books['read']} events read, {books['used']} used, {books['skipped']} skipped, {books['lost']} lost"
    click.echo(counts + doubled)
    for layout, chosen in books["jets"].items():
        click.echo(f"  jets of {layout.partition(':')[0]}: {chosen}")
    for name, count in books["cutflow"].items():
        click.echo(f"  {name:<24} {count}")
    click.echo(f"table: {out}")
    click.echo("\n".join(_account(books, read_provenance(out).get("ledger", {}).get("by_file", ()))))
    for path, reason in books["files_failed"].items():
        click.secho(f"INCOMPLETE: {path} was skipped: {reason}", fg="red", err=True)


def _account(books: Mapping[str, Any], by_file: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table: what became of the events, in all and of each file that did not give all of them, with the reasons."""
    columns = ("events in", "used", "skipped", "lost", "duplicates")
    total = (books["read"] + books["lost"] + books["duplicates"], *(books[x] for x in columns[1:]))
    rows = [("all files", total, books["reasons"])]
    for file in by_file if len(by_file) > 1 else ():
        skipped = sum(file["skipped"].values())
        used = file["read"] - skipped
        if used < file["expected"]:
            counts = (file["expected"], used, skipped, file["lost"], file["duplicates"])
            rows.append((Path(file["file"]).name, counts, file["skipped"]))
    lines = ["".join((f"{'':<32}", *(f"{name:>12}" for name in columns)))]
    for name, counts, reasons in rows[: 1 + MOST_FILES]:
        lines.append(f"{name:<32}" + "".join(f"{count:>12}" for count in counts))
        lines += [f"  {reason:<30}{'':>24}{count:>12}" for reason, count in reasons.items()]
    if (more := len(rows) - 1 - MOST_FILES) > 0:
        lines.append(f"... and {more} files more (all of them: the ledger in the table's metadata)")
    return lines


def _options_of(config: Path) -> dict[str, Any]:
    """The options of a file, which may be a whole search."""
    given = _yaml(config)
    given = given.get("input", given) if isinstance(given, dict) else given
    if not isinstance(given, dict):
        msg = f"{config}: expected the keys {', '.join(_OPTIONS)}, got {type(given).__name__}"
        raise ConfigError(msg)
    for key in given:
        if key not in (*_OPTIONS, "columns", *_OF_A_SEARCH):
            raise ConfigError(unknown_name(f"key in {config}", str(key), (*_OPTIONS, "columns")))
    if isinstance(given.get("columns"), str):
        from resonaut.analysis.column_maps import read_column_map

        return {**given, "columns": read_column_map(config.parent / given["columns"])}
    return given


def _processor(
    given: Mapping[str, Any], resonance: str | None, event_features: str | None, jets: dict[str, Any]
) -> Any:
    """What makes the table: the options of a file, over which those of the command line go."""
    from resonaut.processors import make_processor

    options = {key: given[key] for key in _OPTIONS if given.get(key) is not None}
    if resonance is not None:
        options["resonance"] = resonance
    if event_features is not None:
        options["event_features"] = tuple(name.strip() for name in event_features.split(",") if name.strip())
    if jets:
        options["jets"] = {**options.get("jets", {}), **jets}
    return make_processor(**options)


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path}: cannot be read as YAML ({error})"
        raise ConfigError(msg) from None


def _settings(given: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from resonaut.analysis.config import ExecutorConfig

    try:
        return ExecutorConfig(**given)
    except ValidationError as error:
        msg = "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
        raise ConfigError(msg) from None
