"""Whether the audit and the rows say the same, in both directions, and what every pointer must be.

One walk over the chain gives each event that stands for rows a key, and derives where heads and aliases must be, which
edit was the last and what expired. One walk over the tables gives each row the key of the event that it must have. What
is left over on either side is a problem, and each problem is one line.

Events from before there were digests are tied to their rows by the fields that both have. The other columns of such rows
are covered by the event of the upgrade that brought digests, the baseline: its digest is of all of them together.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain as joined
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from raie.registry.canonical import canonical_json
from raie.registry.db import tables
from raie.registry.db.engine import chunked
from raie.registry.db.tables import audit_events
from raie.registry.edits.notes import annotation_subject
from raie.registry.errors import InvalidValue
from raie.registry.promotion.evaluations import evaluation_subject
from raie.registry.promotion.policy_versions import policy_subject
from raie.registry.recorded_rows import ACTIONS, COLUMNS, Rows, begun, closed, digest_of_rows, event_key, imported
from raie.registry.states import AuditAction, EditKind, EditState
from raie.registry.values import digest_of

__all__ = ["Chain", "baseline", "check"]

_STREAMED = {"yield_per": 1000}
_LISTED = 50
"""Events named one by one where their rows are gone; the others are counted."""

_EDIT = re.compile(r"edit:([0-9]{1,9})")
_ALIAS = "alias:"
_SNAPSHOT = "snapshot:"
_NUMBERING = (AuditAction.BEGIN, AuditAction.ROLLBACK, AuditAction.CHERRY_PICK, AuditAction.IMPORT_EDIT)
"""What begins an edit, under the next number or one that it brings."""
_e = audit_events.c


@dataclass(frozen=True)
class _Recorded:
    """Some rows with their name, the fields of the event that must tell of them, and their digest."""

    name: str
    event: Mapping[str, Any]
    rows: Rows


@dataclass(frozen=True)
class Chain:
    """What the chain says, gathered while it is walked; `take` is given each event, oldest first.

    keys: what ties rows to events -> the numbers of the events.  old: the events without a digest, in order.
    baselines: number and digest of each upgrade that has one.  heads: model -> snapshot, time.  aliases: model, alias ->
    snapshot, time.  numbers: model -> its last edit.  expired: snapshot -> time, actor, reason, event.  imported: the
    model and subject of what came from another registry.  first_digest: the number of the first event
    with a digest, once it is known.
    """

    keys: dict[bytes, list[int]] = field(default_factory=dict)
    old: list[int] = field(default_factory=list)
    baselines: list[tuple[int, str]] = field(default_factory=list)
    heads: dict[str, tuple[str, float]] = field(default_factory=dict)
    aliases: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    expired: dict[str, tuple[float, str, str, int]] = field(default_factory=dict)
    imported: set[tuple[str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    first_digest: list[int] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes the columns of the next event."""
        number, action, digest = event["id"], event["action"], event["digest"]
        if digest and not self.first_digest:
            self.first_digest.append(number)
        if action in ACTIONS:
            self.keys.setdefault(_key(event, digest) or b"", []).append(number)
            if digest is None:
                self.old.append(number)
                if self.first_digest:
                    self.problems.append(
                        f"event {number} ({action}) has no digest of its rows, which events have since "
                        f"{self.first_digest[0]}"
                    )
        elif action == AuditAction.UPGRADE and digest:
            self.baselines.append((number, digest))
        _derive(self, event)


def check(connection: Connection, chain: Chain | None = None) -> list[str]:
    """One line for each row that no event records as it stands, each event without its rows, and each wrong pointer.

    chain: what `Chain.take` was given of every event, oldest first; None reads them.
    """
    chain = _walk(connection) if chain is None else chain
    now, unmatched = _match(connection, chain)
    return [
        *chain.problems,
        *(f"{name}: no audit event records it as it stands" for name in unmatched),
        *_left_over(connection, chain),
        *_rebased(chain, now),
        *_pointers(connection, chain),
    ]


def baseline(connection: Connection) -> str | None:
    """The digest of all rows of events that have none; None where every event has one."""
    chain = _walk(connection)
    return _digest_of_old(chain.old, _match(connection, chain)[0]) if chain.old else None


# The chain


def _walk(connection: Connection) -> Chain:
    """Reads every event once, oldest first."""
    chain = Chain()
    fields = ("id", "at", "actor", "action", "model", "subject", "source", "target", "reason", "digest")
    query = select(*(_e[name] for name in fields)).order_by(_e.id)
    for row in connection.execute(query, execution_options=_STREAMED):
        chain.take(dict(row._mapping))
    return chain


def _derive(chain: Chain, event: Mapping[str, Any]) -> None:
    """What an event does to heads, aliases, numbers and expiries."""
    action, model, target, at = event["action"], event["model"], event["target"], event["at"]
    subject = str(event["subject"])
    if action in _NUMBERING and (named := _EDIT.fullmatch(subject)):
        chain.numbers[model] = max(int(named[1]), chain.numbers.get(model, 0))
    if action in (AuditAction.COMMIT, AuditAction.ROLLBACK):
        chain.heads[model] = target, at
    if action in (AuditAction.COMMIT, AuditAction.ROLLBACK, AuditAction.CHERRY_PICK):
        # An edit whose content had expired brings its blobs back.
        chain.expired.pop(target, None)
    if action in (AuditAction.IMPORT_EDIT, AuditAction.IMPORT_EVALUATION):
        chain.imported.add((model, subject))
    if action == AuditAction.IMPORT:
        # It brings back the blobs of its snapshot, and moves the head where it has a target.
        chain.expired.pop(subject.removeprefix(_SNAPSHOT), None)
        if target is not None:
            chain.heads[model] = target, at
    if action == AuditAction.PROMOTE:
        chain.aliases[model, subject.removeprefix(_ALIAS)] = target, at
    if action == AuditAction.DELETE_ALIAS:
        chain.aliases.pop((model, subject.removeprefix(_ALIAS)), None)
    if action == AuditAction.EXPIRE:
        chain.expired[event["source"]] = at, event["actor"], event["reason"], event["id"]


# Rows and their events


def _match(connection: Connection, chain: Chain) -> tuple[dict[int, str], list[str]]:
    """Takes the event of each row from the chain's keys; for older events the digest of their rows now, and the names
    of the rows without an event."""
    old, now, unmatched = set(chain.old), dict[int, str](), list[str]()
    for recorded in joined(_edits(connection, chain), _single_rows(connection, chain)):
        digest = _digest(recorded.rows)
        number = _take(chain.keys, _key(recorded.event, digest))
        if number is None and old:
            number = _take(chain.keys, _key(recorded.event, None))
            if number is not None:
                now[number] = digest
        if number is None:
            unmatched.append(recorded.name)
    return now, unmatched


def _digest(rows: Rows) -> str:
    """The digest of rows; no digest at all where one holds what has no JSON form, which raie never wrote."""
    try:
        return digest_of_rows(rows)
    except InvalidValue:
        return ""


def _key(event: Mapping[str, Any], digest: str | None) -> bytes | None:
    """What ties rows to their event; None where a field holds what has no JSON form."""
    try:
        return event_key(event, digest)
    except InvalidValue:
        return None


def _take(keys: dict[bytes, list[int]], key: bytes | None) -> int | None:
    """The oldest event of a key, which stands for no other rows from then on."""
    numbers = None if key is None else keys.get(key)
    if key is None or not numbers:
        return None
    number = numbers.pop(0)
    if not numbers:
        del keys[key]
    return number


def _left_over(connection: Connection, chain: Chain) -> Iterator[str]:
    """The events whose rows are gone, or are no longer what they were."""
    numbers = sorted(number for left in chain.keys.values() for number in left)
    for chunk in chunked(numbers[:_LISTED]):
        for row in connection.execute(select(audit_events).where(_e.id.in_(chunk)).order_by(_e.id)):
            of = "" if row.model is None else f" of {row.model!r}"
            yield f"event {row.id} ({row.action}, {row.subject}{of}): what it records is missing or was changed"
    if len(numbers) > _LISTED:
        yield f"{len(numbers) - _LISTED} more events: what they tell of is missing or was changed"


def _rebased(chain: Chain, now: Mapping[int, str]) -> Iterator[str]:
    """Baselines that the rows of older events no longer fit."""
    for number, digest in chain.baselines:
        old = [event for event in chain.old if event < number]
        if _digest_of_old(old, now) != digest:
            yield (
                f"event {number} (upgrade): the rows of events {old[0] if old else 0} to {old[-1] if old else 0}, which "
                "have no digest of their own and are covered by this one alone, are not as they were at the upgrade"
            )


def _digest_of_old(old: list[int], now: Mapping[int, str]) -> str:
    return digest_of(canonical_json([[event, now.get(event)] for event in old]))


def _edits(connection: Connection, chain: Chain) -> Iterator[_Recorded]:
    """What each edit's begin and end tell of, model by model, in the order of their numbers."""
    for model in connection.execute(select(tables.models).order_by(tables.models.c.name)).all():
        # Each table is read once, in the order of the edits; the first one leads.
        led = heapq.merge(
            _of_edits(connection, tables.edits, model.name, "number"),
            _of_edits(connection, tables.operations, model.name, "edit", "position"),
            _of_edits(connection, tables.adapter_versions, model.name, "edit", "region", "version"),
            _of_edits(connection, tables.snapshots, model.name, "edit", "id"),
            key=lambda pair: pair[0],
        )
        for number, group in groupby(led, key=lambda pair: pair[0]):
            rows: dict[str, list[Mapping[str, Any]]] = {}
            for _, table, row in group:
                rows.setdefault(table, []).append(row)
            came = (model.name, f"edit:{number}") in chain.imported
            yield from (_imported if came else _edit)(model.name, number, rows, dict(model._mapping))


def _of_edits(
    connection: Connection, table: Table, model: str, number: str, *order: str
) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    columns = (table.c[name] for name in COLUMNS[table.name])
    query: Select[Any] = select(*columns).where(table.c.model == model)
    query = query.order_by(table.c[number], *(table.c[name] for name in order))
    for row in connection.execute(query, execution_options=_STREAMED):
        values = dict(row._mapping)
        yield values[number], table.name, values


def _edit(
    model: str, number: int, rows: Mapping[str, list[Mapping[str, Any]]], made: Mapping[str, Any]
) -> Iterator[_Recorded]:
    name = f"edit {number} of {model!r}"
    results = [rows.get(table, []) for table in ("operations", "adapter_versions", "snapshots")]
    if "edits" not in rows:
        yield _Recorded(f"{name}, which is missing", _event(AuditAction.BEGIN, model, f"edit:{number}", {}), {})
        return
    edit = rows["edits"][0]
    at_once = edit["kind"] in (EditKind.ROLLBACK, EditKind.CHERRY_PICK)
    said = {"actor": edit["actor"], "reason": edit["reason"]}
    if not at_once:
        event = _event(AuditAction.BEGIN, model, f"edit:{number}", said | {"source": edit["base"]})
        yield _Recorded(f"the begin of {name}", event, begun(edit, [made]))
    if edit["state"] == EditState.COMMITTED:
        landed = said | {"target": edit["result"], "at": edit["closed_at"]}
        event = _event(edit["kind"] if at_once else AuditAction.COMMIT, model, f"edit:{number}", landed)
        yield _Recorded(name, event, closed(edit, *results))
    elif edit["state"] == EditState.ABORTED:
        event = _event(AuditAction.ABORT, model, f"edit:{number}", {"reason": edit["close_reason"]})
        yield _Recorded(name, event, closed(edit, *results))
    elif any(results):
        yield _Recorded(
            f"what {name}, which is open, made", _event(AuditAction.COMMIT, model, f"edit:{number}", {}), {}
        )


def _imported(
    model: str, number: int, rows: Mapping[str, list[Mapping[str, Any]]], made: Mapping[str, Any]
) -> Iterator[_Recorded]:
    """What the import of an edit records."""
    name = f"edit {number} of {model!r}, which was imported"
    edit = rows["edits"][0] if "edits" in rows else {"kind": None, "result": None}
    results = [rows.get(table, []) for table in ("operations", "adapter_versions", "snapshots")]
    event = _event(AuditAction.IMPORT_EDIT, model, f"edit:{number}", {"target": edit["result"]})
    yield _Recorded(
        name, event, imported(edit, results[0], results[1], results[2], [made]) if "edits" in rows else {}
    )


def _event(action: str, model: str, subject: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows say that the event's fields are."""
    unsaid = {"source": None, "target": None, "actor": None, "reason": None, "at": None}
    return {**unsaid, "action": action, "model": model, "subject": subject, **fields}


def _single_rows(connection: Connection, chain: Chain) -> Iterator[_Recorded]:
    """What each move of an alias and each decision of trust records."""
    for row in _all(connection, tables.alias_moves, "id"):
        logged = {"source": row["source"], "target": row["target"]}
        yield _single(
            f"move {row['id']} of an alias",
            AuditAction.DELETE_ALIAS if row["target"] is None else AuditAction.PROMOTE,
            f"alias:{row['alias']}",
            "alias_moves",
            row,
            logged,
        )
    for row in _all(connection, tables.policies, "model", "alias", "version"):
        name, subject = (
            f"policy {row['version']} of {row['alias']!r}",
            policy_subject(row["alias"], row["version"]),
        )
        yield _single(
            name, AuditAction.POLICY, subject, "policies", row, {"target": digest_of(str(row["policy"]).encode())}
        )
    for row in _all(connection, tables.evaluations, "id"):
        logged = {"source": row["against"], "target": row["snapshot"]}
        subject = evaluation_subject(row["id"], str(row["report"]))
        came = (row["model"], subject) in chain.imported
        recorded = AuditAction.IMPORT_EVALUATION if came else AuditAction.EVALUATE
        yield _single(f"evaluation {row['id']}", recorded, subject, "evaluations", row, logged)
    for row in _all(connection, tables.approvals, "model", "alias", "snapshot", "actor"):
        name = f"approval of {row['snapshot']} by {row['actor']}"
        yield _single(
            name, AuditAction.APPROVE, f"alias:{row['alias']}", "approvals", row, {"target": row["snapshot"]}
        )
    for row in _all(connection, tables.approval_events, "id"):
        name = f"word {row['id']} on an approval by {row['actor']}"
        logged = {"target": row["snapshot"]}
        yield _single(name, row["action"], f"alias:{row['alias']}", "approval_events", row, logged)
    for row in _all(connection, tables.key_events, "id"):
        name, action = f"word {row['id']} on key {row['name']!r}", f"{row['action']} key"
        yield _single(name, action, f"key:{row['name']}", "key_events", row, {"target": row["key"]})
    for row in _all(connection, tables.signatures, "model", "snapshot", "key"):
        name, logged = f"signature of {row['snapshot']}", {"target": row["snapshot"]}
        yield _single(name, AuditAction.SIGN, f"key:{row['key']}", "signatures", row, logged)
    for row in _all(connection, tables.snapshot_notes, "id"):
        name, logged = f"annotation {row['id']} of {row['snapshot']}", {"target": row["snapshot"]}
        yield _single(name, row["action"], annotation_subject(row["tag"]), "snapshot_notes", row, logged)


def _all(connection: Connection, table: Table, *order: str) -> Iterator[Mapping[str, Any]]:
    query = select(*(table.c[name] for name in COLUMNS[table.name])).order_by(*(table.c[name] for name in order))
    for row in connection.execute(query, execution_options=_STREAMED):
        yield dict(row._mapping)


def _single(
    name: str, action: str, subject: str, table: str, row: Mapping[str, Any], logged: Mapping[str, Any]
) -> _Recorded:
    said = {field: row[field] for field in ("actor", "reason", "at")}
    return _Recorded(name, _event(action, row["model"], subject, {**said, **logged}), {table: [row]})


# Pointers


def _pointers(connection: Connection, chain: Chain) -> Iterator[str]:
    """Compares what only ever moves with where the events moved it."""
    heads = {row.model: (row.snapshot, row.moved_at) for row in connection.execute(select(tables.heads))}
    for model, held, logged in _different(heads, chain.heads):
        yield f"the head of {model!r} is {_position(held)}, the audit says {_position(logged)}"
    rows = connection.execute(select(tables.aliases))
    aliases = {(row.model, row.name): (row.snapshot, row.moved_at) for row in rows}
    for (model, alias), held, logged in _different(aliases, chain.aliases):
        yield f"alias {alias!r} of {model!r} is at {_position(held)}, the audit says {_position(logged)}"
    numbers = {row.name: row.last_edit for row in connection.execute(select(tables.models))}
    for model, held, logged in _different(numbers, chain.numbers):
        yield f"the last edit of {model!r} is {held}, the audit says {logged}"
    rows = connection.execute(select(tables.expired_snapshots))
    expired = {row.snapshot: (row.at, row.actor, row.reason, row.event) for row in rows}
    for snapshot, held, logged in _different(expired, chain.expired):
        yield f"snapshot {snapshot} {_expired(held)}, the audit says that it {_expired(logged)}"


def _different(held: Mapping[Any, Any], logged: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    for key in sorted(held.keys() | logged.keys(), key=repr):
        if held.get(key) != logged.get(key):
            yield key, held.get(key), logged.get(key)


def _position(pointer: tuple[str, float] | None) -> str:
    return "no snapshot" if pointer is None else f"{pointer[0]} since {pointer[1]}"


def _expired(expiry: tuple[float, str, str, int] | None) -> str:
    return (
        "is kept" if expiry is None else f"expired at {expiry[0]} by {expiry[1]} ({expiry[2]}, event {expiry[3]})"
    )
