"""Disks that are full or cannot be written: real ones, as small as it takes, mounted for one test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["full", "read_only", "small_disk"]

_SIZE = 2**20


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 1 MiB; skips where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def full(disk: Path, free: int = 0) -> Iterator[None]:
    """While the block runs only so many bytes more fit on the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - free))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """While the block runs nobody writes to a folder or a file; skips where root may not mount it again."""
    if os.geteuid() != 0:
        mode = path.stat().st_mode
        path.chmod(mode & ~0o222)
        yield
        path.chmod(mode)
        return
    # Root may write whatever the mode says.
    _mount("--bind", path, path)
    try:
        _mount("-o", "remount,ro,bind", path)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def _mount(*arguments: str | Path) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr.strip()}")
