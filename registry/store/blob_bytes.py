"""Whether bytes that were read are the blob that was asked for: every read of every store goes through here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from raie.registry.errors import BlobCorrupt, BlobMissing
from raie.registry.values import Digest

__all__ = ["Hashed", "corrupt", "fault_of", "missing", "verified"]


def verified(digest: Digest, data: bytes, where: str) -> bytes:
    """The data, which has this digest; raises BlobCorrupt."""
    hashed = Hashed()
    hashed.take(data)
    hashed.require(digest, where)
    return data


class Hashed:
    """Bytes that are hashed as they come, and not kept."""

    def __init__(self) -> None:
        self._size, self._hash = 0, hashlib.sha256()

    def take(self, piece: bytes) -> None:
        """Takes the next bytes."""
        self._size += len(piece)
        self._hash.update(piece)

    def require(self, digest: Digest, where: str) -> int:
        """How many bytes came, which have this digest; raises BlobCorrupt. where: the store as errors name it."""
        if self._hash.hexdigest() != digest:
            raise corrupt(digest, f"{self._size} bytes with sha256 {self._hash.hexdigest()}", where)
        return self._size


def corrupt(digest: Digest, what: str, where: str) -> BlobCorrupt:
    """The error for something else in a blob's place."""
    message = f"Expected blob {digest} in {where}, found {what}; restore it from a backup or put it again"
    return BlobCorrupt(message, digest)


def missing(digest: Digest, where: str) -> BlobMissing:
    """The error for a blob that is not there."""
    message = f"Expected blob {digest} in {where}, found none; restore it from a backup or put it again"
    return BlobMissing(message, digest)


def fault_of(check: Callable[[Digest], int], digest: Digest) -> BlobMissing | BlobCorrupt | None:
    """What a store's check finds wrong with a blob; None for one that is whole."""
    try:
        check(digest)
    except (BlobMissing, BlobCorrupt) as fault:
        return fault
    return None
