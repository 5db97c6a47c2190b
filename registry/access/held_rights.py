"""Which of the roles a connection can act as, as its rights to the tables say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from raie.registry.access.postgres_roles import RIGHTS

__all__ = ["HeldRights", "held_rights"]

_COLUMNS = re.compile(r"(\w+) \((.*)\)")
_MARKS = {
    "editor": ("heads", "INSERT"),
    "promoter": ("approvals", "INSERT"),
    "collector": ("blobs", "DELETE"),
}
"""Role -> a right that no other role has: who has it is meant to be that role."""


@dataclass(frozen=True)
class HeldRights:
    """What a connection may do.

    owner: whether it owns the tables, and so may do everything.  roles: those whose every right it has.  lacking: role
    that it is meant to be -> rights that it has not got.
    """

    owner: bool
    roles: tuple[str, ...]
    lacking: Mapping[str, tuple[str, ...]]


def held_rights(connection: Connection) -> HeldRights | None:
    """The rights of a connection to PostgreSQL; None on SQLite, which has none.

    Args:
        connection: to the registry's database.
    """
    if connection.dialect.name != "postgresql":
        return None
    owner = connection.execute(
        text(
            "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('audit_events')"
        )
    ).scalar()
    if owner:
        return HeldRights(True, tuple(RIGHTS), {})
    missing = {role: tuple(_missing(connection, rights)) for role, rights in RIGHTS.items()}
    meant = {role for role, (table, right) in _MARKS.items() if _holds(connection, table, right)}
    return HeldRights(
        False,
        tuple(role for role, lacks in missing.items() if not lacks and _reads(connection)),
        {role: missing[role] for role in sorted(meant) if missing[role]},
    )


def _missing(connection: Connection, rights: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for table, granted in rights.items():
        for right in granted:
            if not _holds(connection, table, right):
                yield f"{right} on {table}"


def _holds(connection: Connection, table: str, right: str) -> bool:
    if match := _COLUMNS.fullmatch(right):
        query = text("SELECT has_column_privilege(current_user, :table, :column, :right)")
        columns = [{"table": table, "column": c.strip(), "right": match[1]} for c in match[2].split(",")]
        return all(connection.execute(query, bound).scalar() for bound in columns)
    query = text("SELECT has_table_privilege(current_user, :table, :right)")
    return bool(connection.execute(query, {"table": table, "right": right}).scalar())


def _reads(connection: Connection) -> bool:
    return _holds(connection, "snapshots", "SELECT")
