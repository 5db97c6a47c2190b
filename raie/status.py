"""Where a model stands: its head and what that has learned from, what aliases serve, and what is unfinished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.alias_target import AliasTarget, alias_targets
from raie.configuration.database_url import without_password
from raie.engine.data.watermark import Watermark
from raie.registry import Edit, Registry, Snapshot
from raie.registry.db.shown_url import shown

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["HeadStatus", "Status", "status"]


@dataclass(frozen=True)
class HeadStatus:
    """The head, and the edit that made it; learned_until: epoch seconds UTC of the last rows taken, None without."""

    snapshot: Snapshot
    edit: Edit
    learned_until: float | None


@dataclass(frozen=True)
class Status:
    """The state of a workspace's model; head: None before its first snapshot.

    Attributes:
        database, store: Where they are, without secrets.
        open_edits: Edits that run or were abandoned, newest first.
    """

    model: str
    database: str
    store: str
    head: HeadStatus | None
    aliases: tuple[AliasTarget, ...]
    open_edits: tuple[Edit, ...]

    def is_head(self, target: AliasTarget) -> bool:
        """Whether an alias points at the head."""
        return self.head is not None and target.alias.snapshot == self.head.snapshot.id


def status(workspace: Workspace) -> Status:
    """Where the workspace's model stands.

    Args:
        workspace: Whose model it is.

    Returns:
        The state; that of a model without a snapshot where there is none yet.

    Raises:
        DatabaseUnreachable, StoreUnreachable: There is no answer.
    """
    registry, model = workspace.registry(), workspace.model
    database, store = shown(without_password(workspace.database)), shown(workspace.store)
    if model not in registry.models():
        return Status(model, database, store, None, (), ())
    head = registry.head(model)
    open_edits = tuple(registry.edits(model, only_open=True))
    state = None if head is None else _head(registry, head)
    return Status(model, database, store, state, alias_targets(registry, model), open_edits)


def _head(registry: Registry, head: Snapshot) -> HeadStatus:
    return HeadStatus(head, registry.edit(head.model, head.edit), _learned_until(registry, head))


def _learned_until(registry: Registry, snapshot: Snapshot) -> float | None:
    """The time up to which a snapshot has taken the rows of its logs; None where it holds no watermark."""
    digests = snapshot.content.shared.get("watermark", ())
    return Watermark.from_bytes(registry.get(digests[0])).timestamp if digests else None
