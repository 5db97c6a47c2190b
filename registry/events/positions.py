"""How far each consumer has come in each model: leased by one sender at a time, moved on one event at a time.

The events of one model are numbered in the order of their commits, because the model's lock is held from the number to
the commit. So a position per model misses none, where one over all models could pass an event that commits late.

Times are epoch seconds UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, or_, select, update

from raie.registry import audit
from raie.registry.author import Author
from raie.registry.db.engine import reading, upsert, write
from raie.registry.db.tables import event_positions, models, outbox_events
from raie.registry.errors import Conflict, InvalidValue, NotFound
from raie.registry.events.event_types import EventType, is_one_of, type_of
from raie.registry.leases import RELAY_LEASE_S, lease_is_over
from raie.registry.outbox_records import OutboxEvent
from raie.registry.states import AuditAction

__all__ = [
    "FailedEvent",
    "Lag",
    "Lease",
    "LeaseTaken",
    "due_models",
    "events_after",
    "lag",
    "register",
    "retry",
    "skip",
    "take",
]

_START = ""
"""The model of the row that says where a consumer began; no model has this name."""

_e, _p = outbox_events.c, event_positions.c
_FREE: Mapping[str, None] = {"lease_owner": None, "lease_expires_at": None}
_CLEAN: Mapping[str, Any] = {"attempts": 0, "next_at": None, "last_error": None}


class LeaseTaken(Exception):
    """This sender's lease ran out and another sender took the model over."""


@dataclass(frozen=True)
class FailedEvent:
    """An event that a consumer could not be given; the later ones of its model wait for it.

    attempts: how often it was sent.  error: of the last time, in one line.  next_at: when it is sent again.
    """

    event: int
    model: str
    type: EventType | None
    attempts: int
    error: str
    next_at: float | None


@dataclass(frozen=True)
class Lag:
    """How far a consumer is behind.

    registered: whether it was ever sent to.  pending: the events that it waits for.  oldest_pending_at: when the oldest
    of them was committed.  delivered_at: when it was given the last one.  failures: one at most for each model.
    """

    registered: bool
    pending: int
    oldest_pending_at: float | None
    delivered_at: float | None
    failures: tuple[FailedEvent, ...] = ()


@dataclass(frozen=True)
class Lease:
    """One sender's hold on one consumer's events of one model; position: the last event that was done with at first."""

    engine: Engine
    consumer: str
    model: str
    owner: str
    position: int
    attempts: int

    def advance(self, event: int, now: float, *, delivered: bool) -> None:
        """Moves the position to an event and renews the lease; raises LeaseTaken."""
        moved = {"delivered_at": now} if delivered else {}
        self._update(position=event, lease_expires_at=now + RELAY_LEASE_S, **_CLEAN, **moved)

    def fail(self, error: str, attempts: int, next_at: float) -> None:
        """Records why the next event was not delivered and gives the lease back; raises LeaseTaken."""
        self._update(last_error=error, attempts=attempts, next_at=next_at, **_FREE)

    def release(self) -> None:
        """Gives the lease back; raises LeaseTaken."""
        self._update(**_FREE)

    def _update(self, **values: Any) -> None:
        mine = (_p.consumer == self.consumer, _p.model == self.model, _p.lease_owner == self.owner)
        statement = update(event_positions).where(*mine).values(**values)
        if write(self.engine, lambda connection: connection.execute(statement).rowcount) != 1:
            raise LeaseTaken


def register(engine: Engine, consumer: str, *, from_now: bool) -> None:
    """Gives a consumer its position in every model; one that is new begins at the first event, or after the last.

    Args:
        engine: of the registry's database.
        consumer: its name.
        from_now: whether a consumer that is new is to get only what comes from now on.
    """

    def step(connection: Connection) -> None:
        start = _start_of(connection, consumer)
        if start is None:
            start = connection.execute(select(func.coalesce(func.max(_e.id), 0))).scalar_one() if from_now else 0
            _insert(connection, consumer, _START, start)
        known = set(connection.execute(select(_p.model).where(_p.consumer == consumer)).scalars())
        for model in connection.execute(select(models.c.name)).scalars().all():
            if model not in known:
                _insert(connection, consumer, model, start)

    write(engine, step)


def _insert(connection: Connection, consumer: str, model: str, position: int) -> None:
    row = {"consumer": consumer, "model": model, "position": position}
    connection.execute(upsert(connection, event_positions).values(row).on_conflict_do_nothing())


def _start_of(connection: Connection, consumer: str) -> int | None:
    mine = (_p.consumer == consumer, _p.model == _START)
    return connection.execute(select(_p.position).where(*mine)).scalar()


def due_models(engine: Engine, consumer: str, now: float) -> list[str]:
    """The models of which a consumer may be sent the next event now, by name.

    Args:
        engine: of the registry's database.
        consumer: its name.
        now: epoch seconds.
    Returns: those with an event after the position, of which no failure asks to wait.
    """
    newest = select(func.max(_e.id)).where(_e.model == _p.model).scalar_subquery()
    due = or_(_p.next_at.is_(None), _p.next_at <= now)
    query = select(_p.model).where(_p.consumer == consumer, _p.model != _START, _p.position < newest, due)
    with reading(engine) as connection:
        return list(connection.execute(query.order_by(_p.model)).scalars())


def take(engine: Engine, consumer: str, model: str, owner: str, now: float) -> Lease | None:
    """Leases a consumer's events of a model.

    Args:
        engine: of the registry's database.
        consumer: its name.
        model: the model's name.
        owner: the name of this sender.
        now: epoch seconds.
    Returns: the lease; None while another sender has it, or a failure asks to wait.
    """
    mine = (_p.consumer == consumer, _p.model == model)

    def step(connection: Connection) -> Lease | None:
        row = connection.execute(select(event_positions).where(*mine).with_for_update()).one()
        is_early = row.next_at is not None and row.next_at > now
        if is_early or _is_leased(row, now):
            return None
        values = {"lease_owner": owner, "lease_expires_at": now + RELAY_LEASE_S}
        connection.execute(update(event_positions).where(*mine).values(**values))
        return Lease(engine, consumer, model, owner, row.position, row.attempts)

    return write(engine, step)


def _is_leased(row: Any, now: float) -> bool:
    return row.lease_expires_at is not None and not lease_is_over(row.lease_expires_at, RELAY_LEASE_S, now)


def events_after(engine: Engine, model: str, position: int, limit: int) -> list[OutboxEvent]:
    """The next events of a model, oldest first.

    Args:
        engine: of the registry's database.
        model: the model's name.
        position: the number of the event before them.
        limit: at most so many.
    """
    query = select(outbox_events).where(_e.model == model, _e.id > position).order_by(_e.id).limit(limit)
    with reading(engine) as connection:
        return [OutboxEvent.of(row, row.attempts) for row in connection.execute(query)]


def lag(engine: Engine, consumer: str, types: Iterable[EventType], *, from_now: bool) -> Lag:
    """How far a consumer is behind; changes nothing.

    Args:
        engine: of the registry's database.
        consumer: its name.
        types: the types of events that it is given.
        from_now: whether it gets only what comes after it was first sent to, where that has not been yet.
    """
    wanted = is_one_of(types, engine.dialect.name)
    with reading(engine) as connection:
        start = _start_of(connection, consumer)
        if start is None and from_now:
            return Lag(False, 0, None, None)
        mine = and_(_p.consumer == consumer, _p.model == _e.model)
        after = outbox_events.outerjoin(event_positions, mine)
        floor = select(func.min(_p.position)).where(_p.consumer == consumer).scalar_subquery()
        pending = (_e.id > func.coalesce(floor, 0), _e.id > func.coalesce(_p.position, start or 0), wanted)
        counts = select(func.count(), func.min(_e.created_at)).select_from(after).where(*pending)
        count, oldest = connection.execute(counts).one()
        rows = connection.execute(select(event_positions).where(_p.consumer == consumer).order_by(_p.model)).all()
        failures = [_failure(connection, row) for row in rows if row.last_error is not None]
    delivered = max((row.delivered_at for row in rows if row.delivered_at is not None), default=None)
    return Lag(start is not None, count, oldest, delivered, tuple(filter(None, failures)))


def _failure(connection: Connection, row: Any) -> FailedEvent | None:
    event = _next_event(connection, row.model, row.position)
    if event is None:
        return None
    return FailedEvent(event.id, row.model, type_of(event), row.attempts, row.last_error, row.next_at)


def _next_event(connection: Connection, model: str, position: int) -> OutboxEvent | None:
    query = select(outbox_events).where(_e.model == model, _e.id > position).order_by(_e.id).limit(1)
    row = connection.execute(query).first()
    return None if row is None else OutboxEvent.of(row, row.attempts)


def retry(engine: Engine, consumer: str, event: int, *, author: Author) -> None:
    """Lets an event that failed be sent at once, and not when its time comes; the audit records it.

    Args:
        engine: of the registry's database.
        consumer: its name.
        event: the number of the event that failed.
        author: who retries, and why.
    Raises: NotFound for an event that did not fail there, Conflict while a sender is at work on it.
    """
    write(engine, lambda c: _settle(c, consumer, event, author, AuditAction.RETRY_EVENT, {"next_at": None}))


def skip(engine: Engine, consumer: str, event: int, *, author: Author) -> None:
    """Lets a consumer go on without an event that failed: it never gets that one; the audit records it.

    Args:
        engine: of the registry's database.
        consumer: its name.
        event: the number of the event that failed.
        author: who skips it, and why; the reason is required.
    Raises: NotFound for an event that did not fail there, Conflict while a sender is at work on it, InvalidValue
        without a reason.
    """
    if not author.reason.strip():
        raise InvalidValue("Expected a reason to skip an event, found none; say why in --reason")
    values = {"position": event, **_CLEAN}
    write(engine, lambda c: _settle(c, consumer, event, author, AuditAction.SKIP_EVENT, values))


def _settle(
    connection: Connection,
    consumer: str,
    event: int,
    author: Author,
    action: AuditAction,
    values: Mapping[str, Any],
) -> None:
    model = connection.execute(select(_e.model).where(_e.id == event)).scalar()
    mine = (_p.consumer == consumer, _p.model == model)
    row = connection.execute(select(event_positions).where(*mine).with_for_update()).first()
    first = None if row is None or row.last_error is None else _next_event(connection, row.model, row.position)
    if row is None or first is None or first.id != event:
        raise NotFound(
            f"Expected event {event} among those that failed at {consumer!r}, found it is not; `raie events status` "
            "lists them"
        )
    if _is_leased(row, time.time()):
        raise Conflict(
            f"Expected that nobody sends to {consumer!r} now, found {row.lease_owner} at work; try again in a minute"
        )
    connection.execute(update(event_positions).where(*mine).values(**values))
    audit.append(connection, author=author, action=action, model=model, subject=f"event:{event}", target=consumer)
