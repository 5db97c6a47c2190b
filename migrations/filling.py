"""A database that holds another one's rows: made whole in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from raie.migrations import current, upgrade
from raie.registry.db import triggers
from raie.registry.db.engine import missing_file, open_engine, write
from raie.registry.db.tables import SCHEMA_REVISION
from raie.registry.errors import SchemaMismatch

__all__ = ["fill"]


def fill(database_url: str, copy: Callable[[Connection], None]) -> None:
    """Makes a database of the newest revision, or takes an empty one, and has its rows replaced by copy(connection).

    Args:
        database_url: an SQLite file, made where it is not there, or a PostgreSQL database.
        copy: deletes the rows that a new database begins with and inserts others; append-only tables let it.
    Raises: SchemaMismatch for a database of another revision, DatabaseUnreachable, and whatever copy raises.
    """

    def replace(connection: Connection) -> None:
        triggers.drop(connection)
        copy(connection)
        triggers.create(connection)

    engine = open_engine(database_url)
    revision = None if missing_file(engine) else current(database_url)
    if revision is None:
        upgrade(database_url, on_upgrade=lambda connection, _before, _after: replace(connection))
    elif revision == SCHEMA_REVISION:
        write(engine, replace)
    else:
        raise SchemaMismatch(f"Expected an empty database, or one at revision {SCHEMA_REVISION}, found {revision}")
