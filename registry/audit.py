"""The audit log: one chain of events over all models, each hashed with the one before it.

Triggers refuse to update or delete an event. Whoever can get around them still breaks the chain, and whoever
rewrites the whole chain still changes its end: keep `chain_head` outside the database (print it, tag it elsewhere)
and give it to `verify_chain` as the anchor.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from registry.errors import InvalidValue
from registry.models import audit_events, audit_head
from registry.values import AuditEvent, canonical_json

__all__ = ["ChainReport", "append", "chain_head", "events", "verify_chain"]

GENESIS = "0" * 64
_e = audit_events.c


@dataclass(frozen=True)
class ChainReport:
    """What was found: the number of events, the chain's end as `number:hash`, and each problem in one line."""

    events: int
    head: str
    problems: tuple[str, ...]


def append(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    model: str | None = None,
    source: str | None = None,
    target: str | None = None,
    reason: str = "",
    at: float | None = None,
) -> AuditEvent:
    """Adds an event to the chain, in the caller's transaction: it exists if and only if what it tells of does."""
    end = connection.execute(select(audit_head).with_for_update()).one()
    fields: dict[str, Any] = {
        "id": end.event + 1,
        "at": time.time() if at is None else at,
        "actor": actor,
        "action": action,
        "model": model,
        "subject": subject,
        "source": source,
        "target": target,
        "reason": reason,
        "client": _client(),
        "previous": end.hash,
    }
    event = AuditEvent(**fields, hash=_link(fields))
    connection.execute(insert(audit_events).values(asdict(event)))
    connection.execute(update(audit_head).values(event=event.id, hash=event.hash))
    return event


def chain_head(connection: Connection) -> str:
    """The chain's end as `number:hash`, to be kept outside the database."""
    end = connection.execute(select(audit_head)).one()
    return f"{end.event}:{end.hash}"


def events(connection: Connection, model: str | None = None) -> Iterator[AuditEvent]:
    """The events, oldest first; of one model where it is named."""
    query = select(audit_events).order_by(_e.id)
    if model is not None:
        query = query.where(_e.model == model)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        yield AuditEvent(**row._mapping)


def verify_chain(connection: Connection, anchor: str | None = None) -> ChainReport:
    """Recomputes every link.

    anchor: an earlier `chain_head`; the event of that number must still have that hash.
    Raises InvalidValue for an anchor that is not `number:hash`.
    """
    number, anchored = _parse_anchor(anchor)
    problems, count, last, previous = [], 0, 0, GENESIS
    query = select(audit_events).order_by(_e.id)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        problems += _problems_of(row, last + 1, previous)
        if row.id == number and row.hash != anchored:
            problems.append(f"event {row.id} was rewritten: the anchor expects hash {anchored}, found {row.hash}")
        count, last, previous = count + 1, row.id, row.hash
    end = chain_head(connection)
    if end != f"{last}:{previous}":
        problems.append(f"the chain's end is recorded as {end}, and the last event is {last}:{previous}")
    if number > last:
        problems.append(f"the anchor names event {number}, and the last event is {last}")
    return ChainReport(count, end, tuple(problems))


def _problems_of(row: Row[Any], number: int, previous: str) -> list[str]:
    fields = dict(row._mapping)
    found = fields.pop("hash")
    problems = []
    if row.id != number:
        problems.append(f"events {number} to {row.id - 1} are missing")
    if row.previous != previous:
        problems.append(f"event {row.id} does not follow the event before it")
    if _link(fields) != found:
        problems.append(f"event {row.id} was changed after it was written")
    return problems


def _link(fields: dict[str, Any]) -> str:
    """The hash of an event: sha256 of the previous hash and the canonical JSON of all other fields."""
    rest = {key: value for key, value in fields.items() if key != "previous"}
    return hashlib.sha256(fields["previous"].encode() + canonical_json(rest)).hexdigest()


def _parse_anchor(anchor: str | None) -> tuple[int, str]:
    if anchor is None:
        return 0, GENESIS
    number, separator, hashed = anchor.partition(":")
    if not separator or not number.isascii() or not number.isdigit():
        raise InvalidValue(f"Expected an anchor as number:hash, found {ascii(anchor)[:100]}")
    return int(number), hashed


@cache
def _client() -> str:
    try:
        return f"raie {metadata.version('raie')}"
    except metadata.PackageNotFoundError:
        return "raie (not installed)"
