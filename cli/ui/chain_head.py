"""After a command that writes, the audit chain's new end is kept in the store, outside the database.

Only what was kept elsewhere shows later that the table was rewritten. The command is done and has said so by then: it
neither waits long for the store nor fails by it, and the next command keeps what this one could not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from raie.workspace import Workspace

__all__ = ["publish_end", "publishes_end"]

WAIT_S = 2.0
"""Longer than a store that answers needs; one that does not would take many times that to say so."""


def publishes_end(command: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the chain's end once the command, whose first argument is a workspace, has done its work."""

    @functools.wraps(command)
    def run(workspace: Workspace, *args: Any, **options: Any) -> Any:
        result = command(workspace, *args, **options)
        if not options.get("dry_run"):
            publish_end(workspace)
        return result

    return run


def publish_end(workspace: Workspace) -> None:
    """Keep the chain's end in the store, if the store answers soon."""
    from raie.registry.maintenance.checkpoints import publish_if_answered

    publish_if_answered(workspace.registry, WAIT_S)
