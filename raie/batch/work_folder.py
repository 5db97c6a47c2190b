"""Where a batch keeps the parts that it has answered, so that one that is stopped goes on where it was.

The folder lies beside the output and is named by a digest of input, snapshot and options: other work never finds it.
A part is named by its number and its own digest, and is on the disk before it has that name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from raie.errors import RaieError
from raie.registry.durable import sync_folder

__all__ = ["WorkFolder", "work_folder"]

_DIGITS = 16


@dataclass(frozen=True)
class WorkFolder:
    """The parts of one batch. path: the folder; nobody else writes there."""

    path: Path

    def parts(self) -> dict[int, Path]:
        """The whole parts by number; one whose bytes are no longer those that were written is deleted."""
        parts = {}
        for path in sorted(self.path.glob("*.part")):
            number, _, digest = path.stem.partition("-")
            if _digest(path) == digest:
                parts[int(number)] = path
            else:
                path.unlink()
        return parts

    def delete(self) -> None:
        """Leave nothing of it."""
        _delete(self.path)

    def write(self, number: int, table: pa.Table) -> Path:
        """Write a part, and give it its name once it is on the disk."""
        partial = self.path / "part.partial"
        with partial.open("wb") as file:
            pa.parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        part = self.path / f"{number:08}-{_digest(partial)}.part"
        partial.rename(part)
        sync_folder(self.path)
        return part


@contextmanager
def work_folder(output: Path, digest: str) -> Iterator[WorkFolder]:
    """The work folder of an output, this process's alone.

    It is deleted, with what earlier batches for the same output have left, once the block has ended; where it ended
    with an error or a signal it stays. Who cannot go on from it deletes it.

    Args:
        output: The file that the batch writes.
        digest: Of input, snapshot and options.

    Raises:
        RaieError: Another process is at the same work, or something else has the folder's name.
    """
    path = output.with_name(f".{output.name}.raie-{digest[:_DIGITS]}")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise RaieError(f"expected {path} to be a folder of unfinished work, found something else: delete it")
    path.mkdir(mode=0o700, exist_ok=True)
    with _locked(path) as free:
        if not free:
            raise RaieError(f"expected nobody to write {output} now, found another process that does: wait for it")
        yield WorkFolder(path)
        _delete(path)
    _delete_others(output)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process is the only one that has the folder; the system ends the claim with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _delete_others(output: Path) -> None:
    """Unfinished work for the same output, from another input or with other options, which nobody is at."""
    for path in output.parent.glob(f".{_escaped(output.name)}.raie-{'[0-9a-f]' * _DIGITS}"):
        if path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError), _locked(path) as free:
            if free:
                _delete(path)


def _delete(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
