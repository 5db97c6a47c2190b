"""The first schema: models, snapshots, edits, blobs, region versions, aliases, audit and outbox.

Revision 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from raie.registry.db import triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("alias_moves", "audit_events")
TABLES = (
    "outbox_events",
    "audit_head",
    "audit_events",
    "alias_moves",
    "aliases",
    "operations",
    "adapter_versions",
    "snapshot_blobs",
    "blobs",
    "edit_parts",
    "edits",
    "heads",
    "snapshots",
    "models",
)


def upgrade() -> None:
    _create_models()
    _create_edits()
    _create_blobs()
    _create_regions()
    _create_aliases()
    _create_audit()
    _create_outbox()
    triggers.create(op.get_bind(), APPEND_ONLY)


def downgrade() -> None:
    triggers.drop(op.get_bind(), APPEND_ONLY)
    for table in TABLES:
        op.drop_table(table)
    triggers.drop_function(op.get_bind())


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("last_edit", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=True),
        sa.Column("edit", sa.Integer(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_snapshots_model")),
        sa.ForeignKeyConstraint(["parent"], ["snapshots.id"], name=op.f("fk_snapshots_parent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    op.create_index(op.f("ix_snapshots_content_digest"), "snapshots", ["content_digest"])
    op.create_index("ix_snapshots_model_edit", "snapshots", ["model", "edit"])
    op.create_index(op.f("ix_snapshots_parent"), "snapshots", ["parent"])
    op.create_table(
        "heads",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("moved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_heads_model")),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_heads_snapshot")),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_heads")),
    )


def _create_edits() -> None:
    op.create_table(
        "edits",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("base", sa.String(length=64), nullable=True),
        sa.Column("result", sa.String(length=64), nullable=True),
        sa.Column("proposal", sa.String(length=64), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("data_digest", sa.String(length=64), nullable=True),
        sa.Column("plan_digest", sa.String(length=64), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.CheckConstraint("(state = 'committed') = (result IS NOT NULL)", name=op.f("ck_edits_result")),
        sa.CheckConstraint("state IN ('running', 'committed', 'aborted')", name=op.f("ck_edits_state")),
        sa.ForeignKeyConstraint(["base"], ["snapshots.id"], name=op.f("fk_edits_base")),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_edits_model")),
        sa.ForeignKeyConstraint(["result"], ["snapshots.id"], name=op.f("fk_edits_result")),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_edits")),
    )
    op.create_index(op.f("ix_edits_result"), "edits", ["result"])
    op.create_index("ix_edits_state_created_at", "edits", ["state", "created_at"])
    op.create_table(
        "edit_parts",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("edit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "edit"], ["edits.model", "edits.number"], name=op.f("fk_edit_parts_model")
        ),
        sa.PrimaryKeyConstraint("model", "edit", "key", name=op.f("pk_edit_parts")),
    )


def _create_blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("put_at", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('uploading', 'live', 'deleting')", name=op.f("ck_blobs_state")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_index("ix_blobs_put_at", "blobs", ["put_at"])
    op.create_table(
        "snapshot_blobs",
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_snapshot_blobs_digest")),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_snapshot_blobs_snapshot")),
        sa.PrimaryKeyConstraint("snapshot", "digest", name=op.f("pk_snapshot_blobs")),
    )
    op.create_index("ix_snapshot_blobs_digest", "snapshot_blobs", ["digest"])


def _create_regions() -> None:
    op.create_table(
        "adapter_versions",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("region", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_digest", sa.String(length=64), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("edit", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "edit"], ["edits.model", "edits.number"], name=op.f("fk_adapter_versions_model")
        ),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_adapter_versions_snapshot")),
        sa.PrimaryKeyConstraint("model", "region", "version", name=op.f("pk_adapter_versions")),
        sa.UniqueConstraint("model", "region", "entry_digest", name="uq_adapter_versions_entry"),
    )
    op.create_table(
        "operations",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("edit", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("region", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "edit"], ["edits.model", "edits.number"], name=op.f("fk_operations_model")
        ),
        sa.PrimaryKeyConstraint("model", "edit", "position", name=op.f("pk_operations")),
    )
    op.create_index("ix_operations_region", "operations", ["model", "region", "edit"])


def _create_aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("moved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_aliases_model")),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.id"], name=op.f("fk_aliases_snapshot")),
        sa.PrimaryKeyConstraint("model", "name", name=op.f("pk_aliases")),
    )
    op.create_index(op.f("ix_aliases_snapshot"), "aliases", ["snapshot"])
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_alias_moves_model")),
        sa.ForeignKeyConstraint(["source"], ["snapshots.id"], name=op.f("fk_alias_moves_source")),
        sa.ForeignKeyConstraint(["target"], ["snapshots.id"], name=op.f("fk_alias_moves_target")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alias_moves_alias", "alias_moves", ["model", "alias", "id"])


def _create_audit() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_model", "audit_events", ["model", "id"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.execute(f"INSERT INTO audit_head (id, event, hash) VALUES (1, 0, '{'0' * 64}')")


def _create_outbox() -> None:
    op.create_table(
        "outbox_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), server_default="{}", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_events_published_at", "outbox_events", ["published_at", "id"])
