"""Blobs as the database knows them: a row for each object, and uploads that a running gc cannot harm.

The row is written before the object, as "uploading", and is "live" once the object was read back: a commit accepts
only live blobs. gc turns a row to "deleting" before it removes the object, and removes it while it holds the row's
lock. An upload that meets such a row takes it back, or waits for the lock and begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import Connection, Engine, case, select, update

from registry.database import chunked, upsert, write
from registry.errors import BlobCorrupt, BlobMissing
from registry.models import blobs
from registry.store import ArtifactStore
from registry.values import Digest, digest_of

__all__ = ["put", "require_live"]

_b = blobs.c


def put(engine: Engine, store: ArtifactStore, data: bytes) -> Digest:
    """Stores bytes durably, reads them back, and records them as live; a damaged object is healed.

    Raises StoreFull, StoreUnreachable, DatabaseUnreachable, and BlobCorrupt where the store does not keep bytes.
    """
    digest = digest_of(data)
    while True:
        state = write(engine, lambda connection: _claim(connection, digest, len(data)))
        if state == "live" and _readable(store, digest):
            return digest
        store.put(data)
        store.get(digest)
        if write(engine, lambda connection: _mark_live(connection, digest)):
            return digest


def require_live(connection: Connection, digests: Iterable[Digest]) -> None:
    """Locks the rows of blobs against gc until the transaction ends; raises BlobMissing unless all are live."""
    wanted = sorted(digests)
    for chunk in chunked(wanted):
        query = select(_b.digest).where(_b.digest.in_(chunk), _b.state == "live").order_by(_b.digest)
        live = set(connection.execute(query.with_for_update(read=True)).scalars())
        for digest in chunk:
            if digest not in live:
                raise BlobMissing(f"Expected blob {digest} to be live, found it is not; put it again", digest)


def _claim(connection: Connection, digest: Digest, size: int) -> str:
    """Makes the row young and not "deleting", waiting for a gc that is just removing it; returns its state."""
    now = time.time()
    row = upsert(connection, blobs).values(digest=digest, size=size, state="uploading", put_at=now)
    state = case((_b.state == "live", "live"), else_="uploading")
    connection.execute(row.on_conflict_do_update(index_elements=[_b.digest], set_={"put_at": now, "state": state}))
    return str(connection.execute(select(_b.state).where(_b.digest == digest)).scalar_one())


def _mark_live(connection: Connection, digest: Digest) -> bool:
    """False where gc came in between, so that the upload must be done again."""
    row = update(blobs).where(_b.digest == digest, _b.state != "deleting").values(state="live")
    return connection.execute(row).rowcount == 1


def _readable(store: ArtifactStore, digest: Digest) -> bool:
    try:
        store.get(digest)
    except (BlobMissing, BlobCorrupt):
        return False
    return True
