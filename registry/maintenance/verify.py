"""verify reads everything back; gc removes what nothing can need.

gc may run beside writers at any time. It takes a blob only if no kept snapshot names it, no open edit recorded it, it
is no plan of theirs, and it was put before the grace period and before every open edit began. The blobs are marked
"deleting" in one transaction with the audit event, then removed while their rows are locked: a commit or an upload
that wants one either comes first and keeps it, or waits and puts it again. A gc that was killed is finished by the
next one.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, select, update

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.engine import chunked, reading, upsert, write
from raie.registry.db.queries import select_snapshots, snapshot_of
from raie.registry.db.tables import blobs, edit_checkpoints, edits, expired_snapshots, snapshot_blobs, snapshots
from raie.registry.errors import BlobCorrupt, InvalidValue, StoreUnsupported
from raie.registry.failpoints import failpoint
from raie.registry.maintenance import fsck as references
from raie.registry.maintenance import trust_rows
from raie.registry.maintenance.blob_check import blob_rows, read_back
from raie.registry.maintenance.checkpoints import published, retired
from raie.registry.maintenance.record_check import Chain
from raie.registry.ownership import standing as ownership
from raie.registry.ownership.identity import require_scope
from raie.registry.ownership.reachable import require_store
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry
from raie.registry.states import AuditAction, BlobState, EditState
from raie.registry.values import Digest

__all__ = ["GRACE_S", "Collected", "DamagedBlob", "GcReport", "VerifyReport", "gc", "verify"]

GRACE_S = 3 * 24 * 3600.0
"""How long a blob that nothing names is kept: longer than anybody works between an upload and its commit."""

_AT_ONCE = 20
"""Objects removed while their rows are locked: SQLite has one lock, and other writers wait for it."""

_ORPHAN = "the database does not know it"
_WHY = {
    BlobState.LIVE: "no kept snapshot names it",
    BlobState.UPLOADING: "its upload was interrupted",
    BlobState.DELETING: "an earlier gc was interrupted",
}
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
    """What verify read and what it found; references: dangling or contradictory rows, one line each.

    blobs, bytes: of those that were read back whole.  expired: how many of the snapshots need no blob any more.
    unreadable: blobs for which the store answered neither yes nor no.  published: how many ends of the chain the store
    keeps.
    """

    blobs: int
    bytes: int
    snapshots: int
    expired: int
    damaged: tuple[DamagedBlob, ...]
    unreadable: tuple[DamagedBlob, ...]
    chain: audit.ChainReport
    published: int
    references: tuple[str, ...]
    trust: trust_rows.TrustReport
    ownership: ownership.Report

    @property
    def wrong(self) -> bool:
        """Whether anything is certainly wrong."""
        problems = (self.chain.problems, self.references, self.trust.problems, self.ownership.problems)
        return bool(self.damaged) or any(problems)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and everything could be read."""
        return not (self.wrong or self.unreadable)


@dataclass(frozen=True)
class Collected:
    """A blob that no kept snapshot names; size in bytes; reason: why it is removed, or why it stays."""

    digest: str
    size: int
    reason: str


@dataclass(frozen=True)
class GcReport:
    """What gc removed, or in a dry run would remove.

    kept: what no kept snapshot names either, and why it stays for now.  incomplete_uploads: names of interrupted uploads.
    orphans: objects in the store that the database does not know; they are removed only on request, for a
    database that was restored may have forgotten what they were.  uploads_problem: why interrupted uploads could not
    be looked for, in one line.
    """

    dry_run: bool
    removed: tuple[Collected, ...]
    kept: tuple[Collected, ...]
    incomplete_uploads: tuple[str, ...]
    orphans: tuple[str, ...]
    uploads_problem: str | None = None

    @property
    def bytes(self) -> int:
        """The size of what was removed, in bytes."""
        return sum(blob.size for blob in self.removed)


def verify(
    registry: Registry,
    *,
    checkpoints: Iterable[audit.Checkpoint] = (),
    progress: OnProgress = ignore_progress,
) -> VerifyReport:
    """Reads every blob back, checks every reference and signature, and recomputes the audit chain.

    Args:
        registry: that is checked.
        checkpoints: earlier chain heads that the chain must hold, beside those in the store.
        progress: called as blobs are read back.

    Returns:
        What was read and what is wrong; `ok` where nothing is.

    Raises:
        StoreUnreachable: where the store answers for no blob at all.
        DatabaseUnreachable: where the database does not answer.
    """
    # Before the chain: an end that is published while the chain is read would seem to be cut off.
    kept, owned = published(registry), ownership.check(registry, retired(registry))
    with reading(registry.engine) as connection:
        recorded = Chain()
        chain = audit.verify_chain(connection, [*kept, *checkpoints], recorded.take)
        checked, trust = references.check(connection), trust_rows.check(connection, recorded)
        rows = blob_rows(connection)
    failpoint("verify.viewed")
    live = {digest for digest, row in rows.items() if row.state == BlobState.LIVE}
    read = read_back(registry, {digest: rows.get(digest) for digest in checked.named | live}, progress)
    not_live = sorted(checked.named - live)
    problems = (*checked.problems, *(f"blob {digest} is named by a snapshot but not live" for digest in not_live))
    affected = _affected(registry, [*read.damaged, *read.unreadable])

    def named(bad: Mapping[str, str]) -> tuple[DamagedBlob, ...]:
        return tuple(DamagedBlob(digest, problem, affected[digest]) for digest, problem in bad.items())

    return VerifyReport(
        blobs=read.blobs,
        bytes=read.bytes,
        snapshots=checked.snapshots,
        expired=checked.expired,
        damaged=named(read.damaged),
        unreadable=named(read.unreadable),
        chain=chain,
        published=len(kept),
        references=problems,
        trust=trust,
        ownership=owned,
    )


def _affected(registry: Registry, digests: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each digest the ids of the kept snapshots whose content, or manifest, it is part of."""
    affected: dict[str, list[str]] = {digest: [] for digest in digests}
    if not affected:
        return {}
    with reading(registry.engine) as connection:
        query = select_snapshots().where(expired_snapshots.c.snapshot.is_(None))
        for row in connection.execute(query.order_by(snapshots.c.created_at)):
            for digest in affected.keys() & (_blobs_of(row) | {row.id}):
                affected[digest].append(row.id)
    return {digest: tuple(ids) for digest, ids in affected.items()}


def _blobs_of(row: Row[Any]) -> frozenset[Digest]:
    """The blobs of a snapshot's content; none where its manifest is damaged, which is a problem of its own."""
    try:
        return snapshot_of(row).content.blobs()
    except (BlobCorrupt, InvalidValue):
        return frozenset()


def gc(
    registry: Registry,
    *,
    author: Author,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    orphans: bool = False,
    progress: OnProgress = ignore_progress,
) -> GcReport:
    """Removes blobs that nothing needs and what interrupted uploads left.

    Args:
        registry: whose store is collected.
        author: who does it, and why.
        grace_s: seconds for which a blob is kept after it was put.
        dry_run: only report.
        orphans: also remove old objects that the database does not know.
        progress: called as blobs are deleted.

    Returns:
        What was removed, and what is kept and why.

    Raises:
        NotOwner: where the store is not this database's alone.
        InvalidValue: for a grace period below 0.
        StoreUnreachable: where the store does not answer; the next gc finishes what was begun.
        DatabaseUnreachable: where the database does not answer.
    """
    if not grace_s >= 0:
        raise InvalidValue(f"Expected a grace period of 0 or more seconds, found {grace_s}")
    require_store(registry.engine, registry.store)
    ownership.require_collectable(registry, dry_run=dry_run)
    before = time.time() - grace_s
    with reading(registry.engine) as connection:
        unneeded, kept = _unneeded(connection, before)
    failpoint("gc.listed")
    unknown = _orphans(registry, before)
    incomplete_uploads, problem = _incomplete_uploads(registry, before, dry_run=True)
    # In one order, as uploads take the rows' locks: each could otherwise wait for the other.
    doomed = sorted([*unneeded, *(unknown if orphans else [])], key=lambda blob: blob.digest)
    if not dry_run:
        # The event comes first, with the marks: what is removed was recorded, even by a gc that is killed on its way.
        mark = partial(
            _mark, candidates=doomed, before=before, incomplete_uploads=len(incomplete_uploads), author=author
        )
        marked = write(registry.engine, mark)
        failpoint("gc.mark_committed")
        doomed = _removed(registry, marked, progress)
        incomplete_uploads, problem = _incomplete_uploads(registry, before, dry_run=False)
        failpoint("gc.leftovers_discarded")
    names = tuple(blob.digest for blob in unknown)
    return GcReport(dry_run, tuple(doomed), tuple(kept), tuple(incomplete_uploads), names, problem)


def _incomplete_uploads(registry: Registry, before: float, *, dry_run: bool) -> tuple[list[str], str | None]:
    """What interrupted uploads left, and why that is not known: a store that cannot tell is collected all the same."""
    try:
        return registry.store.discard_incomplete_uploads(before, dry_run=dry_run), None
    except StoreUnsupported as error:
        return [], str(error)


def _unneeded(
    connection: Connection, before: float, among: list[str] | None = None
) -> tuple[list[Collected], list[Collected]]:
    """The blobs that no kept snapshot names, by digest: those to remove, and those that stay for now."""
    named = exists().where(snapshot_blobs.c.digest == _b.digest)
    query = select(blobs).where(~named, ~_planned()).order_by(_b.digest)
    query = query if among is None else query.where(_b.digest.in_(among))
    oldest, recorded = _open_edits(connection)
    removed, kept = [], []
    for row in connection.execute(query):
        why = _why_kept(row, before, oldest, recorded)
        if why is None:
            removed.append(Collected(row.digest, row.size, _WHY[row.state]))
        else:
            kept.append(Collected(row.digest, row.size, why))
    return removed, kept


def _planned() -> ColumnElement[bool]:
    """Whether a blob is the plan of an edit that is open or whose snapshot is kept: the history can be measured again."""
    result = edits.outerjoin(expired_snapshots, expired_snapshots.c.snapshot == edits.c.result)
    alive = (edits.c.state != EditState.ABORTED, expired_snapshots.c.snapshot.is_(None))
    return exists().select_from(result).where(edits.c.plan_digest == _b.digest, *alive)


def _open_edits(connection: Connection) -> tuple[float, set[str]]:
    """When the oldest open edit began, and every digest that such edits recorded."""
    running = edits.c.state == EditState.RUNNING
    oldest = connection.execute(select(func.min(edits.c.created_at)).where(running)).scalar()
    values = select(edit_checkpoints.c.value).select_from(edit_checkpoints.join(edits)).where(running)
    texts = connection.execute(values).scalars()
    return math.inf if oldest is None else oldest, {digest for text in texts for digest in _DIGEST.findall(text)}


def _why_kept(row: Row[Any], before: float, oldest: float, recorded: set[str]) -> str | None:
    if row.digest in recorded:
        return "an open edit recorded it"
    # Whoever marked it looked at its age; an upload that wants it since has taken the mark away.
    if row.state == BlobState.DELETING:
        return None
    if row.put_at >= before:
        return "younger than the grace period"
    return "put while an open edit ran" if row.put_at >= oldest else None


def _orphans(registry: Registry, before: float) -> list[Collected]:
    """The objects last written before a time whose digest the database does not know."""
    listed = {blob.digest: blob.size for blob in registry.store.iterate() if blob.modified_at < before}
    with reading(registry.engine) as connection:
        known = set(connection.execute(select(_b.digest)).scalars())
    return [Collected(digest, listed[digest], _ORPHAN) for digest in sorted(listed.keys() - known)]


def _mark(
    connection: Connection, candidates: list[Collected], before: float, incomplete_uploads: int, author: Author
) -> list[Collected]:
    """Turns the rows to "deleting", looking again now that no commit can get at them, and records it in the log.

    Objects without a row get one, so that an upload of the same bytes meets it.
    """
    orphans = [blob for blob in candidates if blob.reason == _ORPHAN]
    rows = [
        {"digest": blob.digest, "size": blob.size, "state": BlobState.DELETING, "put_at": 0.0} for blob in orphans
    ]
    if rows:
        connection.execute(upsert(connection, blobs).on_conflict_do_nothing(), rows)
    chosen: set[str] = set()
    for chunk in chunked([blob.digest for blob in candidates]):
        mine = _b.digest.in_(chunk)
        connection.execute(select(_b.digest).where(mine).order_by(_b.digest).with_for_update()).all()
        failpoint("gc.locked")
        still = [blob.digest for blob in _unneeded(connection, before, chunk)[0]]
        connection.execute(update(blobs).where(_b.digest.in_(still)).values(state=BlobState.DELETING))
        failpoint("gc.marked")
        chosen.update(still)
    marked = [blob for blob in candidates if blob.digest in chosen]
    if marked or incomplete_uploads:
        size = sum(blob.size for blob in marked)
        subject = f"{len(marked)} blobs, {size} bytes, {incomplete_uploads} incomplete uploads"
        audit.append(connection, author=author, action=AuditAction.GC, subject=subject)
        failpoint("gc.audited")
    return marked


def _removed(registry: Registry, marked: list[Collected], progress: OnProgress) -> list[Collected]:
    removed: list[Collected] = []
    for number, batch in enumerate(chunked(marked, _AT_ONCE)):
        progress("deleting blobs", number * _AT_ONCE, len(marked))
        removed += _remove(registry, batch)
    return removed


def _remove(registry: Registry, batch: list[Collected]) -> list[Collected]:
    """Removes objects and rows, holding the rows' locks: an upload that wants one of them waits, then begins anew."""

    def step(connection: Connection) -> list[Collected]:
        mine = (_b.digest.in_([blob.digest for blob in batch]), _b.state == BlobState.DELETING)
        query = select(_b.digest).where(*mine).order_by(_b.digest).with_for_update()
        locked = set(connection.execute(query).scalars())
        require_scope(connection, registry.store)
        chosen = [blob for blob in batch if blob.digest in locked]
        failpoint("gc.removing")
        for blob in chosen:
            # One row at a time: a connection that broke has lost the locks, which ends this before the next object.
            connection.execute(delete(blobs).where(_b.digest == blob.digest))
            registry.store.delete(Digest(blob.digest))
            failpoint("gc.object_removed")
        failpoint("gc.rows_removed")
        return chosen

    # Whoever took the store over meanwhile may need what this one does not.
    ownership.require_writable(registry, fresh=True, room_needed=False)
    removed = write(registry.engine, step)
    failpoint("gc.removed")
    return removed
