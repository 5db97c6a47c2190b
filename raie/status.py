"""Where a model stands: its head and what that has learned from, what aliases serve, and what is unfinished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.configuration.database_url import without_password
from raie.engine.data.watermark import Watermark
from raie.registry import Alias, Edit, Registry, Snapshot
from raie.registry.db.shown_url import shown

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["AliasStatus", "HeadStatus", "Status", "status"]


@dataclass(frozen=True)
class HeadStatus:
    """The head, and the edit that made it; learned_until: epoch seconds UTC of the last rows taken, None without."""

    snapshot: Snapshot
    edit: Edit
    learned_until: float | None


@dataclass(frozen=True)
class AliasStatus:
    """Where an alias points, the number of the edit that made the snapshot there, and whether that is the head."""

    alias: Alias
    edit: int
    is_head: bool


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
    aliases: tuple[AliasStatus, ...]
    open_edits: tuple[Edit, ...]


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
    aliases = tuple(_alias(registry, alias, head) for alias in registry.aliases(model))
    return Status(model, database, store, None if head is None else _head(registry, head), aliases, open_edits)


def _head(registry: Registry, head: Snapshot) -> HeadStatus:
    return HeadStatus(head, registry.edit(head.model, head.edit), _learned_until(registry, head))


def _learned_until(registry: Registry, snapshot: Snapshot) -> float | None:
    """The time up to which a snapshot has taken the rows of its logs; None where it holds no watermark."""
    digests = snapshot.content.shared.get("watermark", ())
    return Watermark.from_bytes(registry.get(digests[0])).timestamp if digests else None


def _alias(registry: Registry, alias: Alias, head: Snapshot | None) -> AliasStatus:
    snapshot = registry.resolve(alias.model, alias.snapshot)
    return AliasStatus(alias, snapshot.edit, head is not None and snapshot.id == head.id)
