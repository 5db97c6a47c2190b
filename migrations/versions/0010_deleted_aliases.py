"""A move of an alias may lead to no snapshot: its deletion. The conditions on who records one are made anew.

Revision 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import guards, role_guards, triggers

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("alias_moves",)


def upgrade() -> None:
    bind = op.get_bind()
    role_guards.drop(bind)
    triggers.drop(bind, TABLES)
    guards.drop(bind)
    if bind.dialect.name == "postgresql":
        op.alter_column("alias_moves", "target", existing_type=sa.String(length=64), nullable=True)
    else:
        # SQLite copies the table; its numbers go on where they were.
        with op.batch_alter_table("alias_moves", table_kwargs={"sqlite_autoincrement": True}) as batch:
            batch.alter_column("target", existing_type=sa.String(length=64), nullable=True)
    guards.create(bind)
    triggers.create(bind, TABLES)
    role_guards.create(bind)


def downgrade() -> None:
    """Leaves the column as it is: deletions stay on record, and an older raie writes no move without a target."""
