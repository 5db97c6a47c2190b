"""Who may create something in the schema of the registry, and what others have created there.

Before version 15, PostgreSQL lets everybody create in `public`. An operator that fits the types of a column better than
PostgreSQL's own is then run in its place, with the rights of whoever asks.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from raie.registry.db.engine import reading
from raie.registry.errors import AccessDenied

__all__ = ["creators", "planted", "refuse_planted", "require_closed", "warnings_of"]

_OWNERS = """
  WITH here AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl,
      coalesce((SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid
                AND c.relname = 'alembic_version'), (SELECT r.oid FROM pg_catalog.pg_roles AS r
                WHERE r.rolname = current_user)) AS owner
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname = pg_catalog.current_schema()
  ), trusted AS (
    SELECT r.oid FROM pg_catalog.pg_roles AS r, here
    WHERE r.rolsuper OR r.oid IN (here.nspowner, here.owner) OR r.rolname = current_user
  )
"""
_CREATORS = (
    _OWNERS
    + """
  SELECT here.nspname AS schema, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS who
  FROM here, aclexplode(coalesce(here.nspacl, acldefault('n', here.nspowner))) AS a
  WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted) ORDER BY 2
"""
)
_PLANTED = (
    _OWNERS
    + """
  SELECT 'OPERATOR ' || o.oid::regoperator::text FROM pg_catalog.pg_operator AS o, here
  WHERE o.oprnamespace = here.oid AND o.oprowner NOT IN (SELECT oid FROM trusted)
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.objid = o.oid AND d.deptype = 'e')
  UNION ALL
  SELECT 'FUNCTION ' || p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p, here
  WHERE p.pronamespace = here.oid AND p.proowner NOT IN (SELECT oid FROM trusted)
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_proc AS q WHERE q.proname = p.proname
                AND q.pronamespace = 'pg_catalog'::regnamespace)
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
  ORDER BY 1
"""
)


def creators(connection: Connection) -> list[str]:
    """The roles, or PUBLIC, that may create in the registry's schema beside its owner; none on SQLite."""
    if connection.dialect.name != "postgresql":
        return []
    return [row.who for row in connection.execute(text(_CREATORS))]


def planted(connection: Connection) -> list[str]:
    """Operators of others in the registry's schema, and functions that have the name of one of PostgreSQL's own."""
    if connection.dialect.name != "postgresql":
        return []
    # What this looks for must not be found by it: with the schema on the path, its own operators would be theirs.
    there = text("SELECT pg_catalog.current_schema(), pg_catalog.current_setting('search_path')")
    schema, path = connection.execute(there).one()
    _search(connection, "pg_catalog, pg_temp")
    query = _PLANTED.replace("pg_catalog.current_schema()", ":schema")
    names = list(connection.execute(text(query), {"schema": schema}).scalars())
    _search(connection, path)
    return names


def _search(connection: Connection, path: str) -> None:
    connection.execute(text("SELECT pg_catalog.set_config('search_path', :path, true)"), {"path": path})


def refuse_planted(engine: Engine) -> None:
    """Raises AccessDenied, with the lines that remove it, where others have put into the schema what stands for ours."""
    if engine.dialect.name == "postgresql":
        with reading(engine) as connection:
            _refuse(planted(connection))


def _refuse(names: list[str]) -> None:
    if names:
        lines = " ".join(f"DROP {name};" for name in names[:3])
        raise AccessDenied(
            f"Expected no operator or function of somebody else in the registry's schema that could be run in place of "
            f"PostgreSQL's own, found {len(names)}; look at them, and as a superuser: {lines}"
        )


def require_closed(connection: Connection) -> None:
    """Raises AccessDenied, with the line to run, unless only the owner may create in the registry's schema."""
    _refuse(planted(connection))
    for row in connection.execute(text(_CREATORS)):
        if row.who == "PUBLIC":
            raise AccessDenied(
                f"Expected that not everybody may create in schema {row.schema} of the registry, found that PUBLIC may; "
                f"as the schema's owner or a superuser: REVOKE CREATE ON SCHEMA {row.schema} FROM PUBLIC; then again"
            )


def warnings_of(engine: Engine) -> list[str]:
    """One line for each role that may create in the registry's schema beside its owner."""
    if engine.dialect.name != "postgresql":
        return []
    with reading(engine) as connection:
        return [
            f"{who} may create in the registry's schema, and could put an operator or a function there that others run; "
            "`raie db grant` takes that from PUBLIC"
            for who in creators(connection)
        ]
