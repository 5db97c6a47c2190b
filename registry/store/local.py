"""A store in a folder: a blob is whole or absent, and lasts through a power cut once it was put."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from raie.registry.durable import sync_folder
from raie.registry.errors import BlobCorrupt, BlobMissing, StoreFull, StoreUnreachable
from raie.registry.failpoints import failpoint
from raie.registry.store.base import PROBE, StoredBlob, blob_key, digest_in, record_folder, record_name
from raie.registry.store.blob_bytes import Hashed, corrupt, fault_of, missing, verified
from raie.registry.values import Digest, digest_of

__all__ = ["LocalStore"]

_PUT_ATTEMPTS = 5
_PIECE = 2**20  # bytes that are read at once
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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

    def __getstate__(self) -> dict[str, Any]:
        """Without the folders that are known to be safe: another machine may not have seen them."""
        return {**vars(self), "_safe": set()}

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

    def put_all(self, data: Sequence[bytes]) -> list[Digest]:
        """Stores many blobs, one after the other; raises StoreFull and StoreUnreachable."""
        return [self.put(blob) for blob in data]

    def get(self, digest: Digest) -> bytes:
        """The bytes, which have this digest; raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        with self._opened(digest) as file:
            return verified(digest, file.read(), str(self.root))

    def check(self, digest: Digest) -> int:
        """Reads the blob piece by piece; its size in bytes. Raises BlobMissing, BlobCorrupt and StoreUnreachable."""
        with self._opened(digest) as file:
            hashed = Hashed()
            while piece := file.read(_PIECE):
                hashed.take(piece)
            return hashed.require(digest, str(self.root))

    def check_all(self, digests: Sequence[Digest]) -> dict[Digest, BlobMissing | BlobCorrupt]:
        """What is wrong with each blob that is not whole; raises StoreUnreachable."""
        wrong = {digest: fault_of(self.check, digest) for digest in digests}
        return {digest: fault for digest, fault in wrong.items() if fault is not None}

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
            for folder in _entries(self.root / "sha256"):
                for name in _entries(self.root / "sha256" / folder):
                    digest = digest_in(f"sha256/{folder}/{name}")
                    # A file may be collected between the listing and the look at it; what it is, a read says.
                    with suppress(OSError):
                        if digest is not None:
                            status = (self.root / "sha256" / folder / name).stat()
                            yield StoredBlob(digest, status.st_size, status.st_mtime)

    def discard_incomplete_uploads(self, older_than: float, dry_run: bool = False) -> list[str]:
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

    def probe(self) -> None:
        """Writes, reads, lists and removes a file of its own; raises StoreFull and StoreUnreachable."""
        path = self._incoming / f"probe-{uuid.uuid4().hex}"
        with self._translated("write to"):
            self._write(PROBE, path)
        try:
            with self._translated("read from"):
                read = path.read_bytes()
            with self._translated("list"):
                there = path in set(self._incoming.glob("probe-*"))
        finally:
            with self._translated("delete from"):
                path.unlink(missing_ok=True)
        if read != PROBE or not there:
            raise StoreUnreachable(
                f"Expected the store {self.root} to keep what it is given, found that a file which was just written is "
                f"{'not listed' if read == PROBE else 'another one'}; choose a folder on another file system"
            )

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
            for name in _entries(self.root / record_folder(folder)):
                if name.endswith(".json") and (record := f"{folder}/{name}") > after:
                    yield record

    def record_folders(self) -> Iterator[str]:
        """The names of the folders of records."""
        with self._translated("list"):
            yield from _entries(self.root / "audit")

    def _write(self, data: bytes, target: Path) -> None:
        temporary = self._incoming / uuid.uuid4().hex
        self._make(temporary.parent)
        self._make(target.parent)
        try:
            _write_durably(temporary, data)
            failpoint("upload.written")
            os.replace(temporary, target)
            failpoint("upload.renamed")
            sync_folder(target.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _opened(self, digest: Digest) -> Iterator[BinaryIO]:
        """The file of a blob, whose errors are translated until it is closed."""
        with self._translated("read from"):
            try:
                # Without waiting: a FIFO in a blob's place would be waited for without end.
                file = _open_at_once(self.root / blob_key(digest))
            except FileNotFoundError:
                # Of a mistyped path no blob is lost.
                self.require_place()
                raise missing(digest, str(self.root)) from None
            except IsADirectoryError:
                raise corrupt(digest, "a folder", str(self.root)) from None
            with file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise corrupt(digest, "something that is no file", str(self.root))
                yield file

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
        missing = [part for part in line if not part.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for part in dict.fromkeys([*line[: line.index(self.top)], *missing]):
            sync_folder(part.parent)
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


def _entries(folder: Path) -> list[str]:
    """The names in a folder, none where there is none; unlike a glob it does not pass over one that it may not read."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open_at_once(path: Path) -> BinaryIO:
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
