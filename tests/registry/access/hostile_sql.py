"""Statements that a role could send to stop others, to move what is not his, or to hide what he did: none may pass.

Each is one transaction, as a list of statements. `{edit}` is the number of an open edit of somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BY_ROLE"]

_MODEL, _HASH = "'recsys'", "repeat('a', 64)"
_EVENT = (
    "INSERT INTO audit_events SELECT h.event + {offset}, {at}, 'ada', '{action}', 'recsys', '{subject}', NULL, {target}, "
    "'', 'psql', h.hash, repeat('b', 64) FROM audit_head AS h"
)
_HEAD = "UPDATE audit_head SET event = event + 1, hash = repeat('b', 64)"


def _event(
    offset: int = 1, at: str = "1", action: str = "promote", subject: str = "x", target: str = "NULL"
) -> str:
    return _EVENT.format(offset=offset, at=at, action=action, subject=subject, target=target)


_ANYBODY = {
    "a policy is lifted": [
        "INSERT INTO policies SELECT model, alias, 9, '{}', 'eve', '', 1 FROM policies",
    ],
    "a key is trusted": [
        "INSERT INTO key_events (model, key, action, name, actor, reason, at) "
        f"VALUES ({_MODEL}, {_HASH}, 'trust', 'eve', 'eve', '', 1)"
    ],
    "the name of the registry is changed": ["UPDATE identity SET registry = 'x'"],
    "an audit event is rewritten": ["UPDATE audit_events SET actor = 'bob'"],
    "the audit is cut": ["DELETE FROM audit_events WHERE id > 3"],
    "the audit is emptied": ["TRUNCATE audit_events"],
    "the schema's revision is another": ["UPDATE alembic_version SET version_num = '9999'"],
    "triggers are switched off": ["SET session_replication_role = replica"],
    "a trigger is dropped": ["DROP TRIGGER audit_events_no_update ON audit_events"],
    "a function of a trigger is replaced": [
        "CREATE OR REPLACE FUNCTION refuse_append_only() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$"
    ],
    "an operator is planted": [
        "CREATE FUNCTION public.always(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.always)",
    ],
    "a table is planted": ["CREATE TABLE public.policies_of_mine (x int)"],
    "the owner's role is taken": ["SET ROLE postgres"],
    "a protected alias is moved": [
        "UPDATE aliases SET snapshot = (SELECT snapshot FROM heads) WHERE name = 'production'"
    ],
    "an alias is deleted": ["DELETE FROM aliases"],
    "a snapshot is deleted": ["DELETE FROM snapshots"],
    "an alias is renamed": ["UPDATE aliases SET name = 'other' WHERE name = 'staging'"],
    "everything is locked": ["LOCK TABLE models IN ACCESS EXCLUSIVE MODE"],
}
_AUDIT = {
    "the audit's end runs out of numbers": ["UPDATE audit_head SET event = 2147483647"],
    "the audit's end is negative": ["UPDATE audit_head SET event = -1"],
    "the audit's end has another hash": [f"UPDATE audit_head SET hash = {_HASH}"],
    "an event takes the next number and leaves the end": [_event()],
    "an event is far offset": [_event(offset=1000)],
    "an event has no time": [_event(at="'NaN'"), _HEAD],
    "an event is beyond all calendars": [_event(at="1e300"), _HEAD],
}
_COMMITTER = {
    "numbers of edits run out": ["UPDATE models SET last_edit = 2147483647"],
    "numbers of edits begin anew": ["UPDATE models SET last_edit = 0"],
    "a number of an edit is skipped": ["UPDATE models SET last_edit = last_edit + 1"],
    "an edit takes a number offset": [
        "INSERT INTO edits (model, number, kind, state, seed, parameters, report, actor, reason, created_at) "
        "VALUES ('recsys', 99, 'edit', 'running', 0, '{}', '{}', 'eve', '', 1)"
    ],
    "an edit that no list can show": [
        "UPDATE models SET last_edit = last_edit + 1",
        "INSERT INTO edits (model, number, kind, state, seed, parameters, report, actor, reason, created_at) "
        "SELECT 'recsys', last_edit, 'compose', 'running', 0, 'no json', '{}', 'eve', '', 1 FROM models",
    ],
    "a closed edit is opened": ["UPDATE edits SET state = 'running', result = NULL WHERE number = 1"],
    "an edit is closed by hand": ["UPDATE edits SET state = 'aborted' WHERE number = {edit}"],
    "an outbox event takes a number offset": [
        "INSERT INTO outbox_events (id, model, kind, payload, created_at) "
        "SELECT max(id) + n, 'recsys', 'alias_moved', '{}', 1 FROM outbox_events, generate_series(1, 50) AS n "
        "GROUP BY n"
    ],
    "an outbox event is no JSON": [
        "INSERT INTO outbox_events (model, kind, payload, created_at) VALUES ('recsys', 'alias_moved', 'x', 1)"
    ],
    "the attempts of the outbox run out": ["UPDATE outbox_events SET attempts = 2147483647"],
    "the outbox is deleted": ["DELETE FROM outbox_events"],
    "a snapshot of other bytes": [
        f"INSERT INTO snapshots SELECT {_HASH}, model, parent, edit, content_digest, created_at, manifest "
        "FROM snapshots LIMIT 1"
    ],
    "a snapshot that no edit made": [
        "INSERT INTO snapshots SELECT encode(sha256(convert_to(m, 'UTF8')), 'hex'), 'recsys', NULL, 1, "
        """repeat('a', 64), 1, m FROM (VALUES ('{"model":"recsys","parent":null}')) AS made(m)"""
    ],
    "a region number leaves no room": [
        "INSERT INTO adapter_versions SELECT model, 2147483647, 1, repeat('c', 64), entry, edit, snapshot, 1, change "
        "FROM adapter_versions LIMIT 1"
    ],
    "a version is added to a closed edit": [
        "INSERT INTO adapter_versions SELECT model, region, version + 1, repeat('c', 64), entry, edit, snapshot, 1, "
        "change FROM adapter_versions WHERE region = 2"
    ],
    "an operation is added to a closed edit": [
        "INSERT INTO operations SELECT model, edit, 77, region, action, version, windows, change FROM operations LIMIT 1"
    ],
    "a needed blob is marked as going": ["UPDATE blobs SET state = 'deleting'"],
    "a needed blob is marked as coming": ["UPDATE blobs SET state = 'uploading'"],
    "a blob that was never put": [f"INSERT INTO blobs VALUES ({_HASH}, 1, 'live', 1)"],
    "a move is logged that was none": [
        "INSERT INTO alias_moves (model, alias, target, actor, reason, at) "
        "SELECT model, 'staging', snapshot, 'ada', '', 1 FROM heads"
    ],
    "the newest move is the last one for ever": [
        "INSERT INTO alias_moves (id, model, alias, target, actor, reason, at) "
        "SELECT 2147483647, model, 'staging', snapshot, 'ada', '', 1 FROM heads"
    ],
    "a number of its own from the sequence, then one far offset": [
        "SELECT nextval('outbox_events_id_seq')",
        "INSERT INTO outbox_events (id, model, kind, payload, created_at) "
        "VALUES (9000000000000000000, 'recsys', 'alias_moved', '{}', 1)",
    ],
    "an alias is moved and nothing records it": [
        "UPDATE aliases SET snapshot = (SELECT snapshot FROM heads) WHERE name = 'staging'"
    ],
    "an evaluation that nothing records": [
        "INSERT INTO evaluations (model, snapshot, content, against, against_content, report, actor, reason, at) "
        "SELECT model, snapshot, snapshot, snapshot, snapshot, '{}', 'ada', '', 1 FROM heads"
    ],
    "a tag that nothing records": [
        "INSERT INTO snapshot_notes (model, snapshot, action, tag, actor, reason, at) "
        "SELECT model, snapshot, 'tag', 'reviewed', 'grace', '', 1 FROM heads"
    ],
    "the sequence is set to its end": ["SELECT setval('outbox_events_id_seq', 9000000000000000000)"],
}
_EDITOR = {
    "a condition is asked of other tables": [
        "CREATE TEMPORARY TABLE audit_events AS SELECT * FROM public.audit_events",
        "CREATE TEMPORARY TABLE pg_class AS SELECT oid, 'hostile_editor'::regrole::oid AS relowner "
        "FROM pg_catalog.pg_class",
        "SET LOCAL search_path = pg_temp, public",
        "INSERT INTO pg_temp.audit_events SELECT event + 1, 1, 'ada', 'x', 'recsys', 'x', NULL, NULL, '', 'psql', hash, "
        "repeat('b', 64) FROM audit_head",
        _HEAD,
    ],
    "the head is moved by hand": [
        "UPDATE heads SET snapshot = (SELECT id FROM snapshots ORDER BY created_at LIMIT 1)"
    ],
    "the head's time is none": ["UPDATE heads SET moved_at = 'NaN'"],
    "the head goes back with a forged event": [
        _event(subject="edit:2", target="(SELECT result FROM edits WHERE number = 1)"),
        _HEAD,
        "UPDATE heads SET snapshot = (SELECT result FROM edits WHERE number = 1)",
    ],
    "a model without room for an edit": ["INSERT INTO models VALUES ('mine', 2147483647, 1)"],
    "a checkpoint of a closed edit": ["INSERT INTO edit_checkpoints VALUES ('recsys', 1, 'x', '{}', 1)"],
    "who approves": [
        f"INSERT INTO approvals SELECT {_MODEL}, 'production', snapshot, 'ada', '', 1 FROM heads",
    ],
}
_PROMOTER = {
    "the head is moved": ["UPDATE heads SET snapshot = (SELECT id FROM snapshots ORDER BY created_at LIMIT 1)"],
    "an edit is begun and left open": [
        "UPDATE models SET last_edit = last_edit + 1",
        "INSERT INTO edits (model, number, kind, state, seed, parameters, report, actor, reason, created_at) "
        "SELECT 'recsys', last_edit, 'edit', 'running', 0, '{}', '{}', 'eve', '', 1 FROM models",
    ],
    "a cherry-pick is begun and left open": [
        "UPDATE models SET last_edit = last_edit + 1",
        "INSERT INTO edits (model, number, kind, state, seed, parameters, report, actor, reason, created_at) "
        "SELECT 'recsys', last_edit, 'compose', 'running', 0, '{}', '{}', 'eve', '', 1 FROM models",
    ],
    "the lease of somebody's edit is taken": ["UPDATE edits SET lease_owner = 'eve:1:x' WHERE number = {edit}"],
    "somebody's edit is aborted": ["UPDATE edits SET state = 'aborted', closed_at = 1 WHERE number = {edit}"],
    "an approval that nothing records": [
        f"INSERT INTO approvals SELECT {_MODEL}, 'production', snapshot, 'grace', '', 1 FROM heads"
    ],
}
_COLLECTOR = {
    "a number of an edit is taken": ["UPDATE models SET last_edit = last_edit + 1"],
    "numbers of edits run out": ["UPDATE models SET last_edit = 2147483647"],
    "blobs that are needed are marked": ["UPDATE blobs SET state = 'deleting'"],
    "blobs that are needed are deleted": ["DELETE FROM blobs"],
    "what keeps blobs is deleted": ["DELETE FROM snapshot_blobs"],
    "the head expires": [
        "INSERT INTO expired_snapshots SELECT snapshot, 1, 'cron', '', 1 FROM heads",
    ],
    "what an alias serves expires with a forged event": [
        _event(action="expire", subject="x"),
        _HEAD,
        "INSERT INTO expired_snapshots SELECT snapshot, 1, 'cron', '', (SELECT event FROM audit_head) "
        "FROM aliases LIMIT 1",
    ],
    "a snapshot expires and nothing records it": [
        "INSERT INTO expired_snapshots SELECT result, 1, 'cron', '', 1 FROM edits WHERE number = 1"
    ],
    "an edit is begun": [
        "INSERT INTO edits (model, number, kind, state, seed, parameters, report, actor, reason, created_at) "
        "VALUES ('recsys', 99, 'edit', 'running', 0, '{}', '{}', 'eve', '', 1)"
    ],
}
_SENDER = {
    "a consumer's position goes back": ["UPDATE event_positions SET position = position - 1"],
    "a consumer's position passes what is there": ["UPDATE event_positions SET position = 9000000000000000000"],
    "a consumer begins after what is there": [
        "INSERT INTO event_positions (consumer, model, position) VALUES ('x', '', 9000000000000000000)"
    ],
    "the attempts of a delivery run out": ["UPDATE event_positions SET attempts = 2147483647"],
    "a delivery waits for ever": ["UPDATE event_positions SET next_at = 9e99"],
    "a position is deleted": ["DELETE FROM event_positions"],
}
_READER = {
    f"{table} is written to": [f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1"]
    for table in (
        "models",
        "edits",
        "snapshots",
        "heads",
        "aliases",
        "blobs",
        "outbox_events",
        "edit_checkpoints",
        "event_positions",
    )
}

BY_ROLE: Mapping[str, Mapping[str, list[str]]] = {
    "reader": _ANYBODY | _AUDIT | _READER,
    "editor": _ANYBODY | _AUDIT | _COMMITTER | _SENDER | _EDITOR,
    "promoter": {k: v for k, v in _ANYBODY.items() if k != "a protected alias is moved"}
    | _AUDIT
    | {k: v for k, v in _COMMITTER.items() if k != "an edit is closed by hand"}
    | _SENDER
    | _PROMOTER
    | {"a protected alias is moved and nothing records it": _ANYBODY["a protected alias is moved"]},
    "collector": _ANYBODY | _AUDIT | _COLLECTOR,
}
"""Role -> what is tried -> the statements of one transaction."""
