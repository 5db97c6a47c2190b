"""Who gets past a protected alias: a snapshot that should go there, and whoever loads what is there.

A promotion is admitted inside its own transaction, under the model's lock, so that nothing can change between the
check and the move. A load is admitted again, because a row that somebody moved by hand went through no promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.queries import edit_by_number, pointed_at, snapshot_by_id
from raie.registry.db.tables import alias_moves, audit_events
from raie.registry.errors import InvalidValue, PromotionRefused, Untrusted
from raie.registry.promotion.evaluations import Candidate, facts
from raie.registry.promotion.keys import signers
from raie.registry.promotion.policy import SIGNATURE, Check, checks
from raie.registry.promotion.policy_versions import PolicyVersion, history, in_force, policy_subject
from raie.registry.states import AuditAction

__all__ = ["admit", "admit_load", "admit_serving", "candidate_of", "checks_of"]


def candidate_of(connection: Connection, snapshot: str) -> Candidate:
    """A committed snapshot as a candidate; raises NotFound."""
    committed = snapshot_by_id(connection, snapshot)
    return Candidate(
        committed.id,
        committed.model,
        committed.content,
        edit_by_number(connection, committed.model, committed.edit).actor,
    )


def checks_of(
    connection: Connection, model: str, alias: str, candidate: str | Candidate, served: str | None
) -> tuple[Check, ...]:
    """Every check of the alias's policy for a candidate; none where the alias is not protected.

    candidate: a snapshot's id, or a cherry-pick that is not committed yet.  served: where the alias points now.
    """
    version = in_force(connection, model, alias)
    return () if version is None else _checks(connection, version, candidate, served)


def _checks(
    connection: Connection, version: PolicyVersion, candidate: str | Candidate, served: str | None
) -> tuple[Check, ...]:
    if not version.policy.protected:
        return ()
    wanted = candidate_of(connection, candidate) if isinstance(candidate, str) else candidate
    current = None if served is None else snapshot_by_id(connection, served)
    return checks(version.policy, facts(connection, version.policy, version.alias, wanted, current))


def admit(
    connection: Connection,
    model: str,
    alias: str,
    candidate: str | Candidate,
    served: str | None,
    *,
    author: Author,
    override: bool,
) -> None:
    """Lets a candidate through to an alias, or raises PromotionRefused; an override is written into the audit.

    Raises InvalidValue for an override without a reason.
    """
    version = in_force(connection, model, alias)
    if version is None:
        return
    failed = [check for check in _checks(connection, version, candidate, served) if not check.passed]
    if not failed:
        return
    target = candidate if isinstance(candidate, str) else candidate.id
    final = not version.policy.override or any(check.name == SIGNATURE for check in failed)
    if final or not override:
        raise _refusal(version, target, served, failed, may_override=not final)
    if not author.reason.strip():
        raise InvalidValue("Expected a reason for the override, found none; say why in --reason")
    failures = "; ".join(check.summary for check in failed)
    audit.append(
        connection,
        author=replace(author, reason=f"{author.reason} (in spite of {failures})"),
        action=AuditAction.OVERRIDE,
        model=model,
        subject=f"alias:{alias}",
        source=served,
        target=target,
    )


def _refusal(
    version: PolicyVersion, target: str, served: str | None, failed: list[Check], *, may_override: bool
) -> PromotionRefused:
    ways = list(dict.fromkeys(check.advice for check in failed))
    ways += ["`--override --reason TEXT` passes over it"] if may_override else []
    return PromotionRefused(
        f"Expected snapshot {target[:12]} to pass policy {version.version} of {version.alias!r}, found {len(failed)} of "
        f"its checks failed: {'; '.join(check.summary for check in failed)}. What to do: {'; '.join(ways)}",
        [check.line for check in failed],
        served,
        target,
    )


def admit_load(connection: Connection, model: str, ref: str, snapshot: str) -> None:
    """Raises Untrusted where a protected alias is not where its log says, or lacks the signature that it must have.

    ref: as the caller wrote it; anything but a protected alias is let through.
    """
    version = in_force(connection, model, ref)
    if version is None or not version.policy.protected:
        return
    mine = (alias_moves.c.model == model, alias_moves.c.alias == ref)
    newest = select(alias_moves.c.target).where(*mine).order_by(alias_moves.c.id.desc()).limit(1)
    # A move by hand may hide in the log of moves, by a row put in or taken away; the audit is hashed.
    e = audit_events.c
    moved = e.action.in_((AuditAction.PROMOTE, AuditAction.DELETE_ALIAS))
    promoted = (e.model == model, e.subject == f"alias:{ref}", moved)
    recorded = select(e.target).where(*promoted).order_by(e.id.desc()).limit(1)
    for where, query in (("its log", newest), ("the audit", recorded)):
        logged = connection.execute(query).scalar()
        if logged != snapshot:
            raise Untrusted(
                f"Expected protected alias {ref!r} of {model!r} at {logged}, where {where} says, found it at "
                f"{snapshot}: it was moved by hand; promote what it should serve, and run `raie verify`"
            )
    if version.policy.require_signed:
        _require_signature(connection, model, snapshot, f"alias {ref!r}")


def admit_serving(connection: Connection, model: str, snapshot: str) -> None:
    """Raises Untrusted for a snapshot that no policy of the model admitted, or that lacks a signature it must have.

    For a server that got a snapshot's id from elsewhere and cannot know for which alias: somebody may have moved an alias
    in MLflow. A protected alias admits what it points to, and what it pointed to while it was protected. A model without
    a protected alias admits every snapshot.
    """
    newest: dict[str, PolicyVersion] = {}
    for version in history(connection, model):
        newest.setdefault(version.alias, version)
    protected = [version for version in newest.values() if version.policy.protected]
    for version in protected:
        if version.policy.require_signed:
            _require_signature(connection, model, snapshot, f"alias {version.alias!r}")
            break
    if protected and not any(_admits(connection, version, snapshot) for version in protected):
        raise _not_admitted(connection, model, snapshot, protected)


def _admits(connection: Connection, version: PolicyVersion, snapshot: str) -> bool:
    """Whether a protected alias points to a snapshot, or pointed to it under a policy, as the audit says."""
    model, alias = version.model, version.alias
    if pointed_at(connection, model, alias) == snapshot:
        admit_load(connection, model, alias, snapshot)
        return True
    e, versions = audit_events.c, history(connection, model, alias)
    protects = {policy_subject(alias, known.version): known.policy.protected for known in versions}
    promoted = (e.model == model, e.subject == f"alias:{alias}", e.target == snapshot)
    moves = connection.execute(select(e.id).where(*promoted, e.action == AuditAction.PROMOTE)).scalars().all()
    for move in moves:
        changed = (e.model == model, e.action == AuditAction.POLICY, e.subject.in_(protects), e.id < move)
        last = connection.execute(select(e.subject).where(*changed).order_by(e.id.desc()).limit(1)).scalar()
        if last is not None and protects[last]:
            return True
    return False


def _not_admitted(
    connection: Connection, model: str, snapshot: str, protected: Sequence[PolicyVersion]
) -> Untrusted:
    """The error that says what was asked for, which alias refused it, why, and what the alias serves."""
    reasons = []
    for version in protected:
        served = pointed_at(connection, model, version.alias)
        failed = [check for check in _checks(connection, version, snapshot, served) if not check.passed]
        why = "; ".join(check.summary for check in failed) or "nobody promoted it"
        serves = "nothing" if served is None else served[:12]
        policy = f"policy {version.version} of alias {version.alias!r}, which serves {serves}"
        reasons.append(f"{policy}, did not admit it: {why}")
    return Untrusted(
        f"Expected snapshot {snapshot[:12]} of {model!r}, which was asked for by its id, to be admitted by a policy, "
        f"found that {', and '.join(reasons)}. What to do: `raie mlflow sync` puts back an alias that was moved in "
        f"MLflow; RAIE_ALIAS={protected[0].alias} serves what the registry's alias points to"
    )


def _require_signature(connection: Connection, model: str, snapshot: str, what: str) -> None:
    if not signers(connection, model, snapshot):
        raise Untrusted(
            f"Expected snapshot {snapshot} of {model!r} to have a valid signature by a trusted key, as the policy of "
            f"{what} requires, found none; `raie sign {snapshot[:12]} --key FILE`, or promote a signed snapshot"
        )
