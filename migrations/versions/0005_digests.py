"""Audit events hold the digest of the rows that they stand for; approvals can be withdrawn.

Revision 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import guards, triggers
from raie.registry.errors import SchemaMismatch

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("approval_events",)


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("digest", sa.String(length=64), nullable=True))
    op.create_index("ix_audit_events_subject", "audit_events", ["model", "subject", "id"])
    op.create_table(
        "approval_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint("action IN ('approve', 'withdraw')", name=op.f("ck_approval_events_action")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_approval_events_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_approval_events_snapshot", "approval_events", ["model", "alias", "snapshot", "id"])
    # All of them anew: from this revision on, verify compares each with the one that raie makes.
    there = set(sa.inspect(op.get_bind()).get_table_names())
    triggers.create(op.get_bind(), [table for table in triggers.KEYS if table in there])
    guards.create(op.get_bind())


def downgrade() -> None:
    _require_no_digest()
    triggers.drop(op.get_bind(), TABLES)
    op.drop_table("approval_events")
    op.drop_index("ix_audit_events_subject", "audit_events")
    op.drop_column("audit_events", "digest")


def _require_no_digest() -> None:
    """Refuses to forget digests: they are in the events' hashes, and the chain could not be verified without them."""
    query = "SELECT count(*) FROM audit_events WHERE digest IS NOT NULL"
    count = op.get_bind().execute(sa.text(query)).scalar_one()
    if count:
        raise SchemaMismatch(
            f"Expected no audit event with a digest of its rows before going back to revision 0004, found {count}; "
            "an older raie could not verify them: restore a backup from before the upgrade, if that is meant"
        )
