"""Sends the events of the outbox to their consumers, at least once, and each model's in their order.

Every consumer has a thread, a position and leases of its own, and no transaction is open while it is sent to: one that
is slow or dead holds up neither a commit nor another consumer. An event that fails holds back the later ones of its
model at its consumer; it is sent again when its time comes, later after each failure.

Times are epoch seconds UTC.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Engine

from raie.registry.errors import DatabaseUnreachable, EventRefused, ReceiverUnreachable, StoreUnreachable
from raie.registry.events.event_types import EventType, type_of
from raie.registry.events.positions import (
    FailedEvent,
    Lag,
    Lease,
    LeaseTaken,
    due_models,
    events_after,
    lag,
    register,
    take,
)
from raie.registry.leases import new_lease_owner
from raie.registry.outbox_records import OutboxEvent, error_line

__all__ = ["Consumer", "Delivery", "Receiver", "backoff_s", "deliver"]

_BATCH = 20
"""Events that are read at a time: a setup's can be megabytes."""

_LONGEST_BACKOFF_S = 900.0
_OURS = (ReceiverUnreachable, EventRefused, StoreUnreachable)
"""Their messages say enough without the type."""

_log = logging.getLogger(__name__)


class Receiver(Protocol):
    """Where a consumer's events go; deliver() may be called again for the same event."""

    def deliver(self, event: OutboxEvent) -> None:
        """Delivers one event; raises ReceiverUnreachable where trying another event makes no sense."""
        ...

    def hide(self, text: str) -> str:
        """The text without the receiver's secrets."""
        ...


@dataclass(frozen=True)
class Consumer:
    """Who is given which events; from_now: whether it is only given what comes after it was first sent to."""

    name: str
    types: frozenset[EventType]
    receiver: Receiver = field(repr=False)
    from_now: bool = False


@dataclass(frozen=True)
class Delivery:
    """What was sent to a consumer; failed: the events that it was not given in this run; lag: how far it is behind.

    unreachable: whether its receiver did not answer, so that nothing more was tried.
    """

    consumer: str
    delivered: int
    failed: tuple[FailedEvent, ...]
    lag: Lag
    unreachable: bool = False


def backoff_s(attempts: int) -> float:
    """How long an event waits after so many failures: 1 s, doubled each time, at most 15 minutes."""
    return min(2.0 ** (attempts - 1), _LONGEST_BACKOFF_S)


def deliver(
    engine: Engine, consumers: Sequence[Consumer], *, clock: Callable[[], float] = time.time
) -> tuple[Delivery, ...]:
    """Sends every consumer the events that it waits for, all consumers side by side.

    Args:
        engine: of the registry's database.
        consumers: with different names.
        clock: epoch seconds.
    Returns: what was sent to each, in their order.
    Raises: DatabaseUnreachable where the registry's database is, once every consumer has ended.
    """
    if not consumers:
        return ()
    stop = threading.Event()
    with ThreadPoolExecutor(len(consumers), thread_name_prefix="events") as threads:
        running = [threads.submit(_Sender(engine, consumer, clock, stop).run) for consumer in consumers]
        try:
            return tuple(sender.result() for sender in running)
        finally:
            # Interrupted: the others end after the event that they are at.
            if not all(sender.done() for sender in running):
                stop.set()


@dataclass
class _Sender:
    """One run of one consumer."""

    engine: Engine
    consumer: Consumer
    clock: Callable[[], float]
    stop: threading.Event
    owner: str = field(default_factory=new_lease_owner)
    delivered: int = 0
    failed: list[FailedEvent] = field(default_factory=list)
    unreachable: bool = False

    def run(self) -> Delivery:
        name, from_now = self.consumer.name, self.consumer.from_now
        register(self.engine, name, from_now=from_now)
        for model in due_models(self.engine, name, self.clock()):
            if self.unreachable or self.stop.is_set():
                break
            lease = take(self.engine, name, model, self.owner, self.clock())
            if lease is not None:
                self._send_model(lease)
        behind = lag(self.engine, name, self.consumer.types, from_now=from_now)
        return Delivery(name, self.delivered, tuple(self.failed), behind, self.unreachable)

    def _send_model(self, lease: Lease) -> None:
        """Sends a model's events until there is none or one fails; another sender may take them over meanwhile."""
        position, attempts = lease.position, lease.attempts
        try:
            while batch := events_after(self.engine, lease.model, position, _BATCH):
                for event in batch:
                    if self.stop.is_set() or not self._send(lease, event, attempts):
                        return
                    position, attempts = event.id, 0
            lease.release()
        except LeaseTaken:
            _log.info("another sender took over the events of %s for %s", lease.model, lease.consumer)

    def _send(self, lease: Lease, event: OutboxEvent, attempts: int) -> bool:
        """Whether the event is done with."""
        try:
            wanted = type_of(event) in self.consumer.types
            if wanted:
                self.consumer.receiver.deliver(event)
        except DatabaseUnreachable:
            raise
        except Exception as error:
            self._record(lease, event, attempts + 1, error)
            return False
        lease.advance(event.id, self.clock(), delivered=wanted)
        self.delivered += wanted
        return True

    def _record(self, lease: Lease, event: OutboxEvent, attempts: int, error: Exception) -> None:
        line = error_line(error, self.consumer.receiver.hide, *_OURS)
        next_at = self.clock() + backoff_s(attempts)
        self.unreachable |= isinstance(error, ReceiverUnreachable | StoreUnreachable)
        self.failed.append(FailedEvent(event.id, event.model, type_of(event), attempts, line, next_at))
        _log.warning("event %d was not delivered to %s: %s", event.id, lease.consumer, line)
        lease.fail(line, attempts, next_at)
