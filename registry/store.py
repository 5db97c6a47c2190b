"""Where blobs are kept: in a folder or in S3, under their sha256, verified whenever they are read.

A key is `sha256/ab/abcdef...`. Putting is idempotent: the same bytes have the same key, so writing them again is
harmless and heals a damaged object. A store knows nothing of snapshots: what may be deleted is decided elsewhere.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote

from registry.deadline import timeout_of
from registry.errors import BlobCorrupt, BlobMissing, InvalidValue, StoreFull, StoreUnreachable
from registry.fault_points import reach
from registry.values import Digest, check_digest, digest_of

__all__ = [
    "ArtifactStore",
    "LocalStore",
    "StoredBlob",
    "blob_key",
    "open_store",
    "record_folder",
    "record_name",
    "verified",
]

_KEY = re.compile(r"sha256/[0-9a-f]{2}/([0-9a-f]{64})")
_RECORD = re.compile(r"(audit(/[0-9a-z-]+)+|registry)\.json")
_PUT_ATTEMPTS = 5
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing and BlobCorrupt."""
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

    def discard_leftovers(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Removes what interrupted uploads left before a time; returns their names."""
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


def open_store(store_url: str) -> ArtifactStore:
    """The store of a folder's path, `file:///folder` or `s3://NAME/prefix`; raises InvalidValue for anything else.

    `s3://NAME/prefix?timeout=SECONDS` says how long one request is waited for.
    The endpoint and the credentials of S3 come from boto3's own chain: AWS_ENDPOINT_URL, AWS_PROFILE and so on.
    """
    scheme, separator, rest = store_url.partition("://")
    if not separator:
        return _folder(store_url)
    if scheme == "file":
        _, slash, path = rest.partition("/")
        return _folder(unquote(slash + path, errors="surrogateescape"))
    if scheme == "s3" and rest and rest[0] not in "/?":
        return _s3_store(rest)
    raise InvalidValue(f"Expected a store as a folder, file:///folder or s3://NAME/prefix, found {scheme}://")


def _folder(path: str) -> LocalStore:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        path = ""
    if not path or "\0" in path:
        raise InvalidValue("Expected a store as a folder or s3://NAME/prefix, found an empty or unprintable text")
    return LocalStore(Path(path))


def _s3_store(rest: str) -> ArtifactStore:
    # boto3 takes longer to import than everything else here together, and a folder does not need it.
    from registry.s3_store import TIMEOUT_S, S3Store

    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    seconds = timeout_of(options.pop("timeout", TIMEOUT_S))
    if options:
        raise InvalidValue(f"Expected s3://NAME/prefix?timeout=SECONDS, found ?{query}")
    name, _, prefix = place.partition("/")
    # A server that keeps objects as files would take them for folders above.
    if not prefix.isprintable() or not {".", ".."}.isdisjoint(prefix.split("/")):
        raise InvalidValue(f"Expected a printable prefix without . and .. as a part, found {ascii(prefix)[:80]}")
    return S3Store(name, prefix.strip("/"), timeout_s=seconds)


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


def verified(digest: Digest, data: bytes, where: str) -> bytes:
    """The data, which has this digest; raises BlobCorrupt."""
    found = digest_of(data)
    if found != digest:
        message = (
            f"Expected blob {digest} in {where}, found {len(data)} bytes with sha256 {found}; "
            "restore it from a backup or put it again"
        )
        raise BlobCorrupt(message, digest)
    return data


def missing(digest: Digest, where: str) -> BlobMissing:
    """The error for a blob that is not there."""
    message = f"Expected blob {digest} in {where}, found none; restore it from a backup or put it again"
    return BlobMissing(message, digest)


@dataclass(frozen=True)
class LocalStore:
    """A folder in which a blob is whole or absent: temporary file, fsync, rename, fsync the folder."""

    root: Path
    scope: str = ""
    _safe: set[Path] = field(default_factory=set, repr=False, compare=False)

    @property
    def top(self) -> Path:
        """The folder that the store's URL names: above the root of a part of it."""
        return self.root.parents[self.scope.count("/")] if self.scope else self.root

    def within(self, scope: str) -> LocalStore:
        """The part of the store below a prefix; the whole for an empty one."""
        return LocalStore(self.top / scope, scope, self._safe)

    def make_root(self) -> None:
        """Makes the folder durably where it is not there yet."""
        with self._translated("write to"):
            self._make(self.root)

    def require_place(self) -> None:
        """Raises StoreUnreachable where there is no folder."""
        if not self.root.is_dir():
            raise StoreUnreachable(
                f"Expected a store at {self.root}, found no folder; check store in raie.toml or RAIE_STORE"
            )

    def put(self, data: bytes) -> Digest:
        """Stores the bytes durably and returns their digest; raises StoreFull and StoreUnreachable."""
        digest = digest_of(data)
        with self._translated("write to"):
            for attempt in range(_PUT_ATTEMPTS):
                try:
                    self._write(data, self.root / blob_key(digest))
                    break
                except FileNotFoundError:
                    # A gc without a period of grace took the temporary file for one that was left behind.
                    if attempt + 1 == _PUT_ATTEMPTS:
                        raise
        return digest

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        with self._translated("read from"):
            try:
                data = (self.root / blob_key(digest)).read_bytes()
            except FileNotFoundError:
                # Of a mistyped path no blob is lost.
                self.require_place()
                raise missing(digest, str(self.root)) from None
        return verified(digest, data, str(self.root))

    def exists(self, digest: Digest) -> bool:
        """Whether a file has this digest's key."""
        with self._translated("read from"):
            return (self.root / blob_key(digest)).is_file()

    def delete(self, digest: Digest) -> None:
        """Removes the file; one that is not there is no error."""
        with self._translated("delete from"):
            (self.root / blob_key(digest)).unlink(missing_ok=True)

    def iterate(self) -> Iterator[StoredBlob]:
        """Every file with a blob's key."""
        with self._translated("list"):
            for path in (self.root / "sha256").glob("*/*"):
                digest = digest_in(path.relative_to(self.root).as_posix())
                # A file may be collected between the listing and the look at it.
                with suppress(FileNotFoundError):
                    if digest is not None:
                        found = path.stat()
                        yield StoredBlob(digest, found.st_size, found.st_mtime)

    def discard_leftovers(self, older_than: float, dry_run: bool = False) -> list[str]:
        """Removes the temporary files of uploads that were killed before a time; returns their names."""
        names = []
        with self._translated("delete from"):
            for path in sorted(self._incoming.glob("*")):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < older_than:
                        names.append(path.name)
                        if not dry_run:
                            path.unlink()
        return names

    def put_record(self, name: str, data: bytes) -> None:
        """Writes a small file beside the blobs, whole or not at all."""
        with self._translated("write to"):
            self._write(data, self.root / record_name(name))

    def get_record(self, name: str) -> bytes | None:
        """The bytes of a record; None where there is none."""
        with self._translated("read"), suppress(FileNotFoundError):
            return (self.root / record_name(name)).read_bytes()
        return None

    def records(self, folder: str, after: str = "") -> Iterator[str]:
        """The names of the records in a folder that sort after one."""
        with self._translated("list"):
            for path in (self.root / record_folder(folder)).glob("*.json"):
                if (name := path.relative_to(self.root).as_posix()) > after:
                    yield name

    def record_folders(self) -> Iterator[str]:
        """The names of the folders of records."""
        with self._translated("list"):
            yield from (path.name for path in (self.root / "audit").glob("*/"))

    def _write(self, data: bytes, target: Path) -> None:
        temporary = self._incoming / uuid.uuid4().hex
        self._make(temporary.parent)
        self._make(target.parent)
        try:
            _write_durably(temporary, data)
            reach("upload.written")
            os.replace(temporary, target)
            reach("upload.renamed")
            _sync_folder(target.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    def _make(self, folder: Path) -> None:
        """Makes a folder and syncs what names it: a rename into a folder that is lost in a crash is lost with it.

        One that is there is synced too, once in a process: whoever made it may have been killed before it was.
        """
        if folder in self._safe and folder.is_dir():
            return
        line = [folder, *folder.parents]
        missing = [one for one in line if not one.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in dict.fromkeys([*line[: line.index(self.top)], *missing]):
            _sync_folder(one.parent)
        self._safe.add(folder)

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            detail = error.strerror or str(error)
            if error.errno in _FULL:
                raise StoreFull(
                    f"Expected space to {verb} the store {self.root}, found: {detail}; free some and try again"
                ) from error
            raise StoreUnreachable(
                f"Expected to {verb} the store {self.root}, found: {detail}; check the folder and its permissions"
            ) from error


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
