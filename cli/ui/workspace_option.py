"""The workspace that a command works in: that of `--workspace`, or the nearest at or above the current folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from raie.cli.ui.activity import activity_bar
from raie.workspace_file import find, find_nearest

__all__ = ["in_workspace", "in_workspace_if_any"]


def in_workspace(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the workspace of `--workspace` or the current folder as its first argument.

    A command that works for more than two seconds shows that it does.
    """

    @click.pass_context
    @functools.wraps(command)
    def run(context: click.Context, *args: Any, **options: Any) -> Any:
        with activity_bar(context):
            return command(find(context.obj), *args, **options)

    return run


def in_workspace_if_any(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `in_workspace`, but the first argument is None where no workspace is named and none is near."""

    @click.pass_context
    @functools.wraps(command)
    def run(context: click.Context, *args: Any, **options: Any) -> Any:
        with activity_bar(context):
            return command(find_nearest() if context.obj is None else find(context.obj), *args, **options)

    return run
