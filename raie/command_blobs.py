"""The blobs of one command: what it has read or put is neither fetched nor stored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from raie.registry import Digest, Registry, digest_of

__all__ = ["CommandBlobs"]


@dataclass(frozen=True)
class CommandBlobs:
    """A registry's blobs, with the bytes that a command has read and put.

    Only for blobs that no gc may take while the command runs: those of a kept snapshot, and those that an open edit
    records. What an edit has not recorded yet it records or commits next, and a commit asks whether every blob is live.
    """

    registry: Registry
    _read: dict[Digest, bytes] = field(default_factory=dict, repr=False, compare=False)
    _put: dict[Digest, bytes] = field(default_factory=dict, repr=False, compare=False)

    def of_an_edit(self, registry: Registry) -> CommandBlobs:
        """The same bytes read, nothing put yet: what an earlier edit has put may be gone if it was aborted.

        Args: registry: the one that takes the edit's lease, of the same database and store.
        """
        return replace(self, registry=registry, _put={})

    def get(self, digest: Digest) -> bytes:
        """The bytes, read and verified once; raises what `Registry.get` raises."""
        if (data := self._put.get(digest)) is not None:
            return data
        if digest not in self._read:
            self._read[digest] = self.registry.get(digest)
        return self._read[digest]

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Stores what was neither read nor put, in one go; the digests of all, in the same order.

        Raises: what `Registry.put_all` raises.
        """
        digests = [digest_of(blob) for blob in data]
        known = self._put.keys() | self._read.keys()
        new = {digest: blob for digest, blob in zip(digests, data, strict=True) if digest not in known}
        if new:
            self.registry.put_all(list(new.values()))
            self._put.update(new)
        return digests

    def adopt_all(self, sizes: Mapping[Digest, int]) -> dict[Digest, bytes]:
        """The bytes of blobs that another process of this command has stored, each read once.

        Args: sizes: in bytes, of every blob.
        Raises: what `Registry.adopt_all` raises.
        """
        new = {digest: size for digest, size in sizes.items() if digest not in self._put}
        self._put.update(self.registry.adopt_all(new) if new else {})
        return {digest: self._put[digest] for digest in sizes}
