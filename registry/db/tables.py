"""The tables, in SQLAlchemy Core.

Everything a commit adds is a row of its own; nothing but heads, aliases, the running edits, the blobs' states, the
outbox, the positions of its consumers and the end of the audit chain is ever updated. An expired snapshot keeps its
rows: only what protects its blobs goes. JSON is canonical JSON in text columns, times are epoch seconds UTC in double
precision, snapshot ids and digests are 64 hexadecimal characters.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "APPEND_ONLY_TABLES",
    "SCHEMA_REVISION",
    "adapter_versions",
    "alias_moves",
    "aliases",
    "approval_events",
    "approvals",
    "audit_events",
    "audit_head",
    "blobs",
    "edit_checkpoints",
    "edits",
    "evaluations",
    "event_positions",
    "expired_snapshots",
    "heads",
    "identity",
    "key_events",
    "metadata",
    "models",
    "operations",
    "outbox_events",
    "policies",
    "signatures",
    "snapshot_blobs",
    "snapshot_notes",
    "snapshots",
]

SCHEMA_REVISION = "0010"
"""The Alembic revision these tables are at; a database of any other is refused."""

APPEND_ONLY_TABLES = (
    "alias_moves",
    "snapshot_notes",
    "approval_events",
    "approvals",
    "audit_events",
    "evaluations",
    "identity",
    "key_events",
    "policies",
    "signatures",
)
"""Tables whose rows triggers protect against UPDATE, DELETE, REPLACE and TRUNCATE."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

_Hash = String(64)
_Name = String(200)
# Of 32 bits, whoever may insert could use up the numbers; of SQLite, only INTEGER is a key that counts by itself.
_Serial = BigInteger().with_variant(Integer, "sqlite")

models = Table(
    "models",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("last_edit", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)
"""One row per model; locking it serialises everything that moves the model's head or numbers an edit."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", _Hash, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("parent", _Hash, ForeignKey("snapshots.id"), index=True),
    Column("edit", Integer, nullable=False),
    Column("content_digest", _Hash, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("manifest", Text, nullable=False),
    Index("ix_snapshots_model_edit", "model", "edit"),
)

heads = Table(
    "heads",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), nullable=False),
    Column("moved_at", Double, nullable=False),
)

edits = Table(
    "edits",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("base", _Hash, ForeignKey("snapshots.id")),
    Column("result", _Hash, ForeignKey("snapshots.id"), index=True),
    Column("proposal", _Hash),
    Column("seed", BigInteger, nullable=False),
    Column("data_digest", _Hash),
    Column("plan_digest", _Hash, index=True),
    Column("parameters", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("close_reason", Text),
    Column("lease_owner", Text),
    Column("lease_expires_at", Double),
    CheckConstraint("state IN ('running', 'committed', 'aborted')", name="state"),
    CheckConstraint("(state = 'committed') = (result IS NOT NULL)", name="result"),
    Index("ix_edits_state_created_at", "state", "created_at"),
)
"""proposal: the digest of the content the caller committed, before it was replayed on another head."""

edit_checkpoints = Table(
    "edit_checkpoints",
    metadata,
    Column("model", _Name, primary_key=True),
    Column("edit", Integer, primary_key=True, autoincrement=False),
    Column("key", _Name, primary_key=True),
    Column("value", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    ForeignKeyConstraint(["model", "edit"], ["edits.model", "edits.number"]),
)
"""Results of an edit's finished steps, so that another process can resume it."""

blobs = Table(
    "blobs",
    metadata,
    Column("digest", _Hash, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("state", String(20), nullable=False),
    Column("put_at", Double, nullable=False),
    CheckConstraint("state IN ('uploading', 'live', 'deleting')", name="state"),
    Index("ix_blobs_put_at", "put_at"),
)
"""put_at: when it was last put, so that a blob that is put again counts as young."""

snapshot_blobs = Table(
    "snapshot_blobs",
    metadata,
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), primary_key=True),
    Column("digest", _Hash, ForeignKey("blobs.digest"), primary_key=True),
    Index("ix_snapshot_blobs_digest", "digest"),
)
"""What keeps blobs from gc: a snapshot's manifest and the blobs its parent does not name, for an edit adds what it
changed, not K rows. A snapshot whose parent expired names all of its blobs, an expired one none."""

expired_snapshots = Table(
    "expired_snapshots",
    metadata,
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), primary_key=True),
    Column("at", Double, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("event", Integer, nullable=False),
)
"""Snapshots whose blobs may be gone; event: the number of the audit event that recorded it."""

adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("model", _Name, primary_key=True),
    Column("region", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("entry_digest", _Hash, nullable=False),
    Column("entry", Text, nullable=False),
    Column("edit", Integer, nullable=False),
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("change", Text, nullable=False),
    ForeignKeyConstraint(["model", "edit"], ["edits.model", "edits.number"]),
    UniqueConstraint("model", "region", "entry_digest", name="uq_adapter_versions_entry"),
)

operations = Table(
    "operations",
    metadata,
    Column("model", _Name, primary_key=True),
    Column("edit", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("region", Integer, nullable=False),
    Column("action", _Name, nullable=False),
    Column("version", Integer),
    Column("windows", Integer, nullable=False),
    Column("change", Text, nullable=False),
    ForeignKeyConstraint(["model", "edit"], ["edits.model", "edits.number"]),
    Index("ix_operations_region", "model", "region", "edit"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("name", _Name, primary_key=True),
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), nullable=False, index=True),
    Column("moved_at", Double, nullable=False),
)

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("alias", _Name, nullable=False),
    Column("source", _Hash, ForeignKey("snapshots.id")),
    Column("target", _Hash, ForeignKey("snapshots.id")),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_alias_moves_alias", "model", "alias", "id"),
    sqlite_autoincrement=True,
)
"""source: null for the first move of an alias.  target: null for its deletion."""

snapshot_notes = Table(
    "snapshot_notes",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("snapshot", _Hash, ForeignKey("snapshots.id"), nullable=False),
    Column("action", String(20), nullable=False),
    Column("tag", _Name),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    CheckConstraint("action IN ('note', 'tag', 'untag')", name="action"),
    CheckConstraint("(action = 'note') = (tag IS NULL)", name="tag"),
    Index("ix_snapshot_notes_snapshot", "model", "snapshot", "id"),
    sqlite_autoincrement=True,
)
"""What people wrote on a snapshot: a note, whose text is the reason, or a tag that it got or lost. The newest row of
a tag counts."""

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("action", _Name, nullable=False),
    Column("model", _Name),
    Column("subject", Text, nullable=False),
    Column("source", Text),
    Column("target", Text),
    Column("reason", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("previous", _Hash, nullable=False),
    Column("hash", _Hash, nullable=False),
    Column("digest", _Hash),
    Index("ix_audit_events_model", "model", "id"),
    Index("ix_audit_events_subject", "model", "subject", "id"),
)
"""digest: of the rows that the event stands for, in its hash where it is there: see recorded_rows."""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("event", Integer, nullable=False),
    Column("hash", _Hash, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row: the last event of the chain. Locking it gives the events one order; it shows a cut-off tail."""

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("registry", String(32), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("event", Integer, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""Which registry this is, one row per epoch; id: the epoch's number, the newest is in force; prefix: where below the
store's URL its objects lie; event: the number of the audit event that records the same."""

outbox_events = Table(
    "outbox_events",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("published_at", Double),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("progress", Text, nullable=False, server_default="{}"),
    Column("lease_owner", Text),
    Column("lease_expires_at", Double),
    Index("ix_outbox_events_published_at", "published_at", "id"),
    Index("ix_outbox_events_model", "model", "id"),
    sqlite_autoincrement=True,
)
"""published_at, attempts, last_error, progress and the lease are MLflow's; every other consumer has its own position."""

event_positions = Table(
    "event_positions",
    metadata,
    Column("consumer", _Name, primary_key=True),
    Column("model", _Name, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Double),
    Column("last_error", Text),
    Column("delivered_at", Double),
    Column("lease_owner", Text),
    Column("lease_expires_at", Double),
)
"""How far each consumer of events has come in each model; position: the last event of the outbox that is done with.

The row without a model says where a consumer began. next_at: when the event after the position is tried again.
"""

policies = Table(
    "policies",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("alias", _Name, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("policy", Text, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""What an alias asks of a snapshot; the newest version is in force."""

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("snapshot", _Hash, nullable=False),
    Column("content", _Hash, nullable=False),
    Column("against", _Hash, nullable=False),
    Column("against_content", _Hash, nullable=False),
    Column("report", Text, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index("ix_evaluations_content", "model", "content", "against_content"),
    sqlite_autoincrement=True,
)
"""One snapshot measured against another; content digests, because equal contents score the same."""

approvals = Table(
    "approvals",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("alias", _Name, primary_key=True),
    Column("snapshot", _Hash, primary_key=True),
    Column("actor", _Name, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""Who agrees that an alias moves to a snapshot. Who may insert here may move a protected alias."""

approval_events = Table(
    "approval_events",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("alias", _Name, nullable=False),
    Column("snapshot", _Hash, nullable=False),
    Column("action", String(20), nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    CheckConstraint("action IN ('approve', 'withdraw')", name="action"),
    Index("ix_approval_events_snapshot", "model", "alias", "snapshot", "id"),
    sqlite_autoincrement=True,
)
"""What followed on somebody's approval: it was withdrawn, or given again. The newest word of a person counts."""

key_events = Table(
    "key_events",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("model", _Name, ForeignKey("models.name"), nullable=False),
    Column("key", _Hash, nullable=False),
    Column("action", String(20), nullable=False),
    Column("name", _Name, nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    CheckConstraint("action IN ('trust', 'revoke')", name="action"),
    Index("ix_key_events_key", "model", "key", "id"),
    sqlite_autoincrement=True,
)
"""A public key (ed25519, hexadecimal) is trusted where its newest event says so."""

signatures = Table(
    "signatures",
    metadata,
    Column("model", _Name, ForeignKey("models.name"), primary_key=True),
    Column("snapshot", _Hash, primary_key=True),
    Column("key", _Hash, primary_key=True),
    Column("signature", String(128), nullable=False),
    Column("actor", _Name, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""No reference to snapshots: what was signed, measured and approved stays recorded when a snapshot is gone."""
