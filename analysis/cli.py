"""The command line: a thin layer over the rooms. `resonaut COMMAND --help` teaches."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from resonaut import __version__
from resonaut.errors import FitError, ResonautError

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
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
    # Their warnings are about fonts and the like; nothing that a reader of a search can act on.
    for noisy in ("matplotlib", "numba", "fsspec", "asyncio", "PIL", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _keep_numbers(content: Any, path: Path | None) -> None:
    if path:
        from resonaut.files import finite_or_none, write_json

        write_json(path, finite_or_none(content))


def _tell(report: Path) -> None:
    from resonaut.files import read_json

    summary = read_json(report.with_name("summary.json"))
    if best := summary["best"]:
        cut = "no cut" if best["cut"] >= 1 else f"the most anomalous {100 * best['cut']:g} %"
        click.echo(
            f"largest excess: {best['low']:.0f}-{best['high']:.0f} GeV, {best['method']}, {cut}: "
            f"{best['observed']:.0f} events, expected {best['expected']:.1f} +- {best['expected_error']:.1f}, "
            f"local significance {best['local_significance']:.2f}"
        )
    for warning in summary["warnings"]:
        click.secho(f"note: {warning}", fg="yellow")
    click.echo(f"report:  {report}\nnumbers: {report.with_name('summary.json')}")


@main.command(short_help="Run the search that a config describes.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", type=_OUT, help="Run directory.  [default: runs/NAME of the config]")
@click.option("--workers", type=click.IntRange(1), help="Processes for training and limits (overrides the config).")
@click.option("--seed", type=click.IntRange(0), help="Seed (overrides the config).")
@click.option("--dry-run", is_flag=True, help="Check the config and say what would be done.")
def run(config: Path, out: Path | None, workers: int | None, seed: int | None, dry_run: bool) -> None:
    """Run the search that CONFIG (YAML) describes: events to report.

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
    from resonaut.analysis.search import describe_search, run_search

    search = load_config(config)
    changes = {k: v for k, v in {"workers": workers, "seed": seed}.items() if v is not None}
    search = search.model_copy(update=changes)
    if dry_run:
        click.echo(describe_search(search, config.parent))
        return
    _tell(run_search(search, config.parent, out or Path("runs") / search.name.replace(" ", "-")))


@main.command(short_help="The default search on your own files, with no config.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--out", type=_OUT, required=True, help="Run directory.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=_CORES, show_default=True, help="Processes.")
def hunt(files: tuple[str, ...], out: Path, seed: int, workers: int) -> None:
    """The default search on your own FILES, with no config.

    The format of each file is recognised (LHC Olympics particle or feature frames, NanoAOD, PFNano, particle trees,
    Parquet event tables); the mass range is found from the spectrum (from where it falls smoothly on); CWoLa hunting
    with boosted trees scans all of it with the most anomalous 10 %, 1 % and 0.1 % of the events. The config that was
    used is written to DIR/config.yaml: change it and continue with `resonaut run`.
    """
    from resonaut.analysis.auto import hunt_config
    from resonaut.analysis.search import run_search

    config = hunt_config(files, out, name=out.name, seed=seed, workers=workers)
    _tell(run_search(config, Path("/"), out))


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
    _tell(run_search(config.model_copy(update={"workers": workers}), base, out or default))


@main.command(short_help="Event files -> event table (Parquet).")
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
    import shutil

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


@main.command(short_help="p-value scan of a histogram that somebody made.")
@click.argument("spectrum")
@click.option("--function", default="dijet4", show_default=True, help="Background function, or 'auto' for an F-test.")
@click.option("--sqrts", type=float, default=13000.0, show_default=True, help="GeV.")
@click.option("--sr-bins", type=click.IntRange(1), default=4, show_default=True, help="Bins of a signal region.")
@click.option(
    "--sb-bins", type=click.IntRange(1), default=3, show_default=True, help="Bins left on either side at least."
)
@click.option("--low", type=float, help="Lower end of the fit range, GeV.")
@click.option("--high", type=float, help="Upper end of the fit range, GeV.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the p-value scan as STEM.png, .pdf and .json.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers here.")
def scan(
    spectrum: str, low: float | None, high: float | None, json_path: Path | None, plot: Path | None, **options: Any
) -> None:
    """Local p-values over a SPECTRUM that somebody made: FILE.root:HISTOGRAM or FILE.csv (low edge, high edge, count).

    For each signal region the rest of the spectrum is fitted and the excess tested with the fit profiled.
    """
    from resonaut.analysis.histogram import read_range, scan_histogram

    result = scan_histogram(read_range(spectrum, low, high), **options)
    if result.best is None:
        msg = f"no signal region has a usable fit: {result.entries[0].status if result.entries else 'no windows'}"
        raise FitError(msg)
    for entry in result.entries:
        click.echo(
            f"{entry.low:7.0f}-{entry.high:<7.0f} observed {entry.observed:10.0f}  expected {entry.expected:12.1f} +- "
            f"{entry.expected_error:<8.1f} p = {entry.local_p:.3g}  Z = {entry.local_significance:+.2f}  {entry.status}"
        )
    best = result.best
    click.echo(f"largest excess: {best.low:.0f}-{best.high:.0f} GeV, Z = {best.local_significance:.2f}")
    _keep_numbers(result.to_dict(), json_path)
    if plot:
        from resonaut.analysis.plots import draw_scan, save_figure

        save_figure(draw_scan(result, title=Path(spectrum).name), plot)


@main.command(short_help="Upper limits in a histogram that somebody made.")
@click.argument("spectrum")
@click.option("--mass", type=float, multiple=True, help="Resonance mass in GeV; repeat.  [default: 12 over the range]")
@click.option(
    "--width",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.035,
    show_default=True,
    help="Gaussian width over mass.",
)
@click.option(
    "--uncertainty",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Relative uncertainty of the signal yield.",
)
@click.option("--function", default="dijet4", show_default=True)
@click.option("--sqrts", type=float, default=13000.0, show_default=True, help="GeV.")
@click.option("--low", type=float, help="Lower end of the fit range, GeV.")
@click.option("--high", type=float, help="Upper end of the fit range, GeV.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the limit plot as STEM.png, .pdf and .json.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the numbers here.")
def limit(
    spectrum: str,
    mass: tuple[float, ...],
    low: float | None,
    high: float | None,
    json_path: Path | None,
    plot: Path | None,
    **options: Any,
) -> None:
    """95 % CLs upper limits (events) on a Gaussian resonance in a SPECTRUM: FILE.root:HISTOGRAM or FILE.csv.

    The background function is fitted together with the signal; limits come from pyhf, observed and expected with bands.
    """
    from resonaut.analysis.histogram import limits_of_histogram, read_range
    from resonaut.analysis.limits import events_under

    histogram = read_range(spectrum, low, high)
    results = limits_of_histogram(histogram, mass, **options)
    if not any(r.ok for r in results):
        msg = f"no limit could be set: {results[0].status}"
        raise FitError(msg)
    for r in results:
        band = " ".join(f"{e:.4g}" for e in r.expected)
        click.echo(f"{r.mass:7.0f} GeV  observed {r.observed:.4g}  expected (-2, -1, 0, +1, +2 s.d.) {band}")
    _keep_numbers([r.to_dict() for r in results], json_path)
    for r in results:
        if (events := events_under(r.mass, options["width"] * r.mass, *histogram)) < 10:
            few = f"{r.mass:.0f} GeV rests on {events:.0f} events, where the asymptotic formula is too optimistic"
            click.secho(f"note: the limit at {few}: use resonaut.stats.toy_upper_limit", fg="yellow")
    if plot:
        from resonaut.analysis.plots import draw_limits, save_figure

        subtitle = f"Gaussian, {100 * options['width']:g} % wide"
        save_figure(draw_limits(results, title=Path(spectrum).name, subtitle=subtitle, unit="signal events"), plot)


@main.command(short_help="Write the report of a finished run again.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def report(folder: Path) -> None:
    """Write report.html of a finished run again.

    It is made from the summary and the plots of the run directory FOLDER alone: nothing is trained or fitted. The page is
    one file without links to others, so that it can be sent to a colleague.
    """
    from resonaut.analysis.report import write_report

    click.echo(f"report: {write_report(folder)}")
