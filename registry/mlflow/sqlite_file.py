"""MLflow's SQLite file is there whole or not at all.

MLflow makes its tables in some fifty migrations, and one that is interrupted between two of them leaves a file that it
can neither use nor mend. So the file is made under another name and renamed once it is whole. A lock, which the system
takes back from a process that was killed, keeps two of them from making it at the same time.

A file that an earlier release left half made is known by what making it writes last: it lacks MLflow's own first
experiment. While nobody has put a record into it, making it anew loses nothing.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from raie.registry.db.sqlite_url import quoted_path, sqlite_url
from raie.registry.durable import sync_folder
from raie.registry.errors import MlflowUnreachable

__all__ = ["artifact_root", "is_made", "make_whole", "tracking_url"]

_WAIT_S = 120.0
_LOOK_AGAIN_S = 0.1
_QUIET_S = 5.0
"""MLflow's own making of a file writes to it several times in a second."""

_JOURNALS = ("", "-journal", "-wal", "-shm")
# The first experiment is what making the file writes last; the others are what somebody may have put there.
_SIGNS = ("experiments", "runs", "registered_models", "logged_models", "trace_info")


def artifact_root(file: Path) -> Path:
    """The folder beside MLflow's SQLite file that holds its artifacts."""
    return file.parent / f"{file.stem}-artifacts"


def tracking_url(file: Path) -> str:
    """The URL under which MLflow finds its SQLite file."""
    # For "sqlite:" MLflow makes the folder itself, of the escaped path: another one, beside the right one.
    return sqlite_url(file) if quoted_path(str(file)) == str(file) else sqlite_url(file, driver="sqlite+pysqlite")


def is_made(file: Path) -> bool:
    """Whether MLflow's SQLite file is whole, or holds a record; one that cannot be read is left to MLflow."""
    if not file.is_file() or file.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            return any(
                connection.execute(f"SELECT 1 FROM {sign} LIMIT 1").fetchone() for sign in _SIGNS if sign in tables
            )
    except sqlite3.Error:
        return True


def make_whole(file: Path) -> None:
    """Makes MLflow's SQLite file unless it is made, in place of one that is half made and holds no record.

    Args:
        file: where it is to be; a link is followed.

    Raises: OSError, what MLflow raises, and MlflowUnreachable where another process makes it and does not finish.
    """
    target = file.resolve()
    if is_made(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        _wait_for_others(target)
        if is_made(target):
            return
        new = target.with_name(f".{target.name}.new")
        _remove(new)
        try:
            _create(new, artifact_root(target))
            # A journal of the file that goes would be played into the one that comes.
            _remove(target)
            os.replace(new, target)
            sync_folder(target.parent)
        finally:
            _remove(new)


def _wait_for_others(target: Path) -> None:
    """Lets an MLflow that knows no lock of ours, such as a server that starts, finish making the file."""
    while target.exists() and 0 <= time.time() - target.stat().st_mtime < _QUIET_S and not is_made(target):
        time.sleep(_LOOK_AGAIN_S)


def _create(new: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(tracking_url(new), str(artifacts))
    # Its connections would go on writing to the file under its old name.
    store.engine.dispose()
    with new.open("rb") as made:
        os.fsync(made.fileno())


def _remove(file: Path) -> None:
    for journal in _JOURNALS:
        file.with_name(f"{file.name}{journal}").unlink(missing_ok=True)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Holds the lock beside the file; the lock's file goes again, also one that a killed process left."""
    path = target.with_name(f".{target.name}.lock")
    number = _locked(path, time.monotonic() + _WAIT_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def _locked(path: Path, deadline: float) -> int:
    """The open, locked file; whoever waited for one that was removed meanwhile takes the one that is there now."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(number), path.stat()):
                return number
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(number)
                raise MlflowUnreachable(
                    f"Expected another process to finish making MLflow's file in {path.parent} within "
                    f"{_WAIT_S:.0f} s, found it still at work; end it, or wait, and sync again"
                ) from None
            time.sleep(_LOOK_AGAIN_S)
        os.close(number)
