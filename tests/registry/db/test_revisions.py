"""A registry of any revision, with a history in it, moves up and down one revision at a time and loses nothing.

A new revision is tested here as soon as it is there; revisions.py says what it needs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import inspect, text

from raie import migrations
from raie.registry import Author, LocalStore, Registry, SchemaMismatch, lineage
from raie.registry.db import triggers
from raie.registry.db.engine import open_engine, reading
from raie.registry.db.tables import APPEND_ONLY_TABLES, SCHEMA_REVISION
from raie.registry.maintenance.verify import verify
from tests.conftest import memory
from tests.registry.building import MODEL, World
from tests.registry.db.revisions import BLOBS, REVISIONS, SAMPLES, Shelf

Columns = Mapping[str, list[str]]
Rows = Mapping[str, list[tuple[Any, ...]]]


def test_every_revision_has_a_sample_of_what_it_adds() -> None:
    assert sorted(SAMPLES) == REVISIONS, "add tests/registry/db/samples/NNNN.json, as revisions.py says"
    assert REVISIONS[-1] == SCHEMA_REVISION


def columns(url: str) -> Columns:
    with reading(open_engine(url)) as connection:
        inspector = inspect(connection)
        tables = set(inspector.get_table_names()) - {"alembic_version"}
        return {table: [column["name"] for column in inspector.get_columns(table)] for table in sorted(tables)}


RENAMED = {"edit_parts": "edit_checkpoints"}
"""Tables by the name that they had before revision 0007."""


def rows(url: str, wanted: Columns) -> Rows:
    """Every row of these columns, a table that was renamed under either name."""
    former = {new: old for old, new in RENAMED.items()}
    with reading(open_engine(url)) as connection:
        there = inspect(connection).get_table_names()
        return {
            table: sorted(map(tuple, connection.execute(text(f"SELECT {', '.join(names)} FROM {here}"))), key=repr)
            for table, names in wanted.items()
            for here in [table if table in there else (RENAMED | former)[table]]
        }


def trigger_names(url: str) -> set[str]:
    with reading(open_engine(url)) as connection:
        return triggers.names(connection)


def dangling(url: str) -> list[Any]:
    """What SQLite's foreign_key_check finds; PostgreSQL never lets it come so far."""
    with reading(open_engine(url)) as connection:
        if connection.dialect.name == "postgresql":
            return []
        return list(connection.exec_driver_sql("PRAGMA foreign_key_check").all())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    """Databases of each kind, with a history of each revision that is made once."""
    server = request.getfixturevalue("postgres_server") if request.param == "postgresql" else None
    with tempfile.TemporaryDirectory(prefix="raie-test-", dir=memory()) as folder, ExitStack() as stays:
        yield Shelf(Path(folder), server, stays)


@dataclass(frozen=True)
class Empty:
    """What a database without a row has at a revision: the names of its triggers and of its tables."""

    triggers: set[str]
    tables: set[str]


@pytest.fixture(scope="module")
def empty(shelf: Shelf) -> Mapping[str, Empty]:
    """Revision -> what a database that was empty when it was brought there has."""
    by_revision = {}
    with shelf.database() as url:
        for revision in REVISIONS:
            migrations.upgrade(url, revision)
            by_revision[revision] = Empty(trigger_names(url), set(columns(url)))
        migrations.downgrade(url, "base")
        assert trigger_names(url) == set()
    return by_revision


@pytest.fixture
def filled(shelf: Shelf) -> Iterator[Callable[[str], str]]:
    """A database of this test's own that holds the history of a revision."""
    with ExitStack() as stack:
        yield lambda revision: stack.enter_context(shelf.database(shelf.filled(revision)))


def test_each_append_only_table_has_its_three_triggers(shelf: Shelf, empty: Mapping[str, Empty]) -> None:
    last = "replace" if shelf.server is None else "truncate"
    for revision in REVISIONS:
        tables = empty[revision].tables & set(APPEND_ONLY_TABLES)
        wanted = {f"{table}_no_{event}" for table in tables for event in ("update", "delete", last)}
        assert wanted <= empty[revision].triggers
    assert tables == set(APPEND_ONLY_TABLES)


@pytest.mark.parametrize("start", REVISIONS)
def test_every_step_up_keeps_every_row_and_trigger(
    filled: Callable[[str], str], start: str, empty: Mapping[str, Empty]
) -> None:
    url = filled(start)
    wanted = columns(url)
    before = rows(url, wanted)
    for revision in REVISIONS[REVISIONS.index(start) :]:
        assert migrations.upgrade(url, revision) == revision
        assert lost(before, rows(url, wanted)) == {}
        assert trigger_names(url) == empty[revision].triggers
        assert dangling(url) == []


def test_every_step_down_keeps_the_rows_of_the_older_revision_and_an_upgrade_brings_the_tables_back(
    filled: Callable[[str], str], empty: Mapping[str, Empty]
) -> None:
    url = filled(SCHEMA_REVISION)
    full = columns(url)
    before = rows(url, full)
    for revision in REVISIONS[-2::-1]:
        assert migrations.downgrade(url, revision) == revision
        left = columns(url)
        assert rows(url, left) == {
            table: sorted((_only(row, full[was], names) for row in before[was]), key=repr)
            for table, names in left.items()
            for was in [table if table in full else RENAMED[table]]
        }
        assert trigger_names(url) == empty[revision].triggers
        assert dangling(url) == []
    oldest = columns(url)
    kept = rows(url, oldest)
    assert migrations.upgrade(url) == SCHEMA_REVISION
    assert columns(url) == full
    assert lost(kept, rows(url, oldest)) == {}
    assert trigger_names(url) == empty[SCHEMA_REVISION].triggers
    # Once, since every history goes through the same revisions in the same order: this one through all of them twice.
    with open_engine(url).connect() as connection:
        command.check(migrations.configuration(connection))


def lost(before: Rows, after: Rows) -> dict[str, set[tuple[Any, ...]]]:
    """The rows that are gone or changed; a revision may append audit events, which moves the chain head."""
    gone = {table: set(before[table]) - set(after[table]) for table in before.keys() - {"audit_head"}}
    added = {table for table in gone if len(after[table]) > len(before[table])} - {"audit_events"}
    return {table: rows for table, rows in gone.items() if rows or table in added}


def _only(row: tuple[Any, ...], names: list[str], wanted: list[str]) -> tuple[Any, ...]:
    return tuple(row[names.index(name)] for name in wanted)


@pytest.mark.parametrize("start", REVISIONS)
def test_a_registry_of_any_revision_goes_on_after_an_upgrade(
    filled: Callable[[str], str], scratch: Path, start: str
) -> None:
    database_url = filled(start)
    store = LocalStore(scratch / "store")
    for blob in SAMPLES[REVISIONS[0]][BLOBS]:
        store.put(blob.encode())
    for snapshot in SAMPLES[REVISIONS[0]]["snapshots"]:
        store.put(snapshot["manifest"].encode())
    if start != SCHEMA_REVISION:
        with pytest.raises(SchemaMismatch, match=rf"{SCHEMA_REVISION}.*found {start}.*`raie db upgrade`"):
            Registry.open(database_url, str(store.root))
    migrations.upgrade(database_url)
    registry = Registry.open(database_url, str(store.root))
    assert verify(registry).ok
    assert [entry.edit.number for entry in lineage.history(registry, MODEL)] == [5, 4, 3, 2, 1]
    assert registry.resolve(MODEL, "production").edit == 5
    assert registry.resume(MODEL, 6, force=True).state == "running"
    after = World(registry).edit(0, text="after")
    assert registry.head(MODEL) == after
    assert (
        registry.rollback_edit(MODEL, after.edit, Author("ada")).content
        == registry.resolve(MODEL, "edit:4").content
    )
    assert verify(registry).ok
