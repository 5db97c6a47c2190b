"""The database and the tables in the code are the same thing, and a migration happens whole or not at all."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from raie import migrations
from raie.registry import AuditEvent, Author, Registry, SchemaMismatch, audit, trust
from raie.registry.db import guards, triggers
from raie.registry.db.engine import open_engine, reading
from raie.registry.db.tables import APPEND_ONLY_TABLES, SCHEMA_REVISION, metadata
from raie.registry.maintenance.verify import verify
from raie.registry.ownership import identity
from tests.registry.building import MODEL, World
from tests.registry.db.legacy import legacy
from tests.registry.db.revisions import without_digests


def tables(url: str) -> set[str]:
    with reading(open_engine(url)) as connection:
        return set(inspect(connection).get_table_names())


def test_an_upgrade_makes_every_table_and_trigger(database_url: str) -> None:
    assert migrations.current(database_url) is None
    assert migrations.upgrade(database_url) == SCHEMA_REVISION
    assert migrations.current(database_url) == SCHEMA_REVISION
    assert tables(database_url) == set(metadata.tables) | {"alembic_version"}
    with reading(open_engine(database_url)) as connection:
        assert triggers.names(connection) == triggers.expected(connection) | guards.expected(connection)
        assert len(triggers.expected(connection)) == 3 * len(APPEND_ONLY_TABLES)
        assert connection.execute(text("SELECT id, event FROM audit_head")).all() == [(1, 1)]
        assert audit.verify_chain(connection).problems == ()
        assert identity.problems(connection) == []


def test_the_tables_in_the_code_are_those_in_the_database(database_url: str) -> None:
    migrations.upgrade(database_url)
    with open_engine(database_url).connect() as connection:
        command.check(migrations.configuration(connection))


def test_the_revision_in_the_code_is_alembic_s_head(sqlite_url: str) -> None:
    with open_engine(sqlite_url).connect() as connection:
        scripts = ScriptDirectory.from_config(migrations.configuration(connection))
    assert scripts.get_current_head() == SCHEMA_REVISION
    assert tuple(triggers.KEYS) == APPEND_ONLY_TABLES


def test_upgrading_again_changes_nothing(database_url: str) -> None:
    migrations.upgrade(database_url)
    with open_engine(database_url).begin() as connection:
        connection.execute(text("INSERT INTO models (name, last_edit, created_at) VALUES ('recsys', 3, 1.5)"))
    assert migrations.upgrade(database_url) == SCHEMA_REVISION
    with reading(open_engine(database_url)) as connection:
        assert connection.execute(text("SELECT name, last_edit FROM models")).all() == [("recsys", 3)]


def test_a_downgrade_takes_everything_away_and_an_upgrade_brings_it_back(database_url: str) -> None:
    migrations.upgrade(database_url)
    assert migrations.downgrade(database_url, "base") is None
    assert tables(database_url) == {"alembic_version"}
    assert migrations.upgrade(database_url) == SCHEMA_REVISION


def rows(url: str) -> dict[str, list[list[tuple[str, object]]]]:
    """Every row of every table that the first revision has, in its own columns."""
    later = {"expired_snapshots", "identity", "approvals", "evaluations", "key_events", "policies", "signatures"}
    later |= {"snapshot_notes", "approval_events", "event_positions"}
    tables = [table for table in metadata.tables if table not in later]
    with reading(open_engine(url)) as connection:
        old = {"edit_checkpoints": "edit_parts"} if inspect(connection).has_table("edit_parts") else {}
        by_table = {t: connection.execute(text(f"SELECT * FROM {old.get(t, t)}")).mappings().all() for t in tables}
    return {t: sorted((sorted({**row, "digest": None}.items()) for row in by_table[t]), key=repr) for t in tables}


@pytest.fixture
def older(database_url: str, scratch: Path) -> Registry:
    """A registry whose objects lie in the store's root, where older revisions look for them."""
    return legacy(database_url, str(scratch / "store"))


def test_a_registry_with_a_history_goes_back_a_revision_and_up_again_without_losing_a_row(
    older: Registry, database_url: str
) -> None:
    world, url = World(older), database_url
    world.setup()
    world.edit(1, text="a")
    world.registry.promote(MODEL, "head", "production", Author("ada"))
    without_digests(older.engine)
    before, events = rows(url), audit_events(older)
    assert migrations.downgrade(url, "0001") == "0001"
    assert rows(url) == before
    with pytest.raises(SchemaMismatch, match="raie db upgrade"):
        Registry.open(url, "elsewhere")
    assert migrations.upgrade(url) == SCHEMA_REVISION
    after = rows(url)
    assert [table for table in before if after[table] != before[table]] == ["audit_events", "audit_head"]
    assert [event.action for event in audit_events(older)[len(events) :]] == ["identity"]
    assert audit_events(older)[: len(events)] == events
    assert verify(older).ok
    assert world.edit(1, text="b") == world.head
    assert verify(older).ok


def test_going_back_to_where_nothing_expired_is_refused_once_something_has(
    older: Registry, database_url: str
) -> None:
    first = World(older).setup()
    with older.engine.begin() as connection:
        row = "INSERT INTO expired_snapshots (snapshot, at, actor, reason, event) VALUES (:id, 0, 'ada', '', 1)"
        connection.execute(text(row), {"id": first.id})
    without_digests(older.engine)
    with pytest.raises(SchemaMismatch, match="found 1"):
        migrations.downgrade(database_url, "0001")
    assert migrations.current(database_url) == SCHEMA_REVISION


def test_going_back_to_where_no_alias_is_protected_is_refused_while_one_is(
    older: Registry, database_url: str
) -> None:
    World(older).setup()
    trust.set_policy(older, MODEL, "production", {"locality": True}, author=Author("ada"))
    without_digests(older.engine)
    with pytest.raises(SchemaMismatch, match="found production"):
        migrations.downgrade(database_url, "0002")
    trust.set_policy(older, MODEL, "production", {"protected": False}, author=Author("ada"))
    trust.trust_key(older, MODEL, "a" * 64, "release", author=Author("ada"))
    without_digests(older.engine)
    events = audit_events(older)
    assert migrations.downgrade(database_url, "0002") == "0002"
    assert migrations.upgrade(database_url) == SCHEMA_REVISION
    assert trust.policies(older, MODEL) == []
    assert audit_events(older)[:-1] == events


def test_a_registry_that_went_back_and_came_again_keeps_its_objects_in_the_root(
    any_database: Registry, database_url: str
) -> None:
    assert migrations.downgrade(database_url, "0003") == "0003"
    migrations.upgrade(database_url)
    registry = Registry.open(database_url, str(any_database.store.top))  # type: ignore[attr-defined]
    assert registry.store.scope == "", "it had an audit by then, and may have had a store"
    World(registry).setup()
    without_digests(registry.engine)
    assert migrations.downgrade(database_url, "0003") == "0003"


def test_a_registry_with_blobs_in_a_part_of_its_own_does_not_go_back(
    any_database: Registry, database_url: str
) -> None:
    World(any_database).setup()
    without_digests(any_database.engine)
    with pytest.raises(SchemaMismatch, match=r"found them below registries/[0-9a-f]{32}; stay at 0004"):
        migrations.downgrade(database_url, "0003")
    assert migrations.current(database_url) == SCHEMA_REVISION


def test_going_back_to_a_raie_that_could_not_verify_the_chain_is_refused(any_database: Registry) -> None:
    url = any_database.engine.url.render_as_string(hide_password=False)
    World(any_database).setup()
    with pytest.raises(SchemaMismatch, match="found 2; an older raie could not verify them"):
        migrations.downgrade(url, "0003")
    assert migrations.current(url) == SCHEMA_REVISION
    assert verify(any_database).ok


def audit_events(registry: Registry) -> list[AuditEvent]:
    with reading(registry.engine) as connection:
        return list(audit.events(connection))


def test_every_registry_has_a_name_of_its_own_that_nobody_changes(any_database: Registry, scratch: Path) -> None:
    second = f"sqlite:///{scratch / 'other.db'}"
    migrations.upgrade(second)
    names = set()
    for engine in (any_database.engine, open_engine(second)):
        with reading(engine) as connection:
            names.add(connection.execute(text("SELECT registry FROM identity")).scalar_one())
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(text("UPDATE identity SET registry = 'another'"))
    assert len(names) == 2


def test_a_migration_that_fails_leaves_no_table_behind(database_url: str) -> None:
    with open_engine(database_url).begin() as connection:
        connection.execute(text("CREATE TABLE outbox_events (mine INTEGER)"))
    with pytest.raises(Exception, match="outbox_events"):
        migrations.upgrade(database_url)
    assert tables(database_url) == {"outbox_events"}


def test_a_database_of_a_newer_raie_is_left_alone(database_url: str) -> None:
    migrations.upgrade(database_url)
    with open_engine(database_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="install a newer raie"):
        migrations.upgrade(database_url)
    assert migrations.current(database_url) == "9999"


def test_an_upgrade_makes_the_folder_of_a_new_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'registry.db'}"
    assert migrations.upgrade(url) == SCHEMA_REVISION


def test_what_alembic_reads_as_files_is_part_of_the_package() -> None:
    packaged = {path.name for path in files(migrations).iterdir()}
    assert {"env.py", "script.py.mako", "versions"} <= packaged
