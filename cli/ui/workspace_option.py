"""The workspace that a command works in: that of `--workspace`, or the nearest at or above the current folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from raie.workspace_file import find

__all__ = ["in_workspace"]


def in_workspace(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the workspace of `--workspace` or the current folder as its first argument."""

    @click.pass_obj
    @functools.wraps(command)
    def run(start: Path | None, *args: Any, **options: Any) -> Any:
        return command(find(start), *args, **options)

    return run
