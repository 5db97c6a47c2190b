"""A click group that knows its commands by name and imports one only when it is used.

The help of a group is rendered from the table alone, so `raie --help` costs no import of any command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import IO, Any

import click
from click.shell_completion import CompletionItem

from raie.cli.suggestions import close_names

__all__ = ["LazyGroup", "Section"]

Section = Mapping[str, tuple[str, str] | click.Group]
"""Command name -> ("module:attribute" below raie.cli.commands, one line of help), or a group that is itself lazy."""


class _Unknown(click.UsageError):
    """A word that is no command, said in one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line alone: the usage above it says nothing of the word."""
        click.echo(f"error: {self.format_message()}", file=file, err=file is None)


class LazyGroup(click.Group):
    """Commands in titled sections; each is imported when it is asked for, never before."""

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Section],
        other_words: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.sections = sections
        self.other_words = other_words or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order in which a newcomer needs them."""
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None where the table has no such name."""
        for section in self.sections.values():
            entry = section.get(cmd_name)
            if isinstance(entry, click.Group):
                return entry
            if entry is not None:
                module, _, attribute = entry[0].partition(":")
                command = getattr(importlib.import_module(f"raie.cli.commands.{module}"), attribute)
                assert isinstance(command, click.Command), f"{entry[0]} is not a click command"
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; one line that leads to it where a typed is another tool's, or mistyped."""
        typed = args[0]
        if not typed.startswith("-") and self.get_command(ctx, typed) is None and not ctx.resilient_parsing:
            raise _Unknown(f"{ctx.command_path} has no command {typed!r}{self._hint(ctx, typed)}", ctx)
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context, typed: str) -> str:
        if typed in self.other_words:
            return f"; use `raie {self.other_words[typed]}`"
        close = close_names(typed, self.list_commands(ctx))
        return f"; did you mean {' or '.join(close)}?" if close else f"; `{ctx.command_path} --help` lists them"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section from the table's own lines of help."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, section in self.sections.items():
            with formatter.section(title):
                rows = [(name.ljust(width), self.summary(entry)) for name, entry in section.items()]
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The commands that begin so, from the table, and options of the group."""
        entries = [entry for section in self.sections.values() for entry in section.items()]
        items = [CompletionItem(name, help=self.summary(e)) for name, e in entries if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    @staticmethod
    def summary(entry: tuple[str, str] | click.Group) -> str:
        """The one line of help of an entry of the table."""
        return entry.get_short_help_str(100) if isinstance(entry, click.Group) else entry[1]
