"""Who may read an SQLite registry and not write it reads it, writes nothing beside it, and sees one moment."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from raie.registry import DatabaseBusy, DatabaseFull, Registry
from raie.registry.db.engine import reading
from raie.registry.maintenance.verify import verify
from tests.registry.building import MODEL, World

NOBODY = 65534


def as_reader(act: Callable[[], None]) -> None:
    """Runs it in a process of somebody who may only read."""
    if os.getuid() != 0:
        act()
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def shelf(local_registry: Registry) -> Path:
    """A folder with a registry and its store, which only its owner may write."""
    World(local_registry).setup()
    folder = Path(str(local_registry.engine.url.database)).parent
    folder.parent.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def open_on(folder: Path) -> Registry:
    return Registry.open(f"sqlite:///{folder / 'registry.db'}", str(folder / "store"))


def test_a_reader_without_the_right_to_write_reads_and_leaves_no_file(shelf: Path) -> None:
    before = sorted(path.name for path in shelf.iterdir())

    def read() -> None:
        registry = open_on(shelf)
        assert registry.head(MODEL) is not None
        assert verify(registry).ok
        with pytest.raises(DatabaseFull, match=r"may be written, found .* reading commands work"):
            World(registry).begin()

    as_reader(read)
    assert sorted(path.name for path in shelf.iterdir()) == before


def test_a_reader_sees_what_a_writer_that_is_at_work_has_committed(shelf: Path) -> None:
    shelf.chmod(0o755)
    (shelf / "registry.db").chmod(0o644)
    writer = sqlite3.connect(shelf / "registry.db")
    try:
        writer.execute("UPDATE audit_head SET event = event + 41")
        writer.commit()

        def read() -> None:
            with reading(open_on(shelf).engine) as connection:
                assert connection.execute(text("SELECT event FROM audit_head")).scalar_one() > 41

        as_reader(read)
    finally:
        writer.close()


def test_a_file_that_is_written_while_it_is_read_without_a_lock_is_told(shelf: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs a second user, who writes")
    ready, go = os.pipe(), os.pipe()

    def look() -> None:
        with reading(open_on(shelf).engine) as connection:
            connection.execute(text("SELECT event FROM audit_head")).scalar_one()
            os.write(ready[1], b"x")
            os.read(go[0], 1)

    def read() -> None:
        with pytest.raises(DatabaseBusy, match="somebody wrote it; repeat"):
            look()

    if os.fork() == 0:
        # Its own end would keep it waiting for ever where the reader fails.
        os.close(ready[1])
        if not os.read(ready[0], 1):
            os._exit(0)
        with sqlite3.connect(shelf / "registry.db") as writer:
            writer.execute("UPDATE audit_head SET event = event + 1")
        writer.close()
        os.write(go[1], b"x")
        os._exit(0)
    try:
        as_reader(read)
    finally:
        os.close(ready[1])
        os.wait()
