"""What was changed: the edits of a model, each with its operations, and what differs between two snapshots.

Nothing here needs more than the database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raie.actor import actor
from raie.chain_head import publishes_chain_head
from raie.errors import UsageError
from raie.registry import Author, Edit, Operation, Registry, Snapshot, lineage
from raie.registry.edits.undone import undone_edits

if TYPE_CHECKING:
    from raie.workspace import Workspace

__all__ = ["EditRecord", "RegionDifference", "SnapshotDiff", "abort_edit", "diff", "edit_record", "edits"]


@dataclass(frozen=True)
class EditRecord:
    """One edit.

    Attributes:
        edit: Who, when, why, its state and its report.
        operations: What it did to each region.
        checkpoints: The steps that it has finished, sorted.
        undone_by: The edit that took it back; None where the head holds it, or never did.
    """

    edit: Edit
    operations: tuple[Operation, ...]
    checkpoints: tuple[str, ...]
    undone_by: int | None = None


@dataclass(frozen=True)
class RegionDifference:
    """A region that two snapshots do not share.

    Attributes:
        difference: "added", "removed" or "changed".
        older_version, newer_version: None where a snapshot does not have the region.
        roles: The blobs that differ.
    """

    region: int
    difference: str
    older_version: int | None
    newer_version: int | None
    roles: tuple[str, ...]


@dataclass(frozen=True)
class SnapshotDiff:
    """What differs between two snapshots.

    Attributes:
        regions: Those that differ; unchanged: the others of the newer snapshot.
        shared: Names of the parts of the whole model that differ.
        backbone: Roles of the backbone's blobs that differ; space: whether the routing space does.
    """

    older: Snapshot
    newer: Snapshot
    regions: tuple[RegionDifference, ...]
    unchanged: tuple[int, ...]
    shared: tuple[str, ...]
    backbone: tuple[str, ...]
    space: bool

    @property
    def same_content(self) -> bool:
        """Whether both score every window the same."""
        return self.older.content.digest == self.newer.content.digest

    def __repr__(self) -> str:
        changed = {region.region: region.difference for region in self.regions}
        return f"SnapshotDiff(older={self.older.id[:12]!r}, newer={self.newer.id[:12]!r}, regions={changed})"


def edits(workspace: Workspace, *, only_open: bool = False, limit: int | None = None) -> tuple[Edit, ...]:
    """The edits, newest first; none before the first setup.

    Args:
        workspace: Where the model lives.
        only_open: Those that run or were abandoned.
        limit: The newest so many.

    Raises:
        RegistryError: The registry has other models and not this one, or the database refuses.
    """
    registry = workspace.registry()
    if not registry.models():
        return ()
    return tuple(registry.edits(workspace.model, only_open=only_open, limit=limit))


def edit_record(workspace: Workspace, number: int) -> EditRecord:
    """One edit with what it did to each region; raises NotFound."""
    registry, model = workspace.registry(), workspace.model
    edit = registry.edit(model, number)
    operations = tuple(lineage.operations(registry, model, number))
    undone = undone_edits(registry.history_of(model)) if registry.head(model) else {}
    return EditRecord(edit, operations, tuple(sorted(registry.checkpoints(model, number))), undone.get(number))


@publishes_chain_head
def abort_edit(workspace: Workspace, number: int, *, reason: str = "", force: bool = False) -> Edit:
    """Close a running or abandoned edit without a result.

    Args:
        workspace: Where the model lives.
        number: The edit.
        reason: Why; it stays in the history.
        force: Even while a process still works on it; its commit is then refused.

    Raises:
        LeaseLost: Another process works on it.
        EditStateError: It is committed.
    """
    return workspace.registry().abort(workspace.model, number, author=Author(actor(), reason), force=force)


def diff(workspace: Workspace, older: str, newer: str | None = None) -> SnapshotDiff:
    """Compare two snapshots, or one with the snapshot that it came from.

    Args:
        workspace: Where the model lives.
        older: The older snapshot; alone, the number of an edit or a snapshot, which is compared with its parent.
        newer: The newer snapshot.

    Raises:
        NotFound: There is no such snapshot.
        UsageError: The first snapshot alone, which has no parent.
    """
    registry = workspace.registry()
    before, after = _pair(registry, workspace.model, older, newer)
    differing = lineage.diff(before, after)
    regions = _region_differences(registry, before, after, differing)
    changed = {region.region for region in regions}
    return SnapshotDiff(
        older=before,
        newer=after,
        regions=regions,
        unchanged=tuple(sorted(set(after.content.regions) - changed)),
        shared=tuple(differing.shared),
        backbone=tuple(differing.backbone),
        space=differing.space,
    )


def _pair(registry: Registry, model: str, older: str, newer: str | None) -> Sequence[Snapshot]:
    if newer is not None:
        return lineage.find_all(registry, model, [older, newer])
    number = re.fullmatch(r"[0-9]{1,9}", older)
    after = lineage.find(registry, model, f"edit:{older}" if number else older)
    if after.parent is None:
        raise UsageError(f"{after.id[:12]} is the first snapshot, so there is none before it to compare with")
    return lineage.find(registry, model, after.parent), after


def _region_differences(
    registry: Registry, before: Snapshot, after: Snapshot, differing: lineage.Diff
) -> tuple[RegionDifference, ...]:
    """Each region that differs: how, between which versions, and in which of its blobs."""
    kinds = {"added": differing.added, "removed": differing.removed, "changed": differing.changed}
    older, newer = (lineage.versions_in(registry, snapshot) for snapshot in (before, after))
    rows = []
    for region, kind in sorted((region, kind) for kind, regions in kinds.items() for region in regions):
        a, b = before.content.regions.get(region, {}), after.content.regions.get(region, {})
        rows.append(
            RegionDifference(
                region=region,
                difference=kind,
                older_version=older[region].version if region in older else None,
                newer_version=newer[region].version if region in newer else None,
                roles=tuple(sorted(role for role in a.keys() | b.keys() if a.get(role) != b.get(role))),
            )
        )
    return tuple(rows)
