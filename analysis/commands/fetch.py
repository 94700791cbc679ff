"""`resonaut fetch`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ("fetch",)


@click.command(short_help="Fetch a public data set.")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder that the files go to.")
@click.option("--list", "listing", is_flag=True, help="Only list the files with their sizes and checksums.")
@click.option("--only", metavar="PATTERN", help="Only files whose name fits, such as '*channel2a*'.")
@click.option("--progress/--no-progress", default=True, show_default=True, help="Show bars.")
@click.option("--url", hidden=True, help="Address of the records, for a copy of Zenodo.")
def fetch(name: str, out: Path | None, listing: bool, only: str | None, progress: bool, url: str | None) -> None:
    """Fetch the public data set NAME from Zenodo and verify every file.

    File names, sizes and checksums are asked of the record. A file that is there with the right checksum is not fetched again,
    so that a run that was cut off goes on where it was.

    \b
    resonaut fetch darkmachines --list
    resonaut fetch darkmachines --out data/darkmachines
    resonaut fetch darkmachines --out data/darkmachines --only '*channel2a*'
    """
    from resonaut.processors.download import DATASETS, ZENODO, list_files
    from resonaut.processors.download import fetch as fetch_files

    if out is None and not listing:
        msg = "give --out FOLDER for the files, or --list to see what there is"
        raise click.UsageError(msg)
    base_url = url or ZENODO
    if listing or out is None:
        files = list_files(name, only, base_url=base_url)
        for file in files:
            click.echo(f"{file.name}  {file.size / 1e6:.1f} MB  {file.checksum}")
        click.echo(
            f"{len(files)} files, {sum(file.size for file in files) / 1e9:.2f} GB, doi:{DATASETS[name].doi}", err=True
        )
        return
    paths = fetch_files(name, out, only, progress=progress, base_url=base_url)
    click.echo(f"{len(paths)} files in {out}, all verified against doi:{DATASETS[name].doi}")
