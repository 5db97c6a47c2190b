"""What a review takes from the snapshots themselves: the map of regions, locality, descriptions and users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raie.callbacks import Progress
from raie.edits.workflow import open_view
from raie.errors import UsageError
from raie.review.locality import locality
from raie.review.region_map import region_maps
from raie.snapshots.changed_users import changed_users
from raie.snapshots.region_descriptions import descriptions

if TYPE_CHECKING:
    from raie.review.review import Review, UsersOfLog
    from raie.workspace import Workspace

__all__ = ["with_engine"]

_DATABASE_ONLY = "not asked for: leave out --database-only"


def with_engine(
    workspace: Workspace,
    gathered: Review,
    users: UsersOfLog | None,
    *,
    database_only: bool,
    progress: Progress,
) -> Review:
    """The review with what the snapshots say, or why they say nothing.

    Args:
        workspace: Whose model it is.
        gathered: What the database says.
        users: Whose recommendations to compare; None for nobody's.
        database_only: Load no snapshot.
        progress: Called as windows are scored and users answered.

    Returns:
        The review, each of its parts present or among `missing`.

    Raises:
        EngineError: The log of the users cannot be used.
        RegistryError: A blob is missing or damaged.
    """
    loads = {"descriptions": _descriptions, "locality": _locality}
    loaded: dict[str, Any] = {}
    missing = dict.fromkeys(loads, _DATABASE_ONLY) if database_only else {}
    for name, load in loads.items() if not database_only else ():
        reason = _unloadable(gathered, alone=name == "descriptions")
        try:
            loaded |= {name: load(workspace, gathered, progress)} if not reason else {}
        except UsageError as refused:
            reason = str(refused)
        missing |= {name: reason} if reason else {}
    mapped, reason = _map(gathered)
    missing |= {"map": reason} if reason else {}
    compared, reason = _users(workspace, gathered, users, progress)
    missing |= {"users": reason} if reason else {}
    return replace(gathered, maps=mapped, users=compared, missing=missing, **loaded)


def _unloadable(gathered: Review, *, alone: bool) -> str:
    """Why the snapshots cannot be loaded, or not both together; alone: whether only the newer one is."""
    if gathered.record.snapshot.expired is not None:
        return "the snapshot has expired"
    if alone:
        return ""
    if gathered.against is None or gathered.difference is None:
        return "a first snapshot has none before it"
    if gathered.against.expired is not None:
        return "the snapshot that it is compared with has expired"
    if gathered.difference.backbone or gathered.difference.space:
        return "the two snapshots have different backbones or routing spaces, so every region differs"
    return ""


def _descriptions(workspace: Workspace, gathered: Review, progress: Progress) -> Mapping[int, Any]:
    registry, snapshot = workspace.registry(), gathered.record.snapshot
    return descriptions(registry, snapshot, open_view(registry, snapshot, workspace.backbone_file))


def _locality(workspace: Workspace, gathered: Review, progress: Progress) -> Any:
    difference = gathered.difference
    assert difference is not None  # _unloadable says so
    registry = workspace.registry()
    older, newer = (
        open_view(registry, side, workspace.backbone_file) for side in (difference.older, difference.newer)
    )
    return locality(older, newer, difference.unchanged, progress=progress)


def _map(gathered: Review) -> tuple[Any, str]:
    if gathered.difference is not None and gathered.difference.space:
        return None, "the two snapshots have different routing spaces"
    mapped = region_maps(gathered.before, gathered.record.regions, gathered.marks)
    return mapped, "" if mapped else "the registry knows no centres of one length for these regions"


def _users(
    workspace: Workspace, gathered: Review, users: UsersOfLog | None, progress: Progress
) -> tuple[Any, str]:
    if users is None:
        return None, "not asked for: name a log with --users LOG"
    if gathered.difference is None:
        return None, "a first snapshot has none before it"
    older, newer = gathered.difference.older, gathered.difference.newer
    compared = changed_users(
        workspace, older, newer, users.log, top=users.top, reading=users.reading, progress=progress
    )
    return compared, ""
