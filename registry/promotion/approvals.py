"""Approvals: somebody's word that an alias may move to a snapshot, which the same person may take back and give again.

The first word is a row of `approvals`; each later one is a row of `approval_events`. None is ever changed, and the
newest one of a person counts. People are compared by `people.person_of`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.queries import lock_model, resolve_id
from raie.registry.db.tables import approval_events, approvals, audit_events
from raie.registry.errors import InvalidValue, NotFound
from raie.registry.people import person_of
from raie.registry.states import AuditAction

__all__ = ["Approval", "approve", "approvers", "given_before", "withdraw"]

_FIRST, _LATER, _logged = approvals.c, approval_events.c, audit_events.c


@dataclass(frozen=True)
class Approval:
    """Somebody's word that an alias may move to a snapshot; withdrawn: that it may not, after all."""

    model: str
    alias: str
    snapshot: str
    actor: str
    reason: str
    at: float
    withdrawn: bool = False


def approve(connection: Connection, model: str, ref: str, alias: str, author: Author) -> Approval:
    """Keeps an approval; the one that stands where this person approved this snapshot for this alias before.

    Raises NotFound, and InvalidValue without a reason.
    """
    snapshot = _locked(connection, model, ref, author, "approval")
    known = _newest(connection, model, alias, snapshot).get(person_of(author.name))
    if known is not None and not known.withdrawn:
        return known
    given = Approval(model, alias, snapshot, author.name, author.reason, time.time())
    if known is not None:
        return _append(connection, given, AuditAction.APPROVE)
    row = {name: value for name, value in vars(given).items() if name != "withdrawn"}
    connection.execute(insert(approvals).values(row))
    _log(connection, given, AuditAction.APPROVE, {"approvals": [row]})
    return given


def withdraw(connection: Connection, model: str, ref: str, alias: str, author: Author) -> Approval:
    """Takes a person's own approval back; the same answer again where it is taken back already.

    Raises NotFound for an approval that this person never gave, and InvalidValue without a reason.
    """
    snapshot = _locked(connection, model, ref, author, "withdrawal")
    known = _newest(connection, model, alias, snapshot)
    mine = known.get(person_of(author.name))
    if mine is None:
        names = (
            ", ".join(sorted(approval.actor for approval in known.values() if not approval.withdrawn)) or "nobody"
        )
        raise NotFound(
            f"Expected an approval of {snapshot[:12]} for {alias!r} by {author.name}, found approval by {names}; only "
            "who gave one takes it back"
        )
    if mine.withdrawn:
        return mine
    return _append(
        connection,
        Approval(model, alias, snapshot, author.name, author.reason, time.time(), withdrawn=True),
        AuditAction.WITHDRAW,
    )


def approvers(
    connection: Connection, model: str, alias: str, snapshot: str, before: int | None = None
) -> frozenset[str]:
    """Who approved that an alias moves to a snapshot, and did not take it back.

    before: count only what the audit records before this event; None for all.
    """
    if before is None:
        known = _newest(connection, model, alias, snapshot)
    else:
        known = {person_of(a.actor): a for a in given_before(connection, model, alias, snapshot, before)}
    return frozenset(approval.actor for approval in known.values() if not approval.withdrawn)


def given_before(
    connection: Connection, model: str, alias: str, snapshot: str, before: int
) -> tuple[Approval, ...]:
    """Every approval and withdrawal that the audit records before an event, oldest first."""
    mine = (_logged.model == model, _logged.subject == f"alias:{alias}", _logged.target == snapshot)
    kinds = (AuditAction.APPROVE, AuditAction.WITHDRAW)
    query = select(audit_events).where(*mine, _logged.action.in_(kinds), _logged.id < before).order_by(_logged.id)
    return tuple(
        Approval(model, alias, snapshot, row.actor, row.reason, row.at, row.action == AuditAction.WITHDRAW)
        for row in connection.execute(query)
    )


def _locked(connection: Connection, model: str, ref: str, author: Author, what: str) -> str:
    """The snapshot that is meant, the model locked; raises NotFound and InvalidValue."""
    if not author.reason.strip():
        raise InvalidValue(f"Expected a reason for the {what}, found none; say what was looked at")
    lock_model(connection, model)
    return resolve_id(connection, model, ref)


def _newest(connection: Connection, model: str, alias: str, snapshot: str) -> dict[str, Approval]:
    """Person -> that person's newest word."""
    return {person_of(approval.actor): approval for approval in _history(connection, model, alias, snapshot)}


def _history(connection: Connection, model: str, alias: str, snapshot: str) -> Iterator[Approval]:
    """Every word on one snapshot for one alias, in the order in which it was given."""
    first = (_FIRST.model == model, _FIRST.alias == alias, _FIRST.snapshot == snapshot)
    for row in connection.execute(select(approvals).where(*first).order_by(_FIRST.actor)):
        yield Approval(**row._mapping)
    later = (_LATER.model == model, _LATER.alias == alias, _LATER.snapshot == snapshot)
    for row in connection.execute(select(approval_events).where(*later).order_by(_LATER.id)):
        said = row.actor, row.reason, row.at, row.action == AuditAction.WITHDRAW
        yield Approval(row.model, row.alias, row.snapshot, *said)


def _append(connection: Connection, approval: Approval, action: AuditAction) -> Approval:
    """Keeps a later word."""
    row: dict[str, Any] = {name: value for name, value in vars(approval).items() if name != "withdrawn"}
    row["action"] = action
    number = connection.execute(insert(approval_events).values(row).returning(_LATER.id)).scalar_one()
    _log(connection, approval, action, {"approval_events": [row | {"id": number}]})
    return approval


def _log(
    connection: Connection, approval: Approval, action: AuditAction, rows: dict[str, list[dict[str, Any]]]
) -> None:
    audit.append(
        connection,
        author=Author(approval.actor, approval.reason),
        action=action,
        model=approval.model,
        subject=f"alias:{approval.alias}",
        target=approval.snapshot,
        at=approval.at,
        rows=rows,
    )
