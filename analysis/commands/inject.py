"""`resonaut inject`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from resonaut.analysis.commands.common import option_pairs

__all__ = ("inject",)

CLUSTERS = ("dask", "slurm", "htcondor")


@click.command(short_help="Limits of a learnt selection: the search again for each injected signal.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Run directory.  [default: runs/NAME of the config]"
)
@click.option("--workers", type=click.IntRange(1), help="Processes, or batch jobs (overrides the config).")
@click.option("--executor", type=click.Choice(CLUSTERS), help="Cluster for the runs.  [default: processes]")
@click.option("--scheduler", help="Address of a dask scheduler, tcp://...")
@click.option("-E", "--executor-option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the executor.")
@click.option("--dry-run", is_flag=True, help="Check config and first events, and say how much would be trained.")
def inject(
    config: Path,
    out: Path | None,
    workers: int | None,
    executor: str | None,
    scheduler: str | None,
    options: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Run the search of CONFIG (YAML) once for each signal, strength and seed, with the signal in the data. CONFIG may be the name
    of a ready one: zprime_limits.

    A selection that is learnt from the data depends on the signal in them. The limit on a strength therefore comes from
    the search that is run, training included, with that strength; the self-consistent limit is where the two meet. Finished
    units are kept: a campaign that was interrupted goes on.

    \b
    signals:    [{name: X500, files: [x500.h5], mass: 3500}]
    methods:    [{name: cwola-trees}, {name: autoencoder}, {name: supervised}]
    injections: {events: [0, 200, 500, 1000], seeds: 3}      # produced signal events

    With --executor dask, slurm or htcondor the runs are spread over a cluster (docs/running.md); --out must be on a file system
    that its workers see.
    """
    from resonaut.analysis.config import load_config, parse_config
    from resonaut.analysis.describe import describe_inputs, require_injections
    from resonaut.analysis.injections import describe_campaign, run_campaign
    from resonaut.analysis.searches import located_search
    from resonaut.files import read_json

    config, base = located_search(config)
    search = load_config(config)
    if executor is not None:
        given = {"name": executor, "workers": workers or 1, "scheduler": scheduler, **option_pairs(options)}
        content = search.model_dump(mode="json")
        search = parse_config({**content, "injections": {**(content["injections"] or {}), "executor": given}})
    elif scheduler or options:
        msg = "--scheduler and -E go with --executor: dask, slurm or htcondor"
        raise click.UsageError(msg)
    elif workers is not None:
        search = search.model_copy(update={"workers": workers})
    if dry_run:
        told = describe_campaign(search)
        click.echo(describe_inputs(search, base))
        require_injections(search, base)
        click.echo(told)
        return
    path = run_campaign(search, base, out or Path("runs") / search.name.replace(" ", "-"))
    content = read_json(path)
    for signal in content["signals"]:
        for selection in signal["selections"]:
            if selection["limit"]:
                click.echo(f"{signal['name']}, {_told(selection, content['luminosity'])}")
    for warning in content["warnings"]:
        click.secho(f"note: {warning}", fg="yellow")
    click.echo(f"numbers: {path}\nfigures: {path.with_name('campaign')}")


def _told(selection: Mapping[str, Any], luminosity: float | None) -> str:
    """Limits and reach of a selection in a line."""
    scale, unit = (1 / luminosity, "fb") if luminosity else (1.0, "produced events")
    where = "no cut" if selection["kind"] == "inclusive" else f"{selection['method']}, {100 * selection['cut']:g} %"
    limit = selection["limit"]
    parts = []
    for name, value, status in (
        ("limit", limit["observed"], limit["status"][0]),
        ("expected", limit["expected"][2], limit["status"][3]),
    ):
        parts.append(f"{name} {value * scale:.4g} {unit}" if value is not None else f"{name} {status}")
    reach = selection["reach"]["5"]
    return f"{where}: " + ", ".join(
        [*parts, *([] if reach is None else [f"5 sigma from {reach * scale:.4g} {unit} on"])]
    )
