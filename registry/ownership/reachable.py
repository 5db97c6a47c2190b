"""Whether the store of a registry is where its address says, before anything is put there or missed there."""

from __future__ import annotations

from sqlalchemy import select

from raie.registry.db.engine import Database, reading
from raie.registry.db.tables import blobs
from raie.registry.errors import StoreUnreachable
from raie.registry.states import BlobState
from raie.registry.store.base import ArtifactStore

__all__ = ["require_store"]


def require_store(database: Database, store: ArtifactStore) -> None:
    """Raises StoreUnreachable where the place of the store is not there, unless nothing was ever put.

    A mistyped path would look as if every blob were lost, and the next upload would begin another store there.
    """
    try:
        store.require_place()
    except StoreUnreachable:
        with reading(database) as connection:
            if (
                connection.execute(select(blobs.c.digest).where(blobs.c.state == BlobState.LIVE).limit(1)).first()
                is not None
            ):
                raise
