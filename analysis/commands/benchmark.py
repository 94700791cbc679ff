"""`resonaut benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ("benchmark",)


@click.group(short_help="Methods against each other on simulated events with truth labels.")
def benchmark() -> None:
    """Methods against each other, on simulated events with truth labels."""


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Fractions: 0.005 or 0.5%."""
    if text is None:
        return None
    try:
        parts = [part.strip() for part in text.split(",")]
        return tuple(float(f"{float(p[:-1]) / 100:.12g}") if p.endswith("%") else float(p) for p in parts)
    except ValueError:
        msg = f"{text!r}: expected numbers separated by commas, such as 0,0.3%,0.6%"
        raise click.BadParameter(msg) from None


def _names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


@benchmark.command(short_help="Resonant methods: templates, scores, significance improvement.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Run directory.")
@click.option("--size", type=click.Choice(["quick", "cpu", "gpu"]), default="cpu", show_default=True,
              help="quick: do all parts work; cpu: hours; gpu: as published.")  # fmt: skip
@click.option("--data", default="qcd_data", show_default=True, help="File of the background that plays the data.")
@click.option("--simulation", default="qcd_sim", show_default=True, help="File of simulated background; '' for none.")
@click.option("--signal", default="sig_Zp3500_X500_Y100_2prong", show_default=True, help="File of the signal.")
@click.option(
    "--methods", callback=_names, help="Names with commas: references, scorers, combinations.  [default: all]"
)
@click.option("--s-over-b", callback=_numbers, help="Injected S/B in the signal region, such as 0,0.3%,0.6%.")
@click.option("--features", callback=_names, help="Columns that all methods read.  [default: five of the dijet]")
@click.option("--seeds", type=click.IntRange(1), help="Repetitions (overrides the size).")
@click.option("--generator-seeds", type=click.IntRange(1), help="Trainings of each template (overrides the size).")
@click.option("--classifier", type=click.Choice(["trees", "network"]), help="Classifier of all methods.")
@click.option("--shift", type=float, help="Raise both mass features by this fraction of mJJ: correlated features.")
@click.option("--everywhere", is_flag=True, default=None, help="Inject signal in the sidebands too, as in a search.")
@click.option("--fixed-events", is_flag=True, default=None, help="One division of events for all seeds, as published.")
@click.option("--data-fraction", type=float, help="Part of the signal region's background that plays the data.")
@click.option("--seed", type=click.IntRange(0), help="All seeds are made of this one.")
@click.option("--device", help="cpu or cuda.  [default: a GPU where there is one]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def resonant(folder: Path, out: Path, **options: Any) -> None:
    """Compare resonant methods on equal footing: the study of arXiv:2307.11157, on the events of FOLDER.

    FOLDER holds event files (of any format that `resonaut features` reads) or event tables: background that plays the
    data, simulated background, and signal. All methods meet the same events, features and classifier. Results are
    written to DIR/results.json and results.md, figures to DIR/plots. A run that was interrupted goes on when it is
    started again; more seeds or methods add to what is there.

    \b
    resonaut benchmark resonant events/ --out runs/resonant --methods cwola,cathode,idealised,supervised
    resonaut benchmark resonant events/ --out runs/resonant --size gpu --device cuda
    resonaut benchmark resonant events/ --out runs/shifted --shift 0.1
    """
    from resonaut.analysis.resonant.events import find_files
    from resonaut.analysis.resonant.protocol import make_protocol
    from resonaut.analysis.resonant.run import describe, make_plan, run_benchmark

    roles = {role: options.pop(role) or None for role in ("data", "simulation", "signal")}
    size, methods, workers, dry_run = (options.pop(name) for name in ("size", "methods", "workers", "dry_run"))
    protocol = make_protocol(size, **options)
    plan = make_plan(find_files(folder, roles), out, protocol, methods or ())
    if dry_run:
        click.echo(describe(plan))
        return
    report = run_benchmark(plan, workers=workers)
    click.echo(
        f"{report.computed} units computed\ntable:   {report.table}\nnumbers: {report.results}\nfigures: {report.plots}"
    )


@benchmark.command(short_help="The Dark Machines anomaly score challenge, from CSV files to the table of scores.")
@click.argument("folder", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Run directory.")
@click.option("--size", type=click.Choice(["quick", "cpu", "gpu"]), default="cpu", show_default=True,
              help="quick: do all parts work; cpu: less training; gpu: near the published ones.")  # fmt: skip
@click.option(
    "--entries", callback=_names, help="Names with commas, such as deep-svdd,flow,deep-sets.  [default: of the size]"
)
@click.option("--channels", callback=_names, help="1, 2a, 2b, 3 with commas.  [default: all that have files]")
@click.option("--test-fraction", type=float, help="Background kept for tests.  [default: the files' own division]")
@click.option("--siblings", type=click.IntRange(1), default=1, show_default=True,
              help="Event numbers that are equal after division by this are detector simulations of one collision.")  # fmt: skip
@click.option("--max-training", type=click.IntRange(100), help="Most training events of a channel.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="All seeds are made of this one.")
@click.option("--device", help="cpu or cuda.  [default: a GPU where there is one]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def darkmachines(folder: Path, out: Path, workers: int, dry_run: bool, **options: Any) -> None:
    """Run the anomaly score challenge of arXiv:2105.14027 on the CSV files below FOLDER.

    Every entry is trained on the background of a channel and scores its test background and signals: AUC, signal efficiencies at
    background efficiencies of 1e-2, 1e-3 and 1e-4 (where enough background is left to measure them), significance and total
    improvement, correlations, and what the papers found held against it. Results are written to DIR/results.json and results.md,
    figures to DIR/plots. A run that was interrupted goes on when it is started again. `resonaut fetch darkmachines` gets the files
    of the challenge.

    \b
    resonaut benchmark darkmachines challenge/ --out runs/darkmachines --size gpu
    resonaut benchmark darkmachines events/ --out runs/quick --size quick --test-fraction 0.4 --siblings 100
    """
    from resonaut.analysis.darkmachines.data import Division
    from resonaut.analysis.darkmachines.protocol import make_protocol
    from resonaut.analysis.darkmachines.run import describe_challenge, make_challenge, run_challenge

    seed = options["seed"]
    division = Division(options["test_fraction"], options["siblings"], options["max_training"], seed)
    protocol = make_protocol(options["size"], options["entries"], division, seed=seed, device=options["device"])
    plan = make_challenge(folder, out, protocol, options["channels"])
    if dry_run:
        click.echo(describe_challenge(plan))
        return
    report = run_challenge(plan, workers=workers)
    click.echo(
        f"{report.computed} trainings computed\ntable:   {report.table}\nnumbers: {report.results}\nfigures: {report.plots}"
    )
