"""How far each consumer of events beside MLflow has come in each model, and an index to read on from there.

Revision 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import role_guards

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    role_guards.drop(op.get_bind())
    op.create_table(
        "event_positions",
        sa.Column("consumer", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("consumer", "model", name=op.f("pk_event_positions")),
    )
    _settle()
    op.create_index("ix_outbox_events_model", "outbox_events", ["model", "id"])
    role_guards.create(op.get_bind())


def downgrade() -> None:
    role_guards.drop(op.get_bind())
    _settle()
    op.drop_index("ix_outbox_events_model", table_name="outbox_events")
    op.drop_table("event_positions")
    role_guards.create(op.get_bind())


def _settle() -> None:
    """Runs the triggers that wait for the end of the transaction: they would hold up a change of their table."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        op.execute(sa.text("SET CONSTRAINTS ALL DEFERRED"))
