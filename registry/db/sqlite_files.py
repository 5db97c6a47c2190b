"""How an SQLite file is opened: by who may write it as ever, and by who may only read it so that nothing is written.

Every connection of a database with a write-ahead log wants to write beside the file. Who may not do that reads the file
as it is, where nobody has it open: SQLite then locks nothing, so each reading checks at its end that nobody wrote.
Where a writer is at work its log and index are there, and are read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["ReadOnlyConnection", "connector", "preparer"]

_State = tuple[int, int, int] | None


class ReadOnlyConnection(sqlite3.Connection):
    """A connection that writes nothing, to a file or beside it."""

    file: Path | None = None
    """The file that is read without a lock; None where a writer's index says what is whole."""
    state: _State = None

    def was_written(self) -> bool:
        """Whether somebody wrote the file since it was opened, so that what was read may be of two moments."""
        return self.file is not None and _state_of(self.file) != self.state


def connector(_dialect: Any, _record: Any, given: list[Any], named: dict[str, Any]) -> sqlite3.Connection | None:
    """A handler of SQLAlchemy's do_connect: a read-only connection to a file that may only be read, else None."""
    file = Path(os.fsdecode(given[0])) if given else Path()
    if not file.is_file() or _may_write(file):
        return None
    beside = _beside(file, "-wal").exists()
    state = None if beside else _state_of(file)
    how = "mode=ro&readonly_shm=1" if beside else "mode=ro&immutable=1"
    options = named | {"uri": True, "factory": ReadOnlyConnection}
    connection: ReadOnlyConnection = sqlite3.connect(f"file:{quote(str(file.absolute()))}?{how}", **options)
    connection.file, connection.state = None if beside else file, state
    return connection


def preparer(timeout_s: float) -> Callable[[Any, Any], None]:
    """A handler of SQLAlchemy's connect; timeout_s: seconds for which a lock is waited for."""

    def prepare(connection: Any, _record: Any) -> None:
        # Without this the driver begins transactions itself, and a failed migration leaves half its tables.
        connection.isolation_level = None
        cursor = connection.cursor()
        # The first one decides how long the others wait.
        cursor.execute(f"PRAGMA busy_timeout={1000 * timeout_s:.0f}")
        if not isinstance(connection, ReadOnlyConnection):
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # INSERT OR REPLACE deletes a row without firing its delete trigger unless triggers are recursive.
        cursor.execute("PRAGMA recursive_triggers=ON")
        cursor.close()

    return prepare


def _may_write(file: Path) -> bool:
    """Whether who runs this may write the file, and make others beside it.

    Those others are not looked at: they come and go with every connection of anybody, and one that is gone by the time
    it is asked about would look like one that may not be written.
    """
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _state_of(file: Path) -> _State:
    """What a write changes; None where a writer has the file open, or it is gone."""
    try:
        status = file.stat()
    except OSError:
        return None
    return None if _beside(file, "-wal").exists() else (status.st_ino, status.st_size, status.st_mtime_ns)
