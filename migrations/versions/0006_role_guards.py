"""What each role may write, and serial numbers that nobody can use up.

Revision 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import guards, role_guards, triggers

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SERIAL = ("alias_moves", "approval_events", "evaluations", "key_events", "outbox_events")


def upgrade() -> None:
    _serials("bigint")
    triggers.create_function(op.get_bind())
    guards.create(op.get_bind())
    role_guards.create(op.get_bind())


def downgrade() -> None:
    role_guards.drop(op.get_bind())
    _serials("integer")


def _serials(kind: str) -> None:
    """Whoever may insert may take numbers from a sequence: of 32 bits he takes the last one within minutes."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in _SERIAL:
        op.execute(sa.text(f"ALTER TABLE {table} ALTER COLUMN id TYPE {kind}"))
        op.execute(sa.text(f"ALTER SEQUENCE {table}_id_seq AS {kind}"))
