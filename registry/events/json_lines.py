"""A file of JSON lines that grows by whole lines: each is on the disk before its event counts as delivered.

A line is written again where its sender was killed before it could say so. A half line that a crash left is removed by
the next sender, for every reader would stop at it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raie.registry.durable import sync_folder
from raie.registry.errors import ReceiverUnreachable

__all__ = ["append"]

_LOCK_S = 5.0
_CHUNK = 65536


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Adds lines to a file, all or none, and returns once they are on the disk.

    Args:
        path: of the file, made where it is not there.
        lines: each without its line end.
    Raises: ReceiverUnreachable where that cannot be done.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_NONBLOCK: a pipe in the file's place would hold us until somebody reads it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(None, "it is not a regular file")
            with _locked(descriptor):
                _append(descriptor, b"".join(line + b"\n" for line in lines))
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        raise ReceiverUnreachable(
            f"Expected to append to {path}, found {error.strerror or error}; the events wait"
        ) from error


def _append(descriptor: int, data: bytes) -> None:
    end = _end_of_whole_lines(descriptor)
    os.ftruncate(descriptor, end)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], end + written)
        os.fsync(descriptor)
    except OSError:
        # A full disk: what is there of a line goes, or it would stay until the next one comes.
        os.ftruncate(descriptor, end)
        raise


def _end_of_whole_lines(descriptor: int) -> int:
    """The size of the file up to its last line end, in bytes."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _CHUNK)
        line_end = os.pread(descriptor, end - start, start).rfind(b"\n")
        if line_end >= 0:
            return start + line_end + 1
        end = start
    return 0


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """Holds the file's lock, which ends with the process too; nothing where the system has none."""
    if os.name != "posix":
        yield
        return
    import fcntl

    ends = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > ends:
                raise OSError(None, "another program holds its lock") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
