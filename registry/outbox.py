"""The outbox: what MLflow still has to get, written in the commit's own transaction.

An event exists if and only if its commit does. A relay drains the events after the commit, never inside it: it
leases the oldest unpublished event of a model, publishes it step by step, and saves each step's result, so that a
crash or a lost answer repeats at most one step. Every event is published at least once, and a model's events in
their order: an event that fails holds back the later ones of its model and of no other, unless the publisher was
refused for good: then the later ones go on, and every drain tries the refused one again.

Times are epoch seconds UTC.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, func, insert, or_, select, update

from raie.registry.canonical import canonical_json
from raie.registry.db.engine import reading, write
from raie.registry.db.tables import outbox_events
from raie.registry.errors import DatabaseUnreachable, MlflowUnreachable
from raie.registry.failpoints import failpoint
from raie.registry.hiding import hiding
from raie.registry.leases import RELAY_LEASE_S, latest_end, new_lease_owner
from raie.registry.outbox_records import (
    PROMOTION_REFUSED,
    Failure,
    OutboxEvent,
    OutboxStatus,
    SyncReport,
    error_line,
)
from raie.registry.progress import OnProgress, ignore_progress

__all__ = [
    "Progress",
    "Publisher",
    "clean_errors",
    "drain",
    "enqueue",
    "outbox_status",
    "requeue",
]

_FAILURES_SHOWN = 50

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_e = outbox_events.c
_FOR_MLFLOW = _e.kind != PROMOTION_REFUSED
_UNPUBLISHED = _e.published_at.is_(None) & _FOR_MLFLOW

_NO_SECRET = hiding("")


class _LeaseTaken(Exception):
    """This relay's lease ran out and another relay took the event."""


class Progress:
    """The finished steps of one event; `step` runs what is not finished and saves its result before going on."""

    def __init__(
        self,
        finished: Mapping[str, Any],
        save: Callable[[Mapping[str, Any]], None],
        on_step: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._finished = dict(finished)
        self._save = save
        self._on_step = on_step

    def step(self, name: str, act: Callable[[], _T]) -> _T:
        """The step's result: what an earlier attempt saved, or what `act` gives now; it must have a JSON form."""
        if name not in self._finished:
            self._on_step(name)
            result = act()
            failpoint("outbox.step_done")
            self._save(self._finished | {name: result})
            failpoint("outbox.step_saved")
            self._finished[name] = result
        done: _T = self._finished[name]
        return done


class Publisher(Protocol):
    """Where events go; publish() may be called again for the same event and must then add nothing."""

    @property
    def target(self) -> str:
        """Names the place: steps that were finished at another target do not count."""
        ...

    def publish(self, event: OutboxEvent, progress: Progress) -> None:
        """Publishes one event; raises MlflowUnreachable where trying another event makes no sense."""
        ...


def enqueue(connection: Connection, model: str, kind: str, payload: Mapping[str, Any]) -> None:
    """Adds an event to the caller's transaction.

    Raises InvalidValue where the payload has no JSON form.
    """
    text = canonical_json(payload).decode()
    connection.execute(insert(outbox_events).values(model=model, kind=kind, payload=text, created_at=time.time()))


def drain(
    engine: Engine,
    publisher: Publisher,
    *,
    lease_s: float = RELAY_LEASE_S,
    clock: Callable[[], float] = time.time,
    hide: Callable[[str], str] = _NO_SECRET,
    is_lasting: Callable[[OutboxEvent, Exception], bool] = lambda event, error: False,
    on_progress: OnProgress = ignore_progress,
) -> SyncReport:
    """Publishes every pending event it can lease, and records the error of each that fails.

    Args:
        engine: of the registry's database.
        publisher: where the events go.
        lease_s: how long a relay keeps an event between two steps, in seconds.
        clock: epoch seconds.
        hide: strips an error's text of secrets before it is recorded.
        is_lasting: whether repetition cannot mend an event's error, so that its model's later events go on.
        on_progress: called as events are published.

    Returns: what was done. Stops at once where the publisher is unreachable.
    Raises: DatabaseUnreachable where the registry's database is.
    """
    relay = _Relay(engine, publisher.target, lease_s, clock, hide)
    published, failures, held, refused = 0, list[Failure](), set[str](), set[int]()
    pending = outbox_status(engine).pending
    while (claimed := relay.claim(held, refused)) is not None:
        event, finished = claimed
        on_step = partial(_report_step, on_progress, event, published + len(failures), pending)
        failure = _publish(relay, publisher, event, finished, on_step)
        if failure is None:
            published += 1
            continue
        if not isinstance(failure, _LeaseTaken) and is_lasting(event, failure):
            refused.add(event.id)
        else:
            held.add(event.model)
        if isinstance(failure, _LeaseTaken):
            continue
        failures.append(relay.record(event, failure))
        if isinstance(failure, MlflowUnreachable):
            return _report(engine, published, failures, failures[-1].error)
    return _report(engine, published, failures, None)


def _report_step(on_progress: OnProgress, event: OutboxEvent, done: int, pending: int, step: str) -> None:
    """One event of hundreds of regions is hundreds of steps: the bar's text moves with each."""
    on_progress(f"publishing, {event.subject}, {step}", done, max(pending, done + 1))


def _report(engine: Engine, published: int, failures: list[Failure], stopped: str | None) -> SyncReport:
    left = outbox_status(engine)
    return SyncReport(published, left.pending, tuple(failures), stopped, left.leased_until)


def _publish(
    relay: _Relay,
    publisher: Publisher,
    event: OutboxEvent,
    finished: Mapping[str, Any],
    on_step: Callable[[str], None],
) -> Exception | None:
    """None where the event is published, else the error that stopped it."""
    try:
        failpoint("outbox.claimed")
        publisher.publish(event, Progress(finished, lambda steps: relay.save(event, steps), on_step))
        failpoint("outbox.published")
        relay.finish(event)
        failpoint("outbox.finished")
    except DatabaseUnreachable:
        raise
    except Exception as error:
        return error
    except BaseException:
        # Interrupted: the next relay need not wait for this one's lease to run out.
        relay.release(event)
        raise
    return None


@dataclass(frozen=True)
class _Relay:
    """One process that drains, by the name its leases carry."""

    engine: Engine
    target: str
    lease_s: float
    clock: Callable[[], float]
    hide: Callable[[str], str]
    owner: str = field(default_factory=new_lease_owner)

    def claim(self, held: set[str], refused: set[int]) -> tuple[OutboxEvent, Mapping[str, Any]] | None:
        """Leases the oldest event that is first in its model; with its finished steps, or None for no event.

        held: models of which no event is wanted.  refused: events that are passed over.
        """

        def step(connection: Connection) -> Row[Any] | None:
            row = connection.execute(_claimable(self.clock(), self.lease_s, held, refused)).first()
            if row is not None:
                values = {"lease_owner": self.owner, "lease_expires_at": self.clock() + self.lease_s}
                connection.execute(
                    update(outbox_events).where(_e.id == row.id).values(attempts=_e.attempts + 1, **values)
                )
            return row

        row = write(self.engine, step)
        if row is None:
            return None
        event = OutboxEvent.of(row, row.attempts + 1)
        progress = json.loads(row.progress)
        return event, progress.get("steps", {}) if progress.get("target") == self.target else {}

    def save(self, event: OutboxEvent, steps: Mapping[str, Any]) -> None:
        """Saves the finished steps and renews the lease; raises _LeaseTaken where another relay has it."""
        progress = canonical_json({"target": self.target, "steps": steps}).decode()
        if not self._update(event, progress=progress, lease_expires_at=self.clock() + self.lease_s):
            raise _LeaseTaken

    def finish(self, event: OutboxEvent) -> None:
        """Marks the event as published; raises _LeaseTaken where another relay has it."""
        if not self._update(event, published_at=self.clock(), last_error=None, **_FREE):
            raise _LeaseTaken

    def record(self, event: OutboxEvent, error: Exception) -> Failure:
        """Records why the event failed and gives its lease back."""
        line = error_line(error, self.hide, MlflowUnreachable)
        # An outage says nothing of the event, however often it is met.
        attempts = event.attempts - isinstance(error, MlflowUnreachable)
        self._update(event, last_error=line, attempts=attempts, **_FREE)
        _log.warning("event %d of the outbox (%s) was not published: %s", event.id, event.kind, line)
        return Failure(event.id, event.model, event.kind, event.attempts, line, event.subject)

    def release(self, event: OutboxEvent) -> None:
        """Gives the lease back."""
        self._update(event, **_FREE)

    def _update(self, event: OutboxEvent, **values: Any) -> bool:
        """Whether the event was still leased to this relay, and then holds the values."""
        mine = (_e.id == event.id, _e.lease_owner == self.owner)
        return write(
            self.engine, lambda c: c.execute(update(outbox_events).where(*mine).values(**values)).rowcount == 1
        )


_FREE: Mapping[str, None] = {"lease_owner": None, "lease_expires_at": None}


def _leased(now: float, lease_s: float) -> ColumnElement[bool]:
    """Whether a relay holds an event, as far as the clock can be believed."""
    return (_e.lease_expires_at > now) & (_e.lease_expires_at <= latest_end(lease_s, now))


def _claimable(now: float, lease_s: float, held: set[str], refused: set[int]) -> Select[Any]:
    pending = (_UNPUBLISHED, _e.id.not_in(refused))
    first = select(func.min(_e.id)).where(*pending).group_by(_e.model)
    free = or_(_e.lease_expires_at.is_(None), ~_leased(now, lease_s))
    # Behind an event that was refused another relay may be at work on the same model.
    busy = select(_e.model).where(_UNPUBLISHED, ~free)
    # published_at again: PostgreSQL evaluates only the outer conditions anew after it waited for a row.
    wanted = select(outbox_events).where(
        _e.id.in_(first), _e.published_at.is_(None), free, _e.model.not_in(busy), _e.model.not_in(held)
    )
    return wanted.order_by(_e.id).limit(1).with_for_update(skip_locked=True)


def requeue(engine: Engine) -> int:
    """Makes every event pending again, to fill an MLflow that was emptied; how many were published before.

    An event that a relay holds now is left to it.
    """
    free = or_(_e.lease_expires_at.is_(None), ~_leased(time.time(), RELAY_LEASE_S))
    again = update(outbox_events).where(_e.published_at.is_not(None), free)
    return write(engine, lambda c: c.execute(again.values(published_at=None, progress="{}", **_FREE)).rowcount)


def clean_errors(engine: Engine, hide: Callable[[str], str]) -> int:
    """Strips what an earlier release recorded of secrets; in how many events it found one."""
    suspects = select(_e.id, _e.last_error, _e.progress).where(
        or_(_e.last_error.is_not(None), _e.progress.like("%://%@%"))
    )
    with reading(engine) as connection:
        rows = connection.execute(suspects).all()
    changed = [(row, new) for row in rows if (new := _cleaned(row, hide)) != _kept(row)]

    def step(connection: Connection) -> None:
        for row, new in changed:
            # What a relay has recorded meanwhile is clean.
            same = (
                _e.id == row.id,
                _e.last_error.is_not_distinct_from(row.last_error),
                _e.progress == row.progress,
            )
            connection.execute(update(outbox_events).where(*same).values(**new))

    if changed:
        write(engine, step)
    return len(changed)


def _kept(row: Row[Any, Any, Any]) -> dict[str, str | None]:
    return {"last_error": row.last_error, "progress": row.progress}


def _cleaned(row: Row[Any, Any, Any], hide: Callable[[str], str]) -> dict[str, str | None]:
    progress = json.loads(row.progress)
    text = row.progress
    if "target" in progress and hide(progress["target"]) != progress["target"]:
        text = canonical_json(progress | {"target": hide(progress["target"])}).decode()
    return {"last_error": row.last_error and hide(row.last_error), "progress": text}


def outbox_status(engine: Engine, hide: Callable[[str], str] = _NO_SECRET) -> OutboxStatus:
    """Counts the events at one moment; hide strips the errors that it shows of secrets."""
    pending, failing = _UNPUBLISHED, _UNPUBLISHED & _e.last_error.is_not(None)
    counts = select(
        func.count().filter(pending),
        func.count().filter(_e.published_at.is_not(None)),
        func.count().filter(failing),
        func.min(_e.created_at).filter(pending),
        func.max(_e.published_at),
        func.max(_e.lease_expires_at).filter(pending & _leased(time.time(), RELAY_LEASE_S)),
    ).select_from(outbox_events)
    with reading(engine) as connection:
        pending, published, failed, oldest, newest, leased = connection.execute(counts).one()
        oldest_failing = select(outbox_events).where(failing).order_by(_e.id).limit(_FAILURES_SHOWN)
        failures = tuple(_failure(row, hide) for row in connection.execute(oldest_failing))
    last = failures[0].error if failures else None
    return OutboxStatus(pending, published, failed, last, oldest, newest, leased, failures=failures)


def _failure(row: Row[Any], hide: Callable[[str], str]) -> Failure:
    event = OutboxEvent.of(row, row.attempts)
    return Failure(event.id, event.model, event.kind, event.attempts, hide(row.last_error), event.subject)
