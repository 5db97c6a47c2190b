"""A model's whole history at one moment: snapshots, edits, operations, alias moves and annotations, in few queries.

The number of statements does not depend on the length of the history. No manifest is read: each names every blob of its
snapshot, and of a long history they are most of the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from raie.registry.db.queries import edit_of, head_id, operation_of, require_model
from raie.registry.db.tables import alias_moves, aliases, edits, expired_snapshots, operations, snapshots
from raie.registry.edits.notes import Annotations, annotations_of
from raie.registry.edits.undone import LandedEdit
from raie.registry.states import EditKind
from raie.registry.values import AliasMove, Edit, Expiry, Operation

__all__ = ["SnapshotRow", "WholeHistory", "whole_history"]


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot without its content.

    content_digest: two snapshots with the same one score the same. expired: since when its blobs may be gone, None while
    they are kept.
    """

    id: str
    parent: str | None
    edit: int
    content_digest: str
    created_at: float
    expired: Expiry | None


@dataclass(frozen=True)
class WholeHistory:
    """All that happened to one model.

    snapshots: oldest first, a parent before its children. edits: by number, those without a snapshot included.
    operations: number of the edit -> what it did to each region. aliases: name -> the snapshot that it points at.
    moves: oldest first. annotations: id of the snapshot -> what stands on it.
    """

    model: str
    head: str | None
    snapshots: tuple[SnapshotRow, ...]
    edits: Mapping[int, Edit]
    operations: Mapping[int, tuple[Operation, ...]]
    aliases: Mapping[str, str]
    moves: tuple[AliasMove, ...]
    annotations: Mapping[str, Annotations]

    def landed(self) -> tuple[LandedEdit, ...]:
        """The edits that made the head and its ancestors, oldest first."""
        by_id = {row.id: row for row in self.snapshots}
        chain, snapshot = list[LandedEdit](), self.head
        while snapshot is not None:
            row = by_id[snapshot]
            edit = self.edits[row.edit]
            undo = edit.parameters if edit.kind == EditKind.ROLLBACK else {}
            chain.append(LandedEdit(row.edit, row.id, tuple(undo.get("edits", ())), undo.get("to")))
            snapshot = row.parent
        return tuple(reversed(chain))


def whole_history(connection: Connection, model: str) -> WholeHistory:
    """Everything that the registry recorded of a model's snapshots.

    Args:
        connection: to the registry's database, in a transaction that sees one moment.
        model: its name.

    Returns:
        The history; without snapshots before the first setup.

    Raises:
        NotFound: for a model that is not there.
    """
    require_model(connection, model)
    return WholeHistory(
        model=model,
        head=head_id(connection, model),
        snapshots=_snapshots(connection, model),
        edits=_edits(connection, model),
        operations=_operations(connection, model),
        aliases=_aliases(connection, model),
        moves=_moves(connection, model),
        annotations=annotations_of(connection, model),
    )


def _snapshots(connection: Connection, model: str) -> tuple[SnapshotRow, ...]:
    s, x = snapshots.c, expired_snapshots.c
    columns = (s.id, s.parent, s.edit, s.content_digest, s.created_at, x.at, x.actor, x.reason, x.event)
    query = select(*columns).select_from(snapshots.outerjoin(expired_snapshots)).where(s.model == model)
    return tuple(
        SnapshotRow(*row[:5], expired=None if row.at is None else Expiry(*row[5:]))
        for row in connection.execute(query.order_by(s.created_at, s.edit))
    )


def _edits(connection: Connection, model: str) -> dict[int, Edit]:
    query = select(edits).where(edits.c.model == model).order_by(edits.c.number)
    return {row.number: edit_of(row) for row in connection.execute(query)}


def _operations(connection: Connection, model: str) -> dict[int, tuple[Operation, ...]]:
    query = select(operations).where(operations.c.model == model)
    by_edit: dict[int, list[Operation]] = {}
    for row in connection.execute(query.order_by(operations.c.edit, operations.c.position)):
        by_edit.setdefault(row.edit, []).append(operation_of(row))
    return {number: tuple(done) for number, done in by_edit.items()}


def _aliases(connection: Connection, model: str) -> dict[str, str]:
    query = select(aliases.c.name, aliases.c.snapshot).where(aliases.c.model == model).order_by(aliases.c.name)
    return {row.name: row.snapshot for row in connection.execute(query)}


def _moves(connection: Connection, model: str) -> tuple[AliasMove, ...]:
    query = select(alias_moves).where(alias_moves.c.model == model).order_by(alias_moves.c.id)
    return tuple(AliasMove(**row._mapping) for row in connection.execute(query))
