"""What the audit chain says of a schema's upgrade."""

from __future__ import annotations

from sqlalchemy import Connection

from raie.registry.audit import append
from raie.registry.author import Author
from raie.registry.maintenance.record_check import baseline
from raie.registry.states import AuditAction

__all__ = ["append_upgrade"]


def append_upgrade(connection: Connection, before: str | None, after: str | None, *, author: Author) -> None:
    """Adds that the schema went from one revision to another, in the migration's own transaction.

    Its digest is of all rows that older events stand for without one: changed after the upgrade, they no longer fit it.
    """
    known = baseline(connection)
    append(
        connection,
        author=author,
        action=AuditAction.UPGRADE,
        subject="schema",
        source=before,
        target=after,
        digest=known,
    )
