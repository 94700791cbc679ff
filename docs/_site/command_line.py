"""Fills the page of the command line with the commands' own help when the site is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

from resonaut.analysis.cli import main

__all__ = ("on_page_markdown",)

PAGE = "api/command-line.md"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n".join([markdown, *_described(main, click.Context(main, info_name="resonaut"))])


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    if context.parent:
        yield f"\n## {context.command_path}\n"
    yield from _paragraphs(command.help or "")
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            yield f"- `{record[0]}`{': ' if record[1] else ''}{_escaped(record[1])}"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found and not found.hidden:
                yield from _described(found, click.Context(found, info_name=name, parent=context))


def _paragraphs(text: str) -> Iterator[str]:
    """Help as it stands in the source: a paragraph after a backspace keeps its lines."""
    for paragraph in inspect.cleandoc(text.partition("\f")[0]).split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        yield f"{_escaped(paragraph)}\n" if kept == paragraph else f"```text\n{kept}\n```\n"


def _escaped(text: str) -> str:
    """The text with what Markdown would take for its own marks, code in backticks aside."""
    return "`".join(
        part if number % 2 else re.sub(r"([*_<>\[\]])", r"\\\1", part) for number, part in enumerate(text.split("`"))
    )
