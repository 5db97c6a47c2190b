"""verify reads everything back; gc removes what nothing can need.

gc may run beside writers at any time. It takes a blob only if no snapshot names it, no running edit recorded it, and
it was put before the grace period and before every running edit began. Each blob is marked "deleting", then removed
while its row is locked: a commit or an upload that wants it either comes first and keeps it, or waits and puts it
again. A gc that was killed is finished by the next one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, select, update

from registry import audit
from registry.database import chunked, reading, upsert, write
from registry.edits import check_author
from registry.errors import BlobCorrupt, BlobMissing, InvalidValue
from registry.fault_points import reach
from registry.lookup import snapshot_of, versions_of
from registry.models import alias_moves, aliases, blobs, edit_parts, edits, heads, snapshot_blobs, snapshots
from registry.transaction import Registry
from registry.values import Digest

__all__ = ["GRACE_S", "Collected", "DamagedBlob", "GcReport", "VerifyReport", "gc", "verify"]

GRACE_S = 3 * 24 * 3600.0
"""How long a blob that nothing names is kept: longer than anybody works between an upload and its commit."""

_BATCH = 100
_DIGEST = re.compile(r"[0-9a-f]{64}")
_b = blobs.c


@dataclass(frozen=True)
class DamagedBlob:
    """A blob that cannot be read back; problem: one line; snapshots: the ids of those that need it, oldest first."""

    digest: str
    problem: str
    snapshots: tuple[str, ...]


@dataclass(frozen=True)
class VerifyReport:
    """What verify read and what it found; references: dangling or contradictory rows, one line each."""

    blobs: int
    bytes: int
    snapshots: int
    damaged: tuple[DamagedBlob, ...]
    chain: audit.ChainReport
    references: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.damaged or self.chain.problems or self.references)


@dataclass(frozen=True)
class Collected:
    """A blob that was, or in a dry run would be, removed; size in bytes; reason: why nothing needs it."""

    digest: str
    size: int
    reason: str


@dataclass(frozen=True)
class GcReport:
    """What gc removed, or in a dry run would remove.

    leftovers: names of interrupted uploads.  strays: objects in the store that the database does not know; they are
    removed only on request, for they may belong to another database.
    """

    dry_run: bool
    removed: tuple[Collected, ...]
    leftovers: tuple[str, ...]
    strays: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The size of what was removed, in bytes."""
        return sum(blob.size for blob in self.removed)


@dataclass
class _Walk:
    """What one pass over the snapshots found."""

    contents: int = 0
    problems: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)


def verify(registry: Registry, *, anchor: str | None = None) -> VerifyReport:
    """Reads every blob back, checks every reference and recomputes the audit chain.

    anchor: an earlier end of the chain, kept outside the database. Raises StoreUnreachable and DatabaseUnreachable.
    """
    with reading(registry.engine) as connection:
        chain = audit.verify_chain(connection, anchor)
        walk = _walk(connection)
        problems = walk.problems + _pointers(connection)
        states = {row.digest: row.state for row in connection.execute(select(_b.digest, _b.state))}
    wanted = sorted(walk.named | {digest for digest, state in states.items() if state == "live"})
    size, bad = 0, dict[str, str]()
    for digest in wanted:
        try:
            size += len(registry.store.get(Digest(digest)))
        except (BlobMissing, BlobCorrupt) as error:
            bad[digest] = str(error)
    problems += [
        f"blob {d} is named by a snapshot but not live" for d in sorted(walk.named) if states.get(d) != "live"
    ]
    affected = _affected(registry, bad)
    damaged = tuple(DamagedBlob(digest, problem, affected[digest]) for digest, problem in bad.items())
    return VerifyReport(len(wanted), size, walk.contents, damaged, chain, tuple(problems))


def _walk(connection: Connection) -> _Walk:
    """Checks each snapshot's row against its manifest, its blobs' rows and its regions' versions."""
    walk = _Walk()
    query = select(snapshots).order_by(snapshots.c.created_at)
    for row in connection.execute(query, execution_options={"yield_per": 100}):
        walk.contents += 1
        try:
            snapshot = snapshot_of(row)
        except (BlobCorrupt, InvalidValue) as error:
            walk.problems.append(f"snapshot {row.id}: {error}")
            continue
        walk.named |= snapshot.content.blobs() | {row.id}
        if snapshot.content.digest != row.content_digest:
            walk.problems.append(f"snapshot {row.id}: its content's digest is recorded as {row.content_digest}")
        unknown = (
            snapshot.content.regions.keys() - versions_of(connection, row.model, snapshot.content.regions).keys()
        )
        if unknown:
            walk.problems.append(f"snapshot {row.id}: regions {sorted(unknown)} have no version")
    known = set(connection.execute(select(snapshot_blobs.c.digest).distinct()).scalars())
    walk.problems += [f"blob {digest}: no row keeps it from gc" for digest in sorted(walk.named - known)]
    return walk


def _pointers(connection: Connection) -> list[str]:
    """Checks that heads, aliases and edits point where the log says."""
    problems = []
    owner = {row.id: row.model for row in connection.execute(select(snapshots.c.id, snapshots.c.model))}
    for row in connection.execute(select(heads)):
        if owner.get(row.snapshot) != row.model:
            problems.append(f"the head of {row.model!r} is {row.snapshot}, which is no snapshot of it")
    newest = select(func.max(alias_moves.c.id)).group_by(alias_moves.c.model, alias_moves.c.alias)
    moves = connection.execute(select(alias_moves).where(alias_moves.c.id.in_(newest)))
    logged = {(row.model, row.alias): row.target for row in moves}
    found = {(row.model, row.name): row.snapshot for row in connection.execute(select(aliases))}
    for key in sorted(logged.keys() | found.keys()):
        if logged.get(key) != found.get(key):
            problems.append(
                f"alias {key[1]!r} of {key[0]!r} is at {found.get(key)}, its log says {logged.get(key)}"
            )
    for edit in connection.execute(select(edits).where(edits.c.state == "committed")):
        if owner.get(edit.result) != edit.model:
            problems.append(f"edit {edit.number} of {edit.model!r} made {edit.result}, which is no snapshot of it")
    return problems


def _affected(registry: Registry, digests: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each digest the ids of the snapshots whose content, or manifest, it is part of."""
    found: dict[str, list[str]] = {digest: [] for digest in digests}
    if not found:
        return {}
    with reading(registry.engine) as connection:
        for row in connection.execute(select(snapshots).order_by(snapshots.c.created_at)):
            for digest in found.keys() & (_blobs_of(row) | {row.id}):
                found[digest].append(row.id)
    return {digest: tuple(ids) for digest, ids in found.items()}


def _blobs_of(row: Row[Any]) -> frozenset[Digest]:
    """The blobs of a snapshot's content; none where its manifest is damaged, which is a problem of its own."""
    try:
        return snapshot_of(row).content.blobs()
    except (BlobCorrupt, InvalidValue):
        return frozenset()


def gc(
    registry: Registry,
    *,
    actor: str,
    reason: str = "",
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    strays: bool = False,
) -> GcReport:
    """Removes blobs that nothing needs and what interrupted uploads left; a dry run only tells.

    grace_s: seconds for which a blob is kept after it was put.  strays: also remove old objects that the database
    does not know; only for a store that no other database uses.
    Raises InvalidValue, StoreUnreachable and DatabaseUnreachable; what was begun then is finished by the next gc.
    """
    check_author(actor, reason)
    if not grace_s >= 0:
        raise InvalidValue(f"Expected a grace period of 0 or more seconds, found {grace_s}")
    before = time.time() - grace_s
    with reading(registry.engine) as connection:
        found = _garbage(connection, before)
    reach("gc.listed")
    unknown = _strays(registry, before)
    removed = []
    for batch in chunked(found, _BATCH):
        removed += batch if dry_run else _collect(registry, batch, before)
    for strange in chunked(unknown, _BATCH):
        if strays and not dry_run:
            _adopt(registry, strange)
            removed += _remove(registry, strange)
    leftovers = registry.store.discard_leftovers(before, dry_run)
    reach("gc.leftovers_discarded")
    report = GcReport(dry_run, tuple(removed), tuple(leftovers), tuple(blob.digest for blob in unknown))
    if not dry_run and (removed or leftovers):
        write(registry.engine, lambda connection: _tell(connection, report, actor, reason))
    return report


def _garbage(connection: Connection, before: float, among: list[str] | None = None) -> list[Collected]:
    """The blobs put before a time that no snapshot names and no running edit may need, by digest."""
    before, kept = _protected(connection, before)
    unnamed = ~exists().where(snapshot_blobs.c.digest == _b.digest)
    query = select(_b.digest, _b.size, _b.state).where(_b.put_at < before, unnamed).order_by(_b.digest)
    query = query if among is None else query.where(_b.digest.in_(among))
    reasons = {
        "live": "no snapshot names it",
        "uploading": "its upload was interrupted",
        "deleting": "an earlier gc was interrupted",
    }
    rows = connection.execute(query)
    return [Collected(row.digest, row.size, reasons[row.state]) for row in rows if row.digest not in kept]


def _protected(connection: Connection, before: float) -> tuple[float, set[str]]:
    """The time before which a blob is old for every running edit too, and what those edits recorded."""
    running = edits.c.state == "running"
    oldest = connection.execute(select(func.min(edits.c.created_at)).where(running)).scalar()
    join = edit_parts.join(edits)
    texts = list(connection.execute(select(edit_parts.c.value).select_from(join).where(running)).scalars())
    texts += connection.execute(
        select(edits.c.plan_digest).where(running, edits.c.plan_digest.is_not(None))
    ).scalars()
    return min(before, oldest or before), {digest for text in texts for digest in _DIGEST.findall(text)}


def _strays(registry: Registry, before: float) -> list[Collected]:
    """The objects last written before a time whose digest the database does not know."""
    listed = {blob.digest: blob.size for blob in registry.store.iterate() if blob.modified_at < before}
    with reading(registry.engine) as connection:
        known = set(connection.execute(select(_b.digest)).scalars())
    reason = "the database does not know it"
    return [Collected(digest, listed[digest], reason) for digest in sorted(listed.keys() - known)]


def _collect(registry: Registry, batch: list[Collected], before: float) -> list[Collected]:
    marked = write(registry.engine, lambda connection: _mark(connection, batch, before))
    reach("gc.mark_committed")
    return _remove(registry, marked)


def _mark(connection: Connection, batch: list[Collected], before: float) -> list[Collected]:
    """Turns the rows to "deleting", looking again now that no commit can get at them: some may be needed by now."""
    digests = [blob.digest for blob in batch]
    connection.execute(select(_b.digest).where(_b.digest.in_(digests)).order_by(_b.digest).with_for_update()).all()
    reach("gc.locked")
    still = {blob.digest for blob in _garbage(connection, before, digests)}
    chosen = [blob for blob in batch if blob.digest in still]
    mine = _b.digest.in_([blob.digest for blob in chosen])
    connection.execute(update(blobs).where(mine).values(state="deleting"))
    reach("gc.marked")
    return chosen


def _adopt(registry: Registry, batch: list[Collected]) -> None:
    """Gives unknown objects a row that says "deleting", so that an upload of the same bytes meets it."""

    def step(connection: Connection) -> None:
        rows = [{"digest": blob.digest, "size": blob.size, "state": "deleting", "put_at": 0.0} for blob in batch]
        connection.execute(upsert(connection, blobs).on_conflict_do_nothing(), rows)

    write(registry.engine, step)


def _remove(registry: Registry, batch: list[Collected]) -> list[Collected]:
    """Removes objects and rows, holding the rows' locks: an upload that wants one of them waits, then begins anew."""

    def step(connection: Connection) -> list[Collected]:
        mine = (_b.digest.in_([blob.digest for blob in batch]), _b.state == "deleting")
        query = select(_b.digest).where(*mine).order_by(_b.digest).with_for_update()
        locked = set(connection.execute(query).scalars())
        chosen = [blob for blob in batch if blob.digest in locked]
        reach("gc.removing")
        for blob in chosen:
            registry.store.delete(Digest(blob.digest))
            reach("gc.object_removed")
        connection.execute(delete(blobs).where(_b.digest.in_(sorted(locked))))
        reach("gc.rows_removed")
        return chosen

    removed = write(registry.engine, step)
    reach("gc.removed")
    return removed


def _tell(connection: Connection, report: GcReport, actor: str, reason: str) -> None:
    subject = f"{len(report.removed)} blobs, {report.bytes} bytes, {len(report.leftovers)} leftovers"
    audit.append(connection, actor=actor, action="gc", subject=subject, reason=reason)
    reach("gc.audited")
