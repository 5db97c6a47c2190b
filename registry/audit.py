"""The audit log: one chain of events over all models, each hashed with the one before it.

An event holds the digest of the rows that it stands for (recorded_rows says which), so a row that is changed, or taken
away, no longer fits it.

Triggers refuse to update or delete an event. Whoever can get around them still breaks the chain, and whoever
rewrites the whole chain still changes its end: what was kept of it outside the database, a checkpoint, shows that.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from raie.registry.author import Author
from raie.registry.canonical import canonical_json
from raie.registry.db.tables import audit_events, audit_head
from raie.registry.errors import InvalidValue
from raie.registry.recorded_rows import Rows, digest_of_rows
from raie.registry.states import AuditAction
from raie.registry.values import AuditEvent

__all__ = [
    "ChainReport",
    "Checkpoint",
    "append",
    "chain_head",
    "events",
    "line_of",
    "newest",
    "of_snapshot",
    "parse_checkpoint",
    "verify_chain",
]

GENESIS = "0" * 64
_END = re.compile(r"([0-9]{1,18}):([0-9A-Fa-f]{64})")
_e = audit_events.c


@dataclass(frozen=True)
class Checkpoint:
    """An earlier chain head; kept_by: who kept it, as the subject of a sentence.

    number: None where only the hash was kept.
    """

    number: int | None
    hash: str
    kept_by: str


@dataclass(frozen=True)
class ChainReport:
    """What was found: the number of events, the chain head as `number:hash`, and each problem in one line."""

    events: int
    head: str
    problems: tuple[str, ...]


def append(
    connection: Connection,
    *,
    author: Author,
    action: AuditAction,
    subject: str,
    model: str | None = None,
    source: str | None = None,
    target: str | None = None,
    at: float | None = None,
    rows: Rows | None = None,
    digest: str | None = None,
) -> AuditEvent:
    """Adds an event to the chain, in the caller's transaction: it exists if and only if what it records does.

    rows: those that it stands for, as they were written in this transaction; their digest enters its hash.  digest:
    that digest, where the caller has it already.
    """
    # Before the lock, for which every other writer waits: a setup stands for a row for each of its regions, twice.
    digest = digest if rows is None else digest_of_rows(rows)
    end = connection.execute(select(audit_head).with_for_update()).one()
    fields: dict[str, Any] = {
        "id": end.event + 1,
        "at": time.time() if at is None else at,
        "actor": author.name,
        "action": action,
        "model": model,
        "subject": subject,
        "source": source,
        "target": target,
        "reason": author.reason,
        "client": _client(),
        "previous": end.hash,
        "digest": digest,
    }
    event = AuditEvent(**fields, hash=_link(fields))
    connection.execute(insert(audit_events).values(asdict(event)))
    connection.execute(update(audit_head).values(event=event.id, hash=event.hash))
    return event


def chain_head(connection: Connection) -> str:
    """The chain head as `number:hash`, to be kept outside the database."""
    end = connection.execute(select(audit_head)).one()
    return f"{end.event}:{end.hash}"


def events(connection: Connection, model: str | None = None, after: int = 0) -> Iterator[AuditEvent]:
    """The events after a number, oldest first; of one model where it is named."""
    query = select(audit_events).where(_e.id > after).order_by(_e.id)
    if model is not None:
        query = query.where(_e.model == model)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        yield AuditEvent(**row._mapping)


def newest(connection: Connection, limit: int) -> list[AuditEvent]:
    """The last so many events, newest first."""
    query = select(audit_events).order_by(_e.id.desc()).limit(limit)
    return [AuditEvent(**row._mapping) for row in connection.execute(query)]


def of_snapshot(connection: Connection, model: str, snapshot: str) -> list[AuditEvent]:
    """The events whose target is a snapshot, oldest first: who made, evaluated, approved, signed and promoted it."""
    mine = (_e.model == model, _e.target == snapshot)
    rows = connection.execute(select(audit_events).where(*mine).order_by(_e.id))
    return [AuditEvent(**row._mapping) for row in rows]


def line_of(event: AuditEvent) -> bytes:
    """The event as canonical JSON: what its hash can be recomputed from by anybody."""
    return canonical_json(_hashed(asdict(event)))


def verify_chain(
    connection: Connection,
    checkpoints: Iterable[Checkpoint] = (),
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
) -> ChainReport:
    """Recomputes every link; the chain must hold every checkpoint, at its number.

    on_event: is given the columns of each event, oldest first, so that the chain is read once for several checks.
    """
    problems, count, last, previous = [], 0, 0, GENESIS
    missing = set(checkpoints)
    wanted: dict[str, list[Checkpoint]] = {}
    for checkpoint in missing:
        wanted.setdefault(checkpoint.hash, []).append(checkpoint)
    query = select(audit_events).order_by(_e.id)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        problems += _problems_of(row, last + 1, previous)
        if on_event is not None:
            on_event(dict(row._mapping))
        missing -= {checkpoint for checkpoint in wanted.get(row.hash, ()) if checkpoint.number in (None, row.id)}
        count, last, previous = count + 1, row.id, row.hash
    end = chain_head(connection)
    if end != f"{last}:{previous}":
        problems.append(f"the chain head is recorded as {end}, and the last event is {last}:{previous}")
    return ChainReport(count, end, (*problems, *_rewritten(missing, last)))


def _rewritten(missing: set[Checkpoint], last: int) -> Iterator[str]:
    """For each place that kept an end that the chain does not hold: the first such end."""
    for kept_by in sorted({checkpoint.kept_by for checkpoint in missing}):
        kept = sorted((a.number or 0, a.hash) for a in missing if a.kept_by == kept_by)
        number, hashed = kept[0]
        more = f", and {len(kept) - 1} later ends" if len(kept) > 1 else ""
        if number > last:
            yield f"{kept_by} names event {number}{more}, and the last event is {last}: events were cut off"
        elif number:
            yield f"event {number} was rewritten: {kept_by} expects hash {hashed}{more}, found another"
        else:
            yield f"the chain was rewritten: {kept_by} expects an event with hash {hashed}{more}, found none"


def _problems_of(row: Row[Any], number: int, previous: str) -> list[str]:
    fields = dict(row._mapping)
    recorded = fields.pop("hash")
    problems = []
    if row.id != number:
        problems.append(f"events {number} to {row.id - 1} are missing")
    if row.previous != previous:
        problems.append(f"event {row.id} does not follow the event before it")
    if not _is_link(fields, recorded):
        problems.append(f"event {row.id} was changed after it was written")
    return problems


def _is_link(fields: dict[str, Any], recorded: str) -> bool:
    """Whether a hash is that of the fields; no field that raie wrote is without a JSON form."""
    try:
        return _link(fields) == recorded
    except InvalidValue:
        return False


def _link(fields: dict[str, Any]) -> str:
    """The hash of an event: sha256 of the previous hash and the canonical JSON of all other fields."""
    rest = {key: value for key, value in _hashed(fields).items() if key != "previous"}
    return hashlib.sha256(fields["previous"].encode() + canonical_json(rest)).hexdigest()


def _hashed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that an event has: an event from before there were digests was hashed without one."""
    return {key: value for key, value in fields.items() if key != "digest" or value is not None}


def parse_checkpoint(text: str, kept_by: str = "the checkpoint") -> Checkpoint:
    """The checkpoint that `chain_head` gave as `number:hash`; raises InvalidValue for any other text.

    A part of a hash is refused: it would be compared with whole ones, and look like a chain that was rewritten.
    """
    match = _END.fullmatch(text)
    if match is None:
        raise InvalidValue(
            "Expected a checkpoint as the event's number, a colon and the whole hash of 64 hexadecimal characters, found "
            f"{ascii(text)[:100]}; copy the whole chain head that `raie verify` printed"
        )
    return Checkpoint(int(match[1]), match[2].lower(), kept_by)


@cache
def _client() -> str:
    try:
        return f"raie {metadata.version('raie')}"
    except metadata.PackageNotFoundError:
        return "raie (not installed)"
