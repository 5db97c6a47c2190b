"""The database's revisions, applied by Alembic from code, so that an installed wheel can upgrade too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection

from raie.registry.db import guards, triggers
from raie.registry.db.engine import open_engine, reading
from raie.registry.errors import SchemaMismatch

__all__ = ["OnUpgrade", "configuration", "current", "downgrade", "upgrade"]

OnUpgrade = Callable[[Connection, str | None, str | None], None]

STATEMENT_S = 3600.0
"""How long one statement of a migration may take: it may rewrite a large table."""


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for a connection; the scripts are the ones beside this file."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(database_url: str, revision: str = "head", on_upgrade: OnUpgrade | None = None) -> str | None:
    """Brings a database to a revision, making it where there is none, in one transaction; returns the revision.

    on_upgrade: called in that transaction with the revisions before and after, where they differ.
    Raises DatabaseUnreachable, and SchemaMismatch for a database of a revision this package does not know.
    """
    return _move(database_url, revision, command.upgrade, on_upgrade)


def downgrade(database_url: str, revision: str) -> str | None:
    """Takes a database back to an older revision, in one transaction; returns the revision."""
    return _move(database_url, revision, command.downgrade)


def current(database_url: str) -> str | None:
    """The database's revision; None where it holds no registry."""
    with reading(open_engine(database_url)) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _move(
    database_url: str, revision: str, run: Callable[[Config, str], None], on_upgrade: OnUpgrade | None = None
) -> str | None:
    engine = open_engine(database_url, statement_s=STATEMENT_S)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with engine.connect() as connection:
        # Alembic copies tables in batch mode; with foreign keys on, SQLite would cascade into their children. The
        # pragma is ignored inside a transaction, so it comes before the first statement.
        if engine.dialect.name == "sqlite":
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        # Begun here, or Alembic would commit each revision by itself on SQLite: several would not be one step.
        connection.begin()
        before = MigrationContext.configure(connection).get_current_revision()
        try:
            run(configuration(connection), revision)
        except CommandError as error:
            raise SchemaMismatch(
                f"Expected a revision this raie knows, found: {error}; install a newer raie"
            ) from error
        _check(connection)
        after = MigrationContext.configure(connection).get_current_revision()
        if on_upgrade is not None and after != before:
            on_upgrade(connection, before, after)
        connection.commit()
        return after


def _check(connection: Connection) -> None:
    """Refuses to commit a migration that left dangling references or lost a trigger."""
    if connection.dialect.name == "sqlite":
        dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if dangling:
            raise SchemaMismatch(f"Expected no dangling reference after the migration, found {len(dangling)}")
    if MigrationContext.configure(connection).get_current_revision() is None:
        return
    lost = (triggers.expected(connection) | guards.expected(connection)) - triggers.names(connection)
    if lost:
        raise SchemaMismatch(f"Expected every trigger after the migration, found none of {sorted(lost)}")
