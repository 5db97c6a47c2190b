"""Rolling back: a new snapshot with older content. Nothing is deleted, and a rollback can be rolled back.

To a snapshot: exactly its content. Of one edit: the regions it changed go back, every later change of other
regions stays. That is exact because regions are isolated; where a later edit changed the same region it is a
conflict, or with cascade that edit is rolled back too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, literal, select

from raie.registry.author import Author
from raie.registry.db.engine import Database, chunked, reading
from raie.registry.db.queries import (
    edit_by_number,
    kept_snapshot,
    require_kept,
    resolve_id,
    snapshot_by_id,
    versions_of,
)
from raie.registry.db.tables import edits, operations, snapshots
from raie.registry.edits.commit import LANDING_ATTEMPTS, land_on_head
from raie.registry.edits.erased import barred_edits, require_not_erased
from raie.registry.edits.landing import NewEdit
from raie.registry.edits.merge import changed_regions, contested_regions, revert
from raie.registry.errors import CommitConflict, EditStateError, IncompatibleRegions, RollbackConflict
from raie.registry.failpoints import failpoint
from raie.registry.states import EditKind, RegionAction
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Content, Manifest, RegionChange, Snapshot

__all__ = ["RollbackPlan", "angle", "changes_between", "plan_edit", "plan_to", "rollback_edit", "rollback_to"]


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback would make of the head: another content, or none where the head has it already.

    content: what the head would have.  edits: those that it would undo, oldest first; none for a rollback to a snapshot.
    changes: of every region that differs.  versions: region -> the version that it would have; a retired one is absent.
    """

    head: Snapshot
    content: Content
    edits: tuple[int, ...]
    changes: tuple[RegionChange, ...]
    versions: Mapping[int, int]

    @property
    def snapshot(self) -> str:
        """The id of the snapshot that it would commit on this head; the head's where nothing differs."""
        if self.content == self.head.content:
            return self.head.id
        return Manifest(self.head.model, self.head.id, self.content).id


@dataclass(frozen=True)
class _Undone:
    """What the head should become; sources: the snapshots it takes that from."""

    content: Content
    parameters: Mapping[str, Any]
    sources: tuple[str, ...]


_Undo = Callable[[Connection, Snapshot], _Undone]


def rollback_to(
    database: Database, store: ArtifactStore, lease_owner: str, model: str, ref: str, author: Author
) -> Snapshot:
    """Commits a snapshot with exactly the content of an older one; the head where it has that content already.

    Raises NotFound, SnapshotExpired, and SnapshotErased for one that holds an erased user.
    """
    with reading(database) as connection:
        undo = _to(connection, model, ref)
    return _land(database, store, lease_owner, model, undo, author)


def plan_to(connection: Connection, model: str, ref: str) -> RollbackPlan:
    """What `rollback_to` would do; raises what it would."""
    return _plan(connection, model, _to(connection, model, ref))


def _to(connection: Connection, model: str, ref: str) -> _Undo:
    target = kept_snapshot(connection, resolve_id(connection, model, ref))

    def undo(connection: Connection, _head: Snapshot) -> _Undone:
        require_not_erased(connection, model, target.id)
        return _Undone(target.content, {"to": target.id}, (target.id,))

    return undo


def rollback_edit(
    database: Database,
    store: ArtifactStore,
    lease_owner: str,
    model: str,
    number: int,
    author: Author,
    cascade: bool,
) -> Snapshot:
    """Commits a snapshot without what one edit changed; the head where that is undone already.

    Raises RollbackConflict, naming the later edits, EditStateError for an edit with nothing to undo or one that an erased
    user was part of, and SnapshotExpired where what it started from expired.
    """

    return _land(database, store, lease_owner, model, _of_edit(model, number, cascade), author)


def plan_edit(connection: Connection, model: str, number: int, *, cascade: bool) -> RollbackPlan:
    """What `rollback_edit` would do; raises what it would."""
    return _plan(connection, model, _of_edit(model, number, cascade))


def _of_edit(model: str, number: int, cascade: bool) -> _Undo:
    def undo(connection: Connection, head: Snapshot) -> _Undone:
        barred = barred_edits(connection, model, head.id)
        _require_not_barred([number], barred)
        content, numbers = _without(connection, head, number, cascade)
        _require_not_barred(numbers, barred)
        before = tuple(_before(connection, model, undone) for undone in numbers)
        return _Undone(content, {"edits": numbers}, before)

    return undo


def _require_not_barred(numbers: Sequence[int], barred: Mapping[int, int]) -> None:
    """Raises EditStateError for an edit that an erased user was part of, or that erased one."""
    for number in numbers:
        if number in barred:
            raise EditStateError(
                f"Expected an edit that no erased user was part of, found that edit {barred[number]} erased a user "
                f"whom the undoing of edit {number} could bring back; correct it by a new edit instead"
            )


def _plan(connection: Connection, model: str, undo: _Undo) -> RollbackPlan:
    head = snapshot_by_id(connection, resolve_id(connection, model, "head"))
    undone = undo(connection, head)
    edits_undone = tuple(undone.parameters.get("edits", ()))
    if undone.content == head.content:
        return RollbackPlan(head, undone.content, edits_undone, (), {})
    require_kept(connection, undone.sources)
    changes = changes_between(connection, model, head.content, undone.content, RegionAction.REVERT)
    entries = {change.region: undone.content.regions.get(change.region) for change in changes}
    there = {region: entry for region, entry in entries.items() if entry is not None}
    versions = {region: row.version for region, row in versions_of(connection, model, there).items()}
    return RollbackPlan(head, undone.content, edits_undone, changes, versions)


def _land(
    database: Database, store: ArtifactStore, lease_owner: str, model: str, undo: _Undo, author: Author
) -> Snapshot:
    for _ in range(LANDING_ATTEMPTS):
        with reading(database) as connection:
            head = snapshot_by_id(connection, resolve_id(connection, model, "head"))
            undone = undo(connection, head)
            content = undone.content
            # Also what a retry finds whose first try landed although its answer was lost.
            if content == head.content:
                return head
            require_kept(connection, undone.sources)
            changes = changes_between(connection, model, head.content, content, RegionAction.REVERT)
        failpoint("rollback.planned")
        landing = NewEdit(
            kind=EditKind.ROLLBACK,
            author=author,
            parameters=undone.parameters,
            manifest=Manifest(model, head.id, content),
            changes=changes,
            proposal=content.digest,
            sources=undone.sources,
        )
        snapshot = land_on_head(database, store, lease_owner, landing)
        if snapshot is not None:
            return snapshot
    raise CommitConflict(f"Expected the rollback to land within {LANDING_ATTEMPTS} attempts; retry", None, None)


def _without(connection: Connection, head: Snapshot, number: int, cascade: bool) -> tuple[Content, list[int]]:
    """The head without an edit, with cascade also without the later edits in its way; the edits undone."""
    model, chosen = head.model, {number}
    landed = _landed_since(connection, head, number)
    while True:
        content, blockers = head.content, set[int]()
        for candidate in (edit for edit in landed if edit in chosen):
            base, result = _contents(connection, model, candidate)
            later = landed[: landed.index(candidate)]
            blockers = _blockers(connection, model, later, base, result, content)
            if blockers:
                break
            content = revert(base, result, content)
        if not blockers:
            return content, sorted(chosen)
        if not cascade or blockers <= chosen:
            raise RollbackConflict(
                f"Expected no later edit of what edit {number} of {model!r} changed, found {_numbers(blockers)}; "
                "roll that back first, use --cascade to undo it too, or --to SNAPSHOT",
                sorted(blockers),
            )
        chosen |= blockers


def _landed_since(connection: Connection, head: Snapshot, number: int) -> list[int]:
    """The edits that made the head's history from this one on, newest first, this one last.

    Raises NotFound, and EditStateError for an edit that has nothing to undo in the head's history.
    """
    edit = edit_by_number(connection, head.model, number)
    if edit.result is None:
        raise EditStateError(f"Expected a committed edit, found edit {number} of {head.model!r} {edit.state}")
    if snapshot_by_id(connection, edit.result).parent is None:
        raise EditStateError(f"Expected an edit with a base, found that edit {number} set {head.model!r} up")
    columns = (snapshots.c.id, snapshots.c.parent)
    newest = select(*columns, literal(0).label("depth")).where(snapshots.c.id == head.id)
    chain = newest.cte("chain", recursive=True)
    older = select(*columns, chain.c.depth + 1).join(chain, snapshots.c.id == chain.c.parent)
    chain = chain.union_all(older.where(chain.c.id != edit.result))
    mine = (edits.c.model == head.model, edits.c.kind != EditKind.CHERRY_PICK)
    query = select(edits.c.number).join(chain, edits.c.result == chain.c.id).where(*mine).order_by(chain.c.depth)
    landed = list(connection.execute(query).scalars())
    if number not in landed:
        raise EditStateError(
            f"Expected edit {number} in the history of the head of {head.model!r}, found that it only made a "
            "snapshot for an alias; promote another snapshot to that alias"
        )
    return landed


def _blockers(
    connection: Connection, model: str, later: list[int], base: Content, result: Content, head: Content
) -> set[int]:
    """The later edits without which the change from base to result could be undone."""
    try:
        revert(base, result, head)
    except IncompatibleRegions:
        contested = contested_regions(base, result, head)
        # Without a contested region it is the routing space that changed, which any of them may have done.
        return set(later) if not contested else _changers(connection, model, later, contested)
    return set()


def _changers(connection: Connection, model: str, later: list[int], regions: frozenset[int]) -> set[int]:
    table, named = operations.c, set[int]()
    for chunk in chunked(sorted(regions)):
        query = select(table.edit).distinct().where(table.model == model, table.region.in_(chunk))
        named |= set(connection.execute(query).scalars())
    return {edit for edit in named & set(later) if changed_regions(*_contents(connection, model, edit)) & regions}


def _contents(connection: Connection, model: str, number: int) -> tuple[Content, Content]:
    """The contents before and after an edit as it landed."""
    result = str(edit_by_number(connection, model, number).result)
    before = snapshot_by_id(connection, _before(connection, model, number))
    return before.content, snapshot_by_id(connection, result).content


def _before(connection: Connection, model: str, number: int) -> str:
    """The snapshot that an edit landed on: its base may be older."""
    mine = (edits.c.model == model, edits.c.number == number)
    query = select(snapshots.c.parent).join(edits, edits.c.result == snapshots.c.id).where(*mine)
    return str(connection.execute(query).scalar_one())


def changes_between(
    connection: Connection, model: str, older: Content, newer: Content, action: RegionAction
) -> tuple[RegionChange, ...]:
    """A RegionChange for every region that differs, with the geometry its version was committed with."""
    regions = sorted(changed_regions(older, newer))
    before, after = (
        versions_of(connection, model, {r: content.regions[r] for r in regions if r in content.regions})
        for content in (older, newer)
    )
    changes = []
    for region in regions:
        old, new = before.get(region), after.get(region)
        if new is None:
            changes.append(RegionChange(region, RegionAction.RETIRE))
        else:
            shift = angle(old.change.centre, new.change.centre) if old else 0.0
            changes.append(replace(new.change, action=action, windows=0, centre_shift=shift))
    return tuple(changes)


def angle(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The angle between two unit vectors in radians; 0 where either is not known."""
    if not a or len(a) != len(b):
        return 0.0
    return math.acos(max(-1.0, min(1.0, math.fsum(x * y for x, y in zip(a, b, strict=True)))))


def _numbers(numbers: set[int]) -> str:
    return "edit " + ", ".join(map(str, sorted(numbers)))
