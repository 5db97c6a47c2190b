"""Every text that the registry's rows hold, with where it stands: what a search for a person's id goes through."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import String, select

from raie.registry.db.engine import Database, reading
from raie.registry.db.tables import metadata

__all__ = ["stored_texts"]

_OF_COLLEAGUES = frozenset({"actor", "client", "lease_owner"})
_OF_MACHINES = frozenset({"model", "hash", "previous", "digest", "consumer"})


def stored_texts(database: Database) -> Iterator[tuple[str, str]]:
    """Every text but the names of who acted, of models, and digests.

    Args:
        database: the registry's.

    Yields:
        Table and column, and the text.

    Raises:
        DatabaseUnreachable: where the database does not answer.
    """
    unread = _OF_COLLEAGUES | _OF_MACHINES
    with reading(database) as connection:
        for table in metadata.sorted_tables:
            texts = [c for c in table.columns if isinstance(c.type, String) and c.name not in unread]
            for row in connection.execute(select(*texts)) if texts else ():
                for column, text in zip(texts, row, strict=True):
                    if text is not None:
                        yield f"{table.name}.{column.name}", text
