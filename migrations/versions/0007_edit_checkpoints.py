"""The table of an edit's finished steps is called edit_checkpoints; the roles' conditions are made anew.

Revision 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import role_guards

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _rename("edit_parts", "edit_checkpoints")


def downgrade() -> None:
    _rename("edit_checkpoints", "edit_parts")


def _rename(old: str, new: str) -> None:
    """Renames the table with its constraints; rights stay with it, and its condition is made anew under its new name."""
    bind = op.get_bind()
    role_guards.drop(bind)
    if bind.dialect.name == "postgresql":
        # The triggers that wait for the end of the transaction would hold up the change of their table.
        op.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        op.rename_table(old, new)
        for kind, columns in (("pk", ""), ("fk", "_model")):
            was, now = f"{kind}_{old}{columns}", f"{kind}_{new}{columns}"
            op.execute(sa.text(f"ALTER TABLE {new} RENAME CONSTRAINT {was} TO {now}"))
        op.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
    else:
        # SQLite cannot rename a constraint, so the rows are copied; nothing refers to this table.
        _create(new)
        op.execute(sa.text(f"INSERT INTO {new} SELECT model, edit, key, value, created_at FROM {old}"))
        op.drop_table(old)
    role_guards.create(bind)


def _create(table: str) -> None:
    op.create_table(
        table,
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("edit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "edit"], ["edits.model", "edits.number"], name=op.f(f"fk_{table}_model")
        ),
        sa.PrimaryKeyConstraint("model", "edit", "key", name=op.f(f"pk_{table}")),
    )
