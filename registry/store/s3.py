"""Blobs and records as objects in S3, or in a server that speaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from raie.registry.errors import BlobCorrupt, BlobMissing, StoreUnreachable
from raie.registry.store.at_once import at_once
from raie.registry.store.base import StoredBlob, blob_key, digest_in, record_folder, record_name
from raie.registry.store.blob_bytes import Hashed, fault_of, missing, verified
from raie.registry.store.s3_listing import relative_key
from raie.registry.store.s3_objects import TIMEOUT_S, BytesSink, NoSuchObject, S3Objects, Sink
from raie.registry.store.s3_probe import probe
from raie.registry.values import Digest, digest_of

__all__ = ["S3Store"]

T = TypeVar("T")

_MEBIBYTE = 2**20


class _Verified(BytesSink):
    """The bytes of a blob."""

    def __init__(self, digest: Digest, where: str) -> None:
        super().__init__()
        self._digest, self._where = digest, where

    def result(self) -> bytes:
        return verified(self._digest, super().result(), self._where)


class _Checked(Hashed):
    """The size of a blob whose bytes nobody keeps."""

    def __init__(self, digest: Digest, where: str) -> None:
        super().__init__()
        self._digest, self._where = digest, where

    def result(self) -> int:
        return self.require(self._digest, self._where)


@dataclass(frozen=True)
class S3Store:
    """Objects under `prefix/sha256/ab/abcdef...` of one bucket.

    part_size: bytes above which an object is uploaded in parts.  timeout_s: how long one request is waited for, its
    repetitions included; a blob's bytes may take longer, by a second for each 64 KiB.
    """

    name: str
    prefix: str = ""
    part_size: int = 64 * _MEBIBYTE
    timeout_s: float = TIMEOUT_S
    scope: str = ""
    _clients: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without clients: another process has connections of its own."""
        return {**vars(self), "_clients": {}}

    def within(self, scope: str) -> S3Store:
        """The part of the store below a prefix; the whole for an empty one."""
        top = self.prefix.removesuffix(self.scope).rstrip("/")
        return replace(self, prefix="/".join(part for part in (top, scope) if part), scope=scope)

    def require_place(self) -> None:
        """Nothing: every request says when a bucket is not there."""

    def put(self, data: bytes) -> Digest:
        """Stores the bytes and returns their digest; raises StoreFull and StoreUnreachable."""
        digest = digest_of(data)
        self._objects.send(self._key(digest), data)
        return digest

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Stores many blobs, several at once; raises StoreFull and StoreUnreachable."""
        return at_once(self.put, data)

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        return self._read(digest, partial(_Verified, digest, self._where))

    def check(self, digest: Digest) -> int:
        """Reads the blob piece by piece; its size in bytes. Raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        return self._read(digest, partial(_Checked, digest, self._where))

    def check_all(self, digests: Sequence[Digest]) -> dict[Digest, BlobMissing | BlobCorrupt]:
        """What is wrong with each blob that is not whole, several read at once; raises StoreUnreachable."""
        wrong = at_once(partial(fault_of, self.check), digests)
        return {digest: fault for digest, fault in zip(digests, wrong, strict=True) if fault is not None}

    def exists(self, digest: Digest) -> bool:
        """Whether an object has this digest's key."""
        return self._objects.has(self._key(digest))

    def delete(self, digest: Digest) -> None:
        """Removes the object; one that is not there is no error."""
        self._objects.remove(self._key(digest))

    def iterate(self) -> Iterator[StoredBlob]:
        """Every object with a blob's key."""
        for key, listed in self._listed("sha256/"):
            digest = digest_in(key)
            if digest is not None:
                try:
                    yield StoredBlob(digest, listed["Size"], listed["LastModified"].timestamp())
                except (LookupError, AttributeError) as error:
                    raise StoreUnreachable(
                        f"Expected the store {self._where} to list objects with their sizes and times, found {key} "
                        f"without ({error}); check its address"
                    ) from error

    def discard_incomplete_uploads(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Aborts multipart uploads that were begun before a time and never finished; returns their keys.

        Raises StoreUnsupported where the server cannot list or abort them, or does not let us.
        """
        return self._objects.abort_uploads(self._prefixed("sha256/"), older_than, dry_run)

    def probe(self) -> None:
        """Puts, reads, lists and deletes three small objects of its own; raises StoreFull and StoreUnreachable."""
        probe(self._objects, self._prefixed("sha256/probe/"))

    def put_record(self, name: str, data: bytes) -> None:
        """Writes a small object beside the blobs."""
        self._objects.send(self._prefixed(record_name(name)), data)

    def get_record(self, name: str) -> bytes | None:
        """The bytes of a record; None where there is none."""
        try:
            return self._objects.read(self._prefixed(record_name(name)), BytesSink)
        except NoSuchObject:
            return None

    def records(self, folder: str, after: str = "") -> Iterator[str]:
        """The names of the records in a folder that sort after one."""
        for key, _ in self._listed(f"{record_folder(folder)}/", after):
            # Not every server knows where a list is to begin.
            if key > after:
                yield key

    def record_folders(self) -> Iterator[str]:
        """The names of the folders of records."""
        names = (key.split("/") for key, _ in self._listed("audit/"))
        yield from dict.fromkeys(parts[1] for parts in names if len(parts) > 2)

    def _read(self, digest: Digest, start: Callable[[], Sink[T]]) -> T:
        key = self._key(digest)
        try:
            return self._objects.read(key, start)
        except NoSuchObject as error:
            raise missing(digest, self._where) from error

    def _listed(self, folder: str, after: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every object in a folder that sorts after a key, with its key below the store's prefix."""
        start = self._prefixed("")
        for listed in self._objects.listed(self._prefixed(folder), after=self._prefixed(after) if after else ""):
            key = relative_key(listed["Key"], start)
            if key is not None and key.startswith(folder):
                yield key, listed

    @property
    def _objects(self) -> S3Objects:
        return S3Objects(self.name, self._where, self.part_size, self.timeout_s, self._clients)

    @property
    def _where(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def _key(self, digest: Digest) -> str:
        return self._prefixed(blob_key(digest))

    def _prefixed(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key
