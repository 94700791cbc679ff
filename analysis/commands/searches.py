"""`resonaut searches`."""

from __future__ import annotations

import click

__all__ = ("searches",)


@click.command(short_help="Searches that are ready to run, by name.")
@click.argument("name", required=False)
def searches(name: str | None) -> None:
    """List the searches that are ready to run, or print the config of NAME, to be copied and changed.

    \b
    resonaut searches
    resonaut run dimuon --dry-run                     # in the folder of its files
    resonaut searches cwola_atlas > mine.yaml
    """
    from resonaut.analysis.config import load_config
    from resonaut.analysis.searches import available_searches, ready_search

    if name is not None:
        click.echo(ready_search(name).read_text(), nl=False)
        return
    width = max(map(len, available_searches()))
    for each in available_searches():
        search = load_config(ready_search(each))
        files = ", ".join((*search.input.files, *search.input.simulation))
        click.echo(f"{each:{width}}  {search.name}; reads {files}")
    click.echo("resonaut run NAME --dry-run says what would be done; resonaut searches NAME prints the config")
