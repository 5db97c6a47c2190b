"""Where blobs are kept: in a folder or in S3, under their sha256, verified whenever they are read.

A key is `sha256/ab/abcdef...`. Putting is idempotent: the same bytes have the same key, so writing them again is
harmless and heals a damaged object. A store knows nothing of snapshots: what may be deleted is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from raie.registry.errors import BlobCorrupt, BlobMissing, InvalidValue
from raie.registry.values import Digest, check_digest

__all__ = ["PROBE", "ArtifactStore", "StoredBlob", "blob_key", "digest_in", "record_folder", "record_name"]

_KEY = re.compile(r"sha256/[0-9a-f]{2}/([0-9a-f]{64})")
_RECORD = re.compile(r"(audit(/[0-9a-z-]+)+|registry)\.json")
PROBE = b"raie tries whether this store keeps what it is given\n"


@dataclass(frozen=True)
class StoredBlob:
    """An object the store holds; size in bytes, modified_at in epoch seconds by the store's clock."""

    digest: Digest
    size: int
    modified_at: float


class ArtifactStore(Protocol):
    """Blobs under their sha256. Every method may raise StoreUnreachable."""

    def require_place(self) -> None:
        """Raises StoreUnreachable where the place of the store is not there; the first put makes a folder."""
        ...

    def put(self, data: bytes) -> Digest:
        """Stores the bytes durably and returns their digest; raises StoreFull."""
        ...

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Stores many blobs, each as `put` does; their digests in the same order. Some may be there after an error."""
        ...

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing and BlobCorrupt."""
        ...

    def check(self, digest: Digest) -> int:
        """Reads the blob piece by piece; its size in bytes. Raises BlobMissing and BlobCorrupt, as `get` does."""
        ...

    def check_all(self, digests: Sequence[Digest]) -> dict[Digest, BlobMissing | BlobCorrupt]:
        """Reads many blobs as `check` does; what is wrong with each that is not whole."""
        ...

    def exists(self, digest: Digest) -> bool:
        """Whether an object has this digest's key; its bytes are not read."""
        ...

    def delete(self, digest: Digest) -> None:
        """Removes the object; one that is not there is no error."""
        ...

    def iterate(self) -> Iterator[StoredBlob]:
        """Every object with a blob's key, in no particular order."""
        ...

    def discard_incomplete_uploads(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Removes what interrupted uploads left before a time; returns their names.

        Raises StoreUnsupported where the store cannot list or remove them.
        """
        ...

    def probe(self) -> None:
        """Puts, reads, lists and deletes objects of its own once; raises StoreUnreachable for what does not work.

        It changes nothing else, and leaves nothing behind where it may delete.
        """
        ...

    def put_record(self, name: str, data: bytes) -> None:
        """Writes a small object beside the blobs; a name always holds the same bytes. Raises StoreFull."""
        ...

    def get_record(self, name: str) -> bytes | None:
        """The bytes of a record; None where there is none."""
        ...

    def records(self, folder: str, after: str = "") -> Iterator[str]:
        """The names of the records in a folder that sort after one, in no particular order."""
        ...

    def record_folders(self) -> Iterator[str]:
        """The names of the folders of records: the registries that keep their chain heads here."""
        ...

    @property
    def scope(self) -> str:
        """The prefix below the store's own place; empty for all of it."""
        ...

    def within(self, scope: str) -> ArtifactStore:
        """The part of the store below a prefix, as a store of its own; the whole for an empty one."""
        ...


def blob_key(digest: Digest) -> str:
    """The key of a digest; raises InvalidValue for a text that could name anything else."""
    check_digest(digest)
    return f"sha256/{digest[:2]}/{digest}"


def digest_in(key: str) -> Digest | None:
    """The digest whose key this is; None for any other name."""
    match = _KEY.fullmatch(key)
    return Digest(match[1]) if match and blob_key(Digest(match[1])) == key else None


def record_folder(folder: str) -> str:
    """The folder of records; raises InvalidValue for one that could leave the store."""
    record_name(f"{folder}/1.json")
    return folder


def record_name(name: str) -> str:
    """The name of a record, `folder/.../name.json`; raises InvalidValue for one that could leave the store."""
    if not _RECORD.fullmatch(name):
        raise InvalidValue(f"Expected a record's name such as audit/0a/1.json, found {ascii(name)[:100]}")
    return name
