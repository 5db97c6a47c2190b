"""Who may do what in PostgreSQL: four roles with the least rights, as one table and the SQL that it makes.

Nobody but the owner of the tables may change or delete what is append-only, set a policy or trust a key: the owner is
who runs `raie db upgrade`, and need not be anybody who edits or promotes. Triggers refuse what a right to a table is too
coarse for: see raie.registry.db.guards and raie.registry.db.role_guards.

SQLite has no roles: whoever may write the file may change everything in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Engine

from raie.registry import audit
from raie.registry.access import schema_rights
from raie.registry.author import Author
from raie.registry.db.engine import write
from raie.registry.db.tables import metadata
from raie.registry.errors import InvalidValue
from raie.registry.states import AuditAction

__all__ = ["RIGHTS", "ROLES", "grant", "statements"]

_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SERIAL = ("alias_moves", "snapshot_notes", "approval_events", "evaluations", "key_events", "outbox_events")
_AUDIT = {"audit_events": ("INSERT",), "audit_head": ("UPDATE (event, hash)",)}
_MOVE = {
    "aliases": ("INSERT", "UPDATE (snapshot, moved_at)", "DELETE"),
    "alias_moves": ("INSERT",),
    "snapshot_notes": ("INSERT",),
    "evaluations": ("INSERT",),
    "signatures": ("INSERT",),
}
_CLOSE = "UPDATE (state, result, proposal, report, closed_at, close_reason, lease_owner, lease_expires_at)"
# A cherry-pick is a snapshot too, so who promotes one region commits one; but no head moves.
_COMMIT = {
    "models": ("UPDATE (last_edit)",),
    "edits": ("INSERT", _CLOSE),
    "blobs": ("INSERT", "UPDATE (state, put_at)"),
    "snapshots": ("INSERT",),
    "snapshot_blobs": ("INSERT",),
    "expired_snapshots": ("DELETE",),
    "adapter_versions": ("INSERT",),
    "operations": ("INSERT",),
    "outbox_events": (
        "INSERT",
        "UPDATE (published_at, attempts, last_error, progress, lease_owner, lease_expires_at)",
    ),
    "event_positions": (
        "INSERT",
        "UPDATE (position, attempts, next_at, last_error, delivered_at, lease_owner, lease_expires_at)",
    ),
}

RIGHTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "reader": {},
    "editor": _AUDIT
    | _COMMIT
    | _MOVE
    | {
        "models": ("INSERT", "UPDATE (last_edit)"),
        "heads": ("INSERT", "UPDATE (snapshot, moved_at)"),
        "edit_checkpoints": ("INSERT", "UPDATE (value, created_at)"),
    },
    "promoter": _AUDIT | _COMMIT | _MOVE | {"approvals": ("INSERT",), "approval_events": ("INSERT",)},
    "collector": _AUDIT
    | {
        # Nobody may lock a row of a table that he may not update at all.
        "models": ("UPDATE (last_edit)",),
        "blobs": ("INSERT", "UPDATE (state)", "DELETE"),
        "snapshot_blobs": ("INSERT", "DELETE"),
        "expired_snapshots": ("INSERT",),
    },
}
"""Role -> table -> rights beside SELECT, which every role has on every table."""

ROLES: Mapping[str, str] = {
    "reader": "looks at everything and loads snapshots",
    "editor": "edits, rolls back, and moves or deletes aliases that are not protected",
    "promoter": "approves, and moves protected aliases",
    "collector": "runs expire and gc, and commits nothing",
}


def statements(prefix: str = "raie") -> Iterator[str]:
    """The SQL that makes the roles PREFIX_reader and so on, or gives those that are there exactly these rights.

    Raises InvalidValue for a prefix that no role should have.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidValue(f"Expected a prefix of lower-case letters, digits and _, found {ascii(prefix)[:80]}")
    tables = ", ".join((*sorted(metadata.tables), "alembic_version"))
    sequences = ", ".join(f"{table}_id_seq" for table in _SERIAL)
    yield _on_schema("REVOKE CREATE", "FROM PUBLIC")
    for role, rights in RIGHTS.items():
        name = f"{prefix}_{role}"
        yield (
            f"DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{name}') "
            f"THEN CREATE ROLE {name} NOLOGIN; END IF; END $$"
        )
        yield f"REVOKE ALL ON {tables} FROM {name}"
        yield f"REVOKE ALL ON SEQUENCE {sequences} FROM {name}"
        yield _on_schema("REVOKE CREATE", f"FROM {name}")
        yield _on_schema("GRANT USAGE", f"TO {name}")
        yield f"GRANT SELECT ON {tables} TO {name}"
        for table, granted in rights.items():
            yield f"GRANT {', '.join(granted)} ON {table} TO {name}"
            if table in _SERIAL:
                yield f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {name}"


def _on_schema(right: str, whom: str) -> str:
    return f"DO $$ BEGIN EXECUTE '{right} ON SCHEMA ' || quote_ident(current_schema()) || ' {whom}'; END $$"


def grant(engine: Engine, prefix: str = "raie", *, author: Author) -> list[str]:
    """Makes the roles in one transaction, which the audit records; returns their names.

    Nobody else may create in the registry's schema afterwards. Raises InvalidValue for a database that has no roles, and
    AccessDenied for who may not make any, or may not close the schema: with the line to run.
    """
    if engine.dialect.name != "postgresql":
        raise InvalidValue(
            "Expected a PostgreSQL database to make roles in, found SQLite, which has none: whoever may write its file "
            "may change everything in it; give the file's permissions (chmod) to those who may"
        )
    made = list(statements(prefix))

    def step(connection: Connection) -> None:
        for statement in made:
            connection.exec_driver_sql(statement)
        schema_rights.require_closed(connection)
        audit.append(connection, author=author, action=AuditAction.GRANT, subject=f"roles:{prefix}")

    write(engine, step)
    return [f"{prefix}_{role}" for role in RIGHTS]
