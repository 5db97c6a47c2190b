"""Blobs as the database knows them: a row for each object, and uploads that a running gc cannot harm.

The row is written before the object, as "uploading", and is "live" once the object was read back: a commit accepts
only live blobs. gc turns a row to "deleting" before it removes the object, and removes it while it holds the row's
lock. An upload that meets such a row takes it back, or waits for the lock and begins anew. A manifest is staged: the
transaction that lands its snapshot makes its row live.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count

from sqlalchemy import Connection, case, select, update

from raie.registry.db.engine import Database, chunked, upsert, write
from raie.registry.db.tables import blobs, snapshot_blobs
from raie.registry.errors import BlobMissing
from raie.registry.failpoints import failpoint
from raie.registry.ownership.identity import require_scope
from raie.registry.ownership.reachable import require_store
from raie.registry.states import BlobState
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Digest, digest_of

__all__ = ["accept", "adopt_all", "keep_blobs", "put", "put_all", "require_live", "stage"]

_ATTEMPTS = 5
_b = blobs.c


def put(database: Database, store: ArtifactStore, data: bytes) -> Digest:
    """Stores bytes durably, reads them back, and records them as live; a damaged object is healed.

    Raises StoreFull, StoreUnreachable, DatabaseUnreachable, and BlobCorrupt where the store does not keep bytes.
    """
    return put_all(database, store, [data])[0]


def put_all(database: Database, store: ArtifactStore, data: Sequence[bytes]) -> list[Digest]:
    """The same for many blobs at once, with two transactions for all of them; the digests in the same order."""
    return _put_all(database, store, data, record=partial(_recorded, database, store))


def stage(database: Database, store: ArtifactStore, data: bytes) -> Digest:
    """Stores bytes as `put` does, and leaves it to the transaction that keeps them to record them: see `accept`.

    That saves a synced transaction, and is as safe: while the row says "uploading", a gc without a period of grace may
    take the object, and then `accept` finds no such row. Raises what `put` raises.
    """
    return _put_all(database, store, [data], record=lambda there: set(there))[0]


def adopt_all(database: Database, store: ArtifactStore, sizes: Mapping[Digest, int]) -> dict[Digest, bytes]:
    """Reads blobs that another process has stored, and records them as live; their bytes by digest.

    sizes: in bytes. Raises BlobMissing where one is not there, or a gc without a period of grace took it; it is not live
    then.
    """
    require_store(database, store)
    digests = sorted(sizes)
    write(database, partial(_claim, sizes=[(digest, sizes[digest]) for digest in digests]))
    data = {digest: store.get(digest) for digest in digests}  # after the claim, which no gc passes over
    live = _recorded(database, store, digests)
    for digest in digests:
        if digest not in live:
            raise BlobMissing(
                f"Expected blob {digest} to stay in the store, found that a gc took it; store it again", digest
            )
    return data


def accept(connection: Connection, digest: Digest) -> None:
    """Records a staged blob as live, in the transaction that keeps it; a gc that took it in between stays right."""
    _mark_live(connection, [digest])


def require_live(connection: Connection, digests: Iterable[Digest]) -> None:
    """Locks the rows of blobs against gc until the transaction ends; raises BlobMissing unless all are live."""
    wanted = sorted(digests)
    for chunk in chunked(wanted):
        query = select(_b.digest).where(_b.digest.in_(chunk), _b.state == BlobState.LIVE).order_by(_b.digest)
        live = set(connection.execute(query.with_for_update(read=True)).scalars())
        for digest in chunk:
            if digest not in live:
                raise BlobMissing(f"Expected blob {digest} to be live, found it is not; put it again", digest)


def keep_blobs(connection: Connection, snapshot: str, digests: Iterable[Digest]) -> None:
    """Keeps blobs from gc for as long as the snapshot is kept; raises BlobMissing unless all are live."""
    wanted = sorted(digests)
    require_live(connection, wanted)
    row = upsert(connection, snapshot_blobs).on_conflict_do_nothing()
    connection.execute(row, [{"snapshot": snapshot, "digest": digest} for digest in wanted])


def _put_all(
    database: Database, store: ArtifactStore, data: Sequence[bytes], record: Callable[[list[Digest]], set[Digest]]
) -> list[Digest]:
    """The digests of bytes that are stored and read back; record: makes their rows live, and says of which it did."""
    require_store(database, store)
    digests = [digest_of(blob) for blob in data]
    pending, attempts = dict(zip(digests, data, strict=True)), count(1)
    while pending:
        # One order for everybody: two uploads of the same blobs could otherwise wait for each other.
        sizes = [(digest, len(pending[digest])) for digest in sorted(pending)]
        live = write(database, partial(_claim, sizes=sizes))
        failpoint("upload.claimed")
        damaged = store.check_all(live) if live else {}
        for digest in live:
            if digest not in damaged:
                del pending[digest]
        if not pending:
            break
        last = next(attempts) == _ATTEMPTS
        there = _store(store, pending, last=last)
        failpoint("upload.verified")
        done = record(there)
        pending = {digest: blob for digest, blob in pending.items() if digest not in done}
    return digests


def _recorded(database: Database, store: ArtifactStore, there: list[Digest]) -> set[Digest]:
    def step(connection: Connection) -> set[Digest]:
        live = _mark_live(connection, there)
        # After the rows' locks: whoever moves the registry holds back every upload that is not recorded by then.
        require_scope(connection, store)
        return live

    done = write(database, step)
    failpoint("upload.live")
    return done


def _claim(connection: Connection, sizes: Sequence[tuple[Digest, int]]) -> list[Digest]:
    """Makes the rows young and not "deleting", waiting for a gc that is just removing one; returns the live ones."""
    now = time.time()
    state = case((_b.state == BlobState.LIVE, BlobState.LIVE), else_=BlobState.UPLOADING)
    row = upsert(connection, blobs).on_conflict_do_update(
        index_elements=[_b.digest], set_={"put_at": now, "state": state}
    )
    for digest, size in sizes:
        connection.execute(row, {"digest": digest, "size": size, "state": BlobState.UPLOADING, "put_at": now})
    live: list[Digest] = []
    for chunk in chunked([digest for digest, _ in sizes]):
        live += connection.execute(
            select(_b.digest).where(_b.digest.in_(chunk), _b.state == BlobState.LIVE)
        ).scalars()
    return live


def _store(store: ArtifactStore, data: Mapping[Digest, bytes], *, last: bool) -> list[Digest]:
    """Puts blobs and reads them back; the digests, sorted, of those that no gc without a period of grace took since.

    last: whether it is not to be believed any more that a gc did. Raises BlobMissing then.
    """
    digests = sorted(data)
    store.put_all([data[digest] for digest in digests])
    for _ in digests:
        failpoint("upload.stored")
    faults = store.check_all(digests)
    for fault in faults.values():
        if last or not isinstance(fault, BlobMissing):
            raise fault
    return [digest for digest in digests if digest not in faults]


def _mark_live(connection: Connection, digests: list[Digest]) -> set[Digest]:
    """Returns those that are live now; gc came in between for the others, and their upload must be done again."""
    live: set[Digest] = set()
    for chunk in chunked(digests):
        row = (
            update(blobs).where(_b.digest.in_(chunk), _b.state != BlobState.DELETING).values(state=BlobState.LIVE)
        )
        live |= set(connection.execute(row.returning(_b.digest)).scalars())
    return live
