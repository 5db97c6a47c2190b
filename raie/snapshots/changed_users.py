"""Whose recommendations differ between two snapshots, the most changed users first.

Both snapshots are loaded, and every user of a log is answered by both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raie.callbacks import Progress, ignore_progress
from raie.edits.workflow import open_view
from raie.logs.histories import Histories, from_log
from raie.snapshots.recommend import Recommendation, ScoredItem, recommend

if TYPE_CHECKING:
    from raie.engine.model import ModelView
    from raie.registry import Snapshot
    from raie.workspace import Workspace

__all__ = ["ChangedUser", "ChangedUsers", "changed_users", "most_changed"]

LIST = 10
"""Items of a list that is compared."""
_BLOCK = 1024
"""Users answered at a time, so that the scores of all users never lie in memory together."""


@dataclass(frozen=True)
class ChangedUser:
    """A user whose list changed.

    Attributes:
        older_region, newer_region: None where the snapshot knows no item of the user.
        older, newer: The two lists, the best first.
        replaced: How many items of the newer list the older one lacks.
        moved: How many ranks the items of both lists moved, together.
    """

    user: str
    older_region: int | None
    newer_region: int | None
    older: tuple[ScoredItem, ...]
    newer: tuple[ScoredItem, ...]
    replaced: int
    moved: int


@dataclass(frozen=True)
class ChangedUsers:
    """The most changed users of a log, most changed first.

    Attributes:
        users: How many were compared; changed: how many got another list.
        by_region: Region of the newer snapshot -> how many users got another list there; None for cold users.
    """

    users: int
    changed: int
    by_region: Mapping[int | None, int]
    examples: tuple[ChangedUser, ...]


def changed_users(
    workspace: Workspace,
    older: Snapshot,
    newer: Snapshot,
    log: str | Path,
    *,
    top: int = 5,
    reading: Mapping[str, Any] | None = None,
    progress: Progress = ignore_progress,
) -> ChangedUsers:
    """Compare the lists that two snapshots give to the users of a log.

    Args:
        workspace: Where the model lives.
        older: A snapshot whose blobs are kept.
        newer: Another one.
        log: The interactions; each user is answered after all of them.
        top: How many of the most changed users are examples.
        reading: Options of reading the log that differ from the setup's.
        progress: Called as users are answered.

    Returns:
        How many lists changed, and the examples.

    Raises:
        EngineError: The log cannot be used.
        RegistryError: A snapshot expired, or a blob is missing or damaged.
    """
    registry = workspace.registry()
    # Resolved again by id, because an expired snapshot can be compared and not be loaded.
    kept = [registry.resolve(workspace.model, snapshot.id) for snapshot in (older, newer)]
    views = [open_view(registry, snapshot, workspace.backbone_file) for snapshot in kept]
    sides = [from_log(view, Path(log), None, reading) for view in views]
    total = len(sides[0].users)
    pairs: list[ChangedUser] = []
    for start in range(0, total, _BLOCK):
        before, after = (_answers(view, side, start) for view, side in zip(views, sides, strict=True))
        pairs += map(_compared, before, after)
        progress("comparing lists", min(start + _BLOCK, total), total)
    return most_changed(pairs, top)


def most_changed(compared: list[ChangedUser], top: int) -> ChangedUsers:
    """The users whose list changed, those with the most replaced items first, then those with the most moved ones.

    Args:
        compared: Every user.
        top: How many examples to keep.

    Returns:
        The counts and the examples; users of equal change come in the order of their ids.
    """
    changed = [user for user in compared if user.replaced or user.moved or len(user.older) != len(user.newer)]
    ordered = sorted(changed, key=lambda user: (-user.replaced, -user.moved, user.user))
    counts: dict[int | None, int] = {}
    for user in changed:
        counts[user.newer_region] = counts.get(user.newer_region, 0) + 1
    by_region = dict(sorted(counts.items(), key=lambda pair: (pair[0] is None, pair[0] or 0)))
    return ChangedUsers(len(compared), len(changed), by_region, tuple(ordered[:top]))


def _answers(view: ModelView, side: Histories, start: int) -> Iterator[Recommendation]:
    rows = slice(start, start + _BLOCK)
    part = Histories(side.users[rows], side.windows.take(rows), side.ignored[rows])
    return iter(recommend(view, part, LIST))


def _compared(before: Recommendation, after: Recommendation) -> ChangedUser:
    rank = {item.item: number for number, item in enumerate(before.items)}
    shared = [(rank[item.item], number) for number, item in enumerate(after.items) if item.item in rank]
    return ChangedUser(
        user=str(after.user),
        older_region=before.region,
        newer_region=after.region,
        older=before.items,
        newer=after.items,
        replaced=len(after.items) - len(shared),
        moved=sum(abs(was - now) for was, now in shared),
    )
