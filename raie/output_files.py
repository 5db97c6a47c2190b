"""Files that the user names: written whole or not at all, and never over anything but a regular file.

The bytes go into a temporary file beside the named one, which takes the name once they are on the disk. What has the name
already is left alone unless the user said otherwise; a link, a device, a pipe or a socket is never written to.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from raie.errors import RaieError
from raie.registry.durable import sync_folder

__all__ = ["require_free", "require_no_folder", "whole_file", "whole_folder"]

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def require_free(path: Path, *, replace: bool, advice: str = "write over it with --force") -> None:
    """Refuses a name that something has which must not be written over, before the work whose result goes there.

    Args:
        path: the file that the user named.
        replace: whether a regular file of this name may be written over.
        advice: how the user says so.

    Raises: RaieError.
    """
    status = _status(path)
    if status is None:
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise RaieError(
            f"expected {path} to be no file yet or a regular one, found {kind}: name another, nothing else is written to"
        )
    if not replace:
        raise RaieError(f"expected no file {path}, found one: name another, or {advice}")


@contextmanager
def whole_file(path: Path, *, replace: bool, mode: int = 0o666, work: Path | None = None) -> Iterator[BinaryIO]:
    """A stream whose bytes are the file once the block has ended, and nothing where it ended with an error.

    Args:
        path: the file that the user named.
        replace: whether a regular file of this name may be written over; its permissions stay.
        mode: the permissions of a new file, less those that the umask takes away.
        work: where the bytes gather, on the same file system; what a killed process has left there is written over. None
            for a new name beside the file.

    Raises: RaieError as `require_free` does; OSError that names the file.
    """
    require_free(path, replace=replace)
    partial = work or path.with_name(f".raie-{uuid.uuid4().hex}.partial")
    if work is not None:
        work.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _name(partial, path, replace=replace)
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        # Nobody asked for the partial file, which the error names.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot
        sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that has the name once the block has ended, with all that the block put into it; none after an error.

    Args:
        path: what the user named; nothing is there yet.

    Raises: RaieError where something has the name; OSError that names the folder.
    """
    require_no_folder(path)
    partial = path.with_name(f".raie-{uuid.uuid4().hex}.partial")
    try:
        partial.mkdir()
        yield partial
        for file in partial.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        # Once more, for a rename replaces an empty folder that somebody made meanwhile.
        require_no_folder(path)
        os.rename(partial, path)
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    with suppress(OSError):  # some file systems cannot
        sync_folder(path.parent)


def require_no_folder(path: Path) -> None:
    """Refuses a name that something has already, before the work whose result goes there.

    Args:
        path: the folder that the user named.

    Raises: RaieError.
    """
    if _status(path) is not None:
        raise RaieError(f"expected no folder {path} yet, found something of this name: name another")


def _status(path: Path) -> os.stat_result | None:
    """What has this name, a link not followed; None where nothing has."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        # Where the folder is missing, the attempt to write there says so.
        return None


def _name(partial: Path, path: Path, *, replace: bool) -> None:
    """Gives the written bytes their name; whatever took it in the meantime is looked at once more."""
    require_free(path, replace=replace)
    before = _status(path)
    if before is not None:
        partial.chmod(stat.S_IMODE(before.st_mode))
        os.replace(partial, path)
        return
    try:
        # Unlike a rename, a link never replaces what somebody else wrote there a moment ago.
        os.link(partial, path)
    except FileExistsError as error:
        raise RaieError(f"expected no file {path}, found one that was just written: name another") from error
    except OSError:
        # A file system without hard links.
        os.replace(partial, path)
