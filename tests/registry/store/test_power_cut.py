"""What a store has said that it keeps survives a power cut; a killed process never shows a missing fsync.

What the cut leaves is worked out from the calls of os.fsync. A file has the bytes that it had when it was synced, none
if it never was. A folder has the names that it had when it was synced; or those that it has now, for a file system
may write names early.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from raie.registry import BlobMissing, LocalStore, digest_of
from raie.registry.store.base import blob_key

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the path of a descriptor in /proc")

BLOBS = [b"one", b"two" * 1000, b"three"]


@dataclass
class Disk:
    """A folder, and what of it is safe: by inode the bytes of files, and the names in folders with their inodes."""

    folder: Path
    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)

    def sync(self, descriptor: int) -> None:
        """In place of os.fsync."""
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self.folders[inode(path)] = {child.name: inode(child) for child in path.iterdir()}
        else:
            self.files[inode(path)] = path.read_bytes()

    def with_synced_names(self, into: Path) -> None:
        """Writes what is left where no name was written that was not synced."""
        self._write(inode(self.folder), into)

    def with_early_names(self, into: Path) -> None:
        """Writes what is left where every name was written."""
        into.mkdir()
        for path in sorted(self.folder.rglob("*")):
            copy = into / path.relative_to(self.folder)
            if path.is_dir():
                copy.mkdir()
            else:
                copy.write_bytes(self.files.get(inode(path), b""))

    def _write(self, number: int, into: Path) -> None:
        if number in self.files:
            into.write_bytes(self.files[number])
        elif number in self.folders or number == inode(self.folder):
            into.mkdir()
            for name, child in self.folders.get(number, {}).items():
                self._write(child, into / name)
        # Anything else is a folder or a file that was named and never synced itself: as good as nothing.


def inode(path: Path) -> int:
    return path.stat().st_ino


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    (tmp_path / "disk").mkdir()
    read = Disk(tmp_path / "disk")
    monkeypatch.setattr(os, "fsync", read.sync)
    return read


@pytest.fixture(params=[Disk.with_synced_names, Disk.with_early_names], ids=["synced names", "early names"])
def cut(request: pytest.FixtureRequest, disk: Disk, tmp_path: Path) -> Callable[[], LocalStore]:
    """Cuts the power now; the store as it is found afterwards."""
    numbers = count()

    def cut_now() -> LocalStore:
        left = tmp_path / f"after cut {next(numbers)}"
        request.param(disk, left)
        return LocalStore(left / "a folder" / "store")

    return cut_now


def test_what_was_put_survives(disk: Disk, cut: Callable[[], LocalStore]) -> None:
    store = LocalStore(disk.folder / "a folder" / "store")
    for put, data in enumerate(BLOBS, 1):
        store.put(data)
        left = cut()
        assert [left.get(digest_of(data)) for data in BLOBS[:put]] == BLOBS[:put]


def test_a_record_that_was_put_survives(disk: Disk, cut: Callable[[], LocalStore]) -> None:
    store = LocalStore(disk.folder / "a folder" / "store")
    store.put_record("audit/somewhere/1.json", b"{}")
    assert list(cut().records("audit/somewhere")) == ["audit/somewhere/1.json"]


@pytest.mark.parametrize("point", ["upload.written", "upload.renamed"])
def test_in_the_midst_of_a_put_a_blob_is_whole_or_absent(
    disk: Disk, cut: Callable[[], LocalStore], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    left: list[LocalStore] = []
    monkeypatch.setattr(
        "raie.registry.store.local.failpoint", lambda name: left.append(cut()) if name == point else None
    )
    store = LocalStore(disk.folder / "a folder" / "store")
    for data in BLOBS:
        store.put(data)
    for survivor, data in zip(left, BLOBS, strict=True):
        try:
            assert survivor.get(digest_of(data)) == data
        except BlobMissing:
            continue


def test_a_folder_that_a_killed_process_made_is_synced_by_the_next(
    disk: Disk, cut: Callable[[], LocalStore]
) -> None:
    store = LocalStore(disk.folder / "a folder" / "store")
    store.put(BLOBS[0])
    (store.root / blob_key(digest_of(BLOBS[1]))).parent.mkdir()
    store.put(BLOBS[1])
    assert cut().get(digest_of(BLOBS[1])) == BLOBS[1]
