"""Options that have a better name now: the old one works for one more version, with a note."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from raie.cli.ui.output import say

__all__ = ["renamed_option"]


def renamed_option(old: str, new: str, parameter: str, **attributes: Any) -> Callable[..., Any]:
    """Give a command an option under its name of today, and its old name as a hidden one.

    Args:
        old: The option as earlier versions spelled it, with its dashes.
        new: The option as it is spelled now.
        parameter: The argument of the command that receives the value, whichever name was typed.
        attributes: Those of `click.option`.

    Returns:
        A decorator for the command.
    """

    key = f"{__name__}.{old}"

    def note(ctx: click.Context, option: click.Parameter, value: Any) -> None:
        # Click processes what was typed first, so this runs before the option of today looks here.
        if option.name is not None and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            say(f"note: {old} is called {new} now; the old name goes with the next version", err=True)
            ctx.meta[key] = value

    def take(ctx: click.Context, option: click.Parameter, value: Any) -> Any:
        is_typed = ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
        return value if is_typed else ctx.meta.get(key, value)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(old, hidden=True, expose_value=False, callback=note, **attributes)(command)
        return click.option(new, parameter, callback=take, **attributes)(command)

    return decorate
