"""Notes and tags of snapshots, which are only ever added to, with the conditions on who adds them.

Revision 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import role_guards, triggers

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("snapshot_notes",)
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    role_guards.drop(op.get_bind())
    op.create_table(
        "snapshot_notes",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint("action IN ('note', 'tag', 'untag')", name=op.f("ck_snapshot_notes_action")),
        sa.CheckConstraint("(action = 'note') = (tag IS NULL)", name=op.f("ck_snapshot_notes_tag")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_snapshot_notes_model")),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_snapshot_notes_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_notes")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_snapshot_notes_snapshot", "snapshot_notes", ["model", "snapshot", "id"])
    triggers.create(op.get_bind(), TABLES)
    role_guards.create(op.get_bind())


def downgrade() -> None:
    role_guards.drop(op.get_bind())
    triggers.drop(op.get_bind(), TABLES)
    op.drop_index("ix_snapshot_notes_snapshot", table_name="snapshot_notes")
    op.drop_table("snapshot_notes")
    role_guards.create(op.get_bind())
