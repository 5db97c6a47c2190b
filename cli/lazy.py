"""A click group that knows its commands by name and imports one only when it is used.

The help of a group is rendered from the table alone, so `raie --help` costs no import of any command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["LazyGroup", "Section"]

Section = Mapping[str, tuple[str, str] | click.Group]
"""Command name -> ("module:attribute" below raie.cli.commands, one line of help), or a group that is itself lazy."""


class LazyGroup(click.Group):
    """Commands in titled sections; each is imported when it is asked for, never before."""

    def __init__(self, *args: Any, sections: Mapping[str, Section], **options: Any) -> None:
        super().__init__(*args, **options)
        self.sections = sections

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section from the table's own lines of help."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, section in self.sections.items():
            with formatter.section(title):
                rows = [(name.ljust(width), self.summary(entry)) for name, entry in section.items()]
                formatter.write_dl(rows)

    @staticmethod
    def summary(entry: tuple[str, str] | click.Group) -> str:
        """The one line of help of an entry of the table."""
        return entry.get_short_help_str(100) if isinstance(entry, click.Group) else entry[1]
