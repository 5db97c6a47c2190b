"""After a call that writes, the audit chain head is kept in the store, outside the database.

Only a head that is kept elsewhere shows later that the table was rewritten. The call has done its work by then. It
neither waits long for the store nor fails with it, and the next call keeps what this one could not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

from raie.registry.deadline import Deadline
from raie.registry.errors import RegistryError
from raie.registry.maintenance.checkpoints import publish
from raie.workspace import Workspace

__all__ = ["publish_chain_head", "publishes_chain_head"]

WAIT_S = 2.0
"""Longer than a store that answers needs; one that does not answer would take many times that."""
P = ParamSpec("P")
T = TypeVar("T")


def publishes_chain_head(call: Callable[Concatenate[Workspace, P], T]) -> Callable[Concatenate[Workspace, P], T]:
    """Keep the chain head once a call, whose first argument is a workspace, has done its work.

    A dry run writes nothing, so nothing is kept after one.
    """

    @functools.wraps(call)
    def run(workspace: Workspace, /, *args: P.args, **options: P.kwargs) -> T:
        result = call(workspace, *args, **options)
        if not options.get("dry_run"):
            publish_chain_head(workspace)
        return result

    return run


def publish_chain_head(workspace: Workspace) -> None:
    """Keep the chain head in the store, if the store answers soon.

    Args:
        workspace: Whose registry's chain it is.
    """
    with suppress(RegistryError, TimeoutError):
        Deadline(WAIT_S).run(lambda: publish(workspace.registry()))
