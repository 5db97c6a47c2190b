"""Reading every blob back, beside whoever edits, expires and collects meanwhile: nobody is accused who did no wrong.

What must be there is known from one moment of the database, and reading takes long after it. A gc may have removed a
blob since, or an upload have put it anew. So a blob that cannot be read is looked up again: only if its row is the one
of before was there no time in between at which the store was allowed to lack it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from raie.registry.db.engine import chunked, reading
from raie.registry.db.tables import blobs
from raie.registry.errors import BlobCorrupt, BlobMissing, StoreUnreachable
from raie.registry.failpoints import failpoint
from raie.registry.progress import OnProgress, ignore_progress
from raie.registry.registry import Registry
from raie.registry.states import BlobState
from raie.registry.store.base import ArtifactStore
from raie.registry.values import Digest

__all__ = ["BlobRow", "ReadBack", "blob_rows", "read_back"]

_ATTEMPTS = 5
_b = blobs.c


@dataclass(frozen=True)
class BlobRow:
    """What the database says of a blob; put_at: when it was last put, in epoch seconds, which changes with each put."""

    state: str
    put_at: float


@dataclass(frozen=True)
class ReadBack:
    """How many blobs were read back whole and their bytes; what is damaged, and what could not be read, each with why."""

    blobs: int
    bytes: int
    damaged: Mapping[str, str]
    unreadable: Mapping[str, str]


def blob_rows(connection: Connection, among: Collection[str] | None = None) -> dict[str, BlobRow]:
    """The rows of all blobs, or of some, by digest."""
    query = select(_b.digest, _b.state, _b.put_at)
    chunks = [None] if among is None else chunked(sorted(among))
    by_digest: dict[str, BlobRow] = {}
    for chunk in chunks:
        for row in connection.execute(query if chunk is None else query.where(_b.digest.in_(chunk))):
            by_digest[row.digest] = BlobRow(row.state, row.put_at)
    return by_digest


def read_back(
    registry: Registry, wanted: Mapping[str, BlobRow | None], progress: OnProgress = ignore_progress
) -> ReadBack:
    """Reads blobs piece by piece, and goes on after each that cannot be read.

    wanted: digest -> its row where it must be there; None for one that has none, although a snapshot names it.
    Raises StoreUnreachable where the store answers for no blob at all, and DatabaseUnreachable.
    """
    sizes, known, wrong = dict[str, int](), dict(wanted), dict[str, Exception]()
    failed = _read(registry.store, wanted, sizes, progress)
    failpoint("verify.read")
    for attempt in range(_ATTEMPTS):
        if not failed:
            break
        with reading(registry.engine) as connection:
            rows = blob_rows(connection, failed)
        same = {digest for digest in failed if rows.get(digest) == known[digest]}
        last = attempt + 1 == _ATTEMPTS
        moved = [
            digest for digest in failed.keys() - same if digest in rows and rows[digest].state == BlobState.LIVE
        ]
        wrong |= {digest: failed[digest] for digest in (*same, *(moved if last else ()))}
        known |= {digest: rows[digest] for digest in moved}
        failed = {} if last else _read(registry.store, moved, sizes)
    damaged, unreadable = dict[str, str](), dict[str, str]()
    for digest in sorted(wrong):
        kind = unreadable if isinstance(wrong[digest], StoreUnreachable) else damaged
        kind[digest] = str(wrong[digest])
    return ReadBack(len(sizes), sum(sizes.values()), damaged, unreadable)


def _read(
    store: ArtifactStore,
    digests: Collection[str],
    sizes: dict[str, int],
    progress: OnProgress = ignore_progress,
) -> dict[str, Exception]:
    """Reads blobs, adds the size in bytes of each to `sizes`, and returns why others could not be read."""
    failed: dict[str, Exception] = {}
    for done, digest in enumerate(sorted(digests)):
        progress("reading blobs back", done, len(digests))
        try:
            sizes[digest] = store.check(Digest(digest))
        except (BlobMissing, BlobCorrupt) as error:
            failed[digest] = error
        except StoreUnreachable as error:
            # One blob, or the whole store? Without an answer to this there is no end to waiting for each blob.
            _require_answer(store)
            failed[digest] = error
    return failed


def _require_answer(store: ArtifactStore) -> None:
    """Raises StoreUnreachable unless the store can be listed."""
    store.require_place()
    next(store.iterate(), None)
