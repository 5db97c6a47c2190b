"""`python -m raie.cli.reference`: docs/cli.md, written from every command's own --help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from raie.cli.main import raie

__all__ = ["DOCUMENT", "commands", "document"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
_HEAD = """\
# The command line

Written by `python -m raie.cli.reference` from each command's `--help`; a test fails when it is stale.
"""


def commands() -> Iterator[tuple[click.Command, click.Context]]:
    """Every command in the order of the help, `raie` itself first, each with the context it would run in."""
    # Wide and fixed: the text must not depend on the terminal it is written from.
    settings = {**raie.context_settings, "terminal_width": 100, "color": False}
    return _below(raie, raie.context_class(raie, info_name="raie", **settings))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{context.command_path} lists {name!r} and does not have it"
            yield from _below(below, below.context_class(below, info_name=name, parent=context))


def document() -> str:
    """The text of docs/cli.md."""
    parts = [_HEAD]
    for command, context in commands():
        level = "#" * (len(context.command_path.split()) + 1)
        parts.append(f"\n{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(), encoding="utf-8")
    click.echo(f"wrote {DOCUMENT}")
