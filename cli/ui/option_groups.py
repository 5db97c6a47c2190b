"""Options that belong together, added to a command in the order in which its help lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["with_options"]

Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def with_options(command: Callable[..., Any], options: Sequence[Option]) -> Callable[..., Any]:
    """Add options to a command.

    Args:
        command: What takes their values.
        options: Of `click.option`, in the order of the help.
    """
    for option in reversed(options):
        command = option(command)
    return command
