"""The SQL that lists the names of a model, which both databases and Python's own sqlite3 understand.

It is kept apart from SQLAlchemy: a shell that completes a name waits for nothing that takes long to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["NAME_QUERIES", "named_rows"]

NAME_QUERIES: Mapping[str, str] = {
    "aliases": "SELECT name, snapshot FROM aliases WHERE model = :model ORDER BY name LIMIT :limit",
    "edits": "SELECT number, kind, created_at, reason FROM edits WHERE model = :model ORDER BY number DESC LIMIT :limit",
    "snapshots": "SELECT s.id, s.edit, s.created_at, e.reason FROM snapshots s "
    "JOIN edits e ON e.model = s.model AND e.number = s.edit "
    "LEFT JOIN expired_snapshots x ON x.snapshot = s.id "
    "WHERE s.model = :model AND x.snapshot IS NULL AND s.id LIKE :start ORDER BY s.created_at DESC LIMIT :limit",
    "regions": "SELECT region, max(version) FROM adapter_versions WHERE model = :model GROUP BY region "
    "ORDER BY region LIMIT :limit",
    "models": "SELECT name FROM models ORDER BY name LIMIT :limit",
    "tags": "SELECT DISTINCT tag FROM snapshot_notes WHERE model = :model AND tag IS NOT NULL ORDER BY tag LIMIT :limit",
}
"""What is listed -> its query. All take :limit, all but models :model, and snapshots the beginning of an id as :start."""


def named_rows(engine: Engine, what: str, bound: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The rows of one of the queries.

    Args:
        engine: of the registry's database.
        what: a key of NAME_QUERIES.
        bound: the query's parameters, and perhaps more.

    Raises:
        DatabaseUnreachable: where there is no answer.
    """
    from sqlalchemy import text

    from raie.registry.db.engine import reading

    query = text(NAME_QUERIES[what])
    with reading(engine) as connection:
        rows = connection.execute(query, {name: bound[name] for name in query.compile().params})
        return [tuple(row) for row in rows]
