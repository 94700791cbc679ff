"""`resonaut fetch`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ("fetch",)


@click.command(short_help="Fetch a public data set.")
@click.argument("name", required=False)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder that the files go to.")
@click.option("--list", "listing", is_flag=True, help="Only list the files with sizes and checksums, or all data sets.")
@click.option("--only", metavar="PATTERN", help="Only files whose name fits, such as '*channel2a*'.")
@click.option("--unpack", is_flag=True, help="Unpack archives (tar, zip) beside them.")
@click.option("--progress/--no-progress", default=True, show_default=True, help="Show bars.")
@click.option("--url", hidden=True, help="Address of the records, for a copy of the archive.")
def fetch(
    name: str | None, out: Path | None, listing: bool, only: str | None, unpack: bool, progress: bool, url: str | None
) -> None:
    """Fetch the public data set NAME and verify every file; without NAME, --list says which there are.

    File names, sizes and checksums are asked of the record (Zenodo, CERN Open Data). A file that is there with the right
    checksum is not fetched again, and one whose transfer broke is continued: give the same command again.

    \b
    resonaut fetch --list
    resonaut fetch lhco-rd --list
    resonaut fetch lhco-rd --out data/lhco --only '*features*'
    resonaut fetch darkmachines --out data/darkmachines --unpack
    """
    from resonaut.processors.download import DATASETS, list_files
    from resonaut.processors.download import fetch as fetch_files

    if name is None and listing:
        for key, dataset in DATASETS.items():
            click.echo(f"{key:<14}{dataset.title}  doi:{dataset.doi}")
        return
    if name is None or (out is None and not listing):
        msg = "give NAME and --out FOLDER for the files, NAME and --list to see what it holds, or --list alone"
        raise click.UsageError(msg)
    if listing or out is None:
        files = list_files(name, only, base_url=url)
        for file in files:
            click.echo(f"{file.name}  {file.size / 1e6:.1f} MB  {file.checksum}")
        click.echo(
            f"{len(files)} files, {sum(file.size for file in files) / 1e9:.2f} GB, doi:{DATASETS[name].doi}", err=True
        )
        return
    paths = fetch_files(name, out, only, unpack=unpack, progress=progress, base_url=url)
    click.echo(f"{len(paths)} files in {out}, all verified against doi:{DATASETS[name].doi}")
