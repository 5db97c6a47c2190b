"""Snapshots that expired, a name for the registry, and edits by their plan.

Revision 0002.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from raie.registry.db import triggers
from raie.registry.errors import SchemaMismatch

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("identity",)


def upgrade() -> None:
    op.create_table(
        "expired_snapshots",
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_expired_snapshots_snapshot")),
        sa.PrimaryKeyConstraint("snapshot", name=op.f("pk_expired_snapshots")),
    )
    identity = op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.String(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_identity_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
    )
    op.bulk_insert(identity, [{"id": 1, "registry": secrets.token_hex(16)}])
    triggers.create(op.get_bind(), APPEND_ONLY)
    op.create_index(op.f("ix_edits_plan_digest"), "edits", ["plan_digest"])


def downgrade() -> None:
    _require_none_expired()
    op.drop_index(op.f("ix_edits_plan_digest"), "edits")
    triggers.drop(op.get_bind(), APPEND_ONLY)
    op.drop_table("identity")
    op.drop_table("expired_snapshots")


def _require_none_expired() -> None:
    """Refuses to forget which snapshots expired: their blobs would then seem to be lost."""
    expired = op.get_bind().execute(sa.text("SELECT count(*) FROM expired_snapshots")).scalar()
    if expired:
        raise SchemaMismatch(
            f"Expected no expired snapshot before going back to revision 0001, found {expired}, which that revision "
            "cannot tell from damaged ones; stay at 0002"
        )
