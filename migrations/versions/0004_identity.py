"""A registry's identity by epochs, each recorded in the audit chain, and the prefix of its objects in the store.

Revision 0004. A registry that holds nothing yet keeps its objects below registries/<id>; one that may have written to
its store keeps the store's root.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

from raie.registry.db import triggers
from raie.registry.errors import SchemaMismatch

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = ("identity",)
_EPOCH = re.compile(r"epoch:([0-9]{1,9})")


def upgrade() -> None:
    bind = op.get_bind()
    registry = bind.execute(sa.text("SELECT registry FROM identity")).scalar_one()
    triggers.drop(bind, APPEND_ONLY)
    op.drop_table("identity")
    identity = op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.String(length=32), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
    )
    prefix = f"registries/{registry}" if _holds_nothing() else ""
    epoch = _next_epoch()
    event = _append_event(epoch, registry, prefix)
    row = {name: event[name] for name in ("actor", "reason", "at")}
    row |= {"id": epoch, "registry": registry, "prefix": prefix, "event": event["id"]}
    op.bulk_insert(identity, [row])
    triggers.create(bind, APPEND_ONLY)


def downgrade() -> None:
    bind = op.get_bind()
    newest = sa.text("SELECT registry, prefix FROM identity ORDER BY id DESC LIMIT 1")
    registry, prefix = bind.execute(newest).one()
    if prefix and bind.execute(sa.text("SELECT count(*) FROM blobs")).scalar():
        raise SchemaMismatch(
            "Expected the blobs in the store's root before going back to revision 0003, which knows no other place, "
            f"found them below {prefix}; stay at 0004"
        )
    triggers.drop(bind, APPEND_ONLY)
    op.drop_table("identity")
    identity = op.create_table(
        "identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registry", sa.String(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_identity_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
    )
    op.bulk_insert(identity, [{"id": 1, "registry": registry}])
    triggers.create(bind, APPEND_ONLY)


def _holds_nothing() -> bool:
    """Whether this registry was made just now: it has put no blob and kept no chain head anywhere."""
    blobs = op.get_bind().execute(sa.text("SELECT count(*) FROM blobs")).scalar_one()
    return not blobs and op.get_bind().execute(sa.text("SELECT event FROM audit_head")).scalar_one() == 0


def _next_epoch() -> int:
    """One more than the chain knows: a registry that went back to 0003 and came again goes on counting."""
    told = sa.text("SELECT subject FROM audit_events WHERE action = 'identity'")
    found = (_EPOCH.fullmatch(subject) for subject in op.get_bind().execute(told).scalars())
    return 1 + max((int(match[1]) for match in found if match), default=0)


def _append_event(epoch: int, registry: str, prefix: str) -> dict[str, Any]:
    """Appends the audit event of an epoch; the chain's form is written out, as it was at this revision."""
    bind = op.get_bind()
    last, previous = bind.execute(sa.text("SELECT event, hash FROM audit_head")).one()
    fields: dict[str, Any] = {
        "id": last + 1,
        "at": time.time(),
        "actor": "raie db upgrade",
        "action": "identity",
        "model": None,
        "subject": f"epoch:{epoch}",
        "source": registry,
        "target": prefix,
        "reason": "upgrade",
        "client": "revision 0004",
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    hashed = hashlib.sha256((previous + text).encode()).hexdigest()
    row = fields | {"previous": previous, "hash": hashed}
    values = ", ".join(f":{name}" for name in row)
    bind.execute(sa.text(f"INSERT INTO audit_events ({', '.join(row)}) VALUES ({values})"), row)
    bind.execute(sa.text("UPDATE audit_head SET event = :id, hash = :hash"), {"id": row["id"], "hash": hashed})
    return row
