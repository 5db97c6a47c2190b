"""What a role may write, where the right to a table says too little: one table of conditions.

A right lets somebody update a column to anything. A condition says to what: the audit's end moves to its next event, a
head to a child that an edit of the same transaction made, a number to the next one. So nobody but the owner of the tables
can move what he may move without telling of it, nor stop others by a number that leaves no room after it. What a
condition cannot say, `raie verify` finds: a hash that is none, a blob that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONDITIONS", "HERE", "Condition"]


@dataclass(frozen=True)
class Condition:
    """What must hold of a row that is written, by anybody but the owner of its table.

    events: as in CREATE TRIGGER.  holds: SQL over NEW and OLD; `{s}` is the schema, `{here}` says of a row that this
    transaction wrote it.  message: what is refused, as a sentence.  when: "after" the row, at the "end" of the
    transaction, or "before" the row.
    """

    name: str
    table: str
    events: str
    holds: str
    message: str
    when: str = "after"


_TIME = "BETWEEN 0 AND 253402300799"
"""Epoch seconds until the year 9999: what cannot be shown as a date would stop every list that shows it."""
_EDITS_HEADS = "has_table_privilege(current_user, '{s}.heads', 'INSERT')"
_COMMITTED_HERE = (
    "EXISTS (SELECT 1 FROM {s}.edits AS e WHERE e.model = NEW.model AND e.number = NEW.edit "
    "AND e.state = 'committed' AND e.{here})"
)
_ALIAS_OF_MOVE = "SELECT 1 FROM {s}.aliases AS p WHERE p.model = NEW.model AND p.name = NEW.alias"
HERE = "xmin::text = (txid_current() % 4294967296)::text"


def _recorded(action: str, more: str = "") -> str:
    """That an audit event of this transaction records it."""
    return (
        f"EXISTS (SELECT 1 FROM {{s}}.audit_events AS a WHERE a.{{here}} AND a.model = NEW.model "
        f"AND a.action = '{action}'{more})"
    )


CONDITIONS = (
    Condition(
        "audit_head_next",
        "audit_head",
        "UPDATE",
        "NEW.event = OLD.event + 1 AND EXISTS (SELECT 1 FROM {s}.audit_events AS a WHERE a.id = NEW.event "
        "AND a.hash = NEW.hash AND a.previous = OLD.hash AND a.{here})",
        "the end of the audit moves to its next event, and to nothing else",
    ),
    Condition(
        "audit_events_next",
        "audit_events",
        "INSERT",
        "EXISTS (SELECT 1 FROM {s}.audit_head AS h WHERE NEW.id = h.event + 1 AND NEW.previous = h.hash) "
        f"AND NEW.hash ~ '^[0-9a-f]{{{{64}}}}$' AND NEW.at {_TIME}",
        "an audit event follows the last one",
    ),
    Condition(
        "audit_events_end",
        "audit_events",
        "INSERT",
        "EXISTS (SELECT 1 FROM {s}.audit_head AS h WHERE h.event >= NEW.id)",
        "an audit event moves the end of the audit",
        "end",
    ),
    Condition(
        "models_new",
        "models",
        "INSERT",
        f"NEW.last_edit = 0 AND NEW.created_at {_TIME}",
        "a new model has no edit",
    ),
    Condition(
        "models_next",
        "models",
        "UPDATE",
        "NEW.last_edit IN (OLD.last_edit, OLD.last_edit + 1)",
        "edits are numbered one by one",
    ),
    Condition(
        "models_end",
        "models",
        "UPDATE",
        "NEW.last_edit = OLD.last_edit OR EXISTS (SELECT 1 FROM {s}.edits AS e WHERE e.model = NEW.name "
        "AND e.number = NEW.last_edit)",
        "a number of an edit is taken by an edit",
        "end",
    ),
    Condition(
        "edits_new",
        "edits",
        "INSERT",
        "NEW.number = (SELECT m.last_edit FROM {s}.models AS m WHERE m.name = NEW.model) AND NEW.state = 'running' "
        f"AND NEW.created_at {_TIME} AND coalesce(NEW.lease_expires_at, 0) {_TIME} "
        "AND NEW.parameters::json IS NOT NULL AND NEW.report::json IS NOT NULL",
        "an edit begins with the next number of its model",
    ),
    Condition(
        "edits_kind",
        "edits",
        "INSERT OR UPDATE",
        f"NEW.kind = 'compose' OR {_EDITS_HEADS}",
        "who may not move heads begins, resumes and closes no edit but a cherry-pick",
    ),
    Condition(
        "edits_whole",
        "edits",
        "INSERT",
        f"{_EDITS_HEADS} OR EXISTS (SELECT 1 FROM {{s}}.edits AS e WHERE e.model = NEW.model "
        "AND e.number = NEW.number AND e.state = 'committed')",
        "who may not move heads leaves no edit open",
        "end",
    ),
    Condition(
        "edits_close",
        "edits",
        "UPDATE",
        f"NEW.report::json IS NOT NULL AND coalesce(NEW.closed_at, 0) {_TIME} "
        f"AND coalesce(NEW.lease_expires_at, 0) {_TIME}",
        "an edit holds times and a report",
    ),
    Condition(
        "edits_told",
        "edits",
        "UPDATE",
        "NEW.state = 'running' OR EXISTS (SELECT 1 FROM {s}.audit_events AS a WHERE a.{here} AND a.model = NEW.model "
        "AND a.subject = 'edit:' || NEW.number AND (NEW.state = 'aborted' OR a.target = NEW.result))",
        "an edit is closed together with its audit event",
        "end",
    ),
    Condition(
        "snapshots_new",
        "snapshots",
        "INSERT",
        "NEW.id = encode(sha256(convert_to(NEW.manifest, 'UTF8')), 'hex') AND NEW.manifest::json ->> 'model' = NEW.model "
        f"AND (NEW.manifest::json ->> 'parent') IS NOT DISTINCT FROM NEW.parent AND NEW.created_at {_TIME}",
        "a snapshot is what its manifest says",
    ),
    Condition(
        "snapshots_made",
        "snapshots",
        "INSERT",
        "EXISTS (SELECT 1 FROM {s}.edits AS e WHERE e.model = NEW.model AND e.result = NEW.id AND e.{here}) "
        "AND EXISTS (SELECT 1 FROM {s}.snapshot_blobs AS k WHERE k.snapshot = NEW.id AND k.digest = NEW.id)",
        "a snapshot is made by an edit, and keeps its blobs",
        "end",
    ),
    Condition(
        "heads_commit",
        "heads",
        "INSERT OR UPDATE",
        "EXISTS (SELECT 1 FROM {s}.edits AS e JOIN {s}.snapshots AS n ON n.id = e.result WHERE e.model = NEW.model "
        "AND e.result = NEW.snapshot AND e.state = 'committed' AND e.{here} AND n.model = NEW.model "
        "AND n.parent IS NOT DISTINCT FROM OLD.snapshot) AND EXISTS (SELECT 1 FROM {s}.audit_events AS a "
        f"WHERE a.{{here}} AND a.model = NEW.model AND a.target = NEW.snapshot) AND NEW.moved_at {_TIME}",
        "a head moves together with the commit of its next snapshot, and not by itself",
        "end",
    ),
    Condition(
        "aliases_moved",
        "aliases",
        "INSERT OR UPDATE",
        "EXISTS (SELECT 1 FROM {s}.alias_moves AS m WHERE m.model = NEW.model AND m.alias = NEW.name "
        "AND m.target = NEW.snapshot AND m.source IS NOT DISTINCT FROM OLD.snapshot AND m.{here}) "
        "AND EXISTS (SELECT 1 FROM {s}.snapshots AS n WHERE n.id = NEW.snapshot AND n.model = NEW.model) "
        f"AND NEW.moved_at {_TIME}",
        "an alias moves together with the row that records it",
        "end",
    ),
    Condition(
        "aliases_deleted",
        "aliases",
        "DELETE",
        "EXISTS (SELECT 1 FROM {s}.alias_moves AS m WHERE m.model = OLD.model AND m.alias = OLD.name "
        "AND m.target IS NULL AND m.source = OLD.snapshot AND m.{here})",
        "an alias is deleted together with the row that records it",
        "end",
    ),
    Condition(
        "alias_moves_told",
        "alias_moves",
        "INSERT",
        f"NEW.at {_TIME} AND CASE WHEN NEW.target IS NULL THEN NOT EXISTS ({_ALIAS_OF_MOVE}) AND "
        + _recorded("delete alias", " AND a.subject = 'alias:' || NEW.alias AND a.source = NEW.source")
        + f" ELSE EXISTS ({_ALIAS_OF_MOVE} AND p.snapshot = NEW.target) AND "
        + _recorded("promote", " AND a.subject = 'alias:' || NEW.alias AND a.target = NEW.target")
        + " END",
        "a move of an alias is recorded together with the move, in the audit too",
        "end",
    ),
    *(
        Condition(
            f"{table}_recorded",
            table,
            "INSERT",
            _recorded(action, " AND a.actor = NEW.actor") + f" AND NEW.at {_TIME}" + more,
            f"a row of {table} comes with its audit event",
            "end",
        )
        for table, action, more in (
            ("evaluations", "evaluate", " AND NEW.report::json IS NOT NULL"),
            ("approvals", "approve", ""),
            ("signatures", "sign", ""),
        )
    ),
    Condition(
        "approval_events_told",
        "approval_events",
        "INSERT",
        f"EXISTS (SELECT 1 FROM {{s}}.audit_events AS a WHERE a.{{here}} AND a.model = NEW.model "
        f"AND a.action = NEW.action AND a.actor = NEW.actor) AND NEW.at {_TIME}",
        "a row of approval_events comes with its audit event",
        "end",
    ),
    Condition(
        "snapshot_notes_told",
        "snapshot_notes",
        "INSERT",
        "EXISTS (SELECT 1 FROM {s}.audit_events AS a WHERE a.{here} AND a.model = NEW.model AND a.action = NEW.action "
        "AND a.actor = NEW.actor AND a.target = NEW.snapshot AND a.reason = NEW.reason) "
        "AND EXISTS (SELECT 1 FROM {s}.snapshots AS n WHERE n.id = NEW.snapshot AND n.model = NEW.model) "
        f"AND NEW.at {_TIME}",
        "a note or a tag comes with its audit event",
        "end",
    ),
    *(
        Condition(
            f"{table}_number",
            table,
            "INSERT",
            f"NEW.id = currval('{{s}}.{table}_id_seq')",
            f"the number of a row of {table} comes from its sequence",
            "before",
        )
        for table in ("alias_moves", "snapshot_notes", "approval_events", "evaluations", "outbox_events")
    ),
    Condition(
        "outbox_events_new",
        "outbox_events",
        "INSERT",
        "NEW.published_at IS NULL AND NEW.attempts = 0 AND NEW.payload::json IS NOT NULL AND NEW.progress = '{{}}' "
        f"AND NEW.created_at {_TIME} AND EXISTS (SELECT 1 FROM {{s}}.models AS m WHERE m.name = NEW.model)",
        "a new event of the outbox is unpublished, and of a model that is there",
    ),
    Condition(
        "outbox_events_next",
        "outbox_events",
        "UPDATE",
        "NEW.attempts IN (OLD.attempts, OLD.attempts + 1) AND NEW.progress::json IS NOT NULL "
        f"AND coalesce(NEW.published_at, 0) {_TIME} AND coalesce(NEW.lease_expires_at, 0) {_TIME}",
        "attempts of the outbox are counted one by one",
    ),
    Condition(
        "event_positions_new",
        "event_positions",
        "INSERT",
        "NEW.attempts = 0 AND NEW.delivered_at IS NULL AND NEW.position BETWEEN 0 AND "
        "coalesce((SELECT max(o.id) FROM {s}.outbox_events AS o), 0)",
        "a consumer of events begins at an event that is there, and has delivered none",
    ),
    Condition(
        "event_positions_next",
        "event_positions",
        "UPDATE",
        "NEW.position BETWEEN OLD.position AND greatest(OLD.position, "
        "coalesce((SELECT max(o.id) FROM {s}.outbox_events AS o WHERE o.model = NEW.model), 0)) "
        "AND NEW.attempts IN (0, OLD.attempts, OLD.attempts + 1) "
        f"AND coalesce(NEW.next_at, 0) {_TIME} AND coalesce(NEW.delivered_at, 0) {_TIME} "
        f"AND coalesce(NEW.lease_expires_at, 0) {_TIME}",
        "the position of a consumer moves forward, to an event of its model",
    ),
    Condition(
        "adapter_versions_next",
        "adapter_versions",
        "INSERT",
        "NEW.version = 1 + coalesce((SELECT max(v.version) FROM {s}.adapter_versions AS v WHERE v.model = NEW.model "
        "AND v.region = NEW.region AND v.version <> NEW.version), 0) AND NEW.region BETWEEN 0 AND 4096 + coalesce("
        "(SELECT max(v.region) FROM {s}.adapter_versions AS v WHERE v.model = NEW.model AND v.edit <> NEW.edit), 0) "
        f"AND NEW.entry::json IS NOT NULL AND NEW.change::json IS NOT NULL AND NEW.created_at {_TIME}",
        "versions of a region are numbered one by one",
    ),
    *(
        Condition(
            f"{table}_commit",
            table,
            "INSERT",
            f"{_COMMITTED_HERE} AND NEW.change::json IS NOT NULL",
            f"a row of {table} comes with the commit of its edit",
            "end",
        )
        for table in ("adapter_versions", "operations")
    ),
    Condition(
        "edit_checkpoints_running",
        "edit_checkpoints",
        "INSERT OR UPDATE",
        "NEW.value::json IS NOT NULL AND EXISTS (SELECT 1 FROM {s}.edits AS e WHERE e.model = NEW.model "
        "AND e.number = NEW.edit AND e.state = 'running')",
        "an edit checkpoint belongs to an edit that runs",
    ),
    Condition(
        "blobs_new",
        "blobs",
        "INSERT",
        "NEW.state = 'uploading' "
        "OR (NEW.state = 'deleting' AND has_table_privilege(current_user, '{s}.blobs', 'DELETE'))",
        "a new blob is being uploaded",
    ),
    Condition(
        "blobs_next",
        "blobs",
        "UPDATE",
        "NEW.state = OLD.state OR NEW.state = 'live' OR (NEW.state = 'uploading' AND OLD.state = 'deleting') "
        "OR (NEW.state = 'deleting' AND has_table_privilege(current_user, '{s}.blobs', 'DELETE') "
        "AND NOT EXISTS (SELECT 1 FROM {s}.snapshot_blobs AS k WHERE k.digest = NEW.digest))",
        "a blob that a snapshot needs stays live",
    ),
    Condition(
        "blobs_gone",
        "blobs",
        "DELETE",
        "OLD.state = 'deleting'",
        "a blob is marked before it is removed",
    ),
    Condition(
        "snapshot_blobs_kept",
        "snapshot_blobs",
        "DELETE",
        "EXISTS (SELECT 1 FROM {s}.expired_snapshots AS x WHERE x.snapshot = OLD.snapshot)",
        "a snapshot keeps its blobs until it expires",
        "end",
    ),
    Condition(
        "snapshot_blobs_new",
        "snapshot_blobs",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM {s}.expired_snapshots AS x WHERE x.snapshot = NEW.snapshot)",
        "a snapshot that expired keeps no blob",
        "end",
    ),
    Condition(
        "expired_snapshots_new",
        "expired_snapshots",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM {s}.heads AS h WHERE h.snapshot = NEW.snapshot) "
        "AND NOT EXISTS (SELECT 1 FROM {s}.aliases AS p WHERE p.snapshot = NEW.snapshot) "
        "AND EXISTS (SELECT 1 FROM {s}.audit_events AS a WHERE a.id = NEW.event AND a.{here} AND a.action = 'expire' "
        f"AND a.subject = 'snapshot:' || NEW.snapshot) AND NEW.at {_TIME}",
        "what a head or an alias points at does not expire, and the audit records what does",
        "end",
    ),
    Condition(
        "expired_snapshots_back",
        "expired_snapshots",
        "DELETE",
        "EXISTS (SELECT 1 FROM {s}.snapshot_blobs AS k WHERE k.snapshot = OLD.snapshot AND k.digest = OLD.snapshot)",
        "a snapshot comes back together with its blobs",
        "end",
    ),
)
