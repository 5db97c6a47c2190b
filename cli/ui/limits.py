"""How much of a long list a command shows: the newest, and a line where there is more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from raie.cli.ui.output import faint

__all__ = ["NEWEST", "limit_option", "newest", "older_follow"]

T = TypeVar("T")

NEWEST = 20
"""About a screen."""


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


def newest(records: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """The first `limit` records, and whether there are more.

    Args:
        records: Newest first; one more than `limit` is asked for to know this.
        limit: The most to show.
    """
    return records[:limit], len(records) > limit


def older_follow(what: str, *, more: bool) -> list[str]:
    """The line that says that older ones are not shown; none where all are."""
    return [faint(f"older {what} follow: raise --limit")] if more else []
