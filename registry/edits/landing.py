"""Transaction B: everything an edit's end adds to the database, in one transaction, in named steps.

lock the model -> compare the head -> check the edit and its lease -> require live blobs -> insert the snapshot ->
number the region versions -> insert the operations -> move the head -> close the edit -> audit -> outbox. Either
all of it is there or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select, update

from raie.registry import audit, outbox
from raie.registry.author import Author
from raie.registry.blobs import accept, keep_blobs
from raie.registry.db.engine import upsert
from raie.registry.db.queries import (
    edit_by_number,
    head_id,
    lock_model,
    next_region_id,
    require_kept,
    select_snapshots,
    snapshot_by_id,
    text_of,
    wanted_entries,
)
from raie.registry.db.tables import adapter_versions, edits, expired_snapshots, heads, operations, snapshots
from raie.registry.edits.lifecycle import insert_edit, require_lease
from raie.registry.edits.merge import changed_regions
from raie.registry.errors import CommitConflict, InvalidValue
from raie.registry.failpoints import failpoint
from raie.registry.outbox_records import SNAPSHOT_COMMITTED
from raie.registry.recorded_rows import closed, edit_row
from raie.registry.states import AuditAction, EditKind, EditState
from raie.registry.values import (
    AuditEvent,
    Content,
    Edit,
    Manifest,
    RegionChange,
    RegionEntry,
    Snapshot,
    entry_digest,
)

__all__ = ["AnyLanding", "NewEdit", "RunningEdit", "committed_payload", "enqueue_committed", "land"]

_Row = dict[str, Any]

_TICK_S = 1e-6
_PUBLISHED = (
    "number",
    "kind",
    "base",
    "seed",
    "actor",
    "reason",
    "data_digest",
    "parameters",
    "created_at",
    "closed_at",
)


@dataclass(frozen=True, kw_only=True)
class Landing:
    """What should land; one of the two types below says which edit it ends.

    manifest: its parent is what the head, or the alias, is expected to be.  changes: what happened to each region.
    proposal: the digest of the content as the caller gave it.  report: JSON object.
    """

    manifest: Manifest
    changes: tuple[RegionChange, ...]
    proposal: str
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunningEdit(Landing):
    """The end of an edit that runs: number names it, and this process holds its lease."""

    number: int


@dataclass(frozen=True, kw_only=True)
class NewEdit(Landing):
    """An edit that begins and ends in one transaction: a rollback or a cherry-pick.

    kind: ROLLBACK moves the head; CHERRY_PICK makes a side branch.  sources: ids of the older snapshots whose content
    comes back.
    """

    kind: EditKind
    author: Author
    parameters: Mapping[str, Any]
    sources: tuple[str, ...] = ()


AnyLanding: TypeAlias = RunningEdit | NewEdit


def _moves_head(landing: AnyLanding) -> bool:
    return isinstance(landing, RunningEdit) or landing.kind != EditKind.CHERRY_PICK


def land(connection: Connection, lease_owner: str, landing: AnyLanding) -> Snapshot | None:
    """Lands an edit and returns its snapshot; None where the head is another than the manifest's parent.

    The manifest is staged, the other blobs are live.

    Raises BlobMissing, SnapshotExpired, LeaseLost, EditStateError, InvalidValue, and CommitConflict for a region id
    that another edit took; nothing has landed then.
    """
    manifest, model, at = landing.manifest, landing.manifest.model, time.time()
    lock_model(connection, model)
    if _moves_head(landing) and head_id(connection, model) != manifest.parent:
        return None
    # Under the lock: a snapshot that expires now has either given its blobs to this one before, or is refused.
    require_kept(connection, landing.sources if isinstance(landing, NewEdit) else ())
    accept(connection, manifest.id)
    failpoint("land.locked")
    edit = _edit_that_lands(connection, lease_owner, landing)
    before = None if manifest.parent is None else snapshot_by_id(connection, manifest.parent)
    parent = None if before is None else before.content
    _require_changes(parent, manifest.content, landing.changes)
    # A snapshot is later than its parent, though the clock went back: the history is shown in this order.
    made_at = at if before is None else max(at, before.created_at + _TICK_S)
    added = _insert_snapshot(connection, manifest, parent, edit.number, made_at)
    failpoint("land.snapshot_inserted")
    versions, numbered = _number_versions(connection, landing, parent, edit.number, at)
    failpoint("land.versions_inserted")
    done = _insert_operations(connection, landing, edit.number, versions)
    failpoint("land.operations_inserted")
    if _moves_head(landing):
        _move_head(connection, manifest, at)
        failpoint("land.head_moved")
    end = _close_edit(connection, landing, edit.number, at)
    failpoint("land.edit_closed")
    event = audit.append(
        connection,
        author=Author(edit.actor, edit.reason),
        action=AuditAction.COMMIT if isinstance(landing, RunningEdit) else AuditAction(landing.kind),
        model=model,
        subject=f"edit:{edit.number}",
        source=manifest.parent,
        target=manifest.id,
        at=at,
        rows=closed(edit_row(edit, **end), done, numbered, added),
    )
    failpoint("land.audited")
    closed_edit = edit_by_number(connection, model, edit.number)
    enqueue_committed(
        connection, closed_edit, manifest, [_published(change, versions) for change in landing.changes], event
    )
    failpoint("land.enqueued")
    return snapshot_by_id(connection, manifest.id)


def _edit_that_lands(connection: Connection, lease_owner: str, landing: AnyLanding) -> Edit:
    model = landing.manifest.model
    if isinstance(landing, RunningEdit):
        return require_lease(connection, lease_owner, model, landing.number)
    number = insert_edit(
        connection,
        model,
        kind=landing.kind,
        base=landing.manifest.parent,
        parameters=landing.parameters,
        author=landing.author,
        lease_owner=lease_owner,
    )
    return edit_by_number(connection, model, number)


def _require_changes(parent: Content | None, content: Content, changes: tuple[RegionChange, ...]) -> None:
    """Refuses a content that changes a region without saying so: the log would miss it and no rollback undo it."""
    changed = changed_regions(parent, content) if parent else frozenset(content.regions)
    unsaid = changed - {change.region for change in changes}
    if unsaid:
        raise InvalidValue(f"Expected a RegionChange for every changed region, found none for {sorted(unsaid)}")


def _insert_snapshot(
    connection: Connection, manifest: Manifest, parent: Content | None, edit: int, at: float
) -> list[_Row]:
    """Inserts the snapshot and returns its row; none where it was there before."""
    known = connection.execute(select_snapshots().where(snapshots.c.id == manifest.id)).first()
    # An edit on a cherry-pick's parent with the cherry-pick's content is the snapshot that is there already.
    if known is not None and known.expired_at is None:
        return []
    rows: list[_Row] = []
    added = manifest.content.blobs() | {manifest.id}
    if known is not None:
        # It had expired: its blobs are kept from now on again, all of them, for nothing was kept with it.
        connection.execute(delete(expired_snapshots).where(expired_snapshots.c.snapshot == manifest.id))
    else:
        added -= parent.blobs() if parent else frozenset()
        row: _Row = {
            "id": manifest.id,
            "model": manifest.model,
            "parent": manifest.parent,
            "edit": edit,
            "content_digest": manifest.content.digest,
            "created_at": at,
            "manifest": manifest.to_bytes().decode(),
        }
        connection.execute(insert(snapshots).values(row))
        rows.append(row)
    keep_blobs(connection, manifest.id, added)
    return rows


def _number_versions(
    connection: Connection, landing: Landing, parent: Content | None, edit: int, at: float
) -> tuple[dict[int, int], list[_Row]]:
    """The version of every region that the changes name and the content holds, and the rows of the new ones.

    New entries get the next number.
    """
    manifest, regions = landing.manifest, landing.manifest.content.regions
    named = {change.region: change for change in landing.changes if change.region in regions}
    known, newest = _known_versions(connection, manifest.model, {region: regions[region] for region in named})
    new = sorted(named.keys() - known.keys())
    _require_free(connection, manifest, [r for r in new if parent is None or r not in parent.regions])
    versions, rows = dict(known), list[_Row]()
    for region in new:
        versions[region] = newest.get(region, 0) + 1
        rows.append(
            {
                "model": manifest.model,
                "region": region,
                "version": versions[region],
                "entry_digest": entry_digest(regions[region]),
                "entry": text_of(dict(regions[region])),
                "edit": edit,
                "snapshot": manifest.id,
                "created_at": at,
                "change": text_of(named[region].to_json()),
            }
        )
    if rows:
        connection.execute(insert(adapter_versions), rows)
    return versions, rows


def _require_free(connection: Connection, manifest: Manifest, added: list[int]) -> None:
    """Raises CommitConflict where a region that the parent does not have has an id that was taken before."""
    free = next_region_id(connection, manifest.model) if added else 0
    if added and added[0] < free:
        raise CommitConflict(
            f"Expected an id of {free} or more for a new region, found {added[0]}, which was taken before; "
            "plan the edit again",
            manifest.parent,
            manifest.parent,
        )


def _known_versions(
    connection: Connection, model: str, entries: Mapping[int, RegionEntry]
) -> tuple[dict[int, int], dict[int, int]]:
    """Region -> the version that has this entry already, and region -> its newest version."""
    table, wanted = adapter_versions.c, wanted_entries(connection, entries)
    mine = (table.model == model, table.region == wanted.c.region)
    same = select(table.version).where(*mine, table.entry_digest == wanted.c.digest).scalar_subquery()
    last = select(func.max(table.version)).where(*mine).scalar_subquery()
    rows = connection.execute(select(wanted.c.region, same.label("same"), last.label("last"))).all()
    known = {row.region: row.same for row in rows if row.same is not None}
    return known, {row.region: row.last for row in rows if row.last is not None}


def _insert_operations(
    connection: Connection, landing: Landing, edit: int, versions: Mapping[int, int]
) -> list[_Row]:
    rows: list[_Row] = [
        {
            "model": landing.manifest.model,
            "edit": edit,
            "position": position,
            "region": change.region,
            "action": change.action,
            "version": versions.get(change.region),
            "windows": change.windows,
            "change": text_of(change.to_json()),
        }
        for position, change in enumerate(landing.changes)
    ]
    if rows:
        connection.execute(insert(operations), rows)
    return rows


def _move_head(connection: Connection, manifest: Manifest, at: float) -> None:
    """Compare and swap; the model's lock makes it succeed, and a lock that failed to would be noticed here."""
    move: Any
    if manifest.parent is None:
        row = {"model": manifest.model, "snapshot": manifest.id, "moved_at": at}
        move = upsert(connection, heads).values(row).on_conflict_do_nothing()
    else:
        mine = (heads.c.model == manifest.model, heads.c.snapshot == manifest.parent)
        move = update(heads).where(*mine).values(snapshot=manifest.id, moved_at=at)
    if connection.execute(move.returning(heads.c.model)).first() is None:
        head = head_id(connection, manifest.model)
        raise CommitConflict(f"Expected head {manifest.parent}, found {head}; retry", manifest.parent, head)


def _close_edit(connection: Connection, landing: Landing, number: int, at: float) -> _Row:
    """Closes the edit and returns what that changed of its row."""
    mine = (edits.c.model == landing.manifest.model, edits.c.number == number)
    end = {
        "state": EditState.COMMITTED,
        "result": landing.manifest.id,
        "proposal": landing.proposal,
        "report": text_of(dict(landing.report)),
        "closed_at": at,
        "lease_owner": None,
        "lease_expires_at": None,
    }
    connection.execute(update(edits).where(*mine).values(end))
    return end


def _published(change: RegionChange, versions: Mapping[int, int]) -> _Row:
    return change.to_json() | {"version": versions.get(change.region)}


def enqueue_committed(
    connection: Connection, edit: Edit, manifest: Manifest, changes: Sequence[_Row], event: AuditEvent
) -> None:
    """Lets the outbox hold what a publisher needs of a committed edit without reading the registry.

    changes: the JSON of each RegionChange, with its version.  event: of the audit, that records the edit.
    """
    payload = committed_payload(edit, manifest, changes, f"{event.id}:{event.hash}")
    outbox.enqueue(connection, edit.model, SNAPSHOT_COMMITTED, payload)


def committed_payload(edit: Edit, manifest: Manifest, changes: Sequence[_Row], audit_head: str) -> dict[str, Any]:
    """What a publisher needs of a committed edit; audit_head: the number and hash of the event that records it."""
    return {
        "edit": {name: getattr(edit, name) for name in _PUBLISHED},
        "snapshot": {"id": manifest.id, "parent": manifest.parent, "content": manifest.content.to_json()},
        "changes": list(changes),
        "report": dict(edit.report),
        # The chain head goes out with the event: a table rewritten later no longer fits what MLflow shows.
        "audit_head": audit_head,
    }
