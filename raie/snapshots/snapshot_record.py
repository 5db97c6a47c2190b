"""One snapshot as it stands in the history: who made it and why, what it changed, and what points at it.

Everything here answers from the database alone and reads no blob.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.edits.edit_records import edit_reference
from raie.edits.notes import Annotations, annotations_of
from raie.registry import Edit, Snapshot, lineage
from raie.registry.edits.undone import undoing_edits, undone_edits
from raie.snapshots.snapshot_diff import RegionState, SnapshotDiff, diff, region_states

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["SnapshotRecord", "snapshot_record"]


@dataclass(frozen=True)
class SnapshotRecord:
    """A snapshot with what a person asks of it.

    Attributes:
        edit: The edit that made it.
        aliases: The names that point at it, sorted.
        undoes: The edits that its edit took back; undone_by: the edit that took it back, None where the head holds it.
        regions: Region -> its state, by region.
        changes: What differs from the parent; None for the first snapshot.
        annotations: Its notes and tags.
    """

    snapshot: Snapshot
    edit: Edit
    is_head: bool
    aliases: tuple[str, ...]
    undoes: tuple[int, ...]
    undone_by: int | None
    regions: Mapping[int, RegionState]
    changes: SnapshotDiff | None
    annotations: Annotations


def snapshot_record(workspace: Workspace, ref: str = "head") -> SnapshotRecord:
    """One snapshot.

    Args:
        workspace: Whose model it is.
        ref: "head", an alias, "edit:3" or 3, a snapshot's id or its first characters.

    Returns:
        The snapshot, expired or not.

    Raises:
        NotFound: There is no such snapshot.
    """
    registry, model = workspace.registry(), workspace.model
    snapshot = lineage.find(registry, model, edit_reference(ref))
    head = registry.head(model)
    mine, of_head = registry.histories(model, snapshot.id, "head")
    return SnapshotRecord(
        snapshot=snapshot,
        edit=registry.edit(model, snapshot.edit),
        is_head=head is not None and head.id == snapshot.id,
        aliases=tuple(alias.name for alias in registry.aliases(model) if alias.snapshot == snapshot.id),
        undoes=undoing_edits(mine).get(snapshot.edit, ()),
        undone_by=undone_edits(of_head).get(snapshot.edit),
        regions=region_states(registry, snapshot),
        changes=None if snapshot.parent is None else diff(workspace, snapshot.id),
        annotations=annotations_of(registry, model, [snapshot.id])[snapshot.id],
    )
