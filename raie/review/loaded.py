"""What a review takes from the snapshots themselves: locality, descriptions of regions, and users' recommendations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from raie.callbacks import Progress
from raie.edits.workflow import open_view
from raie.errors import UsageError
from raie.review.locality import locality
from raie.snapshots.changed_users import changed_users
from raie.snapshots.region_descriptions import descriptions

if TYPE_CHECKING:
    from raie.review.review import Review, UsersOfLog
    from raie.workspace import Workspace

__all__ = ["with_snapshots", "with_users"]

_EXPIRED = "the snapshot has expired"
_FIRST = "a first snapshot has none before it"


def with_snapshots(workspace: Workspace, gathered: Review, progress: Progress) -> Review:
    """The review with its locality proof and the descriptions of its regions, or why they are missing.

    Args:
        workspace: Whose model it is.
        gathered: What the database says.
        progress: Called as windows are scored.

    Raises:
        RegistryError: A blob is missing or damaged.
    """
    snapshot = gathered.record.snapshot
    if snapshot.expired is not None:
        return _missing(_missing(gathered, "descriptions", _EXPIRED), "locality", _EXPIRED)
    registry = workspace.registry()
    view = open_view(registry, snapshot, workspace.backbone_file)
    described = replace(gathered, descriptions=descriptions(registry, snapshot, view))
    difference, reason = gathered.difference, _incomparable(gathered)
    if reason or difference is None:
        return _missing(described, "locality", reason)
    older = open_view(registry, difference.older, workspace.backbone_file)
    try:
        return replace(described, locality=locality(older, view, difference.unchanged, progress=progress))
    except UsageError as refused:
        return _missing(described, "locality", str(refused))


def with_users(workspace: Workspace, gathered: Review, users: UsersOfLog, progress: Progress) -> Review:
    """The review with the users whose recommendations changed most.

    Args:
        workspace: Whose model it is.
        gathered: The review so far.
        users: Whose recommendations to compare.
        progress: Called as users are answered.

    Raises:
        EngineError: The log cannot be used.
        RegistryError: A snapshot expired, or a blob is missing or damaged.
    """
    if gathered.difference is None:
        return _missing(gathered, "users", _FIRST)
    older, newer = gathered.difference.older, gathered.difference.newer
    compared = changed_users(
        workspace, older, newer, users.log, top=users.top, reading=users.reading, progress=progress
    )
    return replace(gathered, users=compared)


def _incomparable(gathered: Review) -> str:
    """Why the two snapshots cannot score the same windows; "" where they can."""
    if gathered.against is None or gathered.difference is None:
        return _FIRST
    if gathered.against.expired is not None:
        return "the snapshot that it is compared with has expired"
    if gathered.difference.backbone or gathered.difference.space:
        return "the two snapshots have different backbones or routing spaces, so every region differs"
    return ""


def _missing(gathered: Review, part: str, reason: str) -> Review:
    return replace(gathered, missing={**gathered.missing, part: reason})
