"""The workspace that a command works in: that of `--workspace`, or the nearest at or above the current folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from raie.cli.ui.activity import activity_bar
from raie.configuration.settings import Origin, Setting
from raie.workspace import Workspace
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
            return command(_of_model(find(context.obj), context), *args, **options)

    return run


def in_workspace_if_any(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `in_workspace`, but the first argument is None where no workspace is named and none is near."""

    @click.pass_context
    @functools.wraps(command)
    def run(context: click.Context, *args: Any, **options: Any) -> Any:
        with activity_bar(context):
            nearest = find_nearest() if context.obj is None else find(context.obj)
            return command(None if nearest is None else _of_model(nearest, context), *args, **options)

    return run


def _of_model(workspace: Workspace, context: click.Context) -> Workspace:
    """The workspace, with the model that `--model` names in place of its own."""
    model = context.find_root().params.get("model")
    return workspace if model is None else workspace.of_model(model, Setting(model, Origin.OPTION, "--model"))
