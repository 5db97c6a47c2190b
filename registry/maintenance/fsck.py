"""Whether the rows of the database agree with each other: snapshots, what keeps their blobs, and what points at them.

Every problem is one line. Nothing here reads a blob.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from raie.registry.db.queries import select_snapshots, snapshot_of, versions_of
from raie.registry.db.tables import (
    alias_moves,
    aliases,
    audit_events,
    edits,
    expired_snapshots,
    heads,
    snapshot_blobs,
    snapshots,
)
from raie.registry.errors import BlobCorrupt, InvalidValue
from raie.registry.states import AuditAction, EditState
from raie.registry.values import Digest, Snapshot

__all__ = ["References", "check"]

_REMEMBERED = 16
"""Contents at hand while the snapshots are walked: most follow one of the last few."""


@dataclass(frozen=True)
class References:
    """What a walk over the rows found: how many snapshots, expired ones included, and what the kept ones name."""

    snapshots: int
    expired: int
    named: frozenset[Digest]
    problems: tuple[str, ...]


def check(connection: Connection) -> References:
    """Walks every snapshot, head, alias and edit."""
    count, named, problems = 0, set[Digest](), list[str]()
    gone = set(connection.execute(select(expired_snapshots.c.snapshot)).scalars())
    recent: dict[str, frozenset[Digest]] = {}
    query = select_snapshots().order_by(snapshots.c.created_at)
    for row in connection.execute(query, execution_options={"yield_per": 100}):
        count += 1
        try:
            snapshot = snapshot_of(row)
        except (BlobCorrupt, InvalidValue) as error:
            problems.append(f"snapshot {row.id}: {error}")
            continue
        if snapshot.content.digest != row.content_digest:
            problems.append(f"snapshot {row.id}: its content's digest is recorded as {row.content_digest}")
        problems += _versions(connection, snapshot)
        if snapshot.expired is None:
            blobs = snapshot.content.blobs() | {Digest(snapshot.id)}
            named |= blobs
            inherited = (
                frozenset[Digest]() if snapshot.parent in gone else _blobs_of(connection, snapshot.parent, recent)
            )
            # A damaged parent is a problem of its own, and nobody knows what its children need beside it.
            if inherited is not None:
                problems += _unkept(connection, snapshot.id, blobs - inherited)
            recent[snapshot.id] = blobs
            while len(recent) > _REMEMBERED:
                del recent[next(iter(recent))]
    problems += [*_expiries(connection), *_pointers(connection, gone)]
    return References(count, len(gone), frozenset(named), tuple(problems))


def _versions(connection: Connection, snapshot: Snapshot) -> Iterator[str]:
    regions = snapshot.content.regions
    unknown = regions.keys() - versions_of(connection, snapshot.model, regions).keys()
    if unknown:
        yield f"snapshot {snapshot.id}: regions {sorted(unknown)} have no version"


def _blobs_of(
    connection: Connection, parent: str | None, recent: Mapping[str, frozenset[Digest]]
) -> frozenset[Digest] | None:
    """What a kept parent keeps for its children; None where it is damaged."""
    if parent is None or parent in recent:
        return recent.get(parent or "", frozenset())
    row = connection.execute(select_snapshots().where(snapshots.c.id == parent)).first()
    try:
        return frozenset() if row is None else snapshot_of(row).content.blobs()
    except (BlobCorrupt, InvalidValue):
        return None


def _unkept(connection: Connection, snapshot: str, needed: frozenset[Digest]) -> Iterator[str]:
    """Blobs that neither the snapshot nor its kept parent keeps: a gc could take them."""
    mine = select(snapshot_blobs.c.digest).where(snapshot_blobs.c.snapshot == snapshot)
    for digest in sorted(needed - set(connection.execute(mine).scalars())):
        yield f"blob {digest} of snapshot {snapshot}: no row keeps it from gc"


def _expiries(connection: Connection) -> Iterator[str]:
    """Checks that the log records every expiry, and that what expired keeps nothing."""
    x, e = expired_snapshots.c, audit_events.c
    recorded = select(x.snapshot, e.subject, e.action).outerjoin(audit_events, e.id == x.event)
    for row in connection.execute(recorded.order_by(x.snapshot)):
        if (row.action, row.subject) != (AuditAction.EXPIRE, f"snapshot:{row.snapshot}"):
            yield f"snapshot {row.snapshot}: it is marked as expired, and no audit event records it"
    keeping = select(x.snapshot).join(snapshot_blobs, snapshot_blobs.c.snapshot == x.snapshot).distinct()
    for snapshot in connection.execute(keeping).scalars():
        yield f"snapshot {snapshot}: it expired, and there are rows that keep its blobs"


def _pointers(connection: Connection, gone: set[str]) -> Iterator[str]:
    """Checks that heads, aliases and edits point where the log says, and at nothing that expired."""
    owner = {row.id: row.model for row in connection.execute(select(snapshots.c.id, snapshots.c.model))}
    for row in connection.execute(select(heads)):
        if owner.get(row.snapshot) != row.model:
            yield f"the head of {row.model!r} is {row.snapshot}, which is no snapshot of it"
        if row.snapshot in gone:
            yield f"the head of {row.model!r} is {row.snapshot}, which expired"
    newest = select(func.max(alias_moves.c.id)).group_by(alias_moves.c.model, alias_moves.c.alias)
    moves = connection.execute(select(alias_moves).where(alias_moves.c.id.in_(newest)))
    logged = {(row.model, row.alias): row.target for row in moves}
    pointers = {(row.model, row.name): row.snapshot for row in connection.execute(select(aliases))}
    for key in sorted(logged.keys() | pointers.keys()):
        if logged.get(key) != pointers.get(key):
            yield f"alias {key[1]!r} of {key[0]!r} is at {pointers.get(key)}, its log says {logged.get(key)}"
        if pointers.get(key) in gone:
            yield f"alias {key[1]!r} of {key[0]!r} is at {pointers.get(key)}, which expired"
    for edit in connection.execute(select(edits).where(edits.c.state != EditState.ABORTED)):
        if edit.state == EditState.COMMITTED and owner.get(edit.result) != edit.model:
            yield f"edit {edit.number} of {edit.model!r} made {edit.result}, which is no snapshot of it"
        if edit.state == EditState.RUNNING and edit.base in gone:
            yield f"edit {edit.number} of {edit.model!r} is open and its base {edit.base} expired"
