"""Each move of an alias with what was known when it was made: policy, checks, approvals, signatures, evaluations.

The registry records moves and overrides, and not the checks that passed. They are made again here, on what the audit
chain records before the move: what came later changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection, or_, select

from raie.registry.db.queries import snapshot_by_id
from raie.registry.db.tables import audit_events, evaluations
from raie.registry.errors import InvalidValue
from raie.registry.promotion.admission import candidate_of
from raie.registry.promotion.approvals import Approval, given_before
from raie.registry.promotion.evaluations import Moment, facts
from raie.registry.promotion.keys import SignatureThen, signatures_before
from raie.registry.promotion.policy import Check, Evaluation, Facts, Policy, checks
from raie.registry.promotion.policy_versions import PolicyVersion, in_force_before
from raie.registry.states import AuditAction
from raie.registry.values import AuditEvent

__all__ = ["Decision", "Measured", "decisions"]

_e = audit_events.c


@dataclass(frozen=True)
class Measured:
    """An evaluation that was known; by: who recorded it, at: epoch seconds UTC."""

    evaluation: Evaluation
    by: str
    at: float


@dataclass(frozen=True)
class Decision:
    """A move of an alias, and what spoke for it.

    Attributes:
        move: The event of the audit chain that records it.
        policy: The one in force then; None where the alias had none.
        checks: Of that policy, made again on what was known then.
        override: The event that records that a failed check was passed over; None where none was.
        approvals: Approvals and withdrawals before it, oldest first.
        signatures: Those before it.
        evaluations: The newest against what was served then, of a log and of a server's shadow.
        problem: Why the checks could not be made again; None where they could.
    """

    move: AuditEvent
    policy: PolicyVersion | None
    checks: tuple[Check, ...]
    override: AuditEvent | None
    approvals: tuple[Approval, ...]
    signatures: tuple[SignatureThen, ...]
    evaluations: tuple[Measured, ...]
    problem: str | None = None


def decisions(connection: Connection, model: str, alias: str) -> Iterator[Decision]:
    """The moves of an alias as the audit chain records them, oldest first; none for one that never was.

    A move without a target took the alias away: it has neither policy nor checks.
    """
    mine = (_e.model == model, _e.subject == f"alias:{alias}")
    moves = or_(_e.action.in_((AuditAction.PROMOTE, AuditAction.OVERRIDE)), _e.target.is_(None))
    rows = connection.execute(select(audit_events).where(*mine, moves).order_by(_e.id)).all()
    previous: AuditEvent | None = None
    for event in (AuditEvent(**row._mapping) for row in rows):
        if event.action != AuditAction.OVERRIDE:
            override = _override_of(event, previous)
            if event.target is None:
                yield Decision(event, None, (), override, (), (), ())
            else:
                yield _decision(connection, alias, event, override)
        previous = event


def _override_of(move: AuditEvent, previous: AuditEvent | None) -> AuditEvent | None:
    """The override of a move is written before it, in the same transaction."""
    if previous is None or previous.action != AuditAction.OVERRIDE or previous.target != move.target:
        return None
    # A rename moves the new name between the override and the end of the old name.
    return previous if move.target is None or previous.id == move.id - 1 else None


def _decision(connection: Connection, alias: str, move: AuditEvent, override: AuditEvent | None) -> Decision:
    model, snapshot = str(move.model), str(move.target)
    policy = in_force_before(connection, model, alias, move.id)
    decision = Decision(
        move=move,
        policy=policy,
        checks=(),
        override=override,
        approvals=given_before(connection, model, alias, snapshot, move.id),
        signatures=signatures_before(connection, model, snapshot, move.id),
        evaluations=(),
    )
    try:
        known = _facts(connection, alias, move, Policy() if policy is None else policy.policy)
    except InvalidValue as error:
        return replace(decision, problem=str(error))
    return replace(
        decision,
        checks=() if policy is None else checks(policy.policy, known),
        evaluations=tuple(
            _measured(connection, move, evaluation)
            for evaluation in (known.evaluation, known.shadow)
            if evaluation is not None
        ),
    )


def _facts(connection: Connection, alias: str, move: AuditEvent, policy: Policy) -> Facts:
    served = None if move.source is None else snapshot_by_id(connection, move.source)
    candidate = candidate_of(connection, str(move.target))
    return facts(connection, policy, alias, candidate, served, Moment(move.id, move.at))


def _measured(connection: Connection, move: AuditEvent, evaluation: Evaluation) -> Measured:
    """Who recorded an evaluation: the audit says it of an edit, and the row of what was imported."""
    kind, _, number = evaluation.source.partition(" ")
    at = move.at - evaluation.age_s
    if kind == "evaluation":
        actor = connection.execute(select(evaluations.c.actor).where(evaluations.c.id == int(number))).scalar()
    else:
        mine = (_e.model == move.model, _e.subject == f"edit:{number}", _e.id < move.id)
        actor = connection.execute(select(_e.actor).where(*mine).order_by(_e.id).limit(1)).scalar()
    return Measured(evaluation, actor or "", at)
