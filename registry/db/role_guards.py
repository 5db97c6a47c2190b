"""The conditions on what a role may write, as PostgreSQL's triggers.

The owner of a table is not held by them: he can drop a trigger. SQLite has no roles, and none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection, inspect, text

from raie.registry.db.role_conditions import CONDITIONS, HERE, Condition

__all__ = ["create", "drop", "expected", "statements"]

_LATER = ("snapshot_notes", "event_positions")
"""Tables that came with a revision after the conditions."""


def create(connection: Connection) -> None:
    """Creates the triggers, replacing them where they exist; nothing on SQLite."""
    if connection.dialect.name != "postgresql":
        return
    drop(connection)
    made = list(statements(connection))
    path = connection.exec_driver_sql("SELECT current_setting('search_path')").scalar_one()
    # Names are looked up while a trigger is made: an operator of somebody else must not be found.
    _search(connection, "pg_catalog, pg_temp")
    for statement in made:
        connection.exec_driver_sql(statement.replace("%", "%%"))
    _search(connection, path)


def statements(connection: Connection) -> Iterator[str]:
    """The SQL that creates the triggers, which is also what the database should hold; none on SQLite."""
    if connection.dialect.name == "postgresql":
        schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
        for condition in _conditions(connection):
            yield from _statements(condition, schema)


def drop(connection: Connection) -> None:
    """Drops the triggers; nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        for condition in _conditions(connection):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {condition.name} ON {condition.table}")
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS hold_{condition.name}()")


def expected(connection: Connection) -> set[str]:
    """The triggers that the database should hold: none before the revision that made serial numbers long ones."""
    if connection.dialect.name != "postgresql":
        return set()
    long = text(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('outbox_events') AND attname = 'id' "
        "AND atttypid = 'bigint'::regtype"
    )
    return (
        {condition.name for condition in _conditions(connection)}
        if connection.execute(long).scalar_one()
        else set()
    )


def _conditions(connection: Connection) -> list[Condition]:
    """The conditions of the tables that are there: before revision 0007 one table had another name."""
    there = set(inspect(connection).get_table_names())
    named = [
        _as_before_0007(c) if c.table == "edit_checkpoints" and c.table not in there else c for c in CONDITIONS
    ]
    return [c for c in named if c.table not in _LATER or c.table in there]


def _as_before_0007(condition: Condition) -> Condition:
    return replace(condition, name="edit_parts_running", table="edit_parts")


def _search(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT set_config('search_path', :path, true)"), {"path": path})


def _statements(condition: Condition, schema: str) -> Iterator[str]:
    c, function = condition, f"{schema}.hold_{condition.name}"
    row = "NEW" if c.when == "before" else "NULL"
    message = c.message.replace("'", "''")
    yield f"""
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
    RETURN {row};
  END IF;
  IF NOT coalesce({c.holds.format(s=schema, here=HERE)}, false) THEN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = '{message}';
  END IF;
  RETURN {row};
END $$"""
    on = f"{c.events} ON {schema}.{c.table}"
    run = f"FOR EACH ROW EXECUTE FUNCTION {function}()"
    if c.when == "end":
        yield f"CREATE CONSTRAINT TRIGGER {c.name} AFTER {on} DEFERRABLE INITIALLY DEFERRED {run}"
    else:
        yield f"CREATE TRIGGER {c.name} {c.when.upper()} {on} {run}"
    yield f"ALTER TABLE {schema}.{c.table} ENABLE ALWAYS TRIGGER {c.name}"
