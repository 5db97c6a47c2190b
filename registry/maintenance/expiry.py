"""Expiry: a retention rule gives up the blobs of old snapshots; what they were stays in the history.

The rule keeps the newest snapshots of the head's line and of every alias, and whatever was in use in the last days.
Nothing else makes a snapshot old. What a kept snapshot needs is kept with it: its rows in `snapshot_blobs` name only
what its parent's do not, so before a parent expires they name everything.

Snapshots expire in batches, newest first, each batch in one transaction under the model's lock, where the rule is
asked again: a promotion, a rollback or an edit that wants one of them comes first and keeps it, or is refused. An
expiry that was killed is finished by the next one. The blobs themselves are left to gc.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Double, Over, cast, delete, func, insert, literal, or_, select
from sqlalchemy.sql.functions import FunctionElement

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.blobs import keep_blobs
from raie.registry.db.engine import chunked, reading, write
from raie.registry.db.queries import head_id, lock_model, require_model, select_snapshots, snapshot_of
from raie.registry.db.tables import (
    alias_moves,
    aliases,
    blobs,
    edits,
    expired_snapshots,
    snapshot_blobs,
    snapshots,
)
from raie.registry.errors import InvalidValue
from raie.registry.failpoints import failpoint
from raie.registry.registry import Registry
from raie.registry.states import AuditAction, EditState
from raie.registry.times import utc_text
from raie.registry.values import Digest

__all__ = ["ExpiryReport", "Rule", "Verdict", "expire"]

DAY_S = 24 * 3600.0
_BATCH = 100
_s = snapshots.c


@dataclass(frozen=True)
class Rule:
    """What is kept: the newest so many of a line, at least one, and what was in use in the last days.

    Raises InvalidValue for a rule that would keep less than nothing.
    """

    keep_last: int = 1
    keep_days: float = 0.0

    def __post_init__(self) -> None:
        if self.keep_last < 1 or not 0 <= self.keep_days < math.inf:
            raise InvalidValue(f"Expected to keep the last 1 or more and 0 or more days, found {self}")

    def __str__(self) -> str:
        return f"keep-last {self.keep_last}, keep-days {self.keep_days:g}"


@dataclass(frozen=True)
class Verdict:
    """What the rule says of a snapshot that is kept so far.

    kept_by: every reason to keep it; none for one that expires.  bytes: the size of the blobs that no kept snapshot
    needs, counted with the oldest snapshot that brought them; 0 for one that is kept.
    """

    snapshot: str
    edit: int
    created_at: float
    kept_by: tuple[str, ...]
    bytes: int = 0


@dataclass(frozen=True)
class ExpiryReport:
    """What expired, or in a dry run would expire, and what is kept and why; newest first."""

    model: str
    rule: Rule
    dry_run: bool
    expired: tuple[Verdict, ...]
    kept: tuple[Verdict, ...]

    @property
    def bytes(self) -> int:
        """The size of the blobs that nothing but expired snapshots needs, in bytes."""
        return sum(verdict.bytes for verdict in self.expired)


def expire(registry: Registry, model: str, rule: Rule, *, author: Author, dry_run: bool = False) -> ExpiryReport:
    """Lets the model's snapshots expire that the rule does not keep.

    Args:
        registry: of the model.
        model: its name.
        rule: what is kept.
        author: who does it, and why.
        dry_run: only report.

    Returns:
        What expired, and what is kept and why.

    Raises:
        NotFound: for a model that is not there.
        DatabaseUnreachable: where the database does not answer.
        BlobMissing: where a kept snapshot has lost a blob; nothing is given up then, for it may be a last copy.
    """
    if not dry_run:
        registry.require_writable()
    since = time.time() - rule.keep_days * DAY_S
    with reading(registry.engine) as connection:
        require_model(connection, model)
        verdicts = _verdicts(connection, model, rule, since)
    failpoint("expire.evaluated")
    doomed = [verdict.snapshot for verdict in verdicts if not verdict.kept_by]
    gone = set(doomed) if dry_run else set[str]()
    because = replace(author, reason=f"{author.reason} ({rule})" if author.reason else str(rule))
    for batch in chunked([] if dry_run else doomed, _BATCH):
        step = partial(_expire, model=model, ids=batch, rule=rule, since=since, author=because)
        gone_now, in_use = write(registry.engine, step)
        failpoint("expire.committed")
        gone |= gone_now
        verdicts = [replace(v, kept_by=in_use.get(v.snapshot, v.kept_by)) for v in verdicts]
    expired = tuple(verdict for verdict in verdicts if verdict.snapshot in gone)
    kept = tuple(replace(verdict, bytes=0) for verdict in verdicts if verdict.kept_by)
    return ExpiryReport(model, rule, dry_run, expired, kept)


# The rule


def _verdicts(connection: Connection, model: str, rule: Rule, since: float) -> list[Verdict]:
    """A verdict on every snapshot that has not expired yet, newest first."""
    reasons = _in_use(connection, model, rule, since)
    for snapshot, reason in _line(connection, model, rule, since):
        reasons.setdefault(snapshot, []).append(reason)
    kept = _s.id.not_in(select(expired_snapshots.c.snapshot))
    query = select(_s.id, _s.edit, _s.created_at).where(_s.model == model, kept)
    rows = connection.execute(query.order_by(_s.created_at.desc(), _s.edit.desc())).all()
    for row in rows:
        if row.created_at >= since:
            reasons.setdefault(row.id, []).append(f"younger than {rule.keep_days:g} days")
    sizes = _freed(connection, [row.id for row in reversed(rows) if row.id not in reasons])
    return [
        Verdict(row.id, row.edit, row.created_at, tuple(reasons.get(row.id, ())), sizes.get(row.id, 0))
        for row in rows
    ]


def _line(connection: Connection, model: str, rule: Rule, since: float) -> Iterator[tuple[str, str]]:
    """The head's newest ancestors, and those that were the head in the last days."""
    columns = (_s.id, _s.parent, _s.created_at)
    head = select(*columns, literal(0).label("depth"), cast(None, Double).label("left_at"))
    chain = head.where(_s.id == head_id(connection, model)).cte("chain", recursive=True)
    older = select(*columns, chain.c.depth + 1, chain.c.created_at)
    wanted = or_(chain.c.depth + 1 < rule.keep_last, chain.c.created_at >= since)
    chain = chain.union_all(older.join(chain, _s.id == chain.c.parent).where(wanted))
    for row in connection.execute(select(chain).order_by(chain.c.depth)):
        if row.depth < rule.keep_last:
            yield row.id, f"among the last {rule.keep_last}" if row.depth else "the head"
        if row.left_at is not None and row.left_at >= since:
            yield row.id, f"the head until {utc_text(row.left_at)}"


def _in_use(connection: Connection, model: str, rule: Rule, since: float) -> dict[str, list[str]]:
    """What aliases and running edits keep; nobody else can bring an old snapshot into use."""
    reasons: dict[str, list[str]] = {}
    for snapshot, reason in (*_pointed(connection, model, rule, since), *_bases(connection, model)):
        reasons.setdefault(snapshot, []).append(reason)
    return reasons


def _pointed(connection: Connection, model: str, rule: Rule, since: float) -> Iterator[tuple[str, str]]:
    now = select(aliases.c.snapshot, aliases.c.name).where(aliases.c.model == model).order_by(aliases.c.name)
    for row in connection.execute(now):
        yield row.snapshot, f"alias {row.name} points at it"
    moves = select(
        alias_moves.c.alias,
        alias_moves.c.target,
        _newest_first(func.row_number()).label("place"),
        _newest_first(func.lag(alias_moves.c.at)).label("left_at"),
    ).where(alias_moves.c.model == model)
    before = moves.subquery()
    # Of an alias that was deleted only the time since then counts: nothing that follows could push it out.
    living = before.c.alias.in_(select(aliases.c.name).where(aliases.c.model == model))
    wanted = or_((before.c.place <= rule.keep_last) & living, before.c.left_at >= since)
    left = (before.c.left_at.is_not(None), before.c.target.is_not(None))
    query = select(before).where(*left, wanted).order_by(before.c.alias, before.c.place)
    for row in connection.execute(query):
        yield row.target, f"alias {row.alias} pointed at it until {utc_text(row.left_at)}"


def _newest_first(function: FunctionElement[Any]) -> Over[Any]:
    return function.over(partition_by=alias_moves.c.alias, order_by=alias_moves.c.id.desc())


def _bases(connection: Connection, model: str) -> Iterator[tuple[str, str]]:
    running = (edits.c.model == model, edits.c.state == EditState.RUNNING, edits.c.base.is_not(None))
    for row in connection.execute(select(edits.c.base, edits.c.number).where(*running).order_by(edits.c.number)):
        yield row.base, f"the base of edit {row.number}, which is open"


def _freed(connection: Connection, doomed: Sequence[str]) -> dict[str, int]:
    """The bytes that only these snapshots, oldest first, need: each blob's with the first that brought it."""
    index, owner = {snapshot: index for index, snapshot in enumerate(doomed)}, dict[str, int]()
    for chunk in chunked(list(doomed)):
        query = select(snapshot_blobs).where(snapshot_blobs.c.snapshot.in_(chunk))
        for row in connection.execute(query):
            owner[row.digest] = min(index[row.snapshot], owner.get(row.digest, len(doomed)))
    needed = {digest for _, blobs_of in _heirs(connection, doomed) for digest in blobs_of}
    freed: dict[str, int] = {}
    for chunk in chunked(sorted(owner.keys() - needed)):
        rows = connection.execute(select(snapshot_blobs).where(snapshot_blobs.c.digest.in_(chunk)))
        others = {row.digest for row in rows if row.snapshot not in index}
        for row in connection.execute(select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(chunk))):
            if row.digest not in others:
                first = doomed[owner[row.digest]]
                freed[first] = freed.get(first, 0) + row.size
    return freed


# One batch


def _expire(
    connection: Connection, model: str, ids: list[str], rule: Rule, since: float, author: Author
) -> tuple[set[str], dict[str, tuple[str, ...]]]:
    """Lets a batch expire; returns what did, and what came into use since the rule was asked first, and how."""
    lock_model(connection, model)
    failpoint("expire.locked")
    reasons = _in_use(connection, model, rule, since)
    in_use = {snapshot: tuple(reasons[snapshot]) for snapshot in ids if snapshot in reasons}
    earlier = select(expired_snapshots.c.snapshot).where(expired_snapshots.c.snapshot.in_(ids))
    taken = in_use.keys() | set(connection.execute(earlier).scalars())
    chosen = [snapshot for snapshot in ids if snapshot not in taken]
    for snapshot, needed in _heirs(connection, chosen):
        keep_blobs(connection, snapshot, needed)
    failpoint("expire.children_kept")
    connection.execute(delete(snapshot_blobs).where(snapshot_blobs.c.snapshot.in_(chosen)))
    failpoint("expire.blobs_given_up")
    at = time.time()
    for snapshot in chosen:
        event = audit.append(
            connection,
            author=author,
            action=AuditAction.EXPIRE,
            model=model,
            subject=f"snapshot:{snapshot}",
            source=snapshot,
            at=at,
        )
        failpoint("expire.audited")
        row = {"snapshot": snapshot, "at": at, "actor": author.name, "reason": author.reason, "event": event.id}
        connection.execute(insert(expired_snapshots).values(row))
    failpoint("expire.marked")
    return set(chosen), in_use


def _heirs(connection: Connection, doomed: Sequence[str]) -> Iterator[tuple[str, frozenset[Digest]]]:
    """The kept children of snapshots that expire, with every blob that they need from then on themselves."""
    gone = set(doomed)
    for chunk in chunked(list(doomed)):
        query = select_snapshots().where(_s.parent.in_(chunk), expired_snapshots.c.snapshot.is_(None))
        for row in connection.execute(query):
            if row.id not in gone:
                yield row.id, snapshot_of(row).content.blobs() | {Digest(row.id)}
