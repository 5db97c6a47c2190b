"""What Alembic runs around the revisions: one connection, one transaction, foreign keys checked at its end.

`migrations.upgrade` hands over its connection. The `alembic` command reads the URL from RAIE_DATABASE_URL:
`RAIE_DATABASE_URL=sqlite:///raie.db alembic revision --autogenerate -m "what changes"`.
"""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection

from raie.registry.db.engine import open_engine
from raie.registry.db.tables import metadata


def run(connection: Connection) -> None:
    """Runs the revisions that the command asked for on a connection that is in a transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with open_engine(os.environ["RAIE_DATABASE_URL"]).begin() as opened:
        run(opened)
