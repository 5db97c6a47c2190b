"""Trust: policies of aliases, evaluations, approvals, trusted keys and signatures, and the guards that hold roles apart.

Revision 0003.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from raie.registry.db import guards, triggers
from raie.registry.errors import SchemaMismatch

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("signatures", "key_events", "approvals", "evaluations", "policies")


def upgrade() -> None:
    _create_policies()
    _create_evaluations()
    _create_approvals()
    _create_keys()
    triggers.create(op.get_bind(), TABLES)
    guards.create(op.get_bind())


def downgrade() -> None:
    _require_none_protected()
    guards.drop(op.get_bind())
    triggers.drop(op.get_bind(), TABLES)
    for table in TABLES:
        op.drop_table(table)


def _require_none_protected() -> None:
    """Refuses to forget what protects an alias: an older raie would let everything through to it."""
    newest: dict[tuple[str, str], bool] = {}
    for model, alias, policy in op.get_bind().execute(
        sa.text("SELECT model, alias, policy FROM policies ORDER BY version")
    ):
        newest[model, alias] = bool(json.loads(policy)["protected"])
    protected = sorted(alias for (_, alias), holds in newest.items() if holds)
    if protected:
        raise SchemaMismatch(
            f"Expected no protected alias before going back to revision 0002, found {', '.join(protected)}; "
            f"`raie policy set {protected[0]} --unprotected` lifts its policy, if that is meant"
        )


def _name(column: str) -> sa.Column[str]:
    return sa.Column(column, sa.String(length=200), nullable=False)


def _hash(column: str) -> sa.Column[str]:
    return sa.Column(column, sa.String(length=64), nullable=False)


def _told() -> tuple[sa.Column[Any], ...]:
    """Who, why and when."""
    return (
        _name("actor"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )


def _of_model(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f(f"fk_{table}_model"))


def _create_policies() -> None:
    op.create_table(
        "policies",
        _name("model"),
        _name("alias"),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        *_told(),
        _of_model("policies"),
        sa.PrimaryKeyConstraint("model", "alias", "version", name=op.f("pk_policies")),
    )


def _create_evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        _name("model"),
        _hash("snapshot"),
        _hash("content"),
        _hash("against"),
        _hash("against_content"),
        sa.Column("report", sa.Text(), nullable=False),
        *_told(),
        _of_model("evaluations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_evaluations_content", "evaluations", ["model", "content", "against_content"])


def _create_approvals() -> None:
    op.create_table(
        "approvals",
        _name("model"),
        _name("alias"),
        _hash("snapshot"),
        *_told(),
        _of_model("approvals"),
        sa.PrimaryKeyConstraint("model", "alias", "snapshot", "actor", name=op.f("pk_approvals")),
    )


def _create_keys() -> None:
    op.create_table(
        "key_events",
        sa.Column("id", sa.Integer(), nullable=False),
        _name("model"),
        _hash("key"),
        sa.Column("action", sa.String(length=20), nullable=False),
        _name("name"),
        *_told(),
        sa.CheckConstraint("action IN ('trust', 'revoke')", name=op.f("ck_key_events_action")),
        _of_model("key_events"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_key_events_key", "key_events", ["model", "key", "id"])
    op.create_table(
        "signatures",
        _name("model"),
        _hash("snapshot"),
        _hash("key"),
        sa.Column("signature", sa.String(length=128), nullable=False),
        *_told(),
        _of_model("signatures"),
        sa.PrimaryKeyConstraint("model", "snapshot", "key", name=op.f("pk_signatures")),
    )
