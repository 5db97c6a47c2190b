"""The triggers that keep the audit, and what else is only ever added to, append-only, on SQLite and PostgreSQL.

Raised by the database itself, whatever program connects. An owner can still drop them: the audit's hash chain
shows that. `create` replaces what is there, for a batch operation on SQLite copies a table without its triggers.
A revision names the tables it has: those of a later one are not there yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import Connection, inspect, text

__all__ = ["KEYS", "create", "create_function", "drop", "drop_function", "expected", "names", "statements"]

KEYS: Mapping[str, tuple[str, ...]] = {
    "alias_moves": ("id",),
    "snapshot_notes": ("id",),
    "approval_events": ("id",),
    "approvals": ("model", "alias", "snapshot", "actor"),
    "audit_events": ("id",),
    "evaluations": ("id",),
    "identity": ("id",),
    "key_events": ("id",),
    "policies": ("model", "alias", "version"),
    "signatures": ("model", "snapshot", "key"),
}
"""The append-only tables, each with its primary key."""


# Its own search path: somebody else's operator || would else be run, with the rights of whoever is refused.
_REFUSE = (
    "CREATE OR REPLACE FUNCTION refuse_append_only() RETURNS trigger LANGUAGE plpgsql "
    "SET search_path = pg_catalog, pg_temp AS "
    "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$"
)


def create(connection: Connection, tables: Iterable[str] = KEYS) -> None:
    """Creates the triggers of some tables, replacing them where they exist."""
    for table in tables:
        drop(connection, [table])
        for statement in statements(connection, [table]):
            connection.exec_driver_sql(statement)


def create_function(connection: Connection) -> None:
    """Creates, or brings up to date, what PostgreSQL's triggers run."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_REFUSE)


def statements(connection: Connection, tables: Iterable[str] = KEYS) -> Iterator[str]:
    """The SQL that creates the triggers of some tables, which is also what the database should hold."""
    of = _postgres if connection.dialect.name == "postgresql" else _sqlite
    for table in tables:
        yield from of(table)


def drop(connection: Connection, tables: Iterable[str] = KEYS) -> None:
    """Drops the triggers of some tables."""
    _settle(connection)
    for table in tables:
        on = f" ON {table}" if connection.dialect.name == "postgresql" else ""
        for name in _names_of(table, connection.dialect.name):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{on}")


def _settle(connection: Connection) -> None:
    """Runs what waits for the end of the transaction: it would hold up any change of its table."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")


def drop_function(connection: Connection) -> None:
    """Drops what PostgreSQL's triggers run, once no trigger needs it."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP FUNCTION IF EXISTS refuse_append_only()")


def names(connection: Connection) -> set[str]:
    """The triggers that the database holds."""
    query = {
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A'",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    }[connection.dialect.name]
    return set(connection.execute(text(query)).scalars())


def expected(connection: Connection) -> set[str]:
    """The triggers that it should hold: those of the tables that it has."""
    there = set(inspect(connection).get_table_names())
    return {name for table in there.intersection(KEYS) for name in _names_of(table, connection.dialect.name)}


def _names_of(table: str, dialect: str) -> tuple[str, ...]:
    last = "truncate" if dialect == "postgresql" else "replace"
    return tuple(f"{table}_no_{event}" for event in ("update", "delete", last))


def _sqlite(table: str) -> Iterator[str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}"
    yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}"
    # INSERT OR REPLACE passes the delete trigger on a connection without recursive_triggers.
    same = " AND ".join(f"{column} = NEW.{column}" for column in KEYS[table])
    taken = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"
    yield f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} {taken} {refuse}"


def _postgres(table: str) -> Iterator[str]:
    yield _REFUSE
    run = "EXECUTE FUNCTION refuse_append_only()"
    yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW {run}"
    yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} FOR EACH ROW {run}"
    yield f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {run}"
    # ALWAYS: they fire in a replication session too, which a superuser could otherwise use to get around them.
    for name in _names_of(table, "postgresql"):
        yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
