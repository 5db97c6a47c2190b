"""What speaks for a snapshot: evaluations of it, and approvals of its promotion; gathered as facts for a policy.

The newest evaluation is the one that the audit records last: a clock that is fast, or was set back, changes nothing.

An evaluation counts for every snapshot of the same content, against every snapshot of the same content, because equal
contents score the same. The impact report of an edit is one too, of the candidate against its base, but only if that
candidate is what landed: an edit that was replayed on another head made a content that nobody has evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.canonical import parse_json
from raie.registry.db.engine import chunked
from raie.registry.db.queries import lock_model, resolve_id, snapshot_by_id, text_of, versions_of
from raie.registry.db.tables import audit_events, edits, evaluations, snapshots
from raie.registry.edits.merge import changed_regions
from raie.registry.errors import InvalidValue
from raie.registry.promotion import keys
from raie.registry.promotion.approvals import approvers
from raie.registry.promotion.impact_report import ImpactReport, read_report
from raie.registry.promotion.policy import SHADOW, Evaluation, Facts, Policy
from raie.registry.states import AuditAction, EditKind
from raie.registry.values import Content, Snapshot, digest_of

__all__ = ["Candidate", "Moment", "Recorded", "evaluation_subject", "facts", "record"]

_e, _logged = evaluations.c, audit_events.c
_MEASURING = (
    AuditAction.COMMIT,
    AuditAction.EVALUATE,
    AuditAction.IMPORT_EDIT,
    AuditAction.IMPORT_EVALUATION,
)
"""The events that bring an evaluation, as the report of an edit or by itself."""


@dataclass(frozen=True)
class Candidate:
    """A snapshot that should go to an alias, or a cherry-pick that would be one; author: who made it."""

    id: str
    model: str
    content: Content
    author: str


@dataclass(frozen=True)
class Moment:
    """A point in the past: only what the audit records before this event is known; at: epoch seconds UTC."""

    event: int
    at: float


@dataclass(frozen=True)
class Recorded:
    """A recorded evaluation of a snapshot against another; report: as the impact report of an edit."""

    id: int
    model: str
    snapshot: str
    against: str
    report: Mapping[str, Any]
    actor: str
    reason: str
    at: float


def record(
    connection: Connection, model: str, ref: str, against: str, report: Mapping[str, Any], author: Author
) -> Recorded:
    """Keeps a new evaluation of a snapshot against another; raises NotFound, and InvalidValue for no impact report."""
    read_report(report)
    lock_model(connection, model)
    measured = snapshot_by_id(connection, resolve_id(connection, model, ref))
    base = snapshot_by_id(connection, resolve_id(connection, model, against))
    text, now = text_of(dict(report)), time.time()
    row = {
        "model": model,
        "snapshot": measured.id,
        "content": measured.content.digest,
        "against": base.id,
        "against_content": base.content.digest,
        "report": text,
        "actor": author.name,
        "reason": author.reason,
        "at": now,
    }
    number = connection.execute(insert(evaluations).values(row).returning(_e.id)).scalar_one()
    audit.append(
        connection,
        author=author,
        action=AuditAction.EVALUATE,
        model=model,
        subject=evaluation_subject(number, text),
        source=base.id,
        target=measured.id,
        at=now,
        rows={"evaluations": [row | {"id": number}]},
    )
    return Recorded(number, model, measured.id, base.id, dict(report), author.name, author.reason, now)


def facts(
    connection: Connection,
    policy: Policy,
    alias: str,
    candidate: Candidate,
    served: Snapshot | None,
    moment: Moment | None = None,
) -> Facts:
    """What is known of a candidate for an alias that serves this snapshot; only what the policy asks is looked up.

    moment: what was known then; None for now.
    """
    second, signed = policy.second_person, policy.require_signed
    before = None if moment is None else moment.event
    replaced = None if served is None or served.content.digest == candidate.content.digest else served
    return Facts(
        snapshot=candidate.id,
        alias=alias,
        replaces=replaced is not None,
        evaluation=None if replaced is None else _evaluation(connection, candidate, replaced, moment),
        authors=_authors(connection, candidate, served) if second else frozenset(),
        approvers=approvers(connection, candidate.model, alias, candidate.id, before) if second else frozenset(),
        signers=keys.signers(connection, candidate.model, candidate.id, before) if signed else frozenset(),
        shadow=_shadow(connection, candidate, replaced, moment) if replaced and policy.asks_a_shadow else None,
    )


def _shadow(
    connection: Connection, candidate: Candidate, served: Snapshot, moment: Moment | None
) -> Evaluation | None:
    """The newest evaluation that a server recorded of this content beside the served one."""
    logged = _newest_recorded(connection, candidate, served, moment, of_a_shadow=True)
    if logged is None:
        return None
    row = logged[1]
    return _read(f"evaluation {row.id}", row.report, row.at, candidate.content, served.content, moment)


def _evaluation(
    connection: Connection, candidate: Candidate, served: Snapshot, moment: Moment | None
) -> Evaluation | None:
    """The newest evaluation of this content against the served one."""
    recorded = _newest_recorded(connection, candidate, served, moment, of_a_shadow=False)
    impact = _impact(connection, candidate, served, moment)
    if recorded is not None and (impact is None or recorded[0] > impact[0]):
        row = recorded[1]
        return _read(f"evaluation {row.id}", row.report, row.at, candidate.content, served.content, moment)
    if impact is not None:
        row = impact[1]
        return _read(f"edit {row.number}", row.report, row.closed_at, candidate.content, served.content, moment)
    return None


_Logged = tuple[int, Any]
"""The number of the audit event that records a row, and the row."""


def _newest_recorded(
    connection: Connection,
    candidate: Candidate,
    served: Snapshot,
    moment: Moment | None,
    *,
    of_a_shadow: bool,
) -> _Logged | None:
    """The newest row of one kind; a report of a shadow alone begins so, because its JSON is canonical."""
    mine = (_e.content == candidate.content.digest, _e.against_content == served.content.digest)
    kind = _e.report.startswith(f'{{"{SHADOW}":', autoescape=True)
    # Numbers are given under the model's lock, so the largest is the newest.
    query = select(_e.id, _e.report, _e.at).where(_e.model == candidate.model, *mine).order_by(_e.id.desc())
    chosen = query.where(kind if of_a_shadow else ~kind)
    for row in connection.execute(chosen.limit(1) if moment is None else chosen):
        subject = evaluation_subject(row.id, row.report)
        event = _event_of(connection, candidate.model, [subject], moment).get(subject)
        if event is not None or moment is None:
            return event or 0, row
    return None


def _impact(
    connection: Connection, candidate: Candidate, served: Snapshot, moment: Moment | None
) -> _Logged | None:
    """The newest edit that proposed exactly this content on a base of the served content, and was evaluated on it."""
    made, base, content = snapshots.alias("made"), snapshots.alias("base"), candidate.content.digest
    query = (
        select(edits.c.number, edits.c.report, edits.c.closed_at)
        .join(made, edits.c.result == made.c.id)
        .join(base, edits.c.base == base.c.id)
        .where(made.c.content_digest == content, edits.c.proposal == content, edits.c.kind == EditKind.EDIT)
        .where(edits.c.model == candidate.model, base.c.content_digest == served.content.digest)
    )
    rows = {f"edit:{row.number}": row for row in connection.execute(query)}
    events = _event_of(connection, candidate.model, rows, moment)
    known = {subject: row for subject, row in rows.items() if moment is None or subject in events}
    logged = [(events.get(subject, 0), row) for subject, row in known.items()]
    return max(logged, key=lambda pair: pair[0], default=None)


def _event_of(
    connection: Connection, model: str, subjects: Iterable[str], moment: Moment | None
) -> dict[str, int]:
    """Subject -> the number of the newest event of it, before a moment: for an edit, of its end."""
    newest: dict[str, int] = {}
    for chunk in chunked(sorted(subjects)):
        mine = (
            _logged.model == model,
            _logged.subject.in_(chunk),
            _logged.action.in_(_MEASURING),
        )
        query = select(_logged.subject, func.max(_logged.id)).where(*mine).group_by(_logged.subject)
        query = query if moment is None else query.where(_logged.id < moment.event)
        newest |= {row[0]: row[1] for row in connection.execute(query)}
    return newest


def evaluation_subject(number: int, report: str) -> str:
    """How the audit names a recorded evaluation."""
    return f"evaluation:{number} {digest_of(report.encode())}"


def _read(
    source: str, text: str, at: float, content: Content, served: Content, moment: Moment | None
) -> Evaluation:
    """An evaluation from its report, which another client may have written; raises InvalidValue where it is none."""
    try:
        report = read_report(parse_json(text))
    except InvalidValue as error:
        raise InvalidValue(f"{error} ({source})") from error
    now = time.time() if moment is None else moment.at
    return Evaluation(source, now - at, report, _disturbed(report, content, served))


def _disturbed(report: ImpactReport, content: Content, served: Content) -> tuple[str, ...] | None:
    """What the report calls untouched and the contents show to differ; a backbone or a space touches every region."""
    if report.untouched is None:
        return None
    names = ["backbone"] if content.backbone != served.backbone else []
    names += ["routing space"] if content.space != served.space else []
    changed = changed_regions(served, content)
    return (*names, *(f"region {region}" for region in report.untouched if region in changed))


def _authors(connection: Connection, candidate: Candidate, served: Snapshot | None) -> frozenset[str]:
    """Who made the candidate, and who made the versions of the regions in which it differs from what is served."""
    regions = candidate.content.regions
    changed = changed_regions(served.content, candidate.content) if served else frozenset(regions)
    entries = {region: regions[region] for region in changed if region in regions}
    numbers = {version.edit for version in versions_of(connection, candidate.model, entries).values()}
    authors = {candidate.author}
    for chunk in chunked(sorted(numbers)):
        mine = (edits.c.model == candidate.model, edits.c.number.in_(chunk))
        authors |= set(connection.execute(select(edits.c.actor).where(*mine)).scalars())
    return frozenset(authors | _importers(connection, candidate, numbers))


def _importers(connection: Connection, candidate: Candidate, numbers: set[int]) -> set[str]:
    """Who brought those edits here: the names in a file are what its importer says, who is no second person then."""
    made = connection.execute(select(snapshots.c.edit).where(snapshots.c.id == candidate.id)).scalar()
    subjects = [f"edit:{number}" for number in sorted(numbers | ({made} if made is not None else set()))]
    importers: set[str] = set()
    for chunk in chunked(subjects):
        mine = (_logged.model == candidate.model, _logged.subject.in_(chunk))
        query = select(_logged.actor).where(*mine, _logged.action == AuditAction.IMPORT_EDIT)
        importers |= set(connection.execute(query).scalars())
    return importers
