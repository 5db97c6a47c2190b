"""Whether what people said about trust is as it was said: signatures valid, every row told of in the audit.

A row that was put in by hand has no event in the audit's chain, and a row whose event is there but says something else
was put in its place. Every problem is one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from registry import keys
from registry.errors import InvalidValue
from registry.models import (
    alias_moves,
    aliases,
    approvals,
    audit_events,
    evaluations,
    key_events,
    policies,
    signatures,
)
from registry.policy_history import in_force, policy_subject
from registry.values import digest_of

__all__ = ["TrustReport", "check"]

_Told = tuple[str, str, str, str, str, float]
_ACTIONS = ("promote", "policy", "evaluate", "approve", "trust key", "revoke key", "sign")


@dataclass(frozen=True)
class TrustReport:
    """How many signatures are kept, and what is wrong with them or with any other word of trust."""

    signatures: int
    problems: tuple[str, ...]


def check(connection: Connection) -> TrustReport:
    """Checks every signature, every row against the audit, and what protected aliases point to."""
    count = connection.execute(select(func.count()).select_from(signatures)).scalar_one()
    problems = (*keys.invalid_signatures(connection), *_untold(connection), *_unsigned(connection))
    return TrustReport(count, problems)


def _untold(connection: Connection) -> Iterator[str]:
    e = audit_events.c
    columns = (e.action, e.model, e.subject, e.target, e.actor, e.at)
    told = {tuple(row) for row in connection.execute(select(*columns).where(e.action.in_(_ACTIONS)))}
    for what, event in _rows(connection):
        if event not in told:
            yield f"{what}: no audit event tells of it as it stands"


def _rows(connection: Connection) -> Iterator[tuple[str, _Told]]:
    """Each row with its name and with the audit event that it came with."""
    for row in connection.execute(select(alias_moves)):
        yield f"move {row.id} of an alias", _event("promote", row, f"alias:{row.alias}", row.target)
    for row in connection.execute(select(policies)):
        subject = policy_subject(row.alias, row.version)
        yield f"policy {row.version} of {row.alias!r}", _event("policy", row, subject, _digest(row.policy))
    for row in connection.execute(select(evaluations)):
        subject = f"evaluation:{row.id} {_digest(row.report)}"
        yield f"evaluation {row.id}", _event("evaluate", row, subject, row.snapshot)
    for row in connection.execute(select(approvals)):
        event = _event("approve", row, f"alias:{row.alias}", row.snapshot)
        yield f"approval of {row.snapshot} by {row.actor}", event
    for row in connection.execute(select(key_events)):
        yield f"word {row.id} on key {row.name!r}", _event(f"{row.action} key", row, f"key:{row.name}", row.key)
    for row in connection.execute(select(signatures)):
        yield f"signature of {row.snapshot}", _event("sign", row, f"key:{row.key}", row.snapshot)


def _event(action: str, row: Any, subject: str, target: str) -> _Told:
    return action, row.model, subject, target, row.actor, row.at


def _digest(text: str) -> str:
    return digest_of(text.encode())


def _unsigned(connection: Connection) -> Iterator[str]:
    """Aliases that may be loaded only signed, and are not."""
    for row in connection.execute(select(aliases).order_by(aliases.c.model, aliases.c.name)):
        try:
            version = in_force(connection, row.model, row.name)
        except InvalidValue as error:
            yield f"the policy of {row.name!r} of {row.model!r}: {error}"
            continue
        asked = version is not None and version.policy.protected and version.policy.require_signed
        if asked and not keys.signers(connection, row.model, row.snapshot):
            yield f"alias {row.name!r} of {row.model!r} requires a trusted signature, and {row.snapshot} has none"
