"""How much of a long list a command shows: the newest, and a line where there is more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from raie.cli.ui.output import faint
from raie.newest import NEWEST

__all__ = ["limit_option", "older_follow"]


def limit_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-n` to a command, which receives how many of the newest it shows as its argument `limit`."""
    return click.option(
        "--limit",
        "-n",
        type=click.IntRange(min=1),
        metavar="N",
        default=NEWEST,
        show_default=True,
        help="Show the newest N.",
    )(command)


def older_follow(what: str, *, more: bool) -> list[str]:
    """The line that says that older ones are not shown; none where all are."""
    return [faint(f"older {what} follow: raise --limit")] if more else []
