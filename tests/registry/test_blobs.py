"""Blobs that another process has put into the store are as good as this one's, once they are adopted."""

from __future__ import annotations

import pickle

import pytest

from raie.registry import BlobMissing, Registry, digest_of
from raie.registry.blobs import require_live
from raie.registry.db.engine import write

DATA = b"what a worker trained"
DIGEST = digest_of(DATA)


def commit_would_pass(registry: Registry) -> None:
    write(registry.engine, lambda connection: require_live(connection, [DIGEST]))


def test_a_blob_that_another_process_stored_is_read_and_live_once_it_is_adopted(registry: Registry) -> None:
    registry.put(b"one that this process put, over a connection of its own")
    pickle.loads(pickle.dumps(registry.store)).put(DATA)
    with pytest.raises(BlobMissing):
        commit_would_pass(registry)
    for _ in range(2):
        assert registry.adopt_all({DIGEST: len(DATA)}) == {DIGEST: DATA}
    commit_would_pass(registry)


def test_a_blob_that_is_not_in_the_store_is_not_adopted(registry: Registry) -> None:
    with pytest.raises(BlobMissing):
        registry.adopt_all({DIGEST: len(DATA)})
    with pytest.raises(BlobMissing):
        commit_would_pass(registry)
