"""After a command that writes, the audit chain head is kept in the store; raie.chain_head says why and how."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from raie.workspace import Workspace

__all__ = ["publish_end", "publishes_end"]


def publishes_end(command: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the chain head once the command, whose first argument is a workspace, has done its work."""

    @functools.wraps(command)
    def run(workspace: Workspace, *args: Any, **options: Any) -> Any:
        result = command(workspace, *args, **options)
        if not options.get("dry_run"):
            publish_end(workspace)
        return result

    return run


def publish_end(workspace: Workspace) -> None:
    """Keep the chain head in the store, if the store answers soon."""
    from raie.chain_head import publish_chain_head

    publish_chain_head(workspace)
