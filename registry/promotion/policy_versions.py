"""Policies as they are kept: one row for each version, the newest in force, none ever changed.

A version is written under the model's lock, which a promotion takes too: a promotion sees the policy before a change
or after it, and never half of each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.canonical import parse_json
from raie.registry.db.queries import check_alias, lock_model, require_model, text_of
from raie.registry.db.tables import audit_events, policies
from raie.registry.promotion.policy import Policy
from raie.registry.states import AuditAction
from raie.registry.values import digest_of

__all__ = ["PolicyVersion", "amend", "history", "in_force", "in_force_before", "policy_subject"]

_p, _logged = policies.c, audit_events.c


@dataclass(frozen=True)
class PolicyVersion:
    """One version of an alias's policy, with who set it, when and why."""

    model: str
    alias: str
    version: int
    policy: Policy
    actor: str
    reason: str
    at: float


def in_force(connection: Connection, model: str, alias: str) -> PolicyVersion | None:
    """The newest version; None where the alias never had a policy."""
    query = select(policies).where(_p.model == model, _p.alias == alias).order_by(_p.version.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _version(row)


def in_force_before(connection: Connection, model: str, alias: str, event: int) -> PolicyVersion | None:
    """The version that was the newest when an event was recorded; None where the alias had no policy yet."""
    versions = {policy_subject(alias, version.version): version for version in history(connection, model, alias)}
    mine = (_logged.model == model, _logged.action == AuditAction.POLICY, _logged.subject.in_(versions))
    newest = select(_logged.subject).where(*mine, _logged.id < event).order_by(_logged.id.desc()).limit(1)
    subject = connection.execute(newest).scalar()
    return None if subject is None else versions[subject]


def history(connection: Connection, model: str, alias: str | None = None) -> list[PolicyVersion]:
    """Every version of one alias's policy, or of all, newest first within each alias; raises NotFound."""
    require_model(connection, model)
    query = select(policies).where(_p.model == model).order_by(_p.alias, _p.version.desc())
    rows = connection.execute(query if alias is None else query.where(_p.alias == alias))
    return [_version(row) for row in rows]


def amend(
    connection: Connection, model: str, alias: str, changes: Mapping[str, Any], author: Author
) -> PolicyVersion:
    """Writes the policy in force with these fields changed, as the next version; the same one where nothing changes.

    Raises NotFound for the model, and InvalidValue for a field or a value that a policy cannot have.
    """
    lock_model(connection, model)
    before = in_force(connection, model, alias)
    if before is None:
        check_alias(connection, model, alias)
    wanted = (before.policy if before else Policy()).amended(changes)
    if before is not None and before.policy == wanted:
        return before
    text, now, number = text_of(wanted.to_json()), time.time(), before.version + 1 if before else 1
    said = {"actor": author.name, "reason": author.reason, "at": now}
    row = {"model": model, "alias": alias, "version": number, "policy": text} | said
    connection.execute(insert(policies).values(row))
    audit.append(
        connection,
        author=author,
        action=AuditAction.POLICY,
        model=model,
        subject=policy_subject(alias, number),
        source=None if before is None else _digest(text_of(before.policy.to_json())),
        target=_digest(text),
        at=now,
        rows={"policies": [row]},
    )
    return PolicyVersion(model, alias, number, wanted, author.name, author.reason, now)


def policy_subject(alias: str, version: int) -> str:
    """How the audit names a version of a policy."""
    return f"policy:{version} of alias:{alias}"


def _digest(text: str) -> str:
    return digest_of(text.encode())


def _version(row: Row[Any]) -> PolicyVersion:
    fields = dict(row._mapping)
    return PolicyVersion(**fields | {"policy": Policy.from_json(parse_json(row.policy))})
