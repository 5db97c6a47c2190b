"""The triggers that hold people apart where the right to a table is too coarse.

On PostgreSQL a protected alias is moved only by who may approve: an editor may move every other one. On both
databases a closed edit is never rewritten, because its impact report speaks for its snapshot at a promotion.

A guard asks for a right (to insert an approval), not for a role's name, so roles may be called anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, inspect

from raie.registry.db import role_guards

__all__ = ["create", "drop", "expected", "statements"]

_FUNCTIONS = ("refuse_protected_alias", "refuse_closed_edit")
_CLOSED = "a closed edit is never rewritten"


def create(connection: Connection) -> None:
    """Creates the guards, replacing them where they exist."""
    drop(connection)
    for statement in statements(connection):
        connection.exec_driver_sql(statement)


def statements(connection: Connection) -> Iterator[str]:
    """The SQL that creates the guards, which is also what the database should hold."""
    return _postgres(connection) if connection.dialect.name == "postgresql" else _sqlite()


def drop(connection: Connection) -> None:
    """Drops the guards."""
    postgres = connection.dialect.name == "postgresql"
    for table, name in _on(connection.dialect.name):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{f' ON {table}' if postgres else ''}")
    for function in _FUNCTIONS if postgres else ():
        connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {function}()")


def expected(connection: Connection) -> set[str]:
    """The guards that the database should hold: none before there were policies."""
    there = inspect(connection).has_table("policies")
    old = {name for _, name in _on(connection.dialect.name)} if there else set()
    return old | role_guards.expected(connection)


def _on(dialect: str) -> list[tuple[str, str]]:
    """Table and trigger."""
    guarded = ["aliases", "alias_moves"] if dialect == "postgresql" else []
    return [*((table, f"{table}_protected") for table in guarded), ("edits", "edits_no_rewrite")]


def _sqlite() -> Iterator[str]:
    yield (
        "CREATE TRIGGER edits_no_rewrite BEFORE UPDATE ON edits WHEN OLD.state <> 'running' "
        f"BEGIN SELECT RAISE(ABORT, '{_CLOSED}'); END"
    )


def _postgres(connection: Connection) -> Iterator[str]:
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    yield _refuse_protected_alias(schema)
    for table, column in (("aliases", "name"), ("alias_moves", "alias")):
        yield (
            f"CREATE TRIGGER {table}_protected AFTER INSERT OR UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_protected_alias('{column}')"
        )
    yield (
        "CREATE FUNCTION refuse_closed_edit() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS "
        f"$$ BEGIN RAISE EXCEPTION USING MESSAGE = '{_CLOSED}'; END $$"
    )
    yield (
        "CREATE TRIGGER edits_no_rewrite BEFORE UPDATE ON edits FOR EACH ROW "
        "WHEN (OLD.state OPERATOR(pg_catalog.<>) 'running'::pg_catalog.varchar) "
        "EXECUTE FUNCTION refuse_closed_edit()"
    )
    for table, name in _on("postgresql"):
        yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"


def _refuse_protected_alias(schema: str) -> str:
    # Its own search path, and every table with its schema: another table, function or operator of the same name, in a
    # schema where somebody may create one, would else be asked.
    return f"""
CREATE FUNCTION refuse_protected_alias() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
BEGIN
  IF has_table_privilege(current_user, '{schema}.approvals', 'INSERT') THEN
    RETURN NULL;
  END IF;
  IF EXISTS (
    SELECT 1 FROM {schema}.policies AS one
    WHERE ((one.model = before ->> 'model' AND one.alias = before ->> TG_ARGV[0])
        OR (one.model = after ->> 'model' AND one.alias = after ->> TG_ARGV[0]))
      AND one.version = (SELECT max(version) FROM {schema}.policies WHERE model = one.model AND alias = one.alias)
      AND (one.policy::jsonb ->> 'protected')::boolean
  ) THEN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE =
      'alias ' || (coalesce(after, before) ->> TG_ARGV[0]) || ' of ' || (coalesce(after, before) ->> 'model')
      || ' is protected, and only who may approve moves it';
  END IF;
  RETURN NULL;
END $$"""
